"""Columns as PostgreSQL's own text form of an array, `{a,b,NULL}`.

The driver looks at each element of a list twice before it encodes it, which was a third of the wallet's time
(docs/decisions/0013).
"""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID


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
