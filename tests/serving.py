import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import msgspec
import pytest
import uvicorn

from casino import Casino, open_casino
from countroom.settings import Settings
from countroom.web.app import Front, create_app


@dataclass
class Served:
    """The web application behind a real port, and the casino in its database."""

    casino: Casino
    http: httpx.AsyncClient
    server: uvicorn.Server


@pytest.fixture
async def served(settings: Settings) -> AsyncIterator[Served]:
    assert settings.database_url
    async with open_casino(settings.database_url) as casino:
        app = Front(create_app(msgspec.structs.replace(settings, secret_key=casino.secret_key)))
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, http="httptools", lifespan="on", log_config=None, access_log=False))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:
            assert not serving.done(), serving.exception()
            await asyncio.sleep(0.01)
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", trust_env=False, timeout=20
        ) as http:
            yield Served(casino, http, server)
        server.should_exit = True
        await serving
        listener.close()
        await casino.check_books()
