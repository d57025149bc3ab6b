"""Batches of the learner's own and of stored steps, while the store grows."""

import contextlib
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from cogment_lab.integrations.sb3 import (
    MixedDictReplayBuffer,
    MixedHerReplayBuffer,
    MixedReplayBuffer,
    TrialCallback,
    fill_replay_buffer,
    linear_schedule,
)
from stable_baselines3 import DQN, SAC
from stable_baselines3.common.buffers import ReplayBuffer

import cogment_lab
from cogment_lab.errors import ConfigurationError, WrongBufferError
from cogment_lab.humans.scripted import scripted_policy

PENDULUM = scripted_policy("Pendulum-v1")


def demonstrate(trials: int = 1, seed: int = 1, path: str = "demos.db") -> None:
    cogment_lab.run("Pendulum-v1", PENDULUM, trials, seed=seed, store=path, max_episode_steps=30)


def make_buffer(**options: Any) -> MixedReplayBuffer:
    env = gym.make("Pendulum-v1")
    return MixedReplayBuffer(
        100, env.observation_space, env.action_space, "cpu", **{"store": "demos.db", **options}
    )


def add(buffer: MixedReplayBuffer, steps: int) -> None:
    for _ in range(steps):
        observation = np.full((1, 3), 7, np.float32)
        buffer.add(observation, observation, np.zeros((1, 1)), np.array([7.0]), np.zeros(1), [{}])


def test_a_batch_holds_the_share_asked_for() -> None:
    demonstrate()
    buffer = make_buffer(ratio=0.25)
    assert buffer.stored.size() == 30
    assert len(buffer.sample(8).rewards) == 8  # nothing of its own yet: all are stored
    add(buffer, 10)
    batch = buffer.sample(64)
    assert batch.observations.shape == (64, 3)
    assert int((batch.rewards != 7).sum()) == 16


def test_the_share_follows_a_schedule() -> None:
    demonstrate()
    buffer = make_buffer(ratio=linear_schedule(1.0, 0.0, 20))
    assert buffer.stored_share() == 1.0
    add(buffer, 10)
    assert buffer.stored_share() == 0.5
    add(buffer, 20)
    assert buffer.stored_share() == 0.0 and int((buffer.sample(32).rewards == 7).sum()) == 32


def test_goals_are_learned_before_the_learners_first_trial_has_ended(bits: Callable[[], Any]) -> None:
    cogment_lab.run(bits, lambda observation: 0, 2, seed=1, store="demos.db")
    model = DQN(
        "MultiInputPolicy", cogment_lab.make(bits, store=None), learning_starts=1, train_freq=1, batch_size=8,
        device="cpu", buffer_size=100, policy_kwargs={"net_arch": [4]}, seed=1,
        replay_buffer_class=MixedHerReplayBuffer, replay_buffer_kwargs={"store": "demos.db", "ratio": 0.25},
    )  # fmt: skip
    buffer: Any = model.replay_buffer
    buffer.stored.actions[:] = 3
    model.learn(3)  # in which, with this seed, no goal is reached by chance
    assert buffer.size() == 3 and (buffer.sample(8).actions == 3).all()
    model.learn(3, reset_num_timesteps=False)
    buffer.actions[:] = 0
    assert int((buffer.sample(8).actions == 3).sum()) == 2


_ELSEWHERE = """
import cogment_lab
from cogment_lab.humans.scripted import scripted_policy
policy = scripted_policy("Pendulum-v1")
cogment_lab.run("Pendulum-v1", policy, 2, seed=1, store="demos.db", max_episode_steps=30)
"""


def demonstrate_elsewhere() -> None:
    subprocess.run([sys.executable, "-c", _ELSEWHERE], check=True, timeout=120)


@pytest.mark.parametrize("play", [lambda: demonstrate(2), demonstrate_elsewhere])
def test_a_learner_picks_up_trials_that_end_meanwhile(play: Callable[[], None]) -> None:
    env = cogment_lab.make("Pendulum-v1", store=None)
    with pytest.warns(UserWarning, match=r"store='demos\.db' does not exist: .* again every 10 steps"):
        model = SAC(
            "MlpPolicy", env, learning_starts=20, train_freq=10, batch_size=16, buffer_size=200, device="cpu",
            replay_buffer_class=MixedReplayBuffer, policy_kwargs={"net_arch": [8]},
            replay_buffer_kwargs={"store": "demos.db", "refresh_every": 10},
        )  # fmt: skip
    buffer: Any = model.replay_buffer
    sizes = []

    class Elsewhere(TrialCallback):
        def _on_step(self) -> bool:
            sizes.append(buffer.stored.size())
            if self.num_timesteps == 15:
                play()
            return super()._on_step()

    model.learn(60, callback=Elsewhere())
    assert sizes[14] == 0 and sizes[-1] == 60
    model.save_replay_buffer("buffer.pkl")
    model.load_replay_buffer("buffer.pkl")
    again: Any = model.replay_buffer
    assert again.stored.size() == 60 and again.refresh() == 0


class _Nan(gym.ObservationWrapper):
    def observation(self, observation: Any) -> Any:
        return observation * np.float32(np.nan)


@pytest.mark.parametrize(
    ("what", "reason"),
    [("nan", "hold NaN"), ("spaces", "another environment"), ("damaged", "cannot be read")],
)
def test_a_trial_that_cannot_be_learned_from_stops_nobody(
    what: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    buffer = make_buffer(store=cogment_lab.TrialStore("demos.db"), refresh_every=5)
    if what == "nan":
        env = _Nan(gym.make("Pendulum-v1", max_episode_steps=30))
        cogment_lab.run(env, lambda observation: np.zeros(1, np.float32), store="demos.db")
    elif what == "spaces":
        cogment_lab.run("CartPole-v1", lambda observation: 0, seed=1, store="demos.db")
    else:
        demonstrate(seed=5)
        with contextlib.closing(sqlite3.connect("demos.db")) as damaged, damaged:
            damaged.execute("UPDATE chunks SET checksum = checksum + 1")
    demonstrate()
    add(buffer, 5)
    assert buffer.stored.size() == 30 and not np.isnan(buffer.stored.observations[:30]).any()
    ((name, why),) = buffer.refused.items()
    assert reason in why
    assert f"trial {name!r} is not learned from, and learning goes on" in caplog.text
    caplog.clear()
    add(buffer, 10)
    assert not caplog.text, "it is said once"


def test_what_was_discarded_stays_out_beside_trials_of_other_spaces() -> None:
    buffer = make_buffer(store=cogment_lab.TrialStore("demos.db"), refresh_every=5)
    demonstrate(2)
    cogment_lab.run("CartPole-v1", lambda observation: 0, seed=1, store="demos.db")
    with cogment_lab.TrialStore("demos.db") as store:
        first = next(store.trials()).trial_id
        store.label(first, "discard", True)
    add(buffer, 5)
    assert buffer.stored.size() == 30 and len(buffer.refused) == 1


def test_trials_that_are_known_are_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    demonstrate(3)
    buffer = make_buffer()
    asked: list[Any] = []
    query = cogment_lab.TrialStore.query

    def remember(store: cogment_lab.TrialStore, **options: Any) -> Any:
        asked.append(options)
        return query(store, **options)

    monkeypatch.setattr(cogment_lab.TrialStore, "query", remember)
    assert buffer.refresh() == 0
    assert [len(options["without"]) for options in asked] == [3]
    demonstrate(1, seed=9)
    assert buffer.refresh() == 30


def test_only_takeovers_can_be_mixed_in() -> None:
    demonstrate()
    assert make_buffer(query={"only": "interventions"}).stored.size() == 0
    assert make_buffer(query={"only": "autonomous"}).stored.size() == 30


def test_a_store_that_is_not_there_is_named() -> None:
    with pytest.warns(UserWarning, match=r"store='typo\.db' does not exist: .*call refresh\(\)"):
        buffer = make_buffer(store=Path("typo.db"), refresh_every=0)
    demonstrate(path="typo.db")
    assert buffer.refresh() == 30


def test_what_cannot_be_mixed_says_why() -> None:
    with pytest.raises(ConfigurationError, match="needs the store"):
        make_buffer(store=None)
    for ratio in (1.5, "x", None):
        with pytest.raises(ConfigurationError, match="between 0 and 1"):
            make_buffer(ratio=ratio)
    demonstrate()
    with pytest.raises(ConfigurationError, match="query= knows no 'foo'; choose among env, "):
        make_buffer(query={"foo": 1})
    with pytest.raises(WrongBufferError, match="another environment"):
        DQN(
            "MlpPolicy", gym.make("CartPole-v1"), replay_buffer_class=MixedReplayBuffer, device="cpu",
            buffer_size=50, replay_buffer_kwargs={"store": Path("demos.db")},
        )  # fmt: skip


def count_from(start: int) -> gym.Env[Any, Any]:
    env = gym.make("CartPole-v1", max_episode_steps=5)
    space = gym.spaces.Discrete(2, start=np.int64(start))
    return gym.wrappers.TransformAction(env, lambda action: action - start, space)


@pytest.mark.parametrize("chosen", ["all", "trial_ids", "query"])
def test_actions_that_do_not_begin_at_0_say_where_to_shift_them(chosen: str) -> None:
    cogment_lab.run(lambda: count_from(1), lambda observation: 1, store="demos.db")
    cart = gym.make("CartPole-v1")
    buffer = ReplayBuffer(20, cart.observation_space, cart.action_space)
    with cogment_lab.TrialStore("demos.db") as store:
        names = [info.trial_id for info in store.trials()]
        source = store.query() if chosen == "query" else store
        with pytest.raises(WrongBufferError, match=r"stored actions of .* begin at 1.*TransformAction"):
            fill_replay_buffer(buffer, source, trial_ids=names if chosen == "trial_ids" else None)
    assert buffer.size() == 0
    for make in (ReplayBuffer, MixedReplayBuffer):
        options: Any = {} if make is ReplayBuffer else {"store": "demos.db"}
        with pytest.raises(WrongBufferError, match=r"^actions of .* begin at 1.*inside the trial"):
            fill_replay_buffer(
                make(20, cart.observation_space, count_from(1).action_space, **options), "demos.db"
            )


def test_observations_that_do_not_begin_at_0_say_where_to_shift_them() -> None:
    with pytest.raises(WrongBufferError, match=r"^observations\['gear'\] of .*TransformObservation"):
        MixedDictReplayBuffer(
            20, gym.spaces.Dict(gear=gym.spaces.Discrete(3, start=1)), gym.spaces.Discrete(2), store="no.db"
        )
