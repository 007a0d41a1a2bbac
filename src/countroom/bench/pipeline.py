"""Facts from PostgreSQL's log to Kafka, from Kafka to ClickHouse, and straight from one to the other.

Everything is what an operator runs: each step is a process of its own, `countroom relay`, `load` or `pipeline`, and a
rate is what the next store says of what it was given. Facts are bets, written beforehand in transactions of 1,000.
"""

import json
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Final

import psycopg2
from clickhouse_connect.driver.client import Client
from confluent_kafka import Consumer, TopicPartition
from rich.console import Console
from rich.table import Table

from countroom import clickhouse, kafka
from countroom.bench import latency
from countroom.bench.running import memory_mb, running, stores_with_kafka
from countroom.bench.yardstick import PLAYERS
from countroom.events import slot
from countroom.settings import Settings
from countroom.warehouse import rebuild

TRANSACTION_ROWS: Final = 1_000
WARM_SHARE: Final = 0.05
"""Of the rows, whose arrival begins the measurement: starting a process is not what is measured."""
POLL_SECONDS: Final = 0.02
PATIENCE_SECONDS: Final = 600.0
DEBEZIUM_SHARE: Final = 0.2
"""Debezium is given fewer rows, in the same run, for it takes many times as long with each."""
TOPIC: Final = "transactions"

Rates = dict[str, list[float]]


class TookTooLong(Exception):  # noqa: N818 - it ends a measurement
    """What was waited for never came."""


def pipeline(*, rows: int, rounds: int, large: int, seconds: float, with_debezium: bool, console: Console) -> int:
    """Measure, print the table and the JSON line; return the exit code.

    Raises:
        StoreFailed: Kafka or Debezium cannot be run here.
    """
    rates: Rates = {}
    peaks: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="countroom-bench-") as folder, stores_with_kafka(Path(folder)) as settings:
        line = _Line(settings)
        with closing(line.connection):
            line.copy()
            for number in range(rounds):
                console.print(f"round {number + 1} of {rounds}: {rows:,} rows each way", style="dim")
                line.both_ways(rows, rates, peaks)
                if with_debezium:
                    line.debezium(round(rows * DEBEZIUM_SHARE), rates)
            if large:
                console.print(f"one transaction of {large:,} rows, each way", style="dim")
                line.both_ways(large, {}, peaks, at_once=large)
            console.print("the warehouse's table of transactions, anew", style="dim")
            _add(rates, "rebuild", line.rebuild())
            visible = None
            if seconds:
                console.print("from commit to visible at half the rate of which bets are possible", style="dim")
                with line.running("pipeline", {}):
                    visible = latency.measure(settings, seconds)
    return _report(rates, peaks, visible, {"rows": rows, "rounds": rounds, "large": large}, console)


class _Line:
    """The stores, and the processes between them."""

    def __init__(self, settings: Settings) -> None:
        assert settings.database_url
        assert settings.clickhouse_url
        self.settings = settings
        self.clickhouse_url = settings.clickhouse_url
        self.connection = psycopg2.connect(settings.database_url)
        self.connection.autocommit = True
        self.brokers = kafka.configuration(settings)
        self._slot = slot.identify(self.connection).slot
        self._seen = "1970-01-01 00:00:00.000000"
        self._is_copied = False

    def copy(self) -> None:
        """Let either way copy the few rows that are there, so that there is nothing but the log to read later."""
        for command in ("pipeline", "relay"):
            with self.running(command, {}):
                self.wait_until_read()

    def both_ways(self, rows: int, rates: Rates, peaks: dict[str, float], at_once: int = TRANSACTION_ROWS) -> None:
        """Carry rows through Kafka, and as many others straight."""
        self.write(rows, at_once)
        _add(rates, "wal_to_kafka", self.into_kafka("relay", rows, peaks))
        with self.running("load", peaks):
            _add(rates, "kafka_to_clickhouse", self.into_clickhouse(rows))
        self.write(rows, at_once)
        with self.running("pipeline", peaks):
            _add(rates, "direct", self.into_clickhouse(rows))
            self.wait_until_read()

    def debezium(self, rows: int, rates: Rates) -> None:
        """Let Debezium carry rows into Kafka, and a loader take them out of the way."""
        self.write(rows, TRANSACTION_ROWS)
        _add(rates, "debezium", self.into_kafka("debezium", rows, {}))
        with self.running("load", {}):
            self.into_clickhouse(rows)

    def rebuild(self) -> float:
        """Return at how many rows a second the table is made anew from PostgreSQL, by nobody else disturbed."""
        [made] = rebuild.rebuild(self.settings, [TOPIC])
        return made.rows / made.seconds

    def write(self, rows: int, at_once: int) -> None:
        """Write bets; nobody reads the log meanwhile."""
        statement = files("countroom.bench").joinpath("facts.sql").read_text("utf-8")
        with self.connection.cursor() as cursor:
            cursor.execute("SET synchronous_commit = off")
            for _ in range(0, rows, at_once):
                run = uuid.uuid4().hex[:12]
                cursor.execute(
                    statement.replace("{run}", run).replace("{rows}", str(at_once)).replace("{players}", str(PLAYERS))
                )
            cursor.execute("SELECT clock_timestamp()")

    def into_kafka(self, command: str, rows: int, peaks: dict[str, float]) -> float:
        """Return at how many rows a second a process fills the topic."""
        with closing(Consumer({**self.brokers, "group.id": "bench"})) as asking:
            partitions = [TopicPartition(TOPIC, number) for number in range(kafka.PARTITIONS)]

            def held() -> int:
                return sum(asking.get_watermark_offsets(one, timeout=kafka.ANSWER_SECONDS)[1] for one in partitions)

            before = held()
            first = before + max(1, round(rows * WARM_SHARE))
            with self.running(command, peaks):
                _until(lambda: held() >= first)
                begun, begun_with = time.monotonic(), held()
                _until(lambda: held() >= before + rows)
                seconds = time.monotonic() - begun
                self.wait_until_read()
        return (before + rows - begun_with) / seconds if seconds > 0 else 0.0

    def into_clickhouse(self, rows: int) -> float:
        """Return at how many rows a second they arrive, by the moments at which the inserts began."""
        with closing(clickhouse.connect(self.clickhouse_url)) as client:
            _until(lambda: self._arrived(client)[0] >= rows, 0.2)
            count, first, microseconds = self._arrived(client)
            ((self._seen,),) = client.query("SELECT toString(max(_ingested_at)) FROM events_transactions").result_rows
        return (count - first) * 1e6 / microseconds if microseconds else 0.0

    def _arrived(self, client: Client) -> tuple[int, int, int]:
        """Return how many rows have come since they were last counted, how many of them first, and in which µs."""
        rows = client.query(
            """
            WITH (SELECT min(_ingested_at) FROM events_transactions
                   WHERE _ingested_at > toDateTime64({moment:String}, 6, 'UTC')) AS earliest
            SELECT count(), countIf(_ingested_at = earliest),
                   dateDiff('microsecond', min(_ingested_at), max(_ingested_at))
              FROM events_transactions WHERE _ingested_at > toDateTime64({moment:String}, 6, 'UTC')
            """,
            parameters={"moment": self._seen},
        ).result_rows
        count, first, microseconds = rows[0]
        return count, first, microseconds

    def wait_until_read(self) -> None:
        """Wait until everything that is committed has been confirmed."""
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT pg_current_wal_insert_lsn()::text")
            ((position,),) = cursor.fetchall()
            cursor.execute("SELECT pg_logical_emit_message(true, 'countroom', 'bench')")

            def is_read() -> bool:
                cursor.execute(
                    "SELECT confirmed_flush_lsn >= %s::pg_lsn FROM pg_replication_slots WHERE slot_name = %s",
                    (position, self._slot),
                )
                return cursor.fetchall() == [(True,)]

            _until(is_read)

    @contextmanager
    def running(self, command: str, peaks: dict[str, float]) -> Iterator[None]:
        """Run `countroom` with a command, and note its peak of memory in megabytes when it is stopped."""
        arguments = [command, "--copy", "never"] if command == "relay" and self._is_copied else [command]
        with running(self.settings, *arguments) as process:
            yield
            peaks[command] = max(peaks.get(command, 0.0), memory_mb(process, "VmHWM"))
        self._is_copied = self._is_copied or command == "relay"


def _until(holds: Callable[[], bool], poll_seconds: float = POLL_SECONDS) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            raise TookTooLong(f"not within {PATIENCE_SECONDS:g} seconds")
        time.sleep(poll_seconds)


def _add(rates: Rates, name: str, rate: float) -> None:
    rates.setdefault(name, []).append(rate)


def _report(
    rates: Rates, peaks: dict[str, float], visible: latency.Visible | None, asked: dict[str, int], console: Console
) -> int:
    table = Table(title="Facts on their way, rows a second", box=None, pad_edge=False)
    for title in ("way", "median", "rounds", "peak MB"):
        table.add_column(title, justify="left" if title == "way" else "right")
    ways = {"wal_to_kafka": "relay", "debezium": "debezium", "kafka_to_clickhouse": "load", "direct": "pipeline"}
    medians: dict[str, float | None] = dict.fromkeys(ways)
    for way, command in ways.items():
        if way in rates:
            medians[way] = round(statistics.median(rates[way]))
            rounds = ", ".join(f"{rate:,.0f}" for rate in rates[way])
            table.add_row(way, f"{medians[way]:,}", rounds, f"{peaks.get(command, 0):,.0f}")
    rebuilt = round(rates["rebuild"][0])
    console.print(table)
    console.print(f"PostgreSQL → a new table in its place: {rebuilt:,} rows/s")
    if visible is not None:
        console.print(
            f"commit → visible at {visible.bets_per_s:,.0f} bets/s (full: {visible.full_per_s:,.0f}): "
            f"p50 {visible.p50_ms:,.0f} ms, p99 {visible.p99_ms:,.0f} ms, {visible.canaries:,} canaries"
        )
    pairs = zip(rates.get("wal_to_kafka", []), rates.get("debezium", []), strict=False)
    ratios = [ours / theirs for ours, theirs in pairs]
    figures: dict[str, float | None] = {f"{way}_rows_per_s": median for way, median in medians.items()}
    figures["debezium_ratio"] = round(statistics.median(ratios), 1) if ratios else None
    figures["visible_p50_ms"] = round(visible.p50_ms) if visible else None
    figures["visible_p99_ms"] = round(visible.p99_ms) if visible else None
    figures["visible_bets_per_s"] = round(visible.bets_per_s) if visible else None
    figures["peak_mb"] = round(max(peaks.values(), default=0.0))
    figures |= {f"{command}_peak_mb": round(peak) for command, peak in peaks.items()}
    figures["rebuild_rows_per_s"] = rebuilt
    print(json.dumps(figures | asked))  # noqa: T201 - the line that programs read
    return 0
