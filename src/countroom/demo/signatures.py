"""The two signatures that the sandboxes make, written from their published descriptions."""

import hashlib
import hmac
from typing import Final

SANDBOX_HEADER: Final = "sandbox-signature"
"""What the sandbox PSP signs with, and expects to be signed with: ``t=<unix seconds>,v1=<hex>``."""
REQUEST_SIGN_HEADER: Final = "x-request-sign"
"""What a softswiss-v2 provider signs with: hex HMAC-SHA256 of the raw body."""
TOLERANCE_SECONDS: Final = 300
"""A signature older or younger than this is refused, as Stripe's libraries do."""


def sandbox_signature(secret: str, body: bytes, *, at: float) -> str:
    """Sign a body at a moment (unix seconds): HMAC-SHA256 of ``{t}.{raw body}``."""
    moment = int(at)
    return f"t={moment},v1={_hex_hmac(secret, str(moment).encode() + b'.' + body)}"


def sandbox_signature_holds(secret: str, header: str, body: bytes, *, at: float) -> bool:
    """Whether any ``v1`` of the header signs this body, and its ``t`` is near ``at``."""
    fields = [part.strip().partition("=") for part in header.split(",")]
    moments = [value for name, _, value in fields if name == "t"]
    if len(moments) != 1 or not (moments[0].isascii() and moments[0].isdigit()) or len(moments[0]) > len(str(2**63)):
        return False
    if abs(at - int(moments[0])) > TOLERANCE_SECONDS:
        return False
    expected = _hex_hmac(secret, moments[0].encode() + b"." + body).encode()
    # Every candidate is compared, so that the time taken says nothing about which one held.
    held = [hmac.compare_digest(expected, value.encode()) for name, _, value in fields if name == "v1"]
    return any(held)


def request_sign(key: str, body: bytes) -> str:
    """Sign the exact bytes that go on the wire, as softswiss-v2 asks: lower-case hex."""
    return _hex_hmac(key, body)


def _hex_hmac(key: str, message: bytes) -> str:
    return hmac.new(key.encode(), message, hashlib.sha256).hexdigest()
