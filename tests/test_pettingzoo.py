"""``cogment_lab.run`` with several agents."""

from typing import Any

import numpy as np
import pettingzoo
import pytest

import cogment_lab
from cogment_lab.errors import ConfigurationError, EnvironmentCrashedError, InvalidActionError
from cogment_lab.humans import SimulatedHuman
from cogment_lab.trial.pace import Pace


def rock(observation: Any) -> int:
    return 0


def paper(observation: Any) -> int:
    return 1


def make_env(kind: str) -> Any:
    return pettingzoo.make(kind, "classic/rps-v2", max_cycles=4)


@pytest.mark.parametrize("kind", ["aec", "parallel"])
def test_each_agents_decisions_are_recorded(kind: str) -> None:
    with cogment_lab.TrialStore(":memory:") as store:
        actors = {"player_0": rock, "player_1": paper}
        trial_ids = cogment_lab.run(
            make_env(kind), actors, 2, seed=3, store=store, properties={"study": "rps"}
        )
        infos = {info.trial_id: info for info in store.trials(properties={"study": "rps"})}
        data = store.load(trial_ids[0])
    assert sorted(infos) == sorted(trial_ids)
    assert infos[trial_ids[0]].seed == 3
    assert data["player_0"].actions.tolist() == [0, 0, 0, 0]
    assert data["player_1"].actions.tolist() == [1, 1, 1, 1]
    assert data["player_0"].rewards.tolist() == [-1, -1, -1, -1]
    assert data["player_1"].rewards.tolist() == [1, 1, 1, 1]
    assert data["player_0"].truncated.tolist() == [False, False, False, True]
    assert data["player_0"].next_observations[0] == 1, "what the opponent did"
    expected = {"aec": [0, 2, 4, 6], "parallel": [0, 1, 2, 3]}[kind]
    np.testing.assert_array_equal(data["player_0"].ticks, expected)


def test_whoever_played_is_found_by_name() -> None:
    class Person(SimulatedHuman):
        called = "web"  # as a seat on a page is

    with cogment_lab.TrialStore(":memory:") as store:
        actors = {"player_0": rock, "player_1": Person(paper)}
        cogment_lab.run(make_env("aec"), actors, 1, seed=3, store=store)
        assert len(store.query(actor="web", agent="player_0")) == 1
        assert len(store.query(only="demonstrations", agent="player_1")) == 1
        assert len(store.query(only="demonstrations", agent="player_0")) == 0


def test_each_trial_says_at_which_pace_an_agent_played() -> None:
    class Person(SimulatedHuman):
        asked = False

        def poll(self, observation: Any, proposed_action: Any) -> Any:
            asked, self.asked = self.asked, True
            return None if asked else (Pace.LIVE,)

    with cogment_lab.TrialStore(":memory:") as store:
        actors = {"player_0": rock, "player_1": Person(paper, name="person")}
        trial_ids = cogment_lab.run(make_env("parallel"), actors, 2, seed=3, store=store, fps=1000)
        for trial_id in trial_ids:
            (event,) = store.events(trial_id)
            assert (event.tick, event.kind) == (0, "pace")
            assert event.data == {"pace": "live", "seat": "person"}


def test_agents_whose_observations_share_memory_are_recorded_as_they_were() -> None:
    env = make_env("parallel")
    memory, step, played = np.zeros((), np.int64), env.step, []

    def reusing_step(actions: Any) -> Any:
        played.append(len(played))
        memory[...] = len(played) % 3
        _, *rest = step(actions)
        return {"player_0": memory, "player_1": memory}, *rest

    env.step = reusing_step
    with cogment_lab.TrialStore(":memory:") as store:
        (trial_id,) = cogment_lab.run(env, {"player_0": rock, "player_1": paper}, 1, seed=3, store=store)
        data = store.load(trial_id)
    assert (
        data["player_0"].observations[1:].tolist() == data["player_1"].observations[1:].tolist() == [1, 2, 0]
    )


def test_every_agent_needs_an_actor() -> None:
    with pytest.raises(ConfigurationError, match="player_1"):
        cogment_lab.run(make_env("aec"), {"player_0": rock}, store=None)


def test_one_actor_is_none_for_each_agent() -> None:
    with pytest.raises(ConfigurationError, match=r"for each of \['player_0', 'player_1'\]"):
        cogment_lab.run(make_env("parallel"), rock, store=None)


@pytest.mark.parametrize("option", ["process", "teacher"])
def test_what_only_gymnasium_environments_take_is_named(option: str) -> None:
    actors = {"player_0": rock, "player_1": paper}
    with pytest.raises(ConfigurationError, match=f"{option}: .* takes fps and properties only"):
        cogment_lab.run(make_env("parallel"), actors, store=None, **{option: True})


def test_an_action_outside_the_space_names_the_agent() -> None:
    with pytest.raises(InvalidActionError, match="player_1"):
        cogment_lab.run(make_env("parallel"), {"player_0": rock, "player_1": lambda o: 9}, store=None)


def test_a_crash_ends_the_trial_and_is_recorded() -> None:
    env = make_env("parallel")

    def step(actions: Any) -> Any:
        raise ValueError("table flipped")

    env.step = step
    with cogment_lab.TrialStore(":memory:") as store:
        with pytest.raises(EnvironmentCrashedError, match="table flipped"):
            cogment_lab.run(env, {"player_0": rock, "player_1": paper}, store=store)
        (info,) = store.trials()
    assert info.end_reason == "environment_crashed"
