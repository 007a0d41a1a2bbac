"""`countroom staff`."""

import asyncio

from countroom.commands import console, running
from countroom.players import staff as staff_accounts
from countroom.postgres import Database
from countroom.schema.enumerations import StaffRole
from countroom.settings import Settings


def add(email: str, name: str, role: StaffRole) -> int:
    """Add a member of the staff, and print the password once.

    Parameters
    ----------
    email
        Whose.
    name
        As the others know them.
    role
        What they may do: admin, cashier, analyst, compliance or support.
    """
    with running() as settings:
        password = asyncio.run(_add(settings, email, name, role))
        console.print(f"Password of {email}: {password}", markup=False, highlight=False, soft_wrap=True)
    return 0


async def _add(settings: Settings, email: str, name: str, role: StaffRole) -> str:
    assert settings.database_url
    database = await Database.connect(settings.database_url, size_max=1)
    try:
        return await staff_accounts.add(database, email=email, name=name, role=role)
    finally:
        await database.close()


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
