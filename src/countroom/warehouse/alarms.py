"""Whether facts are late, or log piles up in PostgreSQL: what an operator is woken for."""

from clickhouse_connect.driver.exceptions import ClickHouseError

from countroom import clickhouse
from countroom.postgres import Database
from countroom.settings import Settings
from countroom.warehouse import rules, watch
from countroom.warehouse.rules import Level


async def look(settings: Settings) -> tuple[Level, list[str]]:
    """Return how the pipeline stands, and a sentence for each thing that is not as it should be.

    Raises:
        OSError, asyncpg's errors: PostgreSQL cannot be asked.
    """
    assert settings.database_url
    assert settings.clickhouse_url
    limits = watch.limits(settings)
    database = await Database.connect(settings.database_url, size_max=1)
    try:
        slot = await watch.slot_state(database)
        sent = await watch.silent_canary(database)
    finally:
        await database.close()
    found: list[tuple[Level, str]] = []
    if slot is not None:
        found.append(
            rules.slot_level(
                status=slot.status, unconfirmed_bytes=slot.unconfirmed_bytes, safe_bytes=slot.safe_bytes,
                is_active=slot.is_active, limits=limits,
            )
        )  # fmt: skip
    if sent is not None:
        try:
            client = await clickhouse.connect_async(settings.clickhouse_url)
            try:
                seconds = watch.behind(await watch.canaries(client), *sent)
            finally:
                await client.close()
            found.append((rules.lag_level(seconds, limits), f"Facts are {seconds or 0:.0f} s behind"))
        except (ClickHouseError, OSError) as error:
            found.append(("warning", f"ClickHouse does not answer: {type(error).__name__}"))
    told = [(level, sentence) for level, sentence in found if level in {"warning", "bad"}]
    return rules.worst("good", *(level for level, _ in told)), [sentence for _, sentence in told]
