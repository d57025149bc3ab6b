"""Stored samples become arrays: the quick way and the slow way agree, and the meaning is Gymnasium's."""

import time
from typing import Any

import numpy as np
import pytest
from gymnasium import Space, spaces

from cogment_lab.specs import action_to_message, observation_to_message, space_to_message
from cogment_lab.specs.generated import data_pb2 as pb
from cogment_lab.wire import trial_data
from cogment_lab.wire.generated.common_pb2 import ActorParams, SerializedMessage, TrialParams
from cogment_lab.wire.generated.trial_datastore_pb2 import StoredTrialSample
from cogment_lab.wire.trial_data import decode_trial

BOX = spaces.Box(-10, 10, (4,), np.float32)


def params(observation_space: Space[Any], action_space: Space[Any], *names: str) -> TrialParams:
    specs = pb.AgentSpecs(
        observation_space=space_to_message(observation_space), action_space=space_to_message(action_space)
    )
    config = SerializedMessage(content=pb.AgentConfig(agent_specs=specs).SerializeToString())
    return TrialParams(
        actors=[ActorParams(name=name, actor_class="player", config=config) for name in names or ("gym",)]
    )


def sample(
    tick: int, *parts: tuple[pb.Observation, pb.PlayerAction | None, float | None]
) -> StoredTrialSample:
    stored = StoredTrialSample(trial_id="t", tick_id=tick, timestamp=1000 + tick)
    for actor, (observation, action, reward) in enumerate(parts):
        entry = stored.actor_samples.add(actor=actor, reward=reward)
        entry.observation = len(stored.payloads)
        stored.payloads.append(observation.SerializeToString())
        if action is not None:
            entry.action = len(stored.payloads)
            stored.payloads.append(action.SerializeToString())
    return stored


def episode(
    n: int, *, truncated: bool = False, info: bool = False
) -> tuple[list[Any], list[StoredTrialSample]]:
    rng = np.random.default_rng(1)
    seen = rng.normal(size=(n + 1, 4)).astype(np.float32)
    samples = []
    for tick in range(n + 1):
        end = tick == n
        observation = observation_to_message(
            BOX,
            seen[tick],
            reward=tick / 3 if tick else None,
            terminated=end and not truncated,
            truncated=end and truncated,
            info={"tick": tick} if info else None,
        )
        action = None if end else action_to_message(spaces.Discrete(3, start=1), 1 + tick % 3)
        samples.append(
            sample(tick, (observation, action, None if end else float(np.float32((tick + 1) / 3))))
        )
    return [seen], samples


@pytest.mark.parametrize("truncated", [False, True])
@pytest.mark.parametrize("info", [False, True])
def test_a_trial_reads_as_gymnasium_gave_it(truncated: bool, info: bool) -> None:
    (seen,), samples = episode(7, truncated=truncated, info=info)
    data = decode_trial(params(BOX, spaces.Discrete(3, start=1)), samples)["gym"]
    np.testing.assert_array_equal(data.observations, seen[:-1])
    np.testing.assert_array_equal(data.next_observations, seen[1:])
    np.testing.assert_array_equal(data.last_observation, seen[-1])
    assert list(data.actions) == [1, 2, 3, 1, 2, 3, 1]
    assert list(data.rewards) == [tick / 3 for tick in range(1, 8)]  # float64, not the wire's float32
    assert list(data.terminated) == [False] * 6 + [not truncated]
    assert list(data.truncated) == [False] * 6 + [truncated]
    assert data.infos == [{"tick": tick} if info else {} for tick in range(1, 8)]
    assert list(data.decided_by) == ["player"] * 7


def test_both_ways_of_decoding_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    _, samples = episode(20)
    quick = decode_trial(params(BOX, spaces.Discrete(3, start=1)), samples)["gym"]
    used = []
    monkeypatch.setattr(trial_data, "cut_observations", lambda *a: used.append(a))
    monkeypatch.setattr(trial_data, "cut_actions", lambda *a: used.append(a))
    slow = decode_trial(params(BOX, spaces.Discrete(3, start=1)), samples)["gym"]
    assert used
    for name in ("observations", "actions", "rewards", "terminated", "truncated", "next_observations"):
        mine, theirs = getattr(quick, name), getattr(slow, name)
        assert mine.dtype == theirs.dtype
        np.testing.assert_array_equal(mine, theirs)


def test_agents_that_take_turns_have_their_own_decisions_and_all_rewards_between_them() -> None:
    waiting = pb.Observation(active=False, alive=True)
    space = spaces.Discrete(2)

    def turn(value: float) -> pb.Observation:
        return observation_to_message(BOX, np.full(4, value, np.float32))

    act = action_to_message(space, 1)
    samples = [
        sample(0, (turn(0), act, 1.0), (waiting, None, 0.5)),
        sample(1, (waiting, None, 2.0), (turn(1), act, 0.0)),
        sample(2, (turn(2), act, 4.0), (waiting, None, 0.0)),
        sample(3, (turn(3), None, None), (turn(3), None, None)),
    ]
    data = decode_trial(params(BOX, space, "first", "second"), samples)
    assert list(data["first"].ticks) == [0, 2]
    assert list(data["first"].rewards) == [3.0, 4.0]
    assert list(data["second"].ticks) == [1]
    assert data["first"].done[-1]


def test_a_dict_space_gives_a_dict_of_arrays() -> None:
    space = spaces.Dict(a=BOX, b=spaces.Discrete(3))
    values = [{"a": np.full(4, n, np.float32), "b": np.int64(n)} for n in range(3)]
    messages = [observation_to_message(space, value, terminated=n == 2) for n, value in enumerate(values)]
    samples = [
        sample(n, (message, None if n == 2 else action_to_message(BOX, np.ones(4, np.float32)), 0.0))
        for n, message in enumerate(messages)
    ]
    data = decode_trial(params(space, BOX), samples)["gym"]
    assert data.observations["a"].shape == (2, 4)
    assert list(data.observations["b"]) == [0, 1]
    assert data.actions.shape == (2, 4)


def test_an_executed_action_of_a_teacher_is_the_action_and_the_proposed_one_is_kept() -> None:
    space = spaces.Discrete(2)
    plain = observation_to_message(BOX, np.zeros(4, np.float32))
    help_ = {"is_intervention": True, "executed_action": 1, "phase": "correcting"}
    helped = observation_to_message(BOX, np.zeros(4, np.float32), info=help_, terminated=True)
    samples = [sample(0, (plain, action_to_message(space, 0), 0.0)), sample(1, (helped, None, None))]
    data = decode_trial(params(BOX, space), samples)["gym"]
    assert list(data.actions) == [1]
    assert list(data.proposed_actions) == [0]
    assert list(data.is_intervention) == [True]
    assert list(data.phase) == ["CORRECTING"]


def test_two_thousand_ticks_take_milliseconds() -> None:
    _, samples = episode(2000)
    of = params(BOX, spaces.Discrete(3, start=1))
    decode_trial(of, samples)
    begin = time.process_time()
    decode_trial(of, samples)
    assert time.process_time() - begin < 0.5  # 20 ms on a quick machine; one by one it was 300
