"""Pre-trial hooks and default parameters: from a request to the final parameters of a trial."""

from __future__ import annotations

from pathlib import Path

import grpc
import yaml
from google.protobuf import json_format

from cogment_lab.errors import ConfigurationError, ServiceError, ServiceTimeoutError
from cogment_lab.trial.parameters import ActorParameters, TrialParameters
from cogment_lab.wire.generated.common_pb2 import TrialParams
from cogment_lab.wire.generated.hooks_pb2 import PreTrialParams
from cogment_lab.wire.rpc import Stub

__all__ = ["check_parameters", "read_params_file", "run_hook"]

_FILE_MAX_INACTIVITY = 30


def read_params_file(path: Path) -> TrialParams:
    """Return the default parameters of a YAML file with the root key ``trial_params`` (protocol section 5).

    Raises:
        ConfigurationError: the file cannot be read, is no YAML, or names an unknown field.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot read the parameters file {str(path)!r}: {error}") from error
    fields = (content or {}).get("trial_params") or {}
    params = TrialParams()
    try:
        json_format.ParseDict(fields, params)
    except json_format.ParseError as error:
        raise ConfigurationError(f"the parameters file {str(path)!r} is wrong: {error}") from error
    if "max_inactivity" not in fields and "maxInactivity" not in fields:
        params.max_inactivity = _FILE_MAX_INACTIVITY
    return params


async def run_hook(
    stub: Stub, params: TrialParams, trial_id: str, user_id: str, deadline: float
) -> TrialParams:
    """Return what one hook makes of ``params``.

    Raises:
        ServiceError: the hook failed.
        ServiceTimeoutError: it took longer than ``deadline`` seconds.
    """
    metadata = (("trial-id", trial_id), ("user-id", user_id))
    try:
        reply = await stub.OnPreTrial(PreTrialParams(params=params), metadata=metadata, timeout=deadline)
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            raise ServiceTimeoutError(f"a pre-trial hook took longer than {deadline:g} s") from error
        raise ServiceError(f"a pre-trial hook failed: {error.code().name}: {error.details()}") from error
    completed: TrialParams = reply.params
    return completed


def check_parameters(params: TrialParams) -> TrialParameters:
    """Return the rules' view of ``params``, and fill the defaults into ``params`` itself.

    Raises:
        ConfigurationError: parameters that no trial can run with (protocol section 5).
    """
    environment = params.environment
    rules = TrialParameters(
        actors=tuple(
            ActorParameters(
                name=actor.name,
                actor_class=actor.actor_class,
                implementation=actor.implementation,
                endpoint=actor.endpoint,
                config=actor.config.content if actor.HasField("config") else None,
                initial_connection_timeout=actor.initial_connection_timeout,
                response_timeout=max(0.0, actor.response_timeout),
                optional=actor.optional,
                default_action=actor.default_action.content if actor.HasField("default_action") else None,
            )
            for actor in params.actors
        ),
        environment_name=environment.name,
        environment_implementation=environment.implementation,
        environment_endpoint=environment.endpoint,
        environment_config=environment.config.content if environment.HasField("config") else None,
        properties=dict(params.properties),
        max_steps=params.max_steps,
        max_inactivity=params.max_inactivity,
        buffered_ticks=max(0, params.nb_buffered_ticks),
    )
    environment.name = rules.environment_name
    return rules
