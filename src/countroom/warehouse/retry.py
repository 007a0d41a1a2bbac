"""Storing dead letters after all, once what was wrong has been put right."""

from collections.abc import Iterable, Iterator

from countroom import clickhouse
from countroom.events.wal import Message
from countroom.warehouse.dead_letters import Letter
from countroom.warehouse.load import Loader


def store_again(clickhouse_url: str, letters: Iterable[Letter]) -> Iterator[tuple[Letter, str | None]]:
    """Try to store each, and give it back with the reason why that is still refused, or None when it is stored.

    Settling the letter is left to the caller. Blocks.

    Raises:
        WarehouseAwayError: ClickHouse cannot work at the moment.
    """
    with clickhouse.connect(clickhouse_url) as client:
        for letter in letters:
            reasons: list[str] = []

            def note(_message: Message, reason: str, reasons: list[str] = reasons) -> None:
                reasons.append(reason)

            loader = Loader(client, note)
            loader.add(Message(letter.topic, letter.position, letter.body, "", letter.partition))
            loader.flush()
            yield letter, reasons[0] if reasons else None
