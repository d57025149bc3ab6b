"""What runs here, and how it is."""

import json
import platform
import subprocess
import sys

import pytest

from cogment_lab._version import PROTOCOL_VERSION, __version__
from cogment_lab.cli.status import show_status
from cogment_lab.errors import ConfigurationError


def test_version_names_ours_pythons_the_protocols_and_the_extras(cogmentlab) -> None:
    known = json.loads(cogmentlab.output("version", "--json"))
    assert known["cogment_lab"] == __version__
    assert known["python"] == platform.python_version()
    assert known["cogment"] == PROTOCOL_VERSION == "2.22.0"
    assert known["extras"]["sb3"]["torch"]
    text = cogmentlab.output("version").decode()
    assert f"cogment_lab {__version__}\n" in text and "\nsb3 " in text


def states(*arguments: str, status: int) -> dict[str, dict[str, str]]:
    """Return what ``status --json`` prints, by service."""
    done = subprocess.run(
        [sys.executable, "-m", "cogment_lab.cli.main", "status", "--json", *arguments],
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == status, done.stderr
    return {each["name"]: each for each in map(json.loads, done.stdout.splitlines())}


def test_where_nothing_listens_all_services_are_absent(free_port) -> None:
    names = ("orchestrator", "trial_datastore", "model_registry", "directory", "web_proxy")
    found = states(*(f"--port={name}={free_port()}" for name in names), status=1)
    assert {name: each["state"] for name, each in found.items()} == dict.fromkeys(names, "absent")


def test_a_service_that_listens_tells_version_and_load(cogmentlab) -> None:
    with cogmentlab.running("services", "directory", "--port=0", "--persistence_file=") as directory:
        port = directory.port()
        found = states("directory", f"--port=directory={port}", status=0)["directory"]
        assert found["state"] == "serving"
        assert found["versions"] == {"cogment_lab": __version__}
        assert found["statuses"] == {
            "overall_load": "0",
            "nb_entries": "0",
            "load_balancing": "disabled",
        }
        others = [f"--port={name}={port}" for name in ("orchestrator", "web_proxy")]
        found = states("orchestrator", "web_proxy", *others, status=1)
        assert {each["state"] for each in found.values()} == {"not serving"}
        assert "UNIMPLEMENTED" in found["orchestrator"]["problem"]
        assert "no web proxy" in found["web_proxy"]["problem"]
        table = cogmentlab.output("status", "directory", f"--port=directory={port}").decode()
        assert "serving" in table and __version__ in table


def test_an_unknown_service_is_named() -> None:
    with pytest.raises(ConfigurationError, match="'weather'"):
        show_status(["weather"])
