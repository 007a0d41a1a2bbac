"""Ids as they stand in addresses and forms."""

from uuid import UUID


def read_id(text: str) -> UUID | None:
    """Read an id; None when the text is none."""
    try:
        return UUID(text)
    except ValueError:
        return None
