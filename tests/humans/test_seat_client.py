"""A program at a seat does what a person can do."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import cogment_lab
from cogment_lab.errors import ConfigurationError, SeatError, SeatLostError, SeatTakenError
from cogment_lab.humans import WebUI
from cogment_lab.humans.scripted import scripted_policy
from cogment_lab.testing import SeatClient
from cogment_lab.trial.takeover import Phase

Wait = Callable[..., Any]


def test_it_sees_takes_over_and_hands_back(page: WebUI, loop: Any, eventually: Wait) -> None:
    with SeatClient(page, "stage") as person:
        assert person.drives
        person.wait_until(lambda: person.pictures > 5, "pictures")
        assert person.picture is not None
        pixels = person.picture.pixels()
        assert pixels.shape == (400, 600, 3) and np.ptp(pixels) > 100
        person.hold("ArrowRight")
        person.take()
        person.wait_until(lambda: person.status["phase"] == "correcting", "correcting")
        eventually(lambda: loop.helped > 0, "an override")
        person.release()
        person.wait_until(lambda: person.status["phase"] == "autonomous", "autonomous")


def test_control_is_kept_over_trials_until_it_is_handed_back(
    page: WebUI, start_loop: Callable[..., Any]
) -> None:
    start_loop(page.seat("teacher", "short"), max_episode_steps=20)
    with SeatClient(page, "short") as person:
        person.wait_until(lambda: person.pictures > 3, "pictures")
        person.take()
        for _ in range(3):
            trial = person.status["trial_id"]
            person.wait_until(
                lambda trial=trial: (
                    person.status["trial_id"] != trial and person.status["phase"] == "correcting"
                ),
                "control of the next trial",
            )
        person.release()
        trial = person.status["trial_id"]
        person.wait_until(lambda: person.status["trial_id"] != trial and person.status["tick"] > 8, "another")
        assert person.status["phase"] == "autonomous"


def test_a_picture_says_which_input_it_shows(page: WebUI, loop: Any) -> None:
    with SeatClient(page, "stage") as person:
        person.wait_until(lambda: person.pictures > 3, "pictures")
        for code in ("ArrowLeft", "ArrowRight"):
            number = person.hold(code)
            person.wait_until(lambda number=number: person.picture.driver_input >= number, f"input {number}")
        person.hold()


def test_held_keys_stay_held(page: WebUI, loop: Any) -> None:
    with SeatClient(page, "stage") as person:
        person.wait_until(lambda: person.pictures > 3, "pictures")
        person.hold("ArrowRight")
        person.wait_until(lambda: person.status.get("pressed"), "the key")
        seen = person.pictures
        person.wait_until(lambda: person.pictures > seen + 75, "pictures of more than the server's patience")
        assert person.status["pressed"]
        person.hold()
        person.wait_until(lambda: not person.status.get("pressed"), "no key")


@pytest.mark.parametrize(
    ("format", "beginning"), [("jpeg", b"\xff\xd8"), ("webp", b"RIFF"), ("png", b"\x89PNG")]
)
def test_the_kind_of_picture_is_the_viewers_choice(
    page: WebUI, loop: Any, format: str, beginning: bytes
) -> None:
    with SeatClient(page, "stage", format=format) as person:
        person.wait_until(lambda: person.picture and person.picture.format == format, format)
        assert person.picture is not None and person.picture.data.startswith(beginning)
        assert person.picture.pixels().shape == (400, 600, 3)


def test_the_width_and_rate_are_the_viewers_choice(page: WebUI, loop: Any) -> None:
    with SeatClient(page, "stage", max_fps=5.0) as person:
        person.send(type="view", max_width=150)
        person.wait_until(
            lambda: person.picture and person.picture.pixels().shape == (100, 150, 3), "small ones"
        )
        first = person.picture
        seen = person.pictures
        person.wait_until(lambda: person.pictures >= seen + 8, "eight more")
        assert first is not None and person.picture is not None
        assert person.picture.rendered_ms - first.rendered_ms > 1200


@pytest.mark.parametrize("goes_on", [True, False], ids=["next trial", "closed"])
def test_an_opinion_of_the_crash_reaches_the_trial_that_crashed(page: WebUI, goes_on: bool) -> None:
    seat = page.seat("evaluator", f"judge-{goes_on}")
    env = cogment_lab.make("CartPole-v1", evaluator=seat, store="late.db")
    with SeatClient(page, seat.name) as person:
        env.reset(seed=3)
        terminated = False
        while not terminated:
            *_, terminated, _, _ = env.step(0)
        crashed = env.unwrapped.trial_id
        person.wait_until(lambda: person.status.get("state") == "between", "the end")
        person.wait_until(
            lambda: person.picture and person.picture.tick == person.status["tick"], "its picture"
        )
        person.feedback(-1.0)
        person.send(type="note", text="it fell", t=0, trial=crashed)
        person.request("failure")
        person.round_trip_ms = None
        person.send(type="ping", id=1, t=0.0)
        person.wait_until(lambda: person.round_trip_ms is not None, "the answer to what came last")
        if goes_on:
            env.reset()
            for _ in range(3):
                env.step(0)
        env.close()
    with cogment_lab.TrialStore("late.db") as store:
        data = store.load(crashed)["gym"]
        assert [(each.source, each.value, each.tick) for each in data.feedback] == [
            (seat.name, -1.0, len(data) - 1)
        ]
        assert {"note", "failure"} <= {event.kind for event in store.events(crashed)}


def test_a_seats_link_opens_that_seat_only(page: WebUI, loop: Any) -> None:
    page.seat("teacher", "other")
    link = page.link("stage")
    with SeatClient(link) as person:
        assert person.seat == "stage" and person.drives
    with pytest.raises(SeatError, match="does not open this seat"):
        SeatClient(link, "other")


def test_a_watchers_link_lets_look_and_not_act(page: WebUI, loop: Any) -> None:
    with SeatClient(page.link("stage", watch=True)) as watcher:
        watcher.wait_until(lambda: watcher.pictures > 3, "pictures")
        assert not watcher.drives and not watcher.hello["occupied"]
        watcher.take()
        watcher.hold("ArrowRight")
        watcher.feedback(1.0)
        watcher.send(type="move")
        with pytest.raises(SeatTakenError, match="only lets look"):
            watcher.move_here()
        ticks = loop.ticks
        watcher.wait_until(lambda: loop.ticks > ticks + 10, "the trial goes on")
        assert loop.helped == 0 and not watcher.drives


def test_who_came_to_watch_may_sit_down_later(page: WebUI, loop: Any) -> None:
    with SeatClient(page, "stage", watch=True) as person:
        assert not person.drives and not person.hello["occupied"]
        person.move_here()
        person.wait_until(lambda: person.drives, "the seat")


def test_the_second_person_knows_who_sits_there_and_may_move_the_seat(page: WebUI, loop: Any) -> None:
    with (
        SeatClient(page, "stage", person="Ann") as ann,
        SeatClient(page, "stage", person="<b>Bob</b>") as bob,
    ):
        assert ann.drives and not bob.drives
        assert bob.hello["driver"] == "Ann"
        bob.wait_until(lambda: bob.pictures > 3, "the second one's pictures")
        seen = ann.pictures
        ann.wait_until(lambda: ann.pictures > seen + 3, "the first one's pictures go on")
        bob.move_here()
        ann.wait_until(lambda: not ann.drives, "the first one knows")
        assert ann.hello["driver"] == "<b>Bob</b>"
        bob.close()
        ann.wait_until(lambda: not ann.hello["occupied"], "the seat is free")
        assert not ann.drives, "a seat is not given back unasked"
        ann.move_here()
        ann.wait_until(lambda: ann.drives, "the seat")


def test_the_same_client_continues_after_a_lost_connection(page: WebUI, loop: Any, eventually: Wait) -> None:
    first = SeatClient(page, "stage", client="ann's tab")
    first.take()
    first.wait_until(lambda: first.status.get("phase") == "correcting", "control")
    first._socket.socket.close()
    eventually(lambda: loop.env.trial.phase.name == "AUTONOMOUS", "the agent acts", 8.0)
    with SeatClient(page, "stage", client="ann's tab") as again:
        again.wait_until(lambda: again.drives and again.pictures > 1, "the same seat")
    first.close()


def test_several_people_at_several_environments_on_one_page(
    page: WebUI, start_loop: Callable[..., Any], eventually: Wait
) -> None:
    seats = [page.seat("teacher", f"several-{index}") for index in range(3)]
    loops = [start_loop(seat) for seat in seats]
    people = [SeatClient(page.link(seat)) for seat in seats]
    try:
        people[1].hold("ArrowRight")
        people[1].take()
        eventually(lambda: loops[1].helped > 3, "help where it was given")
        for person in people:
            person.wait_until(lambda person=person: person.pictures > 3, "pictures")
        assert loops[0].helped == loops[2].helped == 0
        assert len({person.status["trial_id"].split("-")[0] for person in people}) == 3
    finally:
        for person in people:
            person.close()


def test_who_comes_to_a_trial_that_waits_sees_it_at_once(page: WebUI) -> None:
    seat = page.seat("player", "chess")
    env = cogment_lab.make("FrozenLake-v1", player=seat, store=None, max_episode_steps=3)
    env.reset(seed=1)
    playing = threading.Thread(target=lambda: [env.step(0) for _ in range(3)], daemon=True)
    playing.start()
    with SeatClient(page, "chess") as person:
        person.wait_until(lambda: person.picture, "a picture before the first move")
        person.wait_until(lambda: person.status.get("state") == "running", "the story")
        assert person.picture is not None and person.picture.tick == person.status["tick"] == 0
        for moves in (1, 2, 3):
            person.hold("ArrowDown")
            person.hold()
            person.wait_until(lambda moves=moves: person.status["all_ticks"] == moves, "a move")
    playing.join(30)
    assert not playing.is_alive()
    env.close()


def test_the_owner_of_a_page_knows_who_sits_where(page: WebUI, loop: Any) -> None:
    with SeatClient(page, "stage", person="Ann") as ann:
        ann.wait_until(lambda: ann.drives, "the seat")
        (seat,) = [each for each in page.seats() if each["name"] == "stage"]
        assert (seat["driver"], seat["viewers"], seat["env_id"]) == ("Ann", 1, "CartPole-v1")


def test_a_program_may_say_and_set_what_a_person_may(page: WebUI, loop: Any) -> None:
    with SeatClient(page, "stage") as person:
        person.wait_until(lambda: person.status.get("state") == "running", "the story")
        person.note("hello")
        person.set("idle", "repeat")
        person.wait_until(lambda: person.status["notes"] == 1, "the note")
        person.wait_until(lambda: person.status["settings"]["idle"] == "repeat", "the setting")


def test_questions_are_answered(page: WebUI) -> None:
    kept: list[list[str]] = []

    def collect() -> None:
        pilot = page.seat("player", "pilot")
        kept.append(
            cogment_lab.collect(
                "CartPole-v1", pilot, 1, store="demos.db", countdown=1, max_episode_steps=8, fps=100
            )
        )

    thread = threading.Thread(target=collect)
    thread.start()
    try:
        page.seat("player", "pilot")
        with SeatClient(page, "pilot") as person:
            with pytest.raises(SeatError, match="nothing was asked"):
                person.answer("keep")
            person.wait_until(lambda: person.status.get("countdown"), "the countdown")
            person.hold("ArrowLeft")
            person.wait_until(lambda: person.status.get("question"), "the question")
            person.answer("keep")
            person.wait_until(lambda: not person.status.get("question"), "thanks")
    finally:
        thread.join(40.0)
    assert len(kept[0]) == 1


@pytest.mark.parametrize(
    ("env_id", "keys"),
    [("CartPole-v1", ("ArrowLeft",)), ("FrozenLake-v1", ("ArrowUp", "ArrowLeft", "ArrowUp"))],
)
def test_where_no_key_means_no_action_the_first_is_waited_for(
    page: WebUI, env_id: str, keys: tuple[str, ...]
) -> None:
    store = cogment_lab.TrialStore(":memory:")
    pilot = page.seat("player", "pilot", patience=0.05)
    arguments: dict[str, Any] = {"keep": "all", "countdown": 0, "max_episode_steps": 3, "fps": 100}
    thread = threading.Thread(
        target=lambda: cogment_lab.collect(env_id, pilot, 1, seed=1, store=store, **arguments)
    )
    thread.start()
    try:
        with SeatClient(page, "pilot") as person:
            person.wait_until(lambda: person.pictures > 0, "a picture")
            thread.join(0.5)  # ten times the seat's patience
            assert thread.is_alive()
            assert (person.status["state"], person.status["tick"]) == ("running", 0)
            for number, key in enumerate(keys):
                person.wait_until(
                    lambda number=number: person.status["all_ticks"] >= number, f"turn {number}"
                )
                person.hold(key)
                person.hold()
            person.wait_until(lambda: person.status.get("state") == "closed", "the end")
    finally:
        thread.join(40.0)
    (info,) = store.trials()
    assert info.n_ticks == 3
    if env_id == "CartPole-v1":
        assert store.load(info.trial_id)["gym"].actions.tolist() == [0, 0, 0], "the last key goes on"


def test_a_driver_who_left_while_the_trial_did_not_look_has_handed_back(
    page: WebUI, eventually: Wait
) -> None:
    env = cogment_lab.make("CartPole-v1", teacher=page.seat("teacher", "busy"), store=None, fps=100)
    env.acknowledge_takeovers("this test")
    balance, (observation, _) = scripted_policy("CartPole-v1"), env.reset(seed=1)

    def step() -> None:
        nonlocal observation
        observation, *_ = env.step(balance(observation))

    def steps_until(condition: Callable[[], bool], what: str) -> None:
        eventually(lambda: (step(), condition())[1], what)

    first = SeatClient(page, "busy")
    steps_until(lambda: first.status.get("state") == "running", "a trial that runs")
    first.hold("ArrowLeft")
    first.take()
    steps_until(lambda: env.trial.phase is Phase.CORRECTING, "a takeover")
    first.close()
    eventually(lambda: not page_seat(page, "busy")["occupied"], "an empty seat")
    with SeatClient(page, "busy") as second:
        second.wait_until(lambda: second.drives, "the seat")
        step()
        assert env.trial.phase is Phase.AUTONOMOUS
    env.close()


def page_seat(page: WebUI, name: str) -> dict[str, Any]:
    return next(seat for seat in page.seats() if seat["name"] == name)


def test_who_sits_nowhere_is_told_why() -> None:
    with pytest.raises(ConfigurationError, match="no link to a seat"):
        SeatClient("http://127.0.0.1:1/")
    with pytest.raises(SeatLostError, match="nobody answers"):
        SeatClient("http://127.0.0.1:1/?token=12345678")
    with WebUI(port=0) as ui:
        with pytest.raises(SeatError, match="no seat yet"):
            SeatClient(ui)
        with pytest.raises(SeatError, match="there is no such seat"):
            SeatClient(ui, "nowhere")
        with pytest.raises(SeatError, match="ask for a new one"):
            SeatClient(ui.url.replace(ui.token, "some-other-token"))


def test_a_server_that_ends_ends_the_wait() -> None:
    with WebUI(port=0) as ui:
        ui.seat("teacher")
        person = SeatClient(ui)
    with pytest.raises(SeatLostError):
        person.wait_until(lambda: False, "nothing")
    with pytest.raises(SeatError):
        person.take()
    person.close()


def test_a_seat_grants_what_it_allows_and_nothing_else(page: WebUI, start_loop: Callable[..., Any]) -> None:
    start_loop(page.seat("teacher", "narrow", allows=["take", "release"]))
    with SeatClient(page, "narrow") as person:
        assert person.hello["allows"] == ["release", "take"]
        person.wait_until(lambda: person.pictures > 3, "pictures")
        person.set_pace("quarter")
        person.wait_until(lambda: person.status["refused"] == 1, "the refusal")
        assert "'pace'" in person.status["refusal"]
        person.take()
        person.wait_until(lambda: person.status["phase"] == "correcting", "correcting")
        assert person.status["pace"] == "live"


def test_a_seat_allows_only_what_there_is(page: WebUI) -> None:
    with pytest.raises(ConfigurationError, match=r"allows=\['fly'\]"):
        page.seat("teacher", "odd", allows=["fly"])
