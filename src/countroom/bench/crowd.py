"""What 10,000 open sessions and 200 providers cost a web process that most of them do not call.

Two casinos run side by side: a quiet one, and one with the crowd. As many players bet in both, in turn, so that both
are measured in the same minutes. At the end the whole crowd plays, too.
"""

import asyncio
import json
import shutil
import statistics
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from countroom.bench.bet import CONNECTIONS, memory_mb, served
from countroom.bench.providers import (
    CALLS_PER_SECOND_MAX,
    Caller,
    Measured,
    callers,
    measure,
    open_sessions,
    seats_of,
    sign_calls,
)
from countroom.bench.yardstick import ToolMissing
from countroom.games import service as games
from countroom.postgres import Database
from countroom.settings import Settings

PLAYING: Final = 500
"""Players who bet, in both."""
SESSIONS: Final = 10_000
PROVIDERS: Final = 200
GAMES_EACH: Final = 5
DIALECT: Final = "swipegames"
"""Names its session alone at each bet, so that a process has to know every session that is played."""


def crowd(*, seconds: float, rounds: int, processes: int, console: Console) -> int:
    """Measure, print the table and the JSON line; return the exit code.

    Raises:
        ToolMissing: wrk is not there.
    """
    wrk = shutil.which("wrk")
    if wrk is None:
        raise ToolMissing("This measurement sends its load with wrk: install it (Debian: apt-get install wrk).")
    caller = next(one for one in callers() if one.dialect == DIALECT)
    count = int(seconds * CALLS_PER_SECOND_MAX * processes)
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="countroom-bench-")))
        root.chmod(0o711)  # so that PostgreSQL, not root, may walk through
        places: list[tuple[Settings, int]] = []
        for name, opening in (("quiet", _quiet), ("crowd", _crowd)):
            (root / name).mkdir()
            prepare = partial(_prepare, opening(caller))
            places.append(stack.enter_context(served(root / name, processes, prepare=prepare)))
        seats = [asyncio.run(seats_of(str(settings.database_url), caller)) for settings, _ in places]
        found: list[list[Measured]] = [[], []]
        for number in range(-1, rounds):  # the first is not counted: everything is cold
            what = f"round {number + 1} of {rounds}: " if number >= 0 else "warming up: "
            console.print(f"{what}quiet, and with the crowd, {seconds:g} s each", style="dim")
            for place in (0, 1) if number % 2 == 0 else (1, 0):
                sign_calls(root / "calls", caller, seats[place][:PLAYING], count)
                measured = measure(wrk, places[place][0], caller, root / "calls", seconds)
                if number >= 0:
                    found[place].append(measured)
        memory = [memory_mb(server) for _, server in places]
        console.print("now the whole crowd plays", style="dim")
        sign_calls(root / "calls", caller, seats[1], count)
        all_play = measure(wrk, places[1][0], caller, root / "calls", seconds)
        return _report(found, memory, all_play=all_play, memory_all=memory_mb(places[1][1]), console=console)


def _report(
    found: Sequence[Sequence[Measured]],
    memory: Sequence[float],
    all_play: Measured,
    memory_all: float,
    console: Console,
) -> int:
    table = Table(
        title=f"Signed {DIALECT} bets over HTTP, {CONNECTIONS} connections, {PLAYING} players", box=None, pad_edge=False
    )
    for title in ("beside them", "bets/s", "p50 ms", "p99 ms", "MB", "errors"):
        table.add_column(title, justify="left" if title == "beside them" else "right")
    names = ("nobody", f"{SESSIONS - PLAYING:,} open sessions, {PROVIDERS - 1} providers")
    for name, measured, megabytes in zip(names, found, memory, strict=True):
        table.add_row(
            name, f"{statistics.median(m.per_second for m in measured):,.0f}",
            f"{statistics.median(m.p50_ms for m in measured):.1f}",
            f"{statistics.median(m.p99_ms for m in measured):.1f}", f"{megabytes:.0f}",
            str(sum(m.errors for m in measured)),
        )  # fmt: skip
    table.add_row(
        f"all {SESSIONS:,} play", f"{all_play.per_second:,.0f}", f"{all_play.p50_ms:.1f}", f"{all_play.p99_ms:.1f}",
        f"{memory_all:.0f}", str(all_play.errors),
    )  # fmt: skip
    console.print(table)
    quiet, busy = found
    errors = sum(m.errors for measured in found for m in measured) + all_play.errors
    figures = {
        "p99_ratio": round(statistics.median(b.p99_ms / q.p99_ms for q, b in zip(quiet, busy, strict=True)), 2),
        "memory_ratio": round(memory[1] / memory[0], 3),
        "quiet_p99_ms": [round(m.p99_ms, 1) for m in quiet],
        "crowd_p99_ms": [round(m.p99_ms, 1) for m in busy],
        "quiet_memory_mb": round(memory[0], 1),
        "crowd_memory_mb": round(memory[1], 1),
        "all_play_p99_ms": round(all_play.p99_ms, 1),
        "all_play_memory_mb": round(memory_all, 1),
        "sessions": SESSIONS,
        "providers": PROVIDERS,
        "errors": errors,
        "rounds": len(quiet),
    }
    print(json.dumps(figures))  # noqa: T201 - the line that programs read
    return 0 if errors == 0 else 1


class _Opening:
    """What stands in a casino before anybody bets."""

    def __init__(self, caller: Caller, *, players: int, providers: int) -> None:
        self.caller = caller
        self.players = players
        self.providers = providers


def _quiet(caller: Caller) -> _Opening:
    return _Opening(caller, players=PLAYING, providers=0)


def _crowd(caller: Caller) -> _Opening:
    return _Opening(caller, players=SESSIONS, providers=PROVIDERS - 2)


def _prepare(opening: _Opening, settings: Settings) -> None:
    asyncio.run(_fill(opening, settings))


async def _fill(opening: _Opening, settings: Settings) -> None:
    assert settings.database_url
    assert settings.secret_key
    database = await Database.connect(settings.database_url, size_max=1)
    async with database.connection() as connection:
        await connection.execute("DELETE FROM game_sessions")  # those of the other measurements' game
    for number in range(opening.providers):
        code = f"crowd-{number}"
        await games.ensure_provider(
            database, code=code, title=code, dialect=DIALECT, launch_url="http://127.0.0.1:9/",
            signing_keys=[f"a key of {code}, long enough"], secret_key=settings.secret_key,
        )  # fmt: skip
        for game in range(GAMES_EACH):
            slug = f"{code}-{game}"
            await games.ensure_game(
                database, provider_code=code, slug=slug, title=slug, volatility="low", genre="slots"
            )
    await database.close()
    await open_sessions(settings, [opening.caller], players=opening.players)
