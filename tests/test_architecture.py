"""Imports point one way, and the face of the package stays light."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import cogment_lab

ROOT = Path(cogment_lab.__file__).parent.parent
FOLDERS = {
    "trial": ROOT / "cogment_lab/trial",
    "specs": ROOT / "cogment_lab/specs",
    "store": ROOT / "cogment_lab/store",
    "wire": ROOT / "cogment_lab/wire",
    "services": ROOT / "cogment_lab/services",
    "envs": ROOT / "cogment_lab/envs",
    "actors": ROOT / "cogment_lab/actors",
    "humans": ROOT / "cogment_lab/humans",
    "testing": ROOT / "cogment_lab/testing",
    "reports": ROOT / "cogment_lab/reports",
    "studies": ROOT / "cogment_lab/studies",
    "cli": ROOT / "cogment_lab/cli",
    "integrations": ROOT / "integrations",
    "algorithms": ROOT / "algorithms",
}
MAY_IMPORT = {
    "trial": {"trial"},
    "specs": {"specs", "trial"},
    "store": {"store", "specs", "trial"},
    "wire": {"wire", "store", "specs", "trial"},
    "services": {"services", "wire", "store", "specs", "trial"},
    "envs": {"envs", "core", "session_helpers", "utils", "wire", "specs", "trial"},
    "actors": {"actors", "core", "session_helpers", "utils", "wire", "specs", "trial"},
    "humans": {"humans", "core", "session_helpers", "utils", "wire", "store", "specs", "trial"},
    "testing": {"testing", "humans", "store", "specs", "trial"},
    "integrations": {"integrations", "core", "humans", "wire", "store", "specs", "trial"},
    "algorithms": {"algorithms", "integrations", "store", "specs", "trial"},
    "reports": {"reports", "store", "specs", "trial"},
    "studies": {"studies", "integrations", "testing", "humans", "store", "specs", "trial"},
    "cli": {
        "cli",
        "studies",
        "reports",
        "algorithms",
        "integrations",
        "humans",
        "services",
        "wire",
        "store",
        "specs",
        "trial",
    },
}
TRIAL_NEVER = {"grpc", "torch", "fastapi", "sqlite3", "stable_baselines3", "socket", "threading", "asyncio"}


def imported_modules(folder: Path) -> set[str]:
    found = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path} imports relatively"
                found.add(node.module or "")
    return found


@pytest.mark.parametrize("layer", MAY_IMPORT)
def test_layers_import_downwards_only(layer: str) -> None:
    modules = imported_modules(FOLDERS[layer])
    parts = {name.split(".")[1] for name in modules if name.startswith("cogment_lab.")}
    assert parts - {"errors", "_version"} <= MAY_IMPORT[layer]


def test_the_rules_of_a_trial_do_no_io() -> None:
    assert {name.split(".")[0] for name in imported_modules(FOLDERS["trial"])} & TRIAL_NEVER == set()


def test_importing_is_light() -> None:
    code = (
        "import sys, time; begin = time.process_time(); import cogment_lab; "
        "elapsed = time.process_time() - begin; "
        "heavy = {'torch', 'stable_baselines3', 'fastapi', 'grpc', 'uvicorn'} & set(sys.modules); "
        "assert not heavy, heavy; print(elapsed)"
    )
    command = [sys.executable, "-c", code]
    for _ in range(8):  # a busy machine is slow now and then, not always
        seconds = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        if seconds < 0.5:
            return
    raise AssertionError(f"importing cogment_lab takes {seconds} s")


def test_naming_actors_loads_no_torch() -> None:
    code = "import sys; from cogment_lab.actors import SB3Actor; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", cogment_lab.__all__)
def test_every_exported_name_exists(name: str) -> None:
    assert getattr(cogment_lab, name) is not None


def test_the_exports_are_these() -> None:
    assert set(cogment_lab.__all__) == {
        "Cogment",
        "PreferenceQueue",
        "SimulatedHuman",
        "TrialData",
        "TrialEnv",
        "TrialInfo",
        "TrialStore",
        "WebUI",
        "__version__",
        "collect",
        "concatenate",
        "errors",
        "join",
        "make",
        "register_envs",
        "run",
    }
    with pytest.raises(AttributeError):
        cogment_lab.no_such_name  # noqa: B018


def test_every_error_is_drawn_in_the_tree() -> None:
    errors = importlib.import_module("cogment_lab.errors")
    assert errors.__doc__ is not None
    classes = {name for name, each in vars(errors).items() if isinstance(each, type)}
    assert classes == set(errors.__all__)
    for name in errors.__all__:
        assert name in errors.__doc__
        assert issubclass(getattr(errors, name), errors.CogmentLabError)
