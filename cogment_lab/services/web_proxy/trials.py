"""Starting and listing trials for clients that speak JSON."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from cogment_lab.errors import ConfigurationError
from cogment_lab.services.web_proxy.messages import Messages
from cogment_lab.wire.endpoint import CLIENT, parse
from cogment_lab.wire.parameters import ActorParameters, TrialParameters
from cogment_lab.wire.settings import Settings

__all__ = ["TrialRequest", "trial_parameters"]

_Json = dict[str, Any] | None


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Datalog(_Part):
    endpoint: str = ""
    exclude_fields: list[str] = []


class _Environment(_Part):
    name: str = ""
    endpoint: str = ""
    implementation: str = ""
    config: _Json = None


class _Actor(_Part):
    name: Annotated[str, Field(min_length=1)]
    actor_class: Annotated[str, Field(min_length=1)]
    endpoint: str = ""
    implementation: str = ""
    config: _Json = None
    initial_connection_timeout: Annotated[float, Field(ge=0)] = 0.0
    response_timeout: Annotated[float, Field(ge=0)] = 0.0
    optional: bool = False
    default_action: _Json = None


class TrialRequest(_Part):
    """The parameters of a trial (protocol section 5), with configurations as JSON."""

    trial_id: str = ""
    config: _Json = None
    properties: dict[str, str] = {}
    max_steps: Annotated[int, Field(ge=0)] = 0
    max_inactivity: Annotated[int, Field(ge=0)] | None = None
    nb_buffered_ticks: Annotated[int, Field(ge=0)] = 0
    datalog: _Datalog = _Datalog()
    environment: _Environment = _Environment()
    actors: Annotated[list[_Actor], Field(min_length=1)]


def trial_parameters(request: TrialRequest, spec: Settings, messages: Messages) -> TrialParameters:
    """Return the parameters that are asked for.

    Raises:
        ConfigurationError: a message, an actor class or an endpoint that makes no sense here.
    """

    def config(value: _Json, kind: Any, what: str) -> Any:
        if value is not None and kind is None:
            raise ConfigurationError(f"{what} is given, and the spec has no type for it")
        return None if kind is None else messages.from_json(value, kind, what)

    environment = request.environment
    parameters = TrialParameters(
        spec,
        config=config(request.config, spec.trial.config_type, "config"),
        properties=request.properties,
        max_steps=request.max_steps,
        environment_endpoint=_endpoint(environment.endpoint),
        environment_implementation=environment.implementation,
        environment_config=config(environment.config, spec.environment.config_type, "environment.config"),
    )
    if request.max_inactivity is not None:
        parameters.max_inactivity = request.max_inactivity
    if request.nb_buffered_ticks:
        parameters.nb_buffered_ticks = request.nb_buffered_ticks
    if environment.name:
        parameters.environment_name = environment.name
    if request.datalog.endpoint:
        parameters.datalog_endpoint = _endpoint(request.datalog.endpoint)
        parameters.datalog_exclude_fields = request.datalog.exclude_fields
    parameters.actors = [_actor(actor, spec, config) for actor in request.actors]
    return parameters


def _actor(actor: _Actor, spec: Settings, config: Any) -> ActorParameters:
    kind = spec.actor_classes.get(actor.actor_class)
    if kind is None:
        known = ", ".join(one.name for one in spec.actor_classes)
        raise ConfigurationError(f"unknown actor class {actor.actor_class!r}; the spec has {known}")
    parameters = ActorParameters(
        spec,
        actor.actor_class,
        name=actor.name,
        endpoint=_endpoint(actor.endpoint),
        implementation=actor.implementation,
        config=config(actor.config, kind.config_type, f"config of {actor.name}"),
        initial_connection_timeout=actor.initial_connection_timeout,
        response_timeout=actor.response_timeout,
        optional=actor.optional,
    )
    if actor.default_action is not None:
        what = f"default_action of {actor.name}"
        parameters.default_action = config(actor.default_action, kind.action_space, what)
    return parameters


def _endpoint(url: str) -> str:
    """Return an endpoint; one that names a host is not for strangers to choose."""
    parsed = parse(url)
    if isinstance(parsed, str) and parsed != CLIENT:
        raise ConfigurationError(f"endpoint {url!r}: only cogment:// endpoints are taken here")
    return url or "cogment://discover"
