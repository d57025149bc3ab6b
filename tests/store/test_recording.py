from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from store_helpers import (
    ACTION_SPACE,
    OBSERVATION_SPACE,
    begin,
    make_spec,
    make_tick,
    record_trial,
    wait_until,
)

from cogment_lab.errors import ConfigurationError, SpecError, TrialNotFoundError, TrialStateError
from cogment_lab.store import AgentSpec, TrialStore, TrialStream
from cogment_lab.trial.recorder import Recorder, TickRecorder
from cogment_lab.trial.sample import LATE_FEEDBACK, Feedback


def test_a_stream_is_what_a_trial_records_with(stream: TrialStream) -> None:
    recorder: Recorder = stream
    ticks: TickRecorder = recorder.recorder("gym")
    assert ticks is stream.recorder("gym")


def test_what_was_recorded_is_read_back(store: TrialStore, stream: TrialStream) -> None:
    record_trial(stream, "a", 5, helped=(2, 3), terminated=True)
    data = store.load("a")["gym"]
    assert len(data) == 5
    assert data.trial_id == "a" and data.agent == "gym"
    np.testing.assert_array_equal(
        data.observations, np.repeat(np.arange(5.0, dtype=np.float32), 4).reshape(5, 4)
    )
    assert data.observations.dtype == np.float32
    np.testing.assert_array_equal(data.actions, [1, 1, 2, 2, 1])
    np.testing.assert_array_equal(data.proposed_actions, [1, 1, 1, 1, 1])
    np.testing.assert_array_equal(data.is_intervention, [False, False, True, True, False])
    np.testing.assert_array_equal(data.decided_by, ["player", "player", "teacher", "teacher", "player"])
    np.testing.assert_array_equal(
        data.phase, ["AUTONOMOUS", "AUTONOMOUS", "CORRECTING", "CORRECTING", "AUTONOMOUS"]
    )
    np.testing.assert_array_equal(data.rewards, np.ones(5))
    np.testing.assert_array_equal(data.ticks, np.arange(5))
    np.testing.assert_array_equal(data.last_observation, np.full(4, 5, np.float32))
    assert (data.t_shown > 0).all() and (data.timestamps.t_acted >= data.timestamps.t_shown).all()
    assert data.infos == [{}] * 5


def test_termination_and_truncation_stay_apart(store: TrialStore, stream: TrialStream) -> None:
    record_trial(stream, "terminated", 3, terminated=True)
    record_trial(stream, "truncated", 3)
    terminated, truncated = store.load("terminated")["gym"], store.load("truncated")["gym"]
    assert terminated.terminated.tolist() == [False, False, True] and not terminated.truncated.any()
    assert truncated.truncated.tolist() == [False, False, True] and not truncated.terminated.any()
    np.testing.assert_array_equal(terminated.done, truncated.done)
    assert store.info("terminated").terminated and not store.info("terminated").truncated
    assert store.info("truncated").truncated and not store.info("truncated").terminated


def test_next_observations_end_with_the_last_observation(store: TrialStore, stream: TrialStream) -> None:
    record_trial(stream, "a", 3)
    record_trial(stream, "b", 3, start=100)
    following = store.load("a")["gym"].next_observations
    np.testing.assert_array_equal(following[:, 0], [1, 2, 3])


def test_a_trial_closed_by_reset_reads_as_truncated(store: TrialStore, stream: TrialStream) -> None:
    record_trial(stream, "left", 3, end=False)
    record_trial(stream, "next", 3)
    assert store.info("left").end_reason == "reset"
    assert store.info("left").state == "ENDED" and store.info("left").truncated
    data = store.load("left")["gym"]
    assert data.truncated.tolist() == [False, False, True]
    assert data.last_observation is None
    np.testing.assert_array_equal(data.next_observations[:, 0], [1, 2, 2])


def test_a_running_trial_can_be_read(store: TrialStore, stream: TrialStream) -> None:
    record_trial(stream, "a", 3, end=False)
    assert store.info("a").state == "RUNNING"
    assert store.info("a").ended is None and store.info("a").end_reason is None
    assert store.info("a").n_ticks == 3
    assert not store.load("a")["gym"].done.any()


def test_closing_the_stream_ends_the_running_trial(store: TrialStore, stream: TrialStream) -> None:
    record_trial(stream, "a", 3, end=False)
    stream.close()
    assert (store.info("a").state, store.info("a").end_reason) == ("ENDED", "closed")


def test_a_dropped_stream_ends_its_trial(file_store: TrialStore) -> None:
    stream = file_store.open_stream(make_spec())
    record_trial(stream, "a", 3, end=False)
    del stream
    wait_until(lambda: file_store.info("a").end_reason == "closed")
    assert len(file_store.load("a")["gym"]) == 3


def test_a_trial_without_ticks_leaves_no_record(store: TrialStore, stream: TrialStream) -> None:
    begin(stream, "empty")
    record_trial(stream, "a", 1)
    begin(stream, "also-empty")
    stream.close()
    assert [info.trial_id for info in store.trials()] == ["a"]


def test_a_trial_that_failed_before_its_first_tick_is_kept(store: TrialStore, stream: TrialStream) -> None:
    begin(stream, "crashed")
    stream.event(0, "environment_crashed", {"error": "no"})
    stream.end(state="ENDED", end_reason="environment_crashed", last_observations={})
    assert store.info("crashed").n_ticks == 0
    assert len(store.load("crashed")["gym"]) == 0
    assert list(store.transitions()) == []


def test_what_belongs_to_a_trial_is_kept(store: TrialStore, stream: TrialStream) -> None:
    rng = np.random.default_rng(3)
    state = rng.bit_generator.state
    record_trial(
        stream,
        "a",
        4,
        helped=(1,),
        seed=None,
        rng_state=state,
        options={"start": np.float32(0.5)},
        properties={"study": "pilot"},
        user_id="u7",
    )
    info = store.info("a")
    assert info.env_id == "Env-v0" and info.agents == ("gym",) and info.record == "full"
    assert info.seed is None and info.rng_state == state
    assert info.options == {"start": np.float32(0.5)}
    assert info.properties == {"study": "pilot"} and info.user_id == "u7"
    assert (info.n_ticks, info.total_reward, info.n_interventions, info.n_takeovers) == (4, 4.0, 1, 1)
    assert info.parameters == {"fps": 30.0, "mix": "replace"} and info.versions == {"python": "3.11"}
    assert info.env_spec == '{"id": "Env-v0"}'
    assert info.ended is not None and info.started <= info.ended
    rng.bit_generator.state = info.rng_state


@pytest.mark.parametrize("seed", [0, 2**63 - 1, 2**63, 2**128 - 1])
def test_any_seed_is_kept_and_found(store: TrialStore, stream: TrialStream, seed: int) -> None:
    record_trial(stream, "a", 1, seed=seed)
    record_trial(stream, "b", 1, seed=5)
    assert store.info("a").seed == seed
    assert [info.trial_id for info in store.trials(seed=seed)] == ["a"]


@pytest.mark.parametrize("generator", [np.random.MT19937, np.random.PCG64DXSM, np.random.Philox])
def test_the_state_of_other_generators_is_kept(
    store: TrialStore, stream: TrialStream, generator: type
) -> None:
    bits = generator(1)
    record_trial(stream, "a", 1, seed=None, rng_state=bits.state)
    again = generator(2)
    again.state = store.info("a").rng_state
    assert again.random_raw(4).tolist() == bits.random_raw(4).tolist()


def test_events_keep_their_order(store: TrialStore, stream: TrialStream) -> None:
    begin(stream, "a")
    stream.event(0, "phase", {"request": "take", "phase": "correcting"})
    stream.recorder("gym").append(make_tick(0))
    stream.event(1, "pace", {"pace": "live"})
    events = store.events("a")
    assert [(event.tick, event.kind) for event in events] == [(0, "phase"), (1, "pace")]
    _, _, data, time = events[0]
    assert data == {"request": "take", "phase": "correcting"} and time > 1e9


def test_feedback_is_kept_as_it_was_given(store: TrialStore, stream: TrialStream) -> None:
    begin(stream, "a")
    opinions = [Feedback("anna", 1.0, 0.5, time=12, tick=0), Feedback("ben", -1.0, tick=0)]
    stream.recorder("gym").append(make_tick(0))
    stream.recorder("gym").append(make_tick(1, feedback=opinions))
    assert store.load("a")["gym"].feedback == opinions
    source, value, confidence, time = opinions[0]
    assert (source, value, confidence, time) == ("anna", 1.0, 0.5, 12)


def test_the_record_does_not_change_with_its_arguments(store: TrialStore, stream: TrialStream) -> None:
    begin(stream, "a")
    observation, info = np.zeros(4, np.float32), {"position": [1, 2]}
    stream.recorder("gym").append(make_tick(0, observation, info=info))
    observation += 1
    info["position"].append(3)
    info["late"] = [True]
    data = store.load("a")["gym"]
    np.testing.assert_array_equal(data.observations, np.zeros((1, 4)))
    assert data.infos == [{"position": [1, 2]}]


def test_an_equal_proposal_is_no_other_proposal(store: TrialStore) -> None:
    box = gym.spaces.Box(-1, 1, (2,), np.float32)
    stream = store.open_stream(make_spec(gym=AgentSpec(OBSERVATION_SPACE, box)))
    begin(stream, "a")
    action = np.array([0.5, 0.25], np.float32)
    stream.recorder("gym").append(make_tick(0, action=action, proposed=action.copy()))
    stream.recorder("gym").append(make_tick(1, action=action, proposed=-action))
    data = store.load("a")["gym"]
    np.testing.assert_array_equal(data.actions, [action, action])
    np.testing.assert_array_equal(data.proposed_actions, [action, -action])


def test_numbers_may_be_numpy_scalars_or_small_arrays(store: TrialStore, stream: TrialStream) -> None:
    begin(stream, "a")
    recorder = stream.recorder("gym")
    recorder.append(make_tick(0, action=np.int64(2), reward=np.float32(0.5), terminated=np.bool_(False)))
    recorder.append(make_tick(1, action=np.array([2]), reward=np.array([0.25]), terminated=np.True_))
    data = store.load("a")["gym"]
    assert data.actions.tolist() == [2, 2] and data.rewards.tolist() == [0.5, 0.25]
    assert data.terminated.tolist() == [False, True]


def test_rewards_are_kept_bit_exactly(store: TrialStore, stream: TrialStream) -> None:
    rewards = [0.1 + 0.2, -0.0, 5e-324, float("inf"), float("-inf"), float("nan"), 1e300]
    begin(stream, "a")
    for number, reward in enumerate(rewards):
        stream.recorder("gym").append(make_tick(number, reward=reward))
    assert store.load("a")["gym"].rewards.tobytes() == np.array(rewards).tobytes()
    assert np.isnan(store.info("a").total_reward)


def test_observations_of_another_dtype_are_cast(store: TrialStore, stream: TrialStream) -> None:
    begin(stream, "a")
    stream.recorder("gym").append(make_tick(0, np.arange(4.0)))
    stream.recorder("gym").append(make_tick(1, [0, 1, 2, 3]))
    stream.recorder("gym").append(make_tick(2, np.arange(8, dtype=np.float32)[::2]))
    observations = store.load("a")["gym"].observations
    assert observations.dtype == np.float32
    np.testing.assert_array_equal(observations, [[0, 1, 2, 3], [0, 1, 2, 3], [0, 2, 4, 6]])


def test_an_observation_of_another_shape_is_refused(stream: TrialStream) -> None:
    begin(stream, "a")
    with pytest.raises(SpecError, match=r"tick 3.*shape \(5,\)"):
        stream.recorder("gym").append(make_tick(3, np.zeros(5, np.float32)))


def test_an_action_that_is_no_number_is_refused(stream: TrialStream) -> None:
    begin(stream, "a")
    with pytest.raises(SpecError, match="'left'"):
        stream.recorder("gym").append(make_tick(0, action="left"))


def test_a_tick_outside_a_trial_is_refused(stream: TrialStream) -> None:
    with pytest.raises(TrialStateError, match="begin"):
        stream.recorder("gym").append(make_tick(0))
    record_trial(stream, "a", 2)
    with pytest.raises(TrialStateError, match="begin"):
        stream.recorder("gym").append(make_tick(2))


def test_a_closed_stream_begins_no_trial(stream: TrialStream) -> None:
    stream.close()
    stream.close()
    with pytest.raises(TrialStateError, match="closed"):
        begin(stream, "a")


def test_unknown_agents_and_modes_are_refused(store: TrialStore, stream: TrialStream) -> None:
    with pytest.raises(ConfigurationError, match="it has 'gym'"):
        stream.recorder("pilot")
    with pytest.raises(ConfigurationError, match="record='some'"):
        store.open_stream(make_spec("some"))


def test_trials_may_end_without_last_observation_after_termination(
    store: TrialStore, stream: TrialStream
) -> None:
    begin(stream, "a")
    stream.recorder("gym").append(make_tick(0, terminated=True))
    stream.end(state="ENDED", end_reason="terminated", last_observations={})
    (batch,) = store.transitions()
    assert batch.terminated.tolist() == [True]


# --- what is left out ---


@pytest.fixture(params=["actions", "interventions"])
def partial(request: pytest.FixtureRequest, store: TrialStore) -> TrialStream:
    stream = store.open_stream(make_spec(request.param))
    record_trial(stream, "helped", 10, helped=(3, 4, 9))
    record_trial(stream, "alone", 5)
    return stream


def test_all_ticks_count_whatever_is_recorded(store: TrialStore, partial: TrialStream) -> None:
    helped, alone = store.info("helped"), store.info("alone")
    assert (helped.n_ticks, helped.total_reward) == (10, 10.0)
    assert (helped.n_interventions, helped.n_takeovers) == (3, 2)
    assert (alone.n_ticks, alone.total_reward, alone.n_interventions) == (5, 5.0, 0)


def test_takeovers_are_observed_with_what_followed(store: TrialStore, partial: TrialStream) -> None:
    data = store.load("helped")["gym"]
    assert data.observed_ticks.tolist() == [3, 4, 5, 9]
    assert data.observed_observations[:, 0].tolist() == [3, 4, 5, 9]
    (batch,) = store.transitions(trial_ids=["helped"])
    assert batch.ticks.tolist() == [3, 4, 9]
    assert batch.observations[:, 0].tolist() == [3, 4, 9]
    assert batch.next_observations[:, 0].tolist() == [4, 5, 10]
    assert batch.is_intervention.all() and batch.truncated.tolist() == [False, False, True]
    assert list(store.transitions(trial_ids=["alone"])) == []


def test_actions_mode_keeps_all_ticks_without_observations(store: TrialStore) -> None:
    stream = store.open_stream(make_spec("actions"))
    record_trial(stream, "a", 6, helped=(2,))
    data = store.load("a")["gym"]
    assert data.observations is None and data.next_observations is None
    assert data.actions.tolist() == [1, 1, 2, 1, 1, 1]
    assert data.ticks.tolist() == [0, 1, 2, 3, 4, 5]


def test_interventions_mode_keeps_only_the_ticks_of_takeovers(store: TrialStore) -> None:
    stream = store.open_stream(make_spec("interventions"))
    record_trial(stream, "a", 10, helped=(3, 4, 7), terminated=True)
    data = store.load("a")["gym"]
    assert data.ticks.tolist() == [3, 4, 7]
    assert data.observations[:, 0].tolist() == [3, 4, 7]
    assert data.next_observations[:, 0].tolist() == [4, 5, 8]
    assert not data.done.any()
    assert store.info("a").terminated and not store.info("a").truncated


def test_progress_is_known_while_nothing_is_kept(store: TrialStore) -> None:
    stream = store.open_stream(make_spec("interventions"))
    record_trial(stream, "a", 7, end=False)
    assert (store.info("a").n_ticks, store.info("a").state) == (7, "RUNNING")
    assert len(store.load("a")["gym"]) == 0


def test_a_return_does_not_depend_on_when_the_writer_wrote(store: TrialStore) -> None:
    rewards = np.random.default_rng(0).normal(size=(2, 300)).tolist()
    agents: dict[str, Any] = {name: AgentSpec(OBSERVATION_SPACE, ACTION_SPACE) for name in ("black", "white")}
    stream = store.open_stream(make_spec(**agents))
    for trial_id, pause in (("at once", 1000), ("in parts", 7)):
        begin(stream, trial_id)
        for number in range(300):
            for name, column in zip(agents, rewards, strict=True):
                stream.recorder(name).append(make_tick(number, reward=column[number]))
            if number % pause == pause - 1:
                store.flush()
        stream.end(state="ENDED", end_reason="terminated", last_observations={})
    one_by_one = [float(np.cumsum(column)[-1]) for column in rewards]
    assert store.info("at once").total_reward == store.info("in parts").total_reward == sum(one_by_one)


# --- several agents ---


def test_agents_that_take_turns_have_their_own_ticks(store: TrialStore) -> None:
    agents: dict[str, Any] = {name: AgentSpec(OBSERVATION_SPACE, ACTION_SPACE) for name in ("black", "white")}
    stream = store.open_stream(make_spec(**agents))
    begin(stream, "game")
    for number in range(5):
        stream.recorder("black" if number % 2 else "white").append(make_tick(number, reward=float(number)))
    stream.end(state="ENDED", end_reason="terminated", last_observations={"white": np.zeros(4, np.float32)})
    data = store.load("game")
    assert list(data) == ["black", "white"]
    assert data["white"].ticks.tolist() == [0, 2, 4] and data["black"].ticks.tolist() == [1, 3]
    assert data["white"].last_observation is not None and data["black"].last_observation is None
    assert (store.info("game").n_ticks, store.info("game").total_reward) == (5, 10.0)
    assert [len(batch) for batch in store.transitions(agent="white")] == [3]
    assert [len(batch) for batch in store.transitions(agent="black")] == [1]


def test_unknown_trials_are_named(store: TrialStore) -> None:
    for read in (store.info, store.load, store.events):
        with pytest.raises(TrialNotFoundError, match="'nobody'"):
            read("nobody")


def said_late(stream: TrialStream, trial_id: str, value: float) -> None:
    data = {"seat": "judge", "agent": "gym", "value": value, "tick": 2, "t": 7}
    stream.event(0, LATE_FEEDBACK, data, trial_id)


def test_an_opinion_after_the_end_is_kept_with_its_trial(store: TrialStore, stream: TrialStream) -> None:
    record_trial(stream, "crash", 3, terminated=True)
    store.flush()
    begin(stream, "next")
    stream.recorder("gym").append(make_tick(0))
    said_late(stream, "crash", -1.0)
    stream.end(state="ENDED", end_reason="reset", last_observations={})
    said_late(stream, "next", 0.5)
    store.flush()
    assert store.load("crash")["gym"].feedback == [Feedback("judge", -1.0, 1.0, 7, 2)]
    assert [opinion.value for opinion in store.load("next")["gym"].feedback] == [0.5]
    assert [event.kind for event in store.events("crash")] == [LATE_FEEDBACK]


def test_what_is_said_of_a_trial_without_a_record_is_dropped(store: TrialStore, stream: TrialStream) -> None:
    begin(stream, "empty")
    stream.end(state="ENDED", end_reason="reset", last_observations={})
    record_trial(stream, "other", 1)
    store.flush()
    said_late(stream, "empty", 1.0)
    record_trial(stream, "full", 2)
    store.flush()
    assert [info.trial_id for info in store.trials()] == ["other", "full"]
    assert store.load("full")["gym"].feedback == [] and store.events("full") == []


def test_a_verdict_is_a_property_that_trials_are_found_by(store: TrialStore, stream: TrialStream) -> None:
    begin(stream, "a", properties={"study": "pilot"})
    stream.recorder("gym").append(make_tick(0))
    stream.event(1, "failure", {"seat": "judge"})
    store.flush()
    stream.event(1, "success", {"seat": "judge"})
    stream.end(state="ENDED", end_reason="terminated", last_observations={})
    record_trial(stream, "b", 2, options={"level": 3})
    stream.event(0, "discard", {"seat": "judge"}, "b")
    record_trial(stream, "c", 2)
    store.flush()
    found = {
        verdict: [info.trial_id for info in store.trials(properties={"verdict": verdict})]
        for verdict in ("success", "failure", "discard")
    }
    assert found == {"success": ["a"], "failure": [], "discard": ["b"]}
    assert store.info("a").properties == {"study": "pilot", "verdict": "success"}
    assert store.info("b").options == {"level": 3} and store.info("c").properties == {}
