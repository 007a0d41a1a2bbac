"""P6 on three brokers: one killed for good costs nothing, of three that lose two nothing is lost and all goes on.

Half a minute and a gigabyte for three brokers: `make torture` runs it, `make test` does not.
"""

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from confluent_kafka.admin import AdminClient
from msgspec.structs import replace
from pipeline_rows import Books, books, warehouse
from relaying import running_relay
from test_consume import running_loader

from countroom.embedded import kafka, process
from countroom.embedded.kafka import Kafka
from countroom.settings import Settings
from countroom.warehouse import reconcile
from folders import data_folder
from patience import until

CLUSTER: Final = "MkU3OEVBNTcwNTJENDM2Qg"
ROWS: Final = 1_000
"""Written at each step."""
SLOT: Final = "SELECT confirmed_flush_lsn - '0/0' FROM pg_replication_slots WHERE database = current_database()"


class Broker(Kafka):
    """One of three, each a controller, too."""

    def __init__(self, folder: Path, number: int, voters: dict[int, int]) -> None:
        super().__init__(folder / str(number))
        self.number, self.voters = number, voters
        self.port, self.controller_port = process.free_port(), voters[number]

    def start(self) -> None:
        """Start it; it answers once it has found another one."""
        java = kafka.find_java()
        self.folder.mkdir(parents=True, exist_ok=True)
        properties = self.folder / "server.properties"
        voters = ",".join(f"{number}@127.0.0.1:{port}" for number, port in self.voters.items())
        text = kafka.PROPERTIES.format(port=self.port, controller_port=self.controller_port, folder=self.folder)
        changed = {"node.id": self.number, "controller.quorum.voters": voters, "offsets.topic.replication.factor": 3,
                   "transaction.state.log.replication.factor": 3, "transaction.state.log.min.isr": 2}  # fmt: skip
        kept = [line for line in text.splitlines() if line.partition("=")[0] not in changed]
        properties.write_text("\n".join([*kept, *(f"{name}={value}" for name, value in changed.items())]))
        if not (self.folder / "log" / "meta.properties").exists():
            self._format(java, properties)
        self.process = process.start(
            [*kafka.command(java, kafka.JARS, "-Xms64m", "-Xmx256m"), "kafka.Kafka", properties],
            log=self.log,
            environment=kafka.ENVIRONMENT,
        )

    def _format(self, java: Path, properties: Path) -> None:
        tool = [*kafka.command(java, kafka.JARS), "kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", properties]
        subprocess.run(tool, env=kafka.ENVIRONMENT, capture_output=True, check=True)

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@contextmanager
def three() -> Iterator[list[Broker]]:
    with data_folder() as folder:
        voters = {number: process.free_port() for number in (1, 2, 3)}
        brokers = [Broker(folder, number, voters) for number in voters]
        try:
            for one in brokers:
                one.start()
            for one in brokers:
                assert one.process is not None
                process.wait_until(one._answers, one.process, name=one.name, log=one.log)
            yield brokers
        finally:
            for one in brokers:
                if one.is_running():
                    one.kill()


@pytest.mark.timeout(0)
def test_a_broker_killed_for_good_costs_nothing_and_two_of_three_lose_nothing(settings: Settings) -> None:
    with three() as brokers, books(settings) as book:
        servers = {"bootstrap.servers": ",".join(one.url for one in brokers)}
        through_kafka = replace(settings, kafka_servers=servers["bootstrap.servers"])
        user = book.player()
        ids = book.move_many(user, ROWS)
        with running_relay(settings, servers), running_loader(settings, servers):
            until(lambda: bool(book.ask("SELECT 1 FROM relay_copies WHERE topic = 'users'")), 60)
            described = AdminClient(dict(servers)).list_topics("transactions").topics["transactions"]
            assert {len(partition.replicas) for partition in described.partitions.values()} == {3}

            ids += book.move_many(user, ROWS)
            brokers[0].kill()  # for good, with messages on their way
            ids += book.move_many(user, ROWS)
            book.cancel(*ids[::7])
            assert proved(through_kafka) == len(ids) + 1

            brokers[1].kill()  # two of three are gone: nothing can be written on two of them
            ids += book.move_many(user, ROWS)
            book.cancel(*ids[1::7])
            end = int(book.ask("SELECT pg_current_wal_insert_lsn() - '0/0'")[0][0])
            time.sleep(3)
            assert int(book.ask(SLOT)[0][0]) < end
            assert visible(settings) == len(ids) - ROWS
            assert living(book) == {"relay", "load"}
            brokers[1].start()  # and is back
            ids += book.move_many(user, ROWS)
            assert proved(through_kafka) == len(ids) + 1
            assert visible(settings) == len(ids)


def proved(settings: Settings) -> int:
    proof = reconcile.compare(settings, deadline_seconds=90)
    assert proof.violations == ()
    return proof.compared


def visible(settings: Settings) -> int:
    with warehouse(settings) as client:
        return int(client.query("SELECT count() FROM events_transactions FINAL").result_rows[0][0])


def living(book: Books) -> set[str]:
    """Who still speaks."""
    return {role for (role,) in book.ask("SELECT role FROM pipeline_processes WHERE seen_at > now() - interval '4 s'")}
