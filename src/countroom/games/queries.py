"""The games room's statements, one function each."""

from collections.abc import Sequence
from uuid import UUID

from asyncpg import Record

from countroom.postgres import Connection, Transaction


async def all_providers(connection: Connection) -> Sequence[Record]:
    """Read every provider, with its sealed keys."""
    return await connection.fetch(
        "SELECT id, code, title, dialect, launch_url, signing_keys, is_active FROM game_providers ORDER BY code"
    )


async def all_games(connection: Connection) -> Sequence[Record]:
    """Read every game."""
    return await connection.fetch(
        """
        SELECT g.id, g.slug, g.title, g.volatility, g.genre, p.code AS provider_code, g.is_active
          FROM games g
          JOIN game_providers p ON p.id = g.provider_id
         ORDER BY g.title
        """
    )


async def upsert_provider(
    connection: Connection,
    provider_id: UUID,
    *,
    code: str,
    title: str,
    dialect: str,
    launch_url: str,
    signing_keys: bytes,
) -> UUID:
    """Create a provider, or bring the one with this code up to date; return its id."""
    found: UUID = await connection.fetchval(
        """
        INSERT INTO game_providers (id, code, title, dialect, launch_url, signing_keys)
        VALUES ($1, $2, $3, $4, $5, $6)
            ON CONFLICT (code) DO UPDATE
               SET title = excluded.title, dialect = excluded.dialect, launch_url = excluded.launch_url,
                   signing_keys = excluded.signing_keys, updated_at = now()
        RETURNING id
        """,
        provider_id, code, title, dialect, launch_url, signing_keys,
    )  # fmt: skip
    return found


async def upsert_game(
    connection: Connection, game_id: UUID, *, provider_code: str, slug: str, title: str, volatility: str, genre: str,
    config: str,
) -> UUID | None:  # fmt: skip
    """Create a game, or bring the one with this slug up to date; None when the provider is unknown."""
    found: UUID | None = await connection.fetchval(
        """
        INSERT INTO games (id, provider_id, slug, title, volatility, genre, config)
        SELECT $1, p.id, $3, $4, $5, $6, $7 FROM game_providers p WHERE p.code = $2
            ON CONFLICT (slug) DO UPDATE
               SET title = excluded.title, volatility = excluded.volatility, genre = excluded.genre,
                   config = excluded.config, updated_at = now()
        RETURNING id
        """,
        game_id, provider_code, slug, title, volatility, genre, config,
    )  # fmt: skip
    return found


async def launchable(tx: Transaction, slug: str, user_id: UUID, currency: str) -> Record | None:
    """Read all that a launch depends on; None when there is no such game or player."""
    return await tx.fetchrow(
        """
        SELECT g.id AS game_id, g.is_active AND p.is_active AS is_active, p.code AS provider_code, p.launch_url,
               u.status AS user_status,
               EXISTS (SELECT FROM wallet_accounts w
                        WHERE w.user_id = u.id AND w.currency = $3 AND w.type = 'main') AS holds_currency
          FROM games g
          JOIN game_providers p ON p.id = g.provider_id
         CROSS JOIN users u
         WHERE g.slug = $1 AND u.id = $2
        """,
        slug,
        user_id,
        currency,
    )


async def insert_session(
    tx: Transaction, session_id: UUID, *, user_id: UUID, game_id: UUID, currency: str, token_hash: bytes
) -> None:
    """Open a game session."""
    await tx.execute(
        """
        INSERT INTO game_sessions (id, user_id, game_id, provider_session_id, currency, token_hash)
        VALUES ($1, $2, $3, $1::uuid::text, $4, $5)
        """,
        session_id, user_id, game_id, currency, token_hash,
    )  # fmt: skip


async def game_of_round(connection: Connection, game_ids: Sequence[UUID], user_id: UUID, round_key: str) -> UUID | None:
    """Find in which of a provider's games a player's round is; the open and latest one when there are several."""
    found: UUID | None = await connection.fetchval(
        """
        SELECT game_id
          FROM game_rounds
         WHERE game_id = ANY($1::uuid[]) AND external_id = $3 AND user_id = $2
         ORDER BY status = 'open' DESC, opened_at DESC
         LIMIT 1
        """,
        game_ids,
        user_id,
        round_key,
    )
    return found
