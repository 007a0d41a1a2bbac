"""Columns as PostgreSQL's own forms of an array: text, `{a,b,NULL}`, and binary.

The driver looks at each element of a list twice before it encodes it, which was a third of the wallet's time
(docs/decisions/0013). The binary form, which a pipelined connection can send, spares PostgreSQL the reading of ids and
texts letter by letter; numbers with a point stay text, which costs both sides less (docs/decisions/0032).
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from struct import Struct
from typing import Final
from uuid import UUID

_HEAD: Final = Struct(">5i").pack
"""Of a binary array: dimensions, whether any is null (nobody reads it), type of the elements, how many, the first
one's number."""
_NOTHING: Final = Struct(">3i").pack
_UUID, _TEXT, _BYTEA, _JSONB, _INTEGER, _BIGINT = 2950, 25, 17, 3802, 23, 20
"""PostgreSQL's numbers for types (`pg_type`)."""
_NULL: Final = b"\xff\xff\xff\xff"
_FOUR, _EIGHT, _SIXTEEN = (length.to_bytes(4) for length in (4, 8, 16))
_JSONB_VERSION: Final = b"\x01"
SMALL_MAX: Final = 1_000
"""The largest number that `small_integers` takes."""
_SMALL: Final = [_FOUR + number.to_bytes(4) for number in range(SMALL_MAX + 1)]


def arrays(rows: Iterable[tuple[str, ...]], width: int) -> list[str]:
    """Turn rows of texts into one array a column; ``width`` says how many columns no rows have."""
    columns = [f"{{{','.join(column)}}}" for column in zip(*rows, strict=True)]
    return columns or ["{}"] * width


def array(values: Iterable[str]) -> str:
    """Join texts to one array."""
    return f"{{{','.join(values)}}}"


def ids(values: Iterable[UUID | None]) -> str:
    """Join ids to one array."""
    return f"{{{','.join(['NULL' if value is None else str(value) for value in values])}}}"


def text(value: object) -> str:
    """Return a value that needs no quotes: a number, a truth, a word of ours; or NULL."""
    return "NULL" if value is None else str(value)


def quoted(text: str | None) -> str:
    """Return somebody else's text between quotes, in which only a quote and a backslash mean something."""
    if text is None:
        return "NULL"
    if "\\" in text or '"' in text:
        text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def octets(value: bytes) -> str:
    """Return bytes as an array's text holds them."""
    return f'"\\\\x{value.hex()}"'


def timestamp(value: datetime | None) -> str:
    """Return a moment as an array's text holds it."""
    return "NULL" if value is None else f'"{value.isoformat()}"'


# The binary form ---------------------------------------------------------------------------------


def _binary(type_: int, elements: Sequence[bytes]) -> bytes:
    """Join elements, each with its length before it."""
    if not elements:
        return _NOTHING(0, 0, type_)
    return _HEAD(1, 0, type_, len(elements), 1) + b"".join(elements)


def binary_ids(values: Iterable[UUID]) -> bytes:
    """Return ids."""
    return _binary(_UUID, [_SIXTEEN + value.bytes for value in values])


def binary_texts(values: Iterable[str | None]) -> bytes:
    """Return texts."""
    elements: list[bytes] = []
    for value in values:
        if value is None:
            elements.append(_NULL)
        else:
            octets = value.encode()
            elements.append(len(octets).to_bytes(4) + octets)
    return _binary(_TEXT, elements)


def binary_octets(values: Iterable[bytes]) -> bytes:
    """Return bytes."""
    return _binary(_BYTEA, [len(value).to_bytes(4) + value for value in values])


def binary_json(values: Iterable[str]) -> bytes:
    """Return documents of JSON."""
    encoded = [value.encode() for value in values]
    return _binary(_JSONB, [(len(value) + 1).to_bytes(4) + _JSONB_VERSION + value for value in encoded])


def small_integers(values: Iterable[int]) -> bytes:
    """Return numbers from 0 to `SMALL_MAX`, for `integer[]`."""
    return _binary(_INTEGER, [_SMALL[value] for value in values])


def big_integers(values: Iterable[int]) -> bytes:
    """Return numbers for `bigint[]`."""
    return _binary(_BIGINT, [_EIGHT + value.to_bytes(8, signed=True) for value in values])
