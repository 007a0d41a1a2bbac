"""Reads a provider's daily report, line by line: a file of a million lines is never in memory.

Providers agree on what such a report says and not on what they call it, so a column is known by several names. What
cannot be read is refused with its line and column; half a report is never compared.
"""

import csv
import hashlib
import re
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Final, Literal, NamedTuple, TypeVar

from countroom.money import EXPONENTS, InvalidAmount, Money
from countroom.refusal import Refusal

ID_LENGTH_MAX: Final = 200
"""As of a transaction's id at the wallet."""
LINE_BYTES_MAX: Final = 16 * 1024
LINES_MAX: Final = 5_000_000

Column = Literal["transaction_id", "type", "status", "amount", "currency", "round_id", "player_id"]
Type = Literal["bet", "win", "reversal", ""]
Status = Literal["success", "cancelled"]

NAMES: Final[dict[Column, tuple[str, ...]]] = {
    # In any case, with or without underscores, hyphens and spaces.
    "transaction_id": (
        "transactionid", "transactionuuid", "txid", "transaction", "idprovider", "actionid", "externalid", "id",
    ),
    "type": ("type", "transactiontype", "kind", "action", "operation"),
    "status": ("status", "state"),
    "amount": ("amount", "sum", "value"),
    "currency": ("currency", "currencycode"),
    "round_id": ("roundid", "round", "gameround", "gameroundid", "roundidprovider"),
    "player_id": ("playerid", "accountid", "userid", "player", "account", "user"),
}  # fmt: skip
REQUIRED: Final[tuple[Column, ...]] = ("transaction_id", "amount", "currency", "round_id")
TYPES: Final[dict[str, Type]] = {
    "bet": "bet", "debit": "bet", "stake": "bet", "withdraw": "bet", "wager": "bet",
    "win": "win", "credit": "win", "payout": "win", "deposit": "win", "result": "win", "jackpot": "win",
    "rollback": "reversal", "refund": "reversal", "reversal": "reversal", "cancel": "reversal",
}  # fmt: skip
STATUSES: Final[dict[str, Status]] = {
    "success": "success", "successful": "success", "ok": "success", "settled": "success", "completed": "success",
    "accepted": "success", "approved": "success", "done": "success", "processed": "success",
    "cancelled": "cancelled", "canceled": "cancelled", "reversed": "cancelled", "rolledback": "cancelled",
    "refunded": "cancelled", "void": "cancelled", "voided": "cancelled", "failed": "cancelled",
    "rejected": "cancelled", "declined": "cancelled",
}  # fmt: skip

_Value = TypeVar("_Value")
_SEPARATORS: Final = re.compile(r"[\s_-]+")


class InvalidReport(Refusal):
    """This is not a report that can be compared."""

    kind = "invalid"
    code = "invalid_report"


class Reported(NamedTuple):
    """A line of a report."""

    line: int
    external_id: str
    """As it would stand in our books: `<provider>:<their id>`."""
    type: Type
    """Empty when the report has no such column."""
    status: Status
    amount: Decimal
    """A magnitude, in the currency's main unit."""
    currency: str
    round_id: str
    player_id: str
    """Empty when the report has no such column."""


class Report:
    """A file being read, once."""

    def __init__(self, chunks: Iterable[bytes], provider_code: str) -> None:
        """Take the file's bytes in any pieces, and whose report it is."""
        self._chunks = chunks
        self._prefix = f"{provider_code}:"
        self._hash = hashlib.sha256()
        self._line = 0

    @property
    def hash(self) -> bytes:
        """SHA-256 of what has been read."""
        return self._hash.digest()

    def lines(self) -> Iterator[Reported]:
        """Yield the lines.

        Raises:
            InvalidReport: with the line, and the column where there is one.
        """
        texts = self._texts()
        head = next(texts, "")
        rows = csv.reader(_and_then(head, texts), delimiter=_delimiter(head), strict=True)
        try:
            places = _places(next(rows, []))
            for row in rows:
                if not row:
                    continue
                if rows.line_num - 1 > LINES_MAX:
                    raise InvalidReport(f"A report has at most {LINES_MAX:,} lines; compare it in parts.")
                yield self._read(rows.line_num, row, places)
        except csv.Error as error:
            raise InvalidReport(f"Line {self._line}: {error}.") from error

    def _texts(self) -> Iterator[str]:
        """Yield the file's lines as text."""
        rest = b""
        for chunk in self._chunks:
            self._hash.update(chunk)
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                yield self._text(line) + "\n"
            if len(rest) > LINE_BYTES_MAX:
                raise InvalidReport(f"Line {self._line + 1} is longer than {LINE_BYTES_MAX:,} bytes.")
        if rest:
            yield self._text(rest)

    def _text(self, line: bytes) -> str:
        self._line += 1
        if len(line) > LINE_BYTES_MAX:
            raise InvalidReport(f"Line {self._line} is longer than {LINE_BYTES_MAX:,} bytes.")
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            raise InvalidReport(f"Line {self._line} is not UTF-8.") from error
        if "\0" in text:
            raise InvalidReport(f"Line {self._line} has a null byte.")
        return text.removeprefix("\ufeff") if self._line == 1 else text

    def _read(self, line: int, row: list[str], places: dict[Column, int]) -> Reported:
        if len(row) <= max(places.values()):
            raise InvalidReport(f"Line {line} has {len(row)} columns, fewer than the first line names.")
        values = {name: row[place].strip() for name, place in places.items()}
        kind: Type = ""
        if "type" in values:
            kind = _one_of(line, "type", values["type"], TYPES)
        status: Status = "success"
        if "status" in values:
            status = _one_of(line, "status", values["status"], STATUSES)
        currency = values["currency"].upper()
        if currency not in EXPONENTS:
            raise _at(line, "currency", f"{values['currency'][:20]!r} is not a currency that is held here")
        text = values["amount"]
        # Bets are often told as what they do to a balance.
        magnitude = text.removeprefix("-") if kind != "win" else text
        if kind == "reversal" and not magnitude:
            magnitude = "0"  # the id says what it takes back
        try:
            amount = Money.parse(magnitude, currency).amount
        except InvalidAmount as refusal:
            raise _at(line, "amount", f"{text[:40]!r}: {refusal.sentence.rstrip('.')}") from refusal
        return Reported(
            line,
            self._prefix + _id(line, "transaction_id", values["transaction_id"]),
            kind,
            status,
            amount,
            currency,
            "" if kind == "reversal" else _id(line, "round_id", values["round_id"]),
            values.get("player_id", "")[:ID_LENGTH_MAX],
        )


def _places(head: list[str]) -> dict[Column, int]:
    """Find the columns by their names.

    Raises:
        InvalidReport: one is missing, or named twice.
    """
    named = [_SEPARATORS.sub("", name.lower()) for name in head]
    places: dict[Column, int] = {}
    for column, names in NAMES.items():
        # The name that is listed first wins: "id" is an id only where nothing says so more clearly.
        found = next((name for name in names if name in named), None)
        if found is None:
            continue
        if named.count(found) > 1:
            raise InvalidReport(f"Line 1 names the column {column} twice.", field=column)
        places[column] = named.index(found)
    for column in REQUIRED:
        if column not in places:
            raise InvalidReport(f"Line 1 names no column {column}.", field=column)
    return places


def _id(line: int, column: str, value: str) -> str:
    if not value:
        raise _at(line, column, "it is empty")
    if len(value) > ID_LENGTH_MAX:
        raise _at(line, column, f"it is longer than {ID_LENGTH_MAX} characters")
    return value


def _one_of(line: int, column: str, text: str, known: dict[str, _Value]) -> _Value:
    value = known.get(_SEPARATORS.sub("", text.lower()))
    if value is None:
        raise _at(line, column, f"{text[:40]!r} is none of {', '.join(known)}")
    return value


def _at(line: int, column: str, sentence: str) -> InvalidReport:
    return InvalidReport(f"Line {line}, {column}: {sentence}.", field=column)


def _delimiter(head: str) -> str:
    return max(",;\t", key=head.count)


def _and_then(first: str, others: Iterator[str]) -> Iterator[str]:
    yield first
    yield from others
