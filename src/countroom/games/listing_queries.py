"""What is read of the catalogue to be looked through, one function a statement.

The search is `ILIKE` over an index of trigrams: any part of a title or slug, in any case. docs/catalogue.md has what
it takes with the index and without.
"""

from collections.abc import Sequence
from typing import Any, Final

from asyncpg import Record

from countroom.postgres import Connection, Transaction


async def plan_for_what_is_asked(tx: Transaction) -> None:
    """Have the statements of this transaction planned with their values.

    Most of the filters ask nothing most of the time. A plan that fits all of them uses no index: 30 ms over 20,000
    games, instead of one.
    """
    await tx.execute("SET LOCAL plan_cache_mode = force_custom_plan")


async def find_games(
    tx: Transaction, matching: Sequence[Any], *, after_title: str | None, after_slug: str | None, limit: int
) -> Sequence[Record]:
    """Read games after a place in the list, by title; ``matching`` are the values of `_THAT_MATCH`."""
    return await tx.fetch(_FIND_GAMES, *matching, after_title, after_slug, limit)


async def count_games(tx: Transaction, matching: Sequence[Any]) -> int:
    """Count games."""
    found: int = await tx.fetchval(_COUNT_GAMES, *matching)
    return found


async def game(connection: Connection, slug: str) -> Record | None:
    """Read one game."""
    return await connection.fetchrow(_GAME, slug)


async def providers(connection: Connection) -> Sequence[Record]:
    """Read every provider with its terms, and how many games it has, by title."""
    return await connection.fetch(
        """
        SELECT p.id, p.code, p.title, p.dialect, p.is_active, p.countries, p.currencies, p.verified_only, p.demo_url,
               count(g.id), count(g.id) FILTER (WHERE g.is_active)
          FROM game_providers p
          LEFT JOIN games g ON g.provider_id = p.id
         GROUP BY p.id
         ORDER BY lower(p.title), p.code
        """
    )


_GAMES: Final = """
SELECT g.id, g.slug, g.title, lower(g.title) AS sort_title, g.volatility, g.genre, g.is_active, g.countries,
       g.currencies, g.verified_only, g.rtp, g.tags, g.pictures, g.config, g.created_at, g.updated_at,
       p.code AS provider_code, p.title AS provider_title, p.is_active AS provider_is_active,
       p.demo_url IS NOT NULL AS has_demo
  FROM games g
  JOIN game_providers p ON p.id = g.provider_id
"""

# Pattern, provider, genre, volatility, tags, currency, country, whether it can be launched, whether it has a demo.
_THAT_MATCH: Final = """
 WHERE ($1::text IS NULL OR (g.title || ' ' || g.slug) ILIKE $1)
   AND ($2::text IS NULL OR p.code = $2)
   AND ($3::game_genre IS NULL OR g.genre = $3)
   AND ($4::game_volatility IS NULL OR g.volatility = $4)
   AND ($5::text[] IS NULL OR g.tags @> $5)
   AND ($6::text IS NULL OR ((g.currencies IS NULL OR $6 = ANY(g.currencies))
                             AND (p.currencies IS NULL OR $6 = ANY(p.currencies))))
   AND ($7::text IS NULL OR ((g.countries IS NULL OR $7 = ANY(g.countries))
                             AND (p.countries IS NULL OR $7 = ANY(p.countries))))
   AND ($8::boolean IS NULL OR (g.is_active AND p.is_active) = $8)
   AND ($9::boolean IS NULL OR (p.demo_url IS NOT NULL) = $9)
"""

_AFTER: Final = """
   AND ($10::text IS NULL OR (lower(g.title), g.slug) > ($10, $11))
 ORDER BY lower(g.title), g.slug
 LIMIT $12
"""

_FIND_GAMES: Final = _GAMES + _THAT_MATCH + _AFTER
_COUNT_GAMES: Final = "SELECT count(*) FROM games g JOIN game_providers p ON p.id = g.provider_id" + _THAT_MATCH
_GAME: Final = _GAMES + " WHERE g.slug = $1"
