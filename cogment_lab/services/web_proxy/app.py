"""The HTTP API (protocol section 12b)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import FastAPI, Header, Path, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from cogment_lab._version import __version__
from cogment_lab.errors import (
    CogmentLabError,
    ConfigurationError,
    ServiceTimeoutError,
    ServiceUnreachableError,
    TrialStateError,
)
from cogment_lab.services.web_proxy.actors import Actor, Actors, Event
from cogment_lab.services.web_proxy.messages import Messages
from cogment_lab.services.web_proxy.settings import WebProxySettings
from cogment_lab.services.web_proxy.tokens import make_token, verify_token
from cogment_lab.services.web_proxy.trials import TrialRequest, trial_parameters
from cogment_lab.trial.states import TrialState
from cogment_lab.wire.actor import ActorSession
from cogment_lab.wire.controller import Controller
from cogment_lab.wire.settings import Settings

__all__ = ["make_app"]

_TOKEN = "Cogment-Actor-Trial-Token"
_THIS_MACHINE = r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?"
_STATUS = {
    ConfigurationError: 400,
    TrialStateError: 409,
    ServiceUnreachableError: 503,
    ServiceTimeoutError: 504,
    CogmentLabError: 502,
}
_Name = Annotated[str, Path(max_length=1000)]
_Tick = Annotated[int, Path(ge=0)]
_Token = Annotated[str, Header(alias=_TOKEN)]


class _Reward(BaseModel):
    receiver: str
    value: float
    confidence: Annotated[float, Field(ge=0, le=1)] = 1.0
    tick_id: int = -1


class _Act(BaseModel):
    model_config = ConfigDict(extra="forbid")

    action: dict[str, Any] | None = None
    rewards: list[_Reward] = []


def make_app(
    settings: WebProxySettings,
    secret: bytes,
    spec: Settings,
    actors: Actors,
    controller: Callable[[], Awaitable[Controller]],
) -> FastAPI:
    """Return the application.

    Args:
        settings: Those of the proxy.
        secret: Signs tokens.
        spec: The application's messages.
        actors: The actors that requests play.
        controller: Finds the orchestrator.
    """
    app = FastAPI(
        title="Cogment Web Proxy",
        description="Play actors of trials, start and list trials, as JSON over HTTP.",
        version=__version__,
        docs_url=None,  # they load scripts from elsewhere
        redoc_url=None,
    )
    app.add_middleware(
        CORSMiddleware,
        allow_origins=list(settings.origins),
        allow_origin_regex=_THIS_MACHINE,
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=[_TOKEN, "Content-Type"],
    )
    _add_errors(app)
    _add_controller(app, spec, controller)
    _add_actors(app, settings, secret, spec, actors)

    @app.get("/")
    async def information() -> dict[str, str]:
        """Return what this is."""
        return {"message": "This is the Cogment Web Proxy", "version": __version__, "version_hash": ""}

    @app.get("/healthz")
    async def health() -> dict[str, str]:
        """Return that it runs."""
        return {"message": "ok"}

    return app


def _add_errors(app: FastAPI) -> None:
    async def ours(_: Request, error: Exception) -> JSONResponse:
        status = next(_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS)
        return JSONResponse({"message": str(error)}, status)

    async def http(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        return JSONResponse({"message": str(error.detail)}, error.status_code, error.headers)

    async def malformed(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        is_token = any(part["loc"] == ("header", _TOKEN) for part in error.errors())
        text = "; ".join(f"{'.'.join(map(str, part['loc']))}: {part['msg']}" for part in error.errors())
        return JSONResponse({"message": text}, 401 if is_token else 400)

    app.add_exception_handler(CogmentLabError, ours)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, malformed)


def _add_controller(app: FastAPI, spec: Settings, controller: Callable[[], Awaitable[Controller]]) -> None:
    messages = Messages(spec)

    @app.get("/controller/trials")
    async def list_trials() -> list[dict[str, Any]]:
        """Return the trials that have not ended."""
        return [
            {
                "trial_id": info.trial_id,
                "env_name": info.env_name,
                "state": int(info.state),
                "properties": dict(info.properties or {}),
            }
            for info in await (await controller()).get_trial_info([])
            if info.state is not TrialState.ENDED
        ]

    @app.post("/controller/trials", status_code=202)
    async def start_trial(request: TrialRequest) -> dict[str, str]:
        """Start a trial; its endpoints are ``cogment://`` ones."""
        parameters = trial_parameters(request, spec, messages)
        trial_id = await (await controller()).start_trial(
            trial_id_requested=request.trial_id or None, trial_params=parameters
        )
        if not trial_id:
            raise TrialStateError(f"there is a trial {request.trial_id!r} already")
        return {"message": f"Trial [{trial_id}] started", "trial_id": trial_id}


def _add_actors(
    app: FastAPI, settings: WebProxySettings, secret: bytes, spec: Settings, actors: Actors
) -> None:
    messages = Messages(spec)

    def joined(trial_id: str, actor_name: str, token: str) -> Actor:
        if not verify_token(token, trial_id, actor_name, secret):
            raise HTTPException(401, f"the token of {_TOKEN} is not that of {actor_name!r} in {trial_id!r}")
        actor = actors.get(trial_id, actor_name)
        if actor is None:
            raise HTTPException(
                404, f"nobody joined trial {trial_id!r} as {actor_name!r}, or it is long over"
            )
        return actor

    def as_json(event: Event) -> dict[str, Any]:
        return {
            "tick_id": str(event.tick_id),
            "observation": messages.to_json(event.observation),
            "rewards": [messages.reward(reward) for reward in event.rewards],
            "messages": [messages.message(message) for message in event.messages],
            "is_last": event.is_last,
        }

    @app.post("/actor/{actor_name}/{trial_id}")
    async def join(actor_name: _Name, trial_id: _Name) -> dict[str, Any]:
        """Join a trial, now or when it begins, and return the first observation and the actor's token."""
        actor, event = await actors.join(trial_id, actor_name, settings.wait_seconds)
        session = actor.session
        assert session is not None
        is_over = event.observation is None
        return {
            "message": f"Trial [{trial_id}] ended"
            if is_over
            else f"Actor [{actor_name}] joined trial [{trial_id}]",
            "token": make_token(trial_id, actor_name, secret),
            "trial_id": trial_id,
            "actor_name": actor_name,
            "actor_class": session.class_name,
            "actor_implementation": session.impl_name,
            "actor_config": messages.to_json(session.config),
            **as_json(event),
        }

    @app.delete("/actor/{actor_name}/{trial_id}", status_code=202)
    async def leave(actor_name: _Name, trial_id: _Name, token: _Token) -> dict[str, str]:
        """Leave a trial."""
        await joined(trial_id, actor_name, token).leave()
        return {"message": f"Actor [{actor_name}] left trial [{trial_id}]"}

    async def answer(actor: Actor, tick_id: int, act: _Act) -> dict[str, Any]:
        assert actor.session is not None
        kind = spec.actor_classes[actor.session.class_name].action_space
        action = messages.from_json(act.action, kind, "action")

        def send(session: ActorSession, expects_action: bool) -> None:
            for reward in act.rewards:
                session.add_reward(reward.value, reward.confidence, [reward.receiver], reward.tick_id)
            if expects_action:
                session.do_action(action)

        event = await actor.act(tick_id, send, settings.wait_seconds)
        done = "ended" if event.observation is None else f"goes on after tick [{tick_id}]"
        return {
            "message": f"Trial [{actor.trial_id}] {done}",
            "action": messages.to_json(action),
            **as_json(event),
        }

    @app.post("/actor/{actor_name}/{trial_id}/{tick_id}")
    async def act(
        actor_name: _Name, trial_id: _Name, tick_id: _Tick, token: _Token, body: _Act
    ) -> dict[str, Any]:
        """Answer an observation with an action and rewards, and return the next event."""
        return await answer(joined(trial_id, actor_name, token), tick_id, body)

    @app.get("/actor/{actor_name}/{trial_id}/{tick_id}")
    async def act_with_default(
        actor_name: _Name, trial_id: _Name, tick_id: _Tick, token: _Token
    ) -> dict[str, Any]:
        """Answer an observation with an empty action, and return the next event."""
        return await answer(joined(trial_id, actor_name, token), tick_id, _Act())
