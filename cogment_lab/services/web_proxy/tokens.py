"""Tokens that prove who joined as which actor: JSON Web Tokens (RFC 7519), signed with HS256."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from typing import Any

from cogment_lab._version import __version__

__all__ = ["make_token", "verify_token"]

_ISSUER = f"Cogment v{__version__}"
_HEADER = {"alg": "HS256", "typ": "JWT"}


def make_token(trial_id: str, actor_name: str, secret: bytes) -> str:
    """Return the token of an actor in a trial."""
    claims = {"trial_id": trial_id, "actor_name": actor_name, "iss": _ISSUER, "iat": int(time.time())}
    signed = f"{_encode(_HEADER)}.{_encode(claims)}"
    return f"{signed}.{_signature(signed, secret)}"


def verify_token(token: str, trial_id: str, actor_name: str, secret: bytes) -> bool:
    """Return whether ``token`` is ours, and that of this actor in this trial."""
    signed, _, signature = token.rpartition(".")
    if not hmac.compare_digest(signature.encode(), _signature(signed, secret).encode()):
        return False
    header, _, claims = signed.partition(".")
    try:
        parsed = _decode(claims)
        return (
            _decode(header) == _HEADER
            and parsed["iss"] == _ISSUER
            and (parsed["trial_id"], parsed["actor_name"]) == (trial_id, actor_name)
        )
    except (ValueError, KeyError, TypeError):
        return False


def _signature(signed: str, secret: bytes) -> str:
    return _base64(hmac.digest(secret, signed.encode(), hashlib.sha256))


def _encode(value: dict[str, Any]) -> str:
    return _base64(json.dumps(value, separators=(",", ":")).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> Any:
    try:
        return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except binascii.Error as error:
        raise ValueError(str(error)) from error
