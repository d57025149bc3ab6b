"""Trials of several agents are executed again and compared."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pettingzoo
import pytest
from cogment_lab.integrations.gymnasium.replay import branch, check_replay, replay
from cogment_lab.integrations.pettingzoo import PettingZooSpec

import cogment_lab
from cogment_lab.errors import ConfigurationError, TrialStateError
from cogment_lab.store import TrialStore

KINDS = ("aec", "parallel")


def play(store: TrialStore, env: Any, trials: int = 2, **options: Any) -> list[str]:
    """Let agents act at random, differently in each trial."""
    rng = np.random.default_rng(1)
    spaces = [gym.spaces.Discrete(3)] * 2
    actors = {
        f"player_{index}": (lambda observation, n=space.n: int(rng.integers(n)))
        for index, space in enumerate(spaces)
    }
    return cogment_lab.run(env, actors, trials, seed=3, store=store, **options)


class Luck(pettingzoo.ParallelEnv[str, Any, Any]):
    """Observations are drawn; one agent leaves after three ticks, the other after five."""

    metadata = {"name": "luck_v0", "render_modes": ["rgb_array"]}  # noqa: RUF012
    possible_agents = ["player_0", "player_1"]  # noqa: RUF012
    render_mode = "rgb_array"
    broken_at: int | None = None

    def observation_space(self, agent: str) -> gym.Space[Any]:
        return gym.spaces.Box(0, 10, (2,), np.float32)

    def action_space(self, agent: str) -> gym.Space[Any]:
        return gym.spaces.Discrete(3)

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        self.rng, self.tick = np.random.default_rng(seed), 0
        self.agents = list(self.possible_agents)
        return self._see(), {agent: {} for agent in self.agents}

    def _see(self) -> dict[str, Any]:
        drawn = {agent: self.rng.uniform(0, 9, 2).astype(np.float32) for agent in self.agents}
        if self.tick == self.broken_at:
            drawn["player_1"][0] += 1
        return drawn

    def step(self, actions: Any) -> Any:
        self.tick += 1
        seen = self._see()
        ends = {"player_0": self.tick == 3, "player_1": self.tick == 5}
        rewards = {agent: float(seen[agent][0]) + action for agent, action in actions.items()}
        over = {agent: ends[agent] for agent in self.agents}
        never = dict.fromkeys(self.agents, False)
        infos: dict[str, Any] = {agent: {} for agent in self.agents}
        self.agents = [agent for agent in self.agents if not ends[agent]]
        return seen, rewards, over, never, infos

    def render(self) -> Any:
        return np.full((16, 24, 3), self.tick, np.uint8)

    def close(self) -> None:
        pass


class Broken(Luck):
    """Is not what it was."""

    broken_at = 2


def as_aec(env: Any) -> Any:
    from pettingzoo.utils.conversions import parallel_to_aec

    return parallel_to_aec(env)


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
    Path("lucky.py").write_text(Path(__file__).read_text(encoding="utf-8"), encoding="utf-8")
    with TrialStore("luck.db") as store:
        (name,) = play(store, Luck(), 1)
        frames = [step.frame for step in replay(store, name, render=True, env=Luck)]
        assert [int(frame[0, 0, 0]) for frame in frames] == list(range(6))
        with pytest.raises(ConfigurationError, match=r"--env MODULE:FUNCTION.*PettingZooSpec"):
            list(replay(store, name))
        with pytest.raises(ConfigurationError, match="has the agents"):
            list(replay(store, name, env=lambda: PettingZooSpec("aec", "classic/tictactoe-v3").make()))
        with pytest.raises(ConfigurationError, match="branched"):
            branch(store, name, 1)
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
