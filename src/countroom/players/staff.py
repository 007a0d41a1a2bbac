"""The people who work here: their accounts, new passwords, and signing in."""

import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from redis.asyncio import Redis

from countroom.clock import Clock, new_id
from countroom.clock import now as system_clock
from countroom.players import audit, passwords, queries, rules, sessions
from countroom.players.service import WrongCredentials, count_sign_in, forgive_sign_in
from countroom.postgres import Database
from countroom.refusal import Refusal
from countroom.schema.enumerations import StaffRole

FIRST_EMAIL: Final = "admin@countroom.local"
PASSWORD_BYTES: Final = 15
"""120 bits, 20 letters: nobody chooses it, nobody guesses it."""


class UnknownStaff(Refusal):
    """Nobody with this e-mail address works here."""

    kind = "missing"
    code = "unknown_staff"


class StaffEmailTaken(Refusal):
    """Somebody with this e-mail address works here already."""

    kind = "conflict"
    code = "email_taken"


@dataclass(frozen=True, slots=True)
class StaffSession:
    """Somebody of the staff with a session that holds."""

    staff_id: UUID
    email: str
    name: str
    role: StaffRole
    expires_at: datetime


async def ensure_first(database: Database) -> tuple[str, str] | None:
    """Where nobody works yet, add an administrator.

    Returns the e-mail address and the generated password, which exists nowhere else, or None
    when there is staff already.
    """
    if await queries.anybody_works_here(database):
        return None
    password = secrets.token_urlsafe(PASSWORD_BYTES)
    password_hash = await passwords.hash_password(password)
    async with database.transaction() as tx:
        added = await queries.insert_first_staff(
            tx, staff_id=new_id(), email=FIRST_EMAIL, name="Administrator", password_hash=password_hash
        )
    return (FIRST_EMAIL, password) if added else None


async def add(database: Database, *, email: str, name: str, role: StaffRole) -> str:
    """Add somebody who works here, and return the generated password, which exists nowhere else.

    Raises:
        InvalidEmail, StaffEmailTaken: nobody was added.
    """
    password = secrets.token_urlsafe(PASSWORD_BYTES)
    password_hash = await passwords.hash_password(password)
    member = queries.StaffMember(
        id=new_id(), email=rules.normal_email(email), name=name, role=role, password_hash=password_hash
    )
    async with database.transaction() as tx:
        if not await queries.insert_staff(tx, member=member):
            raise StaffEmailTaken(field="email")
        about = ("staff", str(member.id))
        await audit.note(tx, staff_id=None, action="staff added", about=about, details={"role": role})
    return password


async def reset_password(database: Database, email: str) -> str:
    """Give somebody a new generated password and return it. Their sessions end.

    Raises:
        UnknownStaff: nobody has this address.
    """
    password = secrets.token_urlsafe(PASSWORD_BYTES)
    password_hash = await passwords.hash_password(password)
    async with database.transaction() as tx:
        if not await queries.set_staff_password(tx, email=email.strip(" ").lower(), password_hash=password_hash):
            raise UnknownStaff(field="email")
    return password


async def sign_in(
    database: Database, redis: Redis, *, email: str, password: str, address: str, clock: Clock = system_clock
) -> tuple[str, StaffSession]:
    """Open a staff session with a new token, and return the token and who is signed in.

    Raises:
        WrongCredentials: unknown address or wrong password, in the same time.
        TooManyAttempts: too many attempts.
        SessionsUnavailable: Redis is lost.
    """
    who = email.strip(" ").lower()
    await count_sign_in(redis, kind="staff", who=who, address=address)
    member = await queries.staff_by_email(database, who) if rules.may_be_an_address(who) else None
    password_fits = await passwords.verify_password(member.password_hash if member else None, password)
    if member is None or not password_fits:
        raise WrongCredentials
    token, session = await sessions.open_session(
        redis, kind="staff", user_id=member.id, password_hash=member.password_hash, now=clock()
    )
    await forgive_sign_in(redis, kind="staff", who=who, address=address)
    return token, _staff_session(member, session)


async def session_of(
    database: Database, redis: Redis, token: str, *, clock: Clock = system_clock
) -> StaffSession | None:
    """Return who of the staff is signed in with this token, or None; the role is PostgreSQL's.

    Raises:
        SessionsUnavailable: Redis is lost.
    """
    session = await sessions.find_session(redis, token, now=clock())
    if session is None or session.kind != "staff":
        return None
    member = await queries.staff_by_id(database, session.user_id)
    if member is None or sessions.credential_fingerprint(member.password_hash) != session.credential:
        return None
    return _staff_session(member, session)


def _staff_session(member: queries.StaffMember, session: sessions.Session) -> StaffSession:
    return StaffSession(member.id, member.email, member.name, member.role, session.expires_at)
