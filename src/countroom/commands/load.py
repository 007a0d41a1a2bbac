"""`countroom load`."""

from countroom import kafka
from countroom.commands import console, running, stopping
from countroom.events import meters
from countroom.warehouse import consume
from countroom.warehouse.dead_letters import ContractBrokenError


def load(*, drain: bool = False) -> int:
    """Carry messages from Kafka's topics into ClickHouse. Any number of loaders share the work.

    Offsets are committed only after ClickHouse has acknowledged everything before them. What cannot be stored
    becomes a dead letter (`countroom dead-letters list`); too many of them stop the loader, with exit code 1.

    Parameters
    ----------
    drain
        Stop once everything is loaded that the topics hold now.
    """
    with running() as settings:
        try:
            with meters.serving(settings.host, settings.metrics_port):
                consume.run(settings, kafka.configuration(settings), stopping(), drain=drain)
        except ContractBrokenError as error:
            console.print(str(error), style="bold red", markup=False, soft_wrap=True)
            return 1
    return 0
