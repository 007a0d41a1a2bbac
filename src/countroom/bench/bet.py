"""Signed bets over HTTP against the same five writes row by row, on one PostgreSQL."""

import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import asyncpg
import msgspec
from rich.console import Console
from rich.table import Table

from countroom.bench.yardstick import (
    GAME,
    PROVIDER,
    SIGNING_KEY,
    ToolMissing,
    filled_stores,
    find_pgbench,
    row_by_row,
)
from countroom.demo.signatures import request_sign
from countroom.embedded import process
from countroom.embedded.lifeline import Lifeline
from countroom.refusal import Refusal
from countroom.settings import Settings

CONNECTIONS: Final = 128
CALLS_PER_SECOND_MAX: Final = 30_000
"""So many calls are signed beforehand for each second; more than two cores could ask."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One measurement over HTTP."""

    bets: int
    per_second: float
    p50_ms: float
    p99_ms: float
    errors: int
    memory_mb: float
    """Of the largest web process, after it."""


def bet(*, seconds: float, rounds: int, processes: int, console: Console) -> int:
    """Measure, print the table and the JSON line; return the exit code.

    Raises:
        ToolMissing: wrk or pgbench is not there.
    """
    wrk = shutil.which("wrk")
    if wrk is None:
        raise ToolMissing("This measurement sends its load with wrk: install it (Debian: apt-get install wrk).")
    pgbench = find_pgbench()
    rows: list[tuple[float, Measured]] = []
    with (
        tempfile.TemporaryDirectory(prefix="countroom-bench-") as folder,
        served(Path(folder), processes) as (settings, server),
    ):
        for number in range(rounds):
            console.print(f"round {number + 1} of {rounds}: pgbench, then wrk, {seconds:g} s each", style="dim")
            yardstick = row_by_row(pgbench, settings, seconds)
            rows.append((yardstick, _wrk(wrk, settings, server, Path(folder), seconds)))
    return _report(rows, processes, console)


def _report(rows: list[tuple[float, Measured]], processes: int, console: Console) -> int:
    table = Table(title="Signed bets over HTTP against the same five writes row by row", box=None, pad_edge=False)
    for title in ("round", "pgbench/s", "bets/s", "ratio", "p50 ms", "p99 ms", "errors", "MB"):
        table.add_column(title, justify="right")
    for number, (yardstick, m) in enumerate(rows, 1):
        table.add_row(
            str(number), f"{yardstick:,.0f}", f"{m.per_second:,.0f}", f"{m.per_second / yardstick:.2f}",
            f"{m.p50_ms:.1f}", f"{m.p99_ms:.1f}", str(m.errors), f"{m.memory_mb:.0f}",
        )  # fmt: skip
    figures = {
        "ratio": round(statistics.median(m.per_second / yardstick for yardstick, m in rows), 2),
        "bets_per_s": round(statistics.median(m.per_second for _, m in rows)),
        "pgbench_per_s": round(statistics.median(yardstick for yardstick, _ in rows)),
        "p50_ms": round(statistics.median(m.p50_ms for _, m in rows), 1),
        "p99_ms": round(statistics.median(m.p99_ms for _, m in rows), 1),
        "errors": sum(m.errors for _, m in rows),
        "bets": sum(m.bets for _, m in rows),
        "memory_mb": [round(m.memory_mb) for _, m in rows],
        "web_processes": processes,
        "rounds": len(rows),
    }
    table.add_row(
        "median", f"{figures['pgbench_per_s']:,}", f"{figures['bets_per_s']:,}", str(figures["ratio"]),
        str(figures["p50_ms"]), str(figures["p99_ms"]), str(figures["errors"]), "", style="bold",
    )  # fmt: skip
    console.print(table)
    print(json.dumps(figures))  # noqa: T201 - the line that programs read
    return 0 if figures["errors"] == 0 else 1


@contextmanager
def served(
    folder: Path, processes: int, prepare: Callable[[Settings], None] = lambda _settings: None
) -> Iterator[tuple[Settings, int]]:
    """Serve a casino of its own, once it is prepared; give its settings and the id of the web's first process."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.endswith("_URL")},
        "COUNTROOM_PORT": str(process.keep_port(folder / "port")),
        "COUNTROOM_WEB_PROCESSES": str(processes),
    }
    with filled_stores(folder, environment) as settings, Lifeline() as lifeline:
        assert settings.database_url
        assert settings.redis_url
        assert settings.clickhouse_url
        prepare(settings)
        addresses = {
            "COUNTROOM_DATA": str(settings.data_dir),
            "DATABASE_URL": settings.database_url,
            "REDIS_URL": settings.redis_url,
            "CLICKHOUSE_URL": settings.clickhouse_url,
        }
        log = folder / "web.log"
        server = process.start(
            [sys.executable, "-m", "countroom", "serve"],
            log=log,
            environment={**environment, **addresses, **lifeline.environment()},
            folder=folder,
            pass_fds=[lifeline.read_end],
        )
        try:
            process.wait_until(lambda: _is_up(settings.port), server, name="The web process", log=log)
            yield settings, server.pid
        finally:
            server.terminate()
            server.wait(20)


def _is_up(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/live", timeout=2) as answer:
            return bool(answer.status == 200)  # noqa: PLR2004 - HTTP's own number
    except OSError:
        return False


def _wrk(wrk: str, settings: Settings, server: int, folder: Path, seconds: float) -> Measured:
    assert settings.database_url
    calls = folder / "calls"
    _sign_calls(calls, asyncio.run(_players(settings.database_url)), int(seconds * CALLS_PER_SECOND_MAX))
    told = ask(wrk, settings, calls, header="X-Request-Sign", path=f"/providers/{PROVIDER}/betwin", seconds=seconds)
    return Measured(
        told["requests"], told["requests"] / told["seconds"], told["p50_ms"], told["p99_ms"], told["errors"],
        memory_mb(server),
    )  # fmt: skip


class CallsRanOut(Refusal):
    """All calls that were signed beforehand had been sent before the time was over: the rate would be theirs."""

    kind = "unavailable"
    code = "calls_ran_out"


def ask(wrk: str, settings: Settings, calls: Path, *, header: str, path: str, seconds: float) -> dict[str, Any]:
    """Send calls that were signed beforehand; return what `signed.lua` says of them.

    Raises:
        CallsRanOut: this machine answers more than were signed.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(files("countroom.bench").joinpath("signed.lua").read_text("utf-8"))
        script.flush()
        done = subprocess.run(
            [
                wrk, "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", "--timeout", "10s", "-s", script.name,
                f"http://127.0.0.1:{settings.port}",
            ],
            env={**os.environ, "BENCH_CALLS": str(calls), "BENCH_HEADER": header, "BENCH_PATH": path},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    told: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    with calls.open("rb") as signed:
        # Those that were under way at the end are not counted.
        if told["requests"] >= sum(1 for _ in signed) - CONNECTIONS:
            raise CallsRanOut
    return told


def memory_mb(server: int) -> float:
    """Return what the largest of the web processes has in memory; 0 where /proc does not tell."""
    largest = 0
    for status in Path("/proc").glob("[0-9]*/status"):
        with suppress(OSError):  # it has ended meanwhile
            facts = dict(line.split(":", 1) for line in status.read_text().splitlines())
            if server in {int(facts["Pid"]), int(facts["PPid"])}:
                largest = max(largest, int(facts.get("VmRSS", "0 kB").split()[0]))
    return largest / 1024


async def _players(database_url: str) -> list[str]:
    connection = await asyncpg.connect(database_url)
    rows = await connection.fetch("SELECT user_id FROM bench_players ORDER BY n")
    await connection.close()
    return [str(row["user_id"]) for row in rows]


def _sign_calls(file: Path, players: list[str], count: int) -> None:
    """Write so many bets of a cent to a euro, each with an id and a round of its own, players in turn."""
    run = uuid.uuid4().hex[:8]
    with file.open("wb") as out:
        for n in range(count):
            body = msgspec.json.encode(
                {
                    "account_id": players[(n * 7919) % len(players)],
                    "currency": "EUR",
                    "game_id": GAME,
                    "round_id": f"{run}-{n}",
                    "transactions": [{"id_provider": f"{run}-{n}", "type": "bet", "amount": f"0.{n % 99 + 1:02d}"}],
                }
            )
            out.write(request_sign(SIGNING_KEY, body).encode() + b"\t" + body + b"\n")
