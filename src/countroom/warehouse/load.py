"""Messages of the contract into ClickHouse: check, insert, and set aside what cannot be stored.

A message is checked (``check.py``), and then its own bytes are inserted: ClickHouse alone
takes a missing field as zero and cuts ``10.555`` to two decimals. What ClickHouse refuses as
data is halved until the message at fault stands alone; it becomes a dead letter, its
neighbours are stored. Everything else that ClickHouse may answer, or fail to answer, means
that it is away: nothing is set aside, nothing further is read, the caller tries again.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError
from urllib3.exceptions import HTTPError

from countroom import clickhouse
from countroom.events import catalog, contract, meters
from countroom.events.wal import Message
from countroom.warehouse.check import Check, SetAside

BATCH_ROWS: Final = 50_000
"""Rows held before they are inserted: past some ten thousand, larger inserts gain nothing."""
CHECK_ROWS: Final = 1_000
"""So many are checked at once while others arrive: checking a whole batch would keep the sender waiting."""
BATCH_BYTES: Final = 32 * 1024 * 1024
"""The same for large messages; with the check's objects this bounds the memory to a few times it."""

ABOUT_DATA: Final = frozenset({
    6,  # CANNOT_PARSE_TEXT
    25,  # CANNOT_PARSE_ESCAPE_SEQUENCE
    26,  # CANNOT_PARSE_QUOTED_STRING
    27,  # CANNOT_PARSE_INPUT_ASSERTION_FAILED
    32,  # ATTEMPT_TO_READ_AFTER_EOF
    38,  # CANNOT_PARSE_DATE
    41,  # CANNOT_PARSE_DATETIME
    53,  # TYPE_MISMATCH
    69,  # ARGUMENT_OUT_OF_BOUND
    70,  # CANNOT_CONVERT_TYPE
    72,  # CANNOT_PARSE_NUMBER
    117,  # INCORRECT_DATA
    131,  # TOO_LARGE_STRING_SIZE
    321,  # VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE
    349,  # CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
    376,  # CANNOT_PARSE_UUID
    407,  # DECIMAL_OVERFLOW
})  # fmt: skip
"""ClickHouse's error codes that blame the rows. Any other code blames the server or the settings:
a code that is missing here stops the loading, one too many would set money aside."""

Batch = Mapping[str, Sequence[Message]]
"""Topic → its messages, all of which keep the contract."""


class WarehouseAwayError(Exception):
    """ClickHouse cannot be reached, or cannot work at the moment."""


class Loader:
    """Collects messages and stores them. Nothing is stored for certain until ``flush`` or ``store`` returns."""

    def __init__(self, client: Client, set_aside: SetAside) -> None:
        self._client = client
        self._set_aside = set_aside
        self._pending: dict[str, list[Message]] = {topic: [] for topic in contract.MESSAGES}
        self._fine: dict[str, list[Message]] = {topic: [] for topic in contract.MESSAGES}
        """Those that have been checked, or need no check."""
        self._checks = {topic: Check(topic) for topic in contract.MESSAGES}
        self.rows = 0
        self._bytes = 0

    def add(self, message: Message) -> None:
        """Take a message in."""
        self.rows += 1
        self._bytes += len(message.body)
        if message.is_fine:
            self._fine[message.topic].append(message)
            return
        pending = self._pending[message.topic]
        pending.append(message)
        if len(pending) >= CHECK_ROWS:
            self._check(message.topic)

    @property
    def is_full(self) -> bool:
        """Whether it is time to flush, however recent the messages are."""
        return self.rows >= BATCH_ROWS or self._bytes >= BATCH_BYTES

    def flush(self) -> None:
        """Store what was added.

        Raises:
            WarehouseAwayError: some of it may not be stored; add it again, twice stored counts once.
            ContractBrokenError: too much of it cannot be stored; nothing more is set aside.
        """
        self.store(self._checked())
        self.clear()

    def take_checked(self) -> Batch:
        """Check what was added and hand it over, to be given to ``store``, by another thread perhaps.

        Raises:
            ContractBrokenError: see ``flush``.
        """
        batch = self._checked()
        self.clear()
        return batch

    def store(self, batch: Batch) -> None:
        """Insert what was checked. Raises what ``flush`` does."""
        for topic, messages in batch.items():
            self._insert(topic, messages)

    def clear(self) -> None:
        """Forget what was added."""
        self._pending = {topic: [] for topic in contract.MESSAGES}
        self._fine = {topic: [] for topic in contract.MESSAGES}
        self.rows = self._bytes = 0

    def _check(self, topic: str) -> None:
        self._fine[topic] += self._checks[topic].fine(self._pending[topic], self._set_aside)
        self._pending[topic] = []

    def _checked(self) -> Batch:
        for topic, messages in self._pending.items():
            if messages:
                self._check(topic)
        return {topic: messages for topic, messages in self._fine.items() if messages}

    def _insert(self, topic: str, messages: Sequence[Message]) -> None:
        if not messages:
            return
        block = _block(messages)
        try:
            self._client.raw_insert(
                f"landing_{topic}",
                insert_block=block,
                fmt="JSONEachRow",
                settings=clickhouse.INSERT_SETTINGS,
            )
        except DatabaseError as error:
            if error.code not in ABOUT_DATA:
                raise WarehouseAwayError(str(error)) from error
            if len(messages) == 1:
                self._set_aside(messages[0], f"refused by ClickHouse: {error}")
                return
            middle = len(messages) // 2
            self._insert(topic, messages[:middle])
            self._insert(topic, messages[middle:])
        except (ClickHouseError, HTTPError, OSError) as error:
            raise WarehouseAwayError(str(error)) from error
        else:
            meters.rows.labels(topic).inc(len(messages))
            meters.size.labels(topic).inc(len(block))
            if topic == catalog.CANARIES.name:
                _observe(messages)


def _observe(canaries: Sequence[Message]) -> None:
    """Measure how long they needed. By two machines' clocks, where PostgreSQL is on another one."""
    for canary in canaries:
        committed = msgspec.json.decode(canary.body, type=contract.CanarySent).ts_us
        meters.visible_seconds.observe(max(time.time() - committed / 1_000_000, 0))


def _block(messages: Sequence[Message]) -> bytes:
    return b"\n".join([message.body for message in messages])
