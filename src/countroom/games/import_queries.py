"""The statements of an import, one function each."""

from collections.abc import Sequence
from uuid import UUID

from asyncpg import Record

from countroom.postgres import Connection, Transaction


async def provider(connection: Connection, code: str) -> UUID | None:
    """Find a provider."""
    found: UUID | None = await connection.fetchval("SELECT id FROM game_providers WHERE code = $1", code)
    return found


async def lock_provider(tx: Transaction, provider_id: UUID) -> None:
    """Let one import of a provider's games come after the other."""
    await tx.execute("SELECT FROM game_providers WHERE id = $1 FOR NO KEY UPDATE", provider_id)


async def games_of(connection: Connection, provider_id: UUID) -> Sequence[Record]:
    """Read a provider's games with what a feed says of them."""
    return await connection.fetch(
        """
        SELECT slug, title, genre, volatility, is_active AS active, verified_only, countries, currencies,
               rtp::text, tags, pictures, config
          FROM games
         WHERE provider_id = $1
         ORDER BY slug
        """,
        provider_id,
    )


async def foreign(connection: Connection, provider_id: UUID, slugs: Sequence[str]) -> Sequence[Record]:
    """Find which of these slugs are other providers' games."""
    return await connection.fetch(
        """
        SELECT g.slug, p.code
          FROM games g
          JOIN game_providers p ON p.id = g.provider_id
         WHERE g.slug = ANY($2::text[]) AND g.provider_id <> $1
        """,
        provider_id,
        slugs,
    )


async def write_games(tx: Transaction, provider_id: UUID, ids: Sequence[UUID], games: str) -> int:
    """Create or change games, given as JSON; a slug that another provider has taken meanwhile is left out."""
    written: int = await tx.fetchval(
        """
        WITH told AS (
            SELECT ($2::uuid[])[told.place] AS id, t.*
              FROM jsonb_array_elements($3::jsonb) WITH ORDINALITY AS told (game, place),
                   jsonb_to_record(told.game) AS t (slug text, title text, genre game_genre, volatility game_volatility,
                                                    active boolean, verified_only boolean, countries text[],
                                                    currencies text[], rtp numeric, tags text[], pictures jsonb,
                                                    config jsonb)
        ), written AS (
            INSERT INTO games (id, provider_id, slug, title, genre, volatility, is_active, verified_only, countries,
                               currencies, rtp, tags, pictures, config)
            SELECT id, $1, slug, title, genre, volatility, active, verified_only, countries, currencies, rtp, tags,
                   pictures, config
              FROM told
                ON CONFLICT (slug) DO UPDATE
                   SET title = excluded.title, genre = excluded.genre, volatility = excluded.volatility,
                       is_active = excluded.is_active, verified_only = excluded.verified_only,
                       countries = excluded.countries, currencies = excluded.currencies, rtp = excluded.rtp,
                       tags = excluded.tags, pictures = excluded.pictures, config = excluded.config, updated_at = now()
                 WHERE games.provider_id = $1
            RETURNING 1
        )
        SELECT count(*) FROM written
        """,
        provider_id,
        ids,
        games,
    )
    return written


async def settle_search(tx: Transaction) -> None:
    """Bring what was written into the search's index, instead of waiting for a vacuum: until then it costs a scan.

    Only its owner may; for anybody else the vacuum does it.
    """
    await tx.execute(
        """
        SELECT gin_clean_pending_list(oid)
          FROM pg_class
         WHERE oid = 'games_search'::regclass AND pg_has_role(relowner, 'USAGE')
        """
    )


async def keep_import(
    tx: Transaction, import_id: UUID, *, provider_id: UUID, staff_id: UUID | None, file_name: str, feed: str,
    differences: str,
) -> None:  # fmt: skip
    """Keep a feed as it was looked at; those of the provider that nobody has confirmed for a week go."""
    await tx.execute(
        "DELETE FROM catalogue_imports WHERE provider_id = $1 AND applied_at IS NULL "
        "AND created_at < now() - interval '7 days'",
        provider_id,
    )
    await tx.execute(
        """
        INSERT INTO catalogue_imports (id, provider_id, staff_id, file_name, feed, differences)
        VALUES ($1, $2, $3, $4, $5, $6)
        """,
        import_id, provider_id, staff_id, file_name, feed, differences,
    )  # fmt: skip


async def kept_import(tx: Transaction, import_id: UUID) -> Record | None:
    """Read a feed that was looked at, and hold it."""
    return await tx.fetchrow(
        """
        SELECT i.provider_id, p.code, p.title, i.file_name, i.feed, i.differences, i.applied_at
          FROM catalogue_imports i
          JOIN game_providers p ON p.id = i.provider_id
         WHERE i.id = $1
           FOR UPDATE OF i
        """,
        import_id,
    )


async def show_again(tx: Transaction, import_id: UUID, differences: str) -> None:
    """Keep what a feed would do now."""
    await tx.execute("UPDATE catalogue_imports SET differences = $2 WHERE id = $1", import_id, differences)


async def note_applied(tx: Transaction, import_id: UUID, staff_id: UUID | None) -> None:
    """Note that an import has been applied, and by whom; its differences stay, the feed itself goes."""
    await tx.execute(
        """
        UPDATE catalogue_imports
           SET applied_at = now(), feed = '{}', staff_id = coalesce($2, staff_id)
         WHERE id = $1
        """,
        import_id,
        staff_id,
    )


async def imports(connection: Connection, count: int) -> Sequence[Record]:
    """Read the imports that were applied last."""
    return await connection.fetch(
        """
        SELECT i.id, p.title AS provider, i.file_name, s.name AS who, i.applied_at,
               jsonb_array_length(i.differences->'added') AS added,
               jsonb_array_length(i.differences->'changed') AS changed,
               jsonb_array_length(i.differences->'turned_off') AS turned_off
          FROM catalogue_imports i
          JOIN game_providers p ON p.id = i.provider_id
          LEFT JOIN staff s ON s.id = i.staff_id
         WHERE i.applied_at IS NOT NULL
         ORDER BY i.applied_at DESC
         LIMIT $1
        """,
        count,
    )
