"""``cogmentlab client trial_datastore``: list and delete trials, take them to a file and back."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import grpc
from google.protobuf.json_format import MessageToJson
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from cogment_lab.cli import samples_file
from cogment_lab.errors import ConfigurationError, EndpointError, NotAStoreError, ServiceError
from cogment_lab.trial.states import TrialState
from cogment_lab.wire.calls import answer, call_error
from cogment_lab.wire.channel import open_channel
from cogment_lab.wire.endpoint import CLIENT, parse
from cogment_lab.wire.generated.trial_datastore_pb2 import (
    AddSampleRequest,
    AddTrialRequest,
    DeleteTrialsRequest,
    RetrieveSampleReply,
    RetrieveSamplesRequest,
    RetrieveTrialsRequest,
)
from cogment_lab.wire.rpc import Stub

__all__ = ["delete_trials", "export_trials", "import_trials", "list_trials"]

_DEFAULT = "grpc://localhost:9003"


async def list_trials(given: Mapping[str, Any], as_json: bool) -> None:
    """Print a page of trials."""
    count = given.get("count", 10)
    if count < 1:
        raise ConfigurationError(f"--count={count}: at least 1")
    handle = given.get("from", "")
    request = RetrieveTrialsRequest(
        trials_count=count, trial_handle=handle, properties=given.get("properties", {})
    )
    async with _datastore(given) as stub:
        reply = await answer(stub.RetrieveTrials, request, "list trials")
    if as_json:
        print(MessageToJson(reply, preserving_proto_field_name=True))
        return
    table = Table("trial id", "user id", "state", "samples", "actors", "properties", box=SIMPLE)
    for info in reply.trial_infos:
        properties = ",".join(f"{name}={value}" for name, value in sorted(info.params.properties.items()))
        state = TrialState(info.last_state).name
        numbers = str(info.samples_count), str(len(info.params.actors))
        table.add_row(info.trial_id, info.user_id, state, *numbers, properties)
    console = Console(highlight=False, markup=False)
    console.print(table)
    start = f" from <{handle}>" if handle else ""
    following = f"next trial handle is <{reply.next_trial_handle}>"
    console.print(f"{len(reply.trial_infos)} trials retrieved{start}, {following}")


async def delete_trials(given: Mapping[str, Any], as_json: bool) -> None:
    """Delete trials for good."""
    async with _datastore(given) as stub:
        await answer(stub.DeleteTrials, DeleteTrialsRequest(trial_ids=given["trial_ids"]), "delete trials")
    print(
        json.dumps({"trial_ids": given["trial_ids"]})
        if as_json
        else f"{len(given['trial_ids'])} trials deleted"
    )


async def export_trials(given: Mapping[str, Any], as_json: bool) -> None:
    """Write trials and their samples to a file; follows trials that still run to their end."""
    trial_ids, path = given["trial_ids"], given.get("file")
    async with _datastore(given) as stub:
        request = RetrieveTrialsRequest(trial_ids=trial_ids)
        reply = await answer(stub.RetrieveTrials, request, "find the trials")
        params = {info.trial_id: info.params for info in reply.trial_infos}
        missing = [trial_id for trial_id in trial_ids if trial_id not in params]
        if missing:
            raise ServiceError(f"the datastore has no trial {', '.join(map(repr, missing))}")
        with _written(path) as file:
            size = samples_file.write_header(file, params)
            call = stub.RetrieveSamples(RetrieveSamplesRequest(trial_ids=trial_ids))
            try:
                async for data in call:
                    sample = RetrieveSampleReply.FromString(data).trial_sample
                    size += samples_file.write_message(file, sample)
            except grpc.aio.AioRpcError as error:
                raise call_error("read the samples", error) from error
    if path is None:
        return
    message = f"{len(trial_ids)} trials exported to {json.dumps(str(path))} ({size} bytes written)"
    output = {"bytes": size, "message": message, "trial_ids": trial_ids, "filepath": str(path)}
    print(json.dumps(output, indent=2) if as_json else message)


async def import_trials(given: Mapping[str, Any], as_json: bool) -> None:
    """Add the trials of a file and their samples."""
    path, prefix = given.get("file"), given.get("prefix", "")
    user_id = given.get("user_id", "cogment CLI")
    async with _datastore(given) as stub:
        with _read(path) as file:
            counts = await _add(stub, file, prefix, user_id)
    where = json.dumps(str(path) if path is not None else "stdin")
    message = f"{len(counts)} trials imported ({sum(counts.values())} samples) from {where}"
    trials = [{"trial_id": trial_id, "samples_count": count} for trial_id, count in counts.items()]
    output = {
        "message": message,
        "samples_count": sum(counts.values()),
        "trials": trials,
        "filepath": str(path),
    }
    print(json.dumps(output, indent=2) if as_json else message)


async def _add(stub: Any, file: IO[bytes], prefix: str, user_id: str) -> dict[str, int]:
    """Add what ``file`` holds; return the number of samples of each trial, by its new id."""
    header = samples_file.read_header(file)
    streams, counts = {}, {}
    try:
        for trial_id, params in header.trial_params.items():
            metadata = (("trial-id", prefix + trial_id),)
            request = AddTrialRequest(user_id=user_id, trial_params=params)
            await answer(stub.AddTrial, request, f"add trial {prefix + trial_id!r}", metadata=metadata)
            streams[prefix + trial_id] = stub.AddSample(metadata=metadata)
            counts[prefix + trial_id] = 0
        for sample in samples_file.read_samples(file):
            sample.trial_id = prefix + sample.trial_id
            sample.user_id = user_id
            if sample.trial_id not in counts:
                raise NotAStoreError(f"the file has samples of {sample.trial_id!r}, but not that trial")
            await streams[sample.trial_id].write(AddSampleRequest(trial_sample=sample))
            counts[sample.trial_id] += 1
        for stream in streams.values():
            await stream.done_writing()
            await stream
    except grpc.aio.AioRpcError as error:
        raise call_error("add the samples", error) from error
    finally:
        for stream in streams.values():
            stream.cancel()
    return counts


@contextlib.contextmanager
def _written(path: Path | None) -> Iterator[IO[bytes]]:
    """Yield a file that takes its place only when it is complete; standard output for ``None``."""
    if path is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as file:
            yield file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def _read(path: Path | None) -> Iterator[IO[bytes]]:
    if path is None:
        yield sys.stdin.buffer
        return
    with path.open("rb") as file:
        yield file


@contextlib.asynccontextmanager
async def _datastore(given: Mapping[str, Any]) -> AsyncIterator[Any]:
    url = given.get("endpoint", _DEFAULT)
    target = parse(url)
    if not isinstance(target, str) or target == CLIENT:
        raise EndpointError(f"--endpoint={url}: grpc://host:port")
    channel = open_channel(target, given["credentials"])
    try:
        yield Stub(channel, "cogmentAPI.TrialDatastoreSP")
    finally:
        await channel.close(None)
