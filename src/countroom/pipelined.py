"""A connection to PostgreSQL on which statements follow each other without waiting: libpq's pipeline mode.

A statement is sent while the ones before it are still at work, and PostgreSQL begins it as soon as it has committed
those. Each is a transaction of its own: what one of them is refused costs the others nothing. asyncpg, which does
everything else, sends nothing before it has read the answer (docs/decisions/0032).
"""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final, Self

import asyncpg
import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict

CONNECT_SECONDS: Final = 5
"""What opening the connection may take."""
GRACE_SECONDS: Final = 1.0
"""What a statement may take beyond the time after which PostgreSQL itself gives it up. What it says then costs that
statement alone; a server that says nothing costs the connection, and all that are under way on it."""

Parameter = bytes | str | None
"""A parameter in PostgreSQL's own form: bytes are its binary form, a text its text form; None is NULL."""
Row = tuple[bytes | None, ...]
"""A row whose values are texts in PostgreSQL's form."""

_FIELDS: Final = {
    # What asyncpg reads of an error, by the letters of PostgreSQL's protocol.
    "S": pq.DiagnosticField.SEVERITY,
    "V": pq.DiagnosticField.SEVERITY_NONLOCALIZED,
    "C": pq.DiagnosticField.SQLSTATE,
    "M": pq.DiagnosticField.MESSAGE_PRIMARY,
    "D": pq.DiagnosticField.MESSAGE_DETAIL,
    "s": pq.DiagnosticField.SCHEMA_NAME,
    "t": pq.DiagnosticField.TABLE_NAME,
    "n": pq.DiagnosticField.CONSTRAINT_NAME,
}


def encoded(parameters: Sequence[Parameter]) -> tuple[list[bytes | None], list[pq.Format]]:
    """Return parameters as libpq takes them, and in which form each of them is."""
    values = [one.encode() if isinstance(one, str) else one for one in parameters]
    return values, [pq.Format.TEXT if isinstance(one, str) else pq.Format.BINARY for one in parameters]


class PipelinedConnection:
    """One connection, opened when it is first used and again after it broke. For one event loop."""

    def __init__(
        self, url: str, statements: Sequence[str], *, settings: Mapping[str, str], statement_seconds: float
    ) -> None:
        self._url = url
        self._settings = settings
        self._seconds = statement_seconds
        self._names = {sql: b"s%d" % number for number, sql in enumerate(statements)}
        """Of the statements, each of which is prepared once for a connection."""
        self._open: _Open | None = None
        self._opening = asyncio.Lock()

    async def fetchrow(self, statement: str, parameters: Sequence[Parameter]) -> Row:
        """Run one of the statements, each of which gives one row; return that.

        A statement that takes too long is refused (`asyncpg.QueryCanceledError`). Giving up (a cancelled task) does not
        stop one that was sent.

        Raises:
            asyncpg.PostgresError: PostgreSQL refused it, and nothing of it is left.
            OSError: the connection could not be opened, or broke (`ConnectionError`), or PostgreSQL said nothing for
                too long (`TimeoutError`): whether it was done is not known.
        """
        open_ = self._open
        if open_ is None or open_.is_broken:
            async with self._opening:
                if self._open is None or self._open.is_broken:
                    self._open = await self._connect()
                open_ = self._open
        return await open_.run(self._names[statement], parameters)

    async def close(self) -> None:
        """Close the connection; statements under way are lost."""
        if self._open is not None:
            self._open.give_up(ConnectionError("the connection was closed"))

    async def __aenter__(self) -> Self:
        """Open nothing yet."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close."""
        await self.close()

    async def _connect(self) -> "_Open":
        given = conninfo_to_dict(self._url)
        options = [str(given.get("options") or ""), f"-c statement_timeout={round(self._seconds * 1_000)}"]
        options += [f"-c {name}={value}" for name, value in self._settings.items()]
        try:
            connection = await psycopg.AsyncConnection.connect(
                self._url, autocommit=True, connect_timeout=CONNECT_SECONDS, options=" ".join(options).strip()
            )
        except psycopg.OperationalError as error:
            raise ConnectionError(str(error)) from error
        open_ = _Open(connection, self._seconds + GRACE_SECONDS)
        try:
            await open_.prepare(self._names)
        except BaseException:
            open_.give_up(ConnectionError("the connection could not be prepared"))
            raise
        return open_


class _Open:
    """A connection that is there. The first of its statements without an answer is the one that is at work."""

    def __init__(self, connection: "psycopg.AsyncConnection[tuple[object, ...]]", seconds: float) -> None:
        self.is_broken = False
        self._seconds = seconds
        self._connection = connection  # kept: it closes when it is forgotten
        self._libpq = connection.pgconn
        self._libpq.nonblocking = 1
        self._libpq.enter_pipeline_mode()
        self._loop = asyncio.get_running_loop()
        self._socket = self._libpq.socket
        self._unanswered: deque[asyncio.Future[Row]] = deque()
        """Who waits."""
        self._until = 0.0
        """The loop's time until which the first of them waits."""
        self._answer: Row | BaseException = ()
        """What has come for the first of them, until PostgreSQL says that it is through with it."""
        self._is_writing = False
        self._timer: asyncio.TimerHandle | None = None
        self._loop.add_reader(self._socket, self._read)

    async def prepare(self, names: Mapping[str, bytes]) -> None:
        """Prepare all statements, in one round trip."""
        for sql, name in names.items():
            self._libpq.send_prepare(name, sql.encode())
        await self._sent()

    def run(self, name: bytes, parameters: Sequence[Parameter]) -> "asyncio.Future[Row]":
        """Send a prepared statement; its future has the row."""
        values, formats = encoded(parameters)
        try:
            self._libpq.send_query_prepared(name, values, formats)
        except psycopg.OperationalError as error:
            self.give_up(ConnectionError(str(error)))
            raise ConnectionError(str(error)) from error
        return self._sent()

    def give_up(self, reason: Exception) -> None:
        """Close the connection; whoever waits gets the reason."""
        if self.is_broken:
            return
        self.is_broken = True
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        if self._timer is not None:
            self._timer.cancel()
        self._libpq.finish()
        for future in self._unanswered:
            if not future.done():
                future.set_exception(reason)
        self._unanswered.clear()

    def _sent(self) -> "asyncio.Future[Row]":
        future: asyncio.Future[Row] = self._loop.create_future()
        if not self._unanswered:
            self._until = self._loop.time() + self._seconds
        self._unanswered.append(future)
        if self._timer is None:
            self._timer = self._loop.call_at(self._until, self._look_at_the_time)
        try:
            self._libpq.pipeline_sync()
        except psycopg.OperationalError as error:
            self.give_up(ConnectionError(str(error)))
        else:
            self._write()
        return future

    def _write(self) -> None:
        """Write what there is; the rest when the socket takes more."""
        try:
            is_more = self._libpq.flush() == 1
        except psycopg.OperationalError as error:
            self.give_up(ConnectionError(str(error)))
            return
        if is_more != self._is_writing:
            self._is_writing = is_more
            if is_more:
                self._loop.add_writer(self._socket, self._write)
            else:
                self._loop.remove_writer(self._socket)

    def _read(self) -> None:
        try:
            self._libpq.consume_input()
            while self._unanswered and not self._libpq.is_busy():
                result = self._libpq.get_result()
                if result is not None:  # None stands between a statement's results and what comes next
                    self._take(result)
        except psycopg.OperationalError as error:
            self.give_up(ConnectionError(str(error)))
            return
        if self._is_writing:
            self._write()

    def _take(self, result: pq.abc.PGresult) -> None:
        if result.status == pq.ExecStatus.PIPELINE_SYNC:
            future = self._unanswered.popleft()
            self._until = self._loop.time() + self._seconds
            answer, self._answer = self._answer, ()
            if future.done():
                return  # whoever waited has gone
            if isinstance(answer, BaseException):
                future.set_exception(answer)
            else:
                future.set_result(answer)
        elif result.status == pq.ExecStatus.TUPLES_OK:
            self._answer = tuple([result.get_value(0, column) for column in range(result.nfields)])
        elif result.status != pq.ExecStatus.COMMAND_OK and not isinstance(self._answer, BaseException):
            # Of several the first one: a statement after one that failed is only said to have been left out.
            self._answer = _error(result)

    def _look_at_the_time(self) -> None:
        """Give up when the statement that is at work has taken too long: those behind it would have to wait, too."""
        self._timer = None
        if self._unanswered and self._until <= self._loop.time():
            self.give_up(TimeoutError("PostgreSQL did not answer in time"))
        elif self._unanswered:
            self._timer = self._loop.call_at(self._until, self._look_at_the_time)


def _error(result: pq.abc.PGresult) -> asyncpg.PostgresError:
    """Return a refusal of PostgreSQL's as the exception that asyncpg would have raised."""
    found = {letter: result.error_field(field) for letter, field in _FIELDS.items()}
    said = {letter: value.decode(errors="replace") for letter, value in found.items() if value is not None}
    error: asyncpg.PostgresError = asyncpg.PostgresError.new(said)
    return error
