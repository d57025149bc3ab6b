"""The pictures of trials: stored ones, or those of a re-execution in a process of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cogment_lab.errors import AnnotationError, ConfigurationError
from cogment_lab.humans.web.lookback.reading import agent_of
from cogment_lab.store import TrialData, TrialInfo, TrialStore
from cogment_lab.store.columns import take_rows
from cogment_lab.store.drawn import draw_values, numbers_of
from cogment_lab.store.film import encode_picture, fits_picture, pack_film, unpack_film

__all__ = ["Film", "Films"]

_MOST_FILMS = 4
_MOST_SLICE = 200
_MOST_FRAMES = 5000
_WIDTH = 600
_SECONDS = 120.0
_RUNNING = "RUNNING"


@dataclass(frozen=True, slots=True)
class Film:
    """The pictures of a trial.

    Attributes:
        source: ``stored``, ``re-executed``, or ``drawn``: curves of the observations, where there is nothing
            else to see.
        ticks: Of which tick each shows what was acted on; one more than the last for the end.
        pictures: JPEG files.
        divergence: Where the re-execution differs from the record, empty where it does not.
        why: What kept the trial from being rendered, where it is drawn, or where ticks have no picture.
        n_ticks: How many ticks the trial had, which may have gone on.
        was_over: Whether it was over.
    """

    source: str
    ticks: tuple[int, ...]
    pictures: tuple[bytes, ...]
    divergence: str = ""
    why: str = ""
    n_ticks: int = 0
    was_over: bool = True


class Films:
    """Makes films one after the other and keeps the last few.

    Args:
        store: Holds the trials.
        seconds: After which a re-execution is given up.
    """

    def __init__(self, store: TrialStore, seconds: float = _SECONDS) -> None:
        self._store = store
        self._seconds = seconds
        self._lock = threading.Lock()
        self._films: OrderedDict[tuple[str, str], Future[Film]] = OrderedDict()
        self._worker = ThreadPoolExecutor(1, "films")
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def state(self, trial_id: str, agent: str, develop: bool) -> dict[str, Any]:
        """Return whether there is a film, and begin one where ``develop`` says so."""
        info = self._store.info(trial_id)
        agent = agent_of(info, agent)
        with self._lock:
            future = self._films.get((trial_id, agent))
            if develop and (future is None or _is_stale(future, info)):
                future = self._begin(trial_id, agent)
        if future is None:
            return {"state": "none"}
        if not future.done():
            return {"state": "working"}
        error = future.exception()
        if error is not None:
            return {"state": "failed", "error": str(error)}
        film = future.result()
        return {
            "state": "ready",
            "source": film.source,
            "ticks": film.ticks,
            "divergence": film.divergence,
            "why": film.why,
            "slice": _MOST_SLICE,
        }

    def slice(self, trial_id: str, agent: str, start: int, stop: int) -> bytes:
        """Return the pictures ``start:stop`` in one piece.

        Raises:
            AnnotationError: there is no film yet, or not any more.
            ConfigurationError: more than 200 are asked for, or none.
        """
        if not 0 <= start < stop <= start + _MOST_SLICE:
            raise ConfigurationError(f"ask for 1 to {_MOST_SLICE} pictures at a time")
        return pack_film(self.ready(trial_id, agent).pictures[start:stop])

    def ready(self, trial_id: str, agent: str) -> Film:
        """Return a film that was made.

        Raises:
            AnnotationError: there is none, or it could not be made.
        """
        agent = agent_of(self._store.info(trial_id), agent)
        with self._lock:
            future = self._films.get((trial_id, agent))
            if future is not None:
                self._films.move_to_end((trial_id, agent))
        if future is None or not future.done() or future.exception() is not None:
            raise AnnotationError("the pictures of this trial are not there (any more): load them first")
        return future.result()

    def close(self) -> None:
        """End the re-execution that runs, and the thread."""
        with self._lock:
            self._closed = True
            if self._process is not None:
                self._process.kill()
        self._worker.shutdown(cancel_futures=True)

    def _begin(self, trial_id: str, agent: str) -> Future[Film]:
        waiting = sum(not future.done() for future in self._films.values())
        if waiting >= _MOST_FILMS:
            raise AnnotationError("other trials are being rendered: try again in a moment")
        future = self._worker.submit(self._make, trial_id, agent)
        self._films[trial_id, agent] = future
        self._films.move_to_end((trial_id, agent))
        too_many = max(0, len(self._films) - _MOST_FILMS)
        for key in [key for key, each in self._films.items() if each.done()][:too_many]:
            del self._films[key]
        return future

    def _make(self, trial_id: str, agent: str) -> Film:
        info = self._store.info(trial_id)
        film = self._pictures(trial_id, agent)
        return replace(film, n_ticks=info.n_ticks, was_over=info.state != _RUNNING)

    def _pictures(self, trial_id: str, agent: str) -> Film:
        data = self._store.load(trial_id)[agent]
        observed = data.observed_observations
        is_column = isinstance(observed, np.ndarray) and len(observed) > 0
        is_film = is_column and fits_picture(observed.shape[1:], observed.dtype)
        if is_film and np.isin(data.ticks, data.observed_ticks).all():
            return _stored(data)
        folder = Path(tempfile.mkdtemp(prefix="cogment_lab-film-"))
        try:
            return self._execute_again(trial_id, folder / "film")
        except ConfigurationError as error:
            why = str(error.args[0])
            film = _stored(data, why) if is_film else _drawn(data, why)
            if film is None:
                raise
            return film
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _execute_again(self, trial_id: str, target: Path) -> Film:
        module = "cogment_lab.humans.web.lookback.rerender"
        command = [sys.executable, "-m", module, self._store.path, trial_id, str(target), str(_MOST_FRAMES)]
        with self._lock:
            if self._closed:
                raise AnnotationError("the page is being closed")
            process = self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        try:
            answer, _ = process.communicate(timeout=self._seconds)
        except subprocess.TimeoutExpired:
            raise ConfigurationError(
                f"rendering took more than {self._seconds:g} s and was given up; "
                "`cogmentlab replay STORE TRIAL --render` has no such limit"
            ) from None
        finally:
            with self._lock:
                self._process = None
            process.kill()
            process.communicate()
        lines = answer.decode(errors="replace").strip().splitlines()
        result = json.loads(lines[-1]) if process.returncode == 0 and lines else {}
        if "ticks" not in result:
            why = result.get("error", f"its process ended with {process.returncode}")
            raise ConfigurationError(f"the trial cannot be rendered again: {why}")
        pictures = tuple(unpack_film(target.read_bytes()))
        return Film("re-executed", tuple(result["ticks"]), pictures, result["divergence"])


def _is_stale(future: Future[Film], info: TrialInfo) -> bool:
    """Return whether a film is to be made again: it failed, or the trial has gone on, or ended, since."""
    if not future.done():
        return False
    if future.exception() is not None:
        return True
    film = future.result()
    return (film.n_ticks, film.was_over) != (info.n_ticks, info.state != _RUNNING)


def _stored(data: TrialData, why: str = "") -> Film:
    """Return the pictures that were observed, which may be those of takeovers alone."""
    step = -(-len(data.observed_ticks) // _MOST_FRAMES)
    pictures = tuple(encode_picture(frame, _WIDTH) for frame in data.observed_observations[::step])
    return Film("stored", tuple(data.observed_ticks[::step].tolist()), pictures, why=why)


def _drawn(data: TrialData, why: str) -> Film | None:
    """Return curves of what was observed; ``None`` where that is no numbers, or was not recorded."""
    n = len(data.observed_ticks)
    if n == 0:
        return None
    rows = np.arange(0, n, -(-n // _MOST_FRAMES))
    try:
        names, values = numbers_of(take_rows(data.observed_observations, rows))
    except ConfigurationError:
        return None
    pictures = tuple(encode_picture(frame, _WIDTH) for frame in draw_values(names, values, range(len(rows))))
    return Film("drawn", tuple(data.observed_ticks[rows].tolist()), pictures, why=why)
