"""An authority, a certificate that it has signed, and a second listener of Kafka that shows it."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from countroom.embedded.process import free_port


def with_tls(folder: Path, properties: str) -> str:
    """The broker's properties with a listener for TLS; its address and authority are files in the folder."""
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    key, certificate = signed(folder / "authority.pem")
    (folder / "keystore.pem").write_text(key + certificate)
    (folder / "tls.address").write_text(f"127.0.0.1:{port}")
    for name in ("listeners", "advertised.listeners"):
        properties = properties.replace(f"\n{name}=", f"\n{name}=SSL://127.0.0.1:{port},")
    properties = properties.replace("protocol.map=", "protocol.map=SSL:SSL,")
    return f"{properties}ssl.keystore.type=PEM\nssl.keystore.location={folder}/keystore.pem\n"


def signed(authority_file: Path) -> tuple[str, str]:
    """Make an authority, and a certificate of 127.0.0.1 that it has signed; return that one's key and itself."""
    authority_key, key = generate_private_key(SECP256R1()), generate_private_key(SECP256R1())
    authority = _certificate("authority", authority_key, "authority", authority_key)
    authority_file.write_bytes(authority.public_bytes(Encoding.PEM))
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    own = _certificate("broker", key, "authority", authority_key)
    return secret, own.public_bytes(Encoding.PEM).decode()


def _certificate(
    name: str, key: EllipticCurvePrivateKey, issuer: str, issuer_key: EllipticCurvePrivateKey
) -> x509.Certificate:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=name == issuer, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(issuer_key, SHA256())
    )
