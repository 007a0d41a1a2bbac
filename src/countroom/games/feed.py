"""A provider's feed of games, read from CSV or JSON; and what it would change. Nothing here asks anybody.

One row at fault makes the whole feed worthless, so every fault is found and named at once. What a feed does not say
stays as it is: an absent column or field, an empty cell. `*` lifts a restriction (docs/decisions/0019).
"""

import csv
import difflib
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NamedTuple, get_args

import msgspec

from countroom.players.rules import COUNTRIES
from countroom.schema.enumerations import GameGenre, GameVolatility

GAMES_MAX: Final = 20_000
BYTES_MAX: Final = 32 * 1024 * 1024
CONFIG_BYTES_MAX: Final = 16 * 1024
CONFIG_DEPTH_MAX: Final = 8
TITLE_LENGTH_MAX: Final = 200
ADDRESS_LENGTH_MAX: Final = 500
LIST_LENGTH_MAX: Final = 300
"""Countries there are 249; nobody has as many tags."""
FAULTS_MAX: Final = 100
"""So many are named; whoever has put them right sees the next ones."""
NEARLY: Final = 0.8
"""How alike a name must be to one of ours to be a slip of it."""

_SLUG: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}", re.ASCII)
_TAG: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,39}", re.ASCII)
_USE: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}", re.ASCII)
_CURRENCY: Final = re.compile(r"[A-Z]{3}", re.ASCII)
_SEPARATORS: Final = re.compile(r"[\s,;|]+")
_TRUTHS: Final = {
    "true": True,
    "yes": True,
    "1": True,
    "on": True,
    "false": False,
    "no": False,
    "0": False,
    "off": False,
}
_LIFTED: Final = "*"


class Fault(NamedTuple):
    """What is wrong with a feed, and where."""

    row: int | None
    """Of a CSV file the line of the table, the heading being 1; of JSON the place in the list, from 1."""
    field: str
    sentence: str


@dataclass(frozen=True, slots=True)
class FeedGame:
    """A game as a feed tells it."""

    row: int
    slug: str
    values: Mapping[str, Any]
    """Only what the feed says, by our names, as JSON has it."""


@dataclass(slots=True)
class Feed:
    """What was read; with a fault, nothing of it is good."""

    games: list[FeedGame] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    """Columns that are none of ours."""
    faults: list[Fault] = field(default_factory=list)


class Wrong(Exception):  # noqa: N818 - a fault on its way to the list
    """A value that cannot be."""


def read_feed(content: bytes, file_name: str) -> Feed:
    """Read a feed; its name says whether it is CSV (`.csv`) or JSON (anything else that begins with `[` or `{`)."""
    feed = Feed()
    if len(content) > BYTES_MAX:
        feed.faults.append(Fault(None, "file", f"A feed has at most {BYTES_MAX // 1024 // 1024} MB."))
        return feed
    is_json = not file_name.lower().endswith((".csv", ".tsv", ".txt")) and content.lstrip()[:1] in {b"[", b"{"}
    try:
        rows = _json_rows(content) if is_json else _csv_rows(content)
        for number, row in rows:
            _read_row(feed, number, row)
            if len(feed.games) > GAMES_MAX:
                feed.faults.append(Fault(None, "file", f"A feed has at most {GAMES_MAX:,} games."))
                break
    except Wrong as wrong:
        feed.faults.append(Fault(None, "file", str(wrong)))
    if not feed.games and not feed.faults:
        feed.faults.append(Fault(None, "file", "There is no game in this feed."))
    del feed.faults[FAULTS_MAX:]
    return feed


def _json_rows(content: bytes) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        told = msgspec.json.decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Wrong(f"This is not JSON: {error}.") from error
    if isinstance(told, dict):
        told = told.get("games")
    if not isinstance(told, list):
        raise Wrong('JSON is a list of games, or an object with such a list as "games".')
    for number, row in enumerate(told, 1):
        if not isinstance(row, dict):
            raise Wrong(f"Game {number} of the list is no object.")
        yield number, {name: value for name, value in row.items() if value is not None}


def _csv_rows(content: bytes) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Wrong("A CSV file is UTF-8.") from error
    heading = text[: text.find("\n")] if "\n" in text else text
    separator = max(",;\t", key=heading.count)
    try:
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        names = [name.strip().lower() for name in next(lines, [])]
        if len(set(names)) != len(names):
            raise Wrong("Two columns have one name.")
        if "slug" not in names:
            raise Wrong(f"There is no column slug among {', '.join(names)[:300]}.")
        for number, cells in enumerate(lines, 2):
            if not cells:
                continue
            if len(cells) != len(names):
                raise Wrong(f"Line {number} has {len(cells)} cells, the heading {len(names)}: is the file cut short?")
            row: dict[str, Any] = {}
            for name, cell in zip(names, cells, strict=True):
                if cell.strip() or (name not in _FIELDS and name != "slug"):  # a foreign column is named, also empty
                    row[name] = cell.strip()
            yield number, row
    except csv.Error as error:
        raise Wrong(f"This is not CSV: {error}.") from error


def _read_row(feed: Feed, number: int, row: Mapping[str, Any]) -> None:
    values: dict[str, Any] = {}
    before = len(feed.faults)
    for name, value in row.items():
        if name == "slug":
            continue
        reader = _FIELDS.get(name)
        if reader is None:
            _note_unknown(feed, name)
            continue
        try:
            values[name] = reader(value)
        except Wrong as wrong:
            feed.faults.append(Fault(number, name, str(wrong)))
    slug = row.get("slug")
    if not isinstance(slug, str) or not _SLUG.fullmatch(slug):
        said = "The slug is missing."
        if slug is not None:
            said = f"A slug has letters, digits and . _ : - and begins with a letter or digit, not {slug!r}."
        feed.faults.append(Fault(number, "slug", said))
    elif len(feed.faults) == before:
        feed.games.append(FeedGame(number, slug, values))


def _note_unknown(feed: Feed, name: str) -> None:
    if name in feed.ignored or any(fault.field == name for fault in feed.faults):
        return
    near = difflib.get_close_matches(name.lower(), [*_FIELDS, "slug"], n=1, cutoff=NEARLY)
    if near:
        feed.faults.append(Fault(None, name, f"There is no field {name!r}; did you mean {near[0]!r}?"))
    else:
        feed.ignored.append(name)


# Each field: what a feed says, as it is kept ---------------------------------------------


def _title(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= TITLE_LENGTH_MAX or not value.isprintable():
        raise Wrong(f"A title has 1 to {TITLE_LENGTH_MAX} printable characters.")
    return value


def _one_of(known: Sequence[str]) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if not isinstance(value, str) or value.lower() not in known:
            raise Wrong(f"It is one of {', '.join(known)}, not {value!r}.")
        return value.lower()

    return read


def _truth(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    found = _TRUTHS.get(value.lower()) if isinstance(value, str) else None
    if found is None:
        raise Wrong(f"It is true or false, not {value!r}.")
    return found


def _rtp(value: Any) -> str:
    try:
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise Wrong("It is a number.")
        percent = Decimal(str(value).removesuffix("%").strip())
    except InvalidOperation as error:
        raise Wrong(f"It is a number, not {value!r}.") from error
    if not percent.is_finite() or not 1 < percent <= 100:  # noqa: PLR2004 - a percentage
        raise Wrong(f"It is in percent, such as 96.5, not {value!r}.")
    if percent != percent.quantize(Decimal("0.01")):
        raise Wrong("It has at most two decimals.")
    return str(percent.quantize(Decimal("0.01")))


def _list(value: Any) -> list[str]:
    found = [part for part in _SEPARATORS.split(value) if part] if isinstance(value, str) else value
    if not isinstance(found, list) or not all(isinstance(part, str) for part in found):
        raise Wrong("It is a list of words.")
    if len(found) > LIST_LENGTH_MAX:
        raise Wrong(f"It has at most {LIST_LENGTH_MAX} words.")
    return sorted(set(found))


def _restriction(value: Any, is_known: Callable[[str], bool], example: str) -> list[str] | None:
    codes = _list(value)
    if codes == [_LIFTED]:
        return None
    if not codes:
        raise Wrong(f"An empty list would be nowhere: turn the game off, or write {_LIFTED} for no restriction.")
    wrong = [code for code in codes if not is_known(code)]
    if wrong:
        raise Wrong(f"These are no codes such as {example}: {', '.join(wrong[:10])[:200]}.")
    return codes


def read_countries(value: Any) -> list[str] | None:
    """Read countries (ISO 3166); None: no restriction.

    Raises:
        Wrong: it is no such list.
    """
    return _restriction(value, COUNTRIES.__contains__, "SE, of ISO 3166")


def read_currencies(value: Any) -> list[str] | None:
    """Read currencies (ISO 4217); None: no restriction.

    Raises:
        Wrong: it is no such list.
    """
    return _restriction(value, lambda code: _CURRENCY.fullmatch(code) is not None, "EUR, of ISO 4217")


def _tags(value: Any) -> list[str]:
    tags = _list(value)
    if tags == [_LIFTED]:
        return []
    wrong = [tag for tag in tags if not _TAG.fullmatch(tag)]
    if wrong:
        raise Wrong(f"A tag has lower-case letters, digits and hyphens: {', '.join(wrong[:10])[:200]}.")
    return tags


def _pictures(value: Any) -> dict[str, str]:
    if isinstance(value, str):
        pairs = [part.partition("=") for part in value.split()]
        value = {name if url else "tile": url or name for name, _, url in pairs}
    if not isinstance(value, dict):
        raise Wrong("It is an object of addresses by their use, such as tile.")
    for name, url in value.items():
        if not _USE.fullmatch(name):
            raise Wrong(f"A use is a word such as tile, not {name[:40]!r}.")
        if not isinstance(url, str) or not _is_address(url):
            raise Wrong(f"An address begins with https:// and has at most {ADDRESS_LENGTH_MAX} characters.")
    return dict(sorted(value.items()))


def _is_address(url: str) -> bool:
    return len(url) <= ADDRESS_LENGTH_MAX and re.fullmatch(r"https://[!-~]+", url) is not None


def _config(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise Wrong(f"It is JSON: {error}.") from error
    if not isinstance(value, dict):
        raise Wrong("It is a JSON object.")
    _look_inside(value, CONFIG_DEPTH_MAX)
    if len(msgspec.json.encode(value)) > CONFIG_BYTES_MAX:
        raise Wrong(f"It has at most {CONFIG_BYTES_MAX // 1024} KB.")
    return value


def _look_inside(value: Any, depth: int) -> None:
    if depth < 0:
        raise Wrong(f"It is at most {CONFIG_DEPTH_MAX} levels deep.")
    if isinstance(value, str) and "\0" in value:
        raise Wrong("A null byte is no character.")
    for inner in [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []:
        _look_inside(inner, depth - 1)


_FIELDS: Final[dict[str, Callable[[Any], Any]]] = {
    "title": _title,
    "genre": _one_of(get_args(GameGenre)),
    "volatility": _one_of(get_args(GameVolatility)),
    "active": _truth,
    "verified_only": _truth,
    "countries": read_countries,
    "currencies": read_currencies,
    "rtp": _rtp,
    "tags": _tags,
    "pictures": _pictures,
    "config": _config,
}
