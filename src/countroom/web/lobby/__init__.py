"""The demo player's site: sign in, pay in, choose a game and play it. Served where the sandboxes are."""

from countroom.web.lobby.pages import route_handlers

__all__ = ["route_handlers"]
