"""The slots of a trial that actors take which connect by themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Container, Mapping, Sequence

from cogment_lab.services.orchestrator.component import ActorLink
from cogment_lab.trial.parameters import ActorParameters

__all__ = ["ClientSeats"]


class ClientSeats:
    """Which client slots are free, kept for somebody, or taken; made inside a running event loop.

    Args:
        actors: The trial's slots, in order.
        clients: Indices of those that are for clients.
    """

    def __init__(self, actors: Sequence[ActorParameters], clients: Sequence[int]) -> None:
        loop = asyncio.get_running_loop()
        self._actors = actors
        self._seats: Mapping[int, asyncio.Future[ActorLink]] = {
            index: loop.create_future() for index in clients
        }
        self._reserved: set[int] = set()

    def __contains__(self, index: int) -> bool:
        return index in self._seats

    async def taken(self, index: int) -> ActorLink:
        """Wait for a client to take the slot; whoever gives up waiting closes it."""
        return await self._seats[index]

    def reserve(self, lost: Container[int], *, name: str = "", actor_class: str = "") -> int | None:
        """Return the index of a free slot by name or class, kept for the caller; ``None`` for none.

        Args:
            lost: Indices of the slots that the trial goes on without.
            name: The slot's name; where it is empty the class decides.
            actor_class: The slot's class.
        """
        for index in self._seats:
            actor = self._actors[index]
            is_wanted = actor.name == name if name else actor.actor_class == actor_class
            if is_wanted and index not in self._reserved and index not in lost:
                self._reserved.add(index)
                return index
        return None

    def release(self, index: int) -> None:
        """Give a reserved slot back: its client left before it was connected."""
        self._reserved.discard(index)

    def take(self, index: int, link: ActorLink) -> bool:
        """Put a client into its slot; return whether the trial still wants it."""
        seat = self._seats.get(index)
        if seat is None or seat.done():
            return False
        seat.set_result(link)
        return True

    def close(self) -> None:
        """Let nobody in any more."""
        for seat in self._seats.values():
            if not seat.done():
                seat.cancel()
