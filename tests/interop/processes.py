"""A process beside the test, and what it reports: one JSON object a line."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

SCRIPTS = Path(__file__).parent / "official"
OURS = Path(__file__).parent / "ours"


class Process:
    """A script of the folder ``official`` that runs.

    Args:
        python: The interpreter with the official packages; ``None`` for ours, with our SDK in their place.
        script: Name of the script.
        arguments: For it; those that are no text are given as JSON.

    Attributes:
        lines: What it reported so far.
    """

    def __init__(self, python, script, *arguments):
        words = [one if isinstance(one, str) else json.dumps(one) for one in arguments]
        self.lines = []
        self._more = threading.Condition()
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed by stop()
        environment = dict(os.environ, PYTHONPATH="" if python else str(OURS))
        self._process = subprocess.Popen(
            [str(python or sys.executable), str(SCRIPTS / script), *words],
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            cwd=SCRIPTS,
            env=environment,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self._process.stdout:
            with self._more:
                self.lines.append(json.loads(line))
                self._more.notify_all()
        with self._more:
            self.lines.append({"exit": True})
            self._more.notify_all()

    def wait(self, wanted, seconds=30.0):
        """Return the first reported line for which ``wanted(line)`` is true."""
        deadline = time.monotonic() + seconds
        seen = 0
        with self._more:
            while True:
                for line in self.lines[seen:]:
                    if wanted(line):
                        return line
                    if "exit" in line:
                        raise AssertionError(f"the process ended first; {self._state()}")
                seen = len(self.lines)
                if not self._more.wait(deadline - time.monotonic()):
                    raise AssertionError(f"no such line in {seconds:g} s; {self._state()}")

    async def heard(self, seconds=30.0, **values):
        """Wait for a line with these values, beside the event loop."""
        return await asyncio.to_thread(
            self.wait, lambda line: all(line.get(key) == value for key, value in values.items()), seconds
        )

    async def over(self, trial, who):
        """Wait until a component's part in a trial is over; return its lines before that."""
        await self.heard(trial=trial, who=who, over=True)
        return self.of(trial, who)

    def of(self, trial, who):
        """Return what a component reported of a trial, without its names."""
        mine = [line for line in self.lines if line.get("trial") == trial and line.get("who") == who]
        return [{key: value for key, value in line.items() if key not in ("trial", "who")} for line in mine]

    async def done(self, seconds=30.0):
        """Wait until a client is done; return what it reported."""
        await self.heard(seconds, done=True)
        return [line for line in self.lines if "done" not in line and "exit" not in line]

    def stop(self):
        """End the process, and wait for it."""
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(20)
        self._reader.join(20)
        self._process.stdout.close()
        self._errors.close()

    def kill(self):
        """End the process as a crash does."""
        self._process.kill()

    def _state(self):
        self._errors.seek(0)
        return f"reported {self.lines[-10:]}, errors {self._errors.read()[-2000:]}"
