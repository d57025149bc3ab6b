"""The page's server and the seats on it, without a browser: a WebSocket client speaks the page's protocol."""

import contextlib
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import websockets
from websockets.sync.client import ClientConnection, connect

import cogment_lab
from cogment_lab.errors import ConfigurationError, PortInUseError, SeatTakenError
from cogment_lab.humans import WebUI
from cogment_lab.humans.scripted import scripted_policy
from cogment_lab.trial.pace import Pace
from cogment_lab.trial.takeover import Phase

DEADLINE = 40.0
balance = scripted_policy("CartPole-v1")


def eventually(condition: Callable[[], Any], what: str, deadline: float = DEADLINE) -> Any:
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"{what} did not happen within {deadline} s")


@pytest.fixture(scope="module")
def ui() -> Iterator[WebUI]:
    with WebUI(port=0) as page:
        yield page


class Training:
    """A loop whose player balances well, so that trials last, in a thread of its own."""

    def __init__(self, **make_kwargs: Any) -> None:
        make_kwargs = {"store": None, "max_episode_steps": 400, **make_kwargs}
        self.env = cogment_lab.make("CartPole-v1", **make_kwargs)
        self.infos: list[dict[str, Any]] = []
        self._observation, _ = self.env.reset(seed=1)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            action = balance(self._observation)
            self._observation, _, terminated, truncated, info = self.env.step(action)
            self.infos.append(info)
            if terminated or truncated:
                self._observation, _ = self.env.reset()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive()
        self.env.close()


class Tab:
    """A browser tab's side of the protocol."""

    def __init__(self, ui: WebUI, seat: str, client: str = "tab", **kwargs: Any) -> None:
        token = kwargs.pop("token", ui.token)
        self._stack = contextlib.ExitStack()
        connection = connect(
            f"ws://127.0.0.1:{ui.port}/api/seats/{seat}/socket?client={client}",
            subprotocols=[
                websockets.Subprotocol("cogment_lab.seat.v1"),
                websockets.Subprotocol(f"token.{token}"),
            ],
            proxy=None,
            **kwargs,
        )
        self.socket: ClientConnection = self._stack.enter_context(connection)
        self.status: dict[str, Any] = {}
        self.hello: dict[str, Any] = {}
        self.frames = 0

    def send(self, **message: Any) -> None:
        self.socket.send(json.dumps(message))

    def request(self, name: str) -> None:
        self.send(type="request", name=name, t=1000.0)

    def hear_until(self, condition: Callable[["Tab"], Any], what: str) -> None:
        def listen() -> Any:
            with contextlib.suppress(TimeoutError):
                message = self.socket.recv(timeout=0.1)
                if isinstance(message, bytes):
                    self.frames += 1
                    sequence = int.from_bytes(message[4:8], "little")
                    self.send(type="ack", seq=sequence, painted=900.0)
                else:
                    content = json.loads(message)
                    if content["type"] == "hello":
                        self.hello = content
                    elif content["type"] == "status":
                        self.status = content
            return condition(self)

        eventually(listen, what)

    def close(self) -> None:
        self._stack.close()


@pytest.fixture
def training(ui: WebUI) -> Iterator[Training]:
    running = Training(teacher=ui.seat("teacher"))
    yield running
    running.close()


def test_a_person_watches_takes_over_and_hands_back(ui: WebUI, training: Training) -> None:
    tab = Tab(ui, "teacher")
    tab.hear_until(lambda tab: tab.frames > 3 and tab.status.get("state") == "running", "a live picture")
    assert tab.hello["driving"] is True
    eventually(lambda: training.env.trial.pace is Pace.LIVE, "pace live")
    tab.send(type="keys", held=["ArrowRight"], t=990.0)
    tab.request("take")
    tab.hear_until(lambda tab: tab.status["phase"] == "correcting", "correcting")
    eventually(lambda: any(info.get("intervene_action") == 1 for info in training.infos), "an override")
    tab.request("release")
    tab.hear_until(lambda tab: tab.status["phase"] == "autonomous", "autonomous again")
    tab.close()
    eventually(lambda: training.env.trial.pace is Pace.MAX, "full speed after the tab is gone")
    overrides = [info for info in training.infos if info["is_intervention"]]
    assert any(info.get("reaction_ms") == pytest.approx(100.0) for info in overrides)


def test_a_lost_connection_hands_control_back_at_once(ui: WebUI, training: Training) -> None:
    tab = Tab(ui, "teacher")
    tab.send(type="keys", held=["ArrowRight"], t=1.0)
    tab.request("take")
    eventually(lambda: training.env.trial.phase is Phase.CORRECTING, "correcting")
    tab.socket.socket.close()
    eventually(
        lambda: training.env.trial.phase is Phase.AUTONOMOUS, "the agent flies", 8.0
    )  # pings take 10 s
    returning = Tab(ui, "teacher")
    returning.hear_until(lambda tab: tab.status.get("state") == "running", "the same trial's story")
    assert returning.hello["driving"] is True
    returning.close()


def test_keys_that_stop_coming_are_let_go(ui: WebUI, training: Training) -> None:
    tab = Tab(ui, "teacher")
    tab.send(type="keys", held=["ArrowRight"], t=1.0)
    tab.request("take")
    tab.hear_until(lambda tab: tab.status.get("pressed"), "the held key is known")
    tab.hear_until(lambda tab: not tab.status.get("pressed"), "the silent tab's key is released")
    tab.close()


def test_controls_that_nobody_confirms_are_let_go(ui: WebUI, training: Training) -> None:
    tab = Tab(ui, "teacher")
    tab.send(type="controls", action=1, t=1.0)

    def executed_by(name: str) -> Callable[[Tab], bool]:
        def look(tab: Tab) -> bool:
            if tab.status.get("phase") == "autonomous":  # in each trial anew
                tab.request("take")
            return bool((tab.status.get("executed") or {}).get("by") == name)

        return look

    tab.hear_until(executed_by("teacher"), "it acts")
    tab.hear_until(executed_by("idle"), "it is let go")
    tab.close()


def test_a_second_tab_may_watch_or_move_the_seat(ui: WebUI, training: Training) -> None:
    first, second = Tab(ui, "teacher", "first"), Tab(ui, "teacher", "second")
    second.hear_until(lambda tab: tab.hello and tab.frames > 2, "the second tab's picture")
    assert second.hello["driving"] is False
    second.request("take")
    second.send(type="move")
    second.hear_until(lambda tab: tab.hello["driving"], "the seat moved")
    first.hear_until(lambda tab: tab.hello and not tab.hello["driving"], "the first tab knows")
    assert not any(info["is_intervention"] for info in training.infos), "a watcher's take is ignored"
    first.close()
    second.close()


def test_pause_one_step_and_resume(ui: WebUI, training: Training) -> None:
    tab = Tab(ui, "teacher")
    tab.request("pause")
    tab.hear_until(lambda tab: tab.status.get("phase") == "paused", "paused")
    ticks = training.env.trial.all_ticks
    tab.request("step")
    eventually(lambda: training.env.trial.all_ticks == ticks + 1, "one step")
    tab.request("resume")
    eventually(lambda: training.env.trial.all_ticks > ticks + 2, "running again")
    tab.close()


@pytest.mark.parametrize(
    ("name", "pace"), [("max", Pace.MAX), ("quarter", Pace.QUARTER), ("live", Pace.LIVE)]
)
def test_the_pace_is_the_persons_choice(ui: WebUI, training: Training, name: str, pace: Pace) -> None:
    tab = Tab(ui, "teacher")
    eventually(lambda: training.env.trial.pace is Pace.LIVE, "live")
    tab.send(type="pace", name=name)
    eventually(lambda: training.env.trial.pace is pace, f"pace {name}")
    tab.close()


def test_a_hidden_tab_costs_no_time(ui: WebUI, training: Training) -> None:
    tab = Tab(ui, "teacher")
    eventually(lambda: training.env.trial.pace is Pace.LIVE, "live")
    tab.send(type="visible", visible=False)
    eventually(lambda: training.env.trial.pace is Pace.MAX, "full speed")
    tab.send(type="visible", visible=True)
    eventually(lambda: training.env.trial.pace is Pace.LIVE, "live again")
    tab.close()


def test_requests_reach_the_learner(ui: WebUI, training: Training) -> None:
    tab = Tab(ui, "teacher")
    tab.request("stop")
    eventually(lambda: any("stop" in info.get("requests", ()) for info in training.infos), "stop")
    tab.close()


def test_feedback_reaches_the_step(ui: WebUI, training: Training) -> None:
    tab = Tab(ui, "teacher")
    tab.send(type="feedback", value=-7, t=1.0)
    given = eventually(
        lambda: [info["feedback"] for info in training.infos if "feedback" in info], "feedback"
    )
    assert given[0] == [("teacher", -1.0, 1.0)]
    tab.close()


def test_a_silent_learner_is_shown_as_learning_and_a_take_is_ignored(ui: WebUI) -> None:
    env = cogment_lab.make("CartPole-v1", store=None, teacher=ui.seat("teacher"))
    env.reset(seed=1)
    tab = Tab(ui, "teacher")
    eventually(lambda: env.step(0)[4]["tick"] >= 0 and env.trial.pace is Pace.LIVE, "live")
    env.reset()
    env.step(0)
    tab.hear_until(lambda tab: tab.status.get("learning"), "learning")
    tab.request("take")
    tab.hear_until(lambda tab: tab.status["learning_s"] >= 0.3, "still learning")
    assert env.step(0)[4]["phase"] == "autonomous"
    tab.close()
    env.close()


@pytest.mark.parametrize(
    "garbage",
    [
        "",
        "not json",
        "[]",
        '{"type": 3}',
        '{"type": "keys"}',
        '{"type": "keys", "held": 7}',
        '{"type": "request", "name": "explode", "t": 1}',
        '{"type": "request", "name": "take", "t": "soon"}',
        '{"type": "feedback", "value": NaN, "t": 1}',
        '{"type": "feedback", "value": 1e999, "t": 1}',
        '{"type": "controls", "action": {"$": []}, "t": 1}',
        '{"type": "ack", "seq": -1, "painted": 0}',
        '{"type": "pace", "name": "warp"}',
        '{"type": "_send", "x": 1}',
        b"\x00\xff" * 50,
    ],
)
def test_garbage_is_harmless(ui: WebUI, training: Training, garbage: str | bytes) -> None:
    tab = Tab(ui, "teacher")
    tab.socket.send(garbage)
    ticks = training.env.trial.all_ticks
    tab.hear_until(lambda tab: tab.status.get("state") == "running", "the story goes on")
    eventually(lambda: training.env.trial.all_ticks > ticks, "the trial goes on")
    assert training.env.trial.phase is not None
    tab.close()


def close_code(tab: Tab) -> int:
    with pytest.raises(websockets.ConnectionClosed):
        for _ in range(10_000):
            tab.socket.recv(timeout=DEADLINE)
    assert tab.socket.close_code is not None
    return tab.socket.close_code


def test_an_oversized_message_ends_that_connection_only(ui: WebUI, training: Training) -> None:
    tab = Tab(ui, "teacher")
    tab.send(type="note", text="x" * 100_000)
    assert close_code(tab) == 1009
    ticks = training.env.trial.all_ticks
    eventually(lambda: training.env.trial.all_ticks > ticks, "the trial goes on")


def test_a_flood_of_messages_ends_that_connection_only(ui: WebUI, training: Training) -> None:
    tab = Tab(ui, "teacher")
    with contextlib.suppress(websockets.ConnectionClosed):
        for number in range(1000):
            tab.send(type="keys", held=["ArrowLeft"] if number % 2 else [], t=1.0)
    assert close_code(tab) == 4429
    eventually(lambda: training.env.trial.pace is Pace.MAX, "control is back")


def test_a_wrong_token_opens_nothing(ui: WebUI) -> None:
    assert close_code(Tab(ui, "teacher", token="guess-guess")) == 4401
    assert close_code(Tab(ui, "nonsense")) == 4404
    url = f"http://127.0.0.1:{ui.port}"
    assert httpx.get(f"{url}/api/seats").status_code == 401
    seats = httpx.get(f"{url}/api/seats", headers={"Authorization": f"Bearer {ui.token}"})
    assert "teacher" in [seat["name"] for seat in seats.json()]


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1"])
def test_a_foreign_origin_opens_nothing(ui: WebUI, origin: Any) -> None:
    assert close_code(Tab(ui, "teacher", origin=origin)) == 4403


def test_the_pages_own_origin_and_listed_ones_are_let_in() -> None:
    with WebUI(port=0, origins=("https://lab.example",)) as ui:
        ui.seat("teacher")
        for origin in (f"http://127.0.0.1:{ui.port}", f"http://localhost:{ui.port}", "https://lab.example"):
            tab = Tab(ui, "teacher", origin=origin)  # type: ignore[arg-type]
            tab.hear_until(lambda tab: tab.hello, "hello")
            tab.close()


def test_files_outside_the_page_are_not_served(ui: WebUI) -> None:
    url = f"http://127.0.0.1:{ui.port}"
    for path in ("/site/../server.py", "/site/%2e%2e/server.py", "/site/..%2fserver.py", "/site//etc/passwd"):
        assert httpx.get(url + path).status_code == 404
    index = httpx.get(url + "/")
    assert index.status_code == 200
    assert "default-src 'self'" in index.headers["content-security-policy"]


def test_a_taken_port_is_named_and_another_is_offered(ui: WebUI) -> None:
    with pytest.raises(PortInUseError, match=rf"port {ui.port} .* port=\d+ \(--port \d+\)"):
        WebUI(port=ui.port).start()


def test_a_second_environment_cannot_take_the_seat(ui: WebUI, training: Training) -> None:
    other = cogment_lab.make("CartPole-v1", store=None, teacher=ui.seat("teacher"))
    with pytest.raises(SeatTakenError, match="CartPole-v1 in process"):
        other.reset()


def test_a_closed_environment_frees_its_seat(ui: WebUI) -> None:
    for _ in range(2):
        env = cogment_lab.make("CartPole-v1", store=None, teacher=ui.seat("teacher"))
        env.reset()
        env.close()


def test_a_seat_works_in_another_process(ui: WebUI) -> None:
    seat = ui.seat("teacher", name="faraway")
    code = (
        "import pickle, sys, cogment_lab\n"
        "seat = pickle.loads(bytes.fromhex(sys.argv[1]))\n"
        "env = cogment_lab.make('CartPole-v1', store=None, teacher=seat, max_episode_steps=40)\n"
        "env.reset(seed=1)\n"
        "while True:\n"
        "    info = env.step(0)[4]\n"
        "    if info['is_intervention']: break\n"
        "    if env.trial.tick.terminated or env.trial.tick.truncated: env.reset()\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code, pickle.dumps(seat).hex()])
    try:
        tab = Tab(ui, "faraway")
        tab.hear_until(lambda tab: tab.status.get("state") == "running", "the child's trial")
        tab.request("take")
        assert child.wait(DEADLINE) == 0
        tab.hear_until(lambda tab: tab.status["state"] == "lost", "the page knows that the process is gone")
        tab.close()
    finally:
        child.kill()
        child.wait(DEADLINE)


def test_the_server_ends_with_its_owner_even_when_that_is_killed() -> None:
    code = (
        "import sys, time; from cogment_lab.humans import WebUI; ui = WebUI(port=0); ui.start();"
        "print(ui._process.pid, flush=True); time.sleep(60)"
    )
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    server = int(owner.stdout.readline())
    owner.send_signal(signal.SIGKILL)
    owner.wait(DEADLINE)
    owner.stdout.close()

    def is_gone() -> bool:
        try:
            os.kill(server, 0)
        except ProcessLookupError:
            return True
        with open(f"/proc/{server}/stat", encoding="utf-8") as stat:
            return stat.read().split(")")[1].split()[0] == "Z"

    eventually(is_gone, "the server's end")


def test_a_dead_server_leaves_the_agent_flying(caplog: pytest.LogCaptureFixture) -> None:
    with WebUI(port=0) as ui, contextlib.closing(Training(teacher=ui.seat("teacher"))) as training:
        tab = Tab(ui, "teacher")
        tab.request("take")
        eventually(lambda: training.env.trial.phase is Phase.CORRECTING, "correcting")
        assert ui._process is not None
        ui._process.kill()
        eventually(lambda: training.env.trial.phase is Phase.AUTONOMOUS, "the agent flies", 1.5)
        ticks = training.env.trial.all_ticks
        eventually(lambda: training.env.trial.all_ticks > ticks + 500, "full speed")
    assert not any(thread.name.startswith("cogment") for thread in threading.enumerate())


def test_a_player_is_counted_in_and_asked_what_to_keep(ui: WebUI) -> None:
    answers = iter(["redo", "keep"])
    done: list[list[str]] = []

    def collect() -> None:
        player = ui.seat("player", name="pilot")
        done.append(
            cogment_lab.collect(
                "CartPole-v1", player, 1, store="demos.db", countdown=1, max_episode_steps=8, fps=100
            )
        )

    thread = threading.Thread(target=collect)
    thread.start()
    try:
        eventually(lambda: "pilot" in [seat["name"] for seat in seats(ui)], "the seat")
        tab = Tab(ui, "pilot")
        tab.hear_until(lambda tab: tab.status.get("countdown") == 1, "the countdown")
        for answer in answers:
            tab.send(type="keys", held=["ArrowLeft"], t=1.0)

            def question(tab: Tab) -> Any:
                tab.send(type="keys", held=["ArrowLeft"], t=1.0)
                return tab.status.get("question")

            tab.hear_until(question, "the question")
            asked = tab.status["question"]
            assert asked["choices"] == ["keep", "discard", "redo"]
            tab.send(type="answer", id=asked["id"], choice=answer)
            tab.hear_until(
                lambda tab, asked=asked: tab.status.get("question") != asked or done, "the next trial"
            )
    finally:
        thread.join(DEADLINE)
    assert len(done[0]) == 1
    with cogment_lab.TrialStore("demos.db") as store:
        assert [info.trial_id for info in store.trials()] == done[0]
    tab.close()


def seats(ui: WebUI) -> Any:
    headers = {"Authorization": f"Bearer {ui.token}"}
    return httpx.get(f"http://127.0.0.1:{ui.port}/api/seats", headers=headers).json()


def test_a_turn_based_environment_waits_for_a_key(ui: WebUI) -> None:
    env = cogment_lab.make("FrozenLake-v1", store=None, teacher=ui.seat("teacher", name="turns"))
    env.reset(seed=1)
    tab = Tab(ui, "turns")
    infos: list[dict[str, Any]] = []

    def play() -> None:
        for _ in range(1000):
            _, _, terminated, truncated, info = env.step(0)
            infos.append(info)
            if info["is_intervention"]:
                return
            if terminated or truncated:
                env.reset()

    thread = threading.Thread(target=play)
    thread.start()
    tab.request("take")
    eventually(lambda: env.trial.phase is Phase.CORRECTING, "correcting")
    assert thread.is_alive(), "the trial waits"
    tab.send(type="keys", held=["ArrowRight"], t=1.0)
    thread.join(DEADLINE)
    assert infos[-1]["executed_action"] == 2
    tab.close()
    env.close()


def test_an_environment_without_pictures_shows_a_table_and_the_remedy(ui: WebUI) -> None:
    seat = ui.seat("teacher", name="blind")
    with pytest.warns(UserWarning, match="rgb_array"):
        training = Training(teacher=seat, render_mode=None)
    with contextlib.closing(training):
        tab = Tab(ui, "blind")
        tab.hear_until(lambda tab: tab.status.get("observation"), "the table")
        assert tab.status["renderable"] is False
        assert tab.status["remedy"] == 'cogment_lab.make("CartPole-v1", render_mode="rgb_array")'
        assert len(tab.status["observation"]) == 4
        tab.close()


def test_a_record_that_stopped_is_shown_and_training_goes_on(ui: WebUI) -> None:
    seat = ui.seat("teacher", name="fullseat")
    with (
        cogment_lab.TrialStore("small.db", max_gb=1e-4) as store,
        contextlib.closing(Training(teacher=seat, store=store)) as training,
    ):
        eventually(lambda: training.env.trial.recording_failure, "the store is full")
        tab = Tab(ui, "fullseat")
        tab.hear_until(lambda tab: tab.status.get("store_status"), "the page knows")
        assert "recording stopped" in tab.status["store_status"]
        ticks = training.env.trial.all_ticks
        eventually(lambda: training.env.trial.all_ticks > ticks, "training goes on")
        tab.close()


@pytest.mark.parametrize("wrong", [{"role": "pilot"}, {"role": "teacher", "name": "../up"}])
def test_wrong_seats_are_refused(ui: WebUI, wrong: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError):
        ui.seat(**wrong)


@pytest.mark.parametrize("wrong", [{"port": 99999}, {"token": "short"}])
def test_wrong_pages_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        WebUI(**wrong)
