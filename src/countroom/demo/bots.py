"""``countroom simulate``: bots play through HTTP, at a rate, for a time or for ever."""

import asyncio
import contextlib
import random
import signal
import time
from collections.abc import Coroutine, Iterator
from typing import Final

import httpx
import msgspec
import uvloop
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from countroom.demo.casino import Casino, casino_url
from countroom.demo.player import Bot, Dealer
from countroom.demo.pool import Pool, borrowed
from countroom.demo.tally import Summary, Tally
from countroom.settings import Settings

ARRIVALS_AT_ONCE: Final = 2
"""Registering and signing in cost the casino a password hash each; bots arrive a few at a time."""
START_SECONDS: Final = 15.0
"""A simulation with an end gives up when nobody answers for so long."""
STOP_SECONDS: Final = 15.0
"""How long rounds that are being played may take to end."""
REPORT_SECONDS: Final = 60.0
"""Without a terminal, a line so often."""


def simulate(
    settings: Settings, *, players: int, seconds: float | None, rate: float, seed: int | None, console: Console
) -> Summary:
    """Let bots play, show how it goes, and print a summary whose last line is JSON.

    Args:
        settings: where the casino is; the data folder keeps the bots' accounts.
        players: how many bots.
        seconds: how long, from the first bot that is ready; None plays until a signal.
        rate: rounds a second, of all bots together.
        seed: makes the bots choose alike again; outcomes stay the provider's.
        console: where progress and summary go.

    Returns:
        The figures. ``ok`` is false when any answer was not as it should be, or nothing was played.
    """
    with borrowed(settings.data_dir) as pool:
        chance = random.Random(seed)
        summary = uvloop.run(
            _simulate(settings, pool, players=players, seconds=seconds, rate=rate, chance=chance, console=console)
        )
    _print(summary, console)
    return summary


async def _simulate(
    settings: Settings,
    pool: Pool,
    *,
    players: int,
    seconds: float | None,
    rate: float,
    chance: random.Random,
    console: Console,
) -> Summary:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    with contextlib.suppress(RuntimeError, ValueError):  # not the main thread: then nobody signals it
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
    # Shorter than any server's keep-alive, so that no request is sent into a closing connection.
    limits = httpx.Limits(max_connections=players + 10, max_keepalive_connections=40, keepalive_expiry=3.0)
    async with httpx.AsyncClient(limits=limits, trust_env=False) as http:
        casino = Casino(casino_url(settings), http)
        tally = Tally()
        dealer = Dealer(chance)
        accounts = pool.take(players, settings.currencies, chance)
        crowd = _Crowd(
            [Bot(casino, pool, account, tally=tally, dealer=dealer, chance=chance) for account in accounts], tally, stop
        )
        if not await _somebody_answers(casino, stop, seconds):
            tally.count("unavailable")
            tally.findings.append(f"Nobody answers at {casino_url(settings)}: is `countroom up` running?")
            return tally.summary(players=players, seconds=0)
        with _shown(console, seconds) as (progress, task):
            return await crowd.play(seconds, rate, progress, task)


class _Crowd:
    """The bots, and the pacer that lets them act at the wanted rate."""

    def __init__(self, bots: list[Bot], tally: Tally, stop: asyncio.Event) -> None:
        self._bots = bots
        self._tally = tally
        self._stop = stop
        self._turns: asyncio.Queue[None] = asyncio.Queue(maxsize=len(bots))
        self._arrivals = asyncio.Semaphore(ARRIVALS_AT_ONCE)
        self._somebody_is_ready = asyncio.Event()

    async def play(self, seconds: float | None, rate: float, progress: Progress, task: TaskID) -> Summary:
        """Play until the time is over or a signal came; rounds that are being played end first."""
        playing = [asyncio.create_task(self._play(bot)) for bot in self._bots]
        await _first(self._somebody_is_ready.wait(), self._stop.wait())
        started = time.monotonic()
        pacer = asyncio.create_task(self._pace(rate))
        shown = asyncio.create_task(self._show(started, progress, task))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)
        self._stop.set()
        lasted = time.monotonic() - started
        _, unfinished = await asyncio.wait(playing, timeout=STOP_SECONDS)
        for left in (*unfinished, pacer, shown):
            left.cancel()
        outcomes = await asyncio.gather(*playing, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                self._tally.error(f"a bot failed: {type(outcome).__name__}: {outcome}")
        return self._tally.summary(players=len(self._bots), seconds=lasted)

    async def _play(self, bot: Bot) -> None:
        async with self._arrivals:
            wait = await bot.arrive()
        while True:
            if wait:
                await _first(asyncio.sleep(wait), self._stop.wait())
            else:
                self._somebody_is_ready.set()
                await _first(self._turns.get(), self._stop.wait())
            if self._stop.is_set():
                return
            wait = await bot.act()

    async def _pace(self, rate: float) -> None:
        """Give out turns. What nobody could take is not made up for: the rate is a ceiling."""
        due = time.monotonic()
        while True:
            with contextlib.suppress(asyncio.QueueFull):
                self._turns.put_nowait(None)
            due = max(due + 1 / rate, time.monotonic() - 1.0)
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _show(self, started: float, progress: Progress, task: TaskID) -> None:
        """Keep the live figures live; without a terminal, write a line a minute."""
        reported = started
        while True:
            now = time.monotonic()
            progress.update(task, completed=now - started, figures=_figures(self._tally))
            if not progress.console.is_terminal and now - reported >= REPORT_SECONDS:
                reported = now
                progress.console.print(_figures(self._tally), highlight=False)
            await asyncio.sleep(0.5)


async def _first(*waits: Coroutine[object, object, object]) -> None:
    """Wait for whichever is first, and drop the others."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


async def _somebody_answers(casino: Casino, stop: asyncio.Event, seconds: float | None) -> bool:
    """Wait for the casino: so long as it takes when playing for ever, a little while otherwise."""
    deadline = time.monotonic() + START_SECONDS
    pause = 0.1
    while not await casino.is_there():
        if stop.is_set() or (seconds is not None and time.monotonic() > deadline):
            return False
        await _first(asyncio.sleep(pause), stop.wait())
        pause = min(pause * 2, 2.0)
    return True


@contextlib.contextmanager
def _shown(console: Console, seconds: float | None) -> Iterator[tuple[Progress, TaskID]]:
    progress = Progress(
        SpinnerColumn(),
        BarColumn(bar_width=20),
        TimeElapsedColumn(),
        TextColumn("{task.fields[figures]}"),
        console=console,
        refresh_per_second=4,
        disable=not console.is_terminal,
    )
    with progress:
        yield progress, progress.add_task("playing", total=seconds, figures="the bots arrive …")


def _figures(tally: Tally) -> str:
    counts = tally.counts
    return (
        f"{counts['bets']:,} bets · {counts['wins']:,} wins · {counts['reversals']:,} reversals · "
        f"{counts['deposits']:,} deposits · {counts['errors']:,} errors · "
        f"p50 {tally.percentile(0.50):.0f} ms · p99 {tally.percentile(0.99):.0f} ms"
    )


def _print(summary: Summary, console: Console) -> None:
    table = Table("", "", title="What the bots did", show_header=False, title_justify="left")
    for name, value in msgspec.to_builtins(summary).items():
        if isinstance(value, dict):
            table.add_row(name, "  ".join(f"{amount} {currency}" for currency, amount in value.items()))
        elif not isinstance(value, list):
            table.add_row(name.replace("_", " "), f"{value:,}")
    console.print(table)
    for finding in summary.findings:
        console.print(f"! {finding}", style="red", markup=False, highlight=False)
    console.print(msgspec.json.encode(summary).decode(), soft_wrap=True, markup=False, highlight=False)
