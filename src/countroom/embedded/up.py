"""``countroom up``: the whole casino with one command, watched over until somebody stops it."""

import asyncio
import http.client
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import FrameType
from typing import Final, Self

from rich.console import Console
from rich.markup import escape

from countroom.embedded import connect, process, secrets
from countroom.embedded import stores as embedded_stores
from countroom.embedded.kafka import Kafka
from countroom.embedded.lifeline import Lifeline
from countroom.embedded.stores import Stores
from countroom.embedded.supervised import Backoff, Child, children
from countroom.postgres import Database
from countroom.refusal import Refusal
from countroom.settings import Settings

READY_SECONDS: Final = 90.0
"""How long the web may take until it says that it is ready."""
WATCH_SECONDS: Final = 0.2
STOP_STAGES: Final = (
    (("bots",), 1.0),
    (("sandbox", "web"), 2.0),
    (("jobs", "pipeline", "relay", "debezium", "load"), 2.0),
)
"""Who stops when, and how long before it is killed; with the stores' 4 s all is over within 10 s."""
RESTARTS_MAX: Final = 3
"""A web process that ends so often before it was ever ready will not become so."""


class CannotStart(Refusal):
    """Countroom cannot be started here."""

    kind = "conflict"
    code = "cannot_start"


def run(
    settings: Settings,
    *,
    bots: bool = True,
    kafka: bool = False,
    debezium: bool = False,
    console: Console | None = None,
) -> int:
    """Start everything, keep it running until Ctrl-C or SIGTERM, stop everything.

    With ``kafka``, or with one named by the settings, facts go through Kafka; with ``debezium`` too, and Debezium
    takes them there.

    Returns the exit code: 0 when it was asked to stop, 1 when it could not start.
    """
    screen = console or Console(highlight=False)
    with _Signals() as signals:
        try:
            if debezium:
                connect.find_java()
            with embedded_stores.owned(
                settings, lambda line: screen.print(f"  {escape(line)}", soft_wrap=True), kafka=kafka or debezium
            ) as stores:
                refuse_used_ports(settings)
                _Casino(stores, screen, signals, bots=bots, debezium=debezium).run()
        except Refusal as refusal:
            screen.print(f"[bold red]Countroom cannot start.[/] {escape(refusal.sentence)}", soft_wrap=True)
            return 1
        except _Interrupted:
            pass
        screen.print("Stopped. The data stays; start again to continue.")
    return 0


def refuse_used_ports(settings: Settings) -> None:
    """Find out, before anything starts, whether all ports can be had.

    Raises:
        CannotStart: with a sentence for each port in use, and the setting that names another.
    """
    wanted = [
        (settings.host, settings.port, "COUNTROOM_PORT", "the web"),
        ("127.0.0.1", settings.sandbox_psp_port, "COUNTROOM_SANDBOX_PSP_PORT", "the sandbox PSP"),
        ("127.0.0.1", settings.sandbox_provider_port, "COUNTROOM_SANDBOX_PROVIDER_PORT", "the sandbox game provider"),
    ]
    problems = [
        f"Port {port}, for {what}, is in use by another program: stop that, or set {variable} to another port."
        for host, port, variable, what in wanted
        if not process.port_is_free(port, host)
    ]
    if problems:
        raise CannotStart("\n".join(problems))


class _Interrupted(BaseException):
    """Somebody asked to stop while things were still being started. Like KeyboardInterrupt, no error."""


class _Signals:
    """Ctrl-C and SIGTERM: they interrupt the start, and are waited for afterwards."""

    def __init__(self) -> None:
        self.asked_to_stop = False
        self.may_interrupt = False
        self._before: dict[signal.Signals, Callable[[int, FrameType | None], object] | int | None] = {}

    def __enter__(self) -> Self:
        for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self._before[sign] = signal.signal(sign, self._asked)
        return self

    def __exit__(self, *_: object) -> None:
        for sign, handler in self._before.items():
            signal.signal(sign, handler)

    def _asked(self, _number: int, _frame: FrameType | None) -> None:
        self.asked_to_stop = True
        if self.may_interrupt:
            self.may_interrupt = False  # once: the second Ctrl-C must not break the stopping
            raise _Interrupted

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """Let a signal end the block at once."""
        if self.asked_to_stop:
            raise _Interrupted
        self.may_interrupt = True
        try:
            yield
        finally:
            self.may_interrupt = False


class _Casino:
    """All that runs: the stores, then the processes on them."""

    def __init__(self, stores: Stores, screen: Console, signals: _Signals, *, bots: bool, debezium: bool) -> None:
        self.stores = stores
        self.screen = screen
        self.signals = signals
        self.bots = bots
        self.debezium = debezium
        self.children: list[Child] = []
        self.ailing: dict[str, Backoff] = {}

    def run(self) -> None:
        began = time.monotonic()
        with Lifeline() as lifeline:
            try:
                with self.signals.interrupting():
                    self.stores.start(self._done)
                    self._prepare()
                    self._start_children(lifeline)
                    self._wait_until_ready(lifeline)
                # Last, and not to be interrupted: its password is shown once, or never.
                sign_in = asyncio.run(_first_staff(self.stores.settings))
                self._greet(sign_in, time.monotonic() - began)
                while not self.signals.asked_to_stop:
                    self._watch(lifeline)
                    time.sleep(WATCH_SECONDS)
            finally:
                with suppress(OSError):  # the terminal may be gone
                    self._say("Stopping …")
                self._stop_children()

    def _prepare(self) -> None:
        """Bring both schemas up to date and make the demo's data."""
        # Imported when needed: each brings its libraries, and `countroom --help` should be quick.
        from countroom.demo import seed  # noqa: PLC0415
        from countroom.schema import migrate  # noqa: PLC0415
        from countroom.warehouse import schema as warehouse  # noqa: PLC0415

        settings = self.stores.settings
        assert settings.database_url
        assert settings.clickhouse_url
        with self._timed("schema"):
            asyncio.run(migrate.apply(settings.database_url))
            warehouse.migrate(settings.clickhouse_url)
        with self._timed("demo data"):
            asyncio.run(seed.seed(settings, provider_key=secrets.load(settings.data_dir).sandbox_provider_key))

        self._empty_kafka()

    def _empty_kafka(self) -> None:
        """Load what an embedded Kafka still holds before facts go another way; remember that one holds some."""
        from countroom.warehouse import consume  # noqa: PLC0415 - as above
        from countroom.warehouse.dead_letters import ContractBrokenError  # noqa: PLC0415

        settings = self.stores.settings
        mark = settings.data_dir / "kafka" / "holds-facts"
        if "kafka_servers" in self.stores.members:
            mark.touch()
        elif mark.exists():
            with self._timed("what Kafka still held"):
                broker = Kafka(settings.data_dir)
                try:
                    broker.start()
                    brokers = {"bootstrap.servers": broker.url}
                    consume.run(settings, brokers, threading.Event(), drain=True)
                except ContractBrokenError as error:
                    raise CannotStart(str(error)) from error
                finally:
                    broker.stop()
                mark.unlink()

    def _start_children(self, lifeline: Lifeline) -> None:
        settings = self.stores.settings
        self.children = children(settings, secrets.load(settings.data_dir), bots=self.bots, debezium=self.debezium)
        for child in self.children:
            if child.name != "bots":  # they play once there is something to play at
                child.start(lifeline)

    def _wait_until_ready(self, lifeline: Lifeline) -> None:
        deadline = time.monotonic() + READY_SECONDS
        web = next(child for child in self.children if child.name == "web")
        with self._timed("web, pipeline and jobs"):
            while not _is_ready(self.stores.settings):
                self._watch(lifeline, bots_too=False)
                if web.restarts >= RESTARTS_MAX or time.monotonic() > deadline:
                    raise CannotStart(
                        f"The web does not become ready. Its log, {web.log}, ends:\n{process.last_lines(web.log, 12)}"
                    )
                time.sleep(0.05)
        for child in self.children:
            if child.name == "bots":
                child.start(lifeline)

    def _watch(self, lifeline: Lifeline, *, bots_too: bool = True) -> None:
        """Start again what has ended: stores first, everything else needs them."""
        for store in self.stores.members.values():
            if not store.is_running():
                backoff = self.ailing.setdefault(store.name, Backoff())
                if backoff.due_at is None:
                    self._announce(store.name, "has ended", backoff)
                self._revive(store.name, backoff, store.start)
        for child in self.children:
            if not child.is_running() and (bots_too or child.name != "bots"):
                if child.backoff.due_at is None:
                    child.restarts += 1
                    self._announce(child.name, child.ended(), child.backoff)
                self._revive(child.name, child.backoff, partial(child.start, lifeline))

    def _announce(self, name: str, how: str, backoff: Backoff) -> None:
        self._say(f"  [yellow]{name} {how}[/]; it is started again in {backoff.failed():g} s.")

    def _revive(self, name: str, backoff: Backoff, start: Callable[[], None]) -> None:
        if not backoff.is_due():
            return
        try:
            start()
        except (Refusal, OSError) as problem:
            self._say(f"  [red]{name}:[/] {escape(str(problem))}\n  Trying again in {backoff.failed():g} s.")
        else:
            backoff.started()
            self._say(f"  [green]{name} runs again.[/]")

    def _stop_children(self) -> None:
        for names, seconds in STOP_STAGES:
            stage = [child for child in self.children if child.name in names]
            for child in stage:
                child.ask_to_end()
            deadline = time.monotonic() + seconds
            for child in stage:
                child.end(deadline)

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self._done(what, time.monotonic() - began)

    def _done(self, what: str, seconds: float) -> None:
        self._say(f"  [green]✓[/] {what:<28}{seconds:5.1f} s")

    def _say(self, line: str) -> None:
        self.screen.print(line, soft_wrap=True)

    def _greet(self, sign_in: tuple[str, str] | None, seconds: float) -> None:
        settings = self.stores.settings
        lines = [
            f"\n[bold]Countroom runs[/] (started in {seconds:.1f} s; Ctrl-C stops it)",
            f"  back office          [bold]{_address(settings)}[/]",
        ]
        if sign_in is not None:
            email, password = sign_in
            lines.append(f"  sign in as           [bold]{escape(email)}[/]  password [bold]{escape(password)}[/]")
            lines.append("                       (shown this once; `countroom staff reset-password` makes a new one)")
        lines += [
            f"  player's lobby       [bold]{_address(settings)}/lobby[/]",
            f"  sandbox PSP          http://127.0.0.1:{settings.sandbox_psp_port}",
            f"  sandbox provider     http://127.0.0.1:{settings.sandbox_provider_port}",
            f"  logs                 {escape(str(settings.data_dir / 'logs'))}",
        ]
        self._say("\n".join(lines))


async def _first_staff(settings: Settings) -> tuple[str, str] | None:
    from countroom.players import staff  # noqa: PLC0415 - as above

    assert settings.database_url
    database = await Database.connect(settings.database_url, size_max=1)
    try:
        return await staff.ensure_first(database)
    finally:
        await database.close()


def _local_host(settings: Settings) -> str:
    """Return where this machine itself reaches the web: an address that means "all" is none to call."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(settings.host, settings.host)  # noqa: S104 - translated away


def _address(settings: Settings) -> str:
    host = _local_host(settings)
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def _is_ready(settings: Settings) -> bool:
    connection = http.client.HTTPConnection(_local_host(settings), settings.port, timeout=2.0)
    try:
        with suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/health/ready")
            return connection.getresponse().status == 200  # noqa: PLR2004 - HTTP's own
        return False
    finally:
        connection.close()
