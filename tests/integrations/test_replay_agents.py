"""Trials of several agents are executed again and compared."""

import itertools
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cogment_lab.integrations.gymnasium.replay import check_replay, replay
from cogment_lab.integrations.pettingzoo import PettingZooSpec
from luck import Luck, as_aec, play

import cogment_lab
from cogment_lab.errors import ConfigurationError, TrialStateError
from cogment_lab.store import TrialStore

KINDS = ("aec", "parallel")


class Broken(Luck):
    """Is not what it was."""

    broken_at = 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_registered_game_is_the_same_again(kind: Any) -> None:
    with TrialStore(":memory:") as store:
        names = play(store, PettingZooSpec(kind, "classic/rps-v2", {"max_cycles": 6}))
        for name in names:
            steps = list(store.replay(name))
            assert [step.divergence for step in steps] == [None] * len(steps)
            assert len(steps) == store.info(name).n_ticks + 1 == (13 if kind == "aec" else 7)
            wanted = sum(data.rewards.sum() for data in store.load(name).values())
            assert sum(step.reward for step in steps) == wanted
            assert steps[-1].truncated


def test_a_game_of_turns_is_the_same_again() -> None:
    """Connect four: the loser hears of it after the winner's move."""
    columns = itertools.cycle([0, 1, 0, 1, 0, 2, 0])
    actors = dict.fromkeys(("player_0", "player_1"), lambda observation: next(columns))
    with TrialStore(":memory:") as store:
        (name,) = cogment_lab.run(PettingZooSpec("aec", "classic/connect_four-v3"), actors, store=store)
        steps = list(replay(store, name))
        assert store.info(name).n_ticks == 7 and len(steps) == 8
        assert [step.divergence for step in steps] == [None] * 8 and steps[-1].terminated
        data = store.load(name)
        assert data["player_0"].rewards.tolist()[-1] == 1 and data["player_1"].rewards.tolist()[-1] == -1


@pytest.mark.parametrize("wrap", [lambda env: env, as_aec], ids=["parallel", "aec"])
def test_the_first_divergent_tick_is_named(wrap: Callable[[Any], Any]) -> None:
    with TrialStore(":memory:") as store:
        (name,) = play(store, wrap(Luck()), 1)
        assert check_replay(store, name, env=lambda: wrap(Luck())) is None
        found = check_replay(store, name, env=lambda: wrap(Broken()))
        assert found is not None and found.what == "player_1's observation"
        assert found.tick == (4 if wrap is as_aec else 1), "after which that agent saw something else"


@pytest.mark.parametrize("wrap", [lambda env: env, as_aec], ids=["parallel", "aec"])
def test_agents_that_leave_early(wrap: Callable[[Any], Any]) -> None:
    with TrialStore(":memory:") as store:
        (name,) = play(store, wrap(Luck()), 1)
        assert {agent: len(data) for agent, data in store.load(name).items()} == {
            "player_0": 3,
            "player_1": 5,
        }

        class Longer(Luck):
            def step(self, actions: Any) -> Any:
                found = super().step(actions)
                if self.tick == 3:
                    self.agents = list(self.possible_agents)
                    found[2]["player_0"] = False
                return found

        steps = list(replay(store, name, env=lambda: wrap(Longer())))
        first = next(step.divergence for step in steps if step.divergence)
        assert first.what == "player_0's terminated"
        last = steps[-1].divergence
        assert last is not None and last.what == "turn", "from here on, others act than recorded"


def test_pictures_and_what_cannot_be_replayed(cogmentlab_in: Any) -> None:
    shutil.copy(sys.modules["luck"].__file__ or "", "lucky.py")
    with TrialStore("luck.db") as store:
        (name,) = play(store, Luck(), 1)
        frames = [step.frame for step in replay(store, name, render=True, env=Luck)]
        assert [int(frame[0, 0, 0]) for frame in frames] == list(range(6))
        with pytest.raises(ConfigurationError, match=r"--env MODULE:FUNCTION.*PettingZooSpec"):
            list(replay(store, name))
        with pytest.raises(ConfigurationError, match="has the agents"):
            list(replay(store, name, env=lambda: PettingZooSpec("aec", "classic/tictactoe-v3").make()))
        with pytest.raises(ConfigurationError, match="several agents"):
            list(replay(store, name, env="luck_v0"))
    cogmentlab_in("replay", "luck.db", name, "--env", "lucky:Luck", "--video", "luck.mp4")
    assert Path("luck.mp4").read_bytes()[4:8] == b"ftyp"
    with pytest.raises(ConfigurationError, match="MODULE:FUNCTION"):
        cogmentlab_in("replay", "luck.db", name, "--env", "lucky")
    with pytest.raises(ConfigurationError, match="nowhere"):
        cogmentlab_in("replay", "luck.db", name, "--env", "nowhere:make")


def test_a_package_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"'classic/nothing-v1' cannot be made here"):
        PettingZooSpec("aec", "classic/nothing-v1").make()


def test_a_running_trial_is_refused() -> None:
    with TrialStore(":memory:") as store:

        def look(observation: Any) -> int:
            store.flush()
            (info,) = store.trials()
            with pytest.raises(TrialStateError, match="still runs"):
                list(replay(store, info.trial_id))
            return 0

        spec = PettingZooSpec("parallel", "classic/rps-v2", {"max_cycles": 2})
        calls = itertools.count()
        actors = {"player_0": lambda o: look(o) if next(calls) == 1 else 0, "player_1": lambda o: 0}
        cogment_lab.run(spec, actors, store=store)
