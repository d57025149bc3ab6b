"""What the components of a trial send each other while it runs: observations, actions, rewards, messages.

A method that returns ``str`` returns why the trial must be ended now, ``""`` to go on. Nothing here ends it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any

from cogment_lab.services.orchestrator.component import ActorLink, ComponentFailed, EnvLink
from cogment_lab.services.orchestrator.datalog import DatalogWriter
from cogment_lab.services.orchestrator.gathering import Gathering
from cogment_lab.services.orchestrator.life import Life
from cogment_lab.services.orchestrator.rewards import WaitingRewards
from cogment_lab.services.orchestrator.samples import SampleLog
from cogment_lab.trial.parameters import TrialParameters
from cogment_lab.trial.routing import receivers
from cogment_lab.trial.states import TrialState
from cogment_lab.wire.generated import common_pb2 as common
from cogment_lab.wire.generated.common_pb2 import (
    Action,
    ActorRunTrialInput,
    ActorRunTrialOutput,
    Message,
    Reward,
    TrialParams,
)
from cogment_lab.wire.generated.environment_pb2 import EnvRunTrialInput, EnvRunTrialOutput, ObservationSet
from cogment_lab.wire.stream import PeerLost

__all__ = ["Exchange"]

_LOG = logging.getLogger(__name__)


class Exchange:
    """The traffic of one trial, and who takes part in it.

    Args:
        trial_id: Its id.
        params: As they are logged.
        rules: The same, checked.
        life: How far the trial is; RUNNING and TERMINATING are entered here.
        datalog: Where samples go, ``None`` for nowhere.
        spawn: Runs something beside, by a name; the trial is ended for what it returns, if anything.

    Attributes:
        tick: The current tick.
        latest: The last observation set.
        active_at: When something happened last, by ``time.monotonic()``; first when the trial was started.
        is_final: Whether the final observation is out.
        env: The environment, once it is connected.
        links: Per actor its connection, once there is one.
    """

    def __init__(
        self,
        trial_id: str,
        params: TrialParams,
        rules: TrialParameters,
        life: Life,
        datalog: DatalogWriter | None,
        spawn: Callable[[Coroutine[Any, Any, str | None], str], object],
    ) -> None:
        self.tick = 0
        self.latest = ObservationSet()
        self.active_at = time.monotonic() - life.elapsed / 1e9
        self.is_final = False
        self.env: EnvLink | None = None
        self.links: list[ActorLink | None] = [None] * len(rules.actors)
        self._trial_id = trial_id
        self._env_name = params.environment.name
        self._rules = rules
        self._actors = rules.actors
        self._life = life
        self._datalog = datalog
        self._log: SampleLog | None = None
        if datalog is not None:
            self._log = SampleLog(rules.buffered_ticks, params.datalog.exclude_fields, datalog.queue)
        self._spawn = spawn
        self._gathering = Gathering(rules.actors)
        self._rewards = WaitingRewards(rules.actors)
        self._env_said_last = False
        self._told_env_last = False
        self._is_alone = (
            len(rules.actors) == 1 and not rules.actors[0].optional and not self._gathering.is_timed
        )

    @property
    def lost(self) -> set[int]:
        """Indices of the actors that are gone for the rest of the trial."""
        return self._gathering.lost

    def add_env(self, env: EnvLink) -> None:
        """Let the environment take part."""
        self.env = env

    def add_actor(self, index: int, link: ActorLink) -> None:
        """Let an actor take part."""
        self.links[index] = link

    def go_without(self, index: int) -> None:
        """Note that an actor has not come."""
        self._gathering.lose(index)

    def note(self, event: str) -> None:
        """Put a special event into the current sample."""
        if self._log is not None:
            self._log.event(event)

    # --- the environment ---

    async def on_env_frame(self, env: EnvLink, frame: EnvRunTrialOutput) -> str:
        """Handle a frame of the environment."""
        state = frame.state
        if state == common.NORMAL:
            kind = frame.WhichOneof("data")
            if kind == "observation_set":
                return await self._on_observations(frame.observation_set)
            if kind == "reward":
                self._on_reward(self._env_name, frame.reward)
            elif kind == "message":
                self._on_message(self._env_name, frame.message)
            elif kind == "init_output":
                return "Environment lost: it sent init_output twice"
            elif kind == "details":
                _LOG.info("trial %s: environment: %s", self._trial_id, frame.details)
        elif state == common.HEARTBEAT:
            await env.write(EnvRunTrialInput(state=common.HEARTBEAT))
        elif state == common.LAST:
            if not self._told_env_last:
                self.note("Evironment ended trial")  # sic: the text of the official log
            self._env_said_last = True
        elif state == common.LAST_ACK:
            env.acknowledged.set()
        else:
            _LOG.warning("trial %s: environment sent state %d", self._trial_id, state)
        return ""

    async def _on_observations(self, observed: ObservationSet) -> str:
        """Begin a tick: send each actor its rewards and its observation (protocol section 6.5)."""
        life, gathering, datalog = self._life, self._gathering, self._datalog
        if life.is_ending or self.is_final:
            return ""
        if life.state >= TrialState.RUNNING:
            self.tick += 1
        else:
            life.advance(TrialState.RUNNING)
        tick = self.tick
        problem = _find_problem(observed, tick, len(self.links))
        if problem:
            return f"Environment sent a wrong observation set: {problem}"
        self.active_at = time.monotonic()
        is_last = self._env_said_last or self._told_env_last
        self.latest = observed
        if self._log is not None:
            self._log.begin(tick, life.state, observed, gathering.received)
        gathering.start(tick, is_last=is_last)
        if is_last:
            life.advance(TrialState.TERMINATING)
            self.is_final = True
        contents = observed.observations
        for index, link in enumerate(self.links):
            if link is None or index in gathering.lost:
                continue
            frame = ActorRunTrialInput(state=common.NORMAL)
            observation = frame.observation
            observation.tick_id = tick
            observation.timestamp = observed.timestamp
            observation.content = contents[observed.actors_map[index]]
            frames = self._rewards.take(index)
            if is_last:
                frames.append(ActorRunTrialInput(state=common.LAST))
            frames.append(frame)
            if not self._is_alone:
                self._spawn(self._write(index, link, frames), "dispatch")
            elif failure := await self._write(index, link, frames):
                return failure
        if datalog is not None:
            datalog.wake()
            if datalog.is_full:
                await datalog.room()
        if is_last:
            return ""
        if gathering.is_timed:
            gathering.start_timers(self._on_late)
        return await self._complete_tick() if gathering.is_complete else ""

    async def _complete_tick(self) -> str:
        """Send the environment the actions of this tick (protocol section 6.5, step 4)."""
        life, gathering = self._life, self._gathering
        if not gathering.is_open or life.is_ending or self.env is None:
            return ""
        gathering.is_open = False
        frame = EnvRunTrialInput(state=common.NORMAL)
        actions = frame.action_set
        actions.tick_id = self.tick
        actions.timestamp = time.time_ns()
        defaulted, missing = gathering.fill(actions)
        if missing:
            return (
                "Action processing requirement failure "
                f"[Required actors [{', '.join(missing)}] unavailable at tick [{self.tick}]]"
            )
        if self._log is not None:
            self._log.complete(gathering.received, defaulted, actions.unavailable_actors)
        limit = self._rules.max_steps
        frames = [frame]
        if (limit and self.tick >= limit) or life.is_end_requested:
            self.note("End requested" if life.is_end_requested else "Maximum number of steps reached")
            frames.insert(0, EnvRunTrialInput(state=common.LAST))
            self._told_env_last = True
            life.advance(TrialState.TERMINATING)
        try:
            await self.env.write(*frames)
        except PeerLost as error:
            return f"Environment lost: {await self.env.why(error)}"
        return ""

    def _on_late(self, index: int) -> None:
        """Go on without the action of an actor that is late, or end the trial."""
        if not self._life.is_ending and (self._gathering.is_complete or not self._actors[index].optional):
            self._spawn(self._complete_tick(), "time-out")

    # --- actors ---

    async def on_actor_frame(self, index: int, link: ActorLink, frame: ActorRunTrialOutput) -> str:
        """Handle a frame of an actor.

        Raises:
            ComponentFailed: the actor may not stay.
        """
        state = frame.state
        name = self._actors[index].name
        if state == common.NORMAL:
            kind = frame.WhichOneof("data")
            if kind == "action":
                return await self._on_action(index, frame.action)
            if kind == "reward":
                self._on_reward(name, frame.reward)
            elif kind == "message":
                self._on_message(name, frame.message)
            elif kind == "init_output":
                _LOG.warning("trial %s: actor %s sent init_output twice", self._trial_id, name)
                raise ComponentFailed("it broke the protocol")
        elif state == common.HEARTBEAT:
            return await self._write(index, link, [ActorRunTrialInput(state=common.HEARTBEAT)])
        elif state == common.LAST_ACK and not link.acknowledged.is_set():
            link.acknowledged.set()
        elif state in (common.LAST, common.END):
            _LOG.warning("trial %s: actor %s sent state %d", self._trial_id, name, state)
        else:
            raise ComponentFailed("it broke the protocol")
        return ""

    async def _on_action(self, index: int, action: Action) -> str:
        gathering = self._gathering
        if self.is_final or self._life.state is not TrialState.RUNNING or not gathering.is_open:
            return ""
        if not gathering.act(index, action):
            _LOG.debug(
                "trial %s: an action for tick %d in tick %d is dropped",
                self._trial_id,
                action.tick_id,
                self.tick,
            )
            return ""
        self.active_at = time.monotonic()
        return await self._complete_tick() if gathering.is_complete else ""

    async def lose_actor(self, index: int, link: ActorLink, reason: str) -> str:
        """Go on without an actor, or end the trial with it (protocol section 6.12)."""
        link.lose()
        if index in self.lost or self._life.is_ending:
            return ""
        self._gathering.lose(index)
        if self.is_final:
            return ""
        actor = self._actors[index]
        if not actor.optional:
            return f"Required actor [{actor.name}] lost: {reason}"
        _LOG.warning("trial %s: optional actor %s is lost: %s", self._trial_id, actor.name, reason)
        self.note(f"Actor [{actor.name}] lost: {reason}")
        if self._gathering.is_open and self._gathering.is_complete:
            return await self._complete_tick()
        return ""

    async def _write(self, index: int, link: ActorLink, frames: list[ActorRunTrialInput]) -> str:
        try:
            await link.write(*frames)
        except PeerLost as error:
            return await self.lose_actor(index, link, await link.why(error))
        return ""

    # --- rewards and messages ---

    def _on_reward(self, sender: str, reward: Reward) -> None:
        """Keep a reward for its receivers' next dispatch, and log it (protocol section 6.7)."""
        if self._life.is_ending:
            return
        for source in reward.sources:
            source.sender_name = sender
        tick = self.tick if reward.tick_id == -1 else reward.tick_id
        if not 0 <= tick <= self.tick:
            _LOG.error(
                "trial %s: a reward of %s for tick %d is dropped", self._trial_id, sender, reward.tick_id
            )
            return
        if tick == self.tick and not self._rewards.add(reward, tick, self.lost):
            _LOG.error("trial %s: nobody is %r, so gets no reward", self._trial_id, reward.receiver_name)
        if self._log is not None:
            self._log.reward(reward, tick)

    def _on_message(self, sender: str, message: Message) -> None:
        """Forward a message at once, and log it (protocol section 6.8)."""
        if self._life.is_ending:
            return
        if message.tick_id not in (-1, self.tick):
            _LOG.warning(
                "trial %s: a message of %s for tick %d is dropped", self._trial_id, sender, message.tick_id
            )
            return
        message.sender_name = sender
        if self._log is not None:
            self._log.message(message)
        wanted = message.receiver_name
        forwarded = Message(tick_id=self.tick, sender_name=sender, payload=message.payload)
        if wanted == self._env_name:
            if self.env is not None and not self.env.gone:
                forwarded.receiver_name = wanted
                if self.env.post(EnvRunTrialInput(state=common.NORMAL, message=forwarded)):
                    self._spawn(self.env.write(), "message")
            return
        for index in receivers(wanted, self._actors):
            link = self.links[index]
            if link is None or index in self.lost:
                continue
            forwarded.receiver_name = self._actors[index].name
            if link.post(ActorRunTrialInput(state=common.NORMAL, message=forwarded)):
                self._spawn(self._write(index, link, []), "message")

    # --- the end ---

    def discard_rewards(self) -> None:
        """Forget the rewards that nobody was sent yet."""
        self._rewards.clear()

    def stop_waiting(self) -> None:
        """Let no actor be late any more."""
        self._gathering.stop_timers()

    async def end_env(self, details: str) -> None:
        """Send the environment END."""
        if self.env is not None:
            await self.env.end(details)

    async def end_actor(self, index: int, link: ActorLink, details: str) -> None:
        """Send an actor the rewards that it did not see yet, and END."""
        late = self._rewards.take(index)
        if late and not link.gone:
            await self._write(index, link, late)
        await link.end(details)

    def close_log(self) -> None:
        """Hand the last samples to the log."""
        if self._log is not None:
            self._log.finish(self._gathering.received)
        if self._datalog is not None:
            self._datalog.wake()


def _find_problem(observed: ObservationSet, tick: int, n_actors: int) -> str:
    if observed.tick_id not in (-1, tick):
        return f"tick {observed.tick_id} instead of {tick}"
    if len(observed.actors_map) != n_actors:
        return f"actors_map has {len(observed.actors_map)} entries for {n_actors} actors"
    n = len(observed.observations)
    if not 0 <= min(observed.actors_map) <= max(observed.actors_map) < n:
        return f"actors_map points outside its {n} observations"
    return ""
