"""PettingZoo environments as environments of trials."""

from typing import Any

import numpy as np
import pettingzoo
import pytest
from gymnasium import spaces
from pettingzoo import ParallelEnv

from cogment_lab.actors import ConstantActor, RandomActor
from cogment_lab.core import CogmentActor
from cogment_lab.envs import AECEnvironment, ParallelEnvironment
from cogment_lab.errors import ConfigurationError, UnknownEnvironmentError

CONNECT_FOUR = "classic/connect_four-v3"
RPS = "classic/rps-v2"


class Column(CogmentActor[Any, Any]):
    """Always drops into one column."""

    def __init__(self, column: int) -> None:
        super().__init__(column)
        self.column = column

    async def act(self, observation: Any, rendered_frame: Any = None) -> Any:
        return self.column


def test_agents_of_an_aec_environment_take_turns(play) -> None:
    first, second = Column(0), Column(1)
    env = AECEnvironment(CONNECT_FOUR)
    data = play(env, {"player_0": first, "player_1": second})
    assert data["player_0"].actions.tolist() == [0, 0, 0, 0]  # four in a column win
    assert data["player_1"].actions.tolist() == [1, 1, 1]
    assert data["player_0"].rewards.tolist() == [0, 0, 0, 1]
    assert data["player_1"].rewards.tolist() == [0, 0, -1]
    assert data["player_0"].terminated.tolist() == [False] * 3 + [True]
    assert data["player_1"].terminated.tolist() == [False] * 2 + [True]
    assert not data["player_0"].truncated.any()


def test_an_aec_trial_is_the_bare_game(play) -> None:
    data = play(AECEnvironment(CONNECT_FOUR), {"player_0": RandomActor(), "player_1": RandomActor()}, seed=4)
    bare = pettingzoo.make("aec", CONNECT_FOUR)
    bare.reset(seed=4)
    turns = {agent: iter(range(len(each))) for agent, each in data.items()}
    moves = 0
    for agent in bare.agent_iter():
        observation, _, terminated, truncated, _ = bare.last()
        if terminated or truncated:
            bare.step(None)
            continue
        row = next(turns[agent])
        np.testing.assert_array_equal(
            data[agent].observations["observation"][row], observation["observation"]
        )
        np.testing.assert_array_equal(
            data[agent].observations["action_mask"][row], observation["action_mask"]
        )
        bare.step(int(data[agent].actions[row]))
        moves += 1
    assert moves == sum(len(each) for each in data.values())


def test_an_aec_agent_that_never_comes_makes_legal_moves(play) -> None:
    data = play(AECEnvironment(CONNECT_FOUR), {"player_0": RandomActor(), "player_1": None}, seed=2)
    board = data["player_0"].observations["observation"]
    assert board[-1, :, :, 1].sum() >= 3  # the other one's stones
    assert data["player_0"].rewards[-1] in (-1, 0, 1)


def test_frames_are_rendered_when_a_trial_asks_for_them(play) -> None:
    seen: list[Any] = []

    class Looking(Column):
        async def act(self, observation: Any, rendered_frame: Any = None) -> Any:
            seen.append(rendered_frame)
            return 0

    env = AECEnvironment(CONNECT_FOUR, render=True)
    play(env, {"player_0": Looking(0), "player_1": Column(1)}, render=True)
    assert all(frame.ndim == 3 and frame.dtype == np.uint8 for frame in seen)
    seen.clear()
    play(env, {"player_0": Looking(0), "player_1": Column(1)})
    assert seen and all(frame is None for frame in seen)


def test_agents_of_a_parallel_environment_act_at_once(play) -> None:
    env = ParallelEnvironment(RPS, make_kwargs={"max_cycles": 5})
    data = play(env, {"player_0": ConstantActor(0), "player_1": ConstantActor(1)})
    assert data["player_0"].actions.tolist() == [0] * 5
    assert data["player_0"].rewards.tolist() == [-1] * 5
    assert data["player_1"].rewards.tolist() == [1] * 5
    bare = pettingzoo.make("parallel", RPS, max_cycles=5)
    bare.reset()
    for row in range(5):
        seen, _, _, _, _ = bare.step({"player_0": 0, "player_1": 1})
        for agent, each in data.items():
            assert each.next_observations[row] == seen[agent]
    assert data["player_1"].truncated.tolist() == [False] * 4 + [True]
    assert not data["player_1"].terminated.any()


class Leaving(ParallelEnv):  # type: ignore[misc]
    """``b`` leaves after two steps, ``a`` after four; observes the step and the seed."""

    metadata = {"name": "leaving"}  # noqa: RUF012

    def __init__(self) -> None:
        self.possible_agents = ["a", "b"]

    def observation_space(self, agent: str) -> Any:
        return spaces.Box(-1, 1e6, (2,), np.float64)

    def action_space(self, agent: str) -> Any:
        return spaces.Discrete(3)

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        self.agents, self.count, self.start = ["a", "b"], 0, (options or {}).get("start", 0)
        self.seed = seed
        return self._seen(), {agent: {} for agent in self.agents}

    def _seen(self) -> Any:
        return {agent: np.array([self.count + self.start, self.seed], np.float64) for agent in self.agents}

    def step(self, actions: Any) -> Any:
        assert sorted(actions) == self.agents
        self.count += 1
        seen = self._seen()
        gone = {agent: self.count >= {"a": 4, "b": 2}[agent] for agent in self.agents}
        rewards = {agent: float(actions[agent]) for agent in self.agents}
        infos = {agent: {"count": self.count} for agent in self.agents}
        no = dict.fromkeys(self.agents, False)
        self.agents = [agent for agent in self.agents if not gone[agent]]
        return seen, rewards, gone, no, infos


def make_leaving() -> Any:
    return Leaving()


@pytest.fixture
def leaving(monkeypatch: pytest.MonkeyPatch) -> ParallelEnvironment:
    monkeypatch.setattr("cogment_lab.envs.pettingzoo.import_object", lambda path: make_leaving)
    return ParallelEnvironment("anywhere.leaving", reset_options={"start": 10})


def test_an_agent_that_leaves_early_is_done_and_the_other_goes_on(play, leaving) -> None:
    data = play(leaving, {"a": ConstantActor(1), "b": ConstantActor(2)}, seed=7)
    assert data["a"].rewards.tolist() == [1] * 4
    assert data["b"].rewards.tolist() == [2] * 2
    assert data["b"].terminated.tolist() == [False, True]
    assert data["a"].terminated.tolist() == [False] * 3 + [True]
    assert [info["count"] for info in data["a"].infos] == [1, 2, 3, 4]
    assert data["a"].observations[:, 0].tolist() == [10, 11, 12, 13]
    assert set(data["a"].observations[:, 1]) == {7}
    assert data["b"].last_observation.tolist() == [12, 7]


def test_options_of_the_trial_go_before_those_of_the_environment(play, leaving) -> None:
    data = play(leaving, {"a": ConstantActor(1), "b": ConstantActor(2)}, options={"start": 100})
    assert data["a"].observations[0, 0] == 100


@pytest.mark.filterwarnings("ignore:The old environment creation API:DeprecationWarning")
def test_an_environment_is_also_found_by_its_path(play) -> None:
    env = AECEnvironment("pettingzoo.classic.connect_four_v3.env")
    assert len(play(env, {"player_0": Column(0), "player_1": Column(1)})["player_0"]) == 4


def test_what_is_no_environment_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no function or class"):
        AECEnvironment("cogment_lab.envs.pettingzoo")
    with pytest.raises(UnknownEnvironmentError, match=r"classic/connect_fourteen-v3.*Available"):
        AECEnvironment("classic/connect_fourteen-v3")
