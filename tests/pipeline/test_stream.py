"""What is committed arrives, once in effect (P6)."""

import asyncio
import time
from datetime import UTC, datetime
from decimal import Decimal

from pipeline_rows import NOON, books, running_pipeline, warehouse

from countroom import clickhouse, clock
from countroom.events import slot, wal
from countroom.postgres import Database
from countroom.settings import Settings
from countroom.warehouse import lag, reconcile
from patience import until


def test_rows_of_before_and_after_the_slot_arrive_with_every_value(settings: Settings) -> None:
    strange = {"note": 'quo"te \\ back\nline \u2028 ☃ \U0001f3b0', "a.b": 1, "a": {"b": [1.5, None]}}
    with books(settings) as book:
        user = book.player()
        before = book.move(user, "deposit", "10.50", at=datetime(2026, 3, 10, 23, 59, 59, 999999, tzinfo=UTC))
        book.round(user, "1.00", "0.00")
        with running_pipeline(settings):
            book.wait_for_copy(settings)
            after = book.move(user, "bet", "0.01", metadata=strange, external_id='provider:"☃"')
            pending = book.move(user, "withdrawal", "9999999999999999.99", status="pending")
            book.wait_until_arrived()
        with warehouse(settings) as client:
            rows = {
                row["transaction_id"]: row
                for row in client.query("SELECT * FROM events_transactions FINAL").named_results()
            }
            assert rows.keys() == {before, after, pending}
            assert rows[before]["amount"] == Decimal("10.50")
            assert rows[before]["event_time"] == datetime(2026, 3, 10, 23, 59, 59, 999999, tzinfo=UTC)
            assert rows[after]["external_id"] == 'provider:"☃"'
            assert rows[after]["event_time"] == rows[after]["processed_at"] == NOON
            assert rows[after]["metadata"]["note"] == strange["note"]
            assert rows[pending]["processed_at"] is None
            assert rows[pending]["amount"] == Decimal("9999999999999999.99")
            assert client.query("SELECT count(), sum(bet_amount) FROM events_game_rounds FINAL").first_row == (1, 1)
            assert client.query("SELECT user_id, country FROM players FINAL").result_rows == [(user, "MT")]


def test_an_update_replaces_and_a_second_pipeline_waits(settings: Settings) -> None:
    with books(settings) as book, running_pipeline(settings), running_pipeline(settings):
        user = book.player()
        bet = book.move(user, "bet", "5.00")
        book.cancel(bet)
        book.wait_for_copy(settings)
        book.wait_until_arrived()
        with warehouse(settings) as client:
            assert client.query("SELECT status, amount FROM events_transactions FINAL").result_rows == [
                ("cancelled", Decimal("5.00"))
            ]


def test_a_lone_commit_is_visible_soon_and_an_idle_log_is_not_held(settings: Settings) -> None:
    with books(settings) as book, running_pipeline(settings), warehouse(settings) as client:
        user = book.player()
        book.wait_for_copy(settings)
        book.wait_until_arrived()
        bet = book.move(user, "bet", "5.00")
        begun = time.monotonic()
        until(
            lambda: bool(client.query(f"SELECT 1 FROM events_transactions WHERE transaction_id = '{bet}'").result_rows)
        )
        assert time.monotonic() - begun < 5
        # Log that concerns nobody here must be let go of without any change of ours.
        book.ask("CREATE TABLE elsewhere AS SELECT generate_series(1, 20000)")
        lsn = book.ask("SELECT pg_current_wal_lsn()")[0][0]
        until(lambda: book.ask("SELECT bool_and(confirmed_flush_lsn >= %s) FROM pg_replication_slots WHERE database ="
                               " current_database()", (lsn,))[0][0])  # fmt: skip


def test_the_proof_holds_over_what_arrived(settings: Settings) -> None:
    with books(settings) as book, running_pipeline(settings):
        user = book.player()
        book.move_many(user, 100)
        proof = reconcile.compare(settings)
    assert proof.violations == ()
    assert proof.holds
    assert proof.compared == 101


async def test_the_lag_is_what_has_not_arrived_and_nothing_once_it_has(settings: Settings) -> None:
    assert settings.database_url
    assert settings.clickhouse_url
    database = await Database.connect(settings.database_url, size_max=1)
    client = await clickhouse.connect_async(settings.clickhouse_url)
    try:
        with books(settings) as book:
            user = await asyncio.to_thread(book.player, clock.now())
            with running_pipeline(settings):
                await asyncio.to_thread(book.wait_for_copy, settings)
                await asyncio.to_thread(book.wait_until_arrived)
                caught_up = await lag.read(database, client)
            book.move(user, "bet", "1.00", at=clock.now())
            book.move(user, "bet", "2.00", at=clock.now())
            behind = await lag.read(database, client)
    finally:
        await client.close()
        await database.close()
    assert (caught_up.rows, caught_up.seconds) == (0, 0.0)
    assert caught_up.arrived_at is not None
    assert behind.rows == 2
    assert behind.bytes > 0
    assert 0 < behind.seconds < 60


MANY = """
    INSERT INTO transactions (id, wallet_account_id, external_id, amount, type, status, processed_at, created_at,
                              user_id, wallet_type, currency, provider, request_hash)
    SELECT gen_random_uuid(), %s, gen_random_uuid(), 1, 'bet', 'success', now(), now(), %s, 'main', 'EUR', 'sandbox', ''
      FROM generate_series(1, %s)
"""


def test_no_answer_to_a_keep_alive_confirms_what_is_not_safe(settings: Settings) -> None:
    """The one case in which psycopg2 would: a transaction that began before what is confirmed, with another one that
    ended meanwhile and is not safe yet, and a reader so slow in the middle of it that the server asks for an answer."""
    assert settings.database_url
    with books(settings) as book, books(settings) as long, books(settings) as other:
        name = slot.identify(book.connection).slot
        book.ask("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (name,))
        book.ask(f"ALTER DATABASE {book.connection.info.dbname} SET wal_sender_timeout = '5s'")
        user = book.player()
        wallet = book.wallet(user)
        long.connection.autocommit = False
        # Its changes lie before what is confirmed, and are more than the connection holds.
        long.ask(MANY, (str(wallet), str(user), 60_000))
        begun = int(book.ask("SELECT pg_current_wal_insert_lsn() - '0/0'")[0][0])
        other.ask(MANY, (str(wallet), str(user), 1))
        with wal.Reader(settings.database_url, name) as reader:
            safe = _read_commits(reader, after=begun)
            reader.confirm(safe)
            other.ask(MANY, (str(wallet), str(user), 1))  # (not safe yet)
            unsafe = _read_commits(reader, after=safe)
            reader.keep_alive()
            long.connection.commit()
            until(lambda: reader.read() is not wal.Nothing.IDLE)
            time.sleep(3)  # more than half of the timeout, after which the server would ask, and not all of it
            _read_commits(reader, after=unsafe)
            reader.keep_alive()
            time.sleep(0.2)
            confirmed = book.ask("SELECT confirmed_flush_lsn - '0/0' FROM pg_replication_slots")[0][0]
        assert safe <= confirmed < unsafe


def _read_commits(reader: wal.Reader, after: int) -> int:
    """Read until nothing comes any more after a commit past this one; return where the last one ends."""
    ended = after
    deadline = time.monotonic() + 20
    while True:
        item = reader.read()
        if isinstance(item, wal.Commit):
            ended = item.lsn
        elif item is wal.Nothing.IDLE:
            if ended > after:
                return ended
            assert time.monotonic() < deadline
            reader.wait(0.1)
