from collections.abc import AsyncIterator

import pytest

from casino import Casino, open_casino
from countroom.wallet import incremental


@pytest.fixture
async def casino(database_url: str) -> AsyncIterator[Casino]:
    """A casino whose books are proved at the end of each test: in full, and since its beginning."""
    async with open_casino(database_url) as opened:
        await incremental.prove(opened.database)
        yield opened
        await opened.check_books()
        for proof in await incremental.prove(opened.database):
            assert proof.holds, proof
