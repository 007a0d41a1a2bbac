"""The staff's pages: sign-in, and a dashboard that keeps itself up to date."""

from countroom.web.backoffice.pages import route_handlers

__all__ = ["route_handlers"]
