"""One set of rules, two drivers: a trial gives the same samples in one process and between processes."""

from collections.abc import Callable, Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import cogment_lab
from cogment_lab.actors import ConstantActor
from cogment_lab.envs import GymEnvironment
from cogment_lab.store import TrialData

ENVIRONMENTS = {
    "cartpole": lambda: gym.make("CartPole-v1"),
    "pendulum": lambda: gym.make("Pendulum-v1", max_episode_steps=30),
    "taxi": lambda: gym.make("Taxi-v4", max_episode_steps=25),
}
ACTIONS = ("proposed_action", "executed_action", "intervene_action")
OVERRIDES: dict[str, Any] = {"cartpole": 0, "pendulum": np.array([0.5], np.float32), "taxi": 2}


def cartpole() -> Any:
    return ENVIRONMENTS["cartpole"]()


def pendulum() -> Any:
    return ENVIRONMENTS["pendulum"]()


def taxi() -> Any:
    return ENVIRONMENTS["taxi"]()


@pytest.fixture(scope="module")
def services() -> Iterator[Any]:
    with cogment_lab.Cogment.sync(orchestrator_port=0) as cog:
        for name, build in (("cartpole", cartpole), ("pendulum", pendulum), ("taxi", taxi)):
            cog.run_env(GymEnvironment(build), name)
            cog.run_actor(ConstantActor({"active": 1, "action": OVERRIDES[name]}), f"teacher-{name}", port=0)
        yield cog


@pytest.fixture(params=["embedded", "services"])
def play(request: pytest.FixtureRequest) -> Callable[..., tuple[list[Any], TrialData]]:
    """Return a function that plays one trial and returns what ``step`` gave and what was recorded."""

    def embedded(name: str, teacher: bool) -> tuple[list[Any], TrialData]:
        store = cogment_lab.TrialStore(":memory:")
        override = OVERRIDES[name]
        policy = (lambda observation: override) if teacher else None
        env = cogment_lab.make(ENVIRONMENTS[name], store=store, teacher=policy, record="full")
        results = episode(env)
        store.flush()
        data = store.load(env.trial_id)["gym"]
        env.close()
        store.close()
        return results, data

    def services(name: str, teacher: bool) -> tuple[list[Any], TrialData]:
        cog = request.getfixturevalue("services")
        actors = {}
        if teacher:
            implementation = f"teacher-{name}"
            actors["teacher"] = f"grpc://localhost:{cog.actor_ports[implementation]}/{implementation}"
        env = cogment_lab.join(
            cog.orchestrator_endpoint, environment=name, actors=actors, datastore=cog.datastore_endpoint
        )
        results = episode(env)
        data = cog.get_trial_data(env.trial_id, env_name=name)["gym"]
        env.close()
        return results, data

    return {"embedded": embedded, "services": services}[request.param]


def episode(env: gym.Env[Any, Any]) -> list[Any]:
    env.action_space.seed(7)
    results: list[Any] = [env.reset(seed=11)]
    over = False
    while not over:
        results.append(env.step(env.action_space.sample()))
        over = results[-1][2] or results[-1][3]
    return results


def expected(name: str, teacher: bool) -> list[Any]:
    """What the bare environment gives for the actions that are executed."""
    env = ENVIRONMENTS[name]()
    env.action_space.seed(7)
    results: list[Any] = [env.reset(seed=11)]
    over = False
    while not over:
        proposed = env.action_space.sample()
        results.append(env.step(OVERRIDES[name] if teacher else proposed))
        over = results[-1][2] or results[-1][3]
    return results


@pytest.mark.parametrize("teacher", [False, True])
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_both_drivers_give_what_the_bare_environment_gives(play: Any, name: str, teacher: bool) -> None:
    results, data = play(name, teacher)
    bare = expected(name, teacher)
    assert len(results) == len(bare) == len(data) + 1
    for mine, theirs in zip(results, bare, strict=True):
        np.testing.assert_array_equal(mine[0], theirs[0])
    for mine, theirs in zip(results[1:], bare[1:], strict=True):
        assert mine[1:4] == theirs[1:4]
        assert mine[4]["is_intervention"] is teacher
        told = {key: type(mine[4][key]) for key in ACTIONS if key in mine[4]}
        assert told == dict.fromkeys(told, np.ndarray if name == "pendulum" else int)
        if teacher:
            np.testing.assert_array_equal(mine[4]["intervene_action"], OVERRIDES[name])
    np.testing.assert_array_equal(data.observations, [result[0] for result in bare[:-1]])
    np.testing.assert_array_equal(data.next_observations, [result[0] for result in bare[1:]])
    assert list(data.rewards) == [float(result[1]) for result in bare[1:]]
    assert list(data.terminated) == [result[2] for result in bare[1:]]
    assert list(data.truncated) == [result[3] for result in bare[1:]]
    assert data.is_intervention.all() if teacher else not data.is_intervention.any()
    if teacher:
        assert all(np.array_equal(action, OVERRIDES[name]) for action in data.actions)
        assert not all(np.array_equal(action, OVERRIDES[name]) for action in data.proposed_actions)


def test_the_records_of_both_have_the_same_form(services: Any) -> None:
    store = cogment_lab.TrialStore(":memory:")
    env = cogment_lab.make(ENVIRONMENTS["pendulum"], store=store, record="full")
    episode(env)
    store.flush()
    mine = store.load(env.trial_id)["gym"]
    env.close()
    store.close()
    joined = cogment_lab.join(
        services.orchestrator_endpoint, environment="pendulum", datastore=services.datastore_endpoint
    )
    episode(joined)
    theirs = services.get_trial_data(joined.trial_id, env_name="pendulum")["gym"]
    joined.close()
    for name in (
        "observations",
        "actions",
        "rewards",
        "terminated",
        "truncated",
        "proposed_actions",
        "ticks",
    ):
        one, other = getattr(mine, name), getattr(theirs, name)
        assert (one.dtype, one.shape) == (other.dtype, other.shape), name
        np.testing.assert_array_equal(one, other)
    assert list(mine.decided_by) == list(theirs.decided_by)
    assert list(mine.phase) == list(theirs.phase)
