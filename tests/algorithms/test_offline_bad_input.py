"""Data from which an algorithm cannot learn are refused, with what to do instead."""

import importlib.util

import gymnasium as gym
import numpy as np
import pytest
from cogment_lab.algorithms import AWAC, BC, CQL, IQL, TD3BC, CalQL, DiscreteCQL

import cogment_lab
from cogment_lab import algorithms
from cogment_lab.errors import ConfigurationError, MissingExtraError
from cogment_lab.humans.scripted import scripted_policy

CONTINUOUS = [IQL, TD3BC, AWAC, CQL, CalQL]
EVERY = [BC, *CONTINUOUS]


@pytest.fixture
def store():
    with cogment_lab.TrialStore(":memory:") as records:
        yield records


@pytest.mark.parametrize("algorithm", [*EVERY, DiscreteCQL])
def test_an_empty_store(algorithm, store):
    with pytest.raises(ConfigurationError, match="to learn from"):
        algorithm("MlpPolicy", store)


@pytest.mark.parametrize("algorithm", EVERY)
def test_arrays_without_a_step(algorithm, bandit, box_spaces):
    with pytest.raises(ConfigurationError, match="holds no step"):
        algorithm("MlpPolicy", bandit(0), env=box_spaces)


@pytest.mark.parametrize("algorithm", [*EVERY, DiscreteCQL])
def test_trials_of_several_spaces(algorithm, store):
    for env_id in ("Pendulum-v1", "CartPole-v1"):
        cogment_lab.run(env_id, scripted_policy(env_id), 1, seed=1, store=store)
    with pytest.raises(ConfigurationError, match=r"several spaces .* choose with query"):
        algorithm("MlpPolicy", store)


@pytest.mark.parametrize("algorithm", CONTINUOUS)
def test_discrete_actions_for_a_continuous_algorithm(algorithm, bandit, discrete_spaces):
    with pytest.raises(ConfigurationError, match="use BC, or DiscreteCQL"):
        algorithm("MlpPolicy", bandit(20, discrete=True), env=discrete_spaces)


def test_continuous_actions_for_the_discrete_algorithm(bandit, box_spaces):
    with pytest.raises(ConfigurationError, match="use BC, IQL, TD3BC, AWAC, CQL or CalQL"):
        DiscreteCQL("MlpPolicy", bandit(20), env=box_spaces)


@pytest.mark.parametrize("algorithm", EVERY)
@pytest.mark.parametrize("column", ["observations", "next_observations", "actions", "rewards"])
def test_nan_says_where(algorithm, column, bandit, box_spaces):
    data = bandit(20)
    data[column] = data[column].copy()
    data[column][7] = np.nan
    with pytest.raises(ConfigurationError, match=rf"{column} has NaN .* first in step 7"):
        algorithm("MlpPolicy", data, env=box_spaces)


@pytest.mark.parametrize("algorithm", [BC, DiscreteCQL])
@pytest.mark.parametrize("column", ["actions", "observations"])
def test_numbers_that_do_not_begin_at_0(algorithm, column, bandit, discrete_spaces):
    data = bandit(20, discrete=True)
    if column == "actions":
        discrete_spaces.action_space = gym.spaces.Discrete(3, start=1)
    else:
        data["observations"] = data["next_observations"] = data["actions"] + 1
        discrete_spaces.observation_space = gym.spaces.Discrete(3, start=1)
    wrapper = "TransformAction" if column == "actions" else "TransformObservation"
    with pytest.raises(ConfigurationError, match=rf"{column} of .* begin at 1.*{wrapper}.*inside the trial"):
        algorithm("MlpPolicy", data, env=discrete_spaces)


@pytest.mark.parametrize("algorithm", [BC, DiscreteCQL])
@pytest.mark.parametrize("action", [-1, 3])
def test_discrete_actions_outside_their_space_say_where(algorithm, action, bandit, discrete_spaces):
    data = bandit(20, discrete=True)
    data["actions"][7] = action
    with pytest.raises(ConfigurationError, match=r"actions reach .* outside Discrete\(3\), .* in step 7"):
        algorithm("MlpPolicy", data, env=discrete_spaces)


@pytest.mark.parametrize(
    ("space", "actions"),
    [
        (gym.spaces.MultiDiscrete([2, 3]), [[0, 2], [2, 1]]),
        (gym.spaces.MultiBinary(2), [[1, 0], [2, 1]]),
        (gym.spaces.MultiDiscrete([2, 3], start=[0, 1]), [[1, 1], [1, 3]]),
    ],
)
def test_several_discrete_actions_outside_their_space(space, actions, bandit, discrete_spaces):
    discrete_spaces.action_space = space
    with pytest.raises(ConfigurationError, match=r"reach from 0 to 2|begin at \[0 1\]"):
        BC("MlpPolicy", {**bandit(2), "actions": np.array(actions)}, env=discrete_spaces)


def test_actions_of_the_wrong_number_of_choices(bandit, discrete_spaces):
    with pytest.raises(ConfigurationError, match=r"actions of shape \(2,\)"):
        BC("MlpPolicy", {**bandit(4), "actions": np.zeros((4, 2), int)}, env=discrete_spaces)


TUPLE = gym.spaces.Tuple((gym.spaces.Discrete(2), gym.spaces.Box(0.0, 1.0, (1,))))


class Anything(gym.Env):
    """One step of whatever the spaces are."""

    def __init__(self, observation_space, action_space):
        self.observation_space, self.action_space = observation_space, action_space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 0.0, True, False, {}


@pytest.mark.parametrize(
    "space",
    [
        TUPLE,
        gym.spaces.Dict(key=gym.spaces.Discrete(2)),
        gym.spaces.Text(3),
        gym.spaces.MultiDiscrete([[2, 3], [2, 2]]),
        gym.spaces.MultiBinary([2, 2]),
    ],
    ids=lambda space: type(space).__name__,
)
def test_actions_that_nothing_learns(space, store):
    env = Anything(gym.spaces.Box(-1.0, 1.0, (2,)), space)
    cogment_lab.run(env, lambda observation: space.sample(), seed=1, store=store)
    with pytest.raises(ConfigurationError, match=r"no offline algorithm learns (.|\n)*TransformAction"):
        BC("MlpPolicy", store)


@pytest.mark.parametrize(
    ("policy", "space"),
    [
        ("MlpPolicy", TUPLE),
        ("MlpPolicy", gym.spaces.Sequence(gym.spaces.Discrete(2))),
        ("MultiInputPolicy", gym.spaces.Dict(near=TUPLE)),
        ("MultiInputPolicy", gym.spaces.Dict(near=gym.spaces.Dict(far=gym.spaces.Discrete(2)))),
    ],
)
def test_observations_that_no_network_takes(policy, space, store):
    cogment_lab.run(Anything(space, gym.spaces.Discrete(2)), lambda observation: 0, seed=1, store=store)
    with pytest.raises(ConfigurationError, match=r"observations.* do not fit .*FlattenObservation"):
        BC(policy, store)


@pytest.mark.parametrize("query", [{"foo": 1}, {"foo": 1, "env_id": "Pendulum-v1"}])
def test_a_query_that_a_store_does_not_know(query, store):
    with pytest.raises(ConfigurationError, match=r"query= knows no 'foo'; choose among env, .*trial_ids"):
        BC("MlpPolicy", store, query=query)


def test_a_model_that_another_algorithm_saved(bandit, box_spaces, tmp_path):
    BC("MlpPolicy", bandit(20), env=box_spaces).save(tmp_path / "model.zip")
    with pytest.raises(ConfigurationError, match=r"BC saved this model, .* call BC.load"):
        IQL.load(tmp_path / "model.zip")
    again = BC.load(tmp_path / "model.zip")
    again.save(tmp_path / "again.zip")
    assert BC.load(tmp_path / "again.zip").saved_by == "BC"


class Pictures:
    observation_space = gym.spaces.Box(0, 255, (36, 36, 3), np.uint8)
    action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)


class PicturesAndButtons(Pictures):
    action_space = gym.spaces.Discrete(3)


def pictures(n, bandit, **kwargs):
    seen = np.zeros((n, 36, 36, 3), np.uint8)
    return {**bandit(n, **kwargs), "observations": seen, "next_observations": seen}


@pytest.mark.parametrize("algorithm", EVERY)
def test_pictures_for_layers_that_would_flatten_them(algorithm, bandit):
    with pytest.raises(ConfigurationError, match="'CnnPolicy'"):
        algorithm("MlpPolicy", pictures(4, bandit), env=Pictures())


def test_pictures_for_the_discrete_algorithm(bandit):
    with pytest.raises(ConfigurationError, match="'CnnPolicy'"):
        DiscreteCQL("MlpPolicy", pictures(4, bandit, discrete=True), env=PicturesAndButtons())


def test_numbers_for_layers_of_pictures(bandit, box_spaces):
    with pytest.raises(ConfigurationError, match="'MlpPolicy'"):
        IQL("CnnPolicy", bandit(4), env=box_spaces)


@pytest.mark.parametrize("algorithm", [TD3BC, IQL])
def test_pictures_are_learned_from_by_their_own_policy(algorithm, bandit):
    model = algorithm("CnnPolicy", pictures(4, bandit), env=Pictures(), batch_size=2, device="cpu", seed=1)
    assert model.learn(1).predict(Pictures.observation_space.sample())[0].shape == (1,)


def test_an_algorithm_without_its_extra_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "stable_baselines3" else find(name, *rest),
    )
    monkeypatch.delitem(vars(algorithms), "IQL", raising=False)
    with pytest.raises(MissingExtraError, match=r"algorithms\.IQL needs .*cogment_lab\[sb3\]"):
        algorithms.IQL  # noqa: B018
    assert callable(algorithms.assign_credit), "which needs numpy alone"


@pytest.mark.parametrize("algorithm", EVERY)
def test_what_is_no_data(algorithm):
    with pytest.raises(ConfigurationError, match="data=5 are no steps"):
        algorithm("MlpPolicy", 5)
    with pytest.raises(ConfigurationError, match=r"learns from data: .* set_data"):
        algorithm("MlpPolicy", None)
    with pytest.raises(ConfigurationError, match="set_data"):
        algorithm("MlpPolicy", None, env="Pendulum-v1").learn(1)
