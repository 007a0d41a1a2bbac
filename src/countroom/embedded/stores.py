"""The stores that the settings do not name: started, shared by every command, stopped.

A data folder has one owner at a time, held by a lock that the kernel releases however the owner
ends. Other commands use the owner's stores, whose addresses it leaves in ``run/stores.json``.
"""

import fcntl
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, Protocol

import msgspec

from countroom.embedded import secrets
from countroom.embedded.clickhouse import ClickHouse
from countroom.embedded.kafka import Kafka
from countroom.embedded.postgres import Postgres
from countroom.embedded.process import POLL_SECONDS, START_SECONDS
from countroom.embedded.valkey import Valkey
from countroom.refusal import Refusal
from countroom.settings import Settings

ADDRESSES: Final = ("database_url", "redis_url", "clickhouse_url")
OPTIONAL: Final = ("kafka_servers",)
"""Addresses that may stay unset: facts then go another way."""


class DataFolderInUse(Refusal):
    """Another process owns this data folder."""

    kind = "conflict"
    code = "data_folder_in_use"


class Store(Protocol):
    """One embedded store."""

    name: str

    @property
    def url(self) -> str:
        """Its address, once started."""

    def start(self) -> None:
        """Start it, or start it again on the same port; returns when it answers."""

    def stop(self) -> None:
        """Stop it, and return when it is gone."""

    def is_running(self) -> bool:
        """Whether its process lives."""


class Stores:
    """The stores of one data folder, for its owner. Made by :func:`owned`."""

    def __init__(
        self, settings: Settings, kept: secrets.Secrets, say: Callable[[str], None], *, kafka: bool = False
    ) -> None:
        data = settings.data_dir
        self.settings = settings
        self.members: dict[str, Store] = {}
        if settings.database_url is None:
            self.members["database_url"] = Postgres(data, kept.postgres_password, say)
        if settings.redis_url is None:
            self.members["redis_url"] = Valkey(data, kept.redis_password)
        if settings.clickhouse_url is None:
            self.members["clickhouse_url"] = ClickHouse(data, kept.clickhouse_password)
        if kafka and settings.kafka_servers is None:
            self.members["kafka_servers"] = Kafka(data)

    def start(self, started: Callable[[str, float], None] = lambda _name, _seconds: None) -> None:
        """Start all of them at once; ``started`` hears each one's name and seconds. On a failure none stays."""

        def start(store: Store) -> None:
            began = time.monotonic()
            store.start()
            started(store.name, time.monotonic() - began)

        try:
            with ThreadPoolExecutor(max_workers=max(1, len(self.members))) as pool:
                for outcome in [pool.submit(start, store) for store in self.members.values()]:
                    outcome.result()
        except BaseException:
            self.stop()
            raise
        addresses = {name: store.url for name, store in self.members.items()}
        self.settings = msgspec.structs.replace(self.settings, **addresses)
        everything = {name: getattr(self.settings, name) for name in (*ADDRESSES, *OPTIONAL)}
        secrets.write_private(_addresses_file(self.settings.data_dir), json.dumps({**everything, "owner": os.getpid()}))

    def stop(self) -> None:
        """Stop those that run, all at once."""
        _addresses_file(self.settings.data_dir).unlink(missing_ok=True)
        with ThreadPoolExecutor(max_workers=max(1, len(self.members))) as pool:
            list(pool.map(lambda store: store.stop(), self.members.values()))


@contextmanager
def owned(
    settings: Settings, say: Callable[[str], None] = lambda _sentence: None, *, kafka: bool = False
) -> Iterator[Stores]:
    """Own the data folder for the length of the block; its stores are stopped at the end.

    ``say`` hears sentences that the operator should read, such as where data had to be placed. With ``kafka``
    there is a broker among them, unless the settings name one.

    Raises:
        DataFolderInUse: when another process owns it.
    """
    kept = secrets.load(settings.data_dir)
    with _lock(settings.data_dir):
        stores = Stores(with_secrets(settings, kept), kept, say, kafka=kafka)
        try:
            yield stores
        finally:
            stores.stop()


@contextmanager
def running(settings: Settings, say: Callable[[str], None] = lambda _sentence: None) -> Iterator[Settings]:
    """Give settings in which every address and secret is filled in, and keep the stores for the block.

    Stores that another process has started are used, and left to it.

    Raises:
        StoreFailed: when a store could not be started.
    """
    if all(getattr(settings, name) is not None for name in ADDRESSES):
        complete = settings.secret_key is not None and settings.sandbox_psp_secret is not None
        yield settings if complete else with_secrets(settings, secrets.load(settings.data_dir))
        return
    deadline = time.monotonic() + START_SECONDS
    with ExitStack() as held:
        while True:
            try:
                stores = held.enter_context(owned(settings, say))
            except DataFolderInUse:
                found = _addresses(settings.data_dir)
                if found is None and time.monotonic() > deadline:
                    raise
            else:
                stores.start()
                found = _addresses(settings.data_dir)
            if found is not None:
                break
            time.sleep(POLL_SECONDS)  # its owner is starting them
        missing = {name: url for name, url in found.items() if getattr(settings, name) is None}
        yield msgspec.structs.replace(with_secrets(settings, secrets.load(settings.data_dir)), **missing)


def with_secrets(settings: Settings, kept: secrets.Secrets) -> Settings:
    """Fill in the secrets that the settings leave to the data folder."""
    return msgspec.structs.replace(
        settings,
        secret_key=settings.secret_key or kept.secret_key,
        sandbox_psp_secret=settings.sandbox_psp_secret or kept.sandbox_psp_secret,
    )


def _addresses_file(data_dir: Path) -> Path:
    return data_dir / "run" / "stores.json"


def _addresses(data_dir: Path) -> dict[str, str | None] | None:
    """Return the addresses that the present owner has left, or None while it starts or ends."""
    try:
        found = json.loads(_addresses_file(data_dir).read_bytes())
        owner = json.loads((data_dir / "run" / "owner").read_bytes())["pid"]
    except (OSError, ValueError, KeyError):
        return None
    return {name: found.get(name) for name in (*ADDRESSES, *OPTIONAL)} if found.get("owner") == owner else None


@contextmanager
def _lock(data_dir: Path) -> Iterator[None]:
    path = data_dir / "run" / "owner"
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DataFolderInUse(_who_holds(path, data_dir)) from error
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "command": " ".join(["countroom", *sys.argv[1:2]])}))
        file.flush()
        yield


def _who_holds(path: Path, data_dir: Path) -> str:
    try:
        owner = json.loads(path.read_text())
        who = f"process {owner['pid']} ({owner['command']})"
    except (OSError, ValueError, KeyError):
        who = "another process"
    return f"The data folder {data_dir} is in use by {who}: stop it first, or set COUNTROOM_DATA to another folder."
