"""Two web processes over one database, as an operator runs them, and a provider that signs its calls."""

import asyncio
import hmac
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from casino import PROVIDER_KEY, SECRET_KEY, Player
from countroom.embedded.process import free_port
from countroom.settings import Settings

START_SECONDS = 40.0


class Server:
    """One `countroom serve` on a port of its own; it can be killed and started again."""

    def __init__(self, settings: Settings, folder: Path, number: int) -> None:
        self.port = free_port()
        assert settings.database_url
        assert settings.redis_url
        assert settings.clickhouse_url
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.endswith("_URL")},
            "COUNTROOM_DATA": str(settings.data_dir),
            "COUNTROOM_PORT": str(self.port),
            "COUNTROOM_SECRET_KEY": SECRET_KEY,
            "DATABASE_URL": settings.database_url,
            "REDIS_URL": settings.redis_url,
            "CLICKHOUSE_URL": settings.clickhouse_url,
        }
        self.log = folder / f"server-{number}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "countroom", "serve"], env=self.environment, stdout=log, stderr=log
            )

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            assert self.process is not None
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            try:
                if httpx.get(f"http://127.0.0.1:{self.port}/health/live", trust_env=False, timeout=2).is_success:
                    return
            except httpx.HTTPError:
                time.sleep(0.05)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)


@contextmanager
def servers(settings: Settings, folder: Path, count: int = 2) -> Iterator[list[Server]]:
    """Start so many servers, and stop what is left of them."""
    started = [Server(settings, folder, number) for number in range(count)]
    try:
        for server in started:
            server.start()
        for server in started:
            server.wait_until_ready()
        yield started
    finally:
        for server in started:
            if server.process is not None:
                server.stop()


@dataclass
class Provider:
    """Calls servers, a call to whichever it is told."""

    http: httpx.AsyncClient
    servers: list[Server]

    async def call(self, server: int, action: str, player: Player, **more: Any) -> tuple[int, Any]:
        """Send one signed call; give the status and the answer."""
        body = json.dumps({"account_id": str(player.id), "currency": player.currency, "game_id": "lucky-sevens"} | more)
        signature = hmac.digest(PROVIDER_KEY.encode(), body.encode(), "sha256").hex()
        answer = await self.http.post(
            f"http://127.0.0.1:{self.servers[server].port}/providers/sandbox/{action}",
            content=body.encode(),
            headers={"X-Request-Sign": signature, "Content-Type": "application/json"},
        )
        return answer.status_code, answer.json()

    async def bet_win(
        self, server: int, player: Player, *transactions: tuple[str, str, str], round_id: str, finished: bool = False
    ) -> tuple[int, Any]:
        """Send bets and wins: kind, key, amount."""
        return await self.call(
            server, "betwin", player, round_id=round_id, finished=finished, session_id=str(player.session_id),
            transactions=[{"type": kind, "id_provider": key, "amount": amount} for kind, key, amount in transactions],
        )  # fmt: skip

    async def rollback(self, server: int, player: Player, key: str, target: str, *, round_id: str) -> tuple[int, Any]:
        """Send a reversal."""
        return await self.call(
            server, "rollback", player, round_id_provider=round_id, finished=False,
            transactions=[{"type": "rollback", "id_provider": key, "original_id_provider": target}],
        )  # fmt: skip


async def at_once(*calls: Any) -> list[Any]:
    """Make calls together; whatever one raises is raised."""
    return list(await asyncio.gather(*calls))
