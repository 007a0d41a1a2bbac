"""``python -m countroom.demo``: the sandbox PSP and the sandbox provider, one process, two ports."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from typing import Final

import httpx
import structlog
import uvicorn
import uvloop

from countroom.demo.callbacks import WalletClient
from countroom.demo.casino import casino_url
from countroom.demo.http import Application, Receive, Scope, Send
from countroom.demo.ledger import Ledger
from countroom.demo.provider import Provider
from countroom.demo.psp import Psp
from countroom.demo.psp_store import Store
from countroom.demo.rounds import Owed
from countroom.demo.webhooks import Deliveries
from countroom.settings import SECRET_LENGTH_MIN, Settings, SettingsError, load

HOST: Final = "127.0.0.1"
"""The sandboxes believe whoever calls them, so they listen on this machine only."""
PROVIDER_CODE: Final = "sandbox"
PROVIDER_KEY: Final = "COUNTROOM_SANDBOX_PROVIDER_KEY"
PSP_SECRET: Final = "COUNTROOM_SANDBOX_PSP_SECRET"  # noqa: S105 - a variable's name


class CannotStart(Exception):  # noqa: N818 - a sentence for the person who starts it
    """The sandboxes cannot start; the message says why, one reason a line."""


def main(environ: Mapping[str, str]) -> int:
    """Run until a signal; return the exit code."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    if environ.get("COUNTROOM_LIFELINE"):
        # Imported here because only a supervised process has somebody to outlive.
        from countroom.embedded import lifeline  # noqa: PLC0415

        lifeline.watch()
    try:
        settings = load(environ)
        provider_key = _secrets(settings, environ)
        with _listening(settings.sandbox_psp_port) as psp, _listening(settings.sandbox_provider_port) as provider:
            uvloop.run(_serve(settings, provider_key, [psp, provider]))
    except (SettingsError, CannotStart) as problem:
        print(problem, file=sys.stderr)  # noqa: T201 - a sentence for the person who starts it
        return 1
    return 0


def _secrets(settings: Settings, environ: Mapping[str, str]) -> str:
    """Return the provider's key. Without both secrets nothing starts: unsigned is not a mode."""
    provider_key = environ.get(PROVIDER_KEY, "")
    problems = []
    if not settings.sandbox_psp_secret:
        problems.append(f"{PSP_SECRET} is not set: the sandbox PSP signs its webhooks with it.")
    if len(provider_key) < SECRET_LENGTH_MIN:
        problems.append(f"{PROVIDER_KEY} needs at least {SECRET_LENGTH_MIN} characters: "
                        "the sandbox provider signs its calls with it.")  # fmt: skip
    if problems:
        raise CannotStart("\n".join(problems))
    return provider_key


def _listening(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError as error:
        listener.close()
        raise CannotStart(f"Port {port} of {HOST} cannot be used by the sandbox: {error.strerror}.") from error
    return listener


async def _serve(settings: Settings, provider_key: str, listeners: list[socket.socket]) -> None:
    assert settings.sandbox_psp_secret
    async with AsyncExitStack() as stack:
        store = Store.open(settings.data_dir / "sandbox-psp.sqlite3")
        stack.callback(store.close)
        # Shorter than any server's keep-alive, so that no request is sent into a closing connection.
        limits = httpx.Limits(max_connections=100, max_keepalive_connections=40, keepalive_expiry=3.0)
        http = await stack.enter_async_context(httpx.AsyncClient(limits=limits, trust_env=False))
        deliveries = Deliveries(store, settings.sandbox_psp_secret, http)
        psp = Psp(store, settings.sandbox_psp_secret, settings.sandbox_psp_url, wake=deliveries.wake)
        ledger = Ledger.open(settings.data_dir / "sandbox-provider.sqlite3")
        stack.callback(ledger.close)
        wallet = WalletClient(f"{casino_url(settings)}/providers/{PROVIDER_CODE}", provider_key, http, ledger)
        owed = Owed(wallet)
        applications = {
            settings.sandbox_psp_port: psp.application(),
            settings.sandbox_provider_port: Provider(wallet, owed).application(),
        }
        server = _Server(
            uvicorn.Config(
                _ByPort(applications),
                loop="none",
                http="httptools",
                ws="none",
                lifespan="off",
                access_log=False,
                log_level="warning",
                timeout_keep_alive=30,
                timeout_graceful_shutdown=3,
            )
        )
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, server.stop)
        background = [asyncio.create_task(deliveries.run()), asyncio.create_task(owed.run())]
        try:
            await server.serve(sockets=listeners)
        finally:
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)


class _Server(uvicorn.Server):
    """Ends when it is told to, and returns; uvicorn's own would kill the process before it has tidied up."""

    def stop(self) -> None:
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _ByPort:
    """Several applications behind one server: the port that was called decides."""

    def __init__(self, applications: Mapping[int, Application]) -> None:
        self._applications = applications

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._applications[scope["server"][1]](scope, receive, send)


if __name__ == "__main__":
    sys.exit(main(os.environ))
