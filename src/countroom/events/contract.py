"""The message contract: what one change looks like to everything that reads the log.

Key = user id; value = one flat JSON object, the row's after image under the table's column
names, exactly as Debezium's ``ExtractNewRecordState`` makes it: decimals as strings at their
scale, UUIDs and enumerations as strings, timestamps RFC 3339 in UTC with six fraction digits,
JSONB as a string that contains JSON.

These types are the contract's one source. ``docs/contract/*.schema.json`` is generated from
them (``python -m countroom.events.contract docs/contract``) and a test compares the two.
"""

import sys
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import msgspec
from msgspec import Meta, Struct, field

from countroom.schema.enumerations import (
    GameRoundStatus,
    KycStatus,
    TransactionStatus,
    TransactionType,
    UserStatus,
    WalletType,
)

Amount = Annotated[str, Meta(pattern=r"^-?[0-9]{1,16}\.[0-9]{2}$")]
"""numeric(18,2) as PostgreSQL prints it. A string: a JSON number would pass through a float."""
Moment = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$")]
"""UTC, always six fraction digits."""
CurrencyCode = Annotated[str, Meta(pattern=r"^[A-Z]{3}$")]
CountryCode = Annotated[str, Meta(pattern=r"^[A-Z]{2}$")]
JsonObject = Annotated[str, Meta(pattern=r"^\{")]
"""A string that contains a JSON object."""
Position = Annotated[int, Meta(ge=0)]


class Change(Struct, frozen=True, gc=False, kw_only=True):
    """What every message says about the change itself."""

    op: Literal["c", "u", "r"] = field(name="__op")
    """c: inserted, u: updated, r: it was there when the snapshot was taken. Nothing published is deleted."""
    deleted: Literal["false"] = field(name="__deleted")
    lsn: Position = field(name="__lsn")
    """The change's position in the log, the row's version. A snapshot row carries the position from
    which its slot reads: higher than all that was read before, lower than all that follows."""
    ts_us: Position = field(name="__ts_us")
    """When the transaction committed, microseconds since 1970 in UTC."""


class TransactionChanged(Change, frozen=True, gc=False, kw_only=True):
    """Topic ``transactions``: money that moved, or was asked to."""

    id: UUID
    wallet_account_id: UUID
    external_id: str
    amount: Amount
    fee: Amount
    type: TransactionType
    status: TransactionStatus
    metadata: JsonObject
    processed_at: Moment | None
    created_at: Moment
    user_id: UUID
    wallet_type: WalletType
    currency: CurrencyCode
    provider: str | None
    game_id: UUID | None
    game_round_id: UUID | None
    payment_id: UUID | None


class GameRoundChanged(Change, frozen=True, gc=False, kw_only=True):
    """Topic ``game_rounds``: a round of a game, with what was bet and won in it so far."""

    id: UUID
    session_id: UUID
    user_id: UUID
    game_id: UUID
    provider: str
    external_id: str
    currency: CurrencyCode
    bet_amount: Amount
    win_amount: Amount
    status: GameRoundStatus
    opened_at: Moment
    closed_at: Moment | None


class UserChanged(Change, frozen=True, gc=False, kw_only=True):
    """Topic ``users``: that somebody registered, and their standing. No personal data."""

    id: UUID
    country: CountryCode | None
    status: UserStatus
    kyc_status: KycStatus
    created_at: Moment
    updated_at: Moment


class CanarySent(Change, frozen=True, gc=False, kw_only=True):
    """Topic ``canaries``: no fact, but a sign of life. Readers of facts do not need it."""

    id: UUID
    sent_at: Moment


MESSAGES: Final[dict[str, type[Change]]] = {
    "transactions": TransactionChanged,
    "game_rounds": GameRoundChanged,
    "users": UserChanged,
    "canaries": CanarySent,
}
"""Topic → its message."""


def schemas() -> dict[str, dict[str, Any]]:
    """Return a JSON Schema (2020-12) for each topic, self-contained."""
    documents = {}
    for topic, message in MESSAGES.items():
        _, components = msgspec.json.schema_components([message])
        documents[topic] = {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            **components[message.__name__],
        }
    return documents


def schema_text(document: dict[str, Any]) -> str:
    """Return a schema as the text that is kept in ``docs/contract/``."""
    return msgspec.json.format(msgspec.json.encode(document, order="deterministic"), indent=2).decode() + "\n"


if __name__ == "__main__":
    for name, schema in schemas().items():
        (Path(sys.argv[1]) / f"{name}.schema.json").write_text(schema_text(schema))
