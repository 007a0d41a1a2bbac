"""ClickHouse's engine in one process of its own, behind the HTTP interface of ``clickhouse_server``."""

import http.client
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

from countroom.embedded import process
from countroom.embedded.lifeline import Lifeline

USER: Final = "countroom"
DATABASE: Final = "countroom"
PASSWORD_VARIABLE: Final = "COUNTROOM_CLICKHOUSE_PASSWORD"  # noqa: S105 - the name of a variable


class ClickHouse:
    """One ClickHouse server on 127.0.0.1. It ends with its owner, however that ends."""

    name = "ClickHouse"

    def __init__(self, data_dir: Path, password: str) -> None:
        self.folder = data_dir / "clickhouse"
        self.log = data_dir / "logs" / "clickhouse.log"
        self.password = password
        self.port: int | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self._lifeline: Lifeline | None = None

    @property
    def url(self) -> str:
        """Return the address for clients; valid after ``start``."""
        return f"http://{USER}:{self.password}@127.0.0.1:{self.port}/{DATABASE}"

    def is_running(self) -> bool:
        """Whether its process lives."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start it and return when it answers; a second start keeps the port."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The pid file lies beside the folder: what is inside belongs to the engine.
        pid_file = self.folder.with_suffix(".pid")
        orphan = process.read_pid(pid_file)
        if orphan is not None:
            process.end_orphan(orphan, self.folder, signal.SIGTERM)
        if self.port is None:
            self.port = process.keep_port(self.folder.with_suffix(".port"))
        self.stop()
        self._lifeline = Lifeline()
        command = ["-m", "countroom.embedded.clickhouse_server", "--path", str(self.folder), "--port", str(self.port)]
        self.process = process.start(
            [sys.executable, *command],
            log=self.log,
            environment={
                **process.python_environment(),
                PASSWORD_VARIABLE: self.password,
                **self._lifeline.environment(),
            },
            pass_fds=[self._lifeline.read_end],
        )
        pid_file.write_text(f"{self.process.pid}\n")
        process.wait_until(self._answers, self.process, name=self.name, log=self.log)

    def stop(self) -> None:
        """Stop it: running queries are given up, what was acknowledged is on disk."""
        if self.process is not None:
            process.stop(self.process, signal.SIGTERM, 3.0)
            self.process = None
        if self._lifeline is not None:
            self._lifeline.close()
            self._lifeline = None

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2.0)
        try:
            connection.request("GET", "/ping")
            return connection.getresponse().read() == b"Ok.\n"
        except OSError:
            return False
        finally:
            connection.close()
