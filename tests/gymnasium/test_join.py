"""A remote trial behind Gymnasium's interface."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from cogment_lab.integrations.gymnasium.join import JoinedEnv
from gymnasium.utils.env_checker import check_env

import cogment_lab
from cogment_lab.actors import ConstantActor
from cogment_lab.envs import GymEnvironment
from cogment_lab.errors import (
    ConfigurationError,
    ServiceError,
    ServiceUnreachableError,
    TrialFailedError,
    TrialStateError,
)
from cogment_lab.wire import Context, Endpoint, TrialState


class Broken(gym.Env[Any, Any]):
    """Raises in its second step."""

    observation_space = gym.spaces.Box(-1, 1, (1,))
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.count = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> Any:
        self.count += 1
        if self.count == 2:
            raise ZeroDivisionError("out of order")
        return np.zeros(1, np.float32), 0.0, False, False, {}


@pytest.fixture(scope="module")
def served() -> Iterator[Any]:
    with cogment_lab.Cogment.sync(orchestrator_port=0) as cog:
        cog.run_env(GymEnvironment("CartPole-v1", render=True), "cartpole")
        cog.run_env(GymEnvironment(Broken), "broken")
        cog.run_actor(ConstantActor({"active": 1, "action": 0}), "left")
        yield cog


def join(served: Any, name: str = "cartpole", **arguments: Any) -> JoinedEnv:
    where = f"grpc://localhost:{served.env_ports[name]}"
    endpoint = served.orchestrator_endpoint
    return cogment_lab.join(endpoint, environment=name, environment_endpoint=where, **arguments)


def test_it_is_the_environment_that_is_served(served: Any) -> None:
    env, bare = join(served), gym.make("CartPole-v1")
    try:
        assert env.observation_space == bare.observation_space
        assert env.action_space == bare.action_space
        for seed in (1, 2):
            mine, theirs = env.reset(seed=seed), bare.reset(seed=seed)
            np.testing.assert_array_equal(mine[0], theirs[0])
            assert mine[1]["trial_id"] == env.trial_id
            over = False
            while not over:
                ours, expected = env.step(1), bare.step(1)
                np.testing.assert_array_equal(ours[0], expected[0])
                assert ours[1:4] == expected[1:4]
                over = ours[2] or ours[3]
            assert ours[4]["executed_action"] == 1
        with pytest.raises(TrialStateError):
            env.step(1)
    finally:
        env.close()


def test_an_environment_is_found_by_its_name_alone(served: Any) -> None:
    env = cogment_lab.join(served.orchestrator_endpoint, environment="cartpole")
    try:
        env.reset(seed=1)
        assert env.step(0)[1] == 1.0
    finally:
        env.close()
    with pytest.raises(
        ServiceUnreachableError, match=r"knows no environment .*; there are 'broken', 'cartpole'"
    ):
        cogment_lab.join(served.orchestrator_endpoint, environment="nowhere")
    where = f"grpc://localhost:{served.env_ports['cartpole']}"
    with pytest.raises(ServiceError, match="no environment 'nowhere'; it has 'cartpole'"):
        cogment_lab.join(served.orchestrator_endpoint, environment="nowhere", environment_endpoint=where)


@pytest.mark.filterwarnings("ignore:.*A Box observation space:UserWarning")  # the bare one has it too
def test_it_passes_gymnasiums_checks(served: Any) -> None:
    env = join(served)
    try:
        check_env(env, skip_render_check=True, skip_close_check=True)
    finally:
        env.close()


def test_frames_come_when_they_are_asked_for(served: Any) -> None:
    env = join(served, render_mode="rgb_array")
    try:
        env.reset(seed=1)
        assert env.render().shape == (400, 600, 3)
    finally:
        env.close()


def test_a_teacher_in_another_process_is_what_the_learner_learns_from(served: Any) -> None:
    from cogment_lab.integrations.sb3 import TrialCallback
    from stable_baselines3 import DQN

    teacher = f"grpc://localhost:{served.actor_ports['left']}/left"
    env = join(served, actors={"teacher": teacher}, datastore=served.datastore_endpoint)
    try:
        model = DQN("MlpPolicy", env, learning_starts=20, seed=1, exploration_fraction=1.0)
        model.learn(60, callback=TrialCallback())
        assert not model.replay_buffer.actions[:60].any()  # the teacher always goes left
        env.reset()
        _, _, _, _, info = env.step(1)
        assert info["is_intervention"] and info["intervene_action"] == 0
        assert info["proposed_action"] == 1
    finally:
        env.close()


def test_a_failure_elsewhere_is_an_error_here(served: Any) -> None:
    env = join(served, "broken")
    try:
        env.reset()
        env.step(0)
        with pytest.raises(TrialFailedError, match="out of order"):
            env.step(0)
        env.reset()  # and the next trial is a new one
        env.step(1)
    finally:
        env.close()


def test_a_trial_that_was_ended_meanwhile_says_why(served: Any) -> None:
    async def end(trial_id: str) -> None:
        controller = Context("somebody", "test").get_controller(Endpoint(served.orchestrator_endpoint))
        await controller.terminate_trial(trial_id, hard=True)
        async with asyncio.timeout(60):
            while [each.state for each in await controller.get_trial_info(trial_id)] == [TrialState.RUNNING]:
                await asyncio.sleep(0.01)

    env = join(served)
    try:
        env.reset()
        asyncio.run(end(env.trial_id))
        time.sleep(0.2)  # the connection is closed by now
        with pytest.raises(TrialFailedError, match="ended: Externally requested"):
            env.step(0)
    finally:
        env.close()


def test_what_cannot_be_joined_says_why(served: Any) -> None:
    with pytest.raises(ConfigurationError, match="no agent 'pilot'"):
        join(served, agent="pilot")
    with pytest.raises(ConfigurationError, match="grpc://host:port"):
        cogment_lab.join("cogment://client", environment="cartpole")
    with pytest.raises(ServiceUnreachableError):
        cogment_lab.join("grpc://localhost:1", "x", environment_endpoint="grpc://localhost:1", timeout=5)


def test_it_works_where_an_event_loop_is_running_as_in_a_notebook(served: Any) -> None:
    async def cell() -> None:
        env = join(served)
        env.reset(seed=1)
        env.step(0)
        env.close()

    asyncio.run(cell())
