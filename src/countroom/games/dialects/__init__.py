"""The protocols in which game providers call the wallet, one file each."""

from typing import Final

from countroom.games.dialects import softswiss_v2
from countroom.games.dialects.port import Callback, Dialect, Reply

__all__ = ["DIALECTS", "Callback", "Dialect", "Reply"]

DIALECTS: Final[dict[str, Dialect]] = {"softswiss-v2": softswiss_v2.SoftswissV2()}
"""By the name in `game_providers.dialect`."""
