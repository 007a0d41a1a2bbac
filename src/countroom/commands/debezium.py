"""`countroom debezium`."""

from countroom.commands import running, stopping
from countroom.embedded import debezium as embedded_debezium


def debezium() -> int:
    """Carry committed facts from PostgreSQL's log into Kafka's topics by Debezium, in the place of `countroom relay`.

    Starts Kafka Connect here, with the connector in deploy/debezium/; needs Java and `requirements/install debezium`.
    Where a Kafka Connect runs already, give it that connector instead: see docs/pipeline.md.
    """
    with running() as settings:
        embedded_debezium.run(settings, stopping())
    return 0
