"""What a feed would change in a provider's games. Nothing here asks anybody."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from countroom.games.feed import Fault, FeedGame

NEEDED: Final = ("title", "genre", "volatility")
"""What a game that is new must be told with."""
_NEW: Final[dict[str, Any]] = {
    "active": True, "verified_only": False, "countries": None, "currencies": None, "rtp": None, "tags": [],
    "pictures": {}, "config": {},
}  # fmt: skip


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What an import does only when it is asked for."""

    turn_on: bool = False
    """Turn on games that are off here, where the feed says that they are active."""
    turn_off_missing: bool = False
    """Turn off games of the provider that the feed does not have."""


class Change(msgspec.Struct, frozen=True):
    """A field that becomes another."""

    field: str
    old: Any
    new: Any


class Changed(msgspec.Struct, frozen=True):
    """A game with what changes of it."""

    slug: str
    title: str
    changes: list[Change]


class Named(msgspec.Struct, frozen=True):
    """A game by its names."""

    slug: str
    title: str


class Differences(msgspec.Struct, frozen=True, kw_only=True):
    """All that an import would do, and what it leaves as it is."""

    added: list[Named]
    changed: list[Changed]
    turned_off: list[Named]
    """Because the feed does not have them any more, and that was asked for."""
    missing: list[Named]
    """Not in the feed; they stay as they are."""
    kept_off: list[Named]
    """Active in the feed, off here; they stay off."""
    unchanged: int
    ignored: list[str]

    @property
    def does_something(self) -> bool:
        """Whether anything would change at all."""
        return bool(self.added or self.changed or self.turned_off)


def compare(
    known: Mapping[str, Mapping[str, Any]], told: Sequence[FeedGame], options: Options, ignored: Sequence[str]
) -> tuple[Differences, list[dict[str, Any]], list[Fault]]:
    """Hold a feed against the provider's games; return what differs, the games to write, and what is at fault.

    ``known`` and the games to write have the fields of a feed, all of them, as JSON has them.
    """
    found = Differences(
        added=[], changed=[], turned_off=[], missing=[], kept_off=[], unchanged=0, ignored=list(ignored)
    )
    write: list[dict[str, Any]] = []
    faults: list[Fault] = []
    unchanged = 0
    seen: dict[str, int] = {}
    for game in told:
        if game.slug in seen:
            faults.append(Fault(game.row, "slug", f"{game.slug} was there before, in row {seen[game.slug]}."))
            continue
        seen[game.slug] = game.row
        old = known.get(game.slug)
        if old is None:
            faults += [
                Fault(game.row, name, f"{game.slug} is new, so it needs a {name}.")
                for name in NEEDED
                if name not in game.values
            ]
            found.added.append(Named(game.slug, str(game.values.get("title", ""))))
            write.append({**_NEW, **game.values, "slug": game.slug})
            continue
        new = {**old, **game.values}
        if new["active"] and not old["active"] and not options.turn_on:
            new["active"] = False
            found.kept_off.append(Named(game.slug, new["title"]))
        changes = [Change(name, old[name], new[name]) for name in _FIELDS if old[name] != new[name]]
        if changes:
            found.changed.append(Changed(game.slug, new["title"], changes))
            write.append({**new, "slug": game.slug})
        else:
            unchanged += 1
    for slug, old in known.items():
        if slug not in seen:
            is_turned_off = options.turn_off_missing and old["active"]
            (found.turned_off if is_turned_off else found.missing).append(Named(slug, old["title"]))
            if is_turned_off:
                write.append({**old, "active": False, "slug": slug})
    return msgspec.structs.replace(found, unchanged=unchanged), write, faults


_FIELDS: Final = (*NEEDED, *_NEW)
