"""What the page's server answers: static files, the list of seats, one WebSocket per viewer of a seat."""

from __future__ import annotations

import contextlib
import hmac
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI, Header, Request, Response, WebSocket
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles

from cogment_lab.humans.web.room import Room
from cogment_lab.humans.web.viewer import Viewer

__all__ = ["PageConfig", "make_app"]

_SITE = Path(__file__).parent / "site"
_PROTOCOL = "cogment_lab.seat.v1"
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob: data:; connect-src 'self' ws: wss:; "
        "frame-ancestors 'self'; base-uri 'none'; form-action 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True, slots=True)
class PageConfig:
    """What the page's owner decided."""

    folder: Path
    token: str
    host: str
    port: int
    public_url: str | None = None
    origins: tuple[str, ...] = ()

    def allows_origin(self, origin: str | None) -> bool:
        """Return whether a page of that origin may open a seat; a client without one is no page."""
        if origin is None:
            return True
        own = {f"http://{host}:{self.port}" for host in (self.host, "127.0.0.1", "localhost", "[::1]")}
        if self.public_url is not None:
            parts = urlsplit(self.public_url)
            own.add(f"{parts.scheme}://{parts.netloc}")
        return origin in own or origin in self.origins

    def allows_token(self, token: str) -> bool:
        """Compare in constant time."""
        return hmac.compare_digest(token.encode(), self.token.encode())


class Rooms:
    """The seats of the page, found by the files that ``WebUI.seat`` leaves in its folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rooms: dict[str, Room] = {}

    def find(self, name: str) -> Room | None:
        """Return the seat of that name, ``None`` when there is none."""
        if name not in self._rooms and name in {each["name"] for each in self.list()}:
            role = next(each["role"] for each in self.list() if each["name"] == name)
            self._rooms[name] = Room(self._folder, name, role)
        return self._rooms.get(name)

    def list(self) -> list[dict[str, Any]]:
        """Return ``name, role, env_id, occupied`` of each seat."""
        found = []
        for path in sorted(self._folder.glob("*.json"), key=lambda path: path.stat().st_mtime):
            with contextlib.suppress(OSError, ValueError):
                seat = json.loads(path.read_text(encoding="utf-8"))
                room = self._rooms.get(seat["name"])
                occupied = room is not None and room.driver is not None
                env_id = room.env_id if room is not None else None
                found.append({**seat, "env_id": env_id, "occupied": occupied})
        return found

    async def close(self) -> None:
        """Send everybody home."""
        for room in self._rooms.values():
            await room.close()


def make_app(config: PageConfig) -> FastAPI:
    """Return the page's application."""
    rooms = Rooms(config.folder)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await rooms.close()

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)

    @app.middleware("http")
    async def add_headers(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        response.headers.update(_HEADERS)
        return response

    @app.get("/")
    async def index() -> FileResponse:
        return FileResponse(_SITE / "index.html")

    @app.get("/api/seats")
    async def seats(authorization: str = Header(default="")) -> JSONResponse:
        if not config.allows_token(authorization.removeprefix("Bearer ")):
            return JSONResponse({"error": "this link is not (or no longer) valid: ask for a new one"}, 401)
        return JSONResponse(rooms.list())

    @app.websocket("/api/seats/{name}/socket")
    async def socket(websocket: WebSocket, name: str, client: str = "") -> None:
        offered = websocket.scope.get("subprotocols", [])
        token = next((each.removeprefix("token.") for each in offered if each.startswith("token.")), "")
        await websocket.accept(subprotocol=_PROTOCOL if _PROTOCOL in offered else None)
        if not config.allows_origin(websocket.headers.get("origin")):
            await websocket.close(4403, "this origin is not allowed")
            return
        if not config.allows_token(token):
            await websocket.close(4401, "ask for a new link")
            return
        room = rooms.find(name)
        if room is None:
            await websocket.close(4404, "no such seat")
            return
        await Viewer(websocket, room, client[:64]).serve()

    app.mount("/site", StaticFiles(directory=_SITE), name="site")
    return app
