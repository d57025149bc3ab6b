"""Scripts of a YAML file, side by side."""

import json
import signal
import sys
from pathlib import Path

import pytest

from cogment_lab.cli.scripts import launch_file
from cogment_lab.errors import ConfigurationError


def write(folder: Path, **content: object) -> Path:
    path = folder / "launch.yaml"
    path.write_text(json.dumps(content))  # JSON is YAML
    return path


def python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-u", "-c", code, *arguments]


def test_a_script_waits_for_the_output_of_another(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    server = python("import time; print('starting'); print('port {{.PORT}} open'); time.sleep(60)")
    path = write(
        tmp_path,
        **{"global": {"environment": {"PORT": "12{{.__1}}"}}},
        scripts={
            "client": {
                "depends_on": ["server"],
                "commands": [
                    python("print('first')"),
                    python("import sys; print(sys.argv[1:])", "{{.__ALL_ARGS}}"),
                ],
            },
            "server": {"ready_output": "port {{.PORT}} open", "commands": [server]},
        },
    )
    assert launch_file(path, ["34", "x y"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert "server:(1/1) port 1234 open" in lines
    assert lines.index("server:(1/1) port 1234 open") < lines.index("client:(1/2) first")
    assert "client:(2/2) ['34', 'x y']" in lines


def test_variables_and_folders_build_on_each_other(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    show = python(
        "import os; print(os.path.basename(os.getcwd()), os.environ['TWO'], '{{.__NB_ARGS}}{{ .__2 }}')"
    )
    path = write(
        tmp_path,
        **{"global": {"folder": "a", "environment": {"ONE": "1"}}},
        scripts={"s": {"dir": "b", "environment": {"TWO": "{{.ONE}}2"}, "commands": [show]}},
    )
    assert launch_file(path, ["x"]) == 0
    assert "s:(1/1) b 12 1" in capfd.readouterr().out


def test_the_first_that_ends_stops_the_others_and_gives_the_status(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write(
        tmp_path,
        scripts={
            "one": {"commands": [python("import time; time.sleep(60)")]},
            "two": {"commands": [python("print('shown'); raise SystemExit(3)"), python("print('never')")]},
            "still": {"quiet": True, "commands": [python("import time; print('unheard'); time.sleep(60)")]},
        },
    )
    assert launch_file(path) == 3
    output = capfd.readouterr().out
    assert "shown" in output
    assert "never" not in output
    assert "unheard" not in output
    assert launch_file(path, quiet=2) == 3
    assert capfd.readouterr().out == ""


def test_an_interruption_ends_everything(tmp_path: Path, cogmentlab) -> None:
    deaf = "import signal, time; signal.signal(signal.SIGTERM, lambda *_: print('asked to end')); print('up')"
    path = write(tmp_path, scripts={"s": {"commands": [python(f"{deaf}\ntime.sleep(60)")]}})
    with cogmentlab.running("launch", str(path), "--unknown=argument") as launched:
        launched.line("up")
        launched.process.send_signal(signal.SIGTERM)
        launched.line("asked to end")
        assert launched.ends(seconds=40) == 0


@pytest.mark.parametrize(
    ("scripts", "says"),
    [
        ({"a": {"commands": [["x"]], "depends_on": ["b"]}}, "'b', which is not there"),
        ({"a": {"commands": [["x"]], "depends_on": ["a"]}}, "wait for each other: a -> a"),
        ({"a": {"comands": [["x"]]}}, "needs commands"),
        ({"a": {"commands": ["x y"]}}, "a command is a list"),
        ({"a": {"commands": [["{{.NOT_THERE}}"]]}}, "NOT_THERE"),
        ({"a": {"commands": [["/no/such/program"]]}}, "/no/such/program"),
        ("text", "has no scripts"),
    ],
)
def test_a_wrong_file_says_what_is_wrong(tmp_path: Path, scripts: object, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        launch_file(write(tmp_path, scripts=scripts))
