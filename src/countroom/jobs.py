"""`countroom work`: background work on its timers, held in PostgreSQL by pgqueuer.

Any number of workers may run: a tick of a timer goes to one of them. A job that fails is
logged and comes again with the next tick; a worker that dies leaves nothing behind that
another does not take over after half a minute.
"""

import asyncio
import signal
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Final

import asyncpg
import structlog
from clickhouse_connect.driver.exceptions import ClickHouseError
from pgqueuer import PgQueuer
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.models import Schedule

from countroom import checks, clock
from countroom.events import pulse
from countroom.games import rounds
from countroom.games import service as games
from countroom.marts.refresh import Watch, refresh
from countroom.postgres import Database
from countroom.proof import Proof
from countroom.refusal import Refusal
from countroom.settings import Settings
from countroom.wallet import seals
from countroom.warehouse import alarms

REFRESH: Final = "* * * * * */5"
"""KPI marts: every five seconds, if something has arrived. The seconds are the last of six fields."""
SEAL: Final = "* * * * * 45"
"""The journal's seals: every minute, away from the proofs."""
SEAL_SECONDS: Final = 40.0
"""How long one tick may seal: a journal of years is sealed over many, and stopping never waits long."""
WATCH_PIPELINE: Final = "* * * * * */10"
"""How far the warehouse is behind, and what the slot holds: what the log says of it when that changes."""
PROVE_WAREHOUSE: Final = "* * * * * 0"
"""P6: every minute over the days that changed, once a day over everything."""
PROVE_BOOKS: Final = "* * * * * 0"
"""What is new in the books: every minute, on a timer of its own, because the warehouse's proof waits for
the pipeline and the books wait for nobody."""
PROVE_BOOKS_FULLY: Final = "* * * * * 30"
"""Everything in the books: every minute it is asked whether that is due."""
END_SESSIONS: Final = "* * * * * 20"
"""Game sessions that were idle, or open, for too long: every minute, away from the proofs."""
UNFINISHED: Final = "* * * * * 15"
"""Rounds that have not ended: every minute those that have become old enough."""
RETRY_SECONDS: Final = 2.0
"""The pause before the database is tried again."""

_log = structlog.get_logger("jobs")


async def install(database_url: str) -> None:
    """Create pgqueuer's tables, or bring them up to date. Safe to repeat."""
    connection = await asyncpg.connect(database_url)
    try:
        await Queries(AsyncpgDriver(connection)).upgrade()
    finally:
        await connection.close()


async def run(settings: Settings) -> None:
    """Work until SIGTERM or SIGINT; a job that is under way is finished first."""
    assert settings.database_url is not None
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    work = _Work(settings)
    is_away = False
    try:
        # It sends the canary as the pipeline does, so that somebody sends it while no pipeline lives.
        with pulse.beating(settings.database_url, "work"):
            pulse.say("following")
            while not stop.is_set():
                try:
                    await install(settings.database_url)
                    is_away = False
                    await _session(settings.database_url, work, stop)
                except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                    if not is_away:
                        _log.warning("the database is away; trying again until it is back", reason=str(error))
                    is_away = True
                    with suppress(TimeoutError):
                        await asyncio.wait_for(stop.wait(), RETRY_SECONDS)
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        work.close()


async def _session(database_url: str, work: "_Work", stop: asyncio.Event) -> None:
    """Run the timers on one connection until it breaks or ``stop`` is set."""
    connection = await asyncpg.connect(database_url)
    try:
        queue = PgQueuer(AsyncpgDriver(connection))

        # Other workers' ticks of a retired timer must not linger: clean_old drops them at start.
        @queue.schedule("refresh", REFRESH, clean_old=True)
        async def _refresh(_: Schedule) -> None:
            await work.refresh()

        @queue.schedule("prove-warehouse", PROVE_WAREHOUSE, clean_old=True)
        async def _prove_warehouse(_: Schedule) -> None:
            await work.prove_warehouse()

        @queue.schedule("prove-books", PROVE_BOOKS, clean_old=True)
        async def _prove_books(_: Schedule) -> None:
            await work.prove_books()

        @queue.schedule("prove-books-fully", PROVE_BOOKS_FULLY, clean_old=True)
        async def _prove_books_fully(_: Schedule) -> None:
            await work.prove_books_fully()

        @queue.schedule("watch-pipeline", WATCH_PIPELINE, clean_old=True)
        async def _watch_pipeline(_: Schedule) -> None:
            await work.watch_pipeline()

        @queue.schedule("seal", SEAL, clean_old=True)
        async def _seal(_: Schedule) -> None:
            await work.seal()

        @queue.schedule("end-sessions", END_SESSIONS, clean_old=True)
        async def _end_sessions(_: Schedule) -> None:
            await work.end_sessions()

        @queue.schedule("note-unfinished-rounds", UNFINISHED, clean_old=True)
        async def _note_unfinished_rounds(_: Schedule) -> None:
            await work.note_unfinished_rounds()

        stopping = asyncio.create_task(_forward(stop, queue.shutdown))
        try:
            await queue.run()
        finally:
            stopping.cancel()
    finally:
        await connection.close(timeout=RETRY_SECONDS)


async def _forward(source: asyncio.Event, target: asyncio.Event) -> None:
    await source.wait()
    target.set()


class _Work:
    """The jobs themselves, and what they said last: a state is logged when it changes."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._watch = Watch(settings)
        self._refused: str | None = None
        self._unsealed: str | None = None
        self._pipeline: str = "good"
        self._broken: dict[tuple[str, str], tuple[str, ...]] = {}

    def close(self) -> None:
        self._watch.close()

    async def refresh(self) -> None:
        """Recompute the KPIs of days that changed."""
        try:
            if not await asyncio.to_thread(self._watch.has_changes):
                return
            days = await asyncio.to_thread(refresh, self._settings)
        except Refusal as refusal:
            if refusal.sentence != self._refused:
                _log.error("KPIs are refused", code=refusal.code, sentence=refusal.sentence)
            self._refused = refusal.sentence
        except ClickHouseError as error:
            _log.warning("KPIs were not refreshed", reason=str(error)[:300])
        else:
            self._refused = None
            _log.debug("KPIs refreshed", days=[str(day) for day in days])

    async def seal(self) -> None:
        """Seal what the journal has got since the last seal."""
        assert self._settings.database_url
        reason = None
        try:
            database = await Database.connect(self._settings.database_url, size_max=2)
            try:
                await seals.make_for(database, SEAL_SECONDS)
            finally:
                await database.close()
        except Refusal as refusal:
            reason = refusal.sentence
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            reason = repr(error)
        if reason is not None and reason != self._unsealed:
            _log.error("the journal was not sealed; the next tick tries again", reason=reason)
        self._unsealed = reason

    async def end_sessions(self) -> None:
        """End the game sessions that were idle, or open, for too long."""
        assert self._settings.database_url
        try:
            database = await Database.connect(self._settings.database_url, size_max=1)
            try:
                ended = await games.end_overdue_sessions(
                    database,
                    idle=timedelta(minutes=self._settings.session_idle_minutes),
                    lifetime=timedelta(hours=self._settings.session_hours),
                    now=clock.now(),
                )
            finally:
                await database.close()
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            _log.warning("game sessions were not ended; the next tick tries again", reason=repr(error))
        else:
            if ended:
                _log.info("game sessions ended", reasons=dict(ended))

    async def note_unfinished_rounds(self) -> None:
        """Mark and list rounds that are open and old."""
        assert self._settings.database_url
        try:
            database = await Database.connect(self._settings.database_url, size_max=1)
            try:
                noted = await rounds.note_unfinished(database, timedelta(hours=self._settings.round_unfinished_hours))
            finally:
                await database.close()
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            _log.warning("unfinished rounds were not looked for; the next tick tries again", reason=repr(error))
        else:
            if noted:
                _log.info("rounds are unfinished", rounds=noted)

    async def watch_pipeline(self) -> None:
        """Raise the alarm when facts are late or log piles up, and say so when that is over."""
        try:
            level, sentences = await alarms.look(self._settings)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return  # said by the session, which loses it as well
        if level != self._pipeline:
            tell = {"bad": _log.error, "warning": _log.warning}.get(level, _log.info)
            tell("the pipeline", level=level, sentences=sentences)
        self._pipeline = level

    async def prove_warehouse(self) -> None:
        """Prove P6; the proofs are rows that the back office shows."""
        self._tell(await checks.prove_warehouse_by_timer(self._settings))

    async def prove_books(self) -> None:
        """Prove P1 to P5 over what is new."""
        self._tell(await checks.prove_books_by_timer(self._settings))

    async def prove_books_fully(self) -> None:
        """Prove P1 to P5 over everything, when that is due."""
        self._tell(await checks.prove_books_fully_by_timer(self._settings))

    def _tell(self, proofs: Sequence[Proof]) -> None:
        """Log what does not hold, once as long as it stays the same."""
        for proof in proofs:
            about = proof.promise, proof.scope
            if not proof.holds and proof.violations != self._broken.get(about):
                _log.error(
                    "a promise does not hold", promise=proof.promise, scope=proof.scope, violations=proof.violations
                )
            self._broken[about] = proof.violations
