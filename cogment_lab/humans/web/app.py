"""What the page's server answers: static files, the lobby, one WebSocket per viewer of a seat."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Header, Request, WebSocket
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles

from cogment_lab.humans.web import lookback
from cogment_lab.humans.web.guard import Guard
from cogment_lab.humans.web.page_config import PageConfig
from cogment_lab.humans.web.rooms import Rooms
from cogment_lab.humans.web.shelf import Shelf
from cogment_lab.humans.web.viewer import Viewer

__all__ = ["PageConfig", "make_app"]

_SITE = Path(__file__).parent / "site"
_PROTOCOL = "cogment_lab.seat.v1"
_LONGEST_CLIENT = 64
_LONGEST_PERSON = 40
_STORE_PAGES = [{"path": "./trials", "title": "Trials"}, {"path": "./compare", "title": "Compare"}]
_NO_TOKEN = "this link is not (or no longer) valid: ask for a new one"


def make_app(config: PageConfig) -> FastAPI:
    """Return the page's application."""
    rooms = Rooms(config.folder)
    shelf = Shelf(config.store)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        rooms.start()
        yield
        await rooms.close()
        await asyncio.to_thread(shelf.close)

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.state.rooms = rooms
    app.add_exception_handler(404, _nothing_here)
    app.add_middleware(Guard, allows_origin=config.allows_origin, headers=tuple(config.headers.items()))

    @app.get("/")
    async def index() -> FileResponse:
        return FileResponse(_SITE / "index.html")

    @app.get("/lobby")
    async def lobby() -> FileResponse:
        return FileResponse(_SITE / "lobby.html")

    def open_seats(authorization: str) -> list[dict[str, Any]] | None:
        """Return the seats that a token opens, ``None`` for a token that opens nothing."""
        grant = config.access.grant(authorization.removeprefix("Bearer "))
        seats = rooms.describe(grant)
        return seats if seats or grant.everything else None

    @app.get("/api/seats")
    async def seats(authorization: str = Header(default="")) -> JSONResponse:
        found = open_seats(authorization)
        return JSONResponse({"error": _NO_TOKEN}, 401) if found is None else JSONResponse(found)

    @app.get("/api/lobby")
    async def lobby_content(authorization: str = Header(default="")) -> JSONResponse:
        found = open_seats(authorization)
        if found is None:
            return JSONResponse({"error": _NO_TOKEN}, 401)
        everything = config.allows_token(authorization.removeprefix("Bearer "))
        trials = await asyncio.to_thread(shelf.newest) if everything else None
        return JSONResponse(
            {
                "seats": found,
                "all": everything,
                "store": shelf.name if everything else None,
                "trials": trials,
                "messages": rooms.messages() if everything else [],
                "pages": _STORE_PAGES if everything and config.store is not None else [],
            }
        )

    @app.websocket("/api/seats/{name}/socket")
    async def socket(
        websocket: WebSocket,
        name: str,
        client: str = "",
        watch: str = "",
        person: str = "",
        patches: str = "",
    ) -> None:
        offered = websocket.scope.get("subprotocols", [])
        token = next((each.removeprefix("token.") for each in offered if each.startswith("token.")), "")
        await websocket.accept(subprotocol=_PROTOCOL if _PROTOCOL in offered else None)
        if not config.allows_origin(websocket.headers.get("origin")):
            await websocket.close(4403, "this origin is not allowed")
            return
        grant = config.access.grant(token)
        if not grant.may_see(name):
            await websocket.close(4401, "ask for a new link")
            return
        room = rooms.find(name)
        if room is None:
            await websocket.close(4404, "no such seat")
            return
        viewer = Viewer(
            websocket,
            room,
            client=client[:_LONGEST_CLIENT],
            may_act=grant.may_act(name),
            watches=watch == "1",
            patches=patches == "1",
            person=" ".join(person.split())[:_LONGEST_PERSON],
        )
        await viewer.serve()

    if config.store is not None:
        app.include_router(lookback.make_router(config.store, config))
    app.mount("/site", StaticFiles(directory=_SITE), name="site")
    return app


async def _nothing_here(request: Request, error: Exception) -> Response:
    """Answer a browser by a page with a way back, a program by JSON."""
    path = request.url.path
    if "text/html" not in request.headers.get("accept", ""):
        return JSONResponse({"error": f"there is nothing at {path}"}, 404)
    page = (_SITE / "missing.html").read_text(encoding="utf-8")
    return HTMLResponse(page.replace('"./', f'"./{"../" * (path.count("/") - 1)}'), 404)
