"""What may be shown of a raw call: everything but secrets. Pure, and it reads bytes of strangers: nothing here raises.

Signatures and tokens are replaced by their length. Whoever sees a call may then compare it with the provider's own log,
and can neither send it again nor play with its token.
"""

import re
from collections.abc import Mapping
from typing import Final

_SECRET_HEADER: Final = re.compile(r"sign|auth|token|cookie|secret|password|api-?key", re.IGNORECASE)
_SCHEME: Final = re.compile(r"([A-Za-z0-9-]{1,20}) +(?=\S)")
_SECRET: Final = r"[\w-]{0,40}(?:token|secret|password|passwd|signature|api_?key)[\w-]{0,40}"  # noqa: S105 - names
_VALUE: Final = r'"(?:[^"\\]|\\.)*(?:"|\\?\Z)|[^\s,}\]"\[{][^\s,}\]]*'
"""A JSON string, also one that has been cut off, or a bare word."""
_MEMBER: Final = re.compile(rf'("{_SECRET}"\s*:\s*)({_VALUE})', re.IGNORECASE)
_PAIR: Final = re.compile(rf"((?:^|&){_SECRET}=)([^&]*)", re.IGNORECASE)
HEADERS_MAX: Final = 40
HEADER_LENGTH_MAX: Final = 500


def headers(given: Mapping[bytes, bytes]) -> list[tuple[str, str]]:
    """Return headers as text, the first of very many; of what authenticates only the scheme and the length."""
    shown = []
    for name, value in list(given.items())[:HEADERS_MAX]:
        title, content = text(name.decode("latin-1")), text(value.decode("latin-1"))
        if _SECRET_HEADER.search(title):
            scheme = _SCHEME.match(content)
            content = f"{scheme[1]} {hidden(content[scheme.end() :])}" if scheme else hidden(content)
        shown.append((title[:HEADER_LENGTH_MAX], content[:HEADER_LENGTH_MAX]))
    return shown


def body(content: bytes) -> str:
    """Return a body as text: what is no UTF-8 is escaped, and secret members of JSON objects are hidden."""
    return _MEMBER.sub(_hide_member, text(content.decode("utf-8", "backslashreplace")))


def query(content: bytes) -> str:
    """Return a query as it came, with secret fields hidden."""
    return _PAIR.sub(lambda found: found[1] + hidden(found[2]), text(content.decode("latin-1")))


def text(content: str) -> str:
    """Return text that PostgreSQL can hold."""
    return content.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode()


def hidden(secret: str) -> str:
    """Return what is shown in a secret's place."""
    return f"•••• ({len(secret)} characters)"


def _hide_member(found: "re.Match[str]") -> str:
    value = found[2]
    return f'{found[1]}"{hidden(value.strip(chr(34)))}"'
