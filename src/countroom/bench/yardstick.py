"""What the measurements share: stores of their own, players with money, and pgbench as the yardstick."""

import asyncio
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import asyncpg

from countroom.embedded import stores
from countroom.embedded.postgres import find_binaries
from countroom.games import service as games
from countroom.postgres import Database
from countroom.refusal import Refusal
from countroom.schema import migrate
from countroom.settings import Settings, load

PLAYERS: Final = 10_000
PGBENCH_CLIENTS: Final = 8
PROVIDER: Final = "bench"
GAME: Final = "bench-game"
SIGNING_KEY: Final = "the benchmark's signing key"
LOG_SEGMENTS: Final = 96
"""Of 16 MB: as much as the measurements of one run write. A server that has been running writes its log over
segments of an earlier checkpoint. A new one makes each of them first: 60 ms in which nobody commits, once a second."""


class ToolMissing(Refusal):
    """A program that this measurement needs is not installed."""

    kind = "unavailable"
    code = "tool_missing"


@contextmanager
def filled_stores(folder: Path, environment: dict[str, str]) -> Iterator[Settings]:
    """Start a PostgreSQL and a Valkey of their own, and put players with money into them.

    A warehouse is not part of what is measured: its address is never asked for anything.
    """
    folder.chmod(0o711)  # so that PostgreSQL, not root, may walk through
    alone = {"COUNTROOM_DATA": str(folder / "data"), "CLICKHOUSE_URL": "http://127.0.0.1:9/none"}
    with stores.running(load({**environment, **alone})) as settings:
        assert settings.database_url
        assert settings.secret_key
        asyncio.run(fill(settings.database_url, settings.secret_key))
        yield settings


async def fill(database_url: str, secret_key: str) -> None:
    """Migrate a database, put a game and players with money into it, and let its server be one that has run."""
    await migrate.apply(database_url)
    database = await Database.connect(database_url, size_max=1)
    await games.ensure_provider(
        database, code=PROVIDER, title="Benchmark", dialect="softswiss-v2", launch_url="http://127.0.0.1:9/",
        signing_keys=[SIGNING_KEY], secret_key=secret_key,
    )  # fmt: skip
    await games.ensure_game(
        database, provider_code=PROVIDER, slug=GAME, title="Benchmark", volatility="low", genre="slots"
    )
    await database.close()
    connection = await asyncpg.connect(database_url)
    sql = files("countroom.bench").joinpath("players.sql").read_text("utf-8")
    await connection.execute(sql.replace("{players}", str(PLAYERS)))
    await connection.execute("ANALYZE bench_players, users, wallet_accounts, game_sessions")
    for _ in range(LOG_SEGMENTS):
        await connection.execute("SELECT pg_logical_emit_message(false, 'bench', repeat('x', 16 * 1024 * 1024))")
    await connection.execute("CHECKPOINT")
    await connection.close()


def find_pgbench() -> Path:
    """Return pgbench.

    Raises:
        ToolMissing: these PostgreSQL binaries have none.
    """
    pgbench = find_binaries() / "pgbench"
    if not pgbench.exists():
        raise ToolMissing("This measurement compares with pgbench, which these PostgreSQL binaries lack.")
    return pgbench


def row_by_row(pgbench: Path, settings: Settings, seconds: float) -> float:
    """Return how many bets a second pgbench posts row by row."""
    assert settings.database_url
    url = urlsplit(settings.database_url)
    script = files("countroom.bench").joinpath("row_by_row.pgbench.sql").read_text("utf-8")
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
        file.write(script)
        file.flush()
        done = subprocess.run(
            [
                pgbench, "-n", "-M", "prepared", "-f", file.name, "-D", f"players={PLAYERS}",
                "-c", str(PGBENCH_CLIENTS), "-j", "1", "-T", str(max(1, round(seconds))),
                "-h", str(url.hostname), "-p", str(url.port), "-U", str(url.username), url.path.lstrip("/"),
            ],
            env={**os.environ, "PGPASSWORD": unquote(url.password or "")},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    found = re.search(r"tps = ([0-9.]+)", done.stdout)
    if found is None:
        raise ToolMissing(f"pgbench failed: {done.stderr.strip()[-500:]}")
    return float(found[1])
