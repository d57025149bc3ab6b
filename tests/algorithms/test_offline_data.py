"""What can be learned from, how it is read, and what is refused."""

import gymnasium as gym
import numpy as np
import pytest
from cogment_lab.algorithms import BC, IQL
from cogment_lab.algorithms.offline_batches import OfflineBuffer
from cogment_lab.algorithms.offline_data import read_offline_data

import cogment_lab
from cogment_lab.errors import ConfigurationError
from cogment_lab.humans import SimulatedHuman
from cogment_lab.humans.scripted import scripted_policy

COLUMNS = ("observations", "actions", "next_observations", "rewards", "terminated", "truncated", "ends")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Three trials of 200 steps, each truncated."""
    with cogment_lab.TrialStore(tmp_path_factory.mktemp("offline") / "pendulum.db") as records:
        cogment_lab.run("Pendulum-v1", scripted_policy("Pendulum-v1"), trials=3, seed=1, store=records)
        yield records


def trials_of(store):
    return [store.load(info.trial_id)["gym"] for info in store.trials()]


def test_a_store_its_path_its_trials_and_its_arrays_are_the_same(store):
    data = read_offline_data(store)
    arrays = {name: getattr(data, name) for name in COLUMNS}
    named = {"observation_space": data.observation_space, "action_space": data.action_space}
    for source in (store.path, trials_of(store), arrays, list(store.transitions(batch_size=150))):
        other = read_offline_data(source, **({} if isinstance(source, str) else named))
        for name in COLUMNS:
            np.testing.assert_array_equal(getattr(other, name), getattr(data, name))
    assert np.flatnonzero(data.ends).tolist() == [199, 399, 599]


def test_a_query_chooses_trials(store):
    one = next(iter(store.trials())).trial_id
    assert len(read_offline_data(store, trial_ids=[one])) == 200
    assert len(read_offline_data(store, trial_ids=one)) == 200
    assert len(BC("MlpPolicy", store, query={"trial_ids": [one]}).data) == 200


def test_interventions_alone_are_learned_from_stretch_by_stretch():
    from cogment_lab.humans.scripted import scripted_human

    with cogment_lab.TrialStore(":memory:") as records:
        actors = {
            "gym": lambda observation: np.zeros(1, np.float32),
            "teacher": scripted_human("Pendulum-v1"),
        }
        cogment_lab.run("Pendulum-v1", actors, trials=4, seed=3, store=records)
        everything = read_offline_data(records)
        helped = read_offline_data(records, only="interventions")
        named = read_offline_data(records.query(env="Pendulum-v1", only="interventions"))
        assert (
            len(BC("MlpPolicy", records, query={"only": "autonomous"}).data)
            == (~everything.is_intervention).sum()
        )
        with pytest.raises(ConfigurationError, match="no trials"):
            read_offline_data(records, only="demonstrations")
    chosen = np.flatnonzero(everything.is_intervention)
    for data in (helped, named):
        np.testing.assert_array_equal(data.actions, everything.actions[chosen])
        np.testing.assert_array_equal(data.next_observations, everything.next_observations[chosen])
    breaks = (np.diff(chosen) != 1) | everything.ends[chosen][:-1]
    assert helped.ends.tolist() == [*breaks.tolist(), True]


def test_a_store_of_interventions_is_stretches_too():
    with cogment_lab.TrialStore(":memory:") as records:
        teacher = SimulatedHuman(scripted_policy("Pendulum-v1"), gate=lambda seen, _: seen[0] < 0)
        actors = {"gym": lambda observation: np.zeros(1, np.float32), "teacher": teacher}
        cogment_lab.run("Pendulum-v1", actors, trials=3, seed=3, store=records, record="interventions")
        data, by_trial = read_offline_data(records), read_offline_data(records.query())
    assert by_trial.ends.sum() > 3
    np.testing.assert_array_equal(data.ends, by_trial.ends)


def test_actions_are_scaled_and_truncated_steps_bootstrap(store):
    data = read_offline_data(store)
    import torch

    buffer = OfflineBuffer(data, data.observation_space, 0.5, 0.99, torch.device("cpu"), 1)
    np.testing.assert_allclose(buffer.actions.numpy(), data.actions / 2.0, atol=1e-6)
    np.testing.assert_allclose(buffer.rewards.numpy()[:, 0], data.rewards * 0.5, rtol=1e-6)
    assert data.truncated.sum() == 3 and buffer.terminated.sum() == 0


def test_returns_to_go_by_hand():
    arrays = {
        "observations": np.zeros((5, 1), np.float32),
        "next_observations": np.zeros((5, 1), np.float32),
        "actions": np.zeros((5, 1), np.float32),
        "rewards": [1.0, 2.0, 4.0, 3.0, 1.0],
        "terminated": [False, False, True, False, False],
        "truncated": [False, False, False, False, True],
    }
    box = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)
    data = read_offline_data(arrays, observation_space=box, action_space=box)
    # The second trial goes on with its last reward for ever: 1 / (1 - 0.5) = 2.
    assert data.returns_to_go(0.5).tolist() == [3.0, 4.0, 4.0, 3.0 + 0.5 * 2.0, 1.0 + 0.5 * 2.0]
    assert data.trial_returns().tolist() == [7.0, 4.0]


def test_the_unknown_end_of_an_interrupted_trial_is_left_out(store):
    import dataclasses

    first = trials_of(store)[0]
    cut = dataclasses.replace(first, last_observation=None)
    data = read_offline_data(store)
    spaces = {"observation_space": data.observation_space, "action_space": data.action_space}
    known = read_offline_data([cut, first], **spaces)
    assert len(known) == 399
    assert np.flatnonzero(known.ends).tolist() == [198, 398]


def test_trials_of_several_spaces_are_refused_and_a_query_parts_them(tmp_path):
    with cogment_lab.TrialStore(tmp_path / "mixed.db") as store:
        cogment_lab.run("Pendulum-v1", scripted_policy("Pendulum-v1"), 1, seed=1, store=store)
        cogment_lab.run("CartPole-v1", lambda observation: 0, 1, seed=1, store=store)
        with pytest.raises(ConfigurationError, match=r"several spaces.*env_id"):
            BC("MlpPolicy", store)
        assert BC("MlpPolicy", store, query={"env_id": "CartPole-v1"}).action_space == gym.spaces.Discrete(2)


def test_nothing_to_learn_from_is_an_error(store, tmp_path):
    with pytest.raises(ConfigurationError, match="Acrobot"):
        BC("MlpPolicy", store, query={"env_id": "Acrobot-v1"})
    with pytest.raises(ConfigurationError, match="does not exist"):
        BC("MlpPolicy", tmp_path / "absent.db")
    with cogment_lab.TrialStore(":memory:") as blind:
        cogment_lab.run("Pendulum-v1", scripted_policy("Pendulum-v1"), 1, store=blind, record="actions")
        with pytest.raises(ConfigurationError, match="record='actions'"):
            BC("MlpPolicy", blind)


def test_nan_is_an_error_that_says_where(bandit, box_spaces):
    data = bandit(10)
    data["observations"] = data["observations"].copy()
    data["observations"][3, 1] = np.nan
    with pytest.raises(ConfigurationError, match=r"observations has NaN.*in step 3 \(trial 3"):
        IQL("MlpPolicy", data, env=box_spaces)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rewards": np.zeros(9)}, "rows"),
        ({"terminated": None}, "terminated"),
        ({"actions": np.full((10, 1), 3.0)}, "outside"),
        ({"actions": np.zeros((10, 2))}, "not of"),
        ({"observations": np.zeros((10, 3))}, "shape"),
        ({"rewards": np.full(10, np.inf)}, "rewards has NaN or infinite"),
    ],
)
def test_arrays_that_do_not_belong_together_are_errors(change, message, bandit, box_spaces):
    with pytest.raises(ConfigurationError, match=message):
        IQL("MlpPolicy", {**bandit(10), **change}, env=box_spaces)


def test_arrays_alone_do_not_say_their_spaces(bandit):
    with pytest.raises(ConfigurationError, match="pass env="):
        IQL("MlpPolicy", bandit(10))


def test_dict_observations_are_learned_from(tmp_path):
    class Both(gym.Env):
        observation_space = gym.spaces.Dict(
            {"near": gym.spaces.Box(-1.0, 1.0, (2,), np.float32), "far": gym.spaces.Discrete(3)}
        )
        action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.left = 5
            return {"near": np.zeros(2, np.float32), "far": 1}, {}

        def step(self, action):
            self.left -= 1
            return {"near": np.ones(2, np.float32) * 0.1, "far": 2}, 1.0, self.left == 0, False, {}

    with cogment_lab.TrialStore(tmp_path / "both.db") as store:
        cogment_lab.run(Both, lambda observation: np.array([0.5], np.float32), 3, store=store)
        with pytest.raises(ConfigurationError, match="MultiInputPolicy"):
            IQL("MlpPolicy", store)
        model = IQL("MultiInputPolicy", store, policy_kwargs={"net_arch": [8]}, batch_size=8).learn(3)
    assert model.predict({"near": np.zeros(2, np.float32), "far": 1})[0].shape == (1,)


def test_images_are_learned_from(tmp_path):
    class Pictures(gym.Env):
        observation_space = gym.spaces.Box(0, 255, (36, 36, 3), np.uint8)
        action_space = gym.spaces.Discrete(2)

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.left = 3
            return np.zeros((36, 36, 3), np.uint8), {}

        def step(self, action):
            self.left -= 1
            return np.full((36, 36, 3), 9, np.uint8), 1.0, self.left == 0, False, {}

    with cogment_lab.TrialStore(tmp_path / "pictures.db") as store:
        cogment_lab.run(Pictures, lambda observation: 1, 2, store=store, record="full")
        model = BC("CnnPolicy", store, batch_size=4).learn(2)
        model.save(tmp_path / "bc.zip")
        again = BC.load(tmp_path / "bc.zip")
        again.set_data(store)
        again.learn(1)
    assert again.predict(np.zeros((36, 36, 3), np.uint8))[0].shape == ()
