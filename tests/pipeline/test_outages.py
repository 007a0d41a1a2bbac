"""Whatever is killed or cut off, everything arrives, once in effect (P6)."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Self
from urllib.parse import urlsplit, urlunsplit

import msgspec
from pipeline_rows import books, running_pipeline, warehouse

from countroom.settings import Settings
from countroom.warehouse import reconcile
from patience import until

SLOTS = "FROM pg_replication_slots WHERE database = current_database()"
PIPELINE = """
import os, threading
from countroom.settings import load
from countroom.warehouse import pipeline
pipeline.run(load(os.environ), threading.Event())
"""


@contextmanager
def pipeline_process(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(sys.path),
        "DATABASE_URL": settings.database_url or "",
        "CLICKHOUSE_URL": settings.clickhouse_url or "",
    }
    process = subprocess.Popen([sys.executable, "-c", PIPELINE], env=environment)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def test_a_pipeline_killed_in_the_middle_again_and_again_loses_and_doubles_nothing(settings: Settings) -> None:
    with books(settings) as book:
        user = book.player()
        ids = book.move_many(user, 3_000)
        for step in range(4):  # the first time in the middle of the copy or just after it
            with pipeline_process(settings):
                seen = book.ask("SELECT coalesce(max(confirmed_flush_lsn), '0/0') FROM pg_replication_slots")[0][0]
                ids += book.move_many(user, 2_000)
                book.cancel(*ids[step::7])
                until(
                    lambda seen=seen: bool(  # type: ignore[misc]
                        book.ask(
                            "SELECT 1 FROM pg_replication_slots WHERE database = current_database()"
                            " AND confirmed_flush_lsn > %s",
                            (seen,),
                        )
                    ),
                    40,
                )
        with running_pipeline(settings):
            proof = reconcile.compare(settings)
        with warehouse(settings) as client:
            assert client.query(
                "SELECT count(), uniqExact(transaction_id) FROM events_transactions FINAL"
            ).first_row == (
                11_000,
                11_000,
            )
    assert proof.violations == ()
    assert proof.compared == 11_001


def test_a_warehouse_that_cannot_be_reached_for_a_while_delays_and_nothing_else(settings: Settings) -> None:
    assert settings.clickhouse_url
    server = urlsplit(settings.clickhouse_url)
    with Wire((server.hostname or "", server.port or 0)) as wire, books(settings) as book:
        login = server.netloc.rpartition("@")[0]
        through = urlunsplit(server._replace(netloc=f"{login}@127.0.0.1:{wire.port}"))
        user = book.player()
        with running_pipeline(msgspec.structs.replace(settings, clickhouse_url=through)):
            book.wait_for_copy(settings)
            ids = book.move_many(user, 500)
            wire.cut()
            ids += book.move_many(user, 500)
            book.cancel(*ids[::3])
            # While the warehouse is away nothing is read: the stream is closed, the slot keeps the log.
            until(
                lambda: (
                    not book.ask("SELECT active FROM pg_replication_slots WHERE database = current_database()")[0][0]
                )
            )
            wire.mend()
            book.cancel(*ids[1::3])
            proof = reconcile.compare(settings)
        assert book.ask("SELECT count(*) FROM dead_letters") == [(0,)]
    assert proof.violations == ()
    assert proof.compared == 1_001


def test_a_connection_to_postgresql_that_breaks_is_opened_again(settings: Settings) -> None:
    with books(settings) as book, running_pipeline(settings):
        user = book.player()
        book.wait_for_copy(settings)
        for _ in range(3):
            ids = book.move_many(user, 300)
            book.ask(f"SELECT pg_terminate_backend(active_pid) {SLOTS}")
            book.cancel(*ids[::2])
        proof = reconcile.compare(settings)
    assert proof.violations == ()
    assert proof.compared == 901


def test_a_slot_or_a_warehouse_that_was_lost_is_made_again_from_the_tables(settings: Settings) -> None:
    with books(settings) as book:
        user = book.player()
        bet = book.move(user, "bet", "1.00")
        with running_pipeline(settings):
            book.wait_for_copy(settings)
        until(lambda: not book.ask(f"SELECT active {SLOTS}")[0][0])
        book.ask(f"SELECT pg_drop_replication_slot(slot_name) {SLOTS}")
        book.cancel(bet)  # nobody was listening
        with running_pipeline(settings):
            assert reconcile.compare(settings).violations == ()
        with warehouse(settings) as client:
            for table in ("events_transactions", "pipeline_positions"):
                client.command(f"TRUNCATE TABLE {table}")
        with running_pipeline(settings):
            proof = reconcile.compare(settings)
    assert proof.violations == ()
    assert proof.compared == 2


class Wire:
    """A TCP connection to a server that can be cut and mended."""

    def __init__(self, server: tuple[str, int]) -> None:
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        self._is_cut = False
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def cut(self) -> None:
        with self._lock:
            self._is_cut = True
            for end in self._open:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()
            self._open.clear()

    def mend(self) -> None:
        self._is_cut = False

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                if self._is_cut:
                    near.close()
                    continue
                far = socket.create_connection(self._server)
                self._open += [near, far]
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=_carry, args=(source, target), daemon=True).start()


def _carry(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
