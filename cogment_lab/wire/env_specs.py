"""Asking an environment's service which agents it has, and what they see and do.

The service answers its ``Status`` rpc under ``agent_specs/<implementation>`` with a JSON object: agent name
to the base64 of its serialized ``AgentSpecs``. Official peers ignore a name they do not know.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass

import grpc

from cogment_lab.errors import ServiceError, ServiceUnreachableError
from cogment_lab.specs.generated.data_pb2 import AgentSpecs
from cogment_lab.wire.channel import open_channel
from cogment_lab.wire.directory import DirectoryClient, resolve
from cogment_lab.wire.endpoint import Credentials, ServiceType
from cogment_lab.wire.generated.common_pb2 import StatusRequest
from cogment_lab.wire.rpc import Stub

__all__ = ["EnvSpecs", "ask_env_specs", "status_name", "status_text"]


@dataclass(frozen=True, slots=True)
class EnvSpecs:
    """An environment that is served somewhere.

    Attributes:
        endpoint: ``grpc://host:port`` of its service.
        agents: Agent name to what it sees and does.
    """

    endpoint: str
    agents: Mapping[str, AgentSpecs]


def status_name(implementation: str) -> str:
    """Return the name under which a service tells the specs of an implementation."""
    return f"agent_specs/{implementation}"


def status_text(agents: Mapping[str, AgentSpecs]) -> str:
    """Return what a service answers there."""
    return json.dumps(
        {name: base64.b64encode(specs.SerializeToString()).decode() for name, specs in agents.items()}
    )


async def ask_env_specs(
    orchestrator: grpc.aio.Channel,
    implementation: str,
    endpoint: str | None,
    credentials: Credentials | None,
    timeout: float,
) -> EnvSpecs:
    """Find an environment's service and ask it for its agents.

    Args:
        orchestrator: Channel to the orchestrator, whose address is also asked for a directory.
        implementation: Name under which the environment is served.
        endpoint: Address of the service; ``None`` asks the directory.
        credentials: TLS material for the service.
        timeout: Seconds to wait for each answer.

    Raises:
        ServiceUnreachableError: nothing answers.
        ServiceError: the service does not know that environment.
    """
    directory = DirectoryClient(orchestrator)
    wanted = endpoint if endpoint is not None else "cogment://discover"
    target = await resolve(wanted, directory, ServiceType.ENVIRONMENT, implementation=implementation)
    channel = open_channel(target, credentials)
    name = status_name(implementation)
    try:
        stub = Stub(channel, "cogmentAPI.EnvironmentSP")
        reply = await stub.Status(StatusRequest(names=[name]), timeout=timeout)
        if name not in reply.statuses:
            every = await stub.Status(StatusRequest(names=["*"]), timeout=timeout)
            raise ServiceError(_unknown(target, implementation, every.statuses))
    except grpc.aio.AioRpcError as error:
        raise ServiceUnreachableError(f"no environment answers at {target}: {error.details()}") from error
    finally:
        await channel.close(None)
    agents = {
        agent: AgentSpecs.FromString(base64.b64decode(text))
        for agent, text in json.loads(reply.statuses[name]).items()
    }
    return EnvSpecs(endpoint=f"grpc://{target}", agents=agents)


def _unknown(target: str, implementation: str, statuses: Mapping[str, str]) -> str:
    """Return what is wrong with an environment of that name, by all that a service tells."""
    start = status_name("")
    names = sorted(name.removeprefix(start) for name in statuses if name.startswith(start))
    there = f"it has {', '.join(map(repr, names))}" if names else "it tells no specs"
    return f"the service at {target} has no environment {implementation!r}; {there}"
