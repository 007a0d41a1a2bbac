"""Messages keep the contract, and the contract is what the documents and the database say."""

import json
import secrets
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import psycopg2
import pytest
from jsonschema import Draft202012Validator
from pipeline_rows import Books, books

from countroom.events import catalog, contract, slot, wal
from countroom.settings import Settings

DOCS = Path(__file__).parents[2] / "docs" / "contract"


@pytest.mark.parametrize("topic", sorted(contract.MESSAGES))
def test_the_published_schema_is_the_one_that_is_checked(topic: str) -> None:
    """After a change: python -m countroom.events.contract docs/contract."""
    schema = contract.schemas()[topic]
    Draft202012Validator.check_schema(schema)
    assert (DOCS / f"{topic}.schema.json").read_text() == contract.schema_text(schema)


@pytest.mark.parametrize("topic", sorted(contract.MESSAGES))
def test_the_catalogue_and_the_contract_name_the_same_columns(topic: str) -> None:
    fields = {field.encode_name for field in msgspec.structs.fields(contract.MESSAGES[topic])}
    assert {name for name in fields if not name.startswith("__")} == set(catalog.PUBLISHED[topic].columns)
    assert {name for name in fields if name.startswith("__")} == {"__op", "__deleted", "__lsn", "__ts_us"}


@pytest.mark.parametrize(
    ("printed", "sent"),
    [
        ("2026-01-03 00:00:00+00", "2026-01-03T00:00:00.000000Z"),
        ("2026-01-03 04:05:06.1+00", "2026-01-03T04:05:06.100000Z"),
        ("2026-01-03 04:05:06.12345+00", "2026-01-03T04:05:06.123450Z"),
        ("2026-01-03 04:05:06.123456+00", "2026-01-03T04:05:06.123456Z"),
        ("infinity", "infinity"),
        ("2026-01-03 04:05:06.1+02", "2026-01-03 04:05:06.1+02"),
    ],
)
def test_a_moment_has_six_digits_or_is_left_for_the_check_to_refuse(printed: str, sent: str) -> None:
    assert catalog.moment(printed) == sent


def test_a_column_that_the_contract_does_not_know_stays_behind_and_a_missing_one_is_an_error() -> None:
    users = catalog.TABLES["users"]
    encode = catalog.encoder(users, [*users.columns, "newer"])
    row = ("0", "MT", "active", "pending", "2026-01-03 00:00:00+00", "2026-01-03 00:00:00+00", "secret")
    assert "newer" not in json.loads(encode(row, "c", 7, 8))
    with pytest.raises(catalog.ContractMismatchError, match="country"):
        catalog.encoder(users, [column for column in users.columns if column != "country"])


def test_the_publication_lists_the_catalogues_columns_and_nothing_personal(settings: Settings) -> None:
    with books(settings) as book:
        published = dict(
            book.ask("SELECT tablename::text, attnames::text[] FROM pg_publication_tables WHERE pubname = 'countroom'")
        )
        assert {name: set(columns) for name, columns in published.items()} == {
            name: set(table.columns) for name, table in catalog.PUBLISHED.items()
        }
        for name, table in catalog.PUBLISHED.items():
            existing = dict(
                book.ask(
                    "SELECT column_name::text, udt_name::text FROM information_schema.columns WHERE table_name = %s",
                    (name,),
                )
            )
            assert set(table.columns) <= existing.keys()
            assert table.moments == {column for column in table.columns if existing[column] == "timestamptz"}
        assert not {"email", "telegram_id", "username", "first_name", "last_name", "password_hash"} & set(
            published["users"]
        )


def test_every_message_of_the_copy_and_of_the_log_keeps_the_schema(settings: Settings) -> None:
    assert settings.database_url
    with books(settings) as book:
        name = slot.identify(book.connection).slot
        _write(book)
        copied = []
        with slot.created(settings.database_url, name) as snapshot:
            copied = list(snapshot.messages())
            begun = snapshot.version
        _write(book)
        book.ask("UPDATE transactions SET status = 'cancelled'")
        streamed = _read(settings, name, commits=6)  # a player, three transactions, a round; the update
        ended = int(book.ask("SELECT pg_current_wal_lsn() - '0/0'")[0][0])
    assert {message.topic for message in copied} == {message.topic for message in streamed} == set(catalog.TABLES)
    validators = {topic: Draft202012Validator(schema) for topic, schema in contract.schemas().items()}
    bodies: list[dict[str, Any]] = []
    for message in (*copied, *streamed):
        body = json.loads(message.body)
        validators[message.topic].validate(body)
        msgspec.json.decode(message.body, type=contract.MESSAGES[message.topic])
        assert body["__lsn"] == message.lsn
        bodies.append(body)
    assert {body["__op"] for body in bodies[: len(copied)]} == {"r"}
    assert {body["__op"] for body in bodies[len(copied) :]} == {"c", "u"}
    assert all(begun < body["__lsn"] < ended for body in bodies[len(copied) :])
    committed = datetime.fromtimestamp(bodies[-1]["__ts_us"] / 1_000_000, UTC)
    assert abs(committed - datetime.now(UTC)) < timedelta(minutes=5)
    updated = [body for body in bodies if body["__op"] == "u" and body["type"] == "bet"]
    assert [json.loads(body["metadata"]) for body in updated] == [STRANGE, STRANGE]
    assert updated[0]["amount"] == "0.10"
    assert updated[0]["processed_at"] is None
    assert {(body["type"], body["amount"]) for body in bodies if body.get("amount", "").startswith("-")} == {
        ("bonus", "-3.00"),
        ("adjustment", "-12.34"),
    }


def test_the_largest_metadata_still_travels_whole_when_another_column_changes(settings: Settings) -> None:
    assert settings.database_url
    large = {"noise": secrets.token_hex(2020)}
    with books(settings) as book:
        name = slot.identify(book.connection).slot
        bet = book.move(book.player(), "bet", "1.00", metadata=large, external_id="☃" * 300)
        with pytest.raises(psycopg2.errors.CheckViolation):
            book.move(book.player(), "bet", "1.00", metadata={"noise": secrets.token_hex(2100)})
        with slot.created(settings.database_url, name):
            pass
        book.cancel(bet)
        (message,) = _read(settings, name, commits=1)
    assert json.loads(json.loads(message.body)["metadata"]) == large


STRANGE = {"q": 'a "quoted" \\ line\n', "☃": "\U0001f3b0\u0001", "deep": [{"n": 1.5}, None, True]}


def _write(book: Books) -> None:
    user = book.player()
    book.move(user, "bet", "0.1", status="pending", metadata=STRANGE)
    book.move(user, "bonus", "-3.00", wallet="bonus")
    book.move(user, "adjustment", "-12.34", at=datetime(2026, 3, 10, 1, 2, 3, 400000, tzinfo=UTC))
    book.round(user, "1", "2.5")


def _read(settings: Settings, name: str, commits: int) -> list[wal.Message]:
    """Read a number of transactions from a slot."""
    assert settings.database_url
    messages = []
    deadline = time.monotonic() + 30
    with wal.Reader(settings.database_url, name) as reader:
        while commits:
            assert time.monotonic() < deadline
            item = reader.read()
            if isinstance(item, wal.Message):
                messages.append(item)
            elif isinstance(item, wal.Commit):
                commits -= 1
            elif item is wal.Nothing.IDLE:
                reader.wait(1)
    return messages
