"""Providers' signing keys, encrypted at rest with the key from the settings."""

import base64
import hashlib

import msgspec
from cryptography.fernet import Fernet, InvalidToken

from countroom.refusal import Refusal


class UnreadableKeys(Refusal):
    """A provider's signing keys cannot be decrypted with this installation's secret key."""

    kind = "unavailable"
    code = "unreadable_keys"


def seal(keys: list[str], secret_key: str) -> bytes:
    """Encrypt signing keys; several are valid at once while they are being rotated."""
    return _cipher(secret_key).encrypt(msgspec.json.encode(keys))


def unseal(sealed: bytes, secret_key: str) -> tuple[bytes, ...]:
    """Decrypt signing keys.

    Raises:
        UnreadableKeys: they were encrypted with another secret key, or were altered.
    """
    try:
        keys = msgspec.json.decode(_cipher(secret_key).decrypt(sealed), type=list[str])
    except InvalidToken as error:
        raise UnreadableKeys from error
    return tuple(key.encode() for key in keys)


def print_of(key: bytes) -> str:
    """Return a short name of a key, by which people tell it from others; it says nothing about the key."""
    return hashlib.sha256(b"countroom key print\x00" + key).hexdigest()[:8]


def _cipher(secret_key: str) -> Fernet:
    digest = hashlib.sha256(b"countroom provider keys\x00" + secret_key.encode()).digest()
    return Fernet(base64.urlsafe_b64encode(digest))
