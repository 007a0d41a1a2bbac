"""The audit log: what the staff did, for ever. Written in the transaction of what was done, and never changed."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from countroom import clock
from countroom.players import queries
from countroom.postgres import Database, Transaction

SHOWN_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class Noted:
    """One thing that was done."""

    at: datetime
    staff_id: UUID | None
    who: str
    """Name of the member of the staff; "command line" for what was done there."""
    action: str
    details: Mapping[str, Any]


async def note(
    tx: Transaction, *, staff_id: UUID | None, action: str, about: tuple[str, str], details: Mapping[str, Any]
) -> None:
    """Note what is done in this transaction; ``about`` is the kind and the id of what it is done to."""
    await queries.insert_audit(
        tx, clock.new_id(), staff_id=staff_id, action=action, about_type=about[0], about_id=about[1],
        details=msgspec.json.encode(details).decode(),
    )  # fmt: skip


async def of(database: Database, about: tuple[str, str]) -> list[Noted]:
    """Return what was done to something, oldest first; of very much the latest."""
    rows = await queries.audit_about(database, about_type=about[0], about_id=about[1], limit=SHOWN_MAX)
    return [
        Noted(row["created_at"], row["staff_id"], row["who"], row["action"], msgspec.json.decode(row["details"]))
        for row in reversed(rows)
    ]
