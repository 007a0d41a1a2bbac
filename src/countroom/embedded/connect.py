"""Kafka Connect itself on Java, with Debezium as its plugin: one worker, on 127.0.0.1.

Its jars are those of ``deploy/debezium/*.pom.xml``, which ``requirements/install`` puts into the environment, and
its settings ``deploy/debezium/worker.properties``, with the addresses of here.
"""

import http.client
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from psycopg2.extensions import parse_dsn

from countroom.embedded import kafka, process
from countroom.events import slot

JARS: Final = Path(sys.prefix) / "connect"
PLUGINS: Final = Path(sys.prefix) / "connect-plugins"
WORKER: Final = Path(__file__).resolve().parents[3] / "deploy" / "debezium" / "worker.properties"
HOW_TO_INSTALL: Final = (
    "Debezium needs Java 17 or newer, and its jars, which Maven fetches. On Debian or Ubuntu: "
    "apt-get install default-jre-headless maven; then: requirements/install debezium."
)
START_SECONDS: Final = 180.0
"""It looks through a hundred jars for what it can run: a quarter of a minute, and minutes on a busy machine."""
STOP_SECONDS: Final = 1.5
_ANSWERED: Final = 200


def find_java() -> Path:
    """Return the ``java`` that runs Connect.

    Raises:
        StoreFailed: there is none, it is too old, or the jars are missing.
    """
    return kafka.find_java(JARS if PLUGINS.is_dir() else PLUGINS, HOW_TO_INSTALL)


def environment(database_url: str) -> dict[str, str]:
    """Return the variables by which the connector finds a database; it reads passwords from nowhere else."""
    parts = parse_dsn(database_url)
    return {
        "PGHOST": parts.get("host", "127.0.0.1"),
        "PGPORT": parts.get("port", "5432"),
        "PGUSER": parts.get("user", ""),
        "PGPASSWORD": parts.get("password", ""),
        "PGDATABASE": parts.get("dbname", ""),
        "COUNTROOM_SLOT": slot.name_for(parts.get("dbname", "")),
    }


class Connect:
    """One worker of Kafka Connect. What it keeps is in topics; ``data_dir`` holds its settings and its log."""

    name = "Kafka Connect"

    def __init__(self, data_dir: Path, servers: str, variables: Mapping[str, str]) -> None:
        self.folder = data_dir / "connect"
        self.log = data_dir / "logs" / "connect.log"
        self.port: int | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self._servers = servers
        self._variables = variables

    @property
    def url(self) -> str:
        """Return the address of its REST interface; valid after ``start``."""
        return f"http://127.0.0.1:{self.port}"

    def is_running(self) -> bool:
        """Whether its process lives."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start it and return when it answers.

        Raises:
            StoreFailed: Java or the jars are missing, with how to install them; or it does not start.
        """
        java = find_java()
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        pid_file = self.folder / "connect.pid"
        orphan = process.read_pid(pid_file)
        if orphan is not None:
            process.end_orphan(orphan, self.folder, signal.SIGTERM, STOP_SECONDS)
        self.port = process.keep_port(self.folder / "port")
        properties = self.folder / "worker.properties"
        # Of two lines with one name, Java takes the last.
        properties.write_text(
            f"{WORKER.read_text('utf-8')}\nbootstrap.servers={self._servers}\nplugin.path={PLUGINS}\nlisteners={self.url}\n"
        )
        # In our own session: whoever ends our group ends it, too.
        self.process = process.start(
            [
                *kafka.command(java, JARS, "-Xms128m", "-Xmx512m"),
                "org.apache.kafka.connect.cli.ConnectDistributed",
                properties,
            ],
            log=self.log,
            environment={**kafka.ENVIRONMENT, **self._variables},
            own_session=False,
        )
        pid_file.write_text(f"{self.process.pid}\n")
        try:
            process.wait_until(self._answers, self.process, name=self.name, log=self.log, seconds=START_SECONDS)
        except process.StoreFailed:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop it. Killed or stopped, it loses nothing: what it has not confirmed is read again."""
        if self.process is not None:
            process.stop(self.process, signal.SIGTERM, STOP_SECONDS)
            self.process = None

    def _answers(self) -> bool:
        """Whether it works: it answers before it has joined its group, and then that nothing is there."""
        with (
            suppress(OSError, http.client.HTTPException),
            closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=5.0)) as connection,
        ):
            connection.request("GET", "/connectors")
            answer = connection.getresponse()
            answer.read()
            return answer.status == _ANSWERED
        return False
