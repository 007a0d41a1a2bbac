"""ClickHouse's HTTP interface in front of the embedded engine, which has none of its own.

One process owns the engine and its data folder; every other process is an ordinary client over
HTTP. Each request has a connection of its own inside the engine, because settings stay with a
connection (``readonly`` cannot be undone). INSERT data is handed to the engine as it arrives,
large results are sent as the engine makes them. The process is never forked: a fork of a running
engine hangs.

Run as ``python -m countroom.embedded.clickhouse_server --path P --port N`` with the password in
the environment.
"""

import argparse
import base64
import binascii
import hmac
import io
import itertools
import json
import math
import os
import re
import signal
import socket
import sys
import threading
import time
import urllib.parse
import uuid
from collections.abc import Iterator
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from countroom.embedded import clickhouse_statement, http_bodies, lifeline
from countroom.embedded.clickhouse import DATABASE, PASSWORD_VARIABLE, USER
from countroom.embedded.clickhouse_statement import RefusedStatement
from countroom.embedded.http_bodies import BadBody

TRANSPORT: Final = frozenset(
    {
        "buffer_size",
        "cancel_http_readonly_queries_on_client_close",
        "client_protocol_version",
        "compress",
        "database",
        "decompress",
        "default_format",
        "enable_http_compression",
        "http_headers_progress_interval_ms",
        "password",
        "query",
        "query_id",
        "quota_key",
        "role",
        "send_progress_in_http_headers",
        "session_check",
        "session_id",
        "session_timeout",
        "user",
        "wait_end_of_query",
    }
)
"""Parameters of a request that concern HTTP; all others are settings of the engine."""
HEAD_BYTES_MAX: Final = 1 << 16
"""Within so many bytes an INSERT must say in which format its data follows."""
STATEMENT_BYTES_MAX: Final = 64 << 20
BLOCK_ROWS: Final = "16384"
"""A quarter of ClickHouse's own: a streamed result then costs tens of megabytes instead of hundreds."""
STRANGERS_BYTES_MAX: Final = 1 << 20
"""Of a request without the password no more is read."""
IDLE_SECONDS: Final = 600
"""How long a client may keep a connection that it does not use."""
AUTHENTICATION_FAILED: Final = 516
KEPT_BYTES_MAX: Final = 64 * 1024 * 1024
"""Of an insert's data, until its views are known to have taken it: twice what a loader sends at a time."""
_INSERT_INTO: Final = re.compile(r"\s*INSERT\s+INTO\s+(?:TABLE\s+)?(?:`?(\w+)`?\.)?`?(\w+)`?", re.IGNORECASE)
UNKNOWN: Final = 1001
STATUS_OF_CODE: Final = {60: 404, 81: 404, AUTHENTICATION_FAILED: 403, 241: 500, 159: 408}


class Answer:
    """What goes back: pieces of a result, in a format, and the counts that ClickHouse adds."""

    def __init__(self, pieces: Iterator[bytes], data_format: str | None, summary: dict[str, str]) -> None:
        self.pieces = pieces
        self.data_format = data_format
        self.summary = summary


class CutShort(Exception):  # noqa: N818 - it ends an answer
    """A result broke after its beginning had been sent."""


class Handler(BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and a short body leave in one packet
    disable_nagle_algorithm = True
    timeout = IDLE_SECONDS
    server: "Server"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class named it
        """Keep quiet: requests are many, and their addresses hold passwords."""

    def do_GET(self) -> None:
        """Answer a reading request."""
        self._handle(reads_only=True)

    def do_POST(self) -> None:
        """Answer any request."""
        self._handle(reads_only=False)

    def _handle(self, *, reads_only: bool) -> None:
        address = urllib.parse.urlsplit(self.path)
        parameters = dict(urllib.parse.parse_qsl(address.query, keep_blank_values=True))
        query_id = parameters.get("query_id") or str(uuid.uuid4())
        body: Iterator[bytes] = iter(())
        connection = None
        try:
            body = http_bodies.pieces(self.rfile, self.headers)
            if address.path == "/ping":
                self._drain(body, STRANGERS_BYTES_MAX)
                self._send(200, b"Ok.\n", {})
            elif not self._is_allowed(parameters):
                self._drain(body, STRANGERS_BYTES_MAX)
                why = "DB::Exception: Wrong user or password. (AUTHENTICATION_FAILED)"
                self._send_error(AUTHENTICATION_FAILED, f"Code: {AUTHENTICATION_FAILED}. {why}", query_id)
            else:
                if reads_only:
                    parameters.setdefault("readonly", "2")
                connection = self.server.engine.connect(self.server.folder)
                self._send_answer(self._run(connection, parameters, body), query_id)
        except (CutShort, BrokenPipeError, ConnectionResetError, TimeoutError) as error:
            self.close_connection = True
            print(f"Query {query_id} was not answered to its end: {error}", file=sys.stderr)  # noqa: T201 - the log
        except BadBody as error:
            self.close_connection = True  # where the next request begins is unknown
            self._send_error(UNKNOWN, f"Code: {UNKNOWN}. DB::Exception: {error}", query_id)
        except RefusedStatement as error:
            self._drain(body)
            self._send_error(error.code, str(error), query_id)
        except Exception as error:  # noqa: BLE001 - the engine's errors are RuntimeErrors and its own; all become answers
            self._drain(body)
            message = str(error)
            message = message[max(message.find("Code: "), 0) :]
            code = re.match(r"Code: (\d+)", message)
            self._send_error(int(code[1]) if code else UNKNOWN, message, query_id)
        finally:
            if connection is not None:
                connection.close()

    def _is_allowed(self, parameters: dict[str, str]) -> bool:
        user, password = parameters.get("user", ""), parameters.get("password", "")
        authorization = self.headers.get("Authorization", "")
        if authorization.startswith("Basic "):
            try:
                user, _, password = base64.b64decode(authorization[6:], validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                return False
        elif "X-ClickHouse-User" in self.headers:
            user, password = self.headers["X-ClickHouse-User"], self.headers.get("X-ClickHouse-Key", "")
        given = f"{user}:{password}".encode()
        return hmac.compare_digest(given, self.server.credentials)

    def _run(self, connection: Any, parameters: dict[str, str], body: Iterator[bytes]) -> Answer:
        """Run the statement of a request on a connection of its own."""
        statement = b""
        if self.headers.get("Content-Type", "").startswith("multipart/form-data"):
            parameters.update(_form(self.headers["Content-Type"], _read_all(body)))
        if "query" in parameters:
            # As with a server: the body continues the statement, as its data or its text.
            statement = parameters["query"].encode() + b"\n"
        while len(statement) < HEAD_BYTES_MAX and (piece := next(body, b"")):
            statement += piece
        self._prepare(connection, parameters)
        values = {name.removeprefix("param_"): value for name, value in parameters.items() if name.startswith("param_")}
        head = clickhouse_statement.insert_head(statement)
        if head is not None and not values:
            clickhouse_statement.refuse_what_would_brick(head.statement.encode())
            return _insert(connection, head, itertools.chain([statement[head.data_begins :]], body))
        statement += _read_all(body)
        clickhouse_statement.refuse_what_would_brick(statement)
        default = self.headers.get("X-ClickHouse-Format") or parameters.get("default_format") or "TabSeparated"
        return _query(connection, statement, default, values)

    def _prepare(self, connection: Any, parameters: dict[str, str]) -> None:
        """Give the connection the request's database and settings, ``readonly`` last because nothing follows it."""
        database = parameters.get("database", "")
        if database:
            connection.query(f"USE {_quoted(database, '`')}", "TabSeparated")
        settings = {"max_block_size": BLOCK_ROWS} | {
            name: value
            for name, value in parameters.items()
            if name not in TRANSPORT and not name.startswith("param_") and name.isidentifier()
        }
        for names in (settings.keys() - {"readonly"}, settings.keys() & {"readonly"}):
            if names:
                listed = ", ".join(f"{name} = {_quoted(settings[name])}" for name in sorted(names))
                connection.query(f"SET {listed}", "TabSeparated")

    def _drain(self, body: Iterator[bytes], bytes_max: float = math.inf) -> None:
        """Read what is left of a refused body: a client that still sends does not listen.

        Left unread, it would be taken for the next request.
        """
        left = bytes_max
        try:
            for piece in body:
                left -= len(piece)
                if left < 0:
                    self.close_connection = True
                    return
        except (BadBody, OSError):
            self.close_connection = True

    def _send_answer(self, answer: Answer, query_id: str) -> None:
        """Send a result: counted when it is one piece, in chunks when it is more."""
        headers = {
            "X-ClickHouse-Query-Id": query_id,
            "X-ClickHouse-Timezone": "UTC",
            "X-ClickHouse-Server-Display-Name": "countroom",
            "X-ClickHouse-Summary": json.dumps(answer.summary),
        }
        if answer.data_format is not None:
            headers["X-ClickHouse-Format"] = answer.data_format
        # An error that comes before anything is sent keeps its code.
        first, second = next(answer.pieces, b""), next(answer.pieces, None)
        if second is None:
            self._send(200, first, headers)
            return
        self.send_response(200)
        for name, value in {**headers, "Transfer-Encoding": "chunked"}.items():
            self.send_header(name, value)
        self.end_headers()
        try:
            for piece in itertools.chain([first, second], answer.pieces):
                self.wfile.write(b"%x\r\n" % len(piece))
                self.wfile.write(piece)
                self.wfile.write(b"\r\n")
        except Exception as error:
            # The result is cut and must not look whole: no last chunk, and no second answer.
            raise CutShort(str(error)) from error
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def _send_error(self, code: int, message: str, query_id: str) -> None:
        headers = {"X-ClickHouse-Exception-Code": str(code), "X-ClickHouse-Query-Id": query_id}
        try:
            self._send(STATUS_OF_CODE.get(code, 500), message.encode(), headers)
        except OSError:
            self.close_connection = True


def _insert(connection: Any, head: clickhouse_statement.InsertHead, data: Iterator[bytes]) -> Answer:
    """Hand the data to the engine as it arrives; nothing is visible before it is complete."""
    began = time.monotonic_ns()
    inserter = connection.send_insert(head.statement, head.data_format)
    kept: list[bytes] = []
    size = 0
    try:
        for piece in data:
            if piece:
                inserter.append(piece)
                size += len(piece)
                kept.append(piece)
                if size > KEPT_BYTES_MAX or head.data_format != "JSONEachRow":
                    kept.clear()
        done = inserter.finish()
    except BaseException:
        inserter.cancel()
        raise
    if kept and done.rows_written < 2 * _lines(kept) and _only_feeds_views(connection, head.statement):
        # The engine says nothing when a view fails under an insert that is handed over in pieces. Given as a whole
        # it says it, five times as slowly. Where it does not, rows have arrived twice, or a view leaves some out.
        connection.query(f"{head.statement} FORMAT JSONEachRow\n".encode() + b"".join(kept), "TabSeparated")
    written = {"written_rows": str(done.rows_written), "written_bytes": str(done.bytes_written)}
    return Answer(iter(()), None, {"read_rows": "0", **written, "elapsed_ns": str(time.monotonic_ns() - began)})


def _lines(pieces: list[bytes]) -> int:
    # Six times as fast as counting line ends, which Python does byte by byte.
    lines = sum(len(io.BytesIO(piece).readlines()) for piece in pieces)
    return lines - sum(not piece.endswith(b"\n") for piece in pieces[:-1])


def _only_feeds_views(connection: Any, statement: str) -> bool:
    """Whether an insert goes into a table that keeps nothing itself (engine Null), and has views: a landing table."""
    found = _INSERT_INTO.match(statement)
    if found is None:
        return False
    database, table = found.groups()
    answer = connection.query(
        "SELECT count() FROM system.tables WHERE engine = 'Null' AND notEmpty(dependencies_table) "
        f"AND database = {_quoted(database) if database else 'currentDatabase()'} AND name = {_quoted(table)}",
        "TabSeparated",
    )
    return bool(int(bytes(answer.bytes())))


def _query(connection: Any, statement: bytes, default_format: str, values: dict[str, str]) -> Answer:
    """Run a statement without data; a large SELECT is given in the engine's own pieces."""
    sql = statement.decode()
    word = clickhouse_statement.first_word(statement)
    data_format = clickhouse_statement.output_format(sql, default_format)
    if word in clickhouse_statement.STREAMABLE and data_format in clickhouse_statement.STREAMED_FORMATS:
        stream = connection.send_query(sql, data_format, params=values)
        return Answer(_chunks(stream), data_format, {"read_rows": "0"})
    result = connection.query(sql, data_format, params=values)
    whole = bytes(result.bytes() or b"")
    summary = {
        "read_rows": str(result.storage_rows_read()),
        "read_bytes": str(result.storage_bytes_read()),
        "written_rows": str(result.rows_written()),
        "written_bytes": str(result.bytes_written()),
        "result_rows": str(result.rows_read()),
        "elapsed_ns": str(int(result.elapsed() * 1e9)),
    }
    has_result = bool(whole) or word in clickhouse_statement.READING
    return Answer(iter([whole]), data_format if has_result else None, summary)


def _chunks(stream: Any) -> Iterator[bytes]:
    with stream:
        for chunk in stream:
            yield chunk.bytes()


def _form(content_type: str, body: bytes) -> dict[str, str]:
    """Return the fields of a form, as which clients send long statements with parameters."""
    message = BytesParser().parsebytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
    fields = {}
    for part in message.walk():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(content, bytes):
            fields[name] = content.decode()
    return fields


def _read_all(body: Iterator[bytes]) -> bytes:
    whole = bytearray()
    for piece in body:
        whole += piece
        if len(whole) > STATEMENT_BYTES_MAX:
            raise BadBody(f"A statement may have {STATEMENT_BYTES_MAX} bytes.")
    return bytes(whole)


def _quoted(text: str, mark: str = "'") -> str:
    return mark + text.replace("\\", "\\\\").replace(mark, "\\" + mark) + mark


class Server(ThreadingHTTPServer):
    """The listening socket and the engine behind it."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, folder: Path, password: str) -> None:
        import chdb  # noqa: PLC0415 - it takes its time zone from the environment when it is loaded

        self.engine: Any = chdb
        self.folder = str(folder)
        self.credentials = f"{USER}:{password}".encode()
        self._held = self.engine.connect(self.folder)  # the engine lives as long as one connection does
        self._held.query(f"CREATE DATABASE IF NOT EXISTS {DATABASE}", "TabSeparated")
        super().__init__(("127.0.0.1", port), Handler)

    def handle_error(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        """Say in one line that a connection broke; the base class prints a stack."""
        _ = request
        print(f"A connection from {client_address} broke: {sys.exc_info()[1]}", file=sys.stderr)  # noqa: T201 - the log

    def close(self) -> None:
        """Stop listening and close the engine's folder."""
        self.server_close()
        self._held.close()


def main() -> None:
    """Serve until SIGTERM."""
    lifeline.watch()
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--path", type=Path, required=True, help="the data folder of the engine")
    arguments.add_argument("--port", type=int, required=True, help="where to listen, on 127.0.0.1")
    given = arguments.parse_args()
    password = os.environ.pop(PASSWORD_VARIABLE, "")
    if not password:
        sys.exit(f"{PASSWORD_VARIABLE} must hold the password that clients have to give.")
    os.environ["TZ"] = "UTC"
    time.tzset()
    server = Server(given.port, given.path, password)
    for sign in (signal.SIGTERM, signal.SIGINT):
        # shutdown() waits for the loop that this very thread runs.
        signal.signal(sign, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever()
    server.close()
    # Threads of unfinished queries would hold the exit up; what was acknowledged is on disk.
    os._exit(0)


if __name__ == "__main__":
    main()
