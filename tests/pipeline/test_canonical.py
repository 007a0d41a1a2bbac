"""The quick ways are the slow ways: the usual form is the contract, and a compiled row is the row."""

from collections.abc import Callable
from struct import pack
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from countroom.events import canonical, catalog, compiled, contract, wal
from countroom.warehouse.check import Check

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
TOPICS = sorted(catalog.PUBLISHED)
IDENTITY = "01a21b5f-017f-73a7-af5f-9e4b8a61f9d1"


def usual(topic: str) -> dict[str, Any]:
    """A message as our relay writes it."""
    values: dict[str, Any] = {
        "amount": "10.50", "fee": "0.00", "bet_amount": "1.00", "win_amount": "-0.10", "metadata": '{"a": "b"}',
        "external_id": "sandbox:1", "type": "bet", "wallet_type": "main", "currency": "EUR", "provider": "sandbox",
        "kyc_status": "pending", "country": None,
        "status": {"transactions": "success", "game_rounds": "open", "users": "active"}.get(topic),
        "__deleted": "false", "__op": "c", "__lsn": 378470128, "__ts_us": 1795755540940361,
    }  # fmt: skip
    names = (*catalog.PUBLISHED[topic].columns, "__deleted", "__op", "__lsn", "__ts_us")
    return {
        name: "2026-11-27T04:59:00.863260Z" if name in catalog.PUBLISHED[topic].moments else values.get(name, IDENTITY)
        for name in names
    }


def form(topic: str, *newer: str) -> Callable[[bytes], object]:
    found = canonical.form(topic, [*usual(topic), *newer])
    assert found is not None
    return found


@pytest.mark.parametrize("topic", TOPICS)
def test_what_the_usual_form_knows_the_contract_accepts(topic: str) -> None:
    decode = msgspec.json.Decoder(contract.MESSAGES[topic]).decode
    matches = form(topic, "newer")
    example = msgspec.json.encode(usual(topic) | {"newer": None})
    assert matches(example)

    @settings(QUICK, max_examples=5)  # making one takes long, and each is of some twenty values
    @given(st.from_regex(matches.__self__, fullmatch=True))  # type: ignore[attr-defined]
    def made(body: bytes) -> None:
        decode(body)

    @QUICK
    @given(st.integers(0, len(example)), st.integers(0, 3), st.binary(max_size=3))
    def changed(at: int, removed: int, put: bytes) -> None:
        body = example[:at] + put + example[at + removed :]
        if matches(body):
            decode(body)

    made()
    changed()


@pytest.mark.parametrize(
    "broken",
    [
        {"amount": "10.555"}, {"amount": 10.5}, {"type": "loan"}, {"id": IDENTITY.upper()}, {"currency": "eur"},
        {"created_at": "2026-01-03T00:00:00Z"}, {"__lsn": -1}, {"__lsn": 10**20}, {"metadata": "[]"}, {"__op": "d"},
        {"external_id": None}, {"external_id": "☃"}, {"metadata": '{"n": "\0"}'},
    ],
)  # fmt: skip
def test_what_is_not_in_the_usual_form_is_decoded(broken: dict[str, Any]) -> None:
    assert form("transactions")(msgspec.json.encode(usual("transactions")))
    assert not form("transactions")(msgspec.json.encode(usual("transactions") | broken))


def test_fields_that_are_missing_or_there_twice_have_no_form() -> None:
    names = list(usual("users"))
    assert canonical.form("users", names[1:]) is None
    assert canonical.form("users", [*names, names[0]]) is None
    assert canonical.names(b"[1]") is canonical.names(b"{") is None


def test_a_check_learns_the_order_of_fields_and_another_one_later() -> None:
    here = msgspec.json.encode(usual("users"))
    there = msgspec.json.encode(dict(reversed(usual("users").items())))
    broken = here.replace(b"active", b"asleep")
    check, kept = Check("users"), []
    for bodies in ([here, broken, here], [there, broken, here, there], [b"", here]):
        messages = [wal.Message("users", number, body) for number, body in enumerate(bodies)]
        fine = check.fine(messages, lambda message, _: kept.append(message.body))
        assert [one.body for one in fine] == [body for body in bodies if body in {here, there}]
    assert kept == [broken, broken, b""]


def payload(kind: bytes, values: list[str | None]) -> bytes:
    """A change as ``pgoutput`` sends it."""
    row = b"".join(
        b"n" if value is None else b"t" + pack(">I", len(value.encode())) + value.encode() for value in values
    )
    return kind + pack(">I", 7) + b"N" + pack(">H", len(values)) + row


def oids(topic: str, columns: list[str]) -> list[int]:
    """Types as PostgreSQL numbers them: UUID, timestamptz, and text for everything else."""
    moments, ids = catalog.PUBLISHED[topic].moments, {name for name, value in row(topic).items() if value == IDENTITY}
    return [1184 if name in moments else 2950 if name in ids else 25 for name in columns]


def relation(topic: str, columns: list[str], types: list[int]) -> bytes:
    listed = b"".join(
        b"\0" + name.encode() + b"\0" + pack(">II", oid, 0) for name, oid in zip(columns, types, strict=True)
    )
    return b"R" + pack(">I", 7) + b"public\0" + topic.encode() + b"\0d" + pack(">H", len(columns)) + listed


def row(topic: str) -> dict[str, str | None]:
    """A row as PostgreSQL prints it."""
    message = usual(topic)
    return {
        name: "2026-11-27 04:59:00.86326+00" if name in catalog.PUBLISHED[topic].moments else message[name]
        for name in catalog.PUBLISHED[topic].columns
    }


VALUES = st.none() | st.sampled_from(
    ["", "n", "nn", "xn", "win", "bet", "10.50", "-0.10", "0.1", "EUR", IDENTITY, IDENTITY + "n", "{}", '{"a": 1}',
     "[]", '"{}"', "MT", "mt", IDENTITY.replace("-", "0"), IDENTITY.upper(), "10.555", "99999999999999999.00",
     "a\\b",
     "2026-01-03 00:00:00+00", "2026-01-03 00:00:00.1+00", "2026-01-03 00:00:00.123456+00", "infinity", "☃", "x" * 300]
) | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)  # fmt: skip


MOMENTS = st.none() | st.sampled_from(
    ["2026-01-03 00:00:00+00", "2026-01-03 00:00:00.1+00", "2026-01-03 00:00:00.123456+00", "infinity", "-infinity",
     "12026-01-03 00:00:00+00", "0044-03-15 00:00:00+00 BC", "0044-03-15 00:00:00.123456+00 BC"]
)  # fmt: skip
PRINTED = {1184: MOMENTS, 2950: st.none() | st.uuids().map(str), 25: VALUES}
"""What PostgreSQL prints of each type."""


@pytest.mark.parametrize("is_typed", [False, True])
@pytest.mark.parametrize("topic", TOPICS)
def test_a_compiled_row_is_the_same_message_and_keeps_the_contract(topic: str, *, is_typed: bool) -> None:
    decode = msgspec.json.Decoder(contract.MESSAGES[topic]).decode
    columns = [*catalog.PUBLISHED[topic].columns, "newer"]
    types = oids(topic, columns) if is_typed else [25] * len(columns)
    slow, quick = catalog.encoder(catalog.PUBLISHED[topic], columns), wal.Decoder()
    quick.decode(relation(topic, columns, types), 0)
    quick.decode(b"B" + pack(">QqI", 1, 2, 3), 0)
    key = columns.index(catalog.PUBLISHED[topic].key)
    usual_row = payload(b"I", [*row(topic).values(), None])
    assert compiled.encoder(catalog.PUBLISHED[topic], columns, types)(usual_row, b"c", 9, 1)
    each = {name: PRINTED[oid] for name, oid in zip(columns, types, strict=True)}
    some = st.lists(st.sampled_from(columns), max_size=3, unique=True).flatmap(
        lambda names: st.fixed_dictionaries({name: each[name] for name in names})
    )

    @QUICK
    @given(some, st.sampled_from(["c", "u"]))
    def same(changed: dict[str, str | None], op: str) -> None:
        values = [(row(topic) | {"newer": None} | changed)[name] for name in columns]
        found = quick.decode(payload(b"I" if op == "c" else b"U", values), 9)
        assert isinstance(found, wal.Message)
        body = slow(values, op, 9, 2 + wal.POSTGRES_EPOCH_US)
        assert found == wal.Message(topic, 9, body, values[key] or "", None, found.is_fine)
        if found.is_fine:
            decode(found.body)

    same()
