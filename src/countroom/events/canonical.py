"""The form in which messages of the contract usually come, as one regular expression.

A typed decode makes an object of every field only to throw it away. Nearly every message is written as
our relay and Debezium write it: no spaces, the same fields in the same order, nothing in it that needs
escaping but the quotes of ``metadata``. A regular expression knows such a message in a third of the time.

What it accepts the typed decode accepts as well (``tests/pipeline/test_canonical.py`` tries to find a
message for which that is false); what it does not accept is no fault, it is decoded.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from msgspec import inspect

from countroom.events.contract import MESSAGES

Matches = Callable[[bytes], object]
"""Whether these bytes are a message in the usual form."""

_UUID: Final = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_PLAIN: Final = r"[ !#-\[\]-~]"
"""A character that JSON holds as it is. Others than ASCII are left to the decoder, which knows UTF-8."""
_TEXT: Final = rf'{_PLAIN}*+(?:\\["\\/bfnrt]{_PLAIN}*+)*+'
_INTEGER: Final = "(?:0|[1-9][0-9]{0,17})"
"""Fits 64 bits."""
_NEWER: Final = rf'(?:"{_TEXT}"|null|true|false|{_INTEGER})'
"""What a field may hold that the contract does not know yet."""


def form(topic: str, names: Sequence[str]) -> Matches | None:
    """Return what knows a topic's messages that have these fields in this order.

    None when they are not the contract's: one is missing, or is there twice.
    """
    fields = {
        field.encode_name: field.type
        for field in inspect.type_info(MESSAGES[topic]).fields  # type: ignore[attr-defined]
    }
    if len(set(names)) != len(names) or not fields.keys() <= set(names):
        return None
    if any(re.fullmatch(f"{_PLAIN}+", name) is None for name in names):
        return None
    members = [f'"{re.escape(name)}":{_value(fields[name]) if name in fields else _NEWER}' for name in names]
    return re.compile(("\\{" + ",".join(members) + "\\}").encode()).fullmatch


def names(body: bytes) -> list[str] | None:
    """Return the names of a message's fields in their order; None when it is no object."""
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return list(decoded) if isinstance(decoded, dict) else None


def _value(kind: Any) -> str:  # noqa: PLR0911 - one for each kind
    """Return the expression for a value of one of the contract's types."""
    match kind:
        case inspect.UnionType(types=types):
            return "(?:" + "|".join(_value(one) for one in types) + ")"
        case inspect.NoneType():
            return "null"
        case inspect.UUIDType():
            return f'"{_UUID}"'
        case inspect.LiteralType(values=values):
            return '"(?:' + "|".join(re.escape(str(value)) for value in values) + ')"'
        case inspect.IntType(ge=0):
            return _INTEGER
        case inspect.StrType(pattern=None):
            return f'"{_TEXT}"'
        case inspect.StrType(pattern=str(pattern)) if pattern.startswith("^"):
            inner = pattern.removeprefix("^")
            return f'"{inner.removesuffix("$")}"' if inner.endswith("$") else f'"{inner}{_TEXT}"'
    raise TypeError(f"{kind} has no usual form")
