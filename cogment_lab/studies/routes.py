"""What a study's server answers: the participant's page, and what it asks for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Header, HTTPException, Query, Request, Response
from fastapi.responses import FileResponse, JSONResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, ConfigDict, Field

from cogment_lab.errors import AnswerErrors, UnknownParticipantError, WrongStepError
from cogment_lab.humans.web.access import Access
from cogment_lab.studies.content import content_of, preflight_problems
from cogment_lab.studies.definition import Study
from cogment_lab.studies.desk import Desk
from cogment_lab.studies.doorkeeper import Doorkeeper
from cogment_lab.studies.ledger import Participant
from cogment_lab.studies.sessions import Sessions
from cogment_lab.studies.withdrawal import Departures

__all__ = ["make_router"]

_SITE = Path(__file__).parent / "site"
_STORAGE = Path(__file__).parent.parent / "humans" / "web" / "site" / "storage.js"  # as at the seats
_LONGEST_ID = 200
_LONGEST_ANSWERS = 64 * 1024
_SUBMITTED = frozenset({"consent", "preflight", "instructions", "questionnaire"})
_STAYING = frozenset({"active", "abandoned"})  # who left before may still ask for deletion
_PLAYED = frozenset({"practice", "trials"})
_CROWDED = "many people join just now"
_NO_TOKEN = "this link is not (or no longer) valid: ask for a new one"
_Authorization = Annotated[str, Header(max_length=400)]


class _Join(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id: Annotated[str, Field(min_length=1, max_length=_LONGEST_ID)] | None = None


class _Submission(BaseModel):
    model_config = ConfigDict(extra="forbid")

    answers: dict[str, Any] | None = None


class _Leave(BaseModel):
    model_config = ConfigDict(extra="forbid")

    delete: bool


def make_router(
    study: Study,
    desk: Desk,
    sessions: Sessions,
    *,
    doorkeeper: Doorkeeper,
    departures: Departures,
    access: Access,
) -> APIRouter:
    """Return the routes of a study.

    Args:
        study: Its definition.
        desk: Knows the participants.
        sessions: Where the trials are played.
        doorkeeper: The way in.
        departures: The way out.
        access: Makes the token of a participant's seat.
    """
    router = APIRouter()

    async def who(authorization: str) -> Participant:
        try:
            return await desk.by_token(authorization.removeprefix("Bearer "))
        except UnknownParticipantError:
            raise HTTPException(401, _NO_TOKEN) from None

    def describe(person: Participant) -> dict[str, Any]:
        session = sessions.describe(person.pseudonym) if person.step in _PLAYED else None
        if session is not None and session["state"] == "running":
            session = {**session, "token": access.seat_token(session["seat"])}
        return {
            "title": study.title,
            "participant": person.pseudonym,
            "status": person.status,
            "step": person.step,
            "steps": list(study.steps),
            "content": content_of(study, person),
            "idle_timeout": study.idle_timeout,
            "session": session,
        }

    @router.get("/")
    async def root() -> RedirectResponse:
        return RedirectResponse("./study")

    @router.get("/study")
    async def page() -> FileResponse:
        return FileResponse(_SITE / "study.html")

    @router.get("/study/api/ping")
    async def ping() -> Response:
        return Response(status_code=204)

    @router.post("/study/api/join")
    async def join(wish: _Join, request: Request) -> Response:
        seconds = doorkeeper.admit(request.client.host if request.client is not None else "")
        if seconds:
            content = {"error": _CROWDED, "retry_after": seconds}
            return JSONResponse(content, 429, headers={"Retry-After": str(seconds)})
        _, token = await desk.join(wish.id)
        return JSONResponse({"token": token})

    @router.get("/study/api/state")
    async def state(
        authorization: _Authorization = "", idle: Annotated[float, Query(ge=0, le=1e9)] = 0.0
    ) -> dict[str, Any]:
        person = await who(authorization)
        sessions.hear(person.pseudonym, idle)
        return describe(person)

    @router.post("/study/api/steps/{step}")
    async def submit(step: str, given: _Submission, authorization: _Authorization = "") -> Response:
        person = await who(authorization)
        if step not in _SUBMITTED or step not in study.steps:
            return JSONResponse({"error": f"step {step[:40]!r} is nothing to submit"}, 409)
        if len(json.dumps(given.answers)) > _LONGEST_ANSWERS:
            return JSONResponse({"error": f"answers of at most {_LONGEST_ANSWERS} bytes, please"}, 413)
        if step == "preflight" and person.step == step:
            problems = preflight_problems(study.preflight, given.answers or {})
            if problems:
                return JSONResponse({"error": "this check is not passed yet", "problems": problems}, 422)
        try:
            await desk.advance(person, step, given.answers)
        except AnswerErrors as error:
            return JSONResponse({"error": str(error), "problems": error.problems}, 422)
        except WrongStepError as error:
            return JSONResponse({"error": str(error), "state": describe(await who(authorization))}, 409)
        return JSONResponse(describe(await who(authorization)))

    @router.post("/study/api/session")
    async def begin(authorization: _Authorization = "") -> Response:
        person = await who(authorization)
        if person.step not in _PLAYED or person.status != "active":
            return JSONResponse({"error": "there are no trials to do now", "state": describe(person)}, 409)
        sessions.ask(person)
        return JSONResponse(describe(person))

    @router.post("/study/api/leave")
    async def leave(wish: _Leave, authorization: _Authorization = "") -> Response:
        person = await who(authorization)
        if person.status not in _STAYING:
            return JSONResponse({"error": "there is nothing to leave now", "state": describe(person)}, 409)
        await departures.leave(person, delete=wish.delete)
        return JSONResponse(describe(await who(authorization)))

    @router.get("/study/site/storage.js")
    async def storage() -> FileResponse:
        return FileResponse(_STORAGE)

    router.mount("/study/site", StaticFiles(directory=_SITE), name="study-site")
    return router
