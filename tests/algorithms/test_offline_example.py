"""The example of offline learning is as short as promised, and runs to its end."""

import ast
import os
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "offline.py"
SIZES = 'TRIALS, GRADIENT_STEPS, STEPS = "Pendulum-v1", 40, 5_000, 4_000'


def test_from_peoples_trials_to_a_curve(tmp_path: Path) -> None:
    source = EXAMPLE.read_text()
    assert SIZES in source
    script, data_sets = tmp_path / "offline.py", tmp_path / "minari"
    script.write_text(source.replace(SIZES, 'TRIALS, GRADIENT_STEPS, STEPS = "Pendulum-v1", 2, 20, 220'))
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=250,
        cwd=tmp_path,
        env={**os.environ, "MINARI_DATASETS_PATH": str(data_sets), "MPLBACKEND": "agg"},
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "offline.png").read_bytes()[:4] == b"\x89PNG"
    assert len(list(tmp_path.glob("runs/people-*.db"))) == 1
    assert len(list(data_sets.glob("pendulum/people-*"))) == 1


def test_it_says_in_about_ten_statements_what_it_does() -> None:
    body = ast.parse(EXAMPLE.read_text()).body
    statements = [part for part in body if not isinstance(part, ast.Import | ast.ImportFrom)]
    assert len(statements) <= 19  # with its settings and the plot
