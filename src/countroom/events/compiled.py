"""Rows as ``pgoutput`` sends them straight into messages, by a function that is written for their table.

Taking a row apart column by column, and putting a message together from a dictionary, costs more than everything
else that a relay does. When the server announces a table, one regular expression for its rows is made from the
contract's types, and one function that puts what it finds into a template. A row that does not look as the
contract expects is left to the way that knows every row (``catalog.encoder``): both give the same bytes
(``tests/pipeline/test_canonical.py``). What is made here keeps the contract, whose types the expression has: a
loader does not check it once more.

A row is a sequence of ``n`` (null) and ``t``, four bytes of length, and the text, in which there is no null byte.
Where a value ends is found by what follows it. Only an ``n`` could be taken for the end of the value before it, or
the other way round; but as many values as there are columns must come out, so that one value would have to win an
``n`` where another has lost one, and the only values that could win one, free texts, are compared with their lengths.
"""

import itertools
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from msgspec import inspect

from countroom.events.catalog import Table
from countroom.events.contract import MESSAGES, Amount, CountryCode, CurrencyCode, JsonObject, Moment

EncodeRow = Callable[[bytes, bytes, int, int], tuple[bytes, str] | None]
"""(payload, op, lsn, ts_us) → the message and its key; None when this row needs the other way."""

_TEXT: Final = rb"t\0\0(..[ !#-[\]-\xff]*)"
"""Up to 64 kB, after two bytes of length: of what stands between a JSON string's quotes as it is."""
_OBJECT: Final = rb"t\0\0(..\{[ -[\]-\xff]*)"
"""The same with quotes in it, and nothing else that has to be escaped."""
_UUID: Final = rb"t\0\0\0\x24([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"
_AMOUNT: Final = rb"t\0\0\0.(-?[0-9]{1,16}\.[0-9]{2})"
_CURRENCY: Final = rb"t\0\0\0\x03([A-Z]{3})"
_PRINTED_UUID: Final = rb"t\0\0\0\x24(.{36})"
"""Of a column that PostgreSQL says is a UUID: it prints no other form, and whoever looks for it takes twice as long."""
_MOMENT: Final = rb"t\0\0\0.([0-9]{4}-[0-9]{2}-[0-9]{2}) ([0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?)\+00"
_PRINTED_MOMENT: Final = rb"t\0\0\0.([0-9-]{10}) ([0-9:.]{8,15})\+00"
"""Of a timestamptz, printed in UTC: neither ``infinity`` nor years of five digits or before Christ look like this."""
_COUNTRY: Final = rb"t\0\0\0\x02([A-Z]{2})"
_MICROSECONDS: Final = len("00:00:00.000000")
_PATTERNS: Final = {
    kind.__metadata__[0].pattern: kind  # type: ignore[attr-defined]
    for kind in (Amount, CountryCode, CurrencyCode, JsonObject, Moment)
}

_UUID_OID: Final = 2950
_TIMESTAMPTZ_OID: Final = 1184


def encoder(table: Table, columns: Sequence[str], oids: Sequence[int]) -> EncodeRow:
    """Return the function for a table whose rows are sent with these columns, all of the contract's among them.

    ``oids`` are their types as PostgreSQL numbers them.
    """
    types = {
        field.encode_name: field.type
        for field in inspect.type_info(MESSAGES[table.name]).fields  # type: ignore[attr-defined]
    }
    parts = [
        _Column(name, number, types.get(name), oid)
        for number, (name, oid) in enumerate(zip(columns, oids, strict=True))
    ]
    expression = b"".join(part.expression for part in parts)
    names: dict[str, Any] = {
        "match": re.compile(b"(?s)[IU]....N" + re.escape(len(parts).to_bytes(2, "big")) + expression).fullmatch,
        "templates": _templates(parts),
        "filled": _filled,
    }
    exec(_source(parts, table.key), names)  # noqa: S102 - written here, of nothing but numbers
    function: EncodeRow = names["encode"]
    return function


def _source(columns: Sequence["_Column"], key: str) -> str:
    """Return the text of the function."""
    nullable = [column.variable for column in columns if column.is_nullable and column.is_known]
    lines = [
        "found = match(payload)",
        "if found is None: return None",
        f"{', '.join(name for column in columns for name in column.groups)}, = found.groups()",
        *(f"if {column.variable} is not None and {column.refusal}: return None"
          if column.is_nullable
          else f"if {column.refusal}: return None"
          for column in columns if column.refusal),
        f"template = templates[({''.join(f'{variable} is None, ' for variable in nullable)})]",
        f"values = ({', '.join(column.values for column in columns if column.is_known)}, op, lsn, ts_us)",
        f"return template % values, {next(one.variable for one in columns if one.name == key)}.decode()",
    ]  # fmt: skip
    return "def encode(payload, op, lsn, ts_us):\n    " + "\n    ".join(lines) + "\n"


def _templates(columns: Sequence["_Column"]) -> dict[tuple[bool, ...], bytes]:
    """Return the message with gaps for the values, by which of the columns that may be null are null."""
    known = [column for column in columns if column.is_known]
    nullable = [column.name for column in known if column.is_nullable]
    templates = {}
    for nulls in itertools.product([False, True], repeat=len(nullable)):
        absent = {name for name, is_null in zip(nullable, nulls, strict=True) if is_null}
        members = [f'"{one.name}":' + (one.null_gap if one.name in absent else f'"{one.gap}"') for one in known]
        templates[nulls] = (
            "{" + ",".join(members) + ',"__deleted":"false","__op":"%b","__lsn":%d,"__ts_us":%d}'
        ).encode()
    return templates


class _Column:
    """One column: how its values are found, and what becomes of them."""

    def __init__(self, name: str, number: int, kind: inspect.Type | None, oid: int) -> None:
        self.name = name
        self.is_known = kind is not None
        self.is_nullable = isinstance(kind, inspect.UnionType) or not self.is_known
        if isinstance(kind, inspect.UnionType):
            (kind,) = (one for one in kind.types if not isinstance(one, inspect.NoneType))
        v = self.variable = f"v{number}"
        self.groups = [v]
        self.refusal = ""
        """True when the length says something else than what was found."""
        self.values = v
        """What fills the gap."""
        self.gap = "%b"
        match kind:
            case inspect.UUIDType():
                self.expression = _PRINTED_UUID if oid == _UUID_OID else _UUID
            case inspect.LiteralType(values=words):
                assert not any(f"{word}n" in words for word in words), f"{name} could win an n"
                self.expression = rb"t\0\0\0.(" + b"|".join(re.escape(str(word).encode()) for word in words) + b")"
            case inspect.StrType(pattern=str(pattern)) if _PATTERNS.get(pattern) is CurrencyCode:
                self.expression = _CURRENCY
            case inspect.StrType(pattern=str(pattern)) if _PATTERNS.get(pattern) is CountryCode:
                self.expression = _COUNTRY
            case inspect.StrType(pattern=str(pattern)) if _PATTERNS.get(pattern) is Amount:
                self.expression = _AMOUNT
            case inspect.StrType(pattern=str(pattern)) if _PATTERNS.get(pattern) is Moment:
                self.expression = _PRINTED_MOMENT if oid == _TIMESTAMPTZ_OID else _MOMENT
                w = f"w{number}"
                self.groups.append(w)
                self.values = f"{v}, {w} if {v} is None or len({w}) == {_MICROSECONDS} else filled({w})"
                self.gap = "%bT%bZ"
            case None | inspect.StrType():
                wanted = kind.pattern if kind is not None else None
                assert wanted is None or _PATTERNS.get(wanted) is JsonObject, f"{name} has no expression"
                self.expression = _TEXT if wanted is None else _OBJECT
                self.refusal = f"{v}[0] << 8 | {v}[1] != len({v}) - 2"
                escaped = "" if wanted is None else """.replace(b'"', b'\\\\"')"""
                self.values = f"{v} and {v}[2:]{escaped}"
            case _:
                raise TypeError(f"{name} has no expression")
        self.null_gap = "null" + "%.0a" * self.gap.count("%")
        if self.is_nullable:
            self.expression = b"(?:" + self.expression + b"|n)"


def _filled(time_of_day: bytes) -> bytes:
    """Return a time of day with six fraction digits."""
    return time_of_day.ljust(_MICROSECONDS, b"0") if b"." in time_of_day else time_of_day + b".000000"
