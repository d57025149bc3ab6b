"""A Gymnasium environment with a teacher or an observer, for PettingZoo and in trials."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from cogment_lab.actors import ConstantActor
from cogment_lab.core import CogmentActor
from cogment_lab.envs import AECEnvironment, ParallelEnvironment
from cogment_lab.envs.conversions import (
    GymObserverAEC,
    GymObserverParallel,
    GymTeacherAEC,
    GymTeacherParallel,
)

HOME = "cogment_lab.envs.conversions"
ENV = {"gym_env_name": "CartPole-v1"}
LEFT = {"active": 1, "action": 0}
ABSTAIN = {"active": 0, "action": 0}


OLD_API = pytest.mark.filterwarnings("ignore:The old environment creation API:DeprecationWarning")


@OLD_API
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", [GymTeacherAEC, GymObserverAEC])
def test_the_aec_ones_pass_pettingzoos_test(kind: Any) -> None:
    from pettingzoo.test import api_test

    api_test(kind("CartPole-v1"), num_cycles=100)


@OLD_API
@pytest.mark.parametrize("kind", [GymTeacherParallel, GymObserverParallel])
def test_the_parallel_ones_pass_pettingzoos_test(kind: Any) -> None:
    from pettingzoo.test import parallel_api_test

    parallel_api_test(kind("CartPole-v1"), num_cycles=100)


class Watching(CogmentActor[Any, Any]):
    """An observer: keeps what it saw in a list that its copies share."""

    def __init__(self, action: Any) -> None:
        super().__init__(action)
        self.action = action
        self.seen: list[Any] = []

    async def act(self, observation: Any, rendered_frame: Any = None) -> Any:
        self.seen.append(observation)
        return self.action


def test_a_teacher_sees_the_proposal_and_overrides_it(play) -> None:
    teacher = Watching(LEFT)
    env = AECEnvironment(f"{HOME}.GymTeacherAEC", ENV)
    data = play(env, {"gym": ConstantActor(1), "teacher": teacher}, seed=1)
    assert {int(seen["action"]) for seen in teacher.seen} == {1}
    bare = gym.make("CartPole-v1")
    seen, _ = bare.reset(seed=1)
    for row in range(len(data["gym"])):
        np.testing.assert_array_equal(data["gym"].observations[row], seen)
        np.testing.assert_array_equal(teacher.seen[row]["observation"], seen)
        seen, *_ = bare.step(0)  # what the teacher did
    assert data["gym"].terminated[-1] and data["teacher"].terminated[-1]


def test_a_teacher_that_abstains_changes_nothing(play) -> None:
    env = ParallelEnvironment(f"{HOME}.GymTeacherParallel", ENV)
    lengths = {
        teacher["active"]: len(
            play(env, {"gym": ConstantActor(1), "teacher": ConstantActor(teacher)}, seed=1)["gym"]
        )
        for teacher in (ABSTAIN, LEFT)
    }
    bare = gym.make("CartPole-v1")
    bare.reset(seed=1)
    steps = 1
    while not bare.step(1)[2]:
        steps += 1
    assert lengths[0] == steps
    bare.reset(seed=1)
    steps = 1
    while not bare.step(0)[2]:
        steps += 1
    assert lengths[1] == steps


def test_the_picture_has_a_red_border_while_the_teacher_acts() -> None:
    env = GymTeacherParallel("CartPole-v1", render_mode="rgb_array")
    env.reset(seed=1)
    env.step({"gym": 1, "teacher": ABSTAIN})
    assert tuple(env.render()[0, 0]) == (255, 255, 255)
    env.step({"gym": 1, "teacher": LEFT})
    picture = env.render()
    assert {tuple(picture[row, column]) for row, column in ((0, 9), (-1, -9), (9, 0), (-9, -1))} == {
        (255, 0, 0)
    }
    assert tuple(picture[5, 5]) == (255, 255, 255)
    env.close()


@pytest.mark.parametrize(
    ("kind", "name"), [(AECEnvironment, "GymObserverAEC"), (ParallelEnvironment, "GymObserverParallel")]
)
def test_an_observer_sees_everything_and_changes_nothing(play, kind: Any, name: str) -> None:
    observer = Watching(0)
    data = play(kind(f"{HOME}.{name}", ENV), {"gym": ConstantActor(1), "observer": observer}, seed=1)
    shown = [seen["observation"] if isinstance(seen, dict) else seen for seen in observer.seen]
    np.testing.assert_array_equal(np.array(shown), data["gym"].observations)
    assert set(data["gym"].actions) == {1}
    assert data["gym"].rewards.sum() == len(data["gym"])
