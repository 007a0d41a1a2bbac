import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import msgspec
import pytest
import uvicorn

from casino import Casino, open_casino
from countroom.games.catalog import Catalog
from countroom.games.recording import Recorder
from countroom.settings import Settings
from countroom.web.addresses import server_options
from countroom.web.app import create_app
from countroom.web.front import Front
from countroom.web.protocol import Protocol


@dataclass
class Served:
    """The web application behind a real port, and the casino in its database."""

    casino: Casino
    http: httpx.AsyncClient
    server: uvicorn.Server
    catalog: Catalog
    recorder: Recorder


@pytest.fixture
async def served(settings: Settings) -> AsyncIterator[Served]:
    async with serving(settings) as running:
        yield running


async def _nothing(_: Casino) -> None:
    pass


@asynccontextmanager
async def serving(settings: Settings, prepare: Callable[[Casino], Awaitable[None]] = _nothing) -> AsyncIterator[Served]:
    """The application behind a port, once what `prepare` has put there is there; its books are proved at the end."""
    assert settings.database_url
    async with open_casino(settings.database_url) as casino:
        await prepare(casino)
        app = Front(create_app(msgspec.structs.replace(settings, secret_key=casino.secret_key)))
        listener = socket.socket(proto=socket.IPPROTO_TCP)  # unnamed, asyncio leaves Nagle on: 40 ms a call
        listener.bind(("127.0.0.1", 0))
        options = server_options(settings)
        server = uvicorn.Server(
            uvicorn.Config(app, http=Protocol, lifespan="on", log_config=None, access_log=False, **options)
        )
        running = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:
            assert not running.done(), running.exception()
            await asyncio.sleep(0.01)
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", trust_env=False, timeout=20
        ) as http:
            state = app.app.state
            yield Served(casino, http, server, state.catalog, state.callbacks.recorder)
        server.should_exit = True
        await running
        listener.close()
        await casino.check_books()
