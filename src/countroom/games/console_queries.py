"""The statements about providers for the staff, one function each."""

from collections.abc import Sequence
from uuid import UUID

from asyncpg import Record

from countroom.postgres import Connection, Transaction


async def providers(connection: Connection) -> Sequence[Record]:
    """Read every provider, with its sealed keys and how many games it has."""
    return await connection.fetch(
        """
        SELECT p.code, p.title, p.dialect, p.is_active, p.signing_keys,
               (SELECT count(*) FROM games g WHERE g.provider_id = p.id) AS games
          FROM game_providers p
         ORDER BY p.code
        """
    )


async def lock_keys(tx: Transaction, code: str) -> Record | None:
    """Read a provider's sealed keys, and let nobody else change them meanwhile."""
    return await tx.fetchrow("SELECT dialect, signing_keys FROM game_providers WHERE code = $1 FOR UPDATE", code)


async def write_keys(tx: Transaction, code: str, signing_keys: bytes) -> None:
    """Replace a provider's sealed keys."""
    await tx.execute(
        "UPDATE game_providers SET signing_keys = $2, updated_at = now() WHERE code = $1", code, signing_keys
    )


async def latest_seat(connection: Connection, game_ids: Sequence[UUID]) -> Record | None:
    """Read the session that was opened last in one of these games: ids are UUIDv7, so of the newest that is near."""
    return await connection.fetchrow(
        """
        SELECT s.user_id, s.id AS session_id, g.slug AS game, s.currency::text
          FROM (SELECT * FROM game_sessions ORDER BY id DESC LIMIT 1000) s
          JOIN games g ON g.id = s.game_id
         WHERE s.game_id = ANY ($1::uuid[])
         ORDER BY s.id DESC
         LIMIT 1
        """,
        game_ids,
    )
