"""Apache Kafka itself on Java: one broker that is its own controller (KRaft), on 127.0.0.1.

Started for ``countroom up --kafka`` and for the tests. Its jars are those of ``deploy/kafka/pom.xml``,
which ``requirements/install`` puts into the environment.
"""

import base64
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Final

from countroom.embedded import process

JARS: Final = Path(sys.prefix) / "kafka"
JAVA_MIN: Final = 17
API_VERSIONS: Final = 18
"""The number of Kafka's request by which a client asks what a broker can do."""
HOW_TO_INSTALL: Final = (
    "Kafka needs Java 17 or newer, and its jars, which Maven fetches. On Debian or Ubuntu: "
    "apt-get install default-jre-headless maven; then: requirements/install kafka. "
    "Or set COUNTROOM_KAFKA_SERVERS to a Kafka that runs elsewhere."
)

PROPERTIES: Final = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={folder}/log
# A topic is made by whoever owns its name, with its partitions; one that a typo made would be read by nobody.
auto.create.topics.enable=false
# One broker has no second copy of anything.
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
offsets.topic.num.partitions=4
transaction.state.log.num.partitions=4
group.initial.rebalance.delay.ms=0
# What a killed broker had announced of itself holds up its successor for so long.
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
"""


class Kafka:
    """One Kafka broker, with its topics in ``folder``."""

    name = "Kafka"

    def __init__(self, data_dir: Path) -> None:
        self.folder = data_dir / "kafka"
        self.log = data_dir / "logs" / "kafka.log"
        self.port: int | None = None
        self.controller_port: int | None = None
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Return the address for clients; valid after ``start``."""
        return f"127.0.0.1:{self.port}"

    def is_running(self) -> bool:
        """Whether its process lives."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start it and return when it answers; a second start keeps the ports.

        Raises:
            StoreFailed: Java or the jars are missing, with how to install them; or it does not start.
        """
        java = find_java()
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        pid_file = self.folder / "kafka.pid"
        orphan = process.read_pid(pid_file)
        if orphan is not None:
            process.end_orphan(orphan, self.folder, signal.SIGTERM)
        if self.port is None:
            self.port = process.keep_port(self.folder / "port")
            self.controller_port = process.keep_port(self.folder / "controller.port")
        properties = self.folder / "server.properties"
        properties.write_text(
            PROPERTIES.format(port=self.port, controller_port=self.controller_port, folder=self.folder)
        )
        if not (self.folder / "log" / "meta.properties").exists():
            self._format(java, properties)
        self.process = process.start(
            [*command(java, JARS, "-Xms128m", "-Xmx512m"), "kafka.Kafka", properties],
            log=self.log,
            environment=ENVIRONMENT,
        )
        pid_file.write_text(f"{self.process.pid}\n")
        process.wait_until(self._answers, self.process, name=self.name, log=self.log)

    def stop(self) -> None:
        """Stop it; what was acknowledged is on disk afterwards."""
        if self.process is not None:
            process.stop(self.process, signal.SIGTERM, 4.0)
            self.process = None

    def _format(self, java: Path, properties: Path) -> None:
        """Give the empty folder its identity."""
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        # Kafka's tools take an id that begins with a dash for an option.
        cluster = re.sub("^-", "A", cluster)
        done = subprocess.run(
            [*command(java, JARS), "kafka.tools.StorageTool", "format", "-t", cluster, "-c", properties],
            env=ENVIRONMENT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise process.StoreFailed(f"Kafka's folder could not be made:\n{(done.stdout + done.stderr)[-500:]}")

    def _answers(self) -> bool:
        """Whether the broker has left its start behind: before that it accepts connections and says nothing."""
        request = struct.pack(">hhih", API_VERSIONS, 0, 1, -1)
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port or 0), timeout=1.0) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            return len(connection.recv(4)) > 0
        return False


ENVIRONMENT: Final = {"PATH": process.python_environment()["PATH"], "TZ": "UTC"}


def command(java: Path, jars: Path, *options: str) -> list[str | Path]:
    """Return how Java is started on the jars of a folder, up to the name of the class."""
    logging = ("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true")
    return [java, *options, *logging, "-cp", f"{jars}/*"]


def find_java(jars: Path | None = None, how_to_install: str = HOW_TO_INSTALL) -> Path:
    """Return the ``java`` that runs what is in a folder of jars: Kafka, unless another is named.

    Raises:
        StoreFailed: there is none, it is too old, or the jars are missing.
    """
    found = shutil.which("java")
    if found is None or not (jars or JARS).is_dir():
        raise process.StoreFailed(how_to_install)
    version = subprocess.run([found, "-version"], capture_output=True, text=True, check=False).stderr
    number = re.search(r'version "(\d+)', version)
    if number is None or int(number[1]) < JAVA_MIN:
        raise process.StoreFailed(how_to_install)
    return Path(found)
