"""A page of another origin calls the orchestrator by grpc-web, in a real Chromium."""

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

CALL = """async ([host, body]) => {
    const answer = await fetch(host + "/cogmentAPI.TrialLifecycleSP/Version", {
        method: "POST", body: new Uint8Array(body),
        headers: {"content-type": "application/grpc-web+proto", "x-grpc-web": "1", "my-key": "value"},
    })
    return new TextDecoder("latin1").decode(await answer.arrayBuffer())
}"""
JOIN = """([host, trial]) => new Promise(resolve => {
    const url = host.replace("http", "ws") + "/cogmentAPI.ClientActorSP/RunTrial"
    const socket = new WebSocket(url, ["grpc-websockets"])
    socket.binaryType = "arraybuffer"
    const heard = []
    socket.onopen = () => {
        socket.send(new TextEncoder().encode(`trial-id: ${trial}\\r\\nx-grpc-web: 1\\r\\n`))
        socket.send(new Uint8Array([1]))
    }
    socket.onmessage = event => heard.push(new TextDecoder("latin1").decode(event.data))
    socket.onclose = event => resolve([event.code, heard])
})"""


@pytest.fixture
def port() -> Iterator[int]:
    """The port for browsers of an orchestrator."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "cogment_lab.cli.main", "services", "orchestrator"]
    flags = ["--lifecycle_port=0", "--actor_port=0", f"--actor_web_port={port}", "--log_level=error"]
    with subprocess.Popen([*command, *flags], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None and "listens" in process.stdout.readline()
            yield port
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()


def test_a_page_of_this_machine_may_call_and_join(page: Page, port: int) -> None:
    page.goto(f"http://localhost:{port}/")
    assert "grpc-web" in page.content()
    host = f"http://127.0.0.1:{port}"  # another origin: the browser asks first
    answer = page.evaluate(CALL, [host, [0, 0, 0, 0, 0]])
    assert "2.22.0" in answer and answer.endswith("grpc-status: 0\r\n")
    code, heard = page.evaluate(JOIN, [host, "t-unknown"])
    assert code == 1000
    assert "content-type" in heard[0]
    assert "grpc-status: 5" in heard[-1] and "t-unknown" in heard[-1]


def test_a_page_of_elsewhere_may_not(page: Page, port: int) -> None:
    page.goto("data:text/html,elsewhere")
    with pytest.raises(Exception, match="Failed to fetch"):
        page.evaluate(CALL, [f"http://127.0.0.1:{port}", [0, 0, 0, 0, 0]])
    assert page.evaluate(JOIN, [f"http://127.0.0.1:{port}", "t-unknown"]) == [1006, []]
