"""The bots' accounts, remembered from one run to the next so that they do not grow without bound."""

import fcntl
import os
import random
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import msgspec

COUNTRIES: Final = {
    "EUR": ("DE", "FI", "MT", "IE", "AT", "NL"),
    "USD": ("CA", "MX", "PE"),
    "GBP": ("GB",),
    "SEK": ("SE",),
    "JPY": ("JP",),
}
COUNTRIES_ELSEWHERE: Final = ("MT",)
FILES_MAX: Final = 100


class Account(msgspec.Struct):
    """A bot's account, as it registers with it."""

    email: str
    password: str
    country: str
    birth_date: str
    currency: str
    registered: bool = False


class Pool:
    """A file of accounts that one simulation holds; only its owner may read it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._accounts = msgspec.json.decode(path.read_bytes(), type=list[Account]) if path.exists() else []

    def take(self, count: int, currencies: Sequence[str], chance: random.Random) -> list[Account]:
        """Return so many accounts, remembered ones first."""
        usable = [account for account in self._accounts if account.currency in currencies]
        for number in range(len(usable), count):
            fresh = new_account(currencies[number % len(currencies)], chance)
            usable.append(fresh)
            self._accounts.append(fresh)
        return usable[:count]

    def replace(self, old: Account, chance: random.Random) -> Account:
        """Give up an account that cannot be used, and return another in its place."""
        fresh = new_account(old.currency, chance)
        self._accounts = [fresh if account is old else account for account in self._accounts]
        return fresh

    def keep(self) -> None:
        """Write down what is registered. The file is replaced whole: a kill leaves the old one."""
        beside = self._path.with_suffix(".new")
        beside.touch(0o600)
        beside.write_bytes(msgspec.json.encode([account for account in self._accounts if account.registered]))
        beside.replace(self._path)


@contextmanager
def borrowed(data_dir: Path) -> Iterator[Pool]:
    """Hold a pool that no other simulation on this data folder holds: bots.json, or the next free one."""
    data_dir.mkdir(parents=True, exist_ok=True)
    for number in range(1, FILES_MAX):
        path = data_dir / ("bots.json" if number == 1 else f"bots-{number}.json")
        lock = os.open(path.with_suffix(".lock"), os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        try:
            yield Pool(path)
        finally:
            os.close(lock)
        return
    raise AssertionError(f"{FILES_MAX} simulations play on {data_dir} already")


def new_account(currency: str, chance: random.Random) -> Account:
    """Make up a grown-up of a country that uses this currency. The e-mail is new whatever the seed."""
    born = date(1960, 1, 1) + timedelta(days=chance.randrange(40 * 365))
    return Account(
        email=f"bot-{secrets.token_hex(8)}@example.com",
        password=secrets.token_urlsafe(18),
        country=chance.choice(COUNTRIES.get(currency, COUNTRIES_ELSEWHERE)),
        birth_date=born.isoformat(),
        currency=currency,
    )
