"""The official file format of exported trials (protocol section 9.6)."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator, Mapping
from typing import IO, Any

from google.protobuf.message import DecodeError

from cogment_lab._version import __version__
from cogment_lab.errors import NotAStoreError
from cogment_lab.wire.generated.common_pb2 import TrialParams
from cogment_lab.wire.generated.trial_datastore_pb2 import StoredTrialSample, TrialSamplesFileHeader

__all__ = ["read_header", "read_samples", "write_header", "write_message"]

_MAGIC = b"COGMENTTRIALS001"
_SIZE = struct.Struct("<I")


def write_header(file: IO[bytes], params: Mapping[str, TrialParams]) -> int:
    """Begin a file of these trials; return the number of bytes."""
    header = TrialSamplesFileHeader(export_timestamp=time.time_ns())
    header.version_info.versions.add(name="cogment_lab", version=__version__)
    for trial_id, trial_params in params.items():
        header.trial_params[trial_id].CopyFrom(trial_params)
    file.write(_MAGIC)
    return len(_MAGIC) + write_message(file, header)


def write_message(file: IO[bytes], message: Any) -> int:
    """Write the header or a sample; return the number of bytes."""
    data = message.SerializeToString()
    file.write(_SIZE.pack(len(data)))
    file.write(data)
    return _SIZE.size + len(data)


def read_header(file: IO[bytes]) -> TrialSamplesFileHeader:
    """Read the beginning of a file.

    Raises:
        NotAStoreError: it is no such file, or broken.
    """
    if file.read(len(_MAGIC)) != _MAGIC:
        raise NotAStoreError("this is no file of exported trials: it does not begin with COGMENTTRIALS001")
    data = _read_message(file)
    if data is None:
        raise NotAStoreError("the file of exported trials ends before its header")
    header: TrialSamplesFileHeader = _parsed(TrialSamplesFileHeader, data)
    return header


def read_samples(file: IO[bytes]) -> Iterator[StoredTrialSample]:
    """Yield what follows the header.

    Raises:
        NotAStoreError: the file is broken.
    """
    while (data := _read_message(file)) is not None:
        yield _parsed(StoredTrialSample, data)


def _read_message(file: IO[bytes]) -> bytes | None:
    start = file.read(_SIZE.size)
    if not start:
        return None
    if len(start) == _SIZE.size:
        (size,) = _SIZE.unpack(start)
        data = file.read(size)
        if len(data) == size:
            return data
    raise NotAStoreError("the file of exported trials ends in the middle of a message")


def _parsed(kind: Any, data: bytes) -> Any:
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise NotAStoreError(f"the file of exported trials holds a broken {kind.DESCRIPTOR.name}") from error
