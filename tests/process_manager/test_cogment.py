"""The flows of Cogment Lab 0.1.5: environments and actors as processes, trials between them."""

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import gymnasium as gym
import numpy as np
import psutil
import pytest
from gymnasium.envs.classic_control import CartPoleEnv

from cogment_lab import Cogment, TrialStore
from cogment_lab.actors import ConstantActor, RandomActor
from cogment_lab.core import CogmentActor, NativeActor
from cogment_lab.envs import AECEnvironment, GymEnvironment, ParallelEnvironment
from cogment_lab.errors import (
    ConfigurationError,
    ServiceCrashedError,
    ServiceError,
    TrialFailedError,
    TrialNotFoundError,
    UnknownEnvironmentError,
)
from cogment_lab.utils import serving


class Counting(gym.Env[Any, Any]):
    """Observes the number of its step; reports what reset was given; ends after ten steps."""

    observation_space = gym.spaces.Box(-1, 1e6, (2,), np.float64)
    action_space = gym.spaces.Discrete(3)
    made = 0

    def __init__(self) -> None:
        Counting.made += 1
        self.number = Counting.made

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.count = 0
        return self._see(), {"seed": seed, "options": options}

    def step(self, action: Any) -> Any:
        self.count += 1
        return self._see(), 0.1 * int(action), False, self.count == 10, {"count": self.count}

    def _see(self) -> Any:
        return np.array([self.count, self.number], np.float64)


class Broken(CartPoleEnv):
    """Raises in its third step."""

    def step(self, action: Any) -> Any:
        self.taken = getattr(self, "taken", 0) + 1
        if self.taken == 3:
            raise ZeroDivisionError("the pole is gone")
        return super().step(action)


class Unmakeable(CartPoleEnv):
    def __init__(self) -> None:
        raise OSError("no display")


class Thoughtless(CogmentActor[Any, Any]):
    async def act(self, observation: Any, rendered_frame: Any = None) -> Any:
        raise LookupError("no idea")


class Slow(CogmentActor[Any, Any]):
    """Lets others run between observation and action."""

    async def act(self, observation: Any, rendered_frame: Any = None) -> Any:
        await asyncio.sleep(0.002)
        return int(observation[0]) % 3


def run(work: Callable[[Cogment], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        async with asyncio.timeout(250), Cogment(orchestrator_port=0) as cog:
            return await work(cog)

    return asyncio.run(main())


def test_a_random_actor_lands_as_it_can_and_everything_is_recorded() -> None:
    async def work(cog: Cogment) -> None:
        env = GymEnvironment("LunarLander-v3")
        assert await cog.run_env(env, "lunar")
        assert await cog.run_actor(RandomActor(env.env.action_space), "random")
        trial_id = await cog.start_trial("lunar", actor_impls={"gym": "random"}, session_config={"seed": 5})
        data = (await cog.get_trial_data(trial_id))["gym"]
        bare = gym.make("LunarLander-v3")
        first, _ = bare.reset(seed=5)
        np.testing.assert_array_equal(data.observations[0], first)
        for row, action in enumerate(data.actions):
            seen, reward, terminated, truncated, _ = bare.step(action)
            np.testing.assert_array_equal(data.next_observations[row], seen)
            assert data.rewards[row] == reward  # float64, exactly
            assert data.terminated[row] == terminated and data.truncated[row] == truncated
        assert terminated or truncated
        info = await cog.get_trial(trial_id)
        assert info.sample_count == len(data) + 1
        assert await cog.get_episode_data(trial_id)

    run(work)


def test_seeds_are_fresh_options_and_infos_arrive_and_truncation_is_no_termination() -> None:
    async def work(cog: Cogment) -> None:
        options = {"a": [1, 2]}
        await cog.run_env(GymEnvironment(Counting, reset_options=options), "counting", port=None)
        await cog.run_actor(ConstantActor(1), "one", port=None)
        seeds = set()
        for _ in range(2):
            trial_id = await cog.start_trial("counting", "one")
            data = (await cog.get_trial_data(trial_id))["gym"]
            assert list(data.truncated) == [False] * 9 + [True]
            assert not data.terminated.any()
            assert [info["count"] for info in data.infos] == list(range(1, 11))
            assert list(data.rewards) == [0.1] * 10
            raw = (await cog.get_trial(trial_id)).parameters.environment_config
            seeds.add(raw.exact_seed)
        assert len(seeds) == 2

    run(work)


def test_trials_that_run_at_once_have_an_environment_each() -> None:
    async def work(cog: Cogment) -> None:
        await cog.run_env(GymEnvironment(Counting), "counting")
        task = cog.run_local_actor(Slow(), "slow")
        trial_ids = [await cog.start_trial("counting", "slow", trial_name=f"t{n}") for n in range(8)]
        results = await asyncio.gather(*(cog.get_trial_data(trial_id) for trial_id in trial_ids))
        for each in results:
            data = each["gym"]
            assert list(data.observations[:, 0]) == list(range(10))
            assert len(set(data.observations[:, 1])) == 1  # one instance, from beginning to end
            assert list(data.actions) == [n % 3 for n in range(10)]
        assert not task.done()

    run(work)


def test_pettingzoo_agents_take_turns_or_act_at_once() -> None:
    async def work(cog: Cogment) -> None:
        aec = AECEnvironment("cogment_lab.envs.conversions.GymTeacherAEC", {"gym_env_name": "CartPole-v1"})
        await cog.run_env(aec, "aec")
        parallel = ParallelEnvironment(
            "cogment_lab.envs.conversions.GymObserverParallel", {"gym_env_name": "CartPole-v1"}
        )
        await cog.run_env(parallel, "parallel")
        await cog.run_actor(RandomActor(), "random")
        await cog.run_actor(ConstantActor({"active": 1, "action": 0}), "left")
        turns = await cog.get_trial_data(await cog.start_trial("aec", {"gym": "random", "teacher": "left"}))
        assert len(turns["gym"]) == len(turns["teacher"]) == turns["gym"].rewards.sum()
        assert len(turns["gym"]) < 12  # always to the left: it falls soon
        np.testing.assert_array_equal(turns["teacher"].observations["action"], turns["gym"].actions)
        at_once = await cog.get_trial_data(
            await cog.start_trial("parallel", {"gym": "random", "observer": "random"})
        )
        assert len(at_once["gym"]) == len(at_once["observer"]) == at_once["gym"].rewards.sum()

    run(work)


def test_the_datastore_reads_as_a_store() -> None:
    with Cogment.sync(orchestrator_port=0) as cog:
        cog.run_env(GymEnvironment(Counting), "counting")
        cog.run_actor(ConstantActor(1), "one")
        settings = {"seed": 4, "reset_options": {"a": 1}}
        trial_id = cog.start_trial("counting", "one", settings, properties={"study": "pilot"})
        expected = cog.get_trial_data(trial_id)["gym"]
        with TrialStore(cog.datastore_endpoint) as store:
            assert len(store) == 1 and trial_id in store and "other" not in store
            (info,) = store.trials(env_id="counting", properties={"study": "pilot"}, min_return=0.5)
            assert (info.n_ticks, info.seed, info.options) == (10, 4, {"a": 1})
            assert (info.state, info.truncated, info.terminated) == ("ENDED", True, False)
            assert info.total_reward == pytest.approx(1.0)
            np.testing.assert_array_equal(store.load(trial_id)["gym"].observations, expected.observations)
            assert not list(store.trials(seed=5))
            with pytest.raises(TrialNotFoundError):
                store.load("other")


def test_a_teacher_overrides_beside_the_environment() -> None:
    async def work(cog: Cogment) -> None:
        await cog.run_env(GymEnvironment("CartPole-v1"), "cartpole")
        await cog.run_actor(ConstantActor(1), "right")
        await cog.run_actor(ConstantActor({"active": 1, "action": 0}), "left")
        trial_id = await cog.start_trial("cartpole", {"gym": "right", "teacher": "left"})
        data = (await cog.get_trial_data(trial_id))["gym"]
        assert not data.actions.any()
        assert data.proposed_actions.all()
        assert data.is_intervention.all()
        assert set(data.phase) == {"CORRECTING"}

    run(work)


def test_what_goes_wrong_in_a_component_reaches_whoever_waits() -> None:
    async def work(cog: Cogment) -> None:
        await cog.run_env(GymEnvironment(Broken), "broken")
        await cog.run_env(GymEnvironment("CartPole-v1"), "cartpole")
        await cog.run_actor(ConstantActor(0), "left")
        await cog.run_actor(Thoughtless(), "thoughtless")
        with pytest.raises(TrialFailedError, match="the pole is gone"):
            await cog.get_trial_data(await cog.start_trial("broken", "left"))
        with pytest.raises(TrialFailedError, match="no idea"):
            await cog.get_trial_data(await cog.start_trial("cartpole", "thoughtless"))
        data = await cog.get_trial_data(await cog.start_trial("cartpole", "left"))
        assert len(data["gym"]) > 5  # the others go on

    run(work)


def test_a_service_that_cannot_start_or_dies_gives_its_traceback() -> None:
    async def work(cog: Cogment) -> None:
        with pytest.raises(ServiceCrashedError, match="no display"):
            await cog.run_env(GymEnvironment(Unmakeable, dry=True), "unmakeable")
        await cog.run_env(GymEnvironment(Counting), "counting")
        await cog.run_actor(ConstantActor(0), "left")
        cog.processes["counting"].process.kill()
        cog.processes["counting"].process.join(60)
        with pytest.raises(ServiceCrashedError, match="'counting' died"):
            await cog.start_trial("counting", "left")

    run(work)


@pytest.mark.filterwarnings("ignore:.*is out of date:DeprecationWarning")
def test_mistakes_are_refused_before_a_trial_starts() -> None:
    async def work(cog: Cogment) -> None:
        await cog.run_env(GymEnvironment(Counting), "counting")
        await cog.run_actor(ConstantActor(0), "zero")
        for arguments, complaint in [
            (("nowhere", "zero"), "no environment 'nowhere'"),
            (("counting", "nobody"), "no actor 'nobody'"),
            (("counting", {"pilot": "zero"}), "no agent 'pilot'"),
            (("counting", "zero", {"sede": 1}), "session_config is wrong"),
        ]:
            with pytest.raises(ConfigurationError, match=complaint):
                await cog.start_trial(*arguments)
        await cog.get_trial_data(await cog.start_trial("counting", "zero", trial_name="twice"))
        with pytest.raises(ServiceError, match="exists already"):
            await cog.start_trial("counting", "zero", trial_name="twice")
        with pytest.raises(ConfigurationError, match="already"):
            cog.run_actor(ConstantActor(0), "zero")
        with pytest.raises(ConfigurationError, match="picklable"):
            cog.run_actor(NativeActor(lambda session: asyncio.sleep(0)), "native")
        with pytest.raises(ConfigurationError, match="no service 'ghost'"):
            cog.stop_service("ghost")
        with pytest.raises(UnknownEnvironmentError, match="LunarLander-v3"):
            GymEnvironment("LunarLander-v2")

    run(work)


def test_a_second_environment_finds_a_free_port_where_the_wanted_one_is_taken() -> None:
    async def work(cog: Cogment) -> None:
        await cog.run_env(GymEnvironment(Counting), "one", port=0)
        await cog.run_env(GymEnvironment(Counting), "two", port=cog.env_ports["one"])
        assert cog.env_ports["one"] != cog.env_ports["two"]

    run(work)


def test_a_port_that_is_lost_to_somebody_quicker_is_a_free_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "_is_free", lambda port: True)

    async def work(cog: Cogment) -> None:
        await cog.run_env(GymEnvironment(Counting), "counting", port=0)
        cog.run_local_actor(ConstantActor(0), "left", port=cog.env_ports["counting"])
        data = await cog.get_trial_data(await cog.start_trial("counting", "left"))
        assert len(data["gym"]) == 10
        assert cog.actor_ports["left"] not in (0, cog.env_ports["counting"])

    run(work)


def test_nothing_is_left_running() -> None:
    before = {child.pid for child in psutil.Process().children(recursive=True)}

    async def work(cog: Cogment) -> None:
        await cog.run_env(GymEnvironment(Counting), "counting")
        await cog.run_actor(ConstantActor(0), "left")

    run(work)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        left = {child.pid for child in psutil.Process().children(recursive=True)} - before
        left = {pid for pid in left if "resource_tracker" not in _command(pid)}
        if not left:
            return
        time.sleep(0.05)
    raise AssertionError([_command(pid) for pid in left])


def _command(pid: int) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(psutil.Process(pid).cmdline())
    return ""


def test_the_same_without_await() -> None:
    with Cogment.sync(orchestrator_port=0) as cog:
        cog.run_env(GymEnvironment(Counting), "counting")
        cog.run_actor(ConstantActor(2), "two")
        trial_id = cog.start_trial("counting", "two")
        assert len(cog.get_trial_data(trial_id)["gym"]) == 10


def test_services_end_when_their_starter_is_killed() -> None:
    code = (
        "import asyncio, os\n"
        "from cogment_lab import Cogment\n"
        "async def main():\n"
        "    cog = Cogment(orchestrator_port=0)\n"
        "    print(cog._services.process.pid, flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
        "asyncio.run(main())\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    pid = int(out.stdout)
    deadline = time.monotonic() + 60
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
