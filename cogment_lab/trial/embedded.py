"""The embedded driver: environment, player and rules in one process, by plain function calls.

One tick record is mutated in place; no event objects are built. The only clock is ``time.monotonic_ns``.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from cogment_lab.errors import (
    EnvironmentCrashedError,
    InvalidActionError,
    SeatError,
    TrialStateError,
    UnacknowledgedTakeoverError,
)
from cogment_lab.trial.actions import action_copier
from cogment_lab.trial.mixing import ActionMix, RewardMixing, mix_actions, mix_rewards, override_mask
from cogment_lab.trial.pace import Pace, Pacer
from cogment_lab.trial.recorder import Recorder, TickRecorder
from cogment_lab.trial.sample import Feedback, Tick
from cogment_lab.trial.seat import Seat
from cogment_lab.trial.takeover import DecidedBy, Phase, Request, TakeoverMachine

__all__ = ["EmbeddedTrial", "Seats", "TrialRules"]

_LOG = logging.getLogger("cogment_lab.trial")
_POLL_SECONDS = 0.004


@dataclass(frozen=True, slots=True)
class Seats:
    """Who sits in the trial besides the learner."""

    player: Seat | None = None
    teacher: Seat | None = None
    evaluators: tuple[Seat, ...] = ()
    observers: tuple[Seat, ...] = ()

    def all(self) -> tuple[Seat, ...]:
        """Return every seat, each once."""
        acting = [seat for seat in (self.player, self.teacher) if seat is not None]
        return (*acting, *self.evaluators, *self.observers)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRules:
    """What holds for every trial of an environment.

    Attributes:
        pace: ``None`` follows the seats (``max`` until somebody who can take over is there).
        fps: Ticks per second at pace ``live``; ``None`` follows the environment.
        watch_every: Of how many trials one is paced for those who watch; the others run at ``max``.
        mix: How a teacher's action and the player's make the executed one.
        fallback: What is executed while the teacher is in control and gives no usable action: the player's
            proposal, or the teacher's previous action.
        max_pause: Seconds after which a pause ends by itself.
        reward_mixing: Rule by which feedback enters the reward that ``step`` returns; ``None`` keeps it out.
        feedback_weight: Weight of the feedback in that rule.
        on_unacknowledged: What to do when a takeover is executed and nobody learns from it.
        fixed_info: Leave out the info keys that are present only in some steps; what was asked for is kept
            for :meth:`EmbeddedTrial.take_requests`.
        properties: Stored with each trial.
        user_id: Stored with each trial.
    """

    pace: Pace | None = None
    fps: float | None = None
    watch_every: int = 1
    mix: ActionMix = "replace"
    fallback: Literal["agent", "repeat"] = "agent"
    max_pause: float = 600.0
    reward_mixing: RewardMixing | None = None
    feedback_weight: float = 1.0
    on_unacknowledged: Literal["raise", "warn", "ignore"] = "raise"
    fixed_info: bool = False
    properties: Mapping[str, str] = field(default_factory=dict)
    user_id: str | None = None


class EmbeddedTrial:
    """One Gymnasium environment whose episodes are trials.

    Args:
        env: The environment the actors act in.
        env_id: Its name in records and on the page.
        agent: Name of the agent in records.
        rules: What holds for every trial.
        fps: Ticks per second at pace ``live``.
        find_unacknowledged: Called once, at the first executed takeover; returns a sentence when a learner
            steps this trial and would not learn from the takeover.
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        *,
        env_id: str,
        agent: str = "gym",
        rules: TrialRules,
        fps: float = 30.0,
        find_unacknowledged: Callable[[], str | None] = lambda: None,
    ) -> None:
        self.env = env
        self.env_id = env_id
        self.agent = agent
        self.rules = rules
        self.action_space: gym.Space[Any] = env.action_space
        self.observation_space: gym.Space[Any] = env.observation_space
        self.properties = rules.properties
        self.mix = rules.mix
        self.failure: str | None = None
        self.fps = fps
        self.renderable = env.render_mode == "rgb_array"
        self._running = False
        self.trial_id = ""
        self.trial_number = -1
        self.seed: int | None = None
        self.pace = rules.pace or Pace.MAX
        self.tick = Tick()
        self.total_reward = 0.0
        self.takeovers = 0
        self.helped_ticks = 0
        self.all_takeovers = 0
        self.all_helped_ticks = 0
        self.all_ticks = 0
        self.returns: deque[float] = deque(maxlen=100)
        self.acknowledged_by: str | None = None
        self._find_unacknowledged = find_unacknowledged
        self._takeover_checked = False
        self._machine = TakeoverMachine()
        self._pacer = Pacer(fps)
        self._seats = Seats()
        self._attached: tuple[Seat, ...] = ()
        self._present: tuple[Seat, ...] = ()
        self._watchers: tuple[Seat, ...] = ()
        self._recorder: Recorder | None = None
        self._record: TickRecorder | None = None
        self._copy = action_copier(env.action_space)
        self._previous_override: Any = None
        self._requests: list[str] = []
        self._untold: dict[str, None] = {}  # each once: their number is bounded
        self._stream_id = secrets.token_hex(5)
        self._asked_pace = self.pace
        self._observation: Any = None
        self._number = 0
        self._t_shown = 0
        self._seeded = False

    @property
    def phase(self) -> Phase:
        """The takeover phase."""
        return self._machine.phase

    @property
    def recording_failure(self) -> str | None:
        """Why recording has stopped, ``None`` while it goes on (or nothing is recorded)."""
        return self._recorder.failure if self._recorder is not None else None

    @property
    def player(self) -> Seat | None:
        """Who sits in the player's seat; ``None`` where the caller of ``step`` plays."""
        return self._seats.player

    # --- who takes part ---

    def seat(self, seats: Seats) -> None:
        """Put actors into their seats; once, before the first reset.

        Raises:
            SeatTakenError: another environment holds one of them; none is held afterwards.
        """
        held: list[Seat] = []
        try:
            for seat in seats.all():
                seat.attach(self)
                held.append(seat)
        except SeatError:
            for seat in held:
                seat.detach()
            raise
        self._seats = seats
        self._attached = self._present = seats.all()
        self._watchers = tuple(seat for seat in self._present if seat.watches)

    def record_with(self, recorder: Recorder | None) -> None:
        """Record the following trials; ``None`` records nothing."""
        self._recorder = recorder
        self._record = recorder.recorder(self.agent) if recorder is not None else None

    # --- the life of a trial ---

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start a trial (an unfinished one is closed); return the first observation and info."""
        if self._running:
            self._end("reset")
        rng_state = None
        if seed is None:
            if self._seeded:
                rng_state = self._rng_state()
            else:
                seed = secrets.randbits(32)
        self._seeded = True
        observation, info = self.env.reset(seed=seed, options=options)
        self.trial_number += 1
        self.trial_id = f"{self._stream_id}-{self.trial_number}"
        self.seed = seed
        self._running = True
        self.total_reward = 0.0
        self.takeovers = 0
        self.helped_ticks = 0
        self._number = 0
        self._observation = observation
        if self._recorder is not None:
            self._recorder.begin(
                self.trial_id,
                seed=seed,
                rng_state=rng_state,
                options=options,
                properties=self.properties,
                user_id=self.rules.user_id,
            )
        if self._present:
            self._pacer.forget()
            self._set_pace("trial")
            self.tick.number = 0
            for seat in self._present:
                try:
                    seat.begin(observation, info)
                except Exception:
                    self._bury(seat)
        self._t_shown = time.monotonic_ns()
        return observation, {**info, "trial_id": self.trial_id}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Run one tick: the player proposes, the teacher may override, the environment steps.

        Raises:
            TrialStateError: before the first reset, or after the trial ended.
            EnvironmentCrashedError: the environment raised; the trial is ended and recorded as such.
            UnacknowledgedTakeoverError: see ``TrialRules.on_unacknowledged``.
        """
        if not self._running:
            raise TrialStateError("this trial has ended or never began: call reset() before step()")
        tick = self.tick
        tick.number = self._number
        tick.observation = self._observation
        if self._present:
            executed = self._decide(tick, action)
        else:
            tick.proposed_action = tick.executed_action = self._copy(action)
            executed = action
        tick.t_shown = self._t_shown
        tick.t_acted = time.monotonic_ns()
        try:
            observation, reward, terminated, truncated, info = self.env.step(executed)
        except Exception as error:
            raise self._crashed(error, executed) from error
        t_shown = time.monotonic_ns()
        number = self._number
        self._number = number + 1
        self._observation = observation
        self._t_shown = t_shown
        self.total_reward += reward  # type: ignore[operator]  # SupportsFloat: numpy scalars add as well
        self.all_ticks += 1
        tick.reward = reward  # type: ignore[assignment]
        tick.terminated = terminated
        tick.truncated = truncated
        tick.info = info
        tick.next_observation = observation
        decided_by = tick.decided_by
        if self._watchers or decided_by:
            reward = self._after_step(tick, reward)  # type: ignore[arg-type]
        if self._record is not None:
            self._record.append(tick)
        info = {
            **tick.info,
            "tick": number,
            "is_intervention": decided_by != 0,
            "phase": _PHASE_NAMES[tick.phase],
            "proposed_action": tick.proposed_action,
            "executed_action": tick.executed_action,
        }
        if decided_by or self._requests or tick.feedback:
            self._conditional_info(tick, info)
        if terminated or truncated:
            self._end("terminated" if terminated else "truncated")
        return observation, reward, terminated, truncated, info  # type: ignore[return-value]

    def render(self) -> npt.NDArray[np.uint8] | None:
        """Return the current frame, ``(height, width, 3) uint8``, or ``None`` without ``rgb_array``."""
        return self.env.render() if self.renderable else None  # type: ignore[return-value]

    def abandon(self, end_reason: str = "closed") -> None:
        """End an unfinished trial, leave the seats and close the record."""
        if self._running:
            self._end(end_reason)
        for seat in self._attached:
            seat.detach()
        self._attached = self._present = self._watchers = ()
        self._seats = Seats()
        if self._recorder is not None:
            self._recorder.close()
        self.record_with(None)

    def acknowledge(self, consumer: str) -> None:
        """Note that ``consumer`` learns from takeovers."""
        self.acknowledged_by = consumer

    def take_requests(self) -> tuple[str, ...]:
        """Return what was asked for and is told in no info (``fixed_info``), once."""
        untold = tuple(self._untold)
        self._untold.clear()
        return untold

    # --- who acts ---

    def _decide(self, tick: Tick, action: Any) -> Any:
        """Fill the tick's actions, phase and decider; return what the environment receives."""
        seats = self._seats
        if seats.player is not None:
            action = self._player_action(seats.player, action)
        proposed = tick.proposed_action = self._copy(action)
        tick.reaction_ns = 0
        if self.pace is not _MAX:
            self._wait(proposed)
        for seat in self._present:
            try:
                requests = seat.poll(self._observation, proposed)
            except Exception:
                self._bury(seat)
                continue
            if requests is not None:
                self._obey(requests, seat)
        phase = self._machine.phase
        if phase is _PAUSED:
            self._pause(proposed)
            phase = self._machine.phase
        tick.phase = phase
        if phase is not _CORRECTING or seats.teacher is None:
            tick.decided_by = 0
            tick.executed_action = proposed
            return action
        return self._override(seats.teacher, tick, proposed)

    def _player_action(self, player: Seat, action: Any) -> Any:
        """Return the action of whoever sits in the player's seat, else the caller's, else a sample."""
        try:
            chosen = player.act(self._observation, action)
        except Exception:
            self._bury(player)
        else:
            if chosen is not None:
                return chosen
        if action is None:
            raise InvalidActionError(
                f"the player's seat of trial {self.trial_id} gave no action in time, and step() was given "
                "none: pass a fallback action to step()"
            )
        return action

    def _override(self, teacher: Seat, tick: Tick, proposed: Any) -> Any:
        """Execute the teacher's action."""
        override = None
        try:
            override = teacher.act(self._observation, proposed)
            if override is not None:
                if self.rules.mix != "replace":
                    executed = mix_actions(proposed, override, self.rules.mix, self.action_space)
                else:
                    executed = override
                if not self.action_space.contains(executed):
                    self._event("action_refused", {"seat": teacher.name, "action": repr(executed)[:200]})
                    override = None
        except Exception:
            self._bury(teacher)
            tick.phase = self._machine.phase
            tick.decided_by = DecidedBy.PLAYER
            tick.executed_action = proposed
            return proposed
        if override is None:
            tick.decided_by = DecidedBy.FALLBACK
            previous = self._previous_override
            repeat = self.rules.fallback == "repeat" and previous is not None
            executed = previous if repeat else proposed
        else:
            tick.decided_by = DecidedBy.TEACHER
            self._previous_override = self._copy(executed)
        self.helped_ticks += 1
        self.all_helped_ticks += 1
        if not self._takeover_checked:
            self._check_acknowledged()
        tick.executed_action = self._copy(executed)
        return executed

    def _check_acknowledged(self) -> None:
        self._takeover_checked = True
        if self.acknowledged_by is not None or self.rules.on_unacknowledged == "ignore":
            return
        complaint = self._find_unacknowledged()
        if complaint is None:
            return
        self._event("unacknowledged_takeover", {})
        if self.rules.on_unacknowledged == "raise":
            self._takeover_checked = False
            raise UnacknowledgedTakeoverError(complaint)
        _LOG.warning(complaint)

    def _bury(self, seat: Seat) -> None:
        """Go on without a seat whose code raised; called from an ``except`` block."""
        _LOG.exception(
            "the %s in seat %r raised; the trials of %s go on without it", seat.role, seat.name, self.env_id
        )
        self._present = tuple(other for other in self._present if other is not seat)
        self._watchers = tuple(other for other in self._watchers if other is not seat)
        self._event("seat_failed", {"seat": seat.name})
        self._obey((Request.LOST,), seat)
        if seat is self._seats.teacher:
            self._seats = replace(self._seats, teacher=None)
        elif seat is self._seats.player:
            self._seats = replace(self._seats, player=None)

    # --- what was asked for ---

    def _obey(self, requests: Sequence[Request | Pace], seat: Seat) -> bool:
        """Apply requests in order; return whether one of them lets a paused trial do one tick.

        Only who acts may ask for control, pace, pause or stop; evaluators may judge a trial, and
        set its pace where nobody else may; observers may nothing.
        """
        stepped = False
        seats = self._seats
        acting = seat is seats.teacher or seat is seats.player
        alone = seats.teacher is None and seats.player is None
        for request in requests:
            judging = request in _VERDICTS or (alone and isinstance(request, Pace))
            if not acting and not (judging and seat.role == "evaluator"):
                continue
            if isinstance(request, Pace):
                self._asked_pace = request
                self._set_pace(seat.name)
                continue
            if request is Request.STEP:
                stepped = True
            elif request in _NOTED:
                self._requests.append(request.name.lower())
                self._event(request.name.lower(), {"seat": seat.name})
            elif (request is not Request.TAKE or seat is self._seats.teacher) and self._machine.request(
                request
            ):
                phase = self._machine.phase
                if phase is Phase.CORRECTING:
                    self.takeovers += 1
                    self.all_takeovers += 1
                    self._previous_override = None
                    self._pacer.slow_start(time.monotonic_ns())
                self._event(
                    "phase", {"request": request.name.lower(), "phase": phase.name.lower(), "seat": seat.name}
                )
        return stepped

    def _set_pace(self, asked_by: str) -> None:
        """Take the pace that the seats asked for, unless it is fixed or this trial is not one to watch."""
        if self.rules.pace is not None:
            return
        watched = self.trial_number % self.rules.watch_every == 0
        pace = self._asked_pace if watched else Pace.MAX
        if pace is not self.pace:
            self.pace = pace
            self._pacer.forget()
            self._event("pace", {"pace": pace.name.lower(), "seat": asked_by})

    def _wait(self, proposed: Any) -> None:
        """Wait for this tick's turn at the trial's pace; requests are obeyed meanwhile."""
        for seat in self._present:
            try:
                seat.show(proposed)
            except Exception:
                self._bury(seat)
        if self.pace is Pace.STEP:
            self._pause(proposed, until=Request.STEP)
            return
        due = self._pacer.due(time.monotonic_ns(), self.pace)
        remaining = (due - time.monotonic_ns()) / 1e9
        if remaining > 0.0:
            time.sleep(remaining)

    def _pause(self, proposed: Any, until: Request | None = None) -> None:
        """Wait until a person goes on, asks for one step, leaves, or the pause has lasted long enough."""
        deadline = time.monotonic() + self.rules.max_pause
        while self._machine.phase is Phase.PAUSED or (until is not None and self.pace is Pace.STEP):
            for seat in self._present:
                try:
                    requests = seat.poll(self._observation, proposed)
                except Exception:
                    self._bury(seat)
                    continue
                if requests is not None and self._obey(requests, seat):
                    return
            if time.monotonic() > deadline:
                self._event("pause_timeout", {"seconds": self.rules.max_pause})
                self._machine.request(Request.RESUME)
                if self.pace is Pace.STEP:
                    self.pace = self.rules.pace or Pace.MAX
                return
            time.sleep(_POLL_SECONDS)
        self._pacer.forget()

    # --- what is kept and told ---

    def _after_step(self, tick: Tick, reward: float) -> float:
        """Let everybody see the tick; return the reward that the learner sees."""
        opinions: list[Feedback] | None = None
        for seat in self._watchers:
            try:
                seat.watch(tick)
                given = seat.feedback()
            except Exception:
                self._bury(seat)
                continue
            if given:
                opinions = given if opinions is None else opinions + given
        tick.feedback = opinions
        if tick.decided_by and self.rules.mix != "replace" and tick.decided_by == DecidedBy.TEACHER:
            tick.info = {**tick.info, "override_mask": override_mask(self._previous_override)}
        if opinions and self.rules.reward_mixing is not None:
            return mix_rewards(reward, opinions, self.rules.reward_mixing, self.rules.feedback_weight)
        return reward

    def _conditional_info(self, tick: Tick, info: dict[str, Any]) -> None:
        """Add the keys that are present only when something happened."""
        requests, self._requests = self._requests, []
        if self.rules.fixed_info:
            self._untold.update(dict.fromkeys(requests))
            return
        if tick.decided_by:
            info["intervene_action"] = tick.executed_action
            if tick.reaction_ns:
                info["reaction_ms"] = tick.reaction_ns / 1e6
            if tick.decided_by == DecidedBy.FALLBACK:
                info["is_fallback"] = True
        if tick.feedback:
            info["feedback"] = [
                (opinion.source, opinion.value, opinion.confidence) for opinion in tick.feedback
            ]
        if requests:
            info["requests"] = tuple(requests)

    def event(self, kind: str, data: Mapping[str, Any], trial_id: str | None = None) -> None:
        """Keep something that a seat was told in the trial's record; see :class:`TrialView`."""
        if self._recorder is not None:
            self._recorder.event(self._number, kind, data, trial_id)

    def _event(self, kind: str, data: Mapping[str, Any]) -> None:
        if self._recorder is not None:
            self._recorder.event(self._number, kind, data)

    def _end(self, end_reason: str) -> None:
        self._running = False
        self.returns.append(self.total_reward)
        if self._recorder is not None:
            self._recorder.end(
                state="ENDED", end_reason=end_reason, last_observations={self.agent: self._observation}
            )
        for seat in self._present:
            try:
                seat.end(end_reason)
            except Exception:
                self._bury(seat)
        self._machine.request(Request.RELEASE)

    def _crashed(self, error: Exception, executed: Any) -> EnvironmentCrashedError:
        """End the trial because the environment raised."""
        self.failure = f"{type(error).__name__}: {error}"[:2000]
        self._event("environment_crashed", {"error": self.failure})
        self._end("environment_crashed")
        return EnvironmentCrashedError(
            f"{self.env_id} raised {type(error).__name__}: {error} in tick {self._number} of trial "
            f"{self.trial_id} (executed action {executed!r}); the trial is ended and recorded"
        )

    def _rng_state(self) -> Mapping[str, Any] | None:
        """Return the environment's generator state, ``None`` where it never made one."""
        generator = getattr(self.env.unwrapped, "_np_random", None)
        return generator.bit_generator.state if generator is not None else None


_VERDICTS = (Request.DISCARD, Request.SUCCESS, Request.FAILURE)
_NOTED = (Request.STOP, Request.SAVE, *_VERDICTS)
_MAX, _PAUSED, _CORRECTING = Pace.MAX, Phase.PAUSED, Phase.CORRECTING  # enum look-ups cost 50 ns each
_PHASE_NAMES = tuple(phase.name.lower() for phase in Phase)
