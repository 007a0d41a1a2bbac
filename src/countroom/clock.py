"""Time and ids, passed in so that tests can control them."""

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

import uuid_utils
from asyncpg.pgproto.pgproto import UUID as FastUUID  # noqa: N811 - a uuid.UUID, several times faster

Clock = Callable[[], datetime]
"""Gives the present moment, aware, in UTC."""


def now() -> datetime:
    """Return the present moment, aware, in UTC."""
    return datetime.now(UTC)


def new_id() -> UUID:
    """Return a UUIDv7: ids made later sort later, so that indexes grow at one end."""
    return FastUUID(uuid_utils.uuid7().bytes)


def parse_id(text: str) -> UUID:
    """Read a UUID.

    Raises:
        ValueError: it is none.
    """
    return FastUUID(text)
