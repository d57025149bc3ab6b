"""What a trial tells each component in its first frame (protocol sections 6.3 and 6.4)."""

from __future__ import annotations

from cogment_lab.wire.generated import common_pb2 as common
from cogment_lab.wire.generated.common_pb2 import ActorRunTrialInput, TrialActor, TrialParams
from cogment_lab.wire.generated.environment_pb2 import EnvRunTrialInput

__all__ = ["cast_of", "open_for_actor", "open_for_env"]


def cast_of(params: TrialParams) -> list[TrialActor]:
    """Return the trial's actors, in order."""
    return [TrialActor(name=actor.name, actor_class=actor.actor_class) for actor in params.actors]


def open_for_env(params: TrialParams) -> EnvRunTrialInput:
    """Return the init_input of the environment."""
    environment = params.environment
    frame = EnvRunTrialInput(state=common.NORMAL)
    frame.init_input.name = environment.name
    frame.init_input.impl_name = environment.implementation
    frame.init_input.actors_in_trial.extend(cast_of(params))
    if environment.HasField("config"):
        frame.init_input.config.CopyFrom(environment.config)
    return frame


def open_for_actor(params: TrialParams, index: int) -> ActorRunTrialInput:
    """Return the init_input of an actor."""
    actor = params.actors[index]
    frame = ActorRunTrialInput(state=common.NORMAL)
    frame.init_input.actor_name = actor.name
    frame.init_input.actor_class = actor.actor_class
    frame.init_input.impl_name = actor.implementation
    frame.init_input.env_name = params.environment.name
    if actor.HasField("config"):
        frame.init_input.config.CopyFrom(actor.config)
    return frame
