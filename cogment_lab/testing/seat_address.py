"""From a seat's link to its socket, from a message to a picture: the protocol without a connection."""

from __future__ import annotations

import io
import struct
from typing import NamedTuple
from urllib.parse import parse_qs, quote, urlencode, urlsplit, urlunsplit

import numpy as np
import numpy.typing as npt
from PIL import Image

from cogment_lab.errors import ConfigurationError

__all__ = ["PROTOCOL", "Picture", "SeatAddress"]

PROTOCOL = "cogment_lab.seat.v1"
_HEADER = struct.Struct("<IIIId")
_FORMATS = {1: "jpeg", 2: "webp", 3: "png"}


class Picture(NamedTuple):
    """What a viewer is sent of a trial.

    Attributes:
        sequence: To acknowledge.
        tick: What it shows.
        driver_input: The driver's newest numbered input that the trial had taken by then, 0 for none.
        rendered_ms: The server's monotonic clock.
        format: ``jpeg``, ``webp`` or ``png``.
        data: The file.
    """

    sequence: int
    tick: int
    driver_input: int
    rendered_ms: float
    format: str
    data: bytes

    @classmethod
    def parse(cls, message: bytes) -> Picture:
        """Return the picture in a binary message."""
        kind, sequence, tick, driver_input, rendered = _HEADER.unpack_from(message)
        return cls(sequence, tick, driver_input, rendered, _FORMATS[kind], message[_HEADER.size :])

    def pixels(self) -> npt.NDArray[np.uint8]:
        """Return ``(height, width, 3) uint8``."""
        with Image.open(io.BytesIO(self.data)) as image:
            return np.asarray(image.convert("RGB"))


class SeatAddress(NamedTuple):
    """Where a seat's socket is.

    Attributes:
        base: The page's address, without query.
        token: What opens it.
        seat: Its name; ``None`` where the link names none.
    """

    base: str
    token: str
    seat: str | None

    @classmethod
    def parse(cls, link: str) -> SeatAddress:
        """Return the address in a link to a page or seat.

        Raises:
            ConfigurationError: the link holds no token.
        """
        parts = urlsplit(link)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        if parts.scheme not in ("http", "https") or "token" not in query:
            raise ConfigurationError(f"{link!r} is no link to a seat: those begin with http and hold a token")
        base = urlunsplit((parts.scheme, parts.netloc, parts.path.rpartition("/")[0] + "/", "", ""))
        return cls(base, query["token"], query.get("seat"))

    def socket_url(self, seat: str, **query: str) -> str:
        """Return the address of a seat's socket."""
        wanted = {key: value for key, value in query.items() if value}
        return (
            f"ws{self.base.removeprefix('http')}api/seats/{quote(seat, safe='')}/socket?{urlencode(wanted)}"
        )
