"""Actors and environments of Cogment Lab 0.1.5 in our trials."""

import asyncio
import socket

import gymnasium as gym
import numpy as np
import pytest

import cogment_lab.wire as cogment
from cogment_lab.actors import RandomActor
from cogment_lab.envs import GymEnvironment
from cogment_lab.services.trial_datastore import TrialDatastore, TrialDatastoreSettings
from cogment_lab.specs import AgentSpecs
from cogment_lab.specs.generated.data_pb2 import AgentConfig, EnvironmentConfig
from cogment_lab.wire.settings import LAB_SETTINGS


@pytest.fixture
def free_port():
    """A port that nobody listened on a moment ago: 0.1.5 wants to be told one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def cartpole_trial(env_url, actor_url, implementation, datastore="", **config):
    """Return the parameters of a trial of CartPole."""
    env = gym.make("CartPole-v1")
    specs = AgentSpecs.create_homogeneous(
        observation_space=env.observation_space, action_space=env.action_space
    )
    params = cogment.TrialParameters(
        LAB_SETTINGS,
        environment_name="cartpole",
        environment_implementation="cartpole",
        environment_endpoint=env_url,
        environment_config=EnvironmentConfig(run_id="run", **config),
        datalog_endpoint=datastore,
    )
    actor = cogment.ActorParameters(
        LAB_SETTINGS,
        "player",
        name="gym",
        endpoint=actor_url,
        implementation=implementation,
        config=AgentConfig(run_id="run", agent_specs=specs.serialize(), seed=3),
    )
    params.actors.append(actor)
    return params


async def serve(world, env):
    """Serve our environment."""
    world.context = cogment.Context("us", LAB_SETTINGS)
    world.ends.push_async_callback(world.context.close)
    world.context.register_environment(env.impl, "cartpole")
    await world.serve()


def test_0_1_5_actor_plays_in_our_environment(lab, play, free_port):
    async def scenario(world):
        actor = lab("lab_actor.py", "recording", str(free_port))
        store = TrialDatastore(TrialDatastoreSettings(port=0))
        store_url = f"grpc://127.0.0.1:{await store.start()}"
        world.ends.push_async_callback(store.stop, 0.2)
        await serve(world, GymEnvironment("CartPole-v1"))
        await actor.heard(60, port=free_port)
        params = cartpole_trial(
            world.service, f"grpc://127.0.0.1:{free_port}", "recording", store_url, seed=7
        )
        trial = await world.controller.start_trial(trial_params=params)
        await world.ended(trial)

        await asyncio.to_thread(actor.wait, lambda line: "last" in line)
        seen = [line for line in actor.lines if "action" in line]
        bare = gym.make("CartPole-v1")
        observation, _ = bare.reset(seed=7)
        over = False
        for line in seen:
            assert not over
            np.testing.assert_array_equal(np.float32(line["observation"]), observation)
            assert line["frame"] is None
            observation, _, terminated, truncated, _ = bare.step(line["action"])
            over = terminated or truncated
        assert over and len({line["action"] for line in seen}) == 2
        (last,) = [line["last"] for line in actor.lines if "last" in line]
        np.testing.assert_array_equal(np.float32(last), observation)
        rewards = [line["reward"] for line in actor.lines if "reward" in line]
        assert rewards[: len(seen) - 1] == [[1.0]] * (len(seen) - 1)

        datastore = world.context.get_datastore(cogment.Endpoint(store_url))
        trials = await datastore.get_trials(ids=[trial])
        stored = [sample.actors_data["gym"] async for sample in datastore.all_samples(trials)]
        assert len(stored) == len(seen) + 1
        assert all(sample.reward == 1.0 for sample in stored[: len(seen) - 1])

    play(scenario)


def test_0_1_5_actor_gets_rendered_frames(lab, play, free_port):
    async def scenario(world):
        actor = lab("lab_actor.py", "recording", str(free_port))
        await serve(world, GymEnvironment("CartPole-v1", render=True))
        await actor.heard(60, port=free_port)
        params = cartpole_trial(
            world.service, f"grpc://127.0.0.1:{free_port}", "recording", render=True, render_width=150
        )
        params.max_steps = 2
        await world.ended(await world.controller.start_trial(trial_params=params))
        await asyncio.to_thread(actor.wait, lambda line: "last" in line)
        frames = [line["frame"] for line in actor.lines if "frame" in line]
        assert frames == [[100, 150, 3]] * 3

    play(scenario)


def test_our_actor_plays_in_an_environment_of_0_1_5(lab, play, free_port):
    async def scenario(world):
        env = lab("lab_env.py", str(free_port))
        acted = []

        class Noting(RandomActor):
            async def act(self, observation, rendered_frame=None):
                acted.append(observation)
                return await super().act(observation, rendered_frame)

        world.context = cogment.Context("us", LAB_SETTINGS)
        world.ends.push_async_callback(world.context.close)
        space = gym.make("CartPole-v1").action_space
        world.context.register_actor(Noting(space).impl, "noting", ["player"])
        await world.serve()
        await env.heard(60, port=free_port)
        params = cartpole_trial(f"grpc://127.0.0.1:{free_port}", world.service, "noting", seed=5)
        await world.ended(await world.controller.start_trial(trial_params=params))
        first, _ = gym.make("CartPole-v1").reset(seed=5)
        np.testing.assert_array_equal(acted[0], first)
        assert len(acted) > 5

    play(scenario)
