"""Joining a trial as a client actor (protocol section 7.4)."""

from __future__ import annotations

from collections.abc import Mapping

import grpc

from cogment_lab.errors import ProtocolError, ServiceError, ServiceTimeoutError
from cogment_lab.wire.actor import ActorSession
from cogment_lab.wire.calls import Metadata, call_error
from cogment_lab.wire.generated.common_pb2 import NORMAL, ActorInitialOutput, ActorRunTrialOutput
from cogment_lab.wire.registered import Implementation, choose_actor
from cogment_lab.wire.rpc import Stub
from cogment_lab.wire.serving import actor_class_of, config_of, play, read_init
from cogment_lab.wire.settings import Settings
from cogment_lab.wire.shortcut import OFFERS, settle
from cogment_lab.wire.stream import PeerLost, actor_side

__all__ = ["join"]


async def join(
    channel: grpc.aio.Channel,
    trial_id: str,
    slot: ActorInitialOutput,
    implementations: Mapping[str, Implementation],
    settings: Settings,
    metadata: Metadata = (),
) -> None:
    """Be the actor of ``slot`` (a name or a class) until its implementation returns.

    Raises:
        ServiceError: the orchestrator refuses, or no implementation fits.
        ServiceUnreachableError: no orchestrator answers.
        ServiceTimeoutError: it does not say which actor we are.
    """
    stub = Stub(channel, "cogmentAPI.ClientActorSP")
    call = stub.RunTrial(metadata=(*metadata, ("trial-id", trial_id), *OFFERS))
    stream = actor_side(call)
    try:
        await stream.write(ActorRunTrialOutput(state=NORMAL, init_output=slot))
        init = await read_init(stream, ActorRunTrialOutput)
        if init is None:
            return
        await settle(call, stream)
        for wanted, got in ((slot.actor_name, init.actor_name), (slot.actor_class, init.actor_class)):
            if wanted and wanted != got:
                raise ProtocolError(f"asked to join as {wanted!r}, the orchestrator answers {got!r}")
        implementation = choose_actor(implementations, init.impl_name, init.actor_class, lenient=True)
        actor_class = actor_class_of(settings, init.actor_class)
        session = ActorSession(
            stream,
            trial_id,
            init.actor_name,
            implementation.name,
            config_of(init, actor_class.config_type),
            actor_class=actor_class,
            env_name=init.env_name,
            joined=True,
        )
        await play(session, implementation)
    except TimeoutError as error:
        raise ServiceTimeoutError(f"trial {trial_id!r} does not let us in") from error
    except PeerLost as error:
        failure = await stream.failure()
        if failure is not None:
            raise call_error(f"join trial {trial_id!r}", failure) from error
        raise ServiceError(f"cannot join trial {trial_id!r}: {error}") from error
    finally:
        call.cancel()
        await stream.close()
