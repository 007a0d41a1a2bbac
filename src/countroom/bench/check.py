"""What proving the books costs: bets with and without it in one run, and everything over a long history."""

import asyncio
import json
import math
import random
import statistics
import tempfile
import threading
import time
import uuid
from collections.abc import Awaitable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from importlib.resources import files
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import asyncpg
import uvloop
from rich.console import Console
from rich.table import Table

from countroom.bench.yardstick import PLAYERS, PROVIDER, filled_stores
from countroom.postgres import Database
from countroom.proof import Proof
from countroom.wallet import books, incremental
from countroom.wallet.batch import LANES, Batcher, collect_rarely
from countroom.wallet.commands import Bet, Command, Play

ROUNDS_A_CHUNK: Final = 250_000
PROOF_AFTER_SECONDS: Final = 2.0
"""So long bets flow before a round's one proof begins."""
SAMPLE_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class Played:
    """What a round of bets gave."""

    per_second: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Proved:
    """What a proof took."""

    seconds: float
    cpu_seconds: float
    """Of its server process: what others do on this machine does not lengthen it as much."""
    compared: int
    lines: int
    """Wallets and lines of their journals that were read."""
    waiting: int
    """Lines that it left to the next one."""
    holds: bool


@dataclass(slots=True)
class Found:
    """Everything that was measured."""

    entries: int
    whole: Proved
    """A full proof while nobody bets,"""
    memory_mb: float
    """the private memory of its server process,"""
    spilled_mb: float
    """and what it put on disk."""
    rounds: list[tuple[Played, Played, Proved]] = field(default_factory=list)
    """Without a proof, with one, and that proof."""
    alone: Proved | None = None
    """A proof, while nobody bets, of what those have left."""
    during: tuple[Played, Proved] | None = None
    """Bets while a full proof runs, and that proof."""


def check(*, entries: int, seconds: float, rounds: int, callers: int, console: Console) -> int:
    """Measure, print the tables and the JSON line; return the exit code."""
    with (
        tempfile.TemporaryDirectory(prefix="countroom-bench-") as folder,
        filled_stores(Path(folder), {}) as settings,
        # A process of its own, as `countroom work` is.
        ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as prover,
    ):
        url = settings.database_url
        assert url
        asyncio.run(_write_history(url, entries, console))
        console.print(f"proving {entries:,} entries in full, while nobody bets", style="dim")
        found = Found(entries, *asyncio.run(_prove_everything(url)))
        prover.submit(_prove, url, is_full=False).result()  # sets the marks
        share = settings.books_proof_seconds / 60
        if rounds:  # a proof has a minute's bets to read, and the tables are warm
            uvloop.run(_play(url, callers, asyncio.sleep(seconds)))
        for number in range(rounds):
            console.print(f"round {number + 1} of {rounds}: bets, bets and a proof, {seconds:g} s each", style="dim")
            # In turn first and last: the tables grow meanwhile.
            without = None if number % 2 else uvloop.run(_play(url, callers, asyncio.sleep(seconds)))
            with_it = uvloop.run(_play_and_prove(url, seconds, callers, prover, share=share))
            without = without or uvloop.run(_play(url, callers, asyncio.sleep(seconds)))
            found.rounds.append((without, *with_it))
        if rounds:
            console.print("proving what is left, while nobody bets", style="dim")
            found.alone = prover.submit(_prove, url, is_full=False).result()
            console.print("bets for as long as a full proof takes", style="dim")
            found.during = uvloop.run(_play_and_prove(url, None, callers, prover))
    return _report(found, console)


def _report(found: Found, console: Console) -> int:
    whole = found.whole
    figures: dict[str, float] = {
        "entries": found.entries,
        "full_s": round(whole.seconds, 1),
        "full_cpu_s": round(whole.cpu_seconds, 1),
        "full_compared": whole.compared,
        "full_memory_mb": round(found.memory_mb),
        "full_spilled_mb": round(found.spilled_mb),
        "holds": whole.holds,
    }
    console.print(
        f"Everything, {found.entries:,} entries: {whole.seconds:.0f} s, {whole.cpu_seconds:.0f} s of a core, "
        f"{found.memory_mb:.0f} MB of memory, {found.spilled_mb:,.0f} MB on disk."
    )
    if found.during is not None:
        figures |= _with_bets(found, *found.during, console)
    print(json.dumps(figures))  # noqa: T201 - the line that programs read
    return 0 if figures["holds"] else 1


def _with_bets(found: Found, played: Played, full: Proved, console: Console) -> dict[str, float]:
    table = Table(title="Bets in process, without and with the books being proved", box=None, pad_edge=False)
    for title in ("round", "without/s", "with/s", "ratio", "p99 ms", "with", "proof s", "core s", "proved", "left"):
        table.add_column(title, justify="right")
    for number, (without, with_it, proved) in enumerate(found.rounds, 1):
        table.add_row(
            str(number), f"{without.per_second:,.0f}", f"{with_it.per_second:,.0f}",
            f"{with_it.per_second / without.per_second:.3f}", f"{without.p99_ms:.1f}", f"{with_it.p99_ms:.1f}",
            f"{proved.seconds:.2f}", f"{proved.cpu_seconds:.2f}", f"{proved.lines:,}", f"{proved.waiting:,}",
        )  # fmt: skip
    console.print(table)
    usual = statistics.median(without.per_second for without, _, _ in found.rounds)
    assert found.alone is not None
    microseconds = found.alone.cpu_seconds / found.alone.lines * 1e6
    console.print(f"What they left, proved while nobody bets: {microseconds:.1f} µs of a core a line.")
    console.print(
        f"Bets while everything is proved, {full.seconds:.0f} s: {played.per_second:,.0f} a second, "
        f"p99 {played.p99_ms:.0f} ms."
    )
    return {
        "ratio": round(statistics.median(w.per_second / n.per_second for n, w, _ in found.rounds), 3),
        "incremental_s": round(statistics.median(proved.seconds for _, _, proved in found.rounds), 2),
        "incremental_cpu_s": round(statistics.median(proved.cpu_seconds for _, _, proved in found.rounds), 2),
        "incremental_lines": round(statistics.median(proved.lines for _, _, proved in found.rounds)),
        "incremental_waiting": round(statistics.median(proved.waiting for _, _, proved in found.rounds)),
        "alone_us_a_line": round(microseconds, 1),
        "without_per_s": round(usual),
        "without_p99_ms": round(statistics.median(n.p99_ms for n, _, _ in found.rounds), 1),
        "with_p99_ms": round(statistics.median(w.p99_ms for _, w, _ in found.rounds), 1),
        "full_s_while_betting": round(full.seconds, 1),
        "full_ratio": round(played.per_second / usual, 3),
        "holds": all(
            proved.holds for proved in (found.whole, found.alone, full, *(proved for _, _, proved in found.rounds))
        ),
    }


async def _write_history(url: str, entries: int, console: Console) -> None:
    connection = await asyncpg.connect(url)
    sql = files("countroom.bench").joinpath("check_history.sql").read_text("utf-8").replace("{players}", str(PLAYERS))
    turns = max(1, entries // 2 // PLAYERS)
    for first in range(0, turns * PLAYERS, ROUNDS_A_CHUNK):
        last = min(first + ROUNDS_A_CHUNK, turns * PLAYERS) - 1
        console.print(f"writing a history: {2 * first:,} of {2 * turns * PLAYERS:,} entries", style="dim")
        await connection.execute(sql.replace("{first}", str(first)).replace("{last}", str(last)))
    await connection.execute(
        f"UPDATE wallet_accounts SET sequence = 1 + 2 * {turns}, balance = 1000000 - 0.5 * {turns} WHERE type = 'main'"
    )
    await connection.execute(f"UPDATE game_sessions SET bet_amount = {turns}, win_amount = 0.5 * {turns}")
    await connection.execute("VACUUM ANALYZE")
    await connection.execute("CHECKPOINT")
    await connection.close()


async def _prove_everything(url: str) -> tuple[Proved, float, float]:
    """Return what a full proof took, the memory of its server process and what it put on disk, in MB."""
    database = await Database.connect(url, size_max=1)
    async with database.transaction(snapshot=True) as tx:
        pid = await tx.fetchval("SELECT pg_backend_pid()")
        with _memory_of(pid) as peak:
            began, cpu_began = time.perf_counter(), _cpu_seconds(pid)
            proofs = await books.prove_within(tx)
            proved = _proved(time.perf_counter() - began, _cpu_seconds(pid) - cpu_began, proofs)
    await database.close()
    await asyncio.sleep(1.5)  # so long the server may keep its statistics to itself
    connection = await asyncpg.connect(url)
    spilled = await connection.fetchval("SELECT temp_bytes FROM pg_stat_database WHERE datname = current_database()")
    await connection.close()
    return proved, peak[0], spilled / 1e6


@contextmanager
def _memory_of(pid: int) -> Iterator[list[float]]:
    """Watch the private memory of a process; what is given holds the peak, in MB."""
    peak = [0.0]
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(SAMPLE_SECONDS):
            for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines():
                if line.startswith("RssAnon:"):
                    peak[0] = max(peak[0], int(line.split()[1]) / 1000)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()


async def _play_and_prove(
    url: str, seconds: float | None, callers: int, prover: ProcessPoolExecutor, *, share: float = 0.0
) -> tuple[Played, Proved]:
    """Bet while one proof runs, as long as the timer lets it: for a share of the round, as in production of a minute.

    Without ``seconds`` it is a full proof, and the bets end with it.
    """

    async def prove() -> Proved:
        await asyncio.sleep(PROOF_AFTER_SECONDS)
        work = partial(_prove, url, is_full=seconds is None, seconds_max=share * (seconds or 0.0))
        return await asyncio.get_running_loop().run_in_executor(prover, work)

    proving = asyncio.create_task(prove())
    played = await _play(url, callers, asyncio.wait([proving]) if seconds is None else asyncio.sleep(seconds))
    return played, await proving


async def _play(url: str, callers: int, end: Awaitable[object]) -> Played:
    """Bet until ``end``."""
    database = await Database.connect(url, size_max=LANES, point_reads_only=True)
    players = await database.fetch("SELECT user_id, session_id, game_id FROM bench_players ORDER BY n")
    chance = random.Random(1)  # noqa: S311 - which wallet is bet from is no secret
    milliseconds: list[float] = []
    run, numbers = uuid.uuid4().hex[:12], count()
    ended = asyncio.ensure_future(end)

    async def call(batcher: Batcher) -> None:
        while not ended.done():
            began = time.perf_counter()
            player = chance.choice(players)
            key = f"{run}-{next(numbers)}"
            play = Play(player["game_id"], key, player["session_id"])
            await batcher.submit(Command(PROVIDER, player["user_id"], "EUR", (Bet(key, Decimal("0.10")),), play))
            milliseconds.append((time.perf_counter() - began) * 1e3)

    collect_rarely()
    started = time.perf_counter()
    async with Batcher(database) as batcher:
        await asyncio.gather(*(call(batcher) for _ in range(callers)))
    seconds = time.perf_counter() - started
    await database.close()
    milliseconds.sort()
    return Played(len(milliseconds) / seconds, milliseconds[int(len(milliseconds) * 0.99)])


def _prove(url: str, *, is_full: bool, seconds_max: float = math.inf) -> Proved:
    async def prove() -> Proved:
        database = await Database.connect(url, size_max=1)
        async with database.connection() as connection:
            pid = await connection.fetchval("SELECT pg_backend_pid()")
        began, cpu_began = time.perf_counter(), _cpu_seconds(pid)
        proving = incremental.prove_fully(database) if is_full else incremental.prove(database, seconds_max=seconds_max)
        proofs = await proving
        proved = _proved(time.perf_counter() - began, _cpu_seconds(pid) - cpu_began, proofs)
        await database.close()
        return proved

    return asyncio.run(prove())


def _cpu_seconds(pid: int) -> float:
    return int(Path(f"/proc/{pid}/schedstat").read_text("ascii").split()[0]) / 1e9


def _proved(seconds: float, cpu_seconds: float, proofs: Sequence[Proof]) -> Proved:
    by_promise = {proof.promise: proof for proof in proofs}
    return Proved(
        seconds,
        cpu_seconds,
        compared=sum(proof.compared for proof in proofs),
        lines=by_promise["P3"].compared,
        waiting=by_promise["P3"].waiting,
        holds=all(proof.holds for proof in proofs),
    )
