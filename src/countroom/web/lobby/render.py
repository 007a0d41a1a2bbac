"""The lobby's templates, its files, and what a browser may do on its pages."""

import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import jinja2
from litestar import MediaType, Response

from countroom.web.backoffice.render import asset as shared

ROOM: Final = Path(__file__).parent
STATIC_DIRECTORY: Final = ROOM / "static"
STATIC_PATH: Final = "/lobby/static"
_NOWHERE: Final = "'none'"


@cache
def asset(name: str) -> str:
    """Return the address of a static file; it changes whenever the file does."""
    digest = hashlib.sha256((STATIC_DIRECTORY / name).read_bytes()).hexdigest()[:12]
    return f"{STATIC_PATH}/{name}?v={digest}"


def page(
    template: str, *, status: int = 200, frames: Iterable[str] = (), forms: Iterable[str] = (), **values: Any
) -> Response[str]:
    """Render a template. Games run in a frame of ``frames``, and a form may lead to ``forms``, beside our own."""
    return Response(
        _templates.get_template(template).render(values),
        status_code=status,
        media_type=MediaType.HTML,
        headers={
            "Content-Security-Policy": (
                "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
                f"frame-src {_origins(frames) or _NOWHERE}; form-action 'self' {_origins(forms)}; base-uri 'none'; "
                "frame-ancestors 'none'"
            ),
            "Cache-Control": "no-store",
            "Referrer-Policy": "same-origin",
            "X-Content-Type-Options": "nosniff",
        },
    )


def _origins(addresses: Iterable[str]) -> str:
    """Return where these addresses are, as a policy names it; their paths say too much, and may hold a token."""
    parts = [urlsplit(address) for address in addresses]
    return " ".join(f"{one.scheme}://{one.netloc}" for one in parts if one.scheme in {"http", "https"})


_templates: Final = jinja2.Environment(
    loader=jinja2.FileSystemLoader(ROOM / "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.globals["asset"] = asset
_templates.globals["shared"] = shared
