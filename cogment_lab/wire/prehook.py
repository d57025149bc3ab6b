"""Pre-trial hooks: user code that completes the parameters of a trial (protocol section 5)."""

from __future__ import annotations

import logging
from typing import Any

import grpc

from cogment_lab.errors import ServiceError
from cogment_lab.wire.generated.common_pb2 import TrialParams
from cogment_lab.wire.generated.hooks_pb2 import PreTrialParams
from cogment_lab.wire.parameters import ActorParameters, TrialParameters
from cogment_lab.wire.registered import Implementation
from cogment_lab.wire.serving import Sessions, UserServicer, metadata_of, why_it_failed
from cogment_lab.wire.settings import Settings

__all__ = ["HookServicer", "PrehookSession"]

_log = logging.getLogger("cogment_lab.wire")

_OLD_TO_NEW = {
    "trial_config": "config",
    "trial_max_steps": "max_steps",
    "trial_max_inactivity": "max_inactivity",
    "datalog_endpoint": "datalog_endpoint",
    "datalog_exclude": "datalog_exclude_fields",
    "environment_config": "environment_config",
    "environment_endpoint": "environment_endpoint",
    "environment_name": "environment_name",
    "environment_implementation": "environment_implementation",
}
_ACTOR_KEYS = ("name", "actor_class", "endpoint", "implementation", "config")


class PrehookSession:
    """One call of a pre-trial hook.

    The hook changes ``trial_parameters``, or in the official SDK's older way the attributes ``trial_config``,
    ``trial_max_steps``, ``trial_max_inactivity``, ``datalog_endpoint``, ``datalog_exclude``,
    ``environment_config``, ``environment_endpoint``, ``environment_name``, ``environment_implementation`` and
    ``actors`` (a list of dicts with ``name, actor_class, endpoint, implementation, config``), but not both.
    What the older way has no attribute for stays as it is.

    Args:
        trial_id: The trial.
        user_id: Who starts it.
        parameters: The parameters so far.
    """

    def __init__(self, trial_id: str, user_id: str, parameters: TrialParameters) -> None:
        self._trial_id = trial_id
        self._user_id = user_id
        self._parameters = parameters
        self._uses_parameters = False
        raw = parameters._raw_params
        absent = {part for part in ("datalog", "environment") if not raw.HasField(part)}
        for old, new in _OLD_TO_NEW.items():
            setattr(self, old, None if old.partition("_")[0] in absent else getattr(parameters, new))
        self.datalog_exclude = list(parameters.datalog_exclude_fields)
        self.actors: list[dict[str, Any]] = [
            {key: getattr(actor, key) for key in _ACTOR_KEYS} for actor in parameters.actors
        ]

    def get_trial_id(self) -> str:
        """Return the id of the trial."""
        return self._trial_id

    def get_user_id(self) -> str:
        """Return who starts it."""
        return self._user_id

    @property
    def trial_parameters(self) -> TrialParameters:
        """The parameters to change; using them gives up the older attributes."""
        self._use_parameters()
        return self._parameters

    @trial_parameters.setter
    def trial_parameters(self, value: TrialParameters) -> None:
        self._use_parameters()
        self._parameters = value

    def validate(self) -> None:
        """Check what the hook did.

        Raises:
            ServiceError: both ways were used, or an attribute or key is unknown or missing.
        """
        known = {*_OLD_TO_NEW, "actors"}
        present = {name for name in self.__dict__ if not name.startswith("_")}
        if self._uses_parameters:
            if present:
                raise ServiceError(f"trial_parameters cannot be mixed with {sorted(present)}")
            return
        if present != known:
            raise ServiceError(f"unknown attributes {present - known}, missing attributes {known - present}")
        for actor in self.actors:
            if set(actor) != set(_ACTOR_KEYS):
                raise ServiceError(f"an actor has the keys {sorted(_ACTOR_KEYS)}, not {sorted(actor)}")

    def _use_parameters(self) -> None:
        if not self._uses_parameters:
            self._uses_parameters = True
            for name in (*_OLD_TO_NEW, "actors"):
                self.__dict__.pop(name, None)

    def _result(self, settings: Settings) -> TrialParams:
        self.validate()
        if not self._uses_parameters:
            for old, new in _OLD_TO_NEW.items():
                setattr(self._parameters, new, getattr(self, old))
            before = {actor.name: actor for actor in self._parameters.actors}
            self._parameters.actors = [_actor(settings, before, given) for given in self.actors]
        result: TrialParams = self._parameters._raw_params
        return result


def _actor(settings: Settings, before: dict[str, ActorParameters], given: dict[str, Any]) -> ActorParameters:
    """Return the actor that ``given`` describes, with the timeouts and so on that it had under its name."""
    actor = ActorParameters(settings, given["actor_class"])
    old = before.get(given["name"])
    if old is not None and old.actor_class == actor.actor_class:
        actor._raw_params.CopyFrom(old._raw_params)
    for key in ("name", "endpoint", "implementation", "config"):
        setattr(actor, key, given[key])
    return actor


class HookServicer(UserServicer):
    """``TrialHooksSP`` for a registered hook."""

    def __init__(self, settings: Settings, sessions: Sessions, implementation: Implementation) -> None:
        super().__init__(settings, sessions)
        self._implementation = implementation

    async def OnPreTrial(
        self, request: PreTrialParams, context: grpc.aio.ServicerContext[Any, Any]
    ) -> PreTrialParams:
        """Run the hook."""
        metadata = metadata_of(context)
        trial_id = metadata.get("trial-id", "")
        parameters = TrialParameters(self._settings, raw_params=request.params)
        try:
            session = PrehookSession(trial_id, metadata.get("user-id", ""), parameters)
            await self._implementation.run(session)
            return PreTrialParams(params=session._result(self._settings))
        except Exception as error:
            _log.exception("the pre-trial hook of trial %r failed", trial_id)
            why = why_it_failed("the pre-trial hook", error)
        await context.abort(grpc.StatusCode.INTERNAL, why)
