"""The web application behind uvicorn, and a real browser window in front of it."""

import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Literal

import uvicorn
from playwright.async_api import Browser, ConsoleMessage, Page, expect

from countroom.settings import Settings
from countroom.web.app import create_app
from countroom.web.front import Front
from countroom.web.protocol import Protocol
from patience import until

Theme = Literal["light", "dark"]

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_SECONDS = 20


@dataclass
class Visitor:
    """A browser window that keeps everything that went wrong in it."""

    page: Page
    address: str
    faults: list[str] = field(default_factory=list)

    async def sign_in(self, email: str, password: str) -> None:
        await self.page.goto(self.address)
        await self.page.get_by_label("Staff e-mail").fill(email)
        await self.page.get_by_label("Password").fill(password)
        await self.page.get_by_role("button", name="Sign in").click()
        await expect(self.page.get_by_role("heading", name="The last 30 minutes")).to_be_visible()


@contextmanager
def serving(settings: Settings, port: int = 0) -> Iterator[str]:
    """The web application behind a port of its own, in a thread: a process of its own would first import all of it."""
    with socket.socket(
        proto=socket.IPPROTO_TCP
    ) as listener:  # named: only then does asyncio send small answers at once
        listener.bind(("127.0.0.1", port))
        server = uvicorn.Server(
            uvicorn.Config(Front(create_app(settings)), http=Protocol, lifespan="on", log_config=None, access_log=False)
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            until(lambda: server.started or not thread.is_alive())
            assert server.started, "the web did not start: its log says why"
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(PATIENCE_SECONDS)
            assert not thread.is_alive()


@asynccontextmanager
async def visiting(
    browser: Browser, address: str, *, width: int = 1280, height: int = 900, theme: Theme = "light"
) -> AsyncIterator[Visitor]:
    """A window that asserts at its end that nothing went wrong in it."""
    context = await browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=theme, reduced_motion="reduce"
    )
    page = await context.new_page()
    visitor = Visitor(page, address)

    def heard(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            visitor.faults.append(f"console {message.type}: {message.text}")

    page.on("console", heard)
    page.on("pageerror", lambda error: visitor.faults.append(f"page error: {error}"))
    page.on("requestfailed", lambda request: _note_failure(visitor, request.url, request.failure))
    page.on("response", lambda answer: _note_status(visitor, answer.status, answer.url))
    yield visitor
    await context.close()
    assert not visitor.faults, "\n".join(visitor.faults)


def _note_failure(visitor: Visitor, url: str, reason: str | None) -> None:
    if reason != "net::ERR_ABORTED":  # cut off because the page was left: no fault
        visitor.faults.append(f"failed: {url}: {reason}")


def _note_status(visitor: Visitor, status: int, url: str) -> None:
    if status >= 400:
        visitor.faults.append(f"{status}: {url}")
