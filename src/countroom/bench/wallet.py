"""Bets through the wallet in process, without HTTP, against the same five writes row by row."""

import asyncio
import json
import random
import statistics
import tempfile
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Final

import uvloop
from rich.console import Console
from rich.table import Table

from countroom.bench.history import grow
from countroom.bench.yardstick import PLAYERS, PROVIDER, filled_stores, find_pgbench, row_by_row
from countroom.postgres import Database
from countroom.wallet.batch import LANES, Batcher, collect_rarely, post
from countroom.wallet.commands import Adjust, Bet, Command, Play

HOT_SHARE: Final = 0.9
HOT_WALLETS: Final = 4
"""Nine bets of ten fall on so few wallets in the hot case: a popular table, or a bot."""

WARM_UP_SECONDS: Final = 3.0
"""What connecting, planning and a first look at 10,000 players take is not what is measured; with 64 callers nearly
each pass of the first three seconds reads somebody."""
PAYMENTS_PER_SECOND: Final = 10
"""Credits by somebody else, in the case that has them: what the batcher remembers of such a player is no longer so."""
GROWN: Final = "grown"
"""The case, and the database, in which years of bets have been made already."""


@dataclass(frozen=True, slots=True)
class Case:
    """One way of betting."""

    name: str
    callers: int
    database_url: str
    is_hot: bool = False
    is_paid: bool = False
    """Whether somebody else pays players in meanwhile."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What one case gave."""

    per_second: float
    p50_ms: float
    p99_ms: float


def wallet(*, seconds: float, rounds: int, callers: int, grown: int, console: Console) -> int:
    """Measure, print the table and the JSON line; return the exit code.

    Raises:
        ToolMissing: pgbench is not there.
    """
    pgbench = find_pgbench()
    yardsticks: list[float] = []
    with tempfile.TemporaryDirectory(prefix="countroom-bench-") as folder, filled_stores(Path(folder), {}) as settings:
        url = settings.database_url
        assert url
        cases = [Case("batched", callers, url), Case("hot", callers, url, is_hot=True)]
        cases += [Case("paid", callers, url, is_paid=True), Case("single", 1, url)]
        if grown:
            with console.status(f"growing to {grown:,} transactions") as status:
                grown_url = asyncio.run(grow(url, GROWN, players=PLAYERS, bets=grown, say=status.update))
            cases.append(Case(GROWN, callers, grown_url))
        found: dict[str, list[Measured]] = {case.name: [] for case in cases}
        for number in range(rounds):
            console.print(f"round {number + 1} of {rounds}: pgbench, then each case, {seconds:g} s each", style="dim")
            yardsticks.append(row_by_row(pgbench, settings, seconds))
            for case in cases:
                found[case.name].append(uvloop.run(_measure(case, seconds)))
    return _report(yardsticks, found, {"callers": callers, "rounds": rounds, "grown": grown}, console)


def _report(
    yardsticks: Sequence[float], found: dict[str, list[Measured]], asked: dict[str, float], console: Console
) -> int:
    table = Table(title="Bets in process against the same five writes row by row", box=None, pad_edge=False)
    for title in ("case", "bets/s", "ratio", "p50 ms", "p99 ms"):
        table.add_column(title, justify="left" if title == "case" else "right")
    yardstick = statistics.median(yardsticks)
    table.add_row("pgbench", f"{yardstick:,.0f}", "1.00", "", "")
    figures: dict[str, float] = {}
    for name, measured in found.items():
        per_second = statistics.median(m.per_second for m in measured)
        ratio = statistics.median(m.per_second / y for m, y in zip(measured, yardsticks, strict=True))
        p50, p99 = (statistics.median(values) for values in zip(*((m.p50_ms, m.p99_ms) for m in measured), strict=True))
        table.add_row(name, f"{per_second:,.0f}", f"{ratio:.2f}", f"{p50:.1f}", f"{p99:.1f}")
        figures |= {
            f"{name}_per_s": round(per_second),
            f"{name}_ratio": round(ratio, 2),
            f"{name}_p50_ms": round(p50, 1),
            f"{name}_p99_ms": round(p99, 1),
        }
    if GROWN in found:  # beside the empty tables of the same round, not beside pgbench
        pairs = zip(found[GROWN], found["batched"], strict=True)
        figures["grown_ratio"] = round(
            statistics.median(full.per_second / empty.per_second for full, empty in pairs), 2
        )
    console.print(table)
    head = {"ratio": figures["batched_ratio"], "p99_ms": figures["batched_p99_ms"], "pgbench_per_s": round(yardstick)}
    print(json.dumps(head | asked | figures))  # noqa: T201 - the line that programs read
    return 0


async def _measure(case: Case, seconds: float) -> Measured:
    database = await Database.connect(case.database_url, size_max=LANES + case.is_paid, point_reads_only=True)
    players = await database.fetch("SELECT user_id, session_id, game_id FROM bench_players ORDER BY n")
    chance = random.Random(case.name)  # noqa: S311 - which wallet is bet from is no secret
    milliseconds: list[float] = []
    run, numbers = uuid.uuid4().hex[:12], count()
    since = time.perf_counter() + WARM_UP_SECONDS
    until = since + seconds

    async def call(batcher: Batcher) -> None:
        while (began := time.perf_counter()) < until:
            hot = case.is_hot and chance.random() < HOT_SHARE
            player = players[chance.randrange(HOT_WALLETS)] if hot else chance.choice(players)
            key = f"{run}-{next(numbers)}"
            play = Play(player["game_id"], key, player["session_id"])
            await batcher.submit(Command(PROVIDER, player["user_id"], "EUR", (Bet(key, Decimal("0.10")),), play))
            if began >= since:
                milliseconds.append((time.perf_counter() - began) * 1e3)

    async def pay() -> None:
        while time.perf_counter() < until:
            credit = Adjust(f"{run}-{next(numbers)}", Decimal("1.00"))
            async with database.transaction() as tx:
                await post(tx, [Command("cashier", chance.choice(players)["user_id"], "EUR", (credit,))])
            await asyncio.sleep(1 / PAYMENTS_PER_SECOND)

    collect_rarely()
    async with Batcher(database) as batcher:
        await asyncio.gather(*(call(batcher) for _ in range(case.callers)), *([pay()] if case.is_paid else []))
    await database.close()
    milliseconds.sort()
    made = len(milliseconds)
    return Measured(made / seconds, milliseconds[made // 2], milliseconds[int(made * 0.99)])
