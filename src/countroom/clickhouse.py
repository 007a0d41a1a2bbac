"""The ClickHouse tap: one client, clickhouse-connect over HTTP, everywhere."""

import logging
from typing import Final
from urllib.parse import unquote, urlsplit, urlunsplit

import clickhouse_connect
from clickhouse_connect.driver.asyncclient import AsyncClient
from clickhouse_connect.driver.client import Client

# It logs what it raises as well; whoever catches that knows whether it is worth a line.
logging.getLogger("clickhouse_connect").addHandler(logging.NullHandler())

INSERT_SETTINGS: Final[dict[str, str | int]] = {
    # Servers since 26.2 deduplicate inserts and since 26.3 make small ones asynchronous unless
    # told otherwise. Exactness here is identity + version, not insert tokens: a message that
    # arrives again must reach the table again, and an answer must mean that it is stored.
    "async_insert": 0,
    "insert_deduplicate": 0,
    "wait_end_of_query": 1,
    # Versions of one row that come in one insert are left to FINAL and to the merges, as those of two inserts are:
    # looking for them costs a fifth of an insert, and seldom finds any.
    "optimize_on_insert": 0,
    # A message is refused as a whole or stored as a whole: no row is skipped in silence, ...
    "input_format_allow_errors_num": 0,
    "input_format_allow_errors_ratio": 0,
    "input_format_null_as_default": 0,
    # ... a field that a newer contract adds is no reason to refuse it, ...
    "input_format_skip_unknown_fields": 1,
    # ... times are RFC 3339, and a key of metadata may contain a dot.
    "date_time_input_format": "best_effort",
    "json_type_escape_dots_in_keys": 1,
}
READ_SETTINGS: Final[dict[str, str | int]] = {
    # A row's identity never leaves its month, so FINAL need not merge across partitions.
    "do_not_merge_across_partitions_select_final": 1,
    # A skip index on a column that changes (processed_at) may not hide a row's newest version.
    "use_skip_indexes_if_final": 1,
    "use_skip_indexes_if_final_exact_mode": 1,
}
"""For every SELECT ... FINAL that counts."""


def connect(url: str) -> Client:
    """Open a client. Raises clickhouse_connect's errors when the server cannot be reached."""
    return clickhouse_connect.get_client(dsn=url, autogenerate_session_id=False, tz_mode="aware")


async def connect_async(url: str) -> AsyncClient:
    """Open an asynchronous client, for web processes."""
    return await clickhouse_connect.get_async_client(dsn=url, autogenerate_session_id=False, tz_mode="aware")


def database_of(url: str) -> str:
    """Return the database that an address names; ``default`` when it names none."""
    return unquote(urlsplit(url).path.strip("/")) or "default"


def without_database(url: str) -> str:
    """Return the address of the server alone."""
    return urlunsplit(urlsplit(url)._replace(path="/default"))


def quoted(name: str) -> str:
    """Return an identifier as it is written in SQL."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"
