"""The games room's statements, one function each."""

from collections.abc import Sequence
from decimal import Decimal
from uuid import UUID

from asyncpg import Record

from countroom.postgres import Connection


async def all_providers(connection: Connection) -> Sequence[Record]:
    """Read every provider, with its sealed keys."""
    return await connection.fetch(
        "SELECT id, code, title, dialect, launch_url, signing_keys, is_active FROM game_providers ORDER BY code"
    )


async def game_ids(connection: Connection) -> Sequence[Record]:
    """Read the ids of every game, also of those that are off."""
    return await connection.fetch(
        "SELECT p.code AS provider_code, g.slug, g.id FROM games g JOIN game_providers p ON p.id = g.provider_id"
    )


async def catalogue_version(connection: Connection) -> int:
    """Read how often the catalogue has changed."""
    version: int = await connection.fetchval("SELECT version FROM catalogue_version")
    return version


async def upsert_provider(
    connection: Connection,
    provider_id: UUID,
    *,
    code: str,
    title: str,
    dialect: str,
    launch_url: str,
    demo_url: str | None,
    signing_keys: bytes,
) -> UUID:
    """Create a provider, or bring the one with this code up to date; return its id."""
    found: UUID = await connection.fetchval(
        """
        INSERT INTO game_providers (id, code, title, dialect, launch_url, demo_url, signing_keys)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
            ON CONFLICT (code) DO UPDATE
               SET title = excluded.title, dialect = excluded.dialect, launch_url = excluded.launch_url,
                   demo_url = coalesce(excluded.demo_url, game_providers.demo_url),
                   signing_keys = excluded.signing_keys, updated_at = now()
        RETURNING id
        """,
        provider_id, code, title, dialect, launch_url, demo_url, signing_keys,
    )  # fmt: skip
    return found


async def upsert_game(
    connection: Connection, game_id: UUID, *, provider_code: str, slug: str, title: str, volatility: str, genre: str,
    config: str, rtp: Decimal | None, tags: Sequence[str],
) -> UUID | None:  # fmt: skip
    """Create a game, or bring the one with this slug up to date; None when the provider is unknown."""
    found: UUID | None = await connection.fetchval(
        """
        INSERT INTO games (id, provider_id, slug, title, volatility, genre, config, rtp, tags)
        SELECT $1, p.id, $3, $4, $5, $6, $7, $8, $9 FROM game_providers p WHERE p.code = $2
            ON CONFLICT (slug) DO UPDATE
               SET title = excluded.title, volatility = excluded.volatility, genre = excluded.genre,
                   config = excluded.config, rtp = coalesce(excluded.rtp, games.rtp),
                   tags = CASE WHEN excluded.tags = '{}' THEN games.tags ELSE excluded.tags END, updated_at = now()
        RETURNING id
        """,
        game_id, provider_code, slug, title, volatility, genre, config, rtp, tags,
    )  # fmt: skip
    return found


async def launchable(connection: Connection, slug: str, user_id: UUID, currency: str) -> Record | None:
    """Read all that a launch depends on; None when there is no such game or player."""
    return await connection.fetchrow(
        """
        SELECT g.id AS game_id, g.is_active, g.countries, g.currencies, g.verified_only,
               p.is_active AS provider_is_active, p.countries AS provider_countries,
               p.currencies AS provider_currencies, p.verified_only AS provider_verified_only,
               p.launch_url, p.demo_url, u.status, u.country, u.kyc_status,
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


async def slug_of(connection: Connection, game_id: UUID) -> str:
    """Read a game's slug."""
    slug: str = await connection.fetchval("SELECT slug FROM games WHERE id = $1", game_id)
    return slug


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


async def session(connection: Connection, session_id: UUID | None, token_hash: bytes | None) -> Record | None:
    """Read what a session stands for, by its id or by its token's hash."""
    return await connection.fetchrow(
        """
        SELECT s.id, s.user_id, s.game_id, s.currency::text, p.code AS provider_code,
               s.token_used_at IS NOT NULL AS is_begun
          FROM game_sessions s
          JOIN games g ON g.id = s.game_id
          JOIN game_providers p ON p.id = g.provider_id
         WHERE s.id = $1 OR s.token_hash = $2
        """,
        session_id,
        token_hash,
    )


async def latest_game(connection: Connection, game_ids: Sequence[UUID], user_id: UUID) -> UUID | None:
    """Find which of these games a player has launched last."""
    found: UUID | None = await connection.fetchval(
        """
        SELECT game_id
          FROM game_sessions
         WHERE user_id = $2 AND game_id = ANY($1::uuid[])
         ORDER BY opened_at DESC
         LIMIT 1
        """,
        game_ids,
        user_id,
    )
    return found


async def player(connection: Connection, user_id: UUID) -> Record | None:
    """Read where a player lives."""
    return await connection.fetchrow("SELECT country FROM users WHERE id = $1", user_id)


async def told(connection: Connection, external_ids: Sequence[str]) -> Sequence[Record]:
    """Read what stands under these ids, and which reversal of them counts; `/bonus` rows are added to the first."""
    return await connection.fetch(
        """
        SELECT t.external_id, CASE WHEN t.type IN ('bet', 'win') THEN t.type::text ELSE 'other' END AS type, t.user_id,
               t.currency::text, t.game_id,
               t.amount + coalesce((SELECT amount FROM transactions WHERE external_id = t.external_id || '/bonus'), 0)
                   AS amount,
               NULL AS reversed_by
          FROM transactions t
         WHERE t.external_id = ANY($1::text[])
         UNION ALL
        SELECT s.external_id, 'reversal', s.user_id, NULL, NULL, abs(s.amount), NULL
          FROM tombstones s
         WHERE s.external_id = ANY($1::text[])
         UNION ALL
        SELECT s.target_external_id, NULL, NULL, NULL, NULL, NULL, s.external_id
          FROM tombstones s
         WHERE s.target_external_id = ANY($1::text[]) AND s.outcome <> 'repeated'
        """,
        external_ids,
    )
