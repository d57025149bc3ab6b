"""One person's session, a process of its own: ``python -m cogment_lab.studies.session_process``.

Configured by one line of JSON on its input, it answers with lines of JSON (``ready``, ``trial``, ``done``,
``failed``) and ends when its input does: it never outlives the server.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import IO, Any, NoReturn

import cogment_lab
from cogment_lab.errors import CogmentLabError, StudySessionError
from cogment_lab.humans.web import WebUI
from cogment_lab.humans.web.rendezvous import find_page
from cogment_lab.store import TrialStore
from cogment_lab.studies.definition import Study
from cogment_lab.studies.factory import Session, make_session
from cogment_lab.studies.trial_plan import SessionOver, StudyTrials, plan_trials

__all__: list[str] = []

_GRACE_SECONDS = 1.0
_FAREWELL_SECONDS = 10.0
_LONGEST_MESSAGE = 20_000


class _Line:
    """The line to the server: what is said, and whether it still listens."""

    def __init__(self) -> None:
        self._out: IO[str] = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)  # what the experimenter's code prints is no message to the server
        self.config: dict[str, Any] = json.loads(sys.stdin.readline())
        self._ended = threading.Event()
        self._over = threading.Event()
        threading.Thread(target=self._watch, name="server", daemon=True).start()

    def say(self, kind: str, **fields: Any) -> None:
        try:
            print(json.dumps({"kind": kind, **fields}), file=self._out, flush=True)
        except OSError:  # the server is gone, and the watching thread has seen it
            self._ended.set()

    def has_ended(self) -> bool:
        return self._ended.is_set()

    def wait_for_end(self, seconds: float) -> None:
        self._ended.wait(seconds)

    def close(self) -> None:
        self._over.set()

    def _watch(self) -> None:
        """End this process when the server no longer wants it, gently first."""
        while sys.stdin.readline():
            pass
        self._ended.set()
        if not self._over.wait(_GRACE_SECONDS):
            os.kill(os.getpid(), signal.SIGTERM)  # the store's own handler flushes


def _sit(line: _Line) -> None:
    """Make the session, and let the person do their trials."""
    config = line.config
    told = config["study"]
    study = Study(**{**told, "path": Path(told["path"]), "title": told["name"], "consent": ""})
    participant, condition = config["participant"], config["condition"]
    session = make_session(study, participant, condition)
    store = Path(config["store"])
    if find_page(store) is None:
        raise StudySessionError(f"the study's server of {store} is gone")
    patience = 2 * study.idle_timeout  # the server ends a session before that
    with TrialStore(store) as records, WebUI(store=store) as ui:
        seat = ui.seat(
            session.role,
            config["seat"],
            keymap=session.keymap,
            patience=patience,
            show_proposal=session.show_proposal,
            allows=session.allowed,
        )
        fps = config["fps"]
        roles: dict[str, Any] = {session.role: seat}
        if session.policy is not None:
            roles["player"] = session.policy
        pace = {} if "pace" in session.allowed else {"pace": "live"}  # nor by leaving, or hiding the tab
        make: dict[str, Any] = {**pace, **session.make, **({} if fps is None else {"fps": fps})}
        env = cogment_lab.make(session.env, store=records, user_id=participant, **roles, **make)
        if session.role == "teacher" and session.learner is None:
            env.acknowledge_takeovers("")  # as the experimenter wants it: nobody learns, and the page says so
        plan = plan_trials(
            study.practice,
            study.trials,
            done_practice=config["done_practice"],
            done_trials=config["done_trials"],
            seed=study.seed if session.same_starts else None,
        )

        def report(trial_id: str, phase: str) -> None:
            records.flush()  # what is counted is on disk
            line.say("trial", trial_id=trial_id, phase=phase)

        trials = StudyTrials(
            env,
            plan,
            seat=seat,
            properties={"study": study.name, "participant": participant, "condition": condition},
            report=report,
            is_ending=line.has_ended,
            countdown=session.countdown if fps is None else 0,
            patience=patience,
        )
        try:
            line.say("ready")
            _run(session, trials, participant)
        except SessionOver:
            if trials.is_done:
                line.say("done")
            line.wait_for_end(_FAREWELL_SECONDS)  # the server says when the seat may go
        finally:
            env.close()


def _run(session: Session, trials: StudyTrials, participant: str) -> None:
    """Step the environment, by a learner or by whoever acts, until the plan ends it.

    Raises:
        SessionOver: always, in the end.
    """
    if session.learner is not None:
        _learn(session, trials, participant)
    fallback = None
    while True:
        trials.reset()
        over = False
        while not over:
            if fallback is None:
                fallback = trials.action_space.sample()
            _, _, terminated, truncated, info = trials.step(fallback)
            fallback = info["executed_action"]  # while nothing is held, where that means nothing else
            over = terminated or truncated


def _learn(session: Session, trials: StudyTrials, participant: str) -> NoReturn:
    from cogment_lab.integrations.sb3 import TrialCallback

    assert session.learner is not None
    is_algorithm = isinstance(session.learner, type)
    model = session.learner("MlpPolicy", trials) if is_algorithm else session.learner(trials)
    if not callable(getattr(model, "learn", None)):
        raise StudySessionError(
            f"learner={session.learner!r} made {model!r}, which has no learn(): return a model"
        )
    callback = session.callback if session.callback is not None else TrialCallback()
    try:
        while True:
            model.learn(session.total_timesteps, callback=callback, reset_num_timesteps=False)
    except SessionOver:
        if trials.is_done and session.model_path is not None:
            model.save(Path(session.model_path) / participant)
        raise


def main() -> None:
    """Read the configuration, sit until the trials are done or the server ends it."""
    line = _Line()
    try:
        _sit(line)
    except CogmentLabError as error:
        line.say("failed", message=str(error)[:_LONGEST_MESSAGE], traceback=_origin(error))
        sys.exit(1)
    except Exception as error:
        told = f"{type(error).__name__}: {error}"
        line.say(
            "failed", message=told[:_LONGEST_MESSAGE], traceback=traceback.format_exc()[-_LONGEST_MESSAGE:]
        )
        sys.exit(1)
    finally:
        line.close()


def _origin(error: CogmentLabError) -> str:
    """Return the traceback of what the experimenter's code raised, if that is behind it."""
    if error.__cause__ is None:
        return ""
    return "".join(traceback.format_exception(error.__cause__))[-_LONGEST_MESSAGE:]


if __name__ == "__main__":
    main()
