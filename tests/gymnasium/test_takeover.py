"""Who acts, what is told, and what happens when a seat fails."""

import logging
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import cogment_lab
from cogment_lab.errors import ConfigurationError, EnvironmentCrashedError, InvalidActionError, SeatTakenError
from cogment_lab.humans import SimulatedEvaluator, SimulatedHuman
from cogment_lab.humans.simulated import _QuietSeat
from cogment_lab.trial.pace import Pace
from cogment_lab.trial.takeover import Request


def steps(env: gym.Env[Any, Any], actions: Sequence[Any], seed: int = 1) -> list[dict[str, Any]]:
    env.reset(seed=seed)
    return [env.step(action)[4] for action in actions]


class Script(_QuietSeat):
    """A teacher's seat that asks for given things at given ticks."""

    name, role = "script", "teacher"

    def __init__(self, requests: dict[int, Sequence[Request | Pace]], action: Any = 0) -> None:
        self.requests = requests
        self.action = action
        self.polls = -1

    def poll(self, observation: Any, proposed_action: Any) -> Sequence[Request | Pace] | None:
        self.polls += 1
        return self.requests.get(self.polls)

    def act(self, observation: Any, proposed_action: Any) -> Any:
        return self.action


def test_a_teacher_overrides_while_in_control() -> None:
    teacher = Script({1: (Request.TAKE,), 3: (Request.RELEASE,)}, action=0)
    infos = steps(cogment_lab.make("CartPole-v1", store=None, teacher=teacher), [1, 1, 1, 1])
    assert [info["executed_action"] for info in infos] == [1, 0, 0, 1]
    assert [info["proposed_action"] for info in infos] == [1, 1, 1, 1]
    assert [info["is_intervention"] for info in infos] == [False, True, True, False]
    assert [info["phase"] for info in infos] == ["autonomous", "correcting", "correcting", "autonomous"]
    assert [info.get("intervene_action") for info in infos] == [None, 0, 0, None]
    assert [info["tick"] for info in infos] == [0, 1, 2, 3]


def test_fixed_info_has_one_structure() -> None:
    teacher = Script({1: (Request.TAKE,)})
    infos = steps(cogment_lab.make("CartPole-v1", store=None, teacher=teacher, info_keys="fixed"), [1, 1, 1])
    assert len({frozenset(info) for info in infos}) == 1


def test_fixed_infos_have_no_mask_either() -> None:
    teacher = Script({1: (Request.TAKE,)}, action=np.float32([0.0, np.nan]))
    env = cogment_lab.make(
        "LunarLanderContinuous-v3", store=None, teacher=teacher, mix="touched", info_keys="fixed"
    )
    infos = steps(env, [np.float32([0.5, 0.5])] * 2)
    assert [info["is_intervention"] for info in infos] == [False, True]
    assert len({frozenset(info) for info in infos}) == 1


def test_what_fixed_infos_do_not_tell_can_be_taken_once() -> None:
    teacher = Script({1: (Request.STOP, Request.SAVE), 2: (Request.STOP,)})
    env = cogment_lab.make("CartPole-v1", store=None, teacher=teacher, info_keys="fixed")
    infos = steps(env, [1, 1, 1])
    assert len({frozenset(info) for info in infos}) == 1
    assert env.take_requests() == ("stop", "save") and env.take_requests() == ()


def test_a_policy_is_a_teacher_who_is_always_in_control() -> None:
    infos = steps(cogment_lab.make("CartPole-v1", store=None, teacher=lambda observation: 0), [1, 1])
    assert all(info["intervene_action"] == 0 for info in infos)


def test_discrete_actions_are_told_as_plain_integers() -> None:
    teacher = Script({1: (Request.TAKE,)}, action=np.int64(0))
    infos = steps(cogment_lab.make("CartPole-v1", store=None, teacher=teacher), [np.int64(1), np.array(1)])
    for info in infos:
        told = [value for key, value in info.items() if key.endswith("_action")]
        assert {type(action) for action in told} == {int}
    assert infos[1]["intervene_action"] == 0


def test_control_returns_to_the_player_at_the_end_of_a_trial() -> None:
    teacher = Script({0: (Request.TAKE,)})
    env = cogment_lab.make("CartPole-v1", store=None, teacher=teacher, max_episode_steps=2)
    assert [info["is_intervention"] for info in steps(env, [1, 1])] == [True, True]
    assert [info["is_intervention"] for info in steps(env, [1, 1])] == [False, False]


def test_reaction_delays_both_taking_and_giving_back() -> None:
    wishes = iter([True, True, False, False, False, False])
    teacher = SimulatedHuman(lambda o: 0, gate=lambda o, a: next(wishes), reaction_ticks=2)
    infos = steps(cogment_lab.make("CartPole-v1", store=None, teacher=teacher), [1] * 6)
    assert [info["is_intervention"] for info in infos] == [False, False, True, True, False, False]


def test_budget_bounds_the_help() -> None:
    teacher = SimulatedHuman(lambda o: 0, budget=3)
    infos = steps(cogment_lab.make("CartPole-v1", store=None, teacher=teacher), [1, 0, 1, 0, 1, 0])
    assert sum(info["is_intervention"] for info in infos) == teacher.spent == 3


def test_errors_repeat_with_the_same_generator() -> None:
    def run() -> list[int]:
        teacher = SimulatedHuman(lambda o: 0, error_rate=0.5, rng=np.random.default_rng(4))
        env = cogment_lab.make("CartPole-v1", store=None, teacher=teacher)
        return [info["executed_action"] for info in steps(env, [1] * 8)]

    assert run() == run()
    assert set(run()) == {0, 1}


def test_an_action_outside_the_space_is_refused_and_the_agent_flies() -> None:
    teacher = Script({0: (Request.TAKE,)}, action=7)
    infos = steps(cogment_lab.make("CartPole-v1", store=None, teacher=teacher), [1, 1])
    assert [info["executed_action"] for info in infos] == [1, 1]
    assert all(info["is_fallback"] for info in infos)


def test_fallback_may_repeat_the_teachers_previous_action() -> None:
    teacher = Script({0: (Request.TAKE,)}, action=0)
    env = cogment_lab.make("CartPole-v1", store=None, teacher=teacher, fallback="repeat")
    env.reset(seed=1)
    env.step(1)
    teacher.action = None
    info = env.step(1)[4]
    assert (info["executed_action"], info["is_fallback"]) == (0, True)


def test_a_teacher_that_raises_degrades_to_the_agent(caplog: pytest.LogCaptureFixture) -> None:
    def broken(observation: Any) -> int:
        raise RuntimeError("lost my mind")

    env = cogment_lab.make("CartPole-v1", store=None, teacher=broken)
    with caplog.at_level(logging.ERROR, logger="cogment_lab"):
        infos = steps(env, [1, 0, 1])
    assert [info["executed_action"] for info in infos] == [1, 0, 1]
    assert not any(info["is_intervention"] for info in infos)
    assert len(caplog.records) == 1 and "lost my mind" in caplog.text


@pytest.mark.parametrize("call", ["watch", "end"])
def test_nothing_is_left_of_a_teacher_that_raised_while_in_control(call: str) -> None:
    class Broken(Script):
        def lose(self, told: Any) -> None:
            raise RuntimeError("lost my mind")

    teacher = Broken({0: (Request.TAKE, Pace.LIVE)}, action=0)
    setattr(teacher, call, teacher.lose)
    env = cogment_lab.make("CartPole-v1", store=None, teacher=teacher, max_episode_steps=2, fps=1000)
    infos = [*steps(env, [1, 1]), *steps(env, [1])]
    helped = {"watch": [True, False, False], "end": [True, True, False]}[call]
    assert [info["is_intervention"] for info in infos] == helped
    assert (infos[-1]["phase"], env.trial.pace) == ("autonomous", Pace.MAX)


@pytest.mark.parametrize(
    ("mix", "override", "expected"),
    [
        ("replace", [1.0, -1.0], [1.0, -1.0]),
        ("touched", [np.nan, -1.0], [0.5, -1.0]),
        ("add", [0.25, np.nan], [0.75, 0.5]),
        ("add", [0.75, 0.75], [1.0, 1.0]),
    ],
)
def test_an_override_may_touch_single_dimensions(mix: Any, override: Any, expected: Any) -> None:
    teacher = Script({0: (Request.TAKE,)}, action=np.array(override, dtype=np.float32))
    env = cogment_lab.make("LunarLanderContinuous-v3", store=None, teacher=teacher, mix=mix)
    info = steps(env, [np.array([0.5, 0.5], dtype=np.float32)])[0]
    np.testing.assert_array_equal(info["executed_action"], np.array(expected, dtype=np.float32))
    np.testing.assert_array_equal(info["proposed_action"], np.float32([0.5, 0.5]))


@pytest.mark.parametrize(
    ("mix", "executed"), [("touched", [[0.5, 0.9], [-0.7, -0.5]]), ("add", [[0.5, 0.4], [-0.2, -0.5]])]
)
def test_the_mask_of_an_override_says_which_dimensions_were_touched(mix: Any, executed: Any) -> None:
    overrides = iter(np.array([[np.nan, 0.9], [-0.7, np.nan]], np.float32))
    store = cogment_lab.TrialStore(":memory:")
    env = cogment_lab.make(
        "LunarLanderContinuous-v3", store=store, teacher=lambda observation: next(overrides), mix=mix
    )
    infos = steps(env, [np.array([0.5, -0.5], np.float32)] * 2)
    store.flush()
    data = store.load(env.trial_id)["gym"]
    np.testing.assert_allclose(data.actions, np.float32(executed), rtol=1e-6)
    for told in (infos, data.infos):
        np.testing.assert_array_equal(
            [info["override_mask"] for info in told], [[False, True], [True, False]]
        )
    env.close()
    store.close()


def test_a_pause_waits_and_one_step_may_be_asked_for() -> None:
    teacher = Script({1: (Request.PAUSE,), 3: (Request.STEP,), 6: (Request.RESUME,)})
    infos = steps(cogment_lab.make("CartPole-v1", store=None, teacher=teacher), [1, 1, 1])
    assert [info["phase"] for info in infos] == ["autonomous", "paused", "autonomous"]
    assert teacher.polls >= 6


def test_a_pause_ends_by_itself() -> None:
    teacher = Script({0: (Request.PAUSE,)})
    env = cogment_lab.make("CartPole-v1", store=None, teacher=teacher, max_pause=0.05)
    assert steps(env, [1])[0]["phase"] == "autonomous"


def test_a_fixed_pace_is_kept_whatever_seats_ask() -> None:
    teacher = Script({0: (Pace.LIVE,)})
    env = cogment_lab.make("CartPole-v1", store=None, teacher=teacher, pace="max")
    steps(env, [1])
    assert env.trial.pace is Pace.MAX


def test_a_fixed_pace_is_kept_where_nobody_sits(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("cogment_lab.trial.embedded.time.sleep", slept.append)
    for pace, factor in (("live", 1), ("half", 2), ("quarter", 4)):
        slept.clear()
        env = cogment_lab.make("CartPole-v1", store=None, pace=pace, fps=20)
        steps(env, [0, 1, 0, 1, 0])
        assert len(slept) >= 4
        assert slept[-1] > 0.9 * factor / 20
    slept.clear()
    for pace in (None, "max"):
        steps(cogment_lab.make("CartPole-v1", store=None, pace=pace, fps=20), [0, 1, 0])
    assert not slept


@pytest.mark.parametrize("who", [{}, {"teacher": lambda observation: 0}, {"observers": ["web"]}])
def test_ticks_that_nobody_could_ask_for_are_refused(who: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="teacher='web'"):
        cogment_lab.make("CartPole-v1", store=None, pace="step", **who)


def test_a_trial_waits_for_no_tick_once_nobody_is_left_to_ask_for_it() -> None:
    class Broken(Script):
        def poll(self, observation: Any, proposed_action: Any) -> Any:
            raise RuntimeError("lost my mind")

    env = cogment_lab.make("CartPole-v1", store=None, teacher=Broken({}), pace="step")
    assert [info["tick"] for info in steps(env, [1, 1])] == [0, 1]


def test_observers_change_nothing() -> None:
    observer = Script({0: (Pace.QUARTER, Request.TAKE, Request.PAUSE, Request.STOP)})
    env = cogment_lab.make("CartPole-v1", store=None, teacher=Script({}), observers=[observer])
    (info,) = steps(env, [1])
    assert (env.trial.pace, info["phase"], info.get("requests")) == (Pace.MAX, "autonomous", None)


def test_sampled_watching_paces_one_trial_in_several() -> None:
    teacher = Script({0: (Pace.LIVE,)})
    env = cogment_lab.make(
        "CartPole-v1", store=None, teacher=teacher, watch="sampled", watch_every=3, fps=500
    )
    paces = []
    for _ in range(7):
        steps(env, [0])
        paces.append(env.trial.pace)
    assert paces == [Pace.LIVE, Pace.MAX, Pace.MAX] * 2 + [Pace.LIVE]


def test_requests_are_told_in_the_step_they_happen() -> None:
    teacher = Script({1: (Request.STOP, Request.SAVE)})
    infos = steps(cogment_lab.make("CartPole-v1", store=None, teacher=teacher), [1, 1, 1])
    assert [info.get("requests") for info in infos] == [None, ("stop", "save"), None]


def test_feedback_stays_out_of_the_reward_unless_a_rule_lets_it_in() -> None:
    def rewards(**kwargs: Any) -> list[Any]:
        evaluator = SimulatedEvaluator(lambda tick: -1.0 if tick.number == 1 else None)
        env = cogment_lab.make("CartPole-v1", store=None, evaluator=evaluator, **kwargs)
        env.reset(seed=1)
        return [env.step(action)[1] for action in (0, 1, 0)]

    assert rewards() == [1.0, 1.0, 1.0]
    assert rewards(reward_mixing="add", feedback_weight=0.5) == [1.0, 0.5, 1.0]
    assert rewards(reward_mixing="replace") == [1.0, -1.0, 1.0]


def test_feedback_is_told() -> None:
    evaluator = SimulatedEvaluator(lambda tick: 1.0, confidence=0.5)
    info = steps(cogment_lab.make("CartPole-v1", store=None, evaluator=evaluator), [0])[0]
    assert info["feedback"] == [("simulated evaluator", 1.0, 0.5)]


def test_a_player_in_a_seat_acts_instead_of_the_caller() -> None:
    env = cogment_lab.make("CartPole-v1", store=None, player=lambda observation: 0)
    infos = steps(env, [None, 1])
    assert [info["executed_action"] for info in infos] == [0, 0]
    assert not any(info["is_intervention"] for info in infos)


def test_a_player_without_an_action_is_an_error_that_says_so() -> None:
    env = cogment_lab.make("CartPole-v1", store=None, player=lambda observation: None)
    with pytest.raises(InvalidActionError, match="player's seat"):
        steps(env, [None])


class OneChair(_QuietSeat):
    """A seat for one environment at a time."""

    taken = False
    role = "teacher"

    def attach(self, trial: Any) -> None:
        if self.taken:
            raise SeatTakenError("seat 'teacher' is held by another environment")
        self.taken = True

    def detach(self) -> None:
        self.taken = False


def test_a_taken_seat_is_refused_and_free_again_after_close() -> None:
    chair = OneChair()
    first = cogment_lab.make("CartPole-v1", store=None, teacher=chair)
    second = cogment_lab.make("CartPole-v1", store=None, teacher=chair, observers=[OneChair()])
    first.reset()
    with pytest.raises(SeatTakenError):
        second.reset()
    first.close()
    second.reset()
    second.close()
    assert not chair.taken


def test_a_crashing_environment_ends_its_trial_with_a_clear_error() -> None:
    class Crashing(gym.Wrapper[Any, Any, Any, Any]):
        def step(self, action: Any) -> Any:
            raise ZeroDivisionError("engine on fire")

    env = cogment_lab.make(lambda: Crashing(gym.make("CartPole-v1")), store=None)
    env.reset()
    with pytest.raises(EnvironmentCrashedError, match="engine on fire") as caught:
        env.step(0)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    env.reset()


def test_an_environment_that_minds_an_action_outside_its_space_is_not_to_blame() -> None:
    env = cogment_lab.make("CartPole-v1", store=None)
    env.reset(seed=1)
    with pytest.raises(InvalidActionError, match=r"the action 9 lies outside Discrete\(2\)"):
        env.step(9)
    env.reset()


def test_scripted_players_run_whole_trials() -> None:
    from cogment_lab.humans.scripted import scripted_policy

    assert len(cogment_lab.run("CartPole-v1", scripted_policy("CartPole-v1"), 2, seed=3, store=None)) == 2
