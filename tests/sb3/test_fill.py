"""Stored trials become rows as ``learn`` would have stored them."""

import time
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
from cogment_lab.integrations.sb3 import (
    TakeoverHerReplayBuffer,
    TakeoverNStepReplayBuffer,
    TakeoverReplayBuffer,
    TrialCallback,
    fill_replay_buffer,
)
from stable_baselines3 import DQN, SAC
from stable_baselines3.common.buffers import DictReplayBuffer, NStepReplayBuffer, ReplayBuffer
from stable_baselines3.her.her_replay_buffer import HerReplayBuffer

import cogment_lab
from cogment_lab.errors import ConfigurationError, TrialNotFoundError, WrongBufferError
from cogment_lab.humans import SimulatedHuman

OBSERVATIONS = gym.spaces.Box(-np.inf, np.inf, (2,))
ACTIONS = gym.spaces.Box(-2, 2, (1,))
DISCRETE = gym.spaces.Discrete(3)


class FakeStore:
    """Yields given batches, and remembers what it was asked for."""

    def __init__(self, *batches):
        self.batches = batches

    def trials(self, **selection):
        return []

    def query(self, **selection):
        return []

    def discarded(self):
        return set()

    def transitions(self, **selection):
        self.selection = selection
        yield from self.batches


def trials(lengths, action=1.0, ends="terminated", flags=None, ticks=True, dtype=np.float32):
    """Return a batch of trials; observation (trial, tick), reward 1."""
    n = sum(lengths)
    tick = np.concatenate([np.arange(length) for length in lengths])
    observations = np.stack([np.repeat(np.arange(len(lengths)), lengths), tick], 1).astype(np.float32)
    last = np.zeros(n, bool)
    last[np.cumsum(lengths) - 1] = True
    flags = np.zeros(n, bool) if flags is None else np.array(flags, bool)
    batch = SimpleNamespace(
        observations=observations,
        next_observations=observations + np.array([0, 1]),
        actions=np.full((n, 1), action, dtype),
        proposed_actions=np.full((n, 1), -action, dtype),
        rewards=np.ones(n),
        terminated=last & (ends == "terminated"),
        truncated=last & (ends == "truncated"),
        is_intervention=flags,
    )
    if ticks:
        batch.ticks = tick
    return batch


def is_row_of(buffer, row, env=0):
    """Return (trial, tick) that is stored there, having checked what belongs to it."""
    trial, tick = buffer.observations[row, env]
    np.testing.assert_array_equal(buffer.next_observations[row, env], [trial, tick + 1])
    return int(trial), int(tick)


def test_box_actions_are_scaled():
    buffer = ReplayBuffer(10, OBSERVATIONS, ACTIONS)
    assert fill_replay_buffer(buffer, FakeStore(trials([3, 2]))) == 5
    np.testing.assert_array_equal(buffer.actions[:5], 0.5)
    assert [is_row_of(buffer, row) for row in range(5)] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
    np.testing.assert_array_equal(buffer.dones[:5, 0], [0, 0, 1, 0, 1])
    assert (buffer.pos, buffer.full) == (5, False)


def test_proposed_actions_can_be_asked_for():
    buffer = ReplayBuffer(10, OBSERVATIONS, ACTIONS)
    fill_replay_buffer(buffer, FakeStore(trials([3])), actions="proposed")
    np.testing.assert_array_equal(buffer.actions[:3], -0.5)
    with pytest.raises(ConfigurationError, match="'executed'"):
        fill_replay_buffer(buffer, FakeStore(trials([3])), actions="imagined")


def test_the_selection_reaches_the_store():
    store = FakeStore(trials([2]))
    buffer = ReplayBuffer(10, OBSERVATIONS, ACTIONS)
    assert fill_replay_buffer(buffer, store, env_id="X-v0", trial_ids=["a"], agent="left") == 2
    assert store.selection.pop("batch_size") > 0
    asked = {"env_id": "X-v0", "trial_ids": ["a"], "agent": "left", "discarded": False}
    assert store.selection == asked


@pytest.mark.parametrize("handle", [True, False])
def test_truncated_steps_are_timeouts(handle):
    buffer = ReplayBuffer(10, OBSERVATIONS, ACTIONS, handle_timeout_termination=handle)
    fill_replay_buffer(buffer, FakeStore(trials([2, 2], ends="truncated")))
    np.testing.assert_array_equal(buffer.dones[:4, 0], [0, 1, 0, 1])
    np.testing.assert_array_equal(buffer.timeouts[:4, 0], [0, handle, 0, handle])


def test_a_full_buffer_wraps_around():
    buffer = ReplayBuffer(4, OBSERVATIONS, ACTIONS)
    fill_replay_buffer(buffer, FakeStore(trials([3]), trials([3])))
    assert (buffer.pos, buffer.full) == (2, True)
    assert [is_row_of(buffer, row)[1] for row in range(4)] == [1, 2, 2, 0]


def test_of_more_than_fits_the_newest_stay():
    buffer = ReplayBuffer(4, OBSERVATIONS, ACTIONS)
    fill_replay_buffer(buffer, FakeStore(trials([11])))
    assert (buffer.pos, buffer.full) == (3, True)
    assert [is_row_of(buffer, row)[1] for row in range(4)] == [8, 9, 10, 7]


def test_each_environments_column_gets_consecutive_steps():
    buffer = ReplayBuffer(30, OBSERVATIONS, ACTIONS, n_envs=3)
    assert fill_replay_buffer(buffer, FakeStore(trials([10]))) == 10
    assert buffer.pos == 4
    columns = [[is_row_of(buffer, row, env)[1] for row in range(4)] for env in range(3)]
    assert columns == [[0, 1, 2, 3], [4, 5, 6, 7], [6, 7, 8, 9]]
    # Where a stretch breaks off, the next observation counts: nothing ends there.
    np.testing.assert_array_equal(buffer.dones[3] * (1 - buffer.timeouts[3]), [0, 0, 1])


def test_n_step_windows_stay_within_a_trial_and_a_stretch():
    buffer = NStepReplayBuffer(20, OBSERVATIONS, ACTIONS, n_steps=3, gamma=1.0)
    batch = trials([4, 4])
    batch.ticks[6:] += 5  # two ticks of the second trial, then a gap
    fill_replay_buffer(buffer, FakeStore(batch, trials([3])))
    samples = buffer._get_samples(np.array([0, 2, 4, 5, 8]))
    np.testing.assert_array_equal(samples.rewards.flatten(), [3, 2, 2, 1, 3])
    np.testing.assert_array_equal(samples.dones.flatten(), [0, 1, 0, 0, 1])


def test_one_array_for_both_observations():
    buffer = ReplayBuffer(
        20, OBSERVATIONS, ACTIONS, optimize_memory_usage=True, handle_timeout_termination=False
    )
    fill_replay_buffer(buffer, FakeStore(trials([3, 3])))
    np.testing.assert_array_equal(buffer.observations[:7, 0, 1], [0, 1, 2, 0, 1, 2, 3])
    samples = buffer._get_samples(np.array([1, 4]))
    np.testing.assert_array_equal(samples.next_observations[:, 1], [2, 2])


@pytest.mark.parametrize("buffer_class", [TakeoverReplayBuffer, TakeoverNStepReplayBuffer])
def test_our_buffers_know_where_a_teacher_gave_no_action(buffer_class):
    actions = iter([0, None, 0])
    with cogment_lab.TrialStore(":memory:") as store:
        env = cogment_lab.make("CartPole-v1", store=store, teacher=lambda observation: next(actions))
        env.reset(seed=1)
        for _ in range(3):
            env.step(1)
        env.close()
        buffer = buffer_class(8, env.observation_space, env.action_space)
        fill_replay_buffer(buffer, store)
    assert buffer.is_intervention[:3, 0].tolist() == [True, True, True]
    assert buffer.is_fallback[:3, 0].tolist() == [False, True, False]


def test_our_buffers_keep_flags_and_proposed_actions():
    buffer = TakeoverReplayBuffer(10, OBSERVATIONS, ACTIONS, boundary="penalty", switch_penalty=0.5)
    fill_replay_buffer(buffer, FakeStore(trials([3, 2], flags=[0, 1, 1, 0, 1])))
    np.testing.assert_array_equal(buffer.is_intervention[:5, 0], [0, 1, 1, 0, 1])
    np.testing.assert_array_equal(buffer.proposed_actions[:5], -0.5)
    np.testing.assert_array_equal(buffer.rewards[:5, 0], [0.5, 1, 1, 0.5, 1])


def test_boundary_cut_holds_for_stored_trials():
    buffer = TakeoverNStepReplayBuffer(10, OBSERVATIONS, ACTIONS, n_steps=3, gamma=1.0, boundary="cut")
    fill_replay_buffer(buffer, FakeStore(trials([5], flags=[0, 0, 1, 1, 1])))
    np.testing.assert_array_equal(buffer._get_samples(np.array([0, 1, 2])).rewards.flatten(), [2, 1, 3])


def test_without_ticks_trials_end_where_they_are_done():
    buffer = NStepReplayBuffer(20, OBSERVATIONS, ACTIONS, n_steps=3, gamma=1.0)
    fill_replay_buffer(buffer, FakeStore(trials([4, 4], ticks=False)))
    np.testing.assert_array_equal(buffer._get_samples(np.array([0, 2])).rewards.flatten(), [3, 2])


def as_dict(batch):
    for name in ("observations", "next_observations"):
        array = getattr(batch, name)
        setattr(batch, name, {"trial": array[:, :1], "tick": array[:, 1].astype(np.int64)})
    return batch


def test_dict_observations():
    space = gym.spaces.Dict(trial=gym.spaces.Box(0, 9, (1,)), tick=gym.spaces.Discrete(10))
    buffer = DictReplayBuffer(10, space, ACTIONS)
    fill_replay_buffer(buffer, FakeStore(as_dict(trials([2, 2]))))
    np.testing.assert_array_equal(buffer.observations["trial"][:4, 0, 0], [0, 0, 1, 1])
    np.testing.assert_array_equal(buffer.next_observations["tick"][:4, 0, 0], [1, 2, 1, 2])
    with pytest.raises(WrongBufferError, match="no keys"):
        fill_replay_buffer(buffer, FakeStore(trials([2])))


@pytest.mark.parametrize("buffer_class", [HerReplayBuffer, TakeoverHerReplayBuffer])
def test_hindsight_experience_replay(buffer_class, make, bits):
    model = DQN("MultiInputPolicy", make(bits), replay_buffer_class=buffer_class, buffer_size=100)
    batch = trials([4, 4], action=1, dtype=np.int64)
    batch.proposed_actions = batch.actions
    batch.observations = batch.next_observations = {
        key: np.tile(np.arange(8)[:, None] % 2, (1, 4))
        for key in ("observation", "achieved_goal", "desired_goal")
    }
    batch.observations = {key: part.astype(np.int8) for key, part in batch.observations.items()}
    batch.next_observations = batch.observations
    fill_replay_buffer(model.replay_buffer, FakeStore(batch))
    np.testing.assert_array_equal(model.replay_buffer.ep_length[:8, 0], 4)
    assert model.replay_buffer.sample(16).actions.min() == 1


def test_images_are_transposed_as_the_model_sees_them():
    space = gym.spaces.Box(0, 255, (3, 40, 50), np.uint8)
    buffer = ReplayBuffer(10, space, DISCRETE)
    batch = trials([2], action=1, dtype=np.int64)
    batch.proposed_actions = batch.actions
    batch.observations = batch.next_observations = np.random.default_rng(0).integers(
        0, 255, (2, 40, 50, 3), np.uint8
    )
    fill_replay_buffer(buffer, FakeStore(batch))
    np.testing.assert_array_equal(buffer.observations[1, 0, 2], batch.observations[1, :, :, 2])


@pytest.mark.parametrize(
    ("observations", "actions", "match"),
    [
        (gym.spaces.Box(-1, 1, (3,)), ACTIONS, "observations are"),
        (gym.spaces.Box(0, 1, (2,), np.int64), ACTIONS, "observations are"),
        (OBSERVATIONS, gym.spaces.Box(-2, 2, (2,)), "actions have the shape"),
        (OBSERVATIONS, gym.spaces.Box(-0.5, 0.5, (1,)), "actions reach from"),
        (OBSERVATIONS, DISCRETE, "actions are float32"),
    ],
)
def test_other_spaces_are_refused(observations, actions, match):
    with pytest.raises(WrongBufferError, match=match):
        fill_replay_buffer(ReplayBuffer(10, observations, actions), FakeStore(trials([3])))


def test_discrete_actions_out_of_range_are_refused():
    batch = trials([3], action=3, dtype=np.int64)
    batch.proposed_actions = batch.actions
    with pytest.raises(WrongBufferError, match="reach from 3 to 3"):
        fill_replay_buffer(ReplayBuffer(10, OBSERVATIONS, DISCRETE), FakeStore(batch))


def test_a_hundred_thousand_transitions_take_less_than_a_second():
    buffer = TakeoverReplayBuffer(150_000, OBSERVATIONS, ACTIONS)
    store = FakeStore(trials([200] * 250), trials([200] * 250))
    begin = time.process_time()  # what others do on this machine does not count
    assert fill_replay_buffer(buffer, store) == 100_000
    assert time.process_time() - begin < 1.0


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"])
def test_what_learn_stored_comes_back_from_the_store(env_id, tmp_path):
    """The rows of a run with takeovers, and those that its record gives, are the same."""
    ticks = iter(range(1000))
    action = 0 if env_id == "CartPole-v1" else np.array([1.0], np.float32)
    teacher = SimulatedHuman(lambda observation: action, gate=lambda *_: next(ticks) % 3 == 2)
    path = tmp_path / "trials.db"
    env = cogment_lab.make(env_id, teacher=teacher, store=path, max_episode_steps=10)
    algorithm = DQN if env_id == "CartPole-v1" else SAC
    model = algorithm(
        "MlpPolicy",
        env,
        learning_starts=1000,
        buffer_size=100,
        replay_buffer_class=TakeoverReplayBuffer,
        policy_kwargs={"net_arch": [8]},
    )
    model.learn(40, callback=TrialCallback())
    env.close()
    learned = model.replay_buffer
    filled = TakeoverReplayBuffer(100, model.observation_space, model.action_space)
    with cogment_lab.TrialStore(path) as store:
        assert fill_replay_buffer(filled, store, env_id=env_id) == 40
    for name in (
        "observations",
        "next_observations",
        "actions",
        "proposed_actions",
        "is_intervention",
        "rewards",
    ):
        np.testing.assert_allclose(
            getattr(filled, name)[:40], getattr(learned, name)[:40], rtol=1e-6, err_msg=name
        )
    np.testing.assert_array_equal(
        filled.dones * (1 - filled.timeouts), learned.dones * (1 - learned.timeouts)
    )


def test_discrete_trials_are_no_food_for_sac():
    env = gym.make("MountainCarContinuous-v0")
    cogment_lab.run("MountainCar-v0", lambda observation: 1, store="car.db", seed=1, max_episode_steps=9)
    with cogment_lab.TrialStore("car.db") as store, pytest.raises(WrongBufferError, match="Learn with DQN"):
        fill_replay_buffer(ReplayBuffer(10, env.observation_space, env.action_space), store)


def test_nan_is_refused_and_its_place_named():
    batch = trials([3, 4])
    batch.observations[5, 0] = np.nan
    buffer = ReplayBuffer(10, OBSERVATIONS, ACTIONS)
    with pytest.raises(WrongBufferError, match="1 of 7 stored observations hold NaN, the first at tick 2"):
        fill_replay_buffer(buffer, FakeStore(batch))
    assert buffer.size() == 0


def test_trials_with_nan_are_named(tmp_path):
    class Broken(gym.ObservationWrapper):
        def observation(self, observation):
            return observation * np.float32(np.nan)

    store = cogment_lab.TrialStore(tmp_path / "nan.db")
    act = lambda observation: np.zeros(1, np.float32)  # noqa: E731
    cogment_lab.run("Pendulum-v1", act, store=store, max_episode_steps=5)
    (broken,) = cogment_lab.run(Broken(gym.make("Pendulum-v1", max_episode_steps=5)), act, store=store)
    spec = gym.make("Pendulum-v1")
    buffer = ReplayBuffer(100, spec.observation_space, spec.action_space, device="cpu")
    with pytest.raises(WrongBufferError, match=rf"NaN is in '{broken}'$"):
        fill_replay_buffer(buffer, store)


def test_a_choice_without_steps_is_no_silence(tmp_path):
    store = cogment_lab.TrialStore(tmp_path / "few.db")
    (only,) = cogment_lab.run("Pendulum-v1", lambda observation: np.zeros(1, np.float32), store=store)
    spec = gym.make("Pendulum-v1")
    buffer = ReplayBuffer(300, spec.observation_space, spec.action_space, device="cpu")
    with pytest.warns(UserWarning, match=r"environments Pendulum-v1 .* asked for was env_id='Pendulum'"):
        assert fill_replay_buffer(buffer, store, env_id="Pendulum") == 0
    with pytest.raises(TrialNotFoundError, match="no trial 'typo'"):
        fill_replay_buffer(buffer, store, trial_ids=["typo"])
    assert fill_replay_buffer(buffer, store, trial_ids=only) == 200, "one name alone is one trial"


def test_a_query_fills_with_the_steps_that_it_chooses(tmp_path):
    teacher = SimulatedHuman(lambda observation: 1, gate=lambda observation, action: observation[0] > 0)
    actors = {"gym": lambda observation: 0, "teacher": teacher}
    store = cogment_lab.TrialStore(tmp_path / "helped.db")
    cogment_lab.run("CartPole-v1", actors, 4, seed=1, store=store)
    env = gym.make("CartPole-v1")

    def filled(query, **options):
        buffer = ReplayBuffer(200, env.observation_space, env.action_space, device="cpu")
        return fill_replay_buffer(buffer, query, **options), buffer

    steps = store.query().load()
    for only, flag in (("interventions", True), ("autonomous", False)):
        count, buffer = filled(store.query(only=only))
        chosen = steps.is_intervention == flag
        assert count == chosen.sum() > 0
        np.testing.assert_array_equal(buffer.next_observations[:count, 0], steps.next_observations[chosen])
    first = next(store.trials())
    assert filled(store.query(trial_ids=first.trial_id))[0] == first.n_ticks
    with pytest.raises(ConfigurationError, match="asked for was env='Other'"):
        filled(store.query(env="Other"))
    with pytest.raises(ConfigurationError, match="chooses trials itself"):
        filled(store.query(), env_id="CartPole-v1")


def test_a_store_may_be_given_by_its_path(tmp_path):
    path = tmp_path / "some.db"
    cogment_lab.run("CartPole-v1", lambda observation: 0, seed=1, store=path, max_episode_steps=5)
    env = gym.make("CartPole-v1")
    buffer = ReplayBuffer(20, env.observation_space, env.action_space, device="cpu")
    assert fill_replay_buffer(buffer, str(path)) == fill_replay_buffer(buffer, path) == 5
    with pytest.warns(UserWarning, match="asked for was env_id='Other'") as caught:
        fill_replay_buffer(buffer, path, env_id="Other")
    assert caught[0].filename == __file__
    with pytest.raises(ConfigurationError, match=r"nothing\.db does not exist"):
        fill_replay_buffer(buffer, tmp_path / "nothing.db")
    with pytest.raises(ConfigurationError, match="neither a TrialStore nor the path"):
        fill_replay_buffer(buffer, 5)
    assert not (tmp_path / "nothing.db").exists()


@pytest.mark.parametrize("kind", ["Tuple", "Dict", "Sequence"])
def test_actions_of_several_parts_are_refused(kind):
    numbers, lengths = np.zeros(3, np.int64), [np.zeros(1), np.zeros(2), np.zeros(3)]
    actions = {"Tuple": (numbers, np.zeros((3, 1))), "Dict": {"key": numbers}, "Sequence": lengths}[kind]
    batch = trials([3])
    batch.actions = batch.proposed_actions = actions
    with pytest.raises(WrongBufferError, match=r"of a Dict, Tuple or Sequence space.*TransformAction"):
        fill_replay_buffer(ReplayBuffer(5, OBSERVATIONS, DISCRETE), FakeStore(batch))
