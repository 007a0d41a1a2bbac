"""What others have made agrees with us: Hub88's signatures by OpenSSL, canonical JSON by another implementation."""

import base64
import json
import shutil
import subprocess
from pathlib import Path
from urllib.parse import quote, urlencode
from uuid import UUID

import pytest
import rfc8785
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from countroom.games.catalog import Provider
from countroom.games.dialects import DIALECTS, Callback
from countroom.games.dialects.swipegames import canonical_query

HUB88 = DIALECTS["hub88"]
DOCUMENTS = (
    # What the provider's published examples sign.
    b"test",
    b"example",
    b'{"test":"test"}',
    b'{"game_id":132,"request_uuid":"583c985f-fee6-4c0e-bbf5-308aad6265af","token":"55b7518e-b89e-11e7-81be-58404eea6d16"}',
    '{"name":"Żółć 🎰"}'.encode(),
    b"",
)


def provider(*keys: bytes) -> Provider:
    return Provider(UUID(int=1), "a-hub", "hub88", keys)


def signed(body: bytes, signature: bytes) -> Callback:
    return Callback("user/balance", {b"x-hub88-signature": base64.b64encode(signature)}, body)


@pytest.fixture(scope="module")
def private_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65_537, key_size=2_048)


def public_pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def test_openssl_verifies_what_we_admit_and_we_admit_what_openssl_signs(
    private_key: rsa.RSAPrivateKey, tmp_path: Path
) -> None:
    openssl = shutil.which("openssl")
    assert openssl, "install openssl"
    (tmp_path / "private.pem").write_bytes(
        private_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )
    (tmp_path / "public.pem").write_bytes(public_pem(private_key))
    key = provider(public_pem(private_key))
    for body in DOCUMENTS:
        ours = private_key.sign(body, padding.PKCS1v15(), hashes.SHA256())
        (tmp_path / "body").write_bytes(body)
        (tmp_path / "signature").write_bytes(ours)
        verified = subprocess.run(
            [openssl, "dgst", "-sha256", "-verify", "public.pem", "-signature", "signature", "body"],
            cwd=tmp_path, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert verified.stdout == "Verified OK\n"
        theirs = subprocess.run(
            [openssl, "dgst", "-binary", "-sha256", "-sign", "private.pem", "body"],
            cwd=tmp_path, capture_output=True, check=True,
        ).stdout  # fmt: skip
        assert theirs == ours
        assert HUB88.admits(key, signed(body, theirs))
        assert not HUB88.admits(key, signed(body + b"\n", theirs))


def test_hub88_admits_exactly_one_key_scheme_and_body(private_key: rsa.RSAPrivateKey) -> None:
    body = b'{"test":"test"}'
    right = private_key.sign(body, padding.PKCS1v15(), hashes.SHA256())
    other = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    assert HUB88.admits(provider(public_pem(other), public_pem(private_key)), signed(body, right))
    wrong = (
        other.sign(body, padding.PKCS1v15(), hashes.SHA256()),
        private_key.sign(body, padding.PKCS1v15(), hashes.SHA512()),
        private_key.sign(body, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256()),
        right[:-1], right + b"\0", b"", bytes(256),
    )  # fmt: skip
    for signature in wrong:
        assert not HUB88.admits(provider(public_pem(private_key)), signed(body, signature))
    curve = ec.generate_private_key(ec.SECP256R1())
    for unreadable in (b"", b"no key", public_pem(curve), public_pem(private_key)[:-60], b"\xff"):
        assert not HUB88.admits(provider(unreadable), signed(body, right))
    assert not HUB88.admits(provider(), signed(body, right))
    for header in (b"", b"?", b"\xff\xff", base64.b64encode(right) + b"!", base64.b64encode(right)[:-1]):
        given_ = Callback("user/balance", {b"x-hub88-signature": header}, body)
        assert not HUB88.admits(provider(public_pem(private_key)), given_)


text = st.text(st.characters(codec="utf-8"), max_size=8)


@settings(max_examples=300, derandomize=True, database=None, deadline=None)
@given(st.dictionaries(text, text, max_size=6))
def test_the_canonical_json_of_a_query_is_that_of_another_implementation(fields: dict[str, str]) -> None:
    for encode in (urlencode(fields), "&".join(f"{quote(k)}={quote(v)}" for k, v in fields.items())):
        content, read = canonical_query(encode.encode())
        expected = {name: value for name, value in fields.items() if encode}
        assert (content, read) == (rfc8785.dumps(expected), expected)


def test_names_are_sorted_as_utf_16_and_strings_escaped_as_rfc_8785_wants_it() -> None:
    fields = {
        "\u20ac": "€",
        "\r": '\x0f\n"\\\b\t\f\x7f',
        "\ufb33": "</script>",
        "1": "é",
        "\U0001f600": "😀",
        "\x80": "ö",
    }
    content, _ = canonical_query(urlencode(fields).encode())
    assert content == rfc8785.dumps(fields)
    assert list(rfc8785_order(content)) == ["\r", "1", "\x80", "\u20ac", "\U0001f600", "\ufb33"]  # section 3.2.3


def rfc8785_order(content: bytes) -> list[str]:

    return list(json.loads(content))
