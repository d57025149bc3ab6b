"""Tokens: which link opens what."""

import pytest

from cogment_lab.humans.web.access import Access

access = Access("the page's own token")


def test_the_pages_token_opens_everything() -> None:
    grant = access.grant("the page's own token")
    assert grant.everything and grant.may_act("teacher") and grant.may_see("any")


def test_a_seats_token_opens_that_seat_only() -> None:
    grant = access.grant(access.seat_token("ann"))
    assert grant.may_act("ann") and grant.may_see("ann")
    assert not (grant.everything or grant.may_see("bob") or grant.may_act("bob"))


def test_a_watchers_token_lets_look_and_not_act() -> None:
    grant = access.grant(access.seat_token("ann", watch=True))
    assert grant.may_see("ann") and not grant.may_act("ann") and not grant.may_see("bob")


@pytest.mark.parametrize("token", ["", "x", "the page's own toke", "é" * 20, "a" * 100_000, "\ud800"])
def test_other_tokens_open_nothing(token: str) -> None:
    grant = access.grant(token)
    assert not (grant.everything or grant.may_see("ann") or grant.may_act("ann"))


def test_links_outlive_a_restart_and_differ_between_pages() -> None:
    assert Access("the page's own token").seat_token("ann") == access.seat_token("ann")
    assert Access("another token").seat_token("ann") != access.seat_token("ann")
    assert access.token_for("act:ann") == access.seat_token("ann") != access.token_for("compare:ann")
