"""`countroom relay`."""

from typing import Annotated

from cyclopts import Parameter

from countroom import kafka
from countroom.commands import running, stopping
from countroom.events import meters
from countroom.events import relay as events_relay


def relay(
    *,
    copy: Annotated[events_relay.Copy, Parameter(negative="")] = "missing",
    only_copy: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Carry committed facts from PostgreSQL's log into Kafka's topics; `countroom load` takes them from there.

    Exactly one works at a time; others wait and take over. A position is confirmed to PostgreSQL only after
    Kafka has acknowledged everything before it.

    Parameters
    ----------
    copy
        Which tables are copied to the topics first: those that have not been since the slot was made, always all
        (once), or never any, because the warehouse has them and nobody else reads the topics.
    only_copy
        End after the copy, with topics and slot made: something else reads the slot from then on, such as Debezium.
    """
    with running() as settings:
        assert settings.database_url
        brokers = kafka.configuration(settings)
        with meters.serving(settings.host, settings.metrics_port):
            events_relay.run(settings.database_url, brokers, stopping(), copy, settings.lost_slot, only_copy=only_copy)
    return 0
