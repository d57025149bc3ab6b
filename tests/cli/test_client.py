"""Clients of a directory and of a trial datastore from the command line."""

import asyncio
import json
import signal
import socket
from pathlib import Path
from types import SimpleNamespace

from cogment_lab.cli.client import run_client
from cogment_lab.services.trial_datastore import TrialDatastore, TrialDatastoreSettings
from cogment_lab.wire.channel import open_channel
from cogment_lab.wire.generated.common_pb2 import ENDED, RUNNING, TrialParams
from cogment_lab.wire.generated.trial_datastore_pb2 import (
    AddSampleRequest,
    AddTrialRequest,
    StoredTrialSample,
)
from cogment_lab.wire.rpc import Stub


def test_a_service_is_registered_found_and_deregistered(cogmentlab: SimpleNamespace) -> None:
    with cogmentlab.running("services", "directory", "--port=0") as directory:
        endpoint = f"--directory_endpoint=grpc://localhost:{directory.port()}"
        client = ("client", "directory")
        record = (
            "--host=localhost",
            "--port=1234",
            "--type=modelregistry",
            "--properties=a=1,b=2",
            "--permanent",
        )
        printed = cogmentlab.output(*client, "register", endpoint, *record).decode()
        service_id, secret = (part.split("]")[0] for part in printed.split("[")[1:])

        found = cogmentlab.output(*client, "inquire", endpoint, "--type=modelregistry", "--properties=a=1")
        text = found.decode()
        assert "[1] Services found" in text
        assert "Endpoint [grpc://localhost:1234] SSL required [false]" in text
        assert "[__registration_source] = [Cogment-Command_Line]" in text

        which = (f"--service_id={service_id}", f"--secret={secret}")
        wrong = cogmentlab.output(*client, "deregister", endpoint, which[0], "--secret=x", status=1)
        assert b"keeps service" in wrong
        cogmentlab.output("client", endpoint, "directory", "deregister", *which)
        as_json = cogmentlab.output(*client, "inquire", endpoint, which[0], "--console_output=json")
        assert json.loads(as_json) == []
        assert directory.ends(signal.SIGTERM) == 0


def test_registering_waits_for_the_directory(cogmentlab: SimpleNamespace, free_port) -> None:
    port = free_port()
    endpoint = f"--directory_endpoint=grpc://localhost:{port}"
    record = ("--host=localhost", "--port=1", "--type=datastore")
    with cogmentlab.running("client", "directory", "register", endpoint, *record) as registering:
        with socket.socket() as early:  # its first attempt is refused before there is a directory
            assert early.connect_ex(("127.0.0.1", port)) != 0
        with cogmentlab.running("services", "directory", f"--port={port}") as directory:
            directory.port()
            registering.line(r"Service ID \[\d+\] \tSecret \[.+\]")
            assert registering.ends() == 0
            cogmentlab.output("client", "directory", "WaitForReady", endpoint)
            assert directory.ends(signal.SIGTERM) == 0


def test_waiting_for_a_directory_has_an_end(capsys, free_port) -> None:
    endpoint = f"--directory_endpoint=grpc://localhost:{free_port()}"
    assert run_client(["--timeout=300ms", "directory", "WaitForReady", endpoint]) == 1
    assert "no answer in 0.3 s" in capsys.readouterr().err


def trial(trial_id: str, ticks: int) -> list[StoredTrialSample]:
    return [
        StoredTrialSample(
            trial_id=trial_id,
            tick_id=tick,
            timestamp=tick,
            state=ENDED if tick == ticks - 1 else RUNNING,
            payloads=[trial_id.encode() * (tick + 1)],
        )
        for tick in range(ticks)
    ]


async def fill(port: int, *trials: list[StoredTrialSample]) -> None:
    channel = open_channel(f"127.0.0.1:{port}")
    stub = Stub(channel, "cogmentAPI.TrialDatastoreSP")
    params = TrialParams(max_steps=7, properties={"kind": "x"})
    for samples in trials:
        metadata = (("trial-id", samples[0].trial_id),)
        await stub.AddTrial(AddTrialRequest(user_id="me", trial_params=params), metadata=metadata, timeout=30)
        requests = [AddSampleRequest(trial_sample=sample) for sample in samples]
        await stub.AddSample(iter(requests), metadata=metadata, timeout=30)
    await channel.close()


def client(port: int, *arguments: str) -> int:
    return run_client(["trial_datastore", *arguments, f"--endpoint=grpc://127.0.0.1:{port}"])


def in_datastores(scenario) -> None:
    """Run ``scenario(first port, second port)`` in a thread beside two datastores, the first one filled."""

    async def run() -> None:
        async with asyncio.timeout(60):
            first, second = (TrialDatastore(TrialDatastoreSettings(port=0)) for _ in range(2))
            ports = await first.start(), await second.start()
            await fill(ports[0], trial("t1", 3), trial("t2", 200))
            try:
                await asyncio.to_thread(scenario, *ports)
            finally:
                await first.stop()
                await second.stop()

    asyncio.run(run())


def test_trials_are_listed_by_pages(capsys) -> None:
    def scenario(port: int, _: int) -> None:
        assert client(port, "list_trials", "--console_output=json", "--count=1") == 0
        page = json.loads(capsys.readouterr().out)
        assert [info["trial_id"] for info in page["trial_infos"]] == ["t1"]
        assert client(port, "list", f"--from={page['next_trial_handle']}", "--properties=kind=x") == 0
        text = capsys.readouterr().out
        assert "t2" in text
        assert "t1" not in text
        assert "ENDED" in text
        assert client(port, "list", "--properties=kind=y", "--console_output=json") == 0
        assert "trial_infos" not in json.loads(capsys.readouterr().out)

    in_datastores(scenario)


def test_trials_go_to_a_file_and_back(capsys, tmp_path: Path) -> None:
    file = tmp_path / "trials.bin"
    again = tmp_path / "again.bin"

    def scenario(port: int, other: int) -> None:
        assert client(port, "export", "t1", "t2", f"--file={file}") == 0
        assert file.read_bytes().startswith(b"COGMENTTRIALS001")
        assert client(other, "import", f"--file={file}", "--prefix=old-", "--user_id=you") == 0
        assert "2 trials imported (203 samples)" in capsys.readouterr().out
        assert client(other, "list", "--console_output=json") == 0
        page = json.loads(capsys.readouterr().out)
        assert {
            (info["trial_id"], info["user_id"], info["samples_count"]) for info in page["trial_infos"]
        } == {
            ("old-t1", "you", 3),
            ("old-t2", "you", 200),
        }
        assert client(other, "export", "old-t1", f"--file={again}") == 0
        assert b"t1t1t1" in again.read_bytes()

    in_datastores(scenario)


def test_deleted_trials_are_gone(capsys) -> None:
    def scenario(port: int, _: int) -> None:
        assert client(port, "delete_trials", "t1") == 0
        assert client(port, "list", "--console_output=json") == 0
        assert '"t1"' not in capsys.readouterr().out

    in_datastores(scenario)


def test_what_cannot_be_exported_or_imported_says_why(capsys, tmp_path: Path) -> None:
    file = tmp_path / "trials.bin"
    file.write_bytes(b"COGMENTTRIALS001\x10\x00\x00\x00short")

    def scenario(port: int, _: int) -> None:
        assert client(port, "export", "t1", "t9", f"--file={tmp_path / 'new'}") == 1
        assert "no trial 't9'" in capsys.readouterr().err
        assert not (tmp_path / "new").exists()
        assert client(port, "import", f"--file={file}") == 1
        assert "in the middle of a message" in capsys.readouterr().err
        file.write_bytes(b"something else entirely")
        assert client(port, "import", f"--file={file}") == 1
        assert "COGMENTTRIALS001" in capsys.readouterr().err

    in_datastores(scenario)
    assert client(1, "list", "--timeout=5s") == 1
    assert "nothing answers" in capsys.readouterr().err
