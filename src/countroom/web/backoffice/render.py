"""The back office's templates and files, and what a browser may do on its pages."""

from pathlib import Path
from typing import Any, Final

from litestar import Response

from countroom.web.rendering import Rendering, page_headers

PAGE_HEADERS: Final = {**page_headers(), "Cross-Origin-Opener-Policy": "same-origin"}

rendering: Final = Rendering(Path(__file__).parent, "/backoffice/static")


def page(template: str, *, status: int = 200, headers: dict[str, str] | None = None, **values: Any) -> Response[str]:
    """Render a template with values."""
    return rendering.page(template, values, status=status, headers={**PAGE_HEADERS, **(headers or {})})
