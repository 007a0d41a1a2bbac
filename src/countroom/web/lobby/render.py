"""The lobby's templates and files, and what a browser may do on its pages."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from litestar import Response

from countroom.web.backoffice.render import rendering as backoffice
from countroom.web.rendering import Rendering, page_headers

rendering: Final = Rendering(Path(__file__).parent, "/lobby/static")
rendering.templates.globals["shared"] = backoffice.asset


def page(
    template: str, *, status: int = 200, frames: Iterable[str] = (), forms: Iterable[str] = (), **values: Any
) -> Response[str]:
    """Render a template. Games run in a frame of ``frames``, and a form may lead to ``forms``, beside our own."""
    return rendering.page(template, values, status=status, headers=page_headers(frames=frames, forms=forms))
