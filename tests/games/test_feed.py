"""Feeds, read from bytes: what is understood, and that each fault is named with its row and field."""

import json
from typing import Any

import pytest

from countroom.games.differences import Change, Changed, Named, Options, compare
from countroom.games.feed import Feed, FeedGame, read_feed

HEADING = "slug,title,genre,volatility,active,rtp,tags,countries,currencies,pictures,config\n"


def _csv(*lines: str, heading: str = HEADING) -> Feed:
    return read_feed((heading + "\n".join(lines)).encode(), "feed.csv")


def _json(told: Any) -> Feed:
    return read_feed(json.dumps(told).encode(), "feed.json")


def test_a_row_is_read_with_what_it_says_and_nothing_else() -> None:
    feed = _csv(
        'book-of-ice,Book of Ice,SLOTS,high,yes,96.5,"new, ice",SE|NO,EUR,https://a.test/1.png,"{""lines"": 20}"',
        "wheel,,,,,,,*,,,",
    )

    assert (feed.faults, feed.ignored) == ([], [])
    assert feed.games == [
        FeedGame(2, "book-of-ice", {
            "title": "Book of Ice", "genre": "slots", "volatility": "high", "active": True, "rtp": "96.50",
            "tags": ["ice", "new"], "countries": ["NO", "SE"], "currencies": ["EUR"],
            "pictures": {"tile": "https://a.test/1.png"}, "config": {"lines": 20},
        }),
        FeedGame(3, "wheel", {"countries": None}),
    ]  # fmt: skip


def test_json_says_the_same_in_its_own_types() -> None:
    feed = _json({"games": [{
        "slug": "a", "rtp": 96.5, "active": False, "tags": ["x"], "countries": "*", "title": None,
        "pictures": {"tile": "https://a.test/1"}, "config": {"deep": [1, {"more": None}]},
    }]})  # fmt: skip

    assert feed.faults == []
    assert feed.games == [FeedGame(1, "a", {
        "rtp": "96.50", "active": False, "tags": ["x"], "countries": None, "pictures": {"tile": "https://a.test/1"},
        "config": {"deep": [1, {"more": None}]},
    })]  # fmt: skip


def test_semicolons_and_a_byte_order_mark_are_what_spreadsheets_write() -> None:
    content = "\ufeffSlug;Title\r\na;Ä\r\n".encode()

    assert read_feed(content, "x.csv").games == [FeedGame(2, "a", {"title": "Ä"})]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("slug", "a b"), ("slug", ""), ("slug", None), ("slug", 7), ("title", ""), ("title", "a\u0000"),
        ("title", "x" * 201),
        ("genre", "poker"), ("volatility", "extreme"), ("active", "maybe"), ("rtp", "0.965"), ("rtp", "101"),
        ("rtp", "96.123"), ("rtp", "1e400"), ("rtp", "NaN"), ("rtp", True), ("rtp", []), ("tags", "Upper"),
        ("tags", [1]),
        ("countries", []), ("countries", "UK"), ("countries", ["SE", "sweden"]), ("currencies", "EURO"),
        ("currencies", {}),
        ("pictures", "http://a.test/x"), ("pictures", {"tile": "javascript:alert(1)"}), ("pictures", {"Tile": "https://a"}),
        ("pictures", {"tile": "https://a.test/" + "x" * 500}), ("config", "[]"), ("config", "{"), ("config", [1]),
        ("config", {"a": "\0"}), ("config", {"a": {"a": {"a": {"a": {"a": {"a": {"a": {"a": {"a": 1}}}}}}}}}),
        ("config", {"a": "x" * 20_000}), ("verified_only", "perhaps"),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_is_a_fault_of_its_row_and_field(field: str, value: object) -> None:
    feed = _json([{"slug": "good", "title": "Good"}, {"slug": "bad", field: value}])

    assert [(fault.row, fault.field) for fault in feed.faults] == [(2, field)]
    assert all(fault.sentence for fault in feed.faults)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"slug,title\n", b"title\nx\n", b"slug,slug\na,b\n", b"slug,title\na\n", b"slug,title\na,b,c\n",
        b'slug,title\na,"b\n', b"slug\n\xff\n", b"slug\na\x00b\n", b"[", b"{}", b"[1]", b'{"games": 1}', b"[" * 5_000,
    ],
)  # fmt: skip
def test_a_file_that_is_no_feed_is_one_fault_and_no_error(content: bytes) -> None:
    feed = read_feed(content, "feed")

    assert feed.faults
    assert len(feed.faults) == 1


def test_a_column_that_is_nearly_ours_is_a_fault_and_a_foreign_one_is_named() -> None:
    assert "countries" in _csv("a,SE", heading="slug,contries\n").faults[0].sentence
    feed = _csv("a,,x", heading="slug,studio_id,released\n")
    assert (feed.faults, feed.ignored) == ([], ["studio_id", "released"])


OURS = {
    "title": "A", "genre": "slots", "volatility": "low", "active": True, "verified_only": False, "countries": ["SE"],
    "currencies": None, "rtp": "96.50", "tags": ["x"], "pictures": {}, "config": {},
}  # fmt: skip


def test_what_a_feed_does_not_say_stays_and_what_it_does_not_have_is_named() -> None:
    known = {"a": OURS, "b": {**OURS, "title": "B", "active": False}, "gone": {**OURS, "title": "Gone"}}
    told = [
        FeedGame(2, "a", {"rtp": "97.00", "countries": None}),
        FeedGame(3, "b", {"active": True, "title": "B"}),
        FeedGame(4, "c", {"title": "C", "genre": "live", "volatility": "low"}),
    ]

    found, games, faults = compare(known, told, Options(), [])

    assert faults == []
    assert found.added == [Named("c", "C")]
    assert found.changed == [Changed("a", "A", [Change("countries", ["SE"], None), Change("rtp", "96.50", "97.00")])]
    assert (found.kept_off, found.missing, found.turned_off) == ([Named("b", "B")], [Named("gone", "Gone")], [])
    assert (found.unchanged, [game["slug"] for game in games]) == (1, ["a", "c"])
    assert games[0] == {**OURS, "rtp": "97.00", "countries": None, "slug": "a"}


def test_turning_on_and_off_is_done_when_it_is_asked_for() -> None:
    known = {"b": {**OURS, "active": False}, "gone": OURS, "long gone": {**OURS, "active": False}}

    found, games, _ = compare(
        known, [FeedGame(2, "b", {"active": True})], Options(turn_on=True, turn_off_missing=True), []
    )

    assert found.changed == [Changed("b", "A", [Change("active", False, True)])]
    assert (found.turned_off, found.missing) == ([Named("gone", "A")], [Named("long gone", "A")])
    assert {game["slug"]: game["active"] for game in games} == {"b": True, "gone": False}


def test_a_new_game_needs_its_names_and_a_slug_comes_once() -> None:
    _, _, faults = compare({}, [FeedGame(2, "a", {"title": "A"}), FeedGame(3, "a", {})], Options(), [])

    assert [(fault.row, fault.field) for fault in faults] == [(2, "genre"), (2, "volatility"), (3, "slug")]
