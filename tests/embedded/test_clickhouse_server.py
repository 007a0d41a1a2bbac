"""The HTTP front of the embedded engine, seen by the ordinary clients."""

import asyncio
import gzip
import http.client
import importlib
import sys
import urllib.parse
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import clickhouse_connect
import lz4.frame
import numpy as np
import pandas as pd  # type: ignore[import-untyped]  # chdb brings it, nobody its stubs
import psutil
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError, OperationalError

from countroom import clickhouse
from countroom.embedded.http_bodies import PIECE_BYTES
from countroom.embedded.process import read_pid

ROWS = 2_000_000


@pytest.fixture
def client(clickhouse_url: str) -> Iterator[Client]:
    with clickhouse.connect(clickhouse_url) as client:
        yield client


@pytest.fixture
def server(stores: object, clickhouse_url: str) -> psutil.Process:
    data_dir: Path = stores.settings.data_dir  # type: ignore[attr-defined]
    pid = read_pid(data_dir / "clickhouse.pid")
    assert pid is not None
    return psutil.Process(pid)


def post(url: str, body: bytes = b"", **headers: str) -> tuple[int, http.client.HTTPMessage, bytes]:
    """Speak HTTP by hand; keyword ``a_b`` is the header ``a-b``."""
    parts = urllib.parse.urlsplit(url)
    assert parts.hostname
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=20)
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("POST", path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def by_hand(clickhouse_url: str, **parameters: str) -> str:
    """The address with user, password and parameters in its query."""
    parts = urllib.parse.urlsplit(clickhouse_url)
    query = {"user": parts.username, "password": parts.password, "database": parts.path[1:], **parameters}
    return f"http://{parts.hostname}:{parts.port}/?{urllib.parse.urlencode(query)}"


def test_every_block_of_a_large_insert_arrives(client: Client) -> None:
    client.command("CREATE TABLE numbers (a UInt64, b String) ENGINE = MergeTree ORDER BY a")
    client.insert_df("numbers", pd.DataFrame({"a": np.arange(1_000_000), "b": ["x"] * 1_000_000}))
    assert client.query("SELECT count(), sum(a) FROM numbers").result_rows == [(1_000_000, 499_999_500_000)]


@pytest.mark.parametrize("compression", ["lz4", "zstd", "gzip", "deflate"])
def test_every_frame_of_a_compressed_body_is_read(clickhouse_url: str, client: Client, compression: str) -> None:
    zstd = importlib.import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")

    client.command("CREATE TABLE frames (a UInt64) ENGINE = MergeTree ORDER BY a")
    compress = {"lz4": lz4.frame.compress, "zstd": zstd.compress, "gzip": gzip.compress, "deflate": zlib.compress}
    frames = b"".join(compress[compression](b'{"a":%d}\n' % number) for number in range(50))
    address = by_hand(clickhouse_url, query="INSERT INTO frames FORMAT JSONEachRow")
    status, _, said = post(address, frames, Content_Encoding=compression)
    assert (status, said) == (200, b"")
    assert client.command("SELECT count() FROM frames") == 50

    status, _, said = post(address, frames[:-3], Content_Encoding=compression)
    assert status == 500
    assert b"compressed body" in said
    assert client.command("SELECT count() FROM frames") == 50


def test_a_large_result_is_streamed_and_the_server_stays_small(client: Client, server: psutil.Process) -> None:
    before = server.memory_info().rss
    most = before
    seen = 0
    sql = f"SELECT number, repeat('x', 150) FROM numbers({ROWS})"  # 320 MB
    with client.raw_stream(sql, fmt="TabSeparated") as stream:
        while piece := stream.read(1 << 20):
            seen += len(piece)
            most = max(most, server.memory_info().rss)
    assert seen > 150 * ROWS
    assert most - before < 120_000_000
    with client.query_row_block_stream(f"SELECT number FROM numbers({ROWS})") as blocks:
        assert sum(len(block) for block in blocks) == ROWS


def test_a_result_that_breaks_half_way_does_not_look_whole(client: Client) -> None:
    with (
        pytest.raises((ClickHouseError, OSError, http.client.HTTPException)),
        client.query_row_block_stream(f"SELECT throwIf(number = 1500000) FROM numbers({ROWS})") as blocks,
    ):
        for _ in blocks:
            pass


def test_without_the_password_nothing_is_answered(clickhouse_url: str) -> None:
    parts = urllib.parse.urlsplit(clickhouse_url)
    address = f"http://127.0.0.1:{parts.port}/?query=SELECT+1"
    for given in (
        address,
        f"{address}&user=countroom&password=wrong",
        f"{address}&user=other&password={parts.password}",
    ):
        status, headers, said = post(given)
        assert (status, headers["X-ClickHouse-Exception-Code"]) == (403, "516")
        assert b"\n1" not in said
    with pytest.raises(DatabaseError, match="516"):
        clickhouse_connect.get_client(host="127.0.0.1", port=parts.port or 0, username="countroom", password="wrong")
    assert post(f"http://127.0.0.1:{parts.port}/ping")[2] == b"Ok.\n"


@pytest.mark.parametrize(
    "engine",
    [
        "ENGINE = Kafka",
        "engine=kafka()",
        "ENGINE Kafka('127.0.0.1:1', 't', 'g', 'JSONEachRow')",
        "Engine\n=\tKAFKA SETTINGS kafka_broker_list = 'x'",
        "ENGINE /* = Memory */ = -- Memory\n Kafka",
        "ENGINE # a\n = // b\n Kafka",
        "ENGINE = `Kafka`",
        'ENGINE = "Kafka"',
        r"ENGINE = `\x4bafka`",
    ],
)
def test_an_engine_that_would_brick_the_folder_is_refused(client: Client, clickhouse_url: str, engine: str) -> None:
    statement = f"CREATE TABLE stream (a UInt64) {engine}"
    for sent in (statement, f"SELECT 1; {statement}"):
        status, headers, said = post(by_hand(clickhouse_url), sent.encode())
        assert (status, headers["X-ClickHouse-Exception-Code"]) == (500, "344")
        assert b"could never be opened again" in said
    assert client.query("SHOW TABLES").result_rows == []


def test_the_word_kafka_elsewhere_is_no_reason_to_refuse(client: Client) -> None:
    client.command("CREATE TABLE kafka (engine String COMMENT 'ENGINE = Kafka') ENGINE = Memory")
    client.raw_insert("kafka", insert_block=b'{"engine":"ENGINE = Kafka"}\n', fmt="JSONEachRow")
    assert client.command("SELECT engine FROM kafka WHERE engine = 'ENGINE = Kafka'") == "ENGINE = Kafka"


def test_errors_keep_their_codes_and_the_server_goes_on(client: Client) -> None:
    for statement, code in (("SELECT * FROM nowhere", 60), ("SELEC", 62), ("SELECT throwIf(1)", 395)):
        with pytest.raises(DatabaseError, match=str(code)):
            client.query(statement)
    with pytest.raises(ClickHouseError, match="115"):
        client.query("SELECT 1", settings={"no_such_setting": 1})
    client.command("CREATE TABLE strict (a UInt64) ENGINE = MergeTree ORDER BY a")
    with pytest.raises(ClickHouseError):
        client.raw_insert("strict", insert_block=b'{"a":1}\n{"a":"one"}\n' * 50_000, fmt="JSONEachRow")
    assert client.command("SELECT count() FROM strict") == 0
    with pytest.raises((ClickHouseError, OperationalError)):
        client.query("SELECT sleepEachRow(1) FROM numbers(10)", settings={"max_execution_time": 1, "max_block_size": 1})
    assert client.command("SELECT 1") == 1


def test_settings_stay_with_their_request(client: Client) -> None:
    with pytest.raises(DatabaseError):
        client.command("CREATE TABLE refused (a UInt8) ENGINE = Memory", settings={"readonly": 2})
    client.command("CREATE TABLE accepted (a UInt8) ENGINE = Memory")
    assert client.command("SELECT getSetting('max_threads')", settings={"max_threads": 3}) == 3
    assert client.command("SELECT getSetting('max_threads')") != 3


def test_parameters_of_every_kind_arrive_as_they_are(client: Client) -> None:
    given = {"text": "it's\ta\\b\n`\"", "many": ["a", "b'c"], "money": Decimal("10.55"), "nothing": None}
    sql = "SELECT {text:String}, {many:Array(String)}, {money:Decimal(18,2)}, {nothing:Nullable(String)}"
    assert client.query(sql, parameters=given).result_rows == [
        (given["text"], given["many"], given["money"], given["nothing"])
    ]
    long_text = "x" * 200_000  # sent as a form
    assert client.query("SELECT length({long:String})", parameters={"long": long_text}).result_rows == [(200_000,)]


@pytest.mark.parametrize("data_format", ["JSONEachRow", "CSV", "Values", "Native"])
def test_an_insert_says_its_data_in_the_body(client: Client, clickhouse_url: str, data_format: str) -> None:
    client.command("CREATE TABLE landing (a UInt64, b String) ENGINE = Null")
    client.command("CREATE TABLE kept (a UInt64, b String) ENGINE = MergeTree ORDER BY a")
    client.command("CREATE MATERIALIZED VIEW landed TO kept AS SELECT a, upper(b) AS b FROM landing")
    data = {
        "JSONEachRow": b'{"a":1,"b":"FORMAT CSV (x"}\n{"a":2,"b":"y"}\n',
        "CSV": b'1,"FORMAT CSV (x"\n2,y\n',
        "Values": b"(1, 'FORMAT CSV (x'), (2, 'y')",
        "Native": client.raw_query(
            "SELECT number + 1 AS a, ['FORMAT CSV (x', 'y'][a] AS b FROM numbers(2)", fmt="Native"
        ),
    }
    statement = f"/* FORMAT TSV */ INSERT INTO landing (a, `b`) FORMAT {data_format}\n".encode()
    assert post(by_hand(clickhouse_url), statement + data[data_format])[0] == 200
    assert client.query("SELECT * FROM kept ORDER BY a").result_rows == [(1, "FORMAT CSV (X"), (2, "Y")]


def test_an_insert_that_is_whole_by_itself_is_run_as_it_is(client: Client) -> None:
    client.command("CREATE TABLE whole (a UInt64, b String) ENGINE = MergeTree ORDER BY a")
    client.command("INSERT INTO whole VALUES (1, 'FORMAT JSONEachRow\n')")
    client.command("INSERT INTO whole SELECT 2, 'SELECT'")
    assert client.query("SELECT * FROM whole ORDER BY a").result_rows == [(1, "FORMAT JSONEachRow\n"), (2, "SELECT")]


def test_a_chunked_body_is_read(client: Client, clickhouse_url: str) -> None:
    client.command("CREATE TABLE chunks (a UInt64) ENGINE = MergeTree ORDER BY a")
    client.raw_insert("chunks", insert_block=(b'{"a":%d}\n' % n for n in range(100)), fmt="JSONEachRow")
    assert client.command("SELECT count() FROM chunks") == 100
    _ = clickhouse_url


def test_a_get_only_reads(clickhouse_url: str) -> None:
    parts = urllib.parse.urlsplit(by_hand(clickhouse_url, query="CREATE TABLE sneaked (a UInt8) ENGINE = Memory"))
    connection = http.client.HTTPConnection("127.0.0.1", parts.port, timeout=20)
    connection.request("GET", f"/?{parts.query}")
    answer = connection.getresponse()
    assert answer.headers["X-ClickHouse-Exception-Code"] == "164"
    connection.close()


def test_times_are_in_utc(client: Client) -> None:
    sql = "SELECT toString(toDateTime(0)), timezone(), toDateTime64('2026-01-02 03:04:05.123456', 6, 'UTC')"
    epoch, zone, moment = client.query(sql).result_rows[0]
    assert (epoch, zone, moment.isoformat()) == ("1970-01-01 00:00:00", "UTC", "2026-01-02T03:04:05.123456+00:00")


async def test_the_asynchronous_client_asks_many_things_at_once(clickhouse_url: str) -> None:
    async with await clickhouse.connect_async(clickhouse_url) as client:
        await client.command("CREATE TABLE counted (a UInt64) ENGINE = MergeTree ORDER BY a")
        await asyncio.gather(*(client.insert("counted", [[n]], column_names=["a"]) for n in range(8)))
        answers = await asyncio.gather(
            *(client.query("SELECT sum(a) + {n:UInt8} FROM counted", {"n": n}) for n in range(8))
        )
        assert [answer.result_rows[0][0] for answer in answers] == [28 + n for n in range(8)]


def test_many_clients_write_and_read_at_once(client: Client, clickhouse_url: str) -> None:
    client.command("CREATE TABLE shared (a UInt64) ENGINE = MergeTree ORDER BY a")

    def work(number: int) -> None:
        with clickhouse.connect(clickhouse_url) as own:
            for _ in range(5):
                own.raw_insert("shared", insert_block=b'{"a":%d}\n' % number, fmt="JSONEachRow")
                own.query("SELECT count() FROM shared")

    with ThreadPoolExecutor(max_workers=6) as pool:
        list(pool.map(work, range(6)))
    assert client.command("SELECT count() FROM shared") == 30


def test_a_view_that_fails_under_an_insert_is_an_error_and_not_a_loss(client: Client) -> None:
    client.command("CREATE TABLE arriving (a String) ENGINE = Null")
    client.command("CREATE TABLE arrived (a UInt8) ENGINE = MergeTree ORDER BY a")
    client.command("CREATE MATERIALIZED VIEW arriving_to_arrived TO arrived AS SELECT toUInt8(a) AS a FROM arriving")
    good = b'{"a":"1"}\n{"a":"2"}'
    client.raw_insert("arriving", insert_block=good, fmt="JSONEachRow")
    client.raw_insert("arriving", insert_block=good + b" " * PIECE_BYTES + b'\n{"a":"3"}\n', fmt="JSONEachRow")
    with pytest.raises(DatabaseError, match="Cannot parse"):
        client.raw_insert("arriving", insert_block=good + b'\n{"a":"x"}', fmt="JSONEachRow")
    assert client.query("SELECT count() FROM arrived").first_row == (5,)  # each once, and those of the failed none
    for statement in ("DROP TABLE arriving_to_arrived", "DROP TABLE arriving", "DROP TABLE arrived"):
        client.command(statement)
