"""The web application behind uvicorn, and a real browser window in front of it."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Literal

import httpx
from playwright.async_api import Browser, ConsoleMessage, Page, expect

from countroom.embedded.process import free_port
from countroom.settings import Settings

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
def serving(settings: Settings) -> Iterator[str]:
    """`countroom serve` as a process of its own, on a free port."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "countroom", "serve"],
            env={**os.environ, **_environment(settings), "COUNTROOM_PORT": str(port)},
            stdout=said,
            stderr=subprocess.STDOUT,
        )
        try:
            until(lambda: process.poll() is not None or _answers(address))
            said.seek(0)
            assert process.poll() is None, said.read().decode()
            yield address
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise


def _environment(settings: Settings) -> dict[str, str]:
    values = {
        "COUNTROOM_DATA": str(settings.data_dir),
        "DATABASE_URL": settings.database_url,
        "REDIS_URL": settings.redis_url,
        "CLICKHOUSE_URL": settings.clickhouse_url,
        "COUNTROOM_SECRET_KEY": settings.secret_key,
        "COUNTROOM_SANDBOX_PSP_URL": settings.sandbox_psp_url,
        "COUNTROOM_SANDBOX_PSP_SECRET": settings.sandbox_psp_secret,
    }
    return {name: value for name, value in values.items() if value}


def _answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/health/live").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


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


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)
