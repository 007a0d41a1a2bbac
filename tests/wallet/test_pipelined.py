"""Statements that follow each other on one connection without waiting: in order, each for itself, not for ever."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from countroom.pipelined import GRACE_SECONDS, PipelinedConnection
from countroom.postgres import Database

KEPT = "INSERT INTO kept (number) VALUES ($1::integer) RETURNING number"
SLEEPS = "SELECT pg_sleep($1::float8), extract(epoch FROM clock_timestamp())"
LOCKS = "SELECT pg_advisory_xact_lock($1::bigint)::text"
BINARY = "SELECT array_to_string($1::integer[], ' '), $2::text"
WHO = "SELECT pg_backend_pid(), current_setting($1)"
LOCK = 77


@asynccontextmanager
async def pipelined(database: Database, *, seconds: float = 5.0) -> AsyncIterator[PipelinedConnection]:
    statements = [KEPT, SLEEPS, LOCKS, BINARY, WHO]
    async with database.pipelined(statements, statement_seconds=seconds) as connection:
        yield connection


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    found = await Database.connect(database_url, size_max=3, point_reads_only=True)
    async with found.connection() as connection:
        await connection.execute("CREATE TABLE kept (number integer CONSTRAINT kept_once PRIMARY KEY)")
    yield found
    await found.close()


async def kept(database: Database) -> list[int]:
    return [row["number"] for row in await database.fetch("SELECT number FROM kept ORDER BY number")]


async def test_each_statement_is_a_transaction_of_its_own_and_what_is_refused_costs_nobody_else(
    database: Database,
) -> None:
    async with pipelined(database) as connection:
        asked = [connection.fetchrow(KEPT, [str(number)]) for number in (1, 2, 1, 3, 2, 4)]
        answers = await asyncio.gather(*asked, return_exceptions=True)

    assert [answer for answer in answers if not isinstance(answer, BaseException)] == [
        (b"1",),
        (b"2",),
        (b"3",),
        (b"4",),
    ]
    assert await kept(database) == [1, 2, 3, 4]
    for refused in (answers[2], answers[4]):
        assert isinstance(refused, asyncpg.UniqueViolationError)
        assert refused.constraint_name == "kept_once"


async def test_the_next_statement_begins_while_nobody_here_reads_the_answer_to_the_one_before(
    database: Database,
) -> None:
    async with pipelined(database) as connection:
        await connection.fetchrow(SLEEPS, ["0"])
        both = [asyncio.create_task(connection.fetchrow(SLEEPS, ["0.1"])) for _ in range(2)]
        await asyncio.sleep(0.02)
        time.sleep(0.5)  # noqa: ASYNC251 - this is what PostgreSQL shall not have to wait for
        first, second = [float(moment or 0) for _, moment in await asyncio.gather(*both)]

    assert 0.1 <= second - first < 0.3


async def test_parameters_come_in_either_form_and_the_connection_has_the_settings_of_its_database(
    database: Database,
) -> None:
    array = b"".join(number.to_bytes(4) for number in (1, 0, 23, 2, 1, 4, 7, 4, 9))
    async with pipelined(database) as connection:
        assert await connection.fetchrow(BINARY, [array, "ż"]) == (b"7 9", "ż".encode())
        assert await connection.fetchrow(BINARY, [None, None]) == (None, None)
        settings = {"plan_cache_mode": b"force_generic_plan", "TimeZone": b"UTC", "application_name": b"countroom"}
        for name, value in settings.items():
            assert (await connection.fetchrow(WHO, [name]))[1] == value


async def test_whoever_gives_up_does_not_stop_what_was_sent_nor_hinder_who_comes_next(database: Database) -> None:
    async with pipelined(database) as connection:
        await connection.fetchrow(SLEEPS, ["0"])  # from now on what is asked is sent at once
        async with database.transaction() as tx:
            await tx.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
            locked = asyncio.create_task(connection.fetchrow(LOCKS, [str(LOCK)]))
            gone = asyncio.create_task(connection.fetchrow(KEPT, ["1"]))
            after = asyncio.create_task(connection.fetchrow(KEPT, ["2"]))
            await asyncio.sleep(0.1)
            gone.cancel()
            await asyncio.wait([gone])
            assert await kept(database) == []
        assert await locked == (b"",)
        assert await after == (b"2",)
    assert gone.cancelled()
    assert await kept(database) == [1, 2]


async def test_a_connection_that_breaks_is_told_to_all_who_wait_and_opened_again(database: Database) -> None:
    async with pipelined(database) as connection:
        pid, _ = await connection.fetchrow(WHO, ["TimeZone"])
        waiting = [asyncio.create_task(connection.fetchrow(SLEEPS, ["3"])) for _ in range(3)]
        await asyncio.sleep(0.1)
        await database.fetchrow("SELECT pg_terminate_backend($1)", int(pid or 0))
        answers = await asyncio.gather(*waiting, return_exceptions=True)

        assert all(isinstance(answer, (ConnectionError, asyncpg.AdminShutdownError)) for answer in answers), answers
        assert await connection.fetchrow(KEPT, ["1"]) == (b"1",)
        other, _ = await connection.fetchrow(WHO, ["TimeZone"])
        assert other != pid


async def test_what_takes_too_long_is_refused_by_postgresql_and_what_waits_behind_it_is_done(
    database: Database,
) -> None:
    async with pipelined(database, seconds=0.3) as connection:
        slow = asyncio.create_task(connection.fetchrow(SLEEPS, ["20"]))
        behind = asyncio.create_task(connection.fetchrow(KEPT, ["1"]))
        with pytest.raises(asyncpg.QueryCanceledError):
            await slow
        assert await behind == (b"1",)


async def test_a_server_that_says_nothing_is_given_up(database: Database) -> None:
    async with pipelined(database, seconds=0.2) as connection:
        await connection.fetchrow(SLEEPS, ["0"])
        assert connection._open is not None
        # As if nobody there kept the time.
        connection._open._libpq.send_query_params(b"SET statement_timeout = 0", None)
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            await asyncio.gather(connection.fetchrow(SLEEPS, ["20"]), connection.fetchrow(KEPT, ["1"]))
        assert GRACE_SECONDS <= time.monotonic() - began < GRACE_SECONDS + 2
        assert await connection.fetchrow(KEPT, ["2"]) == (b"2",)
    assert await kept(database) == [2]


async def test_a_server_that_is_not_there_is_said_so(database_url: str) -> None:
    nowhere = PipelinedConnection(
        "postgresql://somebody@127.0.0.1:9/none", [KEPT], settings={}, statement_seconds=1.0
    )  # fmt: skip
    for _ in range(2):
        with pytest.raises(ConnectionError):
            await nowhere.fetchrow(KEPT, ["1"])
    await nowhere.close()


async def test_a_statement_that_cannot_be_prepared_is_said_so_and_leaves_no_connection(database: Database) -> None:
    wrong = "SELECT nothing FROM nowhere WHERE $1 = 1"
    connections = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() ORDER BY pid"
    before = await database.fetch(connections)
    async with database.pipelined([KEPT, wrong], statement_seconds=1.0) as connection:
        for _ in range(3):
            with pytest.raises(asyncpg.UndefinedTableError):
                await connection.fetchrow(KEPT, ["1"])
        for _ in range(500):
            if await database.fetch(connections) == before:
                break
            await asyncio.sleep(0.01)
        else:
            pytest.fail("a connection was left open")
    assert await kept(database) == []
