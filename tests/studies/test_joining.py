"""How many people may join in how much time, and who is believed to say where they come from."""

import ipaddress
from typing import Any

import httpx
import numpy as np
import pytest

from cogment_lab.errors import ConfigurationError
from cogment_lab.studies import JoinLimit, StudyServer, read_study
from cogment_lab.studies.doorkeeper import Doorkeeper
from cogment_lab.studies.simulated import SimulatedParticipant

LIMIT = JoinLimit(burst=3, seconds=10.0, all_burst=5, all_seconds=2.0)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def door(clock: Clock, said: list[str]) -> Doorkeeper:
    return Doorkeeper(LIMIT, said.append, clock)


def test_an_address_has_its_burst_and_then_one_each_time(door: Doorkeeper, clock: Clock) -> None:
    assert [door.admit("10.0.0.1") for _ in range(4)] == [0, 0, 0, 10]
    assert door.admit("10.0.0.2") == 0
    clock.now += 4.5
    assert door.admit("10.0.0.1") == 6
    clock.now += 5.5
    assert [door.admit("10.0.0.1") for _ in range(2)] == [0, 10]
    clock.now += 1e6
    assert [door.admit("10.0.0.1") for _ in range(4)] == [0, 0, 0, 10]


def test_all_together_have_theirs(door: Doorkeeper, clock: Clock) -> None:
    assert [door.admit(f"10.0.0.{number}") for number in range(6)] == [0, 0, 0, 0, 0, 2]
    clock.now += 2.0
    assert [door.admit(f"10.0.1.{number}") for number in range(2)] == [0, 2]


def test_who_is_turned_away_takes_nothing_from_others(door: Doorkeeper) -> None:
    assert [door.admit("10.0.0.1") for _ in range(50)] == [0] * 3 + [10] * 47
    assert [door.admit("10.0.0.2") for _ in range(2)] == [0, 0]


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("unix", "", False),
        ("x" * 64, "x" * 5000, True),
    ],
)
def test_what_counts_as_one_address(door: Doorkeeper, first: str, second: str, same: bool) -> None:
    assert [door.admit(first) for _ in range(3)] == [0, 0, 0]
    assert (door.admit(second) > 0) is same


def test_so_many_addresses_are_remembered_and_not_more(said: list[str], clock: Clock) -> None:
    limit = JoinLimit(burst=1, seconds=1e6, all_burst=10**9, all_seconds=1.0)
    door = Doorkeeper(limit, said.append, clock)
    everyone = [str(ipaddress.ip_address(167772160 + number)) for number in range(10_001)]
    assert not any(door.admit(each) for each in everyone)
    assert len(door._addresses) == 10_000
    assert door.admit(everyone[-1]) > 0 and door.admit(everyone[0]) == 0


def test_the_experimenter_is_told_once_a_minute(door: Doorkeeper, clock: Clock, said: list[str]) -> None:
    for _ in range(50):
        door.admit("10.0.0.1")
    assert len(said) == 1 and "from one address" in said[0]
    clock.now += 61.0
    for _ in range(10):
        door.admit("10.0.0.1")
    assert len(said) == 2


@pytest.fixture
def crowd(study_file: Any, tmp_path: Any) -> Any:
    """Start a server of a small limit, and return how to join it from some address, as a proxy says."""
    servers: list[StudyServer] = []

    def start(**keywords: Any) -> Any:
        limit = JoinLimit(burst=2, seconds=100.0, all_burst=100, all_seconds=1.0)
        study = read_study(study_file())
        server = StudyServer(
            study, tmp_path / "s.db", say=lambda text: None, **{"join_limit": limit, **keywords}
        )
        servers.append(server)

        def join(forwarded: str | None = None) -> httpx.Response:
            headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
            url = f"http://127.0.0.1:{server.port}/study/api/join"
            with httpx.Client(trust_env=False) as http:
                return http.post(url, json={}, headers=headers)

        join.server = server  # type: ignore[attr-defined]
        return join

    yield start
    for each in servers:
        each.close()


def test_too_many_are_asked_to_come_again_and_leave_no_trace(crowd: Any) -> None:
    join = crowd()
    assert [join().status_code for _ in range(3)] == [200, 200, 429]
    answer = join()
    assert 90 <= int(answer.headers["Retry-After"]) <= 100
    assert answer.json() == {
        "error": "many people join just now",
        "retry_after": int(answer.headers["Retry-After"]),
    }
    assert len(join.server.people()) == 2


def test_without_a_proxy_nobody_says_where_they_come_from(crowd: Any) -> None:
    join = crowd()
    assert [join(f"10.0.0.{number}").status_code for number in range(3)] == [200, 200, 429]


def test_behind_a_proxy_each_person_has_an_address(crowd: Any) -> None:
    join = crowd(public_url="https://lab.example")
    assert [join("10.0.0.1").status_code for _ in range(3)] == [200, 200, 429]
    assert join("10.0.0.2").status_code == 200
    assert join("10.0.0.9, 10.0.0.1").status_code == 429, "the proxy's word is the last one"


def test_another_machine_is_not_the_proxy(crowd: Any) -> None:
    join = crowd(public_url="https://lab.example", proxies=["10.9.9.0/24"])
    assert [join(f"10.0.0.{number}").status_code for number in range(3)] == [200, 200, 429]


@pytest.mark.parametrize(
    ("keywords", "said"),
    [
        ({"proxies": ["10.0.0.1"]}, "public_url"),
        ({"proxies": ["the-proxy"], "public_url": "https://x.example"}, "'the-proxy' is no address"),
    ],
)
def test_a_proxy_that_makes_no_sense_is_named(crowd: Any, keywords: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        crowd(**keywords)


def test_a_simulated_person_waits_for_their_turn(crowd: Any) -> None:
    join = crowd(join_limit=JoinLimit(burst=1, seconds=1.0, all_burst=100, all_seconds=1.0))
    assert join().status_code == 200
    person = SimulatedParticipant(join.server.base_url, "anna", np.random.default_rng(1), 30.0)
    person._deadline = float("inf")
    person._join()
    assert len(join.server.people()) == 2
