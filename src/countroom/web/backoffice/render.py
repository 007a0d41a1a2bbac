"""Templates to answers, and the addresses of the files that the pages load."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any, Final

import jinja2
from litestar import MediaType, Response

ROOM: Final = Path(__file__).parent
STATIC_DIRECTORY: Final = ROOM / "static"
STATIC_PATH: Final = "/backoffice/static"

PAGE_HEADERS: Final = {
    # Everything comes from here, nothing is inline: markup that got in could not run, nor send anything away.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    # Not "no-referrer": with it browsers send "Origin: null" with our own forms.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
STATIC_CACHE: Final = "public, max-age=31536000, immutable"
"""An address carries its file's digest, so what is behind it never changes."""


@cache
def asset(name: str) -> str:
    """Return the address of a static file; it changes whenever the file does."""
    digest = hashlib.sha256((STATIC_DIRECTORY / name).read_bytes()).hexdigest()[:12]
    return f"{STATIC_PATH}/{name}?v={digest}"


def page(template: str, *, status: int = 200, headers: dict[str, str] | None = None, **values: Any) -> Response[str]:
    """Render a template with values; every value is escaped, and a missing one is a bug that shows."""
    return Response(
        _templates.get_template(template).render(values),
        status_code=status,
        media_type=MediaType.HTML,
        headers={**PAGE_HEADERS, **(headers or {})},
    )


_templates: Final = jinja2.Environment(
    loader=jinja2.FileSystemLoader(ROOM / "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.globals["asset"] = asset
