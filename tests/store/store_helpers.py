"""Ticks to record, and scripts that run in processes of their own."""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from cogment_lab.store import AgentSpec, StreamSpec, TrialStream
from cogment_lab.trial.sample import Feedback, Tick
from cogment_lab.trial.takeover import DecidedBy, Phase

OBSERVATION_SPACE = gym.spaces.Box(-np.inf, np.inf, (4,), np.float32)
ACTION_SPACE = gym.spaces.Discrete(3)


def make_tick(
    number: int,
    observation: Any = None,
    action: Any = 1,
    *,
    proposed: Any = None,
    helped: bool = False,
    reward: Any = 1.0,
    terminated: Any = False,
    truncated: Any = False,
    info: dict[str, Any] | None = None,
    feedback: list[Feedback] | None = None,
) -> Tick:
    tick = Tick()
    tick.number = number
    tick.observation = np.full(4, number, np.float32) if observation is None else observation
    tick.executed_action = action
    tick.proposed_action = action if proposed is None else proposed
    tick.decided_by = DecidedBy.TEACHER if helped else DecidedBy.PLAYER
    tick.phase = Phase.CORRECTING if helped else Phase.AUTONOMOUS
    tick.reward = reward
    tick.terminated = terminated
    tick.truncated = truncated
    tick.info = info or {}
    tick.feedback = feedback
    tick.t_shown = time.monotonic_ns()
    tick.t_acted = time.monotonic_ns()
    return tick


def make_spec(record: Any = "full", env_id: str = "Env-v0", **agents: Any) -> StreamSpec:
    return StreamSpec(
        env_id=env_id,
        agents=agents or {"gym": AgentSpec(OBSERVATION_SPACE, ACTION_SPACE)},
        record=record,
        env_spec='{"id": "Env-v0"}',
        parameters={"fps": 30.0, "mix": "replace"},
        versions={"python": "3.11"},
    )


def begin(stream: TrialStream, trial_id: str, **changes: Any) -> None:
    arguments: dict[str, Any] = {"seed": 1, "rng_state": None, "options": None, "properties": {}}
    stream.begin(trial_id, **{**arguments, **changes})


def record_trial(
    stream: TrialStream,
    trial_id: str,
    length: int,
    *,
    start: float = 0.0,
    helped: Sequence[int] = (),
    terminated: bool = False,
    end: bool = True,
    **changes: Any,
) -> None:
    """Record ticks whose observation is full of ``start + tick``."""
    begin(stream, trial_id, **changes)
    recorder = stream.recorder("gym")
    for number in range(length):
        is_last = number == length - 1
        recorder.append(
            make_tick(
                number,
                np.full(4, start + number, np.float32),
                2 if number in helped else 1,
                proposed=1,
                helped=number in helped,
                terminated=terminated and is_last,
                truncated=not terminated and is_last and end,
            )
        )
    if end:
        stream.end(
            state="ENDED",
            end_reason="terminated" if terminated else "truncated",
            last_observations={"gym": np.full(4, start + length, np.float32)},
        )


def wait_until(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Return what the condition returns as soon as it is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.005)
    return found


SCRIPT_HEAD = f"""
import os, signal, sys, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
from cogment_lab.store import TrialStore
from store_helpers import begin, make_spec, make_tick, record_trial, wait_until
store = TrialStore(sys.argv[1])
stream = store.open_stream(make_spec())
"""


def start_script(path: Path, body: str) -> subprocess.Popen[str]:
    """Run code in a new process that has a ``store`` and a ``stream`` at ``path``."""
    return subprocess.Popen(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", SCRIPT_HEAD + body, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    if not line:
        process.kill()
        assert process.stderr is not None
        raise AssertionError(process.stderr.read())
    return line
