"""Starting a game: for money, with a session here, or for fun, with nothing here at all."""

import hashlib
import secrets
from dataclasses import dataclass
from urllib.parse import quote, urlencode
from uuid import UUID

from countroom import clock
from countroom.games import queries, rules
from countroom.games.listing import is_text
from countroom.games.rules import Applicant, IdentityPolicy, Terms, UnknownGame
from countroom.postgres import Connection, Database


@dataclass(frozen=True, slots=True)
class Launch:
    """A game session that was just opened, and what the provider will send for it."""

    session_id: UUID
    token: str
    account_id: str
    game_id: str
    launch_url: str


@dataclass(frozen=True, slots=True)
class Demo:
    """Where a game is played for fun. Nothing was opened here, and nothing will be called back."""

    game_id: str
    demo_url: str


@dataclass(frozen=True, slots=True)
class _Launchable:
    game_id: UUID
    game: Terms
    provider: Terms
    player: Applicant
    launch_url: str
    demo_url: str | None
    holds_currency: bool


async def launch(
    database: Database, *, user_id: UUID, slug: str, currency: str, identity: IdentityPolicy = "not_rejected"
) -> Launch:
    """Open a session of a game for a player who passes every gate.

    Raises:
        UnknownGame, and each of those of `rules.check_launch`: nothing was opened.
    """
    token = secrets.token_urlsafe(32)
    session_id = clock.new_id()
    async with database.transaction() as tx:
        found = await _launchable(tx, slug, user_id, currency)
        rules.check_launch(
            found.player,
            game=found.game,
            provider=found.provider,
            currency=currency,
            holds_currency=found.holds_currency,
            identity=identity,
        )
        token_hash = hashlib.sha256(token.encode()).digest()
        await queries.insert_session(
            tx, session_id, user_id=user_id, game_id=found.game_id, currency=currency, token_hash=token_hash
        )
    told = {"token": token, "session_id": session_id, "game": slug, "account": user_id, "currency": currency}
    return Launch(session_id, token, str(user_id), slug, _address(found.launch_url, told))


async def launch_demo(database: Database, *, user_id: UUID, slug: str, currency: str) -> Demo:
    """Return where a player plays a game for fun. No session is opened, and the provider learns of no account.

    ``currency`` is only what the play money is shown in.

    Raises:
        UnknownGame, and each of those of `rules.check_demo`.
    """
    async with database.connection() as connection:
        found = await _launchable(connection, slug, user_id, currency)
    rules.check_demo(found.player, game=found.game, provider=found.provider, has_demo=found.demo_url is not None)
    assert found.demo_url is not None
    return Demo(slug, _address(found.demo_url, {"game": slug, "currency": currency, "mode": "fun"}))


async def _launchable(connection: Connection, slug: str, user_id: UUID, currency: str) -> _Launchable:
    row = await queries.launchable(connection, slug, user_id, currency) if is_text(slug) else None
    if row is None:
        raise UnknownGame(field="slug")
    return _Launchable(
        row["game_id"],
        Terms(row["is_active"], row["countries"], row["currencies"], row["verified_only"]),
        Terms(
            row["provider_is_active"],
            row["provider_countries"],
            row["provider_currencies"],
            row["provider_verified_only"],
        ),
        Applicant(row["status"], row["country"], row["kyc_status"]),
        row["launch_url"],
        row["demo_url"],
        row["holds_currency"],
    )


def _address(url: str, values: dict[str, object]) -> str:
    """Put values into a provider's address: where it has them in braces, or else all of them into its query."""
    filled = url
    for name, value in values.items():
        filled = filled.replace(f"{{{name}}}", quote(str(value), safe=""))
    if filled != url:
        return filled
    return f"{url}{'&' if '?' in url else '?'}{urlencode(values)}"
