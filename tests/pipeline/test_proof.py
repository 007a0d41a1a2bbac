"""P6 is proved while bets flow, and a single row that was lost, doubled or changed is found."""

import json
import os
import random
import subprocess
import sys
import threading
from datetime import timedelta

from pipeline_rows import NOON, books, running_pipeline, warehouse

from countroom import clock
from countroom.settings import Settings
from countroom.warehouse import reconcile, repair


def test_the_proof_is_exact_while_rows_are_written_and_changed(settings: Settings) -> None:
    stop = threading.Event()

    def write(seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311 - any will do
        with books(settings) as book:
            user = book.player()
            ids: list[str] = []
            while not stop.is_set():
                book.connection.autocommit = False  # transactions that stay open across the comparison's steps
                ids += book.move_many(user, chance.randint(1, 20))
                stop.wait(chance.random() / 20)
                book.cancel(*chance.sample(ids, min(len(ids), 5)))
                book.round(user, "1.00", "0.37")
                book.connection.commit()

    writers = [threading.Thread(target=write, args=(seed,)) for seed in range(2)]
    with running_pipeline(settings):
        for writer in writers:
            writer.start()
        try:
            proofs = [reconcile.compare(settings) for _ in range(5)]
        finally:
            stop.set()
            for writer in writers:
                writer.join()
        last = reconcile.compare(settings)
    assert [proof.violations for proof in proofs] == [()] * 5
    assert all(proof.holds for proof in proofs)
    assert proofs[-1].compared > proofs[0].compared
    assert last.compared >= proofs[-1].compared


def test_a_row_that_is_lost_or_doubled_or_changed_is_named_and_repaired(settings: Settings) -> None:
    with books(settings) as book, running_pipeline(settings), warehouse(settings) as client:
        user = book.player()
        first, second, third, *_ = book.move_many(user, 50)
        round_id = book.round(user, "2.00", "1.00")
        book.wait_for_copy(settings)
        assert reconcile.compare(settings).holds

        client.command(
            f"ALTER TABLE events_transactions DELETE WHERE transaction_id = '{first}' SETTINGS mutations_sync = 1"
        )
        client.command(
            "INSERT INTO events_transactions SELECT * REPLACE ('bonus' AS wallet_type)"
            f" FROM events_transactions FINAL WHERE transaction_id = '{second}'"
        )
        client.command(
            "INSERT INTO events_transactions SELECT * REPLACE (amount + toDecimal64('0.01', 2) AS amount)"
            f" FROM events_transactions FINAL WHERE transaction_id = '{third}'"
        )
        client.command(
            "INSERT INTO events_game_rounds SELECT * REPLACE (toDecimal64('1.01', 2) AS win_amount)"
            f" FROM events_game_rounds FINAL WHERE round_id = '{round_id}'"
        )
        alien = clock.new_id()
        client.command(
            f"INSERT INTO events_transactions SELECT * REPLACE (toUUID('{alien}') AS transaction_id) FROM"
            f" (SELECT * FROM events_transactions FINAL WHERE transaction_id = '{third}')"
        )
        proof = reconcile.compare(settings)
        assert not proof.holds
        found = " | ".join(proof.violations)
        assert f"transactions {alien} is in ClickHouse only" in found
        assert f"transactions {first} is missing in ClickHouse" in found
        assert f"transactions {second} counts 2 times in ClickHouse" in found
        assert f"transactions {third} is " in found
        assert f"game_rounds {round_id} is " in found
        differing = reconcile.find(settings).differing
        assert {(one.id, one.kind) for one in differing} == {
            (first, "missing"), (second, "several"), (third, "amounts"), (str(alien), "only_there"),
            (str(round_id), "amounts"),
        }  # fmt: skip
        assert repair.repair(settings, differing) == 4  # the fifth is removed
        assert reconcile.compare(settings).violations == ()

        client.command(
            "INSERT INTO events_transactions SELECT * REPLACE (9000000000000000000 AS _version)"
            f" FROM events_transactions FINAL WHERE transaction_id = '{third}'"
        )
        assert "positions that PostgreSQL's log has not reached" in " | ".join(reconcile.compare(settings).violations)
        assert repair.repair(settings, reconcile.find(settings).differing) == 1
        assert reconcile.compare(settings).violations == ()


def _check_warehouse(settings: Settings, *options: str) -> tuple[int, str, dict[str, object]]:
    """Run the command; return its exit code, what it printed, and its last line's JSON."""
    environment = {
        "PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), "COLUMNS": "200",
        "COUNTROOM_DATA": str(settings.data_dir), "DATABASE_URL": settings.database_url or "",
        "CLICKHOUSE_URL": settings.clickhouse_url or "", "REDIS_URL": settings.redis_url or "",
    }  # fmt: skip
    command = [sys.executable, "-m", "countroom", "check", "warehouse", "--json", *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr == ""
    return done.returncode, done.stdout, json.loads(done.stdout.splitlines()[-1])


def test_the_command_names_every_row_that_differs_and_makes_it_what_postgresql_has(settings: Settings) -> None:
    with books(settings) as book, running_pipeline(settings), warehouse(settings) as client:
        user = book.player()
        ids = book.move_many(user, 60)
        lost = ids[:40]  # more than the first 10, which a plain check names
        book.wait_for_copy(settings)
        book.wait_until_arrived()
        client.command(
            f"ALTER TABLE events_transactions DELETE WHERE transaction_id IN {tuple(lost)} SETTINGS mutations_sync = 1"
        )
        client.command(
            "INSERT INTO events_transactions SELECT * REPLACE (amount + toDecimal64('0.01', 2) AS amount)"
            f" FROM events_transactions FINAL WHERE transaction_id = '{ids[50]}'"
        )
        missing = {f"transactions {identity} is missing in ClickHouse" for identity in lost}

        code, said, told = _check_warehouse(settings)
        assert (code, told["holds"]) == (1, False)
        assert 0 < sum(sentence in said for sentence in missing) < len(missing)

        code, said, told = _check_warehouse(settings, "--full")
        assert (code, told["holds"]) == (1, False)
        assert all(sentence in said for sentence in missing)
        assert f"transactions {ids[50]} is " in said
        assert "sent again" not in said

        code, said, told = _check_warehouse(settings, "--repair")
        assert (code, told["holds"]) == (0, True)
        assert "41 rows were sent again" in said
        assert reconcile.compare(settings).violations == ()

        code, said, told = _check_warehouse(settings, "--repair")  # nothing differs, and nothing is sent
        assert (code, told["holds"]) == (0, True)
        assert "sent again" not in said
    assert _check_warehouse_refused(settings, "--incremental", "--full")


def _check_warehouse_refused(settings: Settings, *options: str) -> bool:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), "COLUMNS": "200",
                   "COUNTROOM_DATA": str(settings.data_dir)}  # fmt: skip
    command = [sys.executable, "-m", "countroom", "check", "warehouse", *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode != 0 and "use it without --full and --repair" in done.stdout + done.stderr


def test_a_comparison_of_what_changed_looks_at_those_days_and_finds_what_was_lost_on_them(settings: Settings) -> None:
    with books(settings) as book, running_pipeline(settings), warehouse(settings) as client:
        user = book.player()
        old, *_ = book.move_many(user, 5, at=NOON - timedelta(days=40))
        book.ask("UPDATE transactions SET id = overlay(id::text placing '0000' from 1)::uuid")  # made long ago, too
        old = f"0000{old[4:]}"
        book.wait_for_copy(settings)
        assert reconcile.compare(settings, is_incremental=True).scope == "full"  # nothing has held yet
        unchanged = reconcile.compare(settings, is_incremental=True)
        assert (unchanged.scope, unchanged.holds, unchanged.compared) == ("incremental", True, 1)

        lost, kept, *_ = book.move_many(user, 5)
        assert reconcile.compare(settings, is_incremental=True).compared == 6
        client.command(
            f"ALTER TABLE events_transactions DELETE WHERE transaction_id = '{lost}' SETTINGS mutations_sync = 1"
        )
        for _ in range(2):  # it is looked for until it is there
            proof = reconcile.compare(settings, is_incremental=True)
            assert proof.violations == (f"transactions {lost} is missing in ClickHouse",)
            book.cancel(kept)
        repair.repair(settings, reconcile.find(settings).differing)
        assert reconcile.compare(settings, is_incremental=True).holds


def test_without_a_pipeline_nothing_is_proved_and_the_reason_is_said(settings: Settings) -> None:
    proof = reconcile.compare(settings, deadline_seconds=0.5)
    assert not proof.holds
    assert proof.violations == ("The pipeline has not finished its first copy of the tables.",)
