"""Turning games and providers on and off, and a provider's terms, by the staff: with a reason, which is kept.

What is turned off is launched by nobody from the next launch on. Nothing that is under way is stopped.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from countroom import clock
from countroom.games import switch_queries as queries
from countroom.games.feed import Wrong, read_countries, read_currencies
from countroom.games.imports import UnknownProvider
from countroom.games.listing import is_text
from countroom.games.rules import UnknownGame
from countroom.players.rights import require
from countroom.players.staff import StaffSession
from countroom.postgres import Database
from countroom.refusal import Refusal

REASON_LENGTH_MAX: Final = 300
ADDRESS_LENGTH_MAX: Final = 500


class NoReason(Refusal):
    """Say why, in 1 to 300 characters; it is kept."""

    kind = "invalid"
    code = "reason_missing"


class InvalidTerms(Refusal):
    """These terms cannot be."""

    kind = "invalid"
    code = "invalid_terms"


@dataclass(frozen=True, slots=True)
class Switch:
    """Who turned what on or off, when and why."""

    slug: str | None
    """None: the provider itself."""
    is_active: bool
    reason: str
    who: str
    created_at: datetime


async def switch_game(database: Database, member: StaffSession, *, slug: str, is_active: bool, reason: str) -> None:
    """Turn a game on or off. Done already, it is noted again.

    Raises:
        NotYourRole, NoReason, UnknownGame: nothing was changed.
    """
    require(member, "switch_games")
    said = _reason(reason)
    async with database.transaction() as tx:
        found = await queries.switch_game(tx, slug, is_active) if is_text(slug) else None
        if found is None:
            raise UnknownGame(field="slug")
        await queries.note_switch(
            tx, clock.new_id(), provider_id=found["provider_id"], game_id=found["id"], staff_id=member.staff_id,
            is_active=is_active, reason=said,
        )  # fmt: skip


async def switch_provider(database: Database, member: StaffSession, *, code: str, is_active: bool, reason: str) -> None:
    """Turn all games of a provider on or off; each keeps its own switch.

    Raises:
        NotYourRole, NoReason, UnknownProvider: nothing was changed.
    """
    require(member, "switch_games")
    said = _reason(reason)
    async with database.transaction() as tx:
        found = await queries.switch_provider(tx, code, is_active) if is_text(code) else None
        if found is None:
            raise UnknownProvider(field="code")
        await queries.note_switch(
            tx, clock.new_id(), provider_id=found, game_id=None, staff_id=member.staff_id, is_active=is_active,
            reason=said,
        )  # fmt: skip


async def set_terms(
    database: Database, member: StaffSession, *, code: str, countries: str, currencies: str, verified_only: bool,
    demo_url: str, reason: str,
) -> None:  # fmt: skip
    """Set a provider's terms, as text: codes with spaces between; nothing, or `*`, is no restriction.

    Raises:
        NotYourRole, NoReason, UnknownProvider, InvalidTerms: nothing was changed.
    """
    require(member, "switch_games")
    said = _reason(reason)
    try:
        where = read_countries(countries.upper() or "*")
        in_what = read_currencies(currencies.upper() or "*")
    except Wrong as wrong:
        raise InvalidTerms(str(wrong), field="terms") from wrong
    address = demo_url.strip() or None
    if address is not None and not (
        address.startswith(("https://", "http://")) and address.isprintable() and len(address) <= ADDRESS_LENGTH_MAX
    ):
        raise InvalidTerms("A demo's address begins with https:// and has at most 500 characters.", field="demo_url")
    async with database.transaction() as tx:
        found = (
            await queries.set_terms(tx, code, where, in_what, verified_only=verified_only, demo_url=address)
            if is_text(code)
            else None
        )
        if found is None:
            raise UnknownProvider(field="code")
        identity = "verified only" if verified_only else "any identity"
        terms = f"Terms: countries {_short(where)}, currencies {_short(in_what)}, {identity}."
        await queries.note_switch(
            tx, clock.new_id(), provider_id=found["id"], game_id=None, staff_id=member.staff_id,
            is_active=found["is_active"], reason=f"{terms} {said}",
        )  # fmt: skip


async def switches_of(database: Database, provider_code: str, slug: str | None, count: int) -> list[Switch]:
    """Return what was switched last: of one game and its provider, or of a provider and all its games."""
    async with database.connection() as connection:
        return [Switch(*row.values()) for row in await queries.switches(connection, provider_code, slug, count)]


async def open_sessions_of(database: Database, slug: str) -> int:
    """Return how many sessions of a game are open now."""
    async with database.connection() as connection:
        return await queries.open_sessions(connection, slug)


def _reason(text: str) -> str:
    said = text.strip()
    if not 0 < len(said) <= REASON_LENGTH_MAX or not is_text(said):
        raise NoReason(field="reason")
    return said


def _short(codes: Sequence[str] | None) -> str:
    if codes is None:
        return "*"
    return " ".join(codes[:15]) + (f" and {len(codes) - 15} more" if len(codes) > 15 else "")  # noqa: PLR2004 - a line
