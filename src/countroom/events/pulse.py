"""What a process of the pipeline says of itself, every second, and the canary that it sends ahead.

Its words are a row of `pipeline_processes`: whoever has not written for a few seconds is gone, however it ended.
The canary is a row that is touched once a second by whoever comes first, and published like a fact. The time until
it is in ClickHouse is the time that facts need, also while nobody plays, and also while the pipeline is dead:
`countroom work` sends it, too.

A database that is away silences it, and nothing else: the process goes on with its own work.
"""

import json
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from contextvars import ContextVar
from typing import Any, Final, Literal

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812 - it is a class

from countroom import clock
from countroom.events import meters

BEAT_SECONDS: Final = 1.0
CANARY: Final = "00000000-0000-7000-8000-00000000ca7a"
"""The one row of `canaries`."""
RATE_BEATS: Final = 5
"""Rates are those of the last so many beats."""
KEPT: Final = 50
"""So many processes are remembered, the newest."""
CONNECT_SECONDS: Final = 5
STATEMENT_MS: Final = 5_000
GOODBYE_SECONDS: Final = 5.0
SENTENCE_LENGTH_MAX: Final = 500

Role = Literal["pipeline", "relay", "debezium", "load", "work"]
State = Literal["starting", "copying", "following", "waiting", "retrying", "ended"]

_current: ContextVar["Pulse | None"] = ContextVar("pulse", default=None)


@contextmanager
def beating(database_url: str, role: Role) -> Iterator[None]:
    """Say every second, while the block runs, that this process lives and what it does."""
    pulse = Pulse(database_url, role)
    token = _current.set(pulse)
    thread = threading.Thread(target=pulse.run, name="pulse", daemon=True)
    thread.start()
    try:
        yield
    except Exception as error:
        pulse.say("ended", str(error))
        raise
    else:
        pulse.say("ended")
    finally:
        _current.reset(token)
        pulse.stop.set()
        thread.join(GOODBYE_SECONDS)


def say(state: State, sentence: str = "") -> None:
    """Tell others what this process does now; nothing where nobody listens."""
    pulse = _current.get()
    if pulse is not None:
        pulse.say(state, sentence)


class Pulse:
    """One process's words."""

    def __init__(self, database_url: str, role: Role) -> None:
        self.stop = threading.Event()
        self._database_url = database_url
        self._role = role
        self._id = str(clock.new_id())
        self._said: tuple[State, str] = ("starting", "")
        self._beats: deque[tuple[float, dict[str, float]]] = deque(maxlen=RATE_BEATS + 1)

    def say(self, state: State, sentence: str = "") -> None:
        """Say something else from the next beat on."""
        self._said = (state, sentence.replace("\0", "")[:SENTENCE_LENGTH_MAX])

    def run(self) -> None:
        """Beat until ``stop`` is set, and then once more."""
        while True:
            with suppress(psycopg2.Error), closing(self._connect()) as connection:
                self._forget(connection)
                self._session(connection)
            if self.stop.wait(BEAT_SECONDS):
                return

    def _connect(self) -> Connection:
        connection = psycopg2.connect(
            self._database_url,
            connect_timeout=CONNECT_SECONDS,
            application_name="countroom pulse",
            options=f"-c statement_timeout={STATEMENT_MS}",
        )
        connection.autocommit = True
        return connection

    def _session(self, connection: Connection) -> None:
        while not self.stop.wait(BEAT_SECONDS if self._beats else 0):
            self._beat(connection)
            _send_canary(connection)
        self._beat(connection)

    def _beat(self, connection: Connection) -> None:
        state, sentence = self._said
        with connection.cursor() as cursor:
            cursor.execute(
                """
                INSERT INTO pipeline_processes (id, role, host, pid, state, sentence, figures)
                VALUES (%(id)s, %(role)s, %(host)s, %(pid)s, %(state)s, %(sentence)s, %(figures)s)
                ON CONFLICT (id) DO UPDATE
                   SET state = excluded.state, sentence = excluded.sentence, figures = excluded.figures,
                       seen_at = clock_timestamp(),
                       ended_at = CASE WHEN excluded.state = 'ended' THEN clock_timestamp() END
                """,
                {
                    "id": self._id, "role": self._role, "host": socket.gethostname(), "pid": os.getpid(),
                    "state": state, "sentence": sentence, "figures": json.dumps(self._figures()),
                },
            )  # fmt: skip

    def _figures(self) -> dict[str, float]:
        """Return what has been counted, and how fast it grows."""
        batches, batched_rows = meters.mean(meters.batch_rows)
        timed, seconds = meters.mean(meters.batch_seconds)
        counted = {
            "rows": meters.total(meters.rows), "bytes": meters.total(meters.size), "batches": batches,
            "batched_rows": batched_rows, "timed": timed, "seconds": seconds,
        }  # fmt: skip
        self._beats.append((time.monotonic(), counted))
        (then, before), (now, _) = self._beats[0], self._beats[-1]
        grown = {name: value - before[name] for name, value in counted.items()}
        passed = max(now - then, BEAT_SECONDS)
        return {
            "rows": counted["rows"],
            "bytes": counted["bytes"],
            "rows_per_second": round(grown["rows"] / passed, 1),
            "bytes_per_second": round(grown["bytes"] / passed, 1),
            "batch_rows": round(grown["batched_rows"] / max(grown["batches"], 1), 1),
            "batch_seconds": round(grown["seconds"] / max(grown["timed"], 1), 4),
            "partitions": meters.total(meters.partitions),
            "dead_letters": meters.total(meters.dead_letters),
            "rebalances": meters.total(meters.rebalances),
            "interruptions": meters.total(meters.interruptions),
        }

    def _forget(self, connection: Connection) -> None:
        """Remove the oldest of those who are gone."""
        with connection.cursor() as cursor:
            cursor.execute(
                "DELETE FROM pipeline_processes WHERE id IN "
                "(SELECT id FROM pipeline_processes ORDER BY seen_at DESC OFFSET %s)",
                (KEPT,),
            )


def _send_canary(connection: Connection) -> None:
    """Touch the canary, unless somebody has done so within this second."""
    arguments: dict[str, Any] = {"id": CANARY, "seconds": BEAT_SECONDS * 0.9}
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO canaries (id, sent_at) VALUES (%(id)s, clock_timestamp())
            ON CONFLICT (id) DO UPDATE SET sent_at = excluded.sent_at
             WHERE canaries.sent_at < excluded.sent_at - make_interval(secs => %(seconds)s)
            """,
            arguments,
        )
