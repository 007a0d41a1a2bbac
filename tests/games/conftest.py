from collections.abc import AsyncIterator
from typing import Final

import pytest
import pytest_asyncio

from contract_table import open_providers
from countroom.web import callbacks
from databases import Databases, RunningStores
from serving import Served, served, serving

__all__ = ["served"]

PATIENT_SECONDS: Final = 20.0
"""What a call may take where a test is not about time: a machine that is busy with other tests takes its own."""


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers may take longer than providers wait."""
    monkeypatch.setattr(callbacks, "ANSWER_SECONDS", PATIENT_SECONDS)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def stage(stores: RunningStores, databases: Databases) -> AsyncIterator[Served]:
    """One application and one database for all scenarios of a module, with a provider of each dialect.

    Each scenario brings players and ids of its own; the books of all are proved at the end.
    """
    with databases.one() as database_url:
        settings = stores.settings_for(database_url, stores.redis_url, stores.clickhouse_url)
        async with serving(settings, open_providers) as running:
            yield running
