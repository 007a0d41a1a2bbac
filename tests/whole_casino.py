"""`countroom up` as an operator starts it: on a folder and ports of its own, seen from outside."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import psutil
import psycopg2

from countroom.embedded.postgres import place_of_cluster
from countroom.embedded.process import free_port

OWNER: Final = "owner"
VICTIMS: Final = {
    # What a process is called here, and what its command line contains.
    "PostgreSQL": "postgres -D",
    "Valkey": "valkey-server",
    "ClickHouse": "countroom.embedded.clickhouse_server",
    "pipeline": "-m countroom pipeline",
    "web": "-m countroom serve",
    "jobs": "-m countroom work",
}
THROUGH_KAFKA: Final = {
    **{name: line for name, line in VICTIMS.items() if name != "pipeline"},
    "Kafka": "kafka.Kafka",
    "relay": "-m countroom relay",
    "loader": "-m countroom load",
}
CHECKS_MAX: Final = 4
BACK_SECONDS: Final = 60.0
"""How long anything may be away: PostgreSQL reads its log, restarts wait longer each time."""


class WholeCasino:
    """A whole casino. What it says is in ``said``."""

    def __init__(self, data: Path, *, bots: bool, kafka: bool) -> None:
        self.data = data
        self.kafka = kafka
        """Whether facts go through Kafka, from the next start on."""
        self.bots = bots
        self.port = free_port()
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.endswith("_URL")},
            "COUNTROOM_DATA": str(data),
            "COUNTROOM_PORT": str(self.port),
            "COUNTROOM_SANDBOX_PSP_PORT": str(free_port()),
            "COUNTROOM_SANDBOX_PROVIDER_PORT": str(free_port()),
        }
        self.owner: psutil.Popen | None = None
        self.said = data.parent / "up.log"

    def start(self) -> None:
        options = [*(["--kafka"] if self.kafka else []), *([] if self.bots else ["--no-bots"])]
        command = [sys.executable, "-m", "countroom", "up", *options]
        with self.said.open("ab") as log:
            self.owner = psutil.Popen(command, env=self.environment, stdout=log, stderr=log)
        self.wait_until_whole()

    def stop(self) -> None:
        assert self.owner is not None
        left = self.owner.children(recursive=True) if self.owner.poll() is None else []
        with contextlib.suppress(psutil.NoSuchProcess):
            self.owner.send_signal(signal.SIGINT)
        code = self.owner.wait(20)
        _, alive = psutil.wait_procs(left, timeout=5)
        for process in alive:
            process.kill()
        assert (code, alive) == (0, []), self.said.read_text()

    @property
    def victims(self) -> dict[str, str]:
        """What runs, and what each command line contains."""
        return THROUGH_KAFKA if self.kafka else VICTIMS

    def find(self, name: str) -> psutil.Process | None:
        assert self.owner is not None
        if name == OWNER:
            return self.owner
        for child in self.owner.children():
            with contextlib.suppress(psutil.NoSuchProcess):
                if self.victims[name] in " ".join(child.cmdline()):
                    return child
        return None

    def is_whole(self) -> bool:
        return all(self.find(name) for name in self.victims) and self.answers()

    def answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        with contextlib.closing(connection), contextlib.suppress(OSError, ValueError, http.client.HTTPException):
            connection.request("GET", "/health/ready")
            return all(state == "ready" for state in json.load(connection.getresponse())["stores"].values())
        return False

    def wait_until_whole(self) -> None:
        self.wait_for(self.is_whole, "it to be whole")

    def wait_for(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + BACK_SECONDS
        while not condition():
            assert self.owner is not None
            assert self.owner.poll() is None, self.said.read_text()
            assert time.monotonic() < deadline, f"waited in vain for {what}:\n{self.said.read_text()}"
            time.sleep(0.05)

    def kill(self, name: str) -> None:
        """Kill -9, and wait until everything is there again."""
        victim = self.find(name)
        assert victim is not None
        family = victim.children(recursive=True) if name == OWNER else []
        victim.kill()
        if name == OWNER:
            victim.wait(10)
            self.start()
            # Nothing of the first life goes on beside the second.
            _, alive = psutil.wait_procs(family, timeout=10)
            assert alive == []
        else:
            self.wait_for(lambda: self.find(name) not in (None, victim), f"{name} to be started again")
            self.wait_until_whole()

    def transactions(self) -> int:
        """How many transactions there are; -1 while PostgreSQL cannot say."""
        with contextlib.suppress(psycopg2.Error, OSError, ValueError):
            address = json.loads((self.data / "run" / "stores.json").read_text())["database_url"]
            with contextlib.closing(psycopg2.connect(address)) as connection, connection.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM transactions")
                row = cursor.fetchone()
                assert row is not None
                return int(row[0])
        return -1

    def play_on(self, transactions: int) -> None:
        """Wait until that many more have been committed."""
        wanted = max(self.transactions(), 0) + transactions
        self.wait_for(lambda: self.transactions() >= wanted, f"{transactions} more transactions")

    def check(self) -> subprocess.CompletedProcess[str]:
        """Run `countroom check`; again, where a busy machine's pipeline has not caught up with play in its 30 s."""
        for _ in range(CHECKS_MAX):
            proof = subprocess.run(
                [sys.executable, "-m", "countroom", "check"],
                env=self.environment,
                capture_output=True,
                text=True,
                timeout=BACK_SECONDS,
                check=False,
            )
            if "did not catch up in time" not in proof.stdout:
                break
        return proof


@contextlib.contextmanager
def whole_casino(*, bots: bool, kafka: bool = False) -> Iterator[WholeCasino]:
    """Start a casino, and stop it with Ctrl-C; it must leave no process."""
    folder = Path(tempfile.mkdtemp(prefix="countroom-whole-"))
    folder.chmod(0o711)  # so that PostgreSQL, not root, may walk through
    casino = WholeCasino(folder / "data", bots=bots, kafka=kafka)
    try:
        casino.start()
        yield casino
        casino.stop()
    finally:
        if casino.owner is not None and casino.owner.poll() is None:
            for process in [*casino.owner.children(recursive=True), casino.owner]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        if (folder / "data" / "postgresql.json").exists():
            shutil.rmtree(place_of_cluster(folder / "data", print).parent)
        shutil.rmtree(folder)
