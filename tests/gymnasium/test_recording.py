"""What a trial environment writes, and where."""

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from cogment_lab.integrations.gymnasium.recording import default_store_path
from cogment_lab.integrations.gymnasium.seating import Seating

import cogment_lab
from cogment_lab.errors import EnvironmentCrashedError
from cogment_lab.humans import SimulatedEvaluator, SimulatedHuman
from cogment_lab.humans.web.seat import WebSeat
from cogment_lab.trial.pace import Pace


def play(env: gym.Env[Any, Any], actions: list[Any], seed: int | None = 1) -> None:
    env.reset(seed=seed)
    for action in actions:
        env.step(action)


class Viewer(SimulatedHuman):
    """Asks for a pace when it has come."""

    pace: Pace | None = Pace.LIVE

    def poll(self, observation: Any, proposed_action: Any) -> Any:
        asked, self.pace = self.pace, None
        return None if asked is None else (asked,)


def paces(store: cogment_lab.TrialStore, env: Any, trials: int) -> list[list[tuple[int, str]]]:
    """The pace events of each trial."""
    for _ in range(trials):
        play(env, [0, 1])
    env.close()
    found = sorted(store.trials(), key=lambda info: info.started)
    events = [store.events(info.trial_id) for info in found]
    return [[(each.tick, each.data["pace"]) for each in told if each.kind == "pace"] for told in events]


def test_each_trial_begins_with_its_pace() -> None:
    with cogment_lab.TrialStore(":memory:") as store:
        env = cogment_lab.make("CartPole-v1", store=store, teacher=Viewer(lambda o: 0), fps=1000)
        assert paces(store, env, 3) == [[(0, "live")]] * 3


def test_sampled_trials_say_which_of_them_were_paced() -> None:
    with cogment_lab.TrialStore(":memory:") as store:
        env = cogment_lab.make(
            "CartPole-v1",
            store=store,
            teacher=Viewer(lambda o: 0),
            fps=1000,
            watch="sampled",
            watch_every=2,
        )
        assert paces(store, env, 3) == [[(0, "live")], [], [(0, "live")]]


def test_a_fixed_pace_is_among_the_parameters() -> None:
    with cogment_lab.TrialStore(":memory:") as store:
        env = cogment_lab.make("CartPole-v1", store=store, pace="half", fps=1000)
        assert paces(store, env, 2) == [[], []]
        assert {info.parameters["pace"] for info in store.trials()} == {"half"}


def test_the_default_store_is_named_after_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_store_path("ALE/Pong-v5") == Path("runs/ALE-Pong-v5.db")
    env = cogment_lab.make("CartPole-v1")
    assert not Path("runs").exists(), "making an environment opens no file"
    play(env, [0, 1])
    env.close()
    assert Path("runs/CartPole-v1.db").exists()
    monkeypatch.setenv("COGMENT_LAB_STORE", "elsewhere.db")
    assert default_store_path("CartPole-v1") == Path("elsewhere.db")


def test_a_record_holds_what_was_proposed_and_what_was_executed() -> None:
    teacher = SimulatedHuman(lambda o: 0, gate=lambda o, proposed: proposed == 1)
    with cogment_lab.TrialStore(":memory:") as store:
        env = cogment_lab.make("CartPole-v1", store=store, teacher=teacher, properties={"study": "pilot"})
        env.reset(seed=4, options={"low": -0.01, "high": 0.01})
        observations = [env.step(action)[0] for action in (0, 1, 1, 0)]
        env.close()
        (info,) = store.trials()
        data = store.load(info.trial_id)["gym"]
    assert data.proposed_actions.tolist() == [0, 1, 1, 0]
    assert data.actions.tolist() == [0, 0, 0, 0]
    assert data.is_intervention.tolist() == [False, True, True, False]
    assert data.decided_by.tolist() == ["player", "teacher", "teacher", "player"]
    np.testing.assert_array_equal(data.next_observations, np.stack(observations))
    np.testing.assert_array_equal(data.last_observation, observations[-1])
    assert (info.seed, info.options) == (4, {"low": -0.01, "high": 0.01})
    assert dict(info.properties) == {"study": "pilot"}
    assert (info.n_ticks, info.n_interventions, info.n_takeovers) == (4, 2, 1)
    assert (data.timestamps[1] >= data.timestamps[0]).all()


def test_a_time_limit_is_stored_as_truncated() -> None:
    with cogment_lab.TrialStore(":memory:") as store:
        env = cogment_lab.make("CartPole-v1", store=store, max_episode_steps=3)
        play(env, [0, 1, 0])
        env.close()
        (info,) = store.trials()
        data = store.load(info.trial_id)["gym"]
    assert (info.terminated, info.truncated, info.end_reason) == (False, True, "truncated")
    assert data.truncated.tolist() == [False, False, True]
    assert not data.terminated.any()
    assert data.done.tolist() == [False, False, True]


def test_a_trial_that_reset_cut_short_reads_as_truncated() -> None:
    with cogment_lab.TrialStore(":memory:") as store:
        env = cogment_lab.make("CartPole-v1", store=store)
        play(env, [0, 1])
        play(env, [1])
        env.close()
        first, second = store.trials()
        ends = [store.load(info.trial_id)["gym"].truncated.tolist() for info in (first, second)]
    assert [first.end_reason, second.end_reason] == ["reset", "closed"]
    assert ends == [[False, True], [True]]


def test_each_trial_can_be_replayed_from_its_record() -> None:
    with cogment_lab.TrialStore(":memory:") as store:
        env = cogment_lab.make("CartPole-v1", store=store)
        for seed in (None, None, 9, None):
            play(env, [0, 1, 1], seed=seed)
        env.close()
        infos = list(store.trials())
        bare = gym.make("CartPole-v1")
        for info in infos:
            data = store.load(info.trial_id)["gym"]
            if info.seed is None:
                assert info.rng_state is not None
                bare.unwrapped.np_random.bit_generator.state = info.rng_state
            observation, _ = bare.reset(seed=info.seed)
            np.testing.assert_array_equal(observation, data.observations[0])
            for action, following in zip(data.actions, data.next_observations, strict=True):
                np.testing.assert_array_equal(bare.step(int(action))[0], following)
    assert [info.seed is None for info in infos] == [False, True, False, True]


def test_info_is_stored_as_it_was_and_never_stops_the_record() -> None:
    class Talkative(gym.Wrapper[Any, Any, Any, Any]):
        def step(self, action: Any) -> Any:
            observation, reward, terminated, truncated, _ = self.env.step(action)
            info = {"array": np.arange(3), "nested": {"x": (1, 2.5)}, "odd": object(), "nan": float("nan")}
            return observation, reward, terminated, truncated, info

    with cogment_lab.TrialStore(":memory:") as store:
        env = cogment_lab.make(lambda: Talkative(gym.make("CartPole-v1")), store=store)
        env.reset(seed=1)
        env.step(0)[4]["array"][:] = 99
        env.close()
        (trial,) = store.trials()
        (info,) = store.load(trial.trial_id)["gym"].infos
    np.testing.assert_array_equal(info["array"], [0, 1, 2])
    assert info["nested"] == {"x": (1, 2.5)}
    assert np.isnan(info["nan"])
    assert "<object" in str(info["odd"])


def test_a_crash_is_in_the_record() -> None:
    class Crashing(gym.Wrapper[Any, Any, Any, Any]):
        def step(self, action: Any) -> Any:
            if action == 1:
                raise ValueError("gear jammed")
            return self.env.step(action)

    with cogment_lab.TrialStore(":memory:") as store:
        env = cogment_lab.make(lambda: Crashing(gym.make("CartPole-v1")), store=store)
        env.reset(seed=1)
        env.step(0)
        with pytest.raises(EnvironmentCrashedError):
            env.step(1)
        env.close()
        (info,) = store.trials()
        (crash,) = [event for event in store.events(info.trial_id) if event[1] == "environment_crashed"]
    assert info.end_reason == "environment_crashed"
    assert info.n_ticks == 1
    assert "gear jammed" in crash[2]["error"]


def test_requests_and_transitions_are_in_the_record() -> None:
    wishes = iter([False, True, True, False])
    teacher = SimulatedHuman(lambda o: 0, gate=lambda o, a: next(wishes))
    with cogment_lab.TrialStore(":memory:") as store:
        env = cogment_lab.make("CartPole-v1", store=store, teacher=teacher)
        play(env, [0, 0, 0, 0])
        env.close()
        (info,) = store.trials()
        events = store.events(info.trial_id)
    phases = [(tick, data["phase"]) for tick, kind, data, _ in events if kind == "phase"]
    assert phases == [(1, "correcting"), (3, "autonomous")]


def test_feedback_is_in_the_record() -> None:
    evaluator = SimulatedEvaluator(lambda tick: 0.5 if tick.number == 1 else None, confidence=0.25)
    with cogment_lab.TrialStore(":memory:") as store:
        env = cogment_lab.make("CartPole-v1", store=store, evaluator=evaluator)
        play(env, [0, 1, 0])
        env.close()
        (info,) = store.trials()
        (feedback,) = store.load(info.trial_id)["gym"].feedback
    assert (feedback.value, feedback.confidence, feedback.tick) == (0.5, 0.25, 1)


def test_parameters_and_versions_are_in_the_record() -> None:
    with cogment_lab.TrialStore(":memory:") as store:
        env = cogment_lab.make("CartPole-v1", store=store, teacher=lambda o: 0, fps=12.0)
        play(env, [0])
        env.close()
        (info,) = store.trials()
    assert info.parameters["fps"] == 12.0
    assert info.parameters["actors"] == {"teacher": "function"}
    assert info.versions["gymnasium"] == gym.__version__
    assert json.loads(info.env_spec)["id"] == "CartPole-v1"


def test_images_are_recorded_by_their_actions_only() -> None:
    class Camera(gym.ObservationWrapper[Any, Any, Any]):
        def __init__(self, env: gym.Env[Any, Any]) -> None:
            super().__init__(env)
            self.observation_space = gym.spaces.Box(0, 255, (64, 64, 3), np.uint8)

        def observation(self, observation: Any) -> Any:
            return np.full((64, 64, 3), 7, np.uint8)

    wishes = iter([False, True, True, False])
    teacher = SimulatedHuman(lambda o: 0, gate=lambda o, a: next(wishes))
    with cogment_lab.TrialStore(":memory:") as store:
        env = cogment_lab.make(lambda: Camera(gym.make("CartPole-v1")), store=store, teacher=teacher)
        play(env, [0, 1, 0, 1])
        env.close()
        (info,) = store.trials()
        data = store.load(info.trial_id)["gym"]
    assert info.record == "actions"
    assert data.observations is None
    assert data.actions.tolist() == [0, 0, 0, 1]


def test_two_environments_share_a_file() -> None:
    envs = [cogment_lab.make("CartPole-v1", store="both.db") for _ in range(2)]
    for env in envs:
        play(env, [0, 1])
    for env in envs:
        env.close()
    with cogment_lab.TrialStore("both.db") as store:
        assert [info.n_ticks for info in store.trials()] == [2, 2]


def test_collected_demonstrations_can_be_listed_by_purpose() -> None:
    from cogment_lab.humans.scripted import scripted_policy

    policy = scripted_policy("CartPole-v1")
    kept = cogment_lab.collect("CartPole-v1", policy, 3, store="demos.db", seed=1, max_episode_steps=20)
    with cogment_lab.TrialStore("demos.db") as store:
        infos = list(store.trials(properties={"purpose": "demonstration"}))
    assert [info.trial_id for info in infos] == kept
    assert len({info.seed for info in infos}) == 3


def test_discarded_and_repeated_demonstrations_are_deleted() -> None:
    answers = iter(["discard", "redo", "keep"])
    seeds = []

    class Picky(SimulatedHuman):
        def ask(self, question: str, choices: tuple[str, ...]) -> str:
            assert set(choices) == {"keep", "discard", "redo"}
            assert self._trial is not None
            seeds.append(self._trial.seed)
            return next(answers)

    player = Picky(lambda o: 0, role="player")
    (kept,) = cogment_lab.collect("CartPole-v1", player, 1, store="demos.db")
    assert seeds[0] != seeds[1] == seeds[2]
    with cogment_lab.TrialStore("demos.db") as store:
        assert [info.trial_id for info in store.trials()] == [kept]


def test_records_call_whoever_sits_at_a_page_the_same() -> None:
    seat = WebSeat(Path("somewhere"), "anna", "player")
    assert Seating(player=seat, teacher="web").describe() == {"player": "web", "teacher": "web"}
