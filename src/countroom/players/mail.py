"""Mail to players. It is written as `.eml` files into the outbox folder below the data folder.

Nothing is sent yet: delivery by SMTP comes with a later issue and will empty the same outbox.
"""

import asyncio
import os
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path

from countroom.clock import new_id
from countroom.redis import OTP_SECONDS

SENDER = "Countroom <no-reply@countroom.local>"


def outbox(data_dir: Path) -> Path:
    """Return the folder in which mail waits."""
    return data_dir / "outbox"


async def post_confirmation_code(data_dir: Path, *, email: str, code: str, now: datetime) -> Path:
    """Put a mail with a confirmation code into the outbox, and return its file."""
    message = EmailMessage()
    message["From"] = SENDER
    message["To"] = email
    message["Date"] = format_datetime(now)
    message["Subject"] = "Your confirmation code"
    message.set_content(
        f"Your confirmation code is {code}\n\n"
        f"It is valid for {OTP_SECONDS // 60} minutes and can be used once. If you have not opened an\n"
        "account with this address, you need not do anything.\n"
    )
    return await asyncio.to_thread(_write, outbox(data_dir), message.as_bytes(), now)


def _write(folder: Path, content: bytes, now: datetime) -> Path:
    """Write under another name first, so that whoever empties the outbox never sees half a mail."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{now:%Y%m%dT%H%M%S}-{new_id()}.eml"
    part = path.with_suffix(".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    part.rename(path)
    return path
