"""What every room with pages has: its templates, its files, and what a browser may do on its pages."""

import hashlib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import jinja2
from litestar import MediaType, Response, Router
from litestar.datastructures import CacheControlHeader
from litestar.static_files import create_static_files_router

_HERE: Final = "'self'"
_NOWHERE: Final = "'none'"
FILE_SECONDS: Final = 31_536_000
"""So long a browser keeps a file: its address carries its digest, so what is behind it never changes."""


def page_headers(*, frames: Iterable[str] = (), forms: Iterable[str] = ()) -> dict[str, str]:
    """Return what a page says to the browser: frames show ``frames``, and forms lead to ``forms``, beside our own.

    Everything else comes from here, and nothing is inline: markup that got in could not run, nor send anything away.
    """
    return {
        "Content-Security-Policy": (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
            f"frame-src {' '.join(_origins(frames)) or _NOWHERE}; form-action {' '.join([_HERE, *_origins(forms)])}; "
            "base-uri 'none'; frame-ancestors 'none'"
        ),
        "Cache-Control": "no-store",
        # Not "no-referrer": with it browsers send "Origin: null" with our own forms.
        "Referrer-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
    }


class Rendering:
    """A room's ``templates`` and ``static`` files, and the address under which the latter are served."""

    def __init__(self, room: Path, static_path: str) -> None:
        self.static_directory: Final = room / "static"
        self.static_path: Final = static_path
        self.asset: Final = cache(self._address)
        """Returns the address of a static file, by its name; it changes whenever the file does."""
        self.templates: Final = jinja2.Environment(
            loader=jinja2.FileSystemLoader(room / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.templates.globals["asset"] = self.asset

    def page(self, template: str, values: Mapping[str, Any], *, status: int, headers: dict[str, str]) -> Response[str]:
        """Render a template with values; every value is escaped, and a missing one is a bug that shows."""
        return Response(
            self.templates.get_template(template).render(values),
            status_code=status,
            media_type=MediaType.HTML,
            headers=headers,
        )

    def static_files(self) -> Router:
        """Return what serves the static files."""
        return create_static_files_router(
            self.static_path,
            directories=[self.static_directory],
            include_in_schema=False,
            cache_control=CacheControlHeader(public=True, max_age=FILE_SECONDS, immutable=True),
        )

    def _address(self, name: str) -> str:
        digest = hashlib.sha256((self.static_directory / name).read_bytes()).hexdigest()[:12]
        return f"{self.static_path}/{name}?v={digest}"


def _origins(addresses: Iterable[str]) -> list[str]:
    """Return where these addresses are, as a policy names it; their paths say too much, and may hold a token."""
    parts = [urlsplit(address) for address in addresses]
    return [f"{one.scheme}://{one.netloc}" for one in parts if one.scheme in {"http", "https"}]
