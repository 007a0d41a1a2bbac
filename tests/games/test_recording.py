"""What providers call: counted, kept for a while without its secrets, and read from all processes together."""

import hmac
import json
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from casino import PROVIDER_KEY, SECRET_KEY, Casino, open_casino
from countroom import clock
from countroom.games import console, masking
from countroom.games.catalog import Catalog
from countroom.games.dialects import Callback, Reply
from countroom.games.keys import print_of
from countroom.games.recording import (
    BODY_BYTES_KEPT,
    BOUNDS,
    LATE,
    REFUSED_KEPT,
    RETAINED,
    TOMBSTONE,
    Recorder,
    Tally,
    percentile,
)
from countroom.money import ZERO
from countroom.wallet.commands import Answer, Bet, Command, Posted, Reverse

FINE, REFUSED = Reply(200, b'{"balance":"1.00"}', "OK"), Reply(400, b'{"code":"no"}', "403")
TOKEN = "s3cret-launch-token"


def call(n: int = 0, key: str = PROVIDER_KEY, size: int = 0) -> Callback:
    body = json.dumps({"round_id": f"r{n}", "token": TOKEN, "note": "x" * size}).encode()
    headers = {
        b"x-request-sign": hmac.digest(key.encode(), body, "sha256").hex().encode(),
        b"authorization": b"Bearer abc",
        b"content-length": str(len(body)).encode(),
    }
    return Callback("betwin", headers, body)


# Without a store -------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.floats(0.0001, 10.0), min_size=1, max_size=300), st.sampled_from([0.5, 0.95, 0.99]))
def test_a_percentile_is_right_to_one_place_of_the_histogram(seconds: list[float], share: float) -> None:
    tally = Tally()
    for each in seconds:
        tally.answered("betwin", None, FINE, each)
    exact = sorted(seconds)[max(0, -int(-len(seconds) * share // 1) - 1)]
    found = percentile(tally.counts, share)
    assert found is not None
    edges = (0.0, *BOUNDS)
    place = next((n for n, bound in enumerate(edges) if exact <= bound), len(edges) - 1)
    assert edges[max(place - 1, 0)] <= found <= edges[place] * (1 + 1e-9)


def test_a_percentile_of_nothing_is_none() -> None:
    assert percentile(Tally().counts, 0.5) is None


def test_a_tally_keeps_the_last_refused_calls_whatever_else_comes_and_only_the_beginning_of_large_ones() -> None:
    tally = Tally()
    for n in range(100):
        tally.answered("betwin", call(n), REFUSED if n < REFUSED_KEPT else FINE, 0.004)
    tally.answered("betwin", call(size=60_000), FINE, 0.004)
    kept = tally.drain()
    assert sum(one.reply is REFUSED for one in kept) == REFUSED_KEPT
    assert len(kept[-1].callback.body or b"") == BODY_BYTES_KEPT + 1
    assert tally.drain() == []
    assert tally.answers == {("betwin", "403"): REFUSED_KEPT, ("betwin", "OK"): 101 - REFUSED_KEPT}


def test_tombstones_left_and_met_are_counted_once() -> None:
    tally = Tally()
    command = Command("p", clock.new_id(), "EUR", (Reverse("x", "b"), Bet("b2", Decimal(1))))
    posted = (Posted("x", None, ZERO), Posted("b2", None, ZERO))
    tally.met(command, Answer(posted, ZERO, None, repeated=False))
    tally.met(command, Answer(posted, ZERO, None, repeated=True))
    assert tally.outcomes == {TOMBSTONE: 1, LATE: 1}


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b'{"token":"abc", "a":1}', '{"token":"•••• (3 characters)", "a":1}'),
        (b'{"Session_Token" : "a\\"b"}', '{"Session_Token" : "•••• (4 characters)"}'),
        (b'{"token":"cut off', '{"token":"•••• (7 characters)"'),
        (b'{"apiKey":12345}', '{"apiKey":"•••• (5 characters)"}'),
        (b'{"a":{"secret":"x"},"token":{"b":1}}', '{"a":{"secret":"•••• (1 characters)"},"token":{"b":1}}'),
        (b"\xff\x00{", "\\xff\\x00{"),
    ],
)
def test_secrets_in_bodies_are_hidden(raw: bytes, shown: str) -> None:
    assert masking.body(raw) == shown


def test_secrets_in_headers_and_queries_are_hidden_and_the_rest_is_as_it_came() -> None:
    shown = masking.headers({b"authorization": b"HMAC-SHA256 beef", b"x-hub88-signature": b"abc", b"host": b"h\xe9"})
    assert shown == [
        ("authorization", "HMAC-SHA256 •••• (4 characters)"), ("x-hub88-signature", "•••• (3 characters)"),
        ("host", "hé"),
    ]  # fmt: skip
    assert masking.query(b"a=1&token=xyz&b=") == "a=1&token=•••• (3 characters)&b="


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_whatever_strangers_send_can_be_shown_and_stored(raw: bytes) -> None:
    for text in (masking.body(raw), masking.query(raw), *masking.headers({raw: raw})[0]):
        assert "\x00" not in text
        text.encode()


# In the database -------------------------------------------------------------------------


async def test_two_processes_count_together_and_keep_so_many_calls_without_secrets(database_url: str) -> None:
    async with open_casino(database_url) as casino, Catalog(casino.database, SECRET_KEY) as catalog:
        first, second = Recorder(casino.database, catalog), Recorder(casino.database, catalog)
        for recorder in (first, second):
            for n in range(10):
                recorder.of("sandbox").answered("betwin", call(n), FINE, 0.004)
            recorder.of("sandbox").answered("betwin", call(key="a stranger's key"), REFUSED, 0.3)
            recorder.of("sandbox").note("key_conflict")
            recorder.of("unknown").answered("other", None, REFUSED, 0.001)
            await recorder.flush()
            await recorder.flush()  # what is written is not counted again
        first.of("sandbox").answered("betwin", call(), FINE, 0.004)
        await first.flush()
        figures = await console.figures(casino.database, "sandbox")
        assert figures.answers == {("betwin", "OK"): 21, ("betwin", "403"): 2}
        assert (figures.calls, figures.refused, figures.conflicts, figures.tombstones) == (23, 2, 2, 0)
        assert figures.per_second > 0
        assert figures.seconds(0.5) == pytest.approx(0.004, rel=0.3)
        await _kept(casino)
        await _rotation_of_minutes(first, casino)


async def _kept(casino: Casino) -> None:
    everything = [str(tuple(row)) for row in await casino.database.fetch("SELECT * FROM provider_exchanges")]
    assert len(everything) == 5 + 1 + 5 + 1 + 1
    assert not [row for row in everything if TOKEN in row or "Bearer abc" in row]
    (refused, *_) = await console.last_exchanges(casino.database, "sandbox", only_refused=True)
    assert (refused.code, refused.key_print, refused.method, refused.action) == ("403", None, "POST", "betwin")
    fine = await console.last_exchanges(casino.database, "sandbox", only_refused=False)
    assert fine[0].key_print == print_of(PROVIDER_KEY.encode())


async def _rotation_of_minutes(recorder: Recorder, casino: Casino) -> None:
    """A new minute begins with nothing, old rows are forgotten, and so are too many."""
    await casino.database.fetch("UPDATE provider_minutes SET minute = minute - interval '10 minutes' RETURNING 1")
    recorder._minute -= timedelta(minutes=10)
    for _ in range(RETAINED // REFUSED_KEPT + 2):
        for n in range(REFUSED_KEPT):
            recorder.of("sandbox").answered("betwin", call(n), REFUSED, 0.3)
        await recorder.flush()
    rows = await casino.database.fetch(
        "SELECT answers::text FROM provider_minutes WHERE process = $1 ORDER BY minute", recorder.process
    )
    added = (RETAINED // REFUSED_KEPT + 2) * REFUSED_KEPT
    assert sum(json.loads(row["answers"]).get("betwin 403", 0) for row in rows[1:]) == added
    assert len(await casino.database.fetch("SELECT FROM provider_exchanges")) == RETAINED
    await casino.database.fetch("UPDATE provider_exchanges SET answered_at = now() - interval '2 days' RETURNING 1")
    recorder._minute -= timedelta(minutes=10)
    await recorder.flush()
    assert await casino.database.fetch("SELECT FROM provider_exchanges") == []


async def test_a_database_that_is_away_costs_calls_nothing_and_the_counts_are_written_when_it_is_back(
    database_url: str,
) -> None:
    async with open_casino(database_url) as casino, Catalog(casino.database, SECRET_KEY) as catalog:
        recorder = Recorder(casino.database, catalog)
        recorder.of("sandbox").answered("betwin", call(), FINE, 0.004)
        await casino.database.fetch("ALTER TABLE provider_minutes RENAME TO away")
        with pytest.raises(Exception, match="provider_minutes"):
            await recorder.flush()
        async with recorder:  # in the background it is only logged
            pass
        await casino.database.fetch("ALTER TABLE away RENAME TO provider_minutes")
        await recorder.flush()
        assert (await console.figures(casino.database, "sandbox")).calls == 1
