"""A provider's signing keys: a new one is added, both are valid, and when the old one is used no more it is retired.

Keys are sealed in the provider's row (`keys`); people see their prints only. Every process of the web reads the change
within two seconds (`catalog`).
"""

import secrets
from typing import Final

from countroom.games import console_queries as queries
from countroom.games import keys
from countroom.games.dialects import DIALECTS
from countroom.players import audit
from countroom.players.rights import require
from countroom.players.staff import StaffSession
from countroom.postgres import Database
from countroom.refusal import Refusal

KEYS_MAX: Final = 4
"""Each is tried with every call that none before it has signed."""
KEY_LENGTH_MAX: Final = 4_096


class UnknownProvider(Refusal):
    """There is no provider with this code."""

    kind = "missing"
    code = "unknown_provider"


class UnusableKey(Refusal):
    """This cannot be a key of this protocol."""

    kind = "invalid"
    code = "unusable_key"


class KeyKnown(Refusal):
    """The provider has this key already."""

    kind = "conflict"
    code = "key_known"


class TooManyKeys(Refusal):
    """The provider has four keys already; retire one first."""

    kind = "conflict"
    code = "too_many_keys"


class UnknownKey(Refusal):
    """The provider has no such key."""

    kind = "missing"
    code = "unknown_key"


class LastKey(Refusal):
    """This is the provider's only key: without it every call would be refused. Add the new one first."""

    kind = "conflict"
    code = "last_key"


def new_secret() -> str:
    """Make a shared secret that nobody guesses."""
    return secrets.token_urlsafe(32)


async def add_key(database: Database, member: StaffSession, code: str, key: str, *, secret_key: str) -> str:
    """Add a key beside those that are valid; return its print.

    Raises:
        NotYourRole, UnknownProvider, UnusableKey, KeyKnown, TooManyKeys, UnreadableKeys: nothing was changed.
    """
    require(member, "rotate_provider_keys")
    key = key.strip()
    async with database.transaction() as tx:
        row = await queries.lock_keys(tx, code)
        if row is None:
            raise UnknownProvider
        dialect = DIALECTS.get(row["dialect"])
        if dialect is None or len(key) > KEY_LENGTH_MAX or not dialect.accepts_key(key):
            raise UnusableKey(
                "This cannot be a key of this protocol: a shared secret has 16 to 500 printable ASCII characters, "
                "a public key is RSA in PEM.",
                field="key",
            )
        known = [one.decode() for one in keys.unseal(row["signing_keys"], secret_key)]
        if key in known:
            raise KeyKnown(field="key")
        if len(known) >= KEYS_MAX:
            raise TooManyKeys
        await queries.write_keys(tx, code, keys.seal([*known, key], secret_key))
        print_ = keys.print_of(key.encode())
        await audit.note(
            tx, staff_id=member.staff_id, action="key added", about=("provider", code), details={"key": print_}
        )
    return print_


async def retire_key(database: Database, member: StaffSession, code: str, print_: str, *, secret_key: str) -> None:
    """Refuse what this key signs from now on.

    Raises:
        NotYourRole, UnknownProvider, UnknownKey, LastKey, UnreadableKeys: nothing was changed.
    """
    require(member, "rotate_provider_keys")
    async with database.transaction() as tx:
        row = await queries.lock_keys(tx, code)
        if row is None:
            raise UnknownProvider
        known = keys.unseal(row["signing_keys"], secret_key)
        left = [one.decode() for one in known if keys.print_of(one) != print_]
        if len(left) == len(known):
            raise UnknownKey
        if not left:
            raise LastKey
        await queries.write_keys(tx, code, keys.seal(left, secret_key))
        await audit.note(
            tx, staff_id=member.staff_id, action="key retired", about=("provider", code), details={"key": print_}
        )
