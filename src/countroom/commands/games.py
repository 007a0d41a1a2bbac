"""`countroom games`."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.table import Table

from countroom.commands import console, running
from countroom.games import service as games
from countroom.games.differences import Differences
from countroom.games.service import Filters
from countroom.postgres import Database
from countroom.schema.enumerations import GameGenre, GameVolatility

SHOWN_MAX = 40
"""Games of each kind that an import prints; the rest is counted."""
CELL_LENGTH_MAX = 60

Flag = Annotated[bool, Parameter(negative="")]
Count = Annotated[int, Parameter(validator=Number(gte=1, lte=20_000))]
Result = TypeVar("Result")


def list_(
    text: str = "",
    *,
    provider: str | None = None,
    genre: GameGenre | None = None,
    volatility: GameVolatility | None = None,
    tag: str | None = None,
    currency: str | None = None,
    country: str | None = None,
    off: Flag = False,
    limit: Count = 100,
) -> int:
    """List games by title.

    Parameters
    ----------
    text
        Words, in their order, each any part of title or slug: `countroom games list "book dead"`.
    provider
        Only this provider's, by its code.
    genre
        Only of this genre.
    volatility
        Only of this volatility.
    tag
        Only with this tag.
    currency
        Only what can be played in it.
    country
        Only what may be played there.
    off
        Only what cannot be launched now: it is off, or its provider is.
    limit
        How many at most.
    """
    filters = Filters(
        text=text, provider=provider, genre=genre, volatility=volatility, tag=tag, currency=currency, country=country,
        is_launchable=False if off else None,
    )  # fmt: skip
    page = _asked(lambda database: games.find_games(database, filters, limit=limit))
    table = Table(box=None, pad_edge=False)
    for title in ("slug", "title", "provider", "genre", "volatility", "RTP", "state"):
        table.add_column(title, no_wrap=title == "slug")
    for game in page.games:
        state = "on" if game.can_be_launched else "off" if not game.is_active else "provider off"
        rtp = "" if game.rtp is None else f"{game.rtp} %"
        table.add_row(game.slug, game.title, game.provider_code, game.genre, game.volatility, rtp, state)
    console.print(table if page.games else "There are none.", markup=False)
    if page.next:
        console.print(f"There are more than {limit}; --limit shows more.", style="dim")
    return 0


def show_(slug: str) -> int:
    """Show all that the catalogue says of one game."""
    game = _asked(lambda database: games.game_of(database, slug))
    for name, value in (
        ("slug", game.slug), ("title", game.title), ("provider", f"{game.provider_code} ({game.provider_title})"),
        ("state", "on" if game.is_active else "off"), ("provider is", "on" if game.provider_is_active else "off"),
        ("genre", game.genre), ("volatility", game.volatility), ("RTP", "" if game.rtp is None else f"{game.rtp} %"),
        ("countries", "everywhere" if game.countries is None else " ".join(game.countries)),
        ("currencies", "every one" if game.currencies is None else " ".join(game.currencies)),
        ("identity", "must be verified" if game.verified_only else "as the house and the provider want"),
        ("demo", "yes" if game.has_demo else "no"), ("tags", " ".join(game.tags)),
        *((f"picture {use}", url) for use, url in game.pictures.items()), ("config", game.config),
        ("changed", f"{game.updated_at:%Y-%m-%d %H:%M:%S %Z}"),
    ):  # fmt: skip
        console.print(f"{name:<14}{value}", markup=False, soft_wrap=True)
    return 0


def import_(
    file: Path, *, provider: str, dry_run: Flag = False, turn_on: Flag = False, turn_off_missing: Flag = False
) -> int:
    """Import a provider's feed of games, CSV or JSON. What differs is printed, and exactly that is done, or nothing.

    A CSV file has a heading; JSON is a list of objects, or an object with such a list as `games`. Fields: `slug`,
    `title`, `genre` (slots, table, live, crash, instant), `volatility` (low, medium, high), `active`, `rtp` (percent),
    `tags`, `countries`, `currencies`, `verified_only`, `pictures` (`tile=https://…`), `config` (a JSON object). A new
    game needs the first four; words of a list stand apart by spaces.

        slug,title,genre,volatility,rtp,countries
        book-of-ice,Book of Ice,slots,high,96.21,SE NO FI
        ice-wheel,Ice Wheel,table,low,97.30,*

    What a feed does not say stays as it is: a field that is not there, an empty cell. `*` lifts a restriction. One row
    at fault refuses the whole feed, and every fault is named. Nothing is ever deleted.

    Parameters
    ----------
    file
        The feed.
    provider
        Whose it is, by its code.
    dry_run
        Only show what would differ.
    turn_on
        Turn on games that are off here, where the feed says that they are active.
    turn_off_missing
        Turn off games of this provider that the feed does not have.
    """
    if not file.is_file():
        console.print(f"There is no file {file}.", style="red", markup=False, soft_wrap=True)
        return 1
    content = file.read_bytes()
    options = games.Options(turn_on=turn_on, turn_off_missing=turn_off_missing)

    async def do(database: Database) -> int:
        try:
            seen = await games.look_at(
                database, provider_code=provider, content=content, file_name=file.name, options=options
            )
        except games.FeedRefused as refused:
            _print_faults(refused)
            return 1
        _print(seen.differences)
        if dry_run:
            console.print("Nothing was changed: this was a dry run.")
        elif seen.differences.does_something:
            await games.apply_import(database, seen.id)
            console.print("Done.")
        return 0

    return _asked(do)


def _asked(do: Callable[[Database], Awaitable[Result]]) -> Result:
    async def ask(url: str) -> Result:
        database = await Database.connect(url, size_max=1)
        try:
            return await do(database)
        finally:
            await database.close()

    with running() as settings:
        assert settings.database_url
        return asyncio.run(ask(settings.database_url))


def _print_faults(refused: games.FeedRefused) -> None:
    for fault in refused.faults:
        where = f"{fault.field}" if fault.row is None else f"row {fault.row}, {fault.field}"
        console.print(f"{where}: {fault.sentence}", style="red", markup=False, soft_wrap=True)
    console.print(refused.sentence, markup=False)


def _print(found: Differences) -> None:
    if found.ignored:
        _say(f"Ignored, as they are none of ours: {', '.join(found.ignored)}.")
    for sign, games_, title in (
        ("+", found.added, "new"),
        ("-", found.turned_off, "turned off: not in the feed"),
        (" ", found.missing, "not in the feed; they stay as they are"),
        (" ", found.kept_off, "active in the feed, off here; they stay off"),
    ):
        if games_:
            _say(f"{len(games_)} {title}:")
            for game in games_[:SHOWN_MAX]:
                _say(f"  {sign} {game.slug}  {game.title}")
            if len(games_) > SHOWN_MAX:
                _say(f"    … and {len(games_) - SHOWN_MAX} more")
    if found.changed:
        _say(f"{len(found.changed)} changed:")
    for changed in found.changed[:SHOWN_MAX]:
        _say(f"  ~ {changed.slug}  {changed.title}")
        for change in changed.changes:
            _say(f"      {change.field}: {_cell(change.old)} → {_cell(change.new)}")
    if len(found.changed) > SHOWN_MAX:
        _say(f"    … and {len(found.changed) - SHOWN_MAX} more")
    _say(f"{found.unchanged} as they are.")


def _say(sentence: str) -> None:
    console.print(sentence, markup=False, soft_wrap=True)


def _cell(value: object) -> str:
    said = "*" if value is None else " ".join(value) if isinstance(value, list) else str(value)
    return said if len(said) <= CELL_LENGTH_MAX else f"{said[: CELL_LENGTH_MAX - 1]}…"
