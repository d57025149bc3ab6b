"""The example of offline learning runs to its end."""

import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "offline.py"


def test_from_peoples_trials_to_a_curve() -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLE), "--quick"], capture_output=True, text=True, timeout=250
    )
    assert done.returncode == 0, done.stderr
    assert "IQL offline" in done.stdout
    assert Path("runs/offline.png").read_bytes()[:4] == b"\x89PNG"
