"""The two dialects of grpc-web, without I/O: frames, headers and trailers (protocol section 12a).

A frame is a flag, a length of 4 bytes, big-endian, and so many bytes: a message, or with the highest bit of
the flag set a block of ``name: value`` lines. Over HTTP the body holds frames, in base64 for the ``-text``
types. Over a WebSocket of the subprotocol ``grpc-websockets`` the first message is a block of lines, without
a frame around it; each later one is a 0 and a piece of a frame, or a 1 for the end of sending.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote

from cogment_lab.errors import ProtocolError

__all__ = [
    "Deframer",
    "data_frame",
    "decode_text",
    "grpc_metadata",
    "header_block",
    "lines_frame",
    "parse_lines",
    "timeout_of",
]

Metadata = list[tuple[str, str | bytes]]

_PREFIX = 5
_LINES, _COMPRESSED = 0x80, 0x01
_NAME, _VALUE = re.compile(r"[0-9a-z_.-]+"), re.compile(r"[\x20-\x7e]*")
_OF_HTTP = re.compile(
    r"(accept|access-control|cache-|cogment-lab-|connection|content-|cookie|dnt|expect|forwarded|grpc-|host|"
    r"keep-alive|origin|pragma|priority|proxy-|referer|sec-|te$|trailer|transfer-|upgrade|user-agent|via|"
    r"x-grpc-web|x-user-agent|x-forwarded)"
)
"""Headers between client and proxy; ``cogment-lab-`` ones settle how two of our own components speak."""

_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}


class Deframer:
    """Takes bytes as they come, and gives the messages that are complete.

    Args:
        most: Bytes of the largest message that is taken.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield complete messages; raise ProtocolError for a compressed or too large one."""
        rest = self._rest
        rest += data
        while len(rest) >= _PREFIX:
            flag, size = rest[0], int.from_bytes(rest[1:_PREFIX], "big")
            if flag & _COMPRESSED:
                raise ProtocolError("a compressed message: this proxy takes none")
            if size > self._most:
                raise ProtocolError(f"a message of {size} bytes is larger than {self._most}")
            if len(rest) < _PREFIX + size:
                return
            message = bytes(rest[_PREFIX : _PREFIX + size])
            del rest[: _PREFIX + size]
            if not flag & _LINES:  # trailers of a client say nothing
                yield message

    def end(self) -> None:
        """Raise ProtocolError when a message is incomplete."""
        if self._rest:
            raise ProtocolError("the last message is incomplete")


def data_frame(message: bytes) -> bytes:
    """Return the frame of a message."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def lines_frame(lines: bytes) -> bytes:
    """Return the frame of a block of lines: headers, or trailers at the end."""
    return bytes([_LINES]) + len(lines).to_bytes(4, "big") + lines


def header_block(
    metadata: Iterable[tuple[str, str | bytes]], status: int | None = None, message: str = ""
) -> bytes:
    """Return metadata as lines, with ``grpc-status`` and ``grpc-message`` where they are trailers."""
    lines = [f"{name}: {_as_text(value)}" for name, value in metadata]
    if status is not None:
        lines.append(f"grpc-status: {status}")
        if message:
            lines.append(f"grpc-message: {quote(message, safe=' ')}")
    return "".join(f"{line}\r\n" for line in lines).encode("ascii")


def parse_lines(block: bytes) -> list[tuple[str, str]]:
    """Return the names and values of a block of lines; raise ProtocolError for anything else."""
    headers = []
    for line in block.decode("latin-1").split("\r\n"):
        name, colon, value = line.partition(":")
        if line and not colon:
            raise ProtocolError(f"{line[:100]!r} is no header")
        if line:
            headers.append((name, value.strip()))
    return headers


def grpc_metadata(headers: Iterable[tuple[str, str]]) -> Metadata:
    """Return what of a client's headers is metadata of the call.

    Raises:
        ProtocolError: a name or value that gRPC does not allow.
    """
    metadata: Metadata = []
    for name, value in headers:
        name = name.strip().lower()
        if _OF_HTTP.match(name):
            continue
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise ProtocolError(f"the header {name[:100]!r} is no metadata")
        if name.endswith("-bin"):
            metadata += [(name, _from_base64(part)) for part in value.split(",")]
        else:
            metadata += [(name, value)]
    return metadata


def timeout_of(headers: Iterable[tuple[str, str]]) -> float | None:
    """Return the seconds that ``grpc-timeout`` allows, ``None`` without a limit.

    Raises:
        ProtocolError: it cannot be read.
    """
    for name, value in headers:
        if name.lower() == "grpc-timeout":
            found = re.fullmatch(r"(\d{1,8})([HMSmun])", value.strip())
            if found is None:
                raise ProtocolError(f"grpc-timeout {value!r}: a number and one of {''.join(_UNITS)}")
            return int(found[1]) * _UNITS[found[2]]
    return None


def decode_text(body: bytes) -> bytes:
    """Return what is in the body of a ``-text`` request: base64, perhaps in several padded pieces."""
    pieces = re.findall(rb"[^=]+={0,2}", re.sub(rb"\s", b"", body))
    try:
        return b"".join(base64.b64decode(piece, validate=True) for piece in pieces)
    except binascii.Error as error:
        raise ProtocolError(f"the body is no base64: {error}") from None


def _as_text(value: str | bytes) -> str:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _from_base64(text: str) -> bytes:
    text = text.strip()
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error as error:
        raise ProtocolError(f"a binary header is no base64: {error}") from None
