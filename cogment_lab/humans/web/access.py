"""Who may do what: one token for the page, and one for each seat that follows from it."""

from __future__ import annotations

import base64
import hashlib
import hmac
from functools import cache, cached_property

__all__ = ["Access", "Grant"]

_SALT = b"cogment_lab.seat.v1"
_TOKEN_BYTES = 18
_LONGEST_TOKEN = 256


class Grant:
    """What one token opens.

    Args:
        access: The page's tokens.
        token: What somebody showed.
    """

    def __init__(self, access: Access, token: str) -> None:
        self._access = access
        self._token = token if len(token) <= _LONGEST_TOKEN else ""

    @cached_property
    def everything(self) -> bool:
        """Whether this is the page's own token."""
        return _equal(self._token, self._access.token)

    def may_see(self, seat: str) -> bool:
        """Return whether the token opens that seat, to act or to look."""
        return self.may_act(seat) or _equal(self._token, self._access.seat_token(seat, watch=True))

    def may_act(self, seat: str) -> bool:
        """Return whether the token lets act in that seat."""
        return self.everything or _equal(self._token, self._access.seat_token(seat))


class Access:
    """The page's token, and those of its seats.

    A seat's token is an HMAC of its name under a key stretched from the page's token: nothing is stored,
    links survive a restart with the same token, and a seat's link does not tell the page's token, even a
    short one.

    Args:
        token: The page's.
    """

    def __init__(self, token: str) -> None:
        self.token = token

    def seat_token(self, seat: str, *, watch: bool = False) -> str:
        """Return the token that opens one seat: to act in it, or only to ``watch``."""
        return self.token_for(f"{'watch' if watch else 'act'}:{seat}")

    def token_for(self, purpose: str) -> str:
        """Return a token for anything else that a link should open alone."""
        digest = hmac.digest(_stretch(self.token), purpose.encode(), "sha256")
        return base64.urlsafe_b64encode(digest[:_TOKEN_BYTES]).decode()

    def is_token_for(self, purpose: str, token: str) -> bool:
        """Return whether this is the token that :meth:`token_for` gives for that purpose."""
        return len(token) <= _LONGEST_TOKEN and _equal(token, self.token_for(purpose))

    def grant(self, token: str) -> Grant:
        """Return what ``token`` opens, which may be nothing."""
        return Grant(self, token)


@cache
def _stretch(token: str) -> bytes:
    """Return a key from which the token cannot be guessed back."""
    return hashlib.scrypt(token.encode(), salt=_SALT, n=2**14, r=8, p=1, dklen=32)


def _equal(left: str, right: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(left.encode(errors="replace"), right.encode())
