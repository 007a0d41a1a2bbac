"""What can be asked of a statement, read from text; and a statement as text: cursors and CSV.

Values are read here and not by the framework, so that a refusal names the caller's field and says what would do.
"""

import base64
import binascii
import csv
import io
import re
import struct
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Final, TypeVar, get_args
from uuid import UUID

import msgspec

from countroom.money import format_amount
from countroom.postgres import Database
from countroom.refusal import Refusal
from countroom.schema.enumerations import TransactionStatus, TransactionType
from countroom.wallet import history
from countroom.wallet.history import Filters, Line, Order, Place, Selection, Towards

TYPES: Final[tuple[TransactionType, ...]] = get_args(TransactionType)
STATUSES: Final[tuple[TransactionStatus, ...]] = get_args(TransactionStatus)
ORDERS: Final[tuple[Order, ...]] = get_args(Order)

Chosen = TypeVar("Chosen", bound=str)

_SLUG: Final = re.compile(r"[\x21-\x7e]{1,200}")
_PLACE: Final = struct.Struct(">cq")
_TOWARDS: Final[dict[bytes, Towards]] = {b"o": "older", b"n": "newer"}


class InvalidFilter(Refusal):
    """A filter has a value that cannot be."""

    kind = "invalid"
    code = "invalid_filter"


class InvalidMoment(Refusal):
    """A moment is written with its offset, such as 2026-01-31T12:00:00Z; in an address, + is written %2B."""

    kind = "invalid"
    code = "invalid_moment"


class InvalidRange(Refusal):
    """The range ends before it begins."""

    kind = "invalid"
    code = "invalid_range"


class InvalidCursor(Refusal):
    """This cursor was not given by a statement."""

    kind = "invalid"
    code = "invalid_cursor"


def read_filters(
    *,
    types: Sequence[str] | None = None,
    statuses: Sequence[str] | None = None,
    since: str | None = None,
    until: str | None = None,
    game: str | None = None,
    round_id: str | None = None,
    read_moment: Callable[[str, str], datetime] | None = None,
) -> Filters:
    """Read the filters of a statement; ``read_moment`` takes a text and its field, and is `moment_of` unless given.

    Raises:
        InvalidFilter, InvalidMoment, InvalidRange: with the field at fault.
    """
    moment = read_moment or moment_of
    begins = None if since is None else moment(since, "from")
    ends = None if until is None else moment(until, "to")
    if begins is not None and ends is not None and begins > ends:
        raise InvalidRange(field="from")
    if game is not None and not _SLUG.fullmatch(game):
        raise history.UnknownGame(field="game")
    return Filters(
        types=_several(types, TYPES, "type"),
        statuses=_several(statuses, STATUSES, "status"),
        since=begins,
        until=ends,
        game=game,
        round_id=None if round_id is None else _id_of(round_id, "round"),
    )


def moment_of(text: str, field: str) -> datetime:
    """Read a moment with its offset (RFC 3339); return it in UTC.

    Raises:
        InvalidMoment: it is none.
    """
    try:
        return msgspec.convert(text, _Moment).astimezone(UTC)
    except (msgspec.ValidationError, OverflowError) as error:
        raise InvalidMoment(field=field) from error


def order_of(text: str) -> Order:
    """Read in which order lines are wanted.

    Raises:
        InvalidFilter: there is no such order.
    """
    return _one(text, ORDERS, "order")


def cursor_of(place: Place) -> str:
    """Write a place as a cursor: letters, digits, - and _."""
    return base64.urlsafe_b64encode(_PLACE.pack(place.towards[:1].encode(), place.sequence)).decode()


def place_of(cursor: str) -> Place:
    """Read a cursor.

    Raises:
        InvalidCursor: it is none.
    """
    try:
        direction, sequence = _PLACE.unpack(base64.b64decode(cursor.encode("ascii"), altchars=b"-_", validate=True))
    except (binascii.Error, struct.error, UnicodeEncodeError) as error:
        raise InvalidCursor(field="cursor") from error
    if sequence < 0 or direction not in _TOWARDS:
        raise InvalidCursor(field="cursor")
    return Place(_TOWARDS[direction], sequence)


CSV_COLUMNS: Final = (
    "sequence", "time", "type", "movement", "status", "amount", "balance_after", "currency", "fee", "provider",
    "game", "game_title", "round_id", "provider_round_id", "external_id", "transaction_id", "payment_id",
)  # fmt: skip


async def csv_of(database: Database, selection: Selection, order: Order) -> AsyncIterator[bytes]:
    """Write a statement as CSV (RFC 4180), some lines at a time.

    What fails in the middle cuts the connection: nobody takes half of a statement for a whole one.
    """
    yield _csv([CSV_COLUMNS])
    async for lines in history.read_all(database, selection, order):
        yield _csv(_cells(line, selection.account.currency) for line in lines)


def plain_cell(text: str | None) -> str:
    """Return a cell that a spreadsheet shows and never calculates.

    Text that could be a formula gets an apostrophe in front, as OWASP's page on CSV injection advises.
    """
    if not text:
        return ""
    return f"'{text}" if text[0] in _CONTROL or text.lstrip()[:1] in _FORMULA else text


_CONTROL: Final = frozenset("\t\r\n")
_FORMULA: Final = frozenset("=+-@＝＋－＠|%")  # noqa: RUF001 - the wide forms are taken for formulas, too


def _cells(line: Line, currency: str) -> list[str]:
    return [
        str(line.sequence),
        line.created_at.isoformat(timespec="microseconds"),
        line.type,
        line.movement,
        line.status,
        format_amount(line.amount, currency),
        format_amount(line.balance_after, currency),
        currency,
        format_amount(line.fee, currency),
        plain_cell(line.provider),
        plain_cell(line.game_slug),
        plain_cell(line.game_title),
        str(line.round_id or ""),
        plain_cell(line.round_external_id),
        plain_cell(line.external_id),
        str(line.transaction_id),
        str(line.payment_id or ""),
    ]


def _csv(rows: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


_Moment = Annotated[datetime, msgspec.Meta(tz=True)]


def _several(texts: Sequence[str] | None, known: tuple[Chosen, ...], field: str) -> tuple[Chosen, ...] | None:
    return tuple(_one(text, known, field) for text in texts) if texts else None


def _one(text: str, known: tuple[Chosen, ...], field: str) -> Chosen:
    for value in known:
        if value == text:
            return value
    raise InvalidFilter(f"{field} is one of {', '.join(known)}.", field=field)


def _id_of(text: str, field: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise InvalidFilter(f"{field} is a UUID.", field=field) from error
