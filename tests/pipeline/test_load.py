"""What cannot be stored is set aside alone; a warehouse that is away sets nothing aside."""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from pipeline_rows import books, warehouse

from countroom import clickhouse, clock
from countroom.events.wal import Message
from countroom.settings import Settings
from countroom.warehouse import dead_letters, schema
from countroom.warehouse.dead_letters import ContractBrokenError, DeadLetters
from countroom.warehouse.load import Loader, WarehouseAwayError


def message(lsn: int = 1, **changed: Any) -> Message:
    body = {
        "id": str(clock.new_id()), "country": "MT", "status": "active", "kyc_status": "pending",
        "created_at": "2026-01-03T00:00:00.000000Z", "updated_at": "2026-01-03T00:00:00.000000Z",
        "__deleted": "false", "__op": "c", "__lsn": lsn, "__ts_us": 1,
    }  # fmt: skip
    return Message("users", lsn, json.dumps(body | changed).encode())


def test_messages_at_fault_become_dead_letters_once_and_their_neighbours_are_stored(settings: Settings) -> None:
    assert settings.clickhouse_url
    assert settings.database_url
    schema.migrate(settings.clickhouse_url)
    poison = [
        message(2, created_at="2026-13-03T00:00:00.000000Z"),  # the check lets it pass, ClickHouse does not
        message(3, created_at="2026-01-03T00:00:00Z"),
        message(4, status="asleep"),
        Message("users", 5, b'{"id": '),
        Message("users", 6, b"\xff\xfe"),
        Message("users", 7, message(7).body + b"\n" + message(7).body),  # two in one would count twice
    ]
    good = [message(10 + number) for number in range(50)]
    with books(settings) as book, warehouse(settings) as client:
        for _ in range(2):
            loader = Loader(client, DeadLetters(settings.database_url).keep)
            for one in (*good[:20], *poison, *good[20:]):
                loader.add(one)
            loader.flush()
            assert loader.rows == 0
        letters = book.ask("SELECT position, topic, reason, body FROM dead_letters ORDER BY position")
        assert [letter[0] for letter in letters] == [2, 3, 4, 5, 6, 7]
        assert letters[0][2].startswith("refused by ClickHouse: ")
        assert all(letter[2].startswith("breaks the contract: ") for letter in letters[1:])
        assert [bytes(letter[3]) for letter in letters] == [one.body for one in poison]
        assert client.query("SELECT count() FROM players FINAL").first_row == (50,)


def test_a_contract_broken_wholesale_stops_the_loading(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.database_url
    monkeypatch.setattr(dead_letters, "OPEN_MAX", 3)
    keep = DeadLetters(settings.database_url).keep
    with warehouse(settings) as client, books(settings) as book:
        for first in (0, 10):  # it does not go on batch by batch, either
            loader = Loader(client, keep)
            for lsn in range(first, first + 10):
                loader.add(message(lsn, status="asleep"))
            with pytest.raises(ContractBrokenError, match="3 messages of topic users"):
                loader.flush()
        waiting = book.ask("SELECT id, position FROM dead_letters ORDER BY position")
        assert [position for _, position in waiting] == [0, 1, 2]
        dead_letters.settle(settings.database_url, UUID(waiting[0][0]), "discarded", "a test")
        with pytest.raises(ContractBrokenError):
            loader.flush()
        assert book.ask("SELECT count(*) FROM dead_letters") == [(4,)]


def test_a_server_that_cannot_work_sets_nothing_aside(settings: Settings) -> None:
    kept: list[Message] = []
    with warehouse(settings) as client:
        loader = Loader(client, lambda one, _: kept.append(one))
        loader.add(message())
        with pytest.raises(WarehouseAwayError):  # the tables are not there
            loader.flush()
        assert loader.rows == 1
    assert kept == []


def test_times_keep_their_microseconds(settings: Settings) -> None:
    assert settings.clickhouse_url
    schema.migrate(settings.clickhouse_url)
    with warehouse(settings) as client:
        loader = Loader(client, lambda _, reason: pytest.fail(reason))
        loader.add(message(created_at="2026-10-25T01:59:59.999999Z", newer_field={"a": 1}))
        loader.flush()
        assert client.query("SELECT registered_at FROM players FINAL").first_row == (
            datetime(2026, 10, 25, 1, 59, 59, 999999, tzinfo=UTC),
        )


def test_versions_of_a_row_in_one_insert_count_once_and_the_newest_wins(settings: Settings) -> None:
    assert settings.clickhouse_url
    schema.migrate(settings.clickhouse_url)
    changed = str(clock.new_id())
    with warehouse(settings) as client:
        loader = Loader(client, lambda _, reason: pytest.fail(reason))
        for one in (
            message(7, id=changed, status="closed"),
            message(5, id=changed),
            message(6, id=changed, country="SE"),
            message(7, id=changed, status="closed"),
            message(8),
        ):
            loader.add(one)
        loader.flush()
        for _ in ("as they came", "after a merge"):
            counted = client.query(
                "SELECT status, count(), max(_version) FROM players FINAL GROUP BY status ORDER BY status",
                settings=clickhouse.READ_SETTINGS,
            )
            assert counted.result_rows == [("active", 1, 8), ("closed", 1, 7)]
            client.command("OPTIMIZE TABLE players FINAL")


TRANSACTION = {
    "id": "01980000-0000-7000-8000-000000000001", "wallet_account_id": "01980000-0000-7000-8000-000000000002",
    "external_id": "sandbox:1", "amount": "10.50", "fee": "0.00", "type": "bet", "status": "success", "metadata": "{}",
    "processed_at": None, "created_at": "2026-01-03T00:00:00.000000Z",
    "user_id": "01980000-0000-7000-8000-000000000003", "wallet_type": "main", "currency": "EUR", "provider": None,
    "game_id": None, "game_round_id": None, "payment_id": None,
    "__deleted": "false", "__op": "c", "__lsn": 1, "__ts_us": 1,
}  # fmt: skip


def test_every_way_of_breaking_a_transaction_is_refused_alone_and_with_its_reason(settings: Settings) -> None:
    assert settings.clickhouse_url
    schema.migrate(settings.clickhouse_url)
    broken: dict[str, dict[str, Any]] = {
        "a decimal that is a number": {"amount": 10.5},
        "too many decimals": {"amount": "10.555"},
        "too few decimals": {"amount": "10.5"},
        "more than decimal(18,2) holds": {"amount": "12345678901234567.00"},
        "an exponent": {"amount": "1e3"},
        "an unknown type": {"type": "gift"},
        "no such day": {"created_at": "2026-02-30T00:00:00.000000Z"},
        "local time": {"created_at": "2026-01-03T00:00:00.000000+02:00"},
        "an id that is none": {"user_id": "7"},
        "metadata that is no object": {"metadata": "[]"},
        "metadata that is no JSON": {"metadata": "{"},
        "a null where none may be": {"currency": None},
        "a deletion": {"__op": "d"},
        "a position below zero": {"__lsn": -1},
    }
    lacking = {name: value for name, value in TRANSACTION.items() if name != "fee"}
    kept: list[tuple[int, str]] = []
    with warehouse(settings) as client:
        loader = Loader(client, lambda one, reason: kept.append((one.lsn, reason)))
        for number, changed in enumerate(broken.values()):
            loader.add(Message("transactions", number, json.dumps(TRANSACTION | changed).encode()))
        loader.add(Message("transactions", 100, json.dumps(lacking).encode()))
        fine: list[dict[str, Any]] = [
            {"unknown": {"a": 1}},
            {"external_id": "sandbox:\0 \u2028 ☃ \ud83c\udfb0", "__lsn": 2},
            {"metadata": json.dumps({"long": "x" * 2_000_000}), "__lsn": 3},
            {"amount": "-9999999999999999.99", "type": "adjustment", "__lsn": 4},
        ]
        for number, changes in enumerate(fine):
            body = TRANSACTION | {"id": str(clock.new_id())} | changes
            loader.add(Message("transactions", 200 + number, json.dumps(body).encode()))
        loader.flush()
        stored = client.query("SELECT _version, length(external_id), amount FROM events_transactions ORDER BY 1")
    assert {lsn for lsn, _ in kept} == {*range(len(broken)), 100}, [lsn for lsn, _ in kept]
    assert all(reason.startswith(("breaks the contract: ", "refused by ClickHouse: ")) for _, reason in kept)
    assert [row[0] for row in stored.result_rows] == [1, 2, 3, 4]
