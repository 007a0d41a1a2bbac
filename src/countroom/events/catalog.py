"""The published tables, and how a row of one becomes a message of the contract.

The publication (schema/migrations) lists the same columns; a test compares the two with each
other and with the migrated database.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

PUBLICATION: Final = "countroom"

Row = Sequence[str | None]
"""A row's values as PostgreSQL prints them (ISO dates, UTC), in the order of some list of columns."""
Encode = Callable[[Row, str, int, int], bytes]
"""(row, op, lsn, ts_us) → the message's bytes."""


@dataclass(frozen=True, slots=True)
class Table:
    """A published table. Its name is its topic's."""

    name: str
    key: str
    """The column with the user's id: the message's key."""
    columns: tuple[str, ...]
    moments: frozenset[str]
    """Those of the columns that are timestamps; every other value is sent as PostgreSQL prints it."""
    added: frozenset[str] = frozenset()
    """Those of the columns that the log of an older version does not have: its messages go without them."""


TABLES: Final = {
    table.name: table
    for table in (
        Table(
            "transactions",
            "user_id",
            ("id", "wallet_account_id", "external_id", "amount", "fee", "type", "status", "metadata",
             "processed_at", "created_at", "user_id", "wallet_type", "currency", "provider", "game_id",
             "game_round_id", "payment_id"),
            frozenset({"processed_at", "created_at"}),
        ),
        Table(
            "game_rounds",
            "user_id",
            ("id", "session_id", "user_id", "game_id", "provider", "external_id", "currency", "bet_amount",
             "win_amount", "status", "opened_at", "closed_at"),
            frozenset({"opened_at", "closed_at"}),
        ),
        Table(
            "users",
            "id",
            ("id", "country", "status", "kyc_status", "created_at", "updated_at"),
            frozenset({"created_at", "updated_at"}),
        ),
    )
}  # fmt: skip

CANARIES: Final = Table("canaries", "id", ("id", "sent_at"), frozenset({"sent_at"}))
"""No facts: the row by which is measured how long facts need (see pulse). It is never copied, and never compared."""
PUBLISHED: Final = TABLES | {CANARIES.name: CANARIES}

SECONDS_ONLY: Final = len("2026-01-03 00:00:00+00")
MICROSECONDS: Final = len("2026-01-03 00:00:00.123456+00")


class ContractMismatchError(Exception):
    """The database publishes other columns than this program knows; one of the two is older."""


def encoder(table: Table, columns: Sequence[str]) -> Encode:
    """Return the function that turns rows of ``columns`` into messages of ``table``.

    Columns that the contract does not know are left out: a publication may grow before the
    programs that read it do.

    Raises:
        ContractMismatchError: a column of the contract is missing.
    """
    missing = [column for column in table.columns if column not in columns and column not in table.added]
    if missing:
        raise ContractMismatchError(
            f"The publication lacks {', '.join(missing)} of {table.name}; run countroom migrate."
        )
    moments = tuple(index for index, column in enumerate(columns) if column in table.moments)
    unknown = tuple(column for column in columns if column not in table.columns)
    names = (*columns, "__deleted", "__op", "__lsn", "__ts_us")
    encode_json = msgspec.json.Encoder().encode

    def encode(row: Row, op: str, lsn: int, ts_us: int) -> bytes:
        message: dict[str, str | int | None] = dict(zip(names, (*row, "false", op, lsn, ts_us), strict=True))
        for index in moments:
            text = row[index]
            if text is not None:
                message[names[index]] = moment(text)
        for column in unknown:
            del message[column]
        return encode_json(message)

    return encode


def moment(text: str) -> str:
    """Return a timestamptz, as PostgreSQL prints it in UTC, as RFC 3339 with six fraction digits.

    What is no such moment (``infinity``) is returned as it is: the contract's check refuses it.
    """
    length = len(text)
    if length == MICROSECONDS:
        return f"{text[:10]}T{text[11:26]}Z"
    if length == SECONDS_ONLY:
        return f"{text[:10]}T{text[11:19]}.000000Z"
    if SECONDS_ONLY < length < MICROSECONDS and text.endswith("+00"):
        return f"{text[:10]}T{text[11:-3].ljust(26 - 11, '0')}Z"
    return text


def utc(ts_us: int) -> datetime:
    """Return microseconds since 1970 as a moment, exactly."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=ts_us)
