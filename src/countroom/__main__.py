"""The `countroom` command."""

import asyncio
import logging
import multiprocessing.connection
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from typing import Annotated, Final

import cyclopts
import structlog
import uvicorn
from cyclopts import Parameter
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from uvicorn.supervisors import Multiprocess

from countroom import __version__, bench, checks, jobs
from countroom.demo import bots
from countroom.embedded import lifeline, stores
from countroom.embedded import up as supervisor
from countroom.marts import refresh as marts
from countroom.players import staff as staff_accounts
from countroom.postgres import Database
from countroom.refusal import Refusal
from countroom.schema import migrate as migrations
from countroom.settings import Settings, SettingsError, load
from countroom.warehouse import pipeline as warehouse_pipeline
from countroom.warehouse import schema as warehouse_schema
from countroom.web.app import create_app

console: Final = Console(highlight=False)
app: Final = cyclopts.App(
    name="countroom",
    version=__version__,
    help="The money and data core of a licensed online casino.\n\n"
    "Try `countroom up` first: it starts everything here, with embedded stores, and plays. Every command "
    "uses the stores of a running `up` on the same data folder, starts its own if there is none, or uses "
    "DATABASE_URL, REDIS_URL and CLICKHOUSE_URL where they are set. See docs/settings.md.",
)
staff: Final = cyclopts.App(name="staff", help="Accounts of those who work here.")
benchmarks: Final = cyclopts.App(name="bench", help="Measure on this machine; the last line is JSON.")
app.command(staff)
app.command(benchmarks)


@contextmanager
def _running() -> Iterator[Settings]:
    """Give complete settings, with stores that run for as long as the command."""
    with stores.running(load(os.environ), lambda sentence: console.print(sentence, style="dim")) as settings:
        yield settings


@app.command
def up(*, bots: bool = True) -> int:
    """Start the whole casino here, and let bots play in it until Ctrl-C.

    Starts what is not named by a URL in the settings (PostgreSQL, Valkey, ClickHouse's engine), brings
    the schemas up to date, then runs web, pipeline, jobs and the sandboxes, and starts again what dies.

    Parameters
    ----------
    bots
        Whether bots play. Without them the casino waits for you.
    """
    return supervisor.run(load(os.environ), bots=bots, console=console)


@app.command
def serve() -> int:
    """Serve the API, the back office and the provider callbacks.

    COUNTROOM_WEB_PROCESSES says how many processes share the port. They hold no state of their own.
    """
    with _running() as settings:
        config = uvicorn.Config(
            "countroom.__main__:_application",
            factory=True,
            host=settings.host,
            port=settings.port,
            workers=settings.web_processes,
            loop="uvloop",
            http="httptools",
            lifespan="on",
            access_log=False,
            log_level=settings.log_level,
            timeout_graceful_shutdown=5,
            server_header=False,
        )
        _export(settings)
        if settings.web_processes > 1:
            sockets = [config.bind_socket()]
            Multiprocess(config, sockets=sockets).run()
        else:
            uvicorn.Server(config).run()
    return 0


def _application() -> object:
    """Make the application in a web process; its environment names every store."""
    settings = load(os.environ)
    _log(settings)
    parent = multiprocessing.parent_process()
    if parent is not None:
        # One of several web processes: it must not outlive the one that shares out the port.
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    return create_app(settings)


def _end_with(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os.kill(os.getpid(), signal.SIGTERM)


def _export(settings: Settings) -> None:
    """Name every store and secret in the environment, where web processes look for them."""
    for variable, value in (
        ("DATABASE_URL", settings.database_url),
        ("REDIS_URL", settings.redis_url),
        ("CLICKHOUSE_URL", settings.clickhouse_url),
        ("COUNTROOM_SECRET_KEY", settings.secret_key),
        ("COUNTROOM_SANDBOX_PSP_SECRET", settings.sandbox_psp_secret),
    ):
        if value is not None:
            os.environ[variable] = value


@app.command
def pipeline() -> int:
    """Carry committed facts from PostgreSQL's log into ClickHouse, without a broker.

    Exactly one works at a time; a second waits. A position is confirmed to PostgreSQL only after
    ClickHouse has acknowledged everything before it.
    """
    with _running() as settings:
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        warehouse_pipeline.run(settings, stop)
    return 0


@app.command
def work() -> int:
    """Do background work: KPI refreshes and proofs of the promises, on their timers."""
    with _running() as settings:
        asyncio.run(jobs.run(settings))
    return 0


@app.command
def migrate(*, dry_run: bool = False) -> int:
    """Bring PostgreSQL's and ClickHouse's schema up to date.

    Parameters
    ----------
    dry_run
        Only say what would be applied.
    """
    with _running() as settings:
        assert settings.database_url
        assert settings.clickhouse_url
        if dry_run:
            names = asyncio.run(migrations.pending(settings.database_url))
            verb = "would be applied"
        else:
            names = asyncio.run(migrations.apply(settings.database_url))
            warehouse_schema.migrate(settings.clickhouse_url)
            verb = "applied"
        for name in names:
            console.print(f"{name} {verb}")
        if not names:
            console.print("PostgreSQL's schema is up to date.")
    return 0


@app.command
def refresh(*, day: date | datetime | None = None) -> int:
    """Recompute the KPI marts: the days that have changed, or the one you name.

    Parameters
    ----------
    day
        A day of the reporting time zone, such as 2026-11-23.
    """
    only = day.date() if isinstance(day, datetime) else day
    with _running() as settings:
        bar = Progress(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console)
        with bar:
            bar.add_task("recomputing the marts")
            days = marts.refresh(settings, only)
    console.print(f"Recomputed {', '.join(map(str, days))}." if days else "No day has changed since the last refresh.")
    return 0


@app.command
def check() -> int:
    """Prove the promises P1 to P6 over the live stores, while everything runs.

    Prints a line a promise with the number of things compared, and the first ids at fault. Exits 1
    when a promise does not hold. P6 needs the pipeline to run: `countroom up`, or `countroom pipeline`.
    """
    with _running() as settings, console.status("proving"):
        proofs = asyncio.run(checks.prove_all(settings))
    table = Table(box=None, pad_edge=False)
    for title in ("", "promise", "holds", "compared"):
        table.add_column(title, justify="right" if title == "compared" else "left")
    for proof in proofs:
        holds = "[green]yes[/]" if proof.holds else "[bold red]NO[/]"
        table.add_row(proof.promise, checks.PROMISES[proof.promise], holds, f"{proof.compared:,}")
    console.print(table)
    for proof in proofs:
        for violation in proof.violations:
            console.print(f"{proof.promise}: {violation}", style="red", markup=False, soft_wrap=True)
    return 0 if all(proof.holds for proof in proofs) else 1


@app.command
def simulate(
    *,
    players: Annotated[int, Parameter(validator=cyclopts.validators.Number(gte=1, lte=500))] = 20,
    seconds: Annotated[float, Parameter(validator=cyclopts.validators.Number(gt=0))] = 60.0,
    rate: Annotated[float, Parameter(validator=cyclopts.validators.Number(gt=0, lte=1000))] = 15.0,
    seed: int | None = None,
    forever: bool = False,
) -> int:
    """Let bots play through HTTP only: several currencies, retries, reversals out of order, late wins.

    Needs a running casino (`countroom up --no-bots`). Exits 1 when any answer was not as it should be.

    Parameters
    ----------
    players
        How many bots.
    seconds
        How long they play.
    rate
        Rounds a second, of all of them together.
    seed
        Makes the bots choose alike again.
    forever
        Play until stopped.
    """
    summary = bots.simulate(
        load(os.environ),
        players=players,
        seconds=None if forever else seconds,
        rate=rate,
        seed=seed,
        console=console,
    )
    return 0 if summary.ok else 1


@staff.command(name="reset-password")
def reset_password(email: str = "admin@countroom.local") -> int:
    """Give a member of the staff a new password, and print it once. Open sessions end.

    Parameters
    ----------
    email
        Whose.
    """
    with _running() as settings:
        console.print(f"New password of {email}: {asyncio.run(_reset_password(settings, email))}")
    return 0


async def _reset_password(settings: Settings, email: str) -> str:
    assert settings.database_url
    database = await Database.connect(settings.database_url, size_max=1)
    try:
        return await staff_accounts.reset_password(database, email)
    finally:
        await database.close()


@benchmarks.command(name="bet")
def bench_bet(
    *,
    seconds: Annotated[float, Parameter(validator=cyclopts.validators.Number(gte=1, lte=300))] = 8.0,
    rounds: Annotated[int, Parameter(validator=cyclopts.validators.Number(gte=1, lte=9))] = 3,
    processes: Annotated[int, Parameter(validator=cyclopts.validators.Number(gte=1, lte=16))] = 1,
) -> int:
    """Compare signed bets over HTTP with the same five writes, row by row, by pgbench.

    Both run against a PostgreSQL of their own, durable commits on. Needs `wrk` (Debian: apt-get install wrk).

    Parameters
    ----------
    seconds
        Of each measurement.
    rounds
        How often both are measured; medians are compared.
    processes
        Web processes.
    """
    return bench.bet(seconds=seconds, rounds=rounds, processes=processes, console=console)


def _log(settings: Settings | None = None) -> None:
    level = getattr(logging, (settings.log_level if settings else "info").upper())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def main() -> None:
    """Run the command line. Expected problems are one sentence, and exit code 1."""
    lifeline.watch()
    try:
        _log(load(os.environ))
        sys.exit(app())
    except SettingsError as error:
        console.print(str(error), style="red", markup=False, soft_wrap=True)
    except Refusal as refusal:
        console.print(refusal.sentence, style="red", markup=False, soft_wrap=True)
    except KeyboardInterrupt:
        console.print("Interrupted.")
    sys.exit(1)


if __name__ == "__main__":
    main()
