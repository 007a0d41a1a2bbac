"""The staff's own accounts."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from redis.asyncio import Redis

from countroom import redis as redis_tap
from countroom.players import attempts, audit, service, staff
from countroom.postgres import Database

HOME = "192.0.2.1"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = await Database.connect(database_url)
    yield database
    await database.close()


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = redis_tap.connect(redis_url)
    yield client
    await client.aclose()


async def test_of_many_first_starts_at_once_one_makes_the_administrator(database: Database, redis: Redis) -> None:
    made = await asyncio.gather(*(staff.ensure_first(database) for _ in range(5)))

    ((email, password),) = [answer for answer in made if answer]
    assert await staff.ensure_first(database) is None
    token, member = await staff.sign_in(database, redis, email=email, password=password, address=HOME)
    assert member.role == "admin"
    assert await staff.session_of(database, redis, token) == member


async def test_a_new_password_ends_old_sessions_and_the_old_password(database: Database, redis: Redis) -> None:
    first = await staff.ensure_first(database)
    assert first
    email, old = first
    token, _ = await staff.sign_in(database, redis, email=email, password=old, address=HOME)

    new = await staff.reset_password(database, "Admin@Countroom.local")

    assert await staff.session_of(database, redis, token) is None
    with pytest.raises(service.WrongCredentials):
        await staff.sign_in(database, redis, email=email, password=old, address=HOME)
    await staff.sign_in(database, redis, email=email, password=new, address=HOME)


async def test_somebody_is_added_once_with_a_role_and_that_is_in_the_audit_log(
    database: Database, redis: Redis
) -> None:
    password = await staff.add(database, email="Ada@Example.com", name="Ada", role="support")
    _, member = await staff.sign_in(database, redis, email="ada@example.com", password=password, address=HOME)
    assert (member.name, member.role) == ("Ada", "support")
    with pytest.raises(staff.StaffEmailTaken):
        await staff.add(database, email="ada@example.com", name="Another", role="admin")
    (noted,) = await audit.of(database, ("staff", str(member.staff_id)))
    assert (noted.who, noted.action, noted.details) == ("command line", "staff added", {"role": "support"})
    for change in ("DELETE FROM audit_log", "UPDATE audit_log SET action = 'nothing'", "TRUNCATE audit_log"):
        with pytest.raises(asyncpg.RestrictViolationError):
            await database.fetch(change)


async def test_a_password_is_not_made_for_nobody(database: Database) -> None:
    with pytest.raises(staff.UnknownStaff):
        await staff.reset_password(database, "nobody@countroom.local")


async def test_a_staff_session_is_not_a_players_and_ends_with_the_account(database: Database, redis: Redis) -> None:
    first = await staff.ensure_first(database)
    assert first
    token, _ = await staff.sign_in(database, redis, email=first[0], password=first[1], address=HOME)

    assert await service.session_of(database, redis, token) is None
    await database.pool.execute("DELETE FROM staff")
    assert await staff.session_of(database, redis, token) is None


async def test_guessing_a_staff_password_ends(database: Database, redis: Redis) -> None:
    first = await staff.ensure_first(database)
    assert first

    tries = [
        staff.sign_in(database, redis, email=first[0], password=f"guess {number}", address=HOME) for number in range(15)
    ]
    answers = await asyncio.gather(*tries, return_exceptions=True)

    assert sum(isinstance(answer, service.WrongCredentials) for answer in answers) == attempts.SIGN_IN_HERE.attempts
    assert sum(isinstance(answer, attempts.TooManyAttempts) for answer in answers) == 5
