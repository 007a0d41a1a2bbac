"""The statements of this room, one function each."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Self
from uuid import UUID

import asyncpg

from countroom.postgres import Database, Transaction
from countroom.schema.enumerations import StaffRole, UserStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Player:
    """An account as signing in needs it."""

    id: UUID
    email: str
    password_hash: str | None
    status: UserStatus
    email_confirmed_at: datetime | None

    @classmethod
    def from_row(cls, row: asyncpg.Record) -> Self:
        """Read a row that has exactly these columns."""
        return cls(**dict(row))


@dataclass(frozen=True, slots=True, kw_only=True)
class StaffMember:
    """Somebody who works here."""

    id: UUID
    email: str
    name: str
    role: StaffRole
    password_hash: str

    @classmethod
    def from_row(cls, row: asyncpg.Record) -> Self:
        """Read a row that has exactly these columns."""
        return cls(**dict(row))


async def insert_user(
    tx: Transaction, *, user_id: UUID, email: str, password_hash: str, country: str, birth_date: date
) -> bool:
    """Add an account. Returns False when another account has the address; it waits for one being added."""
    row = await tx.fetchrow(
        """
        INSERT INTO users (id, email, password_hash, country, birth_date)
        VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (email) DO NOTHING
        RETURNING id
        """,
        user_id,
        email,
        password_hash,
        country,
        birth_date,
    )
    return row is not None


async def player_by_email(database: Database, email: str) -> Player | None:
    """Return the account with this address, in lower case."""
    row = await database.fetchrow(
        """
        SELECT id, email, password_hash, status, email_confirmed_at
          FROM users
         WHERE email = $1
        """,
        email,
    )
    return Player.from_row(row) if row else None


async def player_by_id(database: Database, user_id: UUID) -> Player | None:
    """Return an account that has an address; those that came through Telegram have none."""
    row = await database.fetchrow(
        """
        SELECT id, email, password_hash, status, email_confirmed_at
          FROM users
         WHERE id = $1
           AND email IS NOT NULL
        """,
        user_id,
    )
    return Player.from_row(row) if row else None


async def confirm_email(tx: Transaction, *, user_id: UUID, email: str, now: datetime) -> bool:
    """Note that mail reaches the player. Returns False when it was known, or the address has changed."""
    row = await tx.fetchrow(
        """
        UPDATE users
           SET email_confirmed_at = $3, updated_at = $3
         WHERE id = $1
           AND email = $2
           AND email_confirmed_at IS NULL
        RETURNING id
        """,
        user_id,
        email,
        now,
    )
    return row is not None


async def staff_by_email(database: Database, email: str) -> StaffMember | None:
    """Return who has this address, in lower case."""
    row = await database.fetchrow("SELECT id, email, name, role, password_hash FROM staff WHERE email = $1", email)
    return StaffMember.from_row(row) if row else None


async def staff_by_id(database: Database, staff_id: UUID) -> StaffMember | None:
    """Return who has this id."""
    row = await database.fetchrow("SELECT id, email, name, role, password_hash FROM staff WHERE id = $1", staff_id)
    return StaffMember.from_row(row) if row else None


async def anybody_works_here(database: Database) -> bool:
    """Whether there is any staff account."""
    return await database.fetchrow("SELECT FROM staff LIMIT 1") is not None


async def insert_first_staff(tx: Transaction, *, staff_id: UUID, email: str, name: str, password_hash: str) -> bool:
    """Add an administrator where nobody works yet; of two at once, the second finds the first."""
    await tx.execute("LOCK TABLE staff IN SHARE ROW EXCLUSIVE MODE")
    row = await tx.fetchrow(
        """
        INSERT INTO staff (id, email, name, role, password_hash)
        SELECT $1, $2, $3, 'admin', $4
         WHERE NOT EXISTS (SELECT FROM staff)
        RETURNING id
        """,
        staff_id,
        email,
        name,
        password_hash,
    )
    return row is not None


async def set_staff_password(tx: Transaction, *, email: str, password_hash: str) -> bool:
    """Replace a password. Returns False when nobody has the address."""
    row = await tx.fetchrow(
        "UPDATE staff SET password_hash = $2, updated_at = now() WHERE email = $1 RETURNING id", email, password_hash
    )
    return row is not None


async def insert_audit(
    tx: Transaction, entry_id: UUID, *, staff_id: UUID | None, action: str, about_type: str, about_id: str, details: str
) -> None:
    """Add a line to the audit log."""
    await tx.execute(
        """
        INSERT INTO audit_log (id, staff_id, action, about_type, about_id, details) VALUES ($1, $2, $3, $4, $5, $6)
        """,
        entry_id, staff_id, action, about_type, about_id, details,
    )  # fmt: skip


async def audit_about(database: Database, *, about_type: str, about_id: str, limit: int) -> Sequence[asyncpg.Record]:
    """Read the latest lines of the audit log about something, newest first."""
    return await database.fetch(
        """
        SELECT a.created_at, a.staff_id, coalesce(s.name, 'command line') AS who, a.action, a.details
          FROM audit_log a
          LEFT JOIN staff s ON s.id = a.staff_id
         WHERE a.about_type = $1 AND a.about_id = $2
         ORDER BY a.id DESC
         LIMIT $3
        """,
        about_type,
        about_id,
        limit,
    )


async def insert_staff(tx: Transaction, *, member: StaffMember) -> bool:
    """Add somebody who works here. Returns False when the address is taken."""
    row = await tx.fetchrow(
        """
        INSERT INTO staff (id, email, name, role, password_hash) VALUES ($1, $2, $3, $4, $5)
            ON CONFLICT (email) DO NOTHING
        RETURNING id
        """,
        member.id,
        member.email,
        member.name,
        member.role,
        member.password_hash,
    )
    return row is not None
