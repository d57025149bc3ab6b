"""How many people may join in how much time: from one address, and in all."""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Doorkeeper", "JoinLimit"]

_MOST_ADDRESSES = 10_000
_LONGEST_ADDRESS = 64
_HOME_BITS = 64  # of an IPv6 address: who has one has all of its network
_SAY_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinLimit:
    """How often the join link may be followed; who comes back by a name counts, a reload does not.

    Attributes:
        burst: So many at once from one address (for IPv6: from one /64 network); a class behind one router
            has one address.
        seconds: And then one more each time that so much time has passed.
        all_burst: So many at once from all addresses together.
        all_seconds: And then one more each time that so much time has passed.
    """

    burst: int = 60
    seconds: float = 5.0
    all_burst: int = 240
    all_seconds: float = 1.0


class _Bucket:
    """Holds up to ``burst`` tokens, and gets a new one each ``seconds``."""

    def __init__(self, burst: int, seconds: float, now: float) -> None:
        self._burst = burst
        self._seconds = seconds
        self._tokens = float(burst)
        self._filled = now

    def wait(self, now: float) -> float:
        """Return in how many seconds there is a token, 0 for now."""
        self._tokens = min(self._burst, self._tokens + (now - self._filled) / self._seconds)
        self._filled = now
        return max(0.0, (1.0 - self._tokens) * self._seconds)

    def take(self) -> None:
        self._tokens -= 1.0


class Doorkeeper:
    """Says who may join now. Belongs to one event loop.

    Args:
        limit: How many, ``None`` for everybody.
        say: Called with a line for the experimenter when people are turned away, once a minute at most.
        clock: Seconds.
    """

    def __init__(
        self,
        limit: JoinLimit | None,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit = limit
        self._say = say
        self._clock = clock
        self._all = _Bucket(limit.all_burst, limit.all_seconds, clock()) if limit is not None else None
        self._addresses: OrderedDict[str, _Bucket] = OrderedDict()
        self._said = -math.inf

    def admit(self, address: str) -> int:
        """Count somebody who joins from there and return 0, or how many seconds they should wait."""
        limit = self._limit
        if limit is None or self._all is None:
            return 0
        now = self._clock()
        home = _home(address)
        bucket = self._addresses.pop(home, None) or _Bucket(limit.burst, limit.seconds, now)
        self._addresses[home] = bucket
        if len(self._addresses) > _MOST_ADDRESSES:
            self._addresses.popitem(last=False)
        wait = max(bucket.wait(now), self._all.wait(now))
        if wait > 0.0:
            self._tell(now, bucket.wait(now) > 0.0)
            return math.ceil(wait)
        bucket.take()
        self._all.take()
        return 0

    def _tell(self, now: float, one_address: bool) -> None:
        if now - self._said < _SAY_SECONDS:
            return
        self._said = now
        where = "from one address" if one_address else "in all"
        self._say(f"too many people join {where} just now: the next ones are asked to wait some seconds")


def _home(address: str) -> str:
    """Return what counts as one address; what is none, such as a proxy's word for it, counts as it is."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:_LONGEST_ADDRESS]
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), _HOME_BITS), strict=False))
