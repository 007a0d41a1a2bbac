"""What no provider should send, signed like anything else: refused in the protocol's form, and nothing has moved."""

import json
import os
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from contract_table import Table
from countroom.games.dialects import DIALECTS
from provider_callers import CALLERS, Outcome, Seat
from serving import Served

pytestmark = pytest.mark.asyncio(loop_scope="module")
BODIES = int(os.environ.get("FUZZED_BODIES", "100"))
"""For each dialect, in each of the two ways. Drawn alike each time, unless SEED says otherwise."""
SEED = int(os.environ.get("SEED", "0"))

STRINGS: tuple[Any, ...] = (
    "1E2", "1E2000000000", "-1.00", "-0", "NaN", "Infinity", "1.001", "0.00000000000000001", " 1", "1 ", "+1", "0x1",
    "\u0661", "01.00", "1,00", "", ".5", "5.", "99999999999999999999.00", 1, 1.0, 0, True, None, [], {}, ["1.00"],
)  # fmt: skip
INTEGERS: tuple[Any, ...] = (
    "1000000", "1000000.0", -100_000, 1.5, 1e30, 10**30, 2**63, 2**64 + 1, True, False, None, "", [], {}, [100_000],
    10**21,
)  # fmt: skip
RAW_INTEGERS = ("1000000.0", "1e6", "1E2000000000", "-0", "0e0", "1" * 4_300, "1" * 60_000)
AMOUNT = {"softswiss-v2": STRINGS, "swipegames": STRINGS, "hub88": INTEGERS, "gcp-v1": INTEGERS}
MALFORMED = (
    b"", b"[]", b"null", b"{", b'"\xff"', b"{}", b'{"user": "\\ud800"}', b"[" * 30_000, b'{"a":' * 10_000,
    b"\xef\xbb\xbf{}", b"\x00", b'{"a": 1} trailing', b"{'a': 1}", b"1" * 60_000, b'{"request_uuid": 7}',
    b'{"request_uuid": "\xff"}',
)  # fmt: skip
IDS: tuple[Any, ...] = (
    "",
    "nul\x00",
    "line\nbreak",
    "a/bonus",
    "a/receivable",
    "x" * 201,
    "zero\u200bwidth",
    7,
    None,
    [],
    {},
)
REFUSED_FROM = 400


def fields(content: dict[str, Any]) -> dict[str, Any]:
    """The part of a call that names its transaction and amount."""
    for several in ("transactions", "actions"):
        if several in content:
            inner: dict[str, Any] = content[several][0]
            return inner
    return content


@pytest.fixture(params=sorted(DIALECTS))
def table(stage: Served, request: pytest.FixtureRequest) -> Table:
    return Table(stage, CALLERS[request.param](stage))


def bet(table: Table, seat: Seat) -> tuple[str, dict[str, Any]]:
    caller = table.caller
    return caller.request("bet", seat, key=caller.id("b1"), amount="10.00", round_id=caller.id("r1"))


def is_final_refusal(outcome: Outcome, table: Table) -> bool:
    """It says no in the protocol's form, and not that the provider should try again or that we are broken."""
    if table.caller.dialect == "hub88":
        return outcome.word[1].startswith("RS_ERROR_") and outcome.word[1] != "RS_ERROR_UNKNOWN"
    return REFUSED_FROM <= outcome.word[0] < 500


async def test_what_is_no_amount_is_refused_and_not_rounded(table: Table) -> None:
    seat = await table.seat()
    await table.caller.balance(seat)  # the first call of a launch token is noted, whatever it asks
    before = await table.casino.everything()
    name = "amount"
    for amount in AMOUNT[table.caller.dialect]:
        action, content = bet(table, seat)
        fields(content)[name] = amount
        outcome = await table.caller.post(action, json.dumps(content).encode())
        assert is_final_refusal(outcome, table), (amount, outcome.body)
    if AMOUNT[table.caller.dialect] is INTEGERS:
        for raw in RAW_INTEGERS:
            action, content = bet(table, seat)
            fields(content)[name] = "RAW"
            outcome = await table.caller.post(action, json.dumps(content).replace('"RAW"', raw).encode())
            assert is_final_refusal(outcome, table), (raw[:20], outcome.body)
    assert await table.casino.everything() == before


async def test_each_field_that_is_missing_or_of_another_type_is_refused_or_does_not_matter(table: Table) -> None:
    seat = await table.seat()
    caller = table.caller
    calls = [bet(table, seat)]
    key, round_id = caller.id("k1"), caller.id("r1")
    calls.append(caller.request("win", seat, key=key, amount="1.00", round_id=round_id, bet=caller.id("never")))
    calls.append(caller.request("reverse", seat, key=key, amount="1.00", round_id=round_id, target=caller.id("never")))
    calls.append(caller.request("balance", seat))
    for action, content in calls:
        where = fields(content)
        for at in (content, where):
            for name in list(at):
                kept = at.pop(name)
                values: tuple[Any, ...] = ("missing", None, 7, 1.5, True, [], {}, "\x00", "nonsense")
                for wrong in values:
                    if wrong != "missing":
                        at[name] = wrong
                    outcome = await caller.post(action, json.dumps(content).encode())
                    assert outcome.word[0] < 500, (name, wrong, outcome.body)
                    assert outcome.word != caller.word("retryable"), (name, wrong, outcome.body)
                at[name] = kept
    balances = await seat.player.balances()
    assert balances.bonus == "0.00"


async def test_ids_that_are_none_are_refused(table: Table) -> None:
    seat = await table.seat()
    await table.caller.balance(seat)  # the first call of a launch token is noted, whatever it asks
    before = await table.casino.everything()
    key = {"softswiss-v2": "id_provider", "swipegames": "txID", "hub88": "transaction_uuid", "gcp-v1": "action_id"}
    for wrong in IDS:
        action, content = bet(table, seat)
        fields(content)[key[table.caller.dialect]] = wrong
        outcome = await table.caller.post(action, json.dumps(content).encode())
        assert is_final_refusal(outcome, table), (wrong, outcome.body)
    assert await table.casino.everything() == before


async def test_a_malformed_body_is_refused_at_every_address(table: Table) -> None:
    before = await table.casino.everything()
    for body in MALFORMED:
        for action in sorted(DIALECTS[table.caller.dialect].actions):
            outcome = await table.caller.post(action, body)
            assert is_final_refusal(outcome, table), (action, body[:40], outcome.body)
    assert await table.casino.everything() == before


async def test_a_query_that_is_none_admits_nobody(stage: Served) -> None:
    table = Table(stage, CALLERS["swipegames"](stage))
    seat = await table.seat()
    _, content = table.caller.request("balance", seat)
    signed = table.caller.signature(json.dumps(content, separators=(",", ":")).encode())
    good = f"sessionID={seat.session_id}"
    assert (await table.caller.send("balance", b"", signed, method="GET", query=good)).word == table.caller.OK
    twice, many = f"{good}&{good}", "&".join(f"a{n}=1" for n in range(1_000))
    for query in (
        "",
        "sessionID=",
        "sessionID=%ff",
        twice,
        f"{good}&x=1",
        many,
        "%00=%00",
        "sessionID",
        "=",
        "&&&",
        "a=1;b",
    ):
        outcome = await table.caller.send("balance", b"", signed, method="GET", query=query)
        assert outcome.word == table.caller.word("bad_signature"), query
    for method, action in (("GET", "bet"), ("POST", "balance"), ("DELETE", "balance")):
        outcome = await table.caller.send(action, b"{}", table.caller.signature(b"{}"), method=method)
        assert is_final_refusal(outcome, table), (method, action)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.timeout(1_800)
async def test_fuzzed_bodies_are_refused_in_the_protocols_form_and_never_move_a_cent(
    table: Table, record_property: Any
) -> None:
    """Nonsense, and calls with one field replaced by nonsense; what is still a bet, under another id, is taken."""
    seat = await table.seat()
    other = await table.seat()
    before = await other.player.balances()
    caller = table.caller
    valid = [
        bet(table, seat),
        caller.request(
            "reverse", seat, key=caller.id("x1"), amount="10.00", round_id=caller.id("r1"), target=caller.id("b1")
        ),
        caller.request("balance", seat),
    ]
    tried = 0
    drawn: list[tuple[str, bytes]] = []

    @seed(SEED)
    @settings(
        max_examples=BODIES, database=None, deadline=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.data())
    def draw(data: st.DataObject) -> None:
        action, content = data.draw(st.sampled_from(valid))
        changed = json.loads(json.dumps(content))
        at = data.draw(st.sampled_from([changed, fields(changed)]))
        at[data.draw(st.sampled_from(sorted(at)))] = data.draw(JSON)
        text = json.dumps(changed, ensure_ascii=data.draw(st.booleans()))
        drawn.append((action, text.encode("utf-8", "surrogatepass")))
        anywhere = data.draw(st.sampled_from(sorted(DIALECTS[caller.dialect].actions)))
        drawn.append(
            (anywhere, data.draw(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode())))
        )

    draw()
    taken = 0
    for action, body in drawn:
        outcome = await caller.post(action, body)
        assert outcome.word[0] < 500, (action, body, outcome.body)
        assert outcome.word != caller.word("retryable"), (action, body, outcome.body)
        tried += 1
        taken += (action, outcome.word) == (valid[0][0], caller.OK)
    bets = await table.casino.database.fetchrow(
        """
        SELECT count(*) AS count, coalesce(sum(amount) FILTER (WHERE status = 'success'), 0) AS stakes
          FROM transactions WHERE user_id = $1 AND type = 'bet'
        """,
        seat.player.id,
    )
    assert bets is not None
    assert bets["count"] <= taken
    assert Decimal((await seat.player.balances()).main) == 100 - bets["stakes"]
    assert await other.player.balances() == before
    record_property("ran", f"{caller.dialect}: {tried:,} fuzzed bodies (seed {SEED})")
