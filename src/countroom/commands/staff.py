"""`countroom staff`."""

import asyncio

from countroom.commands import console, running
from countroom.players import staff as staff_accounts
from countroom.postgres import Database
from countroom.settings import Settings


def reset_password(email: str = "admin@countroom.local") -> int:
    """Give a member of the staff a new password, and print it once. Open sessions end.

    Parameters
    ----------
    email
        Whose.
    """
    with running() as settings:
        console.print(f"New password of {email}: {asyncio.run(_reset_password(settings, email))}")
    return 0


async def _reset_password(settings: Settings, email: str) -> str:
    assert settings.database_url
    database = await Database.connect(settings.database_url, size_max=1)
    try:
        return await staff_accounts.reset_password(database, email)
    finally:
        await database.close()
