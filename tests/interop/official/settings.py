"""What both sides know of the trials' messages; and how the scripts here report what they see.

Runs on the Python of the official SDK, not on ours.
"""

import json
from types import SimpleNamespace

import cogment
from google.protobuf.wrappers_pb2 import BoolValue, Int64Value, StringValue

SETTINGS = SimpleNamespace(
    actor_classes=cogment.ActorClassList(
        cogment.ActorClass("player", StringValue, Int64Value, StringValue),
        cogment.ActorClass("judge", None, BoolValue, StringValue),
    ),
    trial=SimpleNamespace(config_type=StringValue),
    environment=SimpleNamespace(config_type=Int64Value),
)


def report(**line):
    """Tell the test."""
    print(json.dumps(line), flush=True)


def text(packed):
    """Return the text of a packed StringValue."""
    value = StringValue()
    packed.Unpack(value)
    return value.value


def tell(session, event):
    """Report an event of a session."""
    line = {"trial": session.get_trial_id(), "who": session.name, "type": event.type.name}
    if event.observation:
        line["observation"] = event.observation.observation.value
        line["tick"] = event.observation.tick_id
        line["timestamp"] = event.observation.timestamp
    if event.actions:
        line["tick"] = event.actions[0].tick_id
        line["actions"] = [[one.status.name, one.action and one.action.value] for one in event.actions]
    if event.rewards:
        (reward,) = event.rewards
        line["reward"] = reward.value
        line["tick"] = reward.tick_id
        line["sources"] = [[one.sender_name, one.value, one.confidence] for one in reward.all_sources()]
    if event.messages:
        (message,) = event.messages
        line["message"] = [message.sender_name, message.receiver_name, text(message.payload)]
    report(**line)
