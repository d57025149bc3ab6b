"""The routes of the trials page and the comparison page."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Header, HTTPException, Query, Response
from fastapi.responses import FileResponse, JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from cogment_lab.errors import AnnotationError, CogmentLabError, ConfigurationError, TrialNotFoundError
from cogment_lab.humans.web.lookback.comparing import Comparing
from cogment_lab.humans.web.lookback.download import download
from cogment_lab.humans.web.lookback.films import Films
from cogment_lab.humans.web.lookback.reading import Filter, list_trials, plain, show_labels, show_trial
from cogment_lab.store import Label, LabelKind, TrialStore

if TYPE_CHECKING:
    from cogment_lab.humans.web.page_config import PageConfig

__all__ = ["COMPARE_PURPOSE", "make_router"]

COMPARE_PURPOSE = "compare"
"""What a link that opens the comparison page alone is for; see ``Access.token_for``."""

_SITE = Path(__file__).parent.parent / "site"
_NO_TOKEN = "this link is not (or no longer) valid: ask for a new one"
_Id = Annotated[str, Query(max_length=400)]
_Natural = Annotated[int, Field(ge=0, le=2**53)]
_Number = Annotated[int, Query(ge=0, le=2**53)]


class _NewLabel(BaseModel):
    model_config = ConfigDict(extra="forbid")

    trial: str
    kind: LabelKind
    value: Any
    start: int
    stop: int
    agent: str | None = None
    annotator: str = ""


class _OldLabel(BaseModel):
    model_config = ConfigDict(extra="forbid")

    label: _Natural
    version: _Natural
    annotator: str = ""


class _ChangedLabel(_OldLabel):
    value: Any


class _NewAnswer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    queue: str
    query: _Natural
    choice: str
    annotator: str
    seconds: float | None = None


class _Undo(BaseModel):
    model_config = ConfigDict(extra="forbid")

    queue: str
    annotator: str


def make_router(store_path: Path, config: PageConfig) -> APIRouter:
    """Return the routes; everything but the pages themselves asks for the page's token.

    A token for :data:`COMPARE_PURPOSE` opens the comparison alone.

    Args:
        store_path: The store; it may come to be later.
        config: Of the page.
    """
    store = TrialStore(store_path)
    films = Films(store)
    comparing = Comparing(store)

    def everything(authorization: Annotated[str, Header()] = "") -> None:
        if not config.allows_token(authorization.removeprefix("Bearer ")):
            raise HTTPException(401, _NO_TOKEN)

    def comparison(authorization: Annotated[str, Header()] = "") -> None:
        token = authorization.removeprefix("Bearer ")
        if not (config.allows_token(token) or config.access.is_token_for(COMPARE_PURPOSE, token)):
            raise HTTPException(401, _NO_TOKEN)

    @contextlib.asynccontextmanager
    async def lifespan(app: object) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(films.close)
        await run_in_threadpool(store.close)

    pages = APIRouter(lifespan=lifespan)
    trials = APIRouter(prefix="/api", dependencies=[Depends(everything)])
    clips = APIRouter(prefix="/api/compare", dependencies=[Depends(comparison)])

    @pages.get("/trials")
    async def trials_page() -> FileResponse:
        return FileResponse(_SITE / "trials.html")

    @pages.get("/compare")
    async def compare_page() -> FileResponse:
        return FileResponse(_SITE / "compare.html")

    @trials.get("/trials")
    async def trials_list(
        search: _Id = "",
        env: _Id = "",
        state: _Id = "",
        verdict: _Id = "",
        labelled: Annotated[str, Query(pattern="^(yes|no)?$")] = "",
        sort: _Id = "started",
        down: bool = True,
        page: _Number = 0,
    ) -> Response:
        wanted = Filter(search, env, state, verdict, labelled)
        return await _json(list_trials, store, wanted, sort, down, page)

    @trials.get("/trial")
    async def one_trial(trial: _Id, agent: _Id = "", start: _Number = 0) -> Response:
        return await _json(show_trial, store, trial, agent, start)

    @trials.get("/trial/film")
    async def film_state(trial: _Id, agent: _Id = "", develop: bool = False) -> Response:
        return await _json(films.state, trial, agent, develop)

    @trials.get("/trial/frames")
    async def film_frames(trial: _Id, agent: _Id = "", start: _Number = 0, stop: _Number = 0) -> Response:
        return await _film(films.slice, trial, agent, start, stop)

    @trials.get("/trial/download")
    async def trial_download(
        trial: _Id, kind: Annotated[str, Query(alias="as")], agent: _Id = ""
    ) -> Response:
        def work() -> Response:
            name, media, content = download(store, films, trial, agent, kind)
            headers = {"Content-Disposition": f'attachment; filename="{name}"'}
            return Response(content, media_type=media, headers=headers)

        return await _answer(work)

    @trials.get("/labels")
    async def labels(trial: _Id) -> Response:
        return await _json(show_labels, store, trial)

    @trials.post("/labels")
    async def new_label(label: _NewLabel) -> Response:
        def work() -> Any:
            store.label(
                label.trial,
                label.kind,
                label.value,
                start=label.start,
                stop=label.stop,
                agent=label.agent,
                annotator=label.annotator,
            )
            return show_labels(store, label.trial)

        return await _json(work)

    def as_seen(old: _OldLabel) -> Label:
        label = store.labels.get(old.label)
        if label.version != old.version:
            raise AnnotationError("somebody changed this label meanwhile: look at it again")
        return label

    @trials.post("/labels/change")
    async def change_label(new: _ChangedLabel) -> Response:
        def work() -> Any:
            label = store.labels.change(as_seen(new), new.value, annotator=new.annotator)
            return show_labels(store, label.trial_id)

        return await _json(work)

    @trials.post("/labels/withdraw")
    async def withdraw_label(old: _OldLabel) -> Response:
        def work() -> Any:
            label = as_seen(old)
            store.labels.withdraw(label, annotator=old.annotator)
            return show_labels(store, label.trial_id)

        return await _json(work)

    @clips.get("/queues")
    async def queues() -> Response:
        return await _json(comparing.queues)

    @clips.get("/next")
    async def next_query(queue: _Id, annotator: _Id) -> Response:
        return await _json(comparing.next, queue, annotator)

    @clips.get("/clip")
    async def clip(queue: _Id, query: _Number, annotator: _Id, side: _Id) -> Response:
        return await _film(comparing.film, queue, query, annotator, side)

    @clips.post("/answer")
    async def answer(given: _NewAnswer) -> Response:
        return await _json(
            comparing.answer, given.queue, given.query, given.choice, given.annotator, given.seconds
        )

    @clips.post("/undo")
    async def undo(given: _Undo) -> Response:
        return await _json(comparing.undo, given.queue, given.annotator)

    pages.include_router(trials)
    pages.include_router(clips)
    return pages


async def _json(work: Callable[..., Any], *arguments: Any) -> Response:
    return await _answer(lambda: JSONResponse(plain(work(*arguments))))


async def _film(work: Callable[..., bytes], *arguments: Any) -> Response:
    return await _answer(lambda: Response(work(*arguments), media_type="application/octet-stream"))


async def _answer(work: Callable[[], Response]) -> Response:
    """Let a thread answer; what it refuses becomes a status and a sentence."""
    try:
        return await run_in_threadpool(work)
    except CogmentLabError as error:
        said = str(error.args[0]) if error.args else str(error)
        return JSONResponse({"error": said}, _status(error))


def _status(error: CogmentLabError) -> int:
    if isinstance(error, TrialNotFoundError):
        return 404
    if isinstance(error, AnnotationError):
        return 409
    return 400 if isinstance(error, ConfigurationError) else 500
