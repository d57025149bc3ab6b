"""Every error that cogment_lab raises on purpose.

.. code-block:: text

    CogmentLabError
    ├── ConfigurationError (ValueError)        a parameter or a combination of parameters cannot work
    │   ├── UnknownEnvironmentError            no environment of that id (also gymnasium.error.NameNotFound)
    │   ├── MissingExtraError (ImportError)    an optional package is needed; names the extra to install
    │   ├── EndpointError                      an address like grpc://host:port that cannot be understood
    │   └── SpecError                          a space or a value that cannot be encoded or decoded
    ├── TrialError (RuntimeError)
    │   ├── TrialStateError                    the call does not fit the trial's state (also ResetNeeded)
    │   ├── InvalidActionError                 an action outside the action space
    │   ├── EnvironmentCrashedError            the environment raised; the trial is ended and recorded
    │   └── ReplayDivergedError                an environment did not do again what is recorded
    ├── SeatError (RuntimeError)
    │   ├── SeatTakenError                     another trial or connection holds the seat
    │   ├── SeatLostError                      the seat's server is gone
    │   └── PortInUseError (OSError)           the port is taken
    ├── ServiceError (RuntimeError)            another process, or the protocol spoken with it, failed
    │   ├── ServiceUnreachableError            nothing answers at the endpoint (also ConnectionError)
    │   ├── ServiceCrashedError                a service's process died; holds its traceback
    │   ├── ServiceTimeoutError                a deadline passed (also TimeoutError)
    │   ├── TrialFailedError                   a trial was ended by a failure; says whose
    │   └── ProtocolError                      a peer sent what Cogment's protocol does not allow
    ├── LearningError (RuntimeError)
    │   ├── UnacknowledgedTakeoverError        a person steers, and nobody learns from it
    │   ├── ActionWrapperOutside               a wrapper outside the trial changes actions
    │   ├── OnPolicyModeRequired               PPO or A2C with a teacher, and no mode chosen
    │   ├── WrongBufferError                   this replay buffer cannot hold such transitions
    │   └── StoredActionMismatchError          the learner's buffer does not hold the executed action
    ├── StudyFileError (ValueError)            a study's file cannot be read, or says what cannot be
    ├── StudySessionError (RuntimeError)       a study's session cannot be made, or its process died
    ├── AnswerError (ValueError)               an answer does not fit its question
    ├── AnswerErrors (ValueError)              some answers of a questionnaire do not
    ├── UnknownParticipantError (LookupError)  nobody of that id or token is in the study
    ├── WrongStepError (RuntimeError)          a participant is elsewhere in the study
    └── StoreError (RuntimeError)
        ├── NotAStoreError                     the file is something else
        ├── StoreVersionError                  written by a newer cogment_lab
        ├── StoreReadOnlyError                 the file or folder cannot be written
        ├── StoreFullError                     the disk is full, or max_gb is reached
        ├── NetworkFileSystemError             SQLite's locks do not work there
        ├── CorruptStoreError                  stored bytes cannot be decoded
        ├── AnnotationError                    a label or a query is gone, expired, or changed meanwhile
        └── TrialNotFoundError (KeyError)      no such trial in the store
"""

from __future__ import annotations

import gymnasium.error

__all__ = [
    "ActionWrapperOutside",
    "AnnotationError",
    "AnswerError",
    "AnswerErrors",
    "CogmentLabError",
    "ConfigurationError",
    "CorruptStoreError",
    "EndpointError",
    "EnvironmentCrashedError",
    "InvalidActionError",
    "LearningError",
    "MissingExtraError",
    "NetworkFileSystemError",
    "NotAStoreError",
    "OnPolicyModeRequired",
    "PortInUseError",
    "ProtocolError",
    "ReplayDivergedError",
    "SeatError",
    "SeatLostError",
    "SeatTakenError",
    "ServiceCrashedError",
    "ServiceError",
    "ServiceTimeoutError",
    "ServiceUnreachableError",
    "SpecError",
    "StoreError",
    "StoreFullError",
    "StoreReadOnlyError",
    "StoreVersionError",
    "StoredActionMismatchError",
    "StudyFileError",
    "StudySessionError",
    "TrialError",
    "TrialFailedError",
    "TrialNotFoundError",
    "TrialStateError",
    "UnacknowledgedTakeoverError",
    "UnknownEnvironmentError",
    "UnknownParticipantError",
    "WrongBufferError",
    "WrongStepError",
]


class CogmentLabError(Exception):
    """Base class: catch it to catch everything this library raises on purpose."""


class ConfigurationError(CogmentLabError, ValueError):
    """A parameter, or a combination of parameters, cannot work."""


class UnknownEnvironmentError(ConfigurationError, gymnasium.error.NameNotFound):
    """No environment of that id is registered."""


class MissingExtraError(ConfigurationError, ImportError):
    """An optional package is needed; the message names the extra to install."""


class EndpointError(ConfigurationError):
    """An address like ``grpc://host:port`` that cannot be understood or does not fit its use."""


class SpecError(ConfigurationError):
    """A space or a value cannot be encoded or decoded."""


class TrialError(CogmentLabError, RuntimeError):
    """Something went wrong inside a trial."""


class TrialStateError(TrialError, gymnasium.error.ResetNeeded):
    """The call does not fit the trial's state (a step before the first reset, say)."""


class InvalidActionError(TrialError, ValueError):
    """An action lies outside the environment's action space."""


class EnvironmentCrashedError(TrialError):
    """The environment raised; its own exception is the ``__cause__``."""


class ReplayDivergedError(TrialError):
    """An environment did not do again what is recorded; the message says at which tick."""


class SeatError(CogmentLabError, RuntimeError):
    """A seat cannot be used."""


class SeatTakenError(SeatError):
    """Another trial or another connection holds the seat."""


class SeatLostError(SeatError):
    """The server behind the seat is gone."""


class PortInUseError(SeatError, OSError):
    """The web page cannot listen on the port that was asked for."""


class ServiceError(CogmentLabError, RuntimeError):
    """Another process, or the protocol spoken with it, failed."""


class ServiceUnreachableError(ServiceError, ConnectionError):
    """Nothing answers at an endpoint."""


class ServiceCrashedError(ServiceError):
    """The process of a service died; the message holds its traceback."""


class ServiceTimeoutError(ServiceError, TimeoutError):
    """A deadline passed."""


class TrialFailedError(ServiceError):
    """A trial was ended by the failure of one of its components; the message says which."""


class ProtocolError(ServiceError):
    """A peer sent what Cogment's protocol does not allow."""


class LearningError(CogmentLabError, RuntimeError):
    """A learner would learn something else than what happened."""


class UnacknowledgedTakeoverError(LearningError):
    """A teacher's action was executed, and neither callback nor buffer handles it."""


class ActionWrapperOutside(LearningError):
    """A wrapper between learner and trial changes actions, so that what is stored would be wrong."""


class OnPolicyModeRequired(LearningError):
    """An on-policy algorithm with a teacher needs a named treatment of takeovers."""


class WrongBufferError(LearningError, ValueError):
    """This replay buffer class cannot hold the transitions that the model collects."""


class StoredActionMismatchError(LearningError):
    """The learner's buffer does not hold the action that was executed."""


class StudyFileError(CogmentLabError, ValueError):
    """A study's YAML file cannot be used.

    Args:
        path: The file.
        key: The key that is wrong, such as ``"questionnaire[2].options"``; empty for the whole file.
        line: Where it stands, from 1, where that is known.
        fix: What to write.
    """

    def __init__(self, path: object, key: str, line: int | None, fix: str) -> None:
        place = f"{path}, line {line}" if line is not None else f"{path}"
        super().__init__(f"{place}: {key}: {fix}" if key else f"{place}: {fix}")
        self.key = key
        self.line = line


class AnswerError(CogmentLabError, ValueError):
    """What a participant wrote is no answer to a study's question; ``why`` is said to them.

    Args:
        key: The question's.
        why: What would be an answer.
    """

    def __init__(self, key: str, why: str) -> None:
        super().__init__(f"{key}: {why}")
        self.key = key
        self.why = why


class AnswerErrors(CogmentLabError, ValueError):
    """Some of a participant's answers do not do.

    Args:
        problems: What is wrong with each, by the question's key.
    """

    def __init__(self, problems: dict[str, str]) -> None:
        super().__init__("; ".join(f"{key}: {why}" for key, why in problems.items()))
        self.problems = problems


class UnknownParticipantError(CogmentLabError, LookupError):
    """A study knows nobody of that token or name."""


class WrongStepError(CogmentLabError, RuntimeError):
    """A participant is at another step of the study."""


class StudySessionError(CogmentLabError, RuntimeError):
    """A study's factory, or the process of a session that it made, failed; the message says how."""


class StoreError(CogmentLabError, RuntimeError):
    """The trial store cannot do what was asked."""


class NotAStoreError(StoreError):
    """The file exists and is no trial store."""


class StoreVersionError(StoreError):
    """The store was written by a newer version of cogment_lab."""


class StoreReadOnlyError(StoreError, PermissionError):
    """The store cannot be written."""


class StoreFullError(StoreError, OSError):
    """The disk is full, or the store reached its ``max_gb``."""


class NetworkFileSystemError(StoreError):
    """The path lies on a network file system, where SQLite's locks do not work."""


class CorruptStoreError(StoreError):
    """Stored bytes cannot be decoded."""


class AnnotationError(StoreError):
    """A label or a query is not there (any more), has expired, or was changed or answered meanwhile."""


class TrialNotFoundError(StoreError, KeyError):
    """The store holds no trial of that id."""

    def __str__(self) -> str:
        """Return the message itself (``KeyError`` would show its repr)."""
        return str(self.args[0]) if self.args else ""
