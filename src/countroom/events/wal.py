"""The committed log of PostgreSQL, decoded: logical replication with ``pgoutput``.

The server sends whole transactions, in the order in which they were committed: Begin, the
changes, Commit; before the first change of a table, its columns. A reader confirms a position
once everything committed before it is safe elsewhere; until then the server sends it again
after a reconnect. While nothing that concerns us is committed, the server's keep-alives say
how far it has come, and that is confirmed too, so that an idle database holds no log back.
"""

import select
from enum import Enum
from struct import Struct
from types import TracebackType
from typing import Any, Final, Self

import msgspec
import psycopg2
from psycopg2.extras import LogicalReplicationConnection

from countroom.events import catalog, compiled

POSTGRES_EPOCH_US: Final = 946_684_800_000_000
"""2000-01-01 in microseconds since 1970: what PostgreSQL counts from."""
CONNECT_SECONDS: Final = 5
STATUS_SECONDS: Final = 3
"""How often the server hears from a reader that has nothing to say."""

PRINTED: Final = "-c timezone=UTC -c datestyle=ISO"
"""The server prints values for the session that reads the log: in UTC, or the contract is broken."""
UNASKED: Final = "-c wal_sender_timeout=0"
"""The server never asks whether this reader lives.

To a reader that was silent for half of ``wal_sender_timeout`` the server sends a keep-alive, within a transaction too,
with its own position. psycopg2 confirms that position by itself if the last message that it saw lies before what was
confirmed, and the first changes of a transaction that was open for longer do, while others that ended meanwhile may
not yet be safe. What it sends without being asked comes between transactions: the last message is a commit then, and
lies before what was confirmed only if everything is safe."""
NOTICED: Final = (
    "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3 -c tcp_user_timeout=60s"
)
"""So the system tells the server that a reader's machine has vanished, within a minute."""

_BEGIN, _COMMIT, _INSERT, _UPDATE, _RELATION = b"BCIUR"
_ROWS: Final = b"IU"
_TEXT, _UNCHANGED, _KEY, _OLD, _NEW = b"tuKON"
_short = Struct(">H").unpack_from
_word = Struct(">I").unpack_from
_long = Struct(">q").unpack_from


class SlotInUseError(Exception):
    """Another process reads this slot; exactly one may."""


class Commit(msgspec.Struct, frozen=True, gc=False):
    """A transaction's end: everything before ``lsn`` has been read."""

    lsn: int
    ts_us: int


class Message(msgspec.Struct, frozen=True, gc=False):
    """One change as the contract has it."""

    topic: str
    lsn: int
    body: bytes
    key: str = ""
    """The player's id: one player's messages stay in order."""
    partition: int | None = None
    """Of the topic from which it was read, and ``lsn`` is then its offset there. None: from the log itself."""
    is_fine: bool = False
    """It was made by an expression that has the contract's types (``compiled``): nobody needs to check it."""


class Nothing(Enum):
    """Why there is no message and no commit."""

    PASSED = 1
    """Something was received that says nothing to us; read on."""
    IDLE = 2
    """Nothing has been received yet; wait."""


_Relation = tuple[str, int, catalog.Encode, compiled.EncodeRow]
"""A table's topic, where its key stands, and the two ways to make a message of a row."""


class Decoder:
    """Turns ``pgoutput`` payloads (protocol 1) into messages."""

    def __init__(self) -> None:
        self._relations: dict[bytes, _Relation | None] = {}
        """None: a table that a newer version publishes, and nobody here knows."""
        self._ts_us = 0
        self.in_transaction = False

    def decode(self, payload: bytes, lsn: int) -> Message | Commit | Nothing:
        """Return what a payload says."""
        kind = payload[0]
        if kind in _ROWS:
            relation = self._relations[payload[1:5]]
            if relation is None:
                return Nothing.PASSED
            topic, _, _, encode_row = relation
            usual = encode_row(payload, b"c" if kind == _INSERT else b"u", lsn, self._ts_us)
            if usual is not None:
                return Message(topic, lsn, usual[0], usual[1], None, is_fine=True)
            return self._unusual(payload, lsn, relation)
        if kind == _BEGIN:
            self._ts_us = _long(payload, 9)[0] + POSTGRES_EPOCH_US
            self.in_transaction = True
        elif kind == _COMMIT:
            self.in_transaction = False
            return Commit(_long(payload, 10)[0], self._ts_us)
        elif kind == _RELATION:
            self._learn(payload)
        return Nothing.PASSED

    def _unusual(self, payload: bytes, lsn: int, relation: _Relation) -> Message:
        topic, key, encode, _ = relation
        # An old key comes first only if the key changed; a published key never does.
        assert payload[5] == _NEW, f"the key of a row of {topic} changed"
        values = _values(payload, 6)
        op = "c" if payload[0] == _INSERT else "u"
        return Message(topic, lsn, encode(values, op, lsn, self._ts_us), values[key] or "")

    def _learn(self, payload: bytes) -> None:
        """Remember a table's columns; the server repeats them when they change."""
        end = payload.index(0, 5)
        start = end + 1
        end = payload.index(0, start)
        name = payload[start:end].decode()
        start = end + 2  # the replica identity is one byte
        count = _short(payload, start)[0]
        start += 2
        columns, oids = [], []
        for _ in range(count):
            end = payload.index(0, start + 1)  # one byte of flags comes first
            columns.append(payload[start + 1 : end].decode())
            oids.append(_word(payload, end + 1)[0])
            start = end + 9  # type and modifier
        table = catalog.PUBLISHED.get(name)
        if table is None:
            self._relations[payload[1:5]] = None
            return
        encode, encode_row = catalog.encoder(table, columns), compiled.encoder(table, columns, oids)
        self._relations[payload[1:5]] = (name, columns.index(table.key), encode, encode_row)


def _values(payload: bytes, at: int) -> list[str | None]:
    """Return the values of a tuple that begins at ``at``."""
    values: list[str | None] = []
    append = values.append
    count = _short(payload, at)[0]
    at += 2
    for _ in range(count):
        if payload[at] == _TEXT:
            end = at + 5 + _word(payload, at + 1)[0]
            append(payload[at + 5 : end].decode())
            at = end
        else:
            # metadata has STORAGE MAIN and a limit, so that no published value lives out of line.
            assert payload[at] != _UNCHANGED, "a published value was stored out of line and left a hole in the log"
            append(None)
            at += 1
    return values


class Reader:
    """An open stream of a slot. Use as a context manager; connection errors are psycopg2's own."""

    def __init__(self, database_url: str, slot: str) -> None:
        self._connection = psycopg2.connect(
            database_url,
            connection_factory=LogicalReplicationConnection,
            options=f"{PRINTED} {UNASKED} {NOTICED}",
            connect_timeout=CONNECT_SECONDS,
            application_name="countroom",
        )
        self._cursor: Any = self._connection.cursor()
        self._decoder = Decoder()
        self._confirmed = 0
        try:
            self._cursor.start_replication(
                slot_name=slot,
                decode=False,
                status_interval=STATUS_SECONDS,
                options={"proto_version": "1", "publication_names": catalog.PUBLICATION},
            )
        except psycopg2.errors.ObjectInUse as error:
            self._connection.close()
            raise SlotInUseError(str(error).strip()) from error
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def read(self) -> Message | Commit | Nothing:
        """Return the next thing that was received, without waiting for one."""
        received = self._cursor.read_message()
        if received is None:
            return Nothing.IDLE
        return self._decoder.decode(received.payload, received.data_start)

    def wait(self, seconds: float) -> None:
        """Sleep until the server sends something, ``seconds`` at most."""
        select.select([self._cursor], [], [], seconds)

    def confirm(self, lsn: int) -> None:
        """Tell the server that everything committed before ``lsn`` is safe."""
        if lsn > self._confirmed:
            self._confirmed = lsn
            self._cursor.send_feedback(flush_lsn=lsn, apply_lsn=lsn, force=True)

    def keep_alive(self) -> None:
        """Tell the server that this reader lives, and nothing else: for whoever must wait with reading."""
        self._cursor.send_feedback(flush_lsn=self._confirmed, apply_lsn=self._confirmed, force=True)

    def confirm_idle(self) -> None:
        """Confirm what the server has passed without finding anything of ours.

        Only called with nothing read that is not yet safe: the server's position lies behind
        everything that it has sent.
        """
        if not self._decoder.in_transaction:
            self.confirm(self._cursor.wal_end)
