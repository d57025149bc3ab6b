"""The web proxy: actors and trials over HTTP, with the messages of a spec file."""

import asyncio
import contextlib
import textwrap
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.message_factory import GetMessageClass

import cogment_lab.wire as cogment
from cogment_lab.errors import ConfigurationError, PortInUseError, ServiceUnreachableError
from cogment_lab.services.orchestrator import Orchestrator, OrchestratorSettings
from cogment_lab.services.web_proxy import WebProxy, WebProxySettings
from cogment_lab.services.web_proxy.spec import load_spec
from cogment_lab.services.web_proxy.tokens import make_token, verify_token
from cogment_lab.wire.directory import DirectoryClient, resolve
from cogment_lab.wire.endpoint import ServiceType
from cogment_lab.wire.settings import LAB_SETTINGS

PROTO = """
    syntax = "proto3";
    package game;
    message View { int64 big_number = 1; repeated float pixels = 2; string comment = 3; }
    message Move { int32 steps = 1; }
    message Rules { string name = 1; }
    message Praise { string words = 1; }
"""
SPEC = """
    import:
      proto: [game.proto]
    environment: {config_type: game.Rules}
    actor_classes:
      - name: walker
        action: {space: game.Move}
        observation: {space: game.View}
        config_type: game.Rules
"""


@pytest.fixture
def spec_file(tmp_path: Path) -> Path:
    (tmp_path / "game.proto").write_text(textwrap.dedent(PROTO))
    path = tmp_path / "cogment.yaml"
    path.write_text(textwrap.dedent(SPEC))
    return path


class World:
    """An orchestrator with its directory, an environment that counts steps, and the proxy."""

    def __init__(self, proxy: WebProxy, http: httpx.AsyncClient, orchestrator: Orchestrator) -> None:
        self.proxy = proxy
        self.http = http
        self.orchestrator = orchestrator
        self.actions: list[int] = []
        self.config: Any = None

    async def environment(self, session: Any) -> None:
        """Play two ticks: the sum of the steps so far is observed, and praised."""
        spec = load_spec(self.proxy.settings.spec_file)
        view = spec.actor_classes["walker"].observation_space
        praise = GetMessageClass(view.DESCRIPTOR.file.pool.FindMessageTypeByName("game.Praise"))
        self.config = session.config
        session.start([("*", view(big_number=2**40, comment="go"))])
        async for event in session.all_events():
            if event.actions:
                self.actions.append(event.actions[0].action.steps)
                session.add_reward(0.5, 1.0, ["*"], user_data=praise(words="well done"))
                session.send_message(praise(words="keep on"), ["*"])
                observation = [("*", view(big_number=sum(self.actions)))]
                if event.type is cogment.EventType.ACTIVE and len(self.actions) < 2:
                    session.produce_observations(observation)
                else:
                    session.end(observation)

    async def start(self, **more: Any) -> str:
        """Start a trial and return its id."""
        actor = {"name": "ann", "actor_class": "walker", "implementation": "web", "config": {"name": "a"}}
        request = {
            "environment": {"implementation": "count", "config": {"name": "rules"}},
            "actors": [actor],
            **more,
        }
        reply = await self.http.post("/controller/trials", json=request)
        assert reply.status_code == 202, reply.text
        return str(reply.json()["trial_id"])

    async def join(self, trial_id: str) -> tuple[dict[str, Any], dict[str, str]]:
        """Join as ann; return the reply and the headers for what follows."""
        reply = await self.http.post(f"/actor/ann/{trial_id}")
        assert reply.status_code == 200, reply.text
        return reply.json(), {"Cogment-Actor-Trial-Token": reply.json()["token"]}

    async def act(self, trial_id: str, tick: int, token: dict[str, str], **body: Any) -> httpx.Response:
        """Act as ann."""
        return await self.http.post(f"/actor/ann/{trial_id}/{tick}", headers=token, json=body)


async def is_found(url: str, port: int) -> None:
    """Wait until the directory knows the environment of ``url``."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        while True:
            with contextlib.suppress(ServiceUnreachableError):
                await resolve(url, DirectoryClient(channel), ServiceType.ENVIRONMENT)
                return
            await asyncio.sleep(0.01)


def in_world(scenario: Any, spec_file: Path, **settings: Any) -> None:
    async def run() -> None:
        async with asyncio.timeout(60), contextlib.AsyncExitStack() as ends:
            orchestrator = Orchestrator(OrchestratorSettings(lifecycle_port=0, actor_port=0))
            await orchestrator.start()
            ends.push_async_callback(orchestrator.stop, 0.2)
            endpoint = f"grpc://127.0.0.1:{orchestrator.port}"
            proxy = WebProxy(
                WebProxySettings(
                    web_port=0,
                    orchestrator_endpoint=endpoint,
                    directory_endpoint=endpoint,
                    spec_file=spec_file,
                    **settings,
                )
            )
            base = f"http://127.0.0.1:{await proxy.start()}"
            ends.push_async_callback(proxy.stop, 0.2)
            http = await ends.enter_async_context(
                httpx.AsyncClient(base_url=base, timeout=30, trust_env=False)
            )
            world = World(proxy, http, orchestrator)
            context = cogment.Context(
                "tester", load_spec(spec_file), directory_endpoint=cogment.Endpoint(endpoint)
            )
            context.register_environment(world.environment, "count")
            serving = asyncio.create_task(context.serve_all_registered(grace=0.2))
            ends.push_async_callback(context.close)
            ends.push_async_callback(asyncio.wait, {serving})
            ends.callback(serving.cancel)
            await is_found("cogment://discover?__implementation=count", orchestrator.port)
            await scenario(world)

    asyncio.run(run())


def test_a_whole_trial_is_played(spec_file: Path) -> None:
    async def scenario(world: World) -> None:
        trial_id = await world.start(trial_id="t1", properties={"kind": "x"})
        first, token = await world.join(trial_id)
        assert first["observation"] == {"bigNumber": str(2**40), "pixels": [], "comment": "go"}
        assert first["actor_class"] == "walker"
        assert first["actor_config"] == {"name": "a"}
        assert first["tick_id"] == "0"
        assert world.config.name == "rules"
        (listed,) = (await world.http.get("/controller/trials")).json()
        assert listed == {"trial_id": "t1", "env_name": "env", "state": 3, "properties": {"kind": "x"}}

        reward = {"receiver": "ann", "value": 2.5}
        second = (await world.act(trial_id, 0, token, action={"steps": 3}, rewards=[reward])).json()
        assert second["observation"]["bigNumber"] == "3"
        assert second["action"] == {"steps": 3}
        assert not second["is_last"]
        (received,) = second["rewards"]
        assert received["value"] == 1.5
        user_data = {"@type": "type.googleapis.com/game.Praise", "words": "well done"}
        by_env = {"sender": "env", "value": 0.5, "confidence": 1.0, "user_data": user_data}
        by_ann = {"sender": "ann", "value": 2.5, "confidence": 1.0, "user_data": None}
        assert sorted(received["sources"], key=lambda source: source["value"]) == [by_env, by_ann]
        assert second["messages"][0]["payload"]["words"] == "keep on"

        third = (await world.act(trial_id, 1, token, action={"steps": 4})).json()
        assert third["observation"]["bigNumber"] == "7"
        assert third["is_last"]
        reward["value"] = 4.0
        over = (await world.act(trial_id, 2, token, rewards=[reward])).json()
        assert over["message"] == "Trial [t1] ended"
        assert over["observation"] is None
        assert over["tick_id"] == "3"
        assert world.actions == [3, 4]
        assert over["rewards"][0]["value"] == 4.0
        assert (await world.http.get("/controller/trials")).json() == []

    in_world(scenario, spec_file)


def test_a_request_may_be_repeated(spec_file: Path) -> None:
    async def scenario(world: World) -> None:
        trial_id = await world.start()
        _, token = await world.join(trial_id)
        again, _ = await world.join(trial_id)
        assert again["tick_id"] == "0"
        replies = [(await world.act(trial_id, 0, token, action={"steps": 3})).json() for _ in range(2)]
        assert replies[0] == replies[1]
        last = (await world.http.get(f"/actor/ann/{trial_id}/1", headers=token)).json()
        assert last["is_last"]
        assert world.actions == [3, 0]

    in_world(scenario, spec_file)


def test_an_actor_may_join_before_the_trial_starts(spec_file: Path) -> None:
    async def scenario(world: World) -> None:
        joining = asyncio.create_task(world.join("later"))
        await world.start(trial_id="later")
        first, _ = await joining
        assert first["observation"]["comment"] == "go"

    in_world(scenario, spec_file)


def test_a_trial_that_never_starts_is_told_in_time(spec_file: Path) -> None:
    async def scenario(world: World) -> None:
        reply = await world.http.post("/actor/ann/never")
        assert reply.status_code == 504
        assert "ask again" in reply.json()["message"]

    in_world(scenario, spec_file, wait_seconds=0.2)


def test_an_end_waits_for_the_last_word_in_vain_only_briefly(spec_file: Path) -> None:
    async def scenario(world: World) -> None:
        trial_id = await world.start()
        _, token = await world.join(trial_id)
        for tick in range(2):
            reply = await world.act(trial_id, tick, token, action={"steps": 1})
        assert reply.json()["is_last"]
        while (await world.http.get("/controller/trials")).json():
            pass
        assert (await world.act(trial_id, 2, token)).json()["tick_id"] == "3"

    in_world(scenario, spec_file, last_word_seconds=0.1)


def test_who_leaves_is_gone(spec_file: Path) -> None:
    async def scenario(world: World) -> None:
        trial_id = await world.start()
        _, token = await world.join(trial_id)
        reply = await world.http.delete(f"/actor/ann/{trial_id}", headers=token)
        assert reply.status_code == 202
        reply = await world.act(trial_id, 0, token, action={"steps": 1})
        assert reply.status_code == 409
        assert "left" in reply.json()["message"]
        while (await world.http.get("/controller/trials")).json():
            pass

    in_world(scenario, spec_file)


def test_requests_that_make_no_sense_are_refused(spec_file: Path) -> None:
    async def scenario(world: World) -> None:
        trial_id = await world.start()
        _, token = await world.join(trial_id)

        async def status(tick: int = 0, header: dict[str, str] = token, **body: Any) -> int:
            reply = await world.act(trial_id, tick, header, **body)
            assert set(reply.json()) == {"message"}
            return reply.status_code

        assert await status(header={}) == 401
        assert await status(header={"Cogment-Actor-Trial-Token": "a.b.c"}) == 401
        stranger = {"Cogment-Actor-Trial-Token": make_token(trial_id, "ann", b"another secret")}
        assert await status(header=stranger) == 401
        assert await status(tick=5) == 409
        assert await status(action={"steps": "many"}) == 400
        assert await status(nonsense=1) == 400
        assert await status(rewards=[{"receiver": "env", "value": 1, "confidence": 2}]) == 400
        assert world.actions == []

        async def start(**more: Any) -> int:
            reply = await world.http.post("/controller/trials", json=more)
            return reply.status_code

        actor = {"name": "ann", "actor_class": "walker"}
        assert await start(actors=[]) == 400
        assert await start(actors=[{"name": "ann", "actor_class": "flyer"}]) == 400
        assert await start(actors=[{**actor, "endpoint": "grpc://elsewhere:1"}]) == 400
        assert await start(actors=[actor], environment={"endpoint": "grpc://elsewhere:1"}) == 400
        assert await start(actors=[actor], environment={"config": {"nome": "x"}}) == 400
        assert await start(actors=[actor], trial_id=trial_id) == 409
        assert (await world.http.get("/nothing")).json() == {"message": "Not Found"}

    in_world(scenario, spec_file)


def test_pages_of_strangers_are_not_answered(spec_file: Path) -> None:
    async def scenario(world: World) -> None:
        async def allowed(origin: str) -> bool:
            reply = await world.http.get("/healthz", headers={"Origin": origin})
            return "access-control-allow-origin" in reply.headers

        assert await allowed("http://localhost:3000")
        assert await allowed("https://game.example")
        assert not await allowed("https://other.example")
        paths = (await world.http.get("/openapi.json")).json()["paths"]
        assert set(paths["/actor/{actor_name}/{trial_id}"]) == {"post", "delete"}
        assert "Cogment Web Proxy" in (await world.http.get("/")).json()["message"]

    in_world(scenario, spec_file, origins=("https://game.example",))


def test_the_end_of_the_proxy_answers_those_who_wait(spec_file: Path) -> None:
    async def scenario(world: World) -> None:
        waiting = asyncio.create_task(world.http.post("/actor/ann/never"))
        while world.proxy._actors.get("never", "ann") is None:
            await asyncio.sleep(0.01)
        await world.proxy.stop(0.5)
        assert (await waiting).status_code == 409

    in_world(scenario, spec_file)


def test_a_taken_port_is_named() -> None:
    async def run() -> None:
        first = WebProxy(WebProxySettings(web_port=0))
        port = await first.start()
        with pytest.raises(PortInUseError, match=str(port)):
            await WebProxy(WebProxySettings(web_port=port)).start()
        await first.stop(0.1)

    asyncio.run(run())


def test_without_a_spec_file_the_messages_are_cogment_labs() -> None:
    assert load_spec(None) is LAB_SETTINGS


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("import: {proto: [missing.proto]}", "missing.proto"),
        ("import: {proto: [game.proto]}\nactor_classes: [{name: x}]", "action.space"),
        ("import: {proto: [game.proto]}\ntrial: {config_type: game.Nothing}", "game.Nothing"),
        ("just text", "import.proto"),
        ("a: [", "cannot read"),
    ],
)
def test_a_wrong_spec_file_says_what_is_wrong(spec: str, says: str, spec_file: Path) -> None:
    spec_file.write_text(spec)
    with pytest.raises(ConfigurationError, match=says):
        load_spec(spec_file)


def test_tokens_cannot_be_made_up() -> None:
    token = make_token("t", "ann", b"secret")
    assert verify_token(token, "t", "ann", b"secret")
    assert not verify_token(token, "t", "bob", b"secret")
    assert not verify_token(token, "t", "ann", b"other")
    header, claims, signature = token.split(".")
    for wrong in ("", "..", f"{header}.{claims}.", f"{claims}.{header}.{signature}", token + "é"):
        assert not verify_token(wrong, "t", "ann", b"secret")
