"""How much one viewer is sent: pictures under way, quality, rate. Arithmetic on the caller's clock.

The only measurement is when pictures are acknowledged. As long as a viewer gets all pictures that there are,
nothing changes. One that does not gets more of them under way at once; where that only makes them wait,
its link is the limit, and it gets smaller ones.
"""

from __future__ import annotations

from collections import deque

__all__ = ["Flow"]

_MOST_UNDER_WAY = 6
_LOOK_SECONDS = 1.0
_LATE_SECONDS = 0.5
_QUEUE_SECONDS, _QUEUE_SHARE = 0.03, 0.4  # longer than this, and than this share of the way, is waiting
_LONG_QUEUE_SECONDS = 0.15
_BASE_DRIFT = 0.005
_STARVING = 0.8
_CALM_LOOKS = 4
_MOST_CALM_LOOKS = 64
_MIN_OFFERED = 4
_SLACK = 0.25  # how much early a picture may be, in periods; twice that where every picture is wanted
_HIGHEST_FPS = 60


class Flow:
    """The state of one viewer's link.

    Args:
        steps: How many steps of quality there are; 0 is the best.
    """

    def __init__(self, steps: int) -> None:
        self.step = 0
        self.max_fps = float(_HIGHEST_FPS)
        self.round_trip = 0.0
        self.acknowledged = 0
        self._last_step = steps - 1
        self._window = 1
        self._under_way: deque[tuple[int, float]] = deque()
        self._base: float | None = None
        self._due = 0.0
        self._looked = 0.0
        self._offered_sequence = 0
        self._offered = self._sent = 0
        self._calm = 0
        self._calm_needed = _CALM_LOOKS

    @property
    def rate(self) -> int:
        """Pictures per second that are worth rendering for this viewer."""
        return round(self.max_fps)

    def is_late(self, now: float) -> bool:
        """Return whether the oldest picture under way has waited for long."""
        return bool(self._under_way) and now - self._under_way[0][1] > _LATE_SECONDS

    def wants(self, sequence: int, now: float) -> bool:
        """Return whether picture ``sequence`` should go out now."""
        self._look(now)
        if now < self._due:
            return False
        if sequence != self._offered_sequence:
            self._offered_sequence = sequence
            self._offered += 1
        return len(self._under_way) < (1 if self.is_late(now) else self._window)

    def sent(self, sequence: int, now: float) -> None:
        """Note that a picture went out."""
        self._under_way.append((sequence, now))
        self._sent += 1
        period = 1.0 / self.max_fps
        slack = _SLACK if self.max_fps < _HIGHEST_FPS else 2 * _SLACK
        self._due = max(self._due + period, now + (1.0 - slack) * period)

    def heard(self, sequence: int, now: float) -> bool:
        """Note an acknowledgement; return ``False`` for one of a picture that is not under way."""
        if all(sequence != each for each, _ in self._under_way):
            return False
        lag = 0.0
        while self._under_way and self._under_way[0][0] <= sequence:
            lag = now - self._under_way.popleft()[1]
        self.acknowledged = sequence
        self.round_trip = lag if self._base is None else 0.8 * self.round_trip + 0.2 * lag
        self._base = lag if self._base is None else min(lag, self._base + _BASE_DRIFT * (lag - self._base))
        return True

    def forget(self) -> None:
        """Nothing is under way any more: the tab was hidden."""
        self._under_way.clear()

    def _look(self, now: float) -> None:
        """Once a second, judge how the link does."""
        if now - self._looked < _LOOK_SECONDS:
            return
        offered, sent = self._offered, self._sent
        self._looked, self._offered, self._sent = now, 0, 0
        if self.is_late(now):
            self._worse()
            return
        if offered < _MIN_OFFERED or self._base is None:
            return
        starving = sent < _STARVING * offered
        queue = self.round_trip - self._base
        if starving and (
            queue > max(_QUEUE_SECONDS, _QUEUE_SHARE * self._base) or self._window == _MOST_UNDER_WAY
        ):
            self._worse()
        elif starving:
            self._window += 1
        elif queue > _LONG_QUEUE_SECONDS and self._window > 1:
            self._window -= 1
        else:
            self._calm += 1
            if self._calm >= self._calm_needed and self.step > 0:
                self._calm_needed = min(2 * self._calm_needed, _MOST_CALM_LOOKS)
                self._change(self.step - 1)

    def _worse(self) -> None:
        self._window = 1
        self._change(min(self.step + 1, self._last_step))

    def _change(self, step: int) -> None:
        """Take another step of quality; its pictures have another round trip."""
        self.step = step
        self._calm = 0
        self._base = None
