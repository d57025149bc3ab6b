"""Trials of several agents are branched off: by re-execution, or from a snapshot."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cogment_lab.integrations.gymnasium.replay import branch, check_replay
from cogment_lab.integrations.pettingzoo import PettingZooSpec
from luck import Luck, as_aec, play

import cogment_lab
from cogment_lab.errors import ConfigurationError, ReplayDivergedError, TrialNotFoundError, TrialStateError
from cogment_lab.store import TrialStore

Wrap = Callable[[Any], Any]
both_kinds = pytest.mark.parametrize("wrap", [lambda env: env, as_aec], ids=["parallel", "aec"])


class Counted(Luck):
    """Counts its steps, wherever its state goes."""

    steps = 0

    def step(self, actions: Any) -> Any:
        Counted.steps += 1
        return super().step(actions)


class Uncopied(Counted):
    """Has a handle that cannot be copied."""

    def __init__(self) -> None:
        self.handle = iter(())
        self.lock = __import__("threading").Lock()


class Declared(Uncopied):
    """Says how to restore its state."""

    restored = 0

    def get_state(self) -> Any:
        return self.tick, list(self.agents), self.rng.bit_generator.state

    def set_state(self, state: Any) -> None:
        Declared.restored += 1
        self.tick, self.agents, self.rng.bit_generator.state = state


class Leaky(Counted):
    """Keeps part of its state where no copy reaches."""

    outside = 0

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        Leaky.outside = 0
        return super().reset(seed, options)

    def step(self, actions: Any) -> Any:
        Leaky.outside += 1
        seen, *rest = super().step(actions)
        return {agent: value + np.float32(Leaky.outside / 10) for agent, value in seen.items()}, *rest


def rest_of(store: TrialStore, parent: str, tick: int) -> dict[str, Any]:
    """Return actors that do what was done in a trial from a tick on, once for each trial."""
    actors = {}
    for agent, data in store.load(parent).items():
        actions = [int(action) for action, at in zip(data.actions, data.ticks, strict=True) if at >= tick]
        actors[agent] = itertools.cycle(actions or [0]).__next__
    return {agent: lambda observation, act=act: act() for agent, act in actors.items()}


def assert_same_rest(store: TrialStore, parent: str, child: str, tick: int) -> None:
    for agent, data in store.load(child).items():
        whole = store.load(parent)[agent]
        rest = whole.ticks >= tick
        np.testing.assert_array_equal(data.ticks, whole.ticks[rest] - tick)
        for name in ("observations", "actions", "rewards", "terminated", "truncated"):
            np.testing.assert_array_equal(getattr(data, name), getattr(whole, name)[rest], err_msg=name)


@both_kinds
@pytest.mark.parametrize("make_env", [Luck, Uncopied, Declared, Leaky])
@pytest.mark.parametrize("tick", [0, 1, 3, 4])
def test_every_trial_of_a_branch_begins_at_its_tick(wrap: Wrap, make_env: Any, tick: int) -> None:
    """At tick 4 of the Parallel game, one agent has left."""
    with TrialStore(":memory:") as store:
        (parent,) = play(store, wrap(make_env()), 1)
        env = branch(store, parent, tick, env=lambda: wrap(make_env()))
        children = cogment_lab.run(env, rest_of(store, parent, tick), 3)
        for child in children:
            assert_same_rest(store, parent, child, tick)
            assert store.info(child).properties == {"branch_of": parent, "branch_tick": str(tick)}
            assert check_replay(store, child, env=lambda: wrap(make_env())) is None


@pytest.mark.parametrize(
    ("make_env", "restore", "ways"), [(Counted, True, 1), (Counted, False, 3), (Uncopied, True, 3)]
)
def test_the_way_is_executed_where_nothing_can_be_restored(make_env: Any, restore: bool, ways: int) -> None:
    with TrialStore(":memory:") as store:
        (parent,) = play(store, make_env(), 1)
        env = branch(store, parent, 2, env=make_env, restore=restore)
        Counted.steps = 0
        for _ in range(3):
            env.reset()
        assert Counted.steps == 2 * ways + (4 if ways == 1 else 0), "and two rounds to try the snapshot"


@both_kinds
def test_a_declared_state_is_restored(wrap: Wrap) -> None:
    with TrialStore(":memory:") as store:
        (parent,) = play(store, wrap(Declared()), 1)
        env = branch(store, parent, 2, env=wrap(Declared()))
        Counted.steps = Declared.restored = 0
        for _ in range(3):
            env.reset()
        assert (Counted.steps, Declared.restored) == (1 if wrap is as_aec else 2, 2)


@pytest.mark.parametrize("kind", ["aec", "parallel"])
def test_branches_of_registered_games_know_how_they_are_made(kind: Any) -> None:
    with TrialStore(":memory:") as store:
        (parent, _) = play(store, PettingZooSpec(kind, "classic/rps-v2", {"max_cycles": 6}))
        tick = 4
        env = branch(store, parent, tick, properties={"why": "rewind"})
        (child,) = cogment_lab.run(env, dict.fromkeys(("player_0", "player_1"), lambda observation: 2))
        info = store.info(child)
        assert info.properties == {"why": "rewind", "branch_of": parent, "branch_tick": "4"}
        assert info.n_ticks == store.info(parent).n_ticks - tick
        grandchild = branch(store, child, 1)
        (last,) = cogment_lab.run(grandchild, dict.fromkeys(("player_0", "player_1"), lambda observation: 1))
        for name in (child, last):
            assert check_replay(store, name) is None
        seen = store.load(last)["player_0"].observations
        assert seen[0] == (2 if kind == "parallel" else 1), "what the opponent did last"


def test_a_game_of_turns_goes_on_from_a_position() -> None:
    columns = itertools.cycle([0, 1, 0, 1, 0, 2, 0])
    actors = dict.fromkeys(("player_0", "player_1"), lambda observation: next(columns))
    with TrialStore(":memory:") as store:
        (parent,) = cogment_lab.run(PettingZooSpec("aec", "classic/connect_four-v3"), actors, store=store)
        env = branch(store, parent, 5)
        blocks = itertools.cycle([0, 2, 1, 2, 1])  # the second player stops the first, and wins
        (child,) = cogment_lab.run(env, dict.fromkeys(actors, lambda observation: next(blocks)))
        data = store.load(child)
        assert data["player_1"].rewards.tolist()[-1] == 1 and data["player_0"].rewards.tolist()[-1] == -1
        assert check_replay(store, child) is None
        with pytest.raises(TrialStateError, match="terminated before tick 7"):
            branch(store, parent, 7)


@both_kinds
def test_an_environment_that_changed_is_no_branch(wrap: Wrap) -> None:
    class Broken(Luck):
        broken_at = 2

    with TrialStore(":memory:") as store:
        (parent,) = play(store, wrap(Luck()), 1)
        late = 6 if wrap is as_aec else 4
        with pytest.raises(ReplayDivergedError, match="player_1's observation"):
            branch(store, parent, late, env=lambda: wrap(Broken())).reset()


def test_parents_that_end_otherwise_are_named() -> None:
    class Longer(Luck):
        def step(self, actions: Any) -> Any:
            found = super().step(actions)
            self.agents = list(self.possible_agents)
            return found

    with TrialStore(":memory:") as store:
        (parent,) = play(store, Luck(), 1)
        (child,) = cogment_lab.run(branch(store, parent, 4, env=Luck), rest_of(store, parent, 4))
        with pytest.raises(ReplayDivergedError, match=r"led to trial.*turn of tick 3"):
            check_replay(store, child, env=Longer)
        store.delete(parent)
        with pytest.raises(TrialNotFoundError, match=f"branch of '{parent}'"):
            check_replay(store, child, env=Luck)


def test_a_trial_that_was_cut_can_be_continued() -> None:
    with TrialStore(":memory:") as store:
        calls = itertools.count()

        def stop(observation: Any) -> int:
            if next(calls) == 2:
                raise KeyboardInterrupt
            return 0

        actors = {"player_0": lambda observation: 0, "player_1": stop}
        with pytest.raises(KeyboardInterrupt):
            cogment_lab.run(Luck(), actors, seed=1, store=store)
        (info,) = store.trials()
        assert (info.n_ticks, info.end_reason) == (2, "interrupted")
        env = branch(store, info.trial_id, 2, env=Luck)
        (child,) = cogment_lab.run(env, dict.fromkeys(("player_0", "player_1"), lambda observation: 1))
        assert store.info(child).n_ticks == 3, "of five"


def test_bad_input_is_named() -> None:
    with TrialStore(":memory:") as store:
        (parent,) = play(store, PettingZooSpec("parallel", "classic/rps-v2", {"max_cycles": 3}), 1)
        for tick in (-1, 4, 1.5, "2"):
            with pytest.raises(ConfigurationError, match="choose 0 to 3"):
                branch(store, parent, tick)  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match=r"teacher: .*several agents.*cogment_lab\.run"):
            branch(store, parent, 1, teacher="web")
        with pytest.raises(TrialStateError, match="is over after tick 2"):
            branch(store, parent, 3).reset()
        with pytest.raises(ConfigurationError, match="PettingZooSpec"):
            branch(store, parent, 1, env="rps_v2")
        with pytest.raises(ConfigurationError, match="has the agents"):
            branch(store, parent, 1, env=PettingZooSpec("aec", "classic/tictactoe-v3"))
        (forged,) = play(store, Luck(), 1, properties={"branch_of": parent, "branch_tick": "9"})
        with pytest.raises(ConfigurationError, match="at tick '9', which cannot be"):
            branch(store, forged, 1, env=Luck)


def test_a_branch_is_replayed_from_the_command_line(
    cogmentlab_in: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    actors = dict.fromkeys(("player_0", "player_1"), lambda observation: 2)
    with TrialStore("rps.db") as store:
        (parent,) = play(store, PettingZooSpec("aec", "classic/rps-v2", {"max_cycles": 3}), 1)
        (child,) = cogment_lab.run(branch(store, parent, 2), actors)
    cogmentlab_in("replay", "rps.db", child)
    assert "the same again: 4 ticks" in capsys.readouterr().out
