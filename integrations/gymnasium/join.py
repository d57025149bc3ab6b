"""``cogment_lab.join``: the drop-in environment, on trials of an orchestrator elsewhere."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
from cogment_lab.integrations.gymnasium.checks import check_properties

from cogment_lab.errors import ConfigurationError, ServiceError, TrialStateError
from cogment_lab.specs import (
    action_to_message,
    observation_from_message,
    set_reset_options,
    set_seed,
    space_from_message,
)
from cogment_lab.specs.frames import decode_frame
from cogment_lab.specs.generated import data_pb2 as pb
from cogment_lab.trial.actions import action_copier
from cogment_lab.wire.channel import open_channel
from cogment_lab.wire.endpoint import CLIENT, Credentials, parse
from cogment_lab.wire.env_specs import ask_env_specs
from cogment_lab.wire.generated.common_pb2 import ActorParams, TrialParams
from cogment_lab.wire.loop_thread import LoopThread
from cogment_lab.wire.remote_trial import Received, RemoteTrial

__all__ = ["JoinedEnv", "join"]

_ROLES = ("teacher", "evaluator", "observer")
"""Actors that a trial may have besides the agents of its environment."""


def join(
    endpoint: str,
    environment: str,
    *,
    environment_endpoint: str | None = None,
    agent: str = "gym",
    actors: Mapping[str, str] | None = None,
    datastore: str | None = None,
    render_mode: str | None = None,
    properties: Mapping[str, str] | None = None,
    user_id: str = "",
    timeout: float = 60.0,
    credentials: Credentials | None = None,
) -> JoinedEnv:
    """Return a Gymnasium environment whose episodes are trials of a remote orchestrator.

    The environment, the orchestrator and the other actors run in other processes or on other machines;
    whoever calls ``step`` is the actor of ``agent``.

    Args:
        endpoint: ``grpc://host:port`` of the orchestrator.
        environment: Name under which the environment is served.
        environment_endpoint: ``grpc://host:port`` of its service; ``None`` looks it up in the directory at
            the orchestrator's address.
        agent: Whose part the caller plays.
        actors: The other actors of the trial: name (``"teacher"``, or an agent's) to
            ``"grpc://host:port/implementation"``, or ``"cogment://client"`` for one that joins by itself.
        datastore: ``grpc://host:port`` of the datastore that records the trials, ``None`` for none.
        render_mode: ``"rgb_array"`` has each observation bring a frame, ``None`` none.
        properties: Stored with each trial.
        user_id: Stored with each trial.
        timeout: Seconds to wait for any answer.
        credentials: TLS material, ``None`` for connections in the clear.

    Raises:
        EndpointError: an address that cannot be understood.
        ServiceUnreachableError: nothing answers there.
        ServiceError: no such environment.
    """
    if render_mode not in (None, "rgb_array"):
        raise ConfigurationError(
            f"render_mode={render_mode!r}: a remote environment offers 'rgb_array' or None"
        )
    return JoinedEnv(
        endpoint,
        environment,
        environment_endpoint=environment_endpoint,
        agent=agent,
        actors=dict(actors or {}),
        datastore=datastore,
        render_mode=render_mode,
        properties=check_properties(properties),
        user_id=user_id,
        timeout=timeout,
        credentials=credentials,
    )


class JoinedEnv(gym.Env[Any, Any]):
    """Made by :func:`join`; one client actor of remote trials, behind Gymnasium's interface.

    ``info`` holds what the environment's service sends, and like every trial environment's ``tick,
    is_intervention, phase, proposed_action, executed_action``, and ``trial_id`` in ``reset``'s.
    """

    def __init__(
        self,
        endpoint: str,
        environment: str,
        *,
        environment_endpoint: str | None,
        agent: str,
        actors: dict[str, str],
        datastore: str | None,
        render_mode: str | None,
        properties: dict[str, str],
        user_id: str,
        timeout: float,
        credentials: Credentials | None,
    ) -> None:
        target = parse(endpoint)
        if not isinstance(target, str) or target == CLIENT:
            raise ConfigurationError(f"join() needs the orchestrator's grpc://host:port, not {endpoint!r}")
        self.render_mode = render_mode
        self.metadata = {"render_modes": ["rgb_array"]}
        self.trial_id = ""
        self.has_teacher = "teacher" in actors
        self._agent = agent
        self._timeout = timeout
        self._user_id = user_id
        self._frame: bytes | None = None
        self._trial: RemoteTrial | None = None
        self._received = Received()
        self._seeded = False
        self._loop = LoopThread(f"cogment_lab trials of {environment}")
        try:
            self._channel = self._loop.run(_open(target, credentials))
            specs = self._loop.run(
                ask_env_specs(self._channel, environment, environment_endpoint, credentials, timeout),
                2 * timeout,
            )
            agents = specs.agents
            if agent not in agents:
                raise ConfigurationError(f"{environment!r} has no agent {agent!r}; it has {sorted(agents)}")
            self.observation_space = space_from_message(agents[agent].observation_space)
            self.action_space = space_from_message(agents[agent].action_space)
            self._copy = action_copier(self.action_space)
            self._params = self._make_params(
                environment, specs.endpoint, agents, actors, datastore, properties
            )
        except BaseException:
            self._loop.close()
            raise

    @property
    def trial_action_space(self) -> gym.Space[Any]:
        """The action space inside the trial."""
        return self.action_space

    @property
    def keeps_requests(self) -> bool:
        """Whether requests are to be taken from the trial; they are told by infos, if at all."""
        return False

    def acknowledge_takeovers(self, consumer: str) -> None:
        """Note that ``consumer`` learns from takeovers (a service's trial asks nobody)."""

    def tell_seats(self, learner: dict[str, Any]) -> None:
        """Nothing: whoever watches a remote trial is not reached from here."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start a trial; an unfinished one is ended hard.

        Raises:
            TrialFailedError: the trial ended before its first observation; says whose fault it was.
        """
        self._leave()
        super().reset(seed=seed)
        if seed is None and not self._seeded:
            seed = secrets.randbits(32)
        self._seeded = True
        config = pb.EnvironmentConfig(render=self.render_mode is not None)
        set_seed(config, seed)
        set_reset_options(config, options)
        params = TrialParams()
        params.CopyFrom(self._params)
        params.environment.config.content = config.SerializeToString()
        self._trial = RemoteTrial(self._channel, params, self._agent, self._user_id)
        self._received = self._loop.run(self._trial.start(self._timeout), 2 * self._timeout)
        self.trial_id = self._trial.trial_id
        observation, _, _, _, info = self._read()
        return observation, {**info, "trial_id": self.trial_id}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Act, and wait for what comes of it.

        Raises:
            TrialStateError: before the first reset, or after the trial ended.
            TrialFailedError: the trial was ended by a failure; says whose.
            ServiceTimeoutError: no answer in time.
        """
        if self._trial is None or self._received.is_last:
            raise TrialStateError("this trial has ended or never began: call reset() before step()")
        tick = self._received.tick
        message = action_to_message(self.action_space, action)
        content = message.SerializeToString()
        action = self._copy(action)
        self._received = self._loop.run(self._trial.act(tick, content), self._timeout)
        observation, reward, terminated, truncated, info = self._read()
        info.setdefault("executed_action", action)
        info.setdefault("proposed_action", action)
        info.setdefault("is_intervention", False)
        info.setdefault("phase", "autonomous")
        info.setdefault("tick", tick)
        return observation, reward, terminated, truncated, info

    def render(self) -> Any:
        """Return the last observation's frame, ``(height, width, 3) uint8``, or ``None``."""
        return None if self._frame is None else decode_frame(self._frame)

    def close(self) -> None:
        """End an unfinished trial and leave the orchestrator; idempotent."""
        self._leave()
        self._loop.run(self._channel.close(None), self._timeout)
        self._loop.close()

    def _leave(self) -> None:
        trial, self._trial = self._trial, None
        if trial is not None:
            self._loop.run(trial.abandon(self._timeout), 2 * self._timeout)

    def _read(self) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Return Gymnasium's view of what was received."""
        received = self._received
        if received.content is None:
            raise ServiceError("the trial sent no observation")
        said = observation_from_message(self.observation_space, pb.Observation.FromString(received.content))
        self._frame = said.rendered_frame
        if said.reward is not None:
            reward = said.reward
        else:
            reward = sum(each.value for each in received.rewards if each.value == each.value)  # NaN: none
        if said.terminated is None and said.truncated is None:  # a service of Cogment Lab 0.1.5
            terminated, truncated = received.is_last, False
        else:
            terminated, truncated = bool(said.terminated), bool(said.truncated)
        return said.value, reward, terminated, truncated, said.info

    def _make_params(
        self,
        environment: str,
        environment_endpoint: str,
        agents: Mapping[str, pb.AgentSpecs],
        actors: Mapping[str, str],
        datastore: str | None,
        properties: Mapping[str, str],
    ) -> TrialParams:
        params = TrialParams(properties=dict(properties))
        params.environment.implementation = environment
        params.environment.name = environment
        params.environment.endpoint = environment_endpoint
        if datastore is not None:
            params.datalog.endpoint = datastore
        missing = set(agents) - {self._agent, *_ROLES} - set(actors)
        if missing:
            raise ConfigurationError(f"nobody plays {sorted(missing)}: name them in actors=")
        for name in (self._agent, *(other for other in actors if other != self._agent)):
            actor = ActorParams(name=name, actor_class="player", endpoint="cogment://client")
            if name != self._agent:
                where, slash, implementation = actors[name].removeprefix("grpc://").partition("/")
                if slash:
                    actor.endpoint, actor.implementation = f"grpc://{where}", implementation
                else:
                    actor.endpoint = actors[name]
            config = pb.AgentConfig()
            if name in agents:
                config.agent_specs.CopyFrom(agents[name])
            actor.config.content = config.SerializeToString()
            actor.optional = name in _ROLES
            params.actors.append(actor)
        return params


async def _open(target: str, credentials: Credentials | None) -> Any:
    return open_channel(target, credentials)
