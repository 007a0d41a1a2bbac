"""What the dialects read and write alike: ids, keyed hashes, plain integers, ids of things that left no row."""

import hmac
import re
from collections.abc import Iterable
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Final
from uuid import UUID, uuid5

import msgspec

from countroom.clock import parse_id
from countroom.money import EXPONENTS, InvalidAmount
from countroom.wallet.refusals import UnknownPlayer

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=r"\A[^\x00-\x1f]+\Z")]
"""A provider's id."""
OPERATIONS_MAX: Final = 100
"""In one call: far above any game's need, and a bound on what one call may cost."""

SECRET_LENGTH_MIN: Final = 16
SECRET_LENGTH_MAX: Final = 500

_PLAIN_INTEGER: Final = re.compile(rb"0|[1-9][0-9]{0,21}")
_NO_ROW: Final = UUID("6f1d2ae4-9d0c-5b0e-8f0f-3c6a2f7f6a51")
"""The name space of ids of things that left no row."""


def hmac_sha256_holds(keys: Iterable[bytes], content: bytes, given: bytes) -> bool:
    """Whether one of the keys made this hexadecimal HMAC-SHA256; as many are valid as a rotation needs.

    Every key is tried, so that the time taken tells nothing about which one holds.
    """
    holds = False
    for key in keys:
        holds |= hmac.compare_digest(hmac.digest(key, content, "sha256").hex().encode(), given)
    return holds


def hmac_sha256_hex(key: bytes, content: bytes) -> bytes:
    """Sign as a provider does."""
    return hmac.digest(key, content, "sha256").hex().encode()


def is_shared_secret(text: str) -> bool:
    """Whether a text can be a secret that two share: so long that nobody guesses it, of printable ASCII."""
    return SECRET_LENGTH_MIN <= len(text) <= SECRET_LENGTH_MAX and text.isascii() and text.isprintable()


@lru_cache(maxsize=65_536)
def player(account: str) -> UUID:
    """Read a player's id.

    Raises:
        UnknownPlayer: nobody can have this id.
    """
    try:
        return parse_id(account)
    except ValueError as error:
        raise UnknownPlayer from error


def scaled_amount(raw: msgspec.Raw, decimals: int, currency: str) -> Decimal:
    """Read an amount that is written as an integer with so many of its digits after the decimal point.

    It is taken as its bytes, so that ``1.0``, ``1e2``, ``"1"`` and ``true`` are no integers, and none is too large.

    Raises:
        InvalidAmount: not a plain integer, or finer than the currency.
    """
    if _PLAIN_INTEGER.fullmatch(bytes(raw)) is None:
        raise InvalidAmount("An amount is an integer, and not negative.", field="amount")
    units, rest = divmod(int(bytes(raw)), 10 ** (decimals - EXPONENTS[currency]))
    if rest:
        raise InvalidAmount(f"{currency} has {EXPONENTS[currency]} decimals; the amount is finer.", field="amount")
    return Decimal(units).scaleb(-EXPONENTS[currency])


def scaled_balance(balance: Decimal, decimals: int) -> msgspec.Raw:
    """Write a balance as such an integer; the encoder's own integers end at 64 bits."""
    return msgspec.Raw(str(int(balance.scaleb(decimals))).encode())


def id_without_row(provider_code: str, key: str) -> str:
    """Return our id of something that moved nothing and left no transaction: for one key, for ever the same."""
    return str(uuid5(_NO_ROW, f"{provider_code}:{key}"))
