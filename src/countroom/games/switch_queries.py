"""The statements about switches and terms, one function each."""

from collections.abc import Sequence
from uuid import UUID

from asyncpg import Record

from countroom.postgres import Connection, Transaction


async def switch_game(tx: Transaction, slug: str, is_active: bool) -> Record | None:  # noqa: FBT001 - what it becomes
    """Turn a game on or off; return its id and its provider's, or None when there is no such game."""
    return await tx.fetchrow(
        "UPDATE games SET is_active = $2, updated_at = now() WHERE slug = $1 RETURNING id, provider_id", slug, is_active
    )


async def switch_provider(tx: Transaction, code: str, is_active: bool) -> UUID | None:  # noqa: FBT001 - what it becomes
    """Turn a provider on or off; return its id, or None when there is none."""
    found: UUID | None = await tx.fetchval(
        "UPDATE game_providers SET is_active = $2, updated_at = now() WHERE code = $1 RETURNING id", code, is_active
    )
    return found


async def set_terms(
    tx: Transaction, code: str, countries: Sequence[str] | None, currencies: Sequence[str] | None, *,
    verified_only: bool, demo_url: str | None,
) -> Record | None:  # fmt: skip
    """Set a provider's terms; return its id and whether it is on, or None when there is none."""
    return await tx.fetchrow(
        """
        UPDATE game_providers
           SET countries = $2, currencies = $3, verified_only = $4, demo_url = $5, updated_at = now()
         WHERE code = $1
        RETURNING id, is_active
        """,
        code, countries, currencies, verified_only, demo_url,
    )  # fmt: skip


async def note_switch(
    tx: Transaction, switch_id: UUID, *, provider_id: UUID, game_id: UUID | None, staff_id: UUID, is_active: bool,
    reason: str,
) -> None:  # fmt: skip
    """Note who switched what, and why."""
    await tx.execute(
        """
        INSERT INTO catalogue_switches (id, provider_id, game_id, staff_id, is_active, reason)
        VALUES ($1, $2, $3, $4, $5, $6)
        """,
        switch_id, provider_id, game_id, staff_id, is_active, reason,
    )  # fmt: skip


async def switches(connection: Connection, provider_code: str, slug: str | None, count: int) -> Sequence[Record]:
    """Read what was switched last: of a game and its provider, or of a provider and all its games."""
    return await connection.fetch(
        """
        SELECT g.slug, w.is_active, w.reason, s.name AS who, w.created_at
          FROM catalogue_switches w
          JOIN game_providers p ON p.id = w.provider_id
          JOIN staff s ON s.id = w.staff_id
          LEFT JOIN games g ON g.id = w.game_id
         WHERE p.code = $1 AND ($2::text IS NULL OR g.slug = $2 OR w.game_id IS NULL)
         ORDER BY w.created_at DESC, w.id DESC
         LIMIT $3
        """,
        provider_code,
        slug,
        count,
    )


async def open_sessions(connection: Connection, slug: str) -> int:
    """Count the open sessions of a game."""
    found: int = await connection.fetchval(
        """
        SELECT count(*)
          FROM game_sessions s
          JOIN games g ON g.id = s.game_id
         WHERE g.slug = $1 AND s.status = 'open'
        """,
        slug,
    )
    return found
