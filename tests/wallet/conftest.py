from collections.abc import AsyncIterator

import pytest

from casino import Casino, open_casino


@pytest.fixture
async def casino(database_url: str) -> AsyncIterator[Casino]:
    async with open_casino(database_url) as opened:
        yield opened
        await opened.check_books()
