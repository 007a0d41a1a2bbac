"""The secrets of one data folder, generated once and kept in ``secrets.json``, which only its owner may read."""

import json
import os
import secrets
from pathlib import Path
from typing import Final

import msgspec

FILE: Final = "secrets.json"


class Secrets(msgspec.Struct, frozen=True, kw_only=True):
    """What the embedded stores and the demo need to trust each other; each is 256 random bits, URL-safe."""

    secret_key: str
    postgres_password: str
    redis_password: str
    clickhouse_password: str
    sandbox_psp_secret: str
    sandbox_provider_key: str


def load(data_dir: Path) -> Secrets:
    """Read the secrets of a data folder; the first call makes them.

    Two processes that are first at the same time agree: the file appears whole or not at all,
    and only once.
    """
    path = data_dir / FILE
    if not path.exists():
        make_folder(data_dir)
        draft = data_dir / f".{FILE}.{os.getpid()}"
        fresh = {name: secrets.token_urlsafe(32) for name in Secrets.__struct_fields__}
        write_private(draft, json.dumps(fresh, indent=2) + "\n")
        try:
            os.link(draft, path)
        except FileExistsError:
            pass  # another process was first: its secrets hold
        finally:
            draft.unlink()
    return msgspec.json.decode(path.read_bytes(), type=Secrets)


def make_folder(data_dir: Path) -> None:
    """Make the data folder. Made by root it may be walked through, not listed: PostgreSQL runs as somebody else."""
    data_dir.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read (0600), replacing what was there."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
