"""Messages as JSON, in protobuf's own mapping: 64-bit integers are strings, bytes are base64."""

from __future__ import annotations

import base64
import math
from typing import Any

from google.protobuf import json_format

from cogment_lab.errors import ConfigurationError
from cogment_lab.wire.events import RecvMessage, RecvReward
from cogment_lab.wire.settings import Settings

__all__ = ["Messages"]


class Messages:
    """Translates the messages of an application.

    Args:
        spec: The application's messages.
    """

    def __init__(self, spec: Settings) -> None:
        kinds = [kind for one in spec.actor_classes for kind in (one.action_space, one.observation_space)]
        self._pools = list({kind.DESCRIPTOR.file.pool: None for kind in kinds})

    def to_json(self, message: Any) -> Any:
        """Return a message as JSON; ``None`` stays."""
        if message is None:
            return None
        pool = message.DESCRIPTOR.file.pool
        return json_format.MessageToDict(
            message, always_print_fields_with_no_presence=True, descriptor_pool=pool
        )

    def from_json(self, value: Any, kind: Any, what: str) -> Any:
        """Return the message of class ``kind`` that ``value`` describes, an empty one for ``None``.

        Raises:
            ConfigurationError: it does not.
        """
        message = kind()
        if value is None:
            return message
        try:
            return json_format.ParseDict(value, message, descriptor_pool=kind.DESCRIPTOR.file.pool)
        except json_format.ParseError as error:
            raise ConfigurationError(f"{what} is no {kind.DESCRIPTOR.full_name}: {error}") from error

    def any_to_json(self, packed: Any) -> Any:
        """Return what is packed as JSON with its ``@type``, its bytes when nothing here knows the type."""
        if not packed.type_url:
            return None
        for pool in self._pools:
            try:
                return json_format.MessageToDict(packed, descriptor_pool=pool)
            except (TypeError, json_format.Error):
                continue
        return {"@type": packed.type_url, "value": base64.b64encode(packed.value).decode()}

    def reward(self, reward: RecvReward) -> dict[str, Any]:
        """Return a received reward as JSON."""
        sources = reward.all_sources() if reward.get_nb_sources() else ()
        return {
            "tick_id": str(reward.tick_id),
            "value": _number(reward.value),
            "sources": [
                {
                    "sender": source.sender_name,
                    "value": _number(source.value),
                    "confidence": _number(source.confidence),
                    "user_data": self.any_to_json(source.user_data),
                }
                for source in sources
            ],
        }

    def message(self, message: RecvMessage) -> dict[str, Any]:
        """Return a received message as JSON."""
        return {
            "tick_id": str(message.tick_id),
            "sender": message.sender_name,
            "payload": self.any_to_json(message.payload),
        }


def _number(value: float) -> float | str:
    """JSON has no NaN and no infinity; protobuf writes them as strings."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
