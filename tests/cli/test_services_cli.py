"""Services from the command line: official flags, environment variables, how they end."""

import asyncio
import json
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from cogment_lab.cli.services import run_service
from cogment_lab.wire import Context, Endpoint


def answers(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), 20):
        return True


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        (("orchestrator", "--lifecycle_port=0", "--actor_port=0", "--directory_auto_register=false"), {}),
        (("orchestrator", "--actor_web_port=0"), {"TRIAL_LIFECYCLE_PORT": "0", "COGMENT_ACTOR_PORT": "0"}),
        (("trial_datastore", "--port", "0"), {"COGMENT_TRIAL_DATASTORE_PORT": "1"}),
        (("datastore", "--grpc_reflection"), {"COGMENT_TRIAL_DATASTORE_PORT": "0"}),
        (("directory", "--port=0", "--persistence_file=", "--load_balancing"), {}),
        (("registry", "--port=0", "--cache_max_items=3"), {"COGMENT_MODEL_REGISTRY_ARCHIVE_DIR": "models"}),
        (("proxy", "--port=0", "--secret=s"), {"COGMENT_WEB_PROXY_WEB_PORT": "0"}),
    ],
)
def test_a_service_listens_and_ends_when_it_is_asked_to(
    arguments: tuple[str, ...], environment: dict[str, str], cogmentlab: SimpleNamespace
) -> None:
    with cogmentlab.running("services", *arguments, **environment) as service:
        assert answers(service.port())
        assert service.ends(signal.SIGTERM) == 0


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no FIFOs")
def test_the_status_goes_through_a_fifo_that_stays_open(tmp_path: Path, cogmentlab: SimpleNamespace) -> None:
    fifo = tmp_path / "status"
    os.mkfifo(fifo)
    ports = ("--lifecycle_port=0", "--actor_port=0")
    with cogmentlab.running("services", "orchestrator", f"--status_file={fifo}", *ports) as service:
        with fifo.open() as status:
            assert status.read(1) == "I"
            assert status.read(1) == "R"
            service.process.send_signal(signal.SIGINT)
            assert status.read() == "T"
        assert service.ends() == 0


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no FIFOs")
def test_a_service_that_waits_for_the_directory_ends_too(tmp_path: Path, cogmentlab: SimpleNamespace) -> None:
    fifo = tmp_path / "status"
    os.mkfifo(fifo)
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        directory = f"--directory_endpoint=grpc://127.0.0.1:{deaf.getsockname()[1]}"
        ports = ("--lifecycle_port=0", "--actor_port=0")
        with cogmentlab.running(
            "services", "orchestrator", f"--status_file={fifo}", *ports, directory
        ) as service:
            with fifo.open() as status:
                assert status.read(1) == "I"
                service.process.send_signal(signal.SIGTERM)
                assert status.read() == "T"
            assert service.ends(seconds=30.0) == 0


def test_the_log_goes_to_a_file_as_lines_of_json(cogmentlab: SimpleNamespace, tmp_path: Path) -> None:
    log = tmp_path / "log"
    how = ("--log_format=json", f"--log_file={log}", "--lifecycle_port=0", "--actor_port=0")

    async def ask_for_nonsense(port: int) -> None:
        context = Context("tester")
        async with asyncio.timeout(60):
            controller = context.get_controller(Endpoint(f"grpc://127.0.0.1:{port}"))
            with pytest.raises(Exception, match="cannot start"):
                await controller.start_trial()
        await context.close()

    with cogmentlab.running("services", "orchestrator", *how, COGMENT_LOG_LEVEL="trace") as service:
        asyncio.run(ask_for_nonsense(service.port()))
        assert service.ends(signal.SIGTERM) == 0
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert lines
    assert all({"time", "level", "component", "msg"} <= set(line) for line in lines)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("orchestrator", "--lifecycle_prot=1"), "lifecycle_prot"),
        (("datastore", "--grpc_reflection=perhaps"), "neither true nor false"),
        (("datastore", "--log_level=loud"), "trace, debug"),
    ],
)
def test_a_wrong_flag_is_refused(
    arguments: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run_service(arguments)
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


def test_a_wrong_variable_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COGMENT_TRIAL_DATASTORE_PORT", "nine")
    with pytest.raises(SystemExit):
        run_service(["trial_datastore"])
    assert "COGMENT_TRIAL_DATASTORE_PORT='nine'" in capsys.readouterr().err


def test_mistakes_are_told_with_a_status(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run_service([]) == 2
    assert run_service(["weather"]) == 2
    assert "there is no service 'weather'" in capsys.readouterr().err
    broken = tmp_path / "params.yaml"
    broken.write_text("trial_params: {nonsense: 1}")
    assert run_service(["orchestrator", "--lifecycle_port=0", "--actor_port=0", f"--params={broken}"]) == 1
    assert "nonsense" in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no FIFOs")
def test_a_launcher_written_for_the_official_executable_works(
    tmp_path: Path, cogmentlab: SimpleNamespace, free_port: Callable[[], int]
) -> None:
    """The command lines are those of the official SDK's test-suite (protocol section 16.1)."""
    fifo, hook, port, found_at, registry = tmp_path / "status", *(free_port() for _ in range(4))
    os.mkfifo(fifo)
    (tmp_path / "params.yaml").write_text("trial_params: {max_steps: 3}")
    orchestrator = (
        f"--status_file={fifo}",
        f"--lifecycle_port={port}",
        f"--actor_port={port}",
        f"--params={tmp_path / 'params.yaml'}",
        f"--pre_trial_hooks=grpc://localhost:{hook}",
    )
    with cogmentlab.running("services", "orchestrator", *orchestrator) as service, fifo.open() as status:
        assert status.read(1) == "I"
        assert status.read(1) == "R"
        assert service.ends(signal.SIGTERM, 5) == 0
        assert status.read(1) == "T"
    register = (
        f"--directory_endpoint=grpc://localhost:{found_at}",
        "--host=localhost",
        f"--port={registry}",
        "--type=modelregistry",
    )
    with (
        cogmentlab.running("client", "directory", "register", *register) as registering,
        cogmentlab.running("services", "directory", f"--port={found_at}"),
        cogmentlab.running("services", "model_registry", f"--port={registry}", f"--archive_dir={tmp_path}"),
    ):
        assert registering.ends(seconds=30) == 0
