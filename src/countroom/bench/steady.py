"""The memory of the pipeline's processes under a steady load, for as long as somebody wants to know.

A relay with its loader, and a direct pipeline, each beside a database and a warehouse of their own. Into both databases
goes the same number of rows a second, some of which are changed later, as reversals do.
"""

import json
import statistics
import tempfile
import threading
import time
import uuid
from asyncio import run as wait_for
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import psycopg2
from msgspec.structs import replace
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from countroom import clickhouse
from countroom.bench.running import memory_mb, running, stores_with_kafka
from countroom.bench.yardstick import PLAYERS, fill
from countroom.proof import Proof
from countroom.settings import Settings
from countroom.warehouse import reconcile

STRAIGHT: Final = "straight"
"""The second database, and its warehouse."""
BEATS_PER_SECOND: Final = 10
"""Transactions a second: each holds a tenth of a second's rows."""
SAMPLE_SECONDS: Final = 5.0
PARTS: Final = 6
"""Of the whole time, for the table."""
CHANGE_EVERY: Final = 50
"""One row of so many is cancelled in the transaction after its own."""
CATCH_UP_SECONDS: Final = 60.0


def steady(*, minutes: float, rows_per_second: int, console: Console) -> int:
    """Measure, print the table and the JSON line; return 1 when a warehouse is not exact at the end (P6).

    Raises:
        StoreFailed: Kafka cannot be run here.
    """
    seconds = minutes * 60
    with tempfile.TemporaryDirectory(prefix="countroom-bench-") as folder, ExitStack() as stack:
        settings = stack.enter_context(stores_with_kafka(Path(folder)))
        straight = _second(settings)
        console.print(f"{rows_per_second:,} rows a second each way, {minutes:g} minutes", style="dim")
        processes = {
            "relay": stack.enter_context(running(settings, "relay")),
            "load": stack.enter_context(running(settings, "load")),
            "pipeline": stack.enter_context(running(straight, "pipeline")),
        }
        memory: dict[str, list[float]] = {name: [] for name in processes}
        with _writing(settings, rows_per_second) as through_kafka, _writing(straight, rows_per_second) as directly:
            began = time.monotonic()
            with Progress(console=console, transient=True) as progress:
                bar = progress.add_task("memory", total=seconds)
                while (elapsed := time.monotonic() - began) < seconds:
                    time.sleep(min(SAMPLE_SECONDS, seconds - elapsed))
                    for name, process in processes.items():
                        memory[name].append(memory_mb(process))
                    progress.update(bar, completed=elapsed)
        rows = through_kafka.rows + directly.rows
        proofs = [reconcile.compare(each, deadline_seconds=CATCH_UP_SECONDS) for each in (settings, straight)]
    return _report(memory, proofs, rows, {"minutes": minutes, "rows_per_second": rows_per_second}, console)


def _second(settings: Settings) -> Settings:
    """Make a second database, with players, and an empty warehouse beside the first ones."""
    assert settings.database_url
    assert settings.secret_key
    assert settings.clickhouse_url
    with closing(psycopg2.connect(settings.database_url)) as connection:
        connection.autocommit = True
        connection.cursor().execute(f"CREATE DATABASE {STRAIGHT}")
    url = urlsplit(settings.database_url)
    database_url = urlunsplit(url._replace(path=f"/{STRAIGHT}"))
    wait_for(fill(database_url, settings.secret_key))
    with closing(clickhouse.connect(settings.clickhouse_url)) as client:
        client.command(f"CREATE DATABASE {STRAIGHT}")
    warehouse = urlunsplit(urlsplit(settings.clickhouse_url)._replace(path=f"/{STRAIGHT}"))
    return replace(settings, database_url=database_url, clickhouse_url=warehouse, kafka_servers=None)


class _Writer:
    """Writes bets into one database, and cancels some of them."""

    def __init__(self, database_url: str, rows_per_second: int) -> None:
        self.rows = 0
        self._database_url = database_url
        self._each = max(1, rows_per_second // BEATS_PER_SECOND)
        self._done = threading.Event()
        self._thread = threading.Thread(target=lambda: wait_for(self._write()))

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._done.set()
        self._thread.join()

    async def _write(self) -> None:
        statement = files("countroom.bench").joinpath("facts.sql").read_text("utf-8")
        statement = statement.replace("{rows}", str(self._each)).replace("{players}", str(PLAYERS))
        connection = await asyncpg.connect(self._database_url)
        until = time.monotonic()
        before = ""
        while not self._done.wait(max(until - time.monotonic(), 0)):
            until += 1 / BEATS_PER_SECOND
            run = uuid.uuid4().hex[:12]
            async with connection.transaction():
                await connection.execute(statement.replace("{run}", run))
                await connection.execute(
                    "UPDATE transactions SET status = 'cancelled' WHERE external_id = ANY($1::text[])",
                    [f"bench:{before}-{number}" for number in range(1, self._each + 1, CHANGE_EVERY)],
                )
            before = run
            self.rows += self._each
        await connection.close()


@contextmanager
def _writing(settings: Settings, rows_per_second: int) -> Iterator[_Writer]:
    assert settings.database_url
    writer = _Writer(settings.database_url, rows_per_second)
    writer.start()
    try:
        yield writer
    finally:
        writer.stop()


def _report(
    memory: dict[str, list[float]], proofs: Sequence[Proof], rows: int, asked: dict[str, float], console: Console
) -> int:
    table = Table(title="Memory under a steady load, MB (the most in each sixth of the time)", box=None, pad_edge=False)
    for title in ("process", *(str(part + 1) for part in range(PARTS)), "last third / second third"):
        table.add_column(title, justify="left" if title == "process" else "right")
    figures: dict[str, float] = {}
    for name, samples in memory.items():
        size = max(1, len(samples) // PARTS)
        most = [max(samples[part * size : (part + 1) * size], default=0.0) for part in range(PARTS)]
        third = max(1, len(samples) // 3)
        growth = statistics.median(samples[-third:]) / statistics.median(samples[third : 2 * third] or samples)
        table.add_row(name, *(f"{value:,.0f}" for value in most), f"{growth:.2f}")
        figures |= {f"{name}_peak_mb": round(max(samples)), f"{name}_growth": round(growth, 3)}
    console.print(table)
    violations = [sentence for proof in proofs for sentence in proof.violations]
    console.print(f"{rows:,} rows written; P6 {'; '.join(violations) or 'holds in both warehouses'}")
    figures |= {"rows": rows, "violations": len(violations), "peak_mb": round(max(map(max, memory.values())))}
    print(json.dumps(figures | asked))  # noqa: T201 - the line that programs read
    return 1 if violations else 0
