"""How sure the learner is, as the page is told."""

from typing import Any

import numpy as np
import pytest
from cogment_lab.integrations.sb3 import TrialCallback
from cogment_lab.integrations.sb3.confidence import ActionProbabilities

import cogment_lab
from cogment_lab.humans.simulated import SimulatedHuman

sb3 = pytest.importorskip("stable_baselines3")


class Listener(SimulatedHuman):
    """Keeps what the learner tells."""

    def __init__(self) -> None:
        super().__init__(lambda observation: 0, gate=lambda observation, proposed: False)
        self.told: list[dict[str, Any]] = []

    def set_learner(self, learner: dict[str, Any]) -> None:
        self.told.append(learner)


@pytest.mark.parametrize("name", ["DQN", "PPO"])
def test_the_likeliest_action_is_the_one_that_the_model_would_choose(name: str) -> None:
    model = getattr(sb3, name)("MlpPolicy", "CartPole-v1", seed=0, device="cpu")
    explain = ActionProbabilities(model)
    for observation in np.random.default_rng(0).uniform(-0.2, 0.2, (20, 4)).astype(np.float32):
        chances = explain(observation)
        assert chances is not None
        assert sum(chances) == pytest.approx(1.0, abs=1e-5)
        assert int(np.argmax(chances)) == int(model.predict(observation, deterministic=True)[0])


def test_observations_that_the_model_does_not_see_so_are_not_explained() -> None:
    explain = ActionProbabilities(sb3.DQN("MlpPolicy", "CartPole-v1", device="cpu"))
    assert explain(np.zeros(7, np.float32)) is None


def test_the_callback_tells_the_seats() -> None:
    teacher = Listener()
    env = cogment_lab.make("CartPole-v1", teacher=teacher, store=None)
    sb3.DQN("MlpPolicy", env, learning_starts=1000, device="cpu").learn(20, callback=TrialCallback())
    explain = next(told["explain"] for told in teacher.told if "explain" in told)
    assert len(explain(np.zeros(4, np.float32))) == 2
    env.close()
