"""Trials of anything that spaces hold, and whether two stores hold the same."""

import dataclasses
from typing import Any

import numpy as np

from cogment_lab.store import AgentSpec, StreamSpec, TrialData, TrialStore
from cogment_lab.trial.sample import Feedback, Tick


def record_random(store: TrialStore, spec: AgentSpec, lengths: list[int], seed: int, *more: str) -> None:
    """Record ticks of anything that the spaces hold, of ``"gym"`` or of the agents ``more``."""
    spec.observation_space.seed(seed)
    spec.action_space.seed(seed)
    rng = np.random.default_rng(seed)
    agents = dict.fromkeys(more or ("gym",), spec)
    stream = store.open_stream(
        StreamSpec(
            env_id="Any-v0",
            agents=agents,
            env_spec='{"id": "Any-v0"}',
            parameters={"fps": 10.0},
            versions={"python": "3.11"},
        )
    )
    for number, length in enumerate(lengths):
        rng_state = None if number % 2 else np.random.default_rng(number).bit_generator.state
        stream.begin(
            f"t{number}",
            seed=number if number % 2 else None,
            rng_state=rng_state,
            options={"level": number, "deep": {"x": None}} if number else None,
            properties={"study": "pilot"},
            user_id="ann",
        )
        for index, agent in ((index, agent) for index in range(length) for agent in agents):
            tick = Tick()
            tick.number = index
            tick.observation = spec.observation_space.sample()
            tick.executed_action = spec.action_space.sample()
            tick.proposed_action = spec.action_space.sample()
            tick.decided_by = int(rng.integers(3))
            tick.phase = int(rng.integers(3))
            tick.reward = float(rng.normal())
            tick.terminated = index == length - 1 and number % 2 == 0
            tick.truncated = index == length - 1 and number % 2 == 1
            tick.info = {"speed": float(index), "why": "x" * index} if index % 2 else {}
            tick.feedback = [Feedback("eve", 0.5, 1.0, 7, index)] if index % 3 == 1 else None
            tick.t_shown, tick.t_acted, tick.reaction_ns = index, index + 1, 5
            stream.recorder(agent).append(tick)
        ending = "truncated" if number % 2 else "terminated"
        last = {agent: spec.observation_space.sample() for agent in agents}
        stream.end(state="ENDED", end_reason=ending, last_observations=last)
    stream.close()


def assert_same(found: Any, wanted: Any) -> None:
    if isinstance(wanted, dict):
        assert list(found) == list(wanted)
        for key in wanted:
            assert_same(found[key], wanted[key])
    elif isinstance(wanted, tuple | list):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            assert_same(one, other)
    elif isinstance(wanted, np.ndarray):
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted)
    else:
        assert found == wanted


def assert_same_trials(found: TrialStore, wanted: TrialStore) -> None:
    pairs = list(zip(found.trials(), wanted.trials(), strict=True))
    assert pairs
    for one, other in pairs:
        for name in ("trial_id", "end_reason", "n_ticks", "total_reward", "n_interventions", "n_takeovers"):
            assert getattr(one, name) == getattr(other, name), name
        for name in ("seed", "rng_state", "options", "properties", "user_id", "started", "ended"):
            assert getattr(one, name) == getattr(other, name), name
        for name in ("env_id", "env_spec", "parameters", "versions", "agents"):
            assert getattr(one, name) == getattr(other, name), name
        loaded, expected = found.load(one.trial_id), wanted.load(other.trial_id)
        for agent, field in (
            (agent, field) for agent in other.agents for field in dataclasses.fields(TrialData)
        ):
            assert_same(getattr(loaded[agent], field.name), getattr(expected[agent], field.name))
