"""The embedded driver: environment, player and rules in one process, by plain function calls.

One tick record is mutated in place; no event objects are built. The only clock is ``time.monotonic_ns``.
"""

from __future__ import annotations

import logging
import secrets
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

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
from cogment_lab.trial.control import Control
from cogment_lab.trial.info import add_what_happened
from cogment_lab.trial.keeping import ObservationKeeper
from cogment_lab.trial.mixing import mix_actions, mix_rewards, override_mask
from cogment_lab.trial.pace import Pace, Pacer
from cogment_lab.trial.recorder import Events, Recorder, TickRecorder
from cogment_lab.trial.rules import TrialRules
from cogment_lab.trial.sample import Feedback, Tick
from cogment_lab.trial.seat import Seat, Seats
from cogment_lab.trial.takeover import DecidedBy, Phase, Request, TakeoverMachine

__all__ = ["EmbeddedTrial", "Seats", "TrialRules"]

_LOG = logging.getLogger("cogment_lab.trial")
_POLL_SECONDS = 0.004
_LONGEST_TRACE = 3000


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
        self.remedy = f'cogment_lab.make("{env_id}", render_mode="rgb_array")'
        self.fps = fps
        self.renderable = env.render_mode == "rgb_array"
        self._running = False
        self.trial_id = ""
        self.trial_number = -1
        self.seed: int | None = None
        self.tick = Tick()
        self.total_reward = 0.0
        self.helped_ticks = 0
        self.all_helped_ticks = 0
        self.all_ticks = 0
        self.returns: deque[float] = deque(maxlen=100)
        self.acknowledged_by: str | None = None
        self._find_unacknowledged = find_unacknowledged
        self._takeover_checked = False
        self._machine = TakeoverMachine()
        self._pacer = Pacer(fps)
        self._events = Events()
        self._control = Control(rules, self._machine, self._pacer, self._events)
        self._seats = Seats()
        self._attached: tuple[Seat, ...] = ()
        self._present: tuple[Seat, ...] = ()
        self._watchers: tuple[Seat, ...] = ()
        self._is_paced = rules.pace not in (None, Pace.MAX)
        self._is_plain = False  # in this trial nobody is asked, and nothing waited for
        self._recorder: Recorder | None = None
        self._record: TickRecorder | None = None
        self._copy = action_copier(env.action_space)
        self._stream_id = secrets.token_hex(5)
        self._keeper = ObservationKeeper()
        self._observation: Any = None
        self._t_shown = 0
        self._touched: npt.NDArray[np.bool_] | None = None
        self._seeded = False

    @property
    def phase(self) -> Phase:
        """The takeover phase."""
        return self._machine.phase

    @property
    def pace(self) -> Pace:
        """How fast it runs."""
        return self._control.pace

    @property
    def takeovers(self) -> int:
        """Takeovers in this trial."""
        return self._control.takeovers

    @property
    def all_takeovers(self) -> int:
        """Takeovers since the environment was made."""
        return self._control.all_takeovers

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
        self._recorder = self._events.recorder = recorder
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
        self.failure = None
        self.trial_number += 1
        self.trial_id = f"{self._stream_id}-{self.trial_number}"
        self.seed = seed
        self._running = True
        self.total_reward = 0.0
        self.helped_ticks = 0
        self._control.begin(self.trial_number)
        self._events.tick_number = 0
        self._observation = self._keeper.begin(observation)
        if self._recorder is not None:
            self._recorder.begin(
                self.trial_id,
                seed=seed,
                rng_state=rng_state,
                options=options,
                properties=self.properties,
                user_id=self.rules.user_id,
            )
        self._is_plain = not (self._present or self._is_paced)
        if self._is_plain:
            self._tick_alone()
        else:
            self._control.settle_pace()
            self.tick.number = 0
            for seat in self._present:
                try:
                    seat.begin(observation, info)
                except Exception:
                    self._bury(seat)
        self._t_shown = time.monotonic_ns()
        return observation, {**info, "trial_id": self.trial_id}

    def _tick_alone(self) -> None:
        """Forget what seats that failed since have left in the tick: no step of this trial will."""
        tick = self.tick
        tick.decided_by, tick.phase = DecidedBy.PLAYER, Phase.AUTONOMOUS
        tick.feedback, tick.reaction_ns = None, 0

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Run one tick: the player proposes, the teacher may override, the environment steps.

        Raises:
            TrialStateError: before the first reset, or after the trial ended.
            EnvironmentCrashedError: the environment raised; the trial is ended and recorded as such.
            InvalidActionError: it raised, and the action was none of its space; the trial likewise.
            UnacknowledgedTakeoverError: see ``TrialRules.on_unacknowledged``.
        """
        if not self._running:
            raise TrialStateError("this trial has ended or never began: call reset() before step()")
        tick, events = self.tick, self._events
        number = tick.number = events.tick_number
        tick.observation = self._observation
        if self._is_plain:
            tick.proposed_action = tick.executed_action = self._copy(action)
            executed = action
        else:
            executed = self._decide(tick, action)
        tick.t_shown = self._t_shown
        tick.t_acted = time.monotonic_ns()
        try:
            observation, reward, terminated, truncated, info = self.env.step(executed)
        except Exception as error:
            raise self._crashed(error, executed) from error
        t_shown = time.monotonic_ns()
        events.tick_number = number + 1
        kept = self._observation = self._keeper.keep(observation) if self._keeper.watches else observation
        self._t_shown = t_shown
        self.total_reward += reward  # type: ignore[operator]  # SupportsFloat: numpy scalars add as well
        self.all_ticks += 1
        tick.reward = reward  # type: ignore[assignment]
        tick.terminated = terminated
        tick.truncated = truncated
        tick.info = info
        tick.next_observation = kept
        decided_by = tick.decided_by
        if self._watchers or decided_by:
            reward = self._after_step(tick, reward)  # type: ignore[arg-type]
        if self._record is not None:
            self._record.append(tick)
        info = {
            **info,
            "tick": number,
            "is_intervention": decided_by != 0,
            "phase": _PHASE_NAMES[tick.phase],
            "proposed_action": tick.proposed_action,
            "executed_action": tick.executed_action,
        }
        if (decided_by or self._control.requests or tick.feedback) and not self.rules.fixed_info:
            add_what_happened(info, tick, self._control.take_requests())
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
        return self._control.take_requests()

    # --- who acts ---

    def _decide(self, tick: Tick, action: Any) -> Any:
        """Fill the tick's actions, phase and decider; return what the environment receives."""
        seats = self._seats
        if seats.player is not None:
            action = self._player_action(seats.player, action)
        proposed = tick.proposed_action = self._copy(action)
        tick.reaction_ns = 0
        if self._control.pace is not _MAX:
            self._wait(proposed)
        for seat in self._present:
            try:
                requests = seat.poll(self._observation, proposed)
            except Exception:
                self._bury(seat)
                continue
            if requests is not None:
                self._control.obey(requests, seat, self._seats)
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
                    self._touched = override_mask(override)
                    executed = mix_actions(proposed, override, self.rules.mix, self.action_space)
                else:
                    executed = override
                if not self.action_space.contains(executed):
                    self._events.add("action_refused", {"seat": teacher.name, "action": repr(executed)[:200]})
                    override = None
        except Exception:
            self._bury(teacher)
            tick.phase = self._machine.phase
            tick.decided_by = DecidedBy.PLAYER
            tick.executed_action = proposed
            return proposed
        if override is None:
            tick.decided_by = DecidedBy.FALLBACK
            previous = self._control.previous_override
            repeat = self.rules.fallback == "repeat" and previous is not None
            executed = previous if repeat else proposed
        else:
            tick.decided_by = DecidedBy.TEACHER
            self._control.previous_override = self._copy(executed)
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
        self._events.add("unacknowledged_takeover", {})
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
        self._events.add("seat_failed", {"seat": seat.name})
        self._control.obey((Request.LOST,), seat, self._seats)
        if not self._present:
            self._control.let_go()
        if seat is self._seats.teacher:
            self._seats = replace(self._seats, teacher=None)
        elif seat is self._seats.player:
            self._seats = replace(self._seats, player=None)

    # --- waiting ---

    def _wait(self, proposed: Any) -> None:
        """Wait for this tick's turn at the trial's pace; requests are obeyed meanwhile."""
        for seat in self._present:
            try:
                seat.show(proposed)
            except Exception:
                self._bury(seat)
        control = self._control
        if control.pace is Pace.STEP:
            self._pause(proposed, until=Request.STEP)
            return
        due = self._pacer.due(time.monotonic_ns(), control.pace)
        remaining = (due - time.monotonic_ns()) / 1e9
        if remaining > 0.0:
            time.sleep(remaining)

    def _pause(self, proposed: Any, until: Request | None = None) -> None:
        """Wait until a person goes on, asks for one step, leaves, or the pause has lasted long enough."""
        control = self._control
        deadline = time.monotonic() + self.rules.max_pause
        while self._present and (
            self._machine.phase is Phase.PAUSED or (until is not None and control.pace is Pace.STEP)
        ):
            for seat in self._present:
                try:
                    requests = seat.poll(self._observation, proposed)
                except Exception:
                    self._bury(seat)
                    continue
                if requests is not None and control.obey(requests, seat, self._seats):
                    return
            if time.monotonic() > deadline:
                control.end_pause()
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
            tick.info = {**tick.info, "override_mask": self._touched}
        if opinions and self.rules.reward_mixing is not None:
            return mix_rewards(reward, opinions, self.rules.reward_mixing, self.rules.feedback_weight)
        return reward

    def event(self, kind: str, data: Mapping[str, Any], trial_id: str | None = None) -> None:
        """Keep something that a seat was told in the trial's record; see :class:`TrialView`."""
        self._events.add(kind, data, trial_id)

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

    def _crashed(self, error: Exception, executed: Any) -> EnvironmentCrashedError | InvalidActionError:
        """End the trial because the environment raised."""
        what = f"{type(error).__name__}: {error}"[:2000]
        self.failure = f"{what}\n\n{''.join(traceback.format_exception(error))[-_LONGEST_TRACE:]}"
        self._events.add("environment_crashed", {"error": what})
        self._end("environment_crashed")
        where = (
            f"{self.env_id} raised {type(error).__name__}: {error} in tick {self.tick.number} of trial "
            f"{self.trial_id} (executed action {executed!r}); the trial is ended and recorded"
        )
        if _is_outside(executed, self.action_space):
            return InvalidActionError(f"the action {executed!r} lies outside {self.action_space}: {where}")
        return EnvironmentCrashedError(where)

    def _rng_state(self) -> Mapping[str, Any] | None:
        """Return the environment's generator state, ``None`` where it never made one."""
        generator = getattr(self.env.unwrapped, "_np_random", None)
        return generator.bit_generator.state if generator is not None else None


_MAX, _PAUSED, _CORRECTING = Pace.MAX, Phase.PAUSED, Phase.CORRECTING  # enum look-ups cost 50 ns each
_PHASE_NAMES = tuple(phase.name.lower() for phase in Phase)


def _is_outside(action: Any, space: gym.Space[Any]) -> bool:
    try:
        return not space.contains(action)
    except Exception:  # what it cannot even look at
        return True
