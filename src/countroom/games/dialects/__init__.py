"""The protocols in which game providers call the wallet, one file each."""

from typing import Final

from countroom.games.dialects.gcp_v1 import GcpV1
from countroom.games.dialects.hub88 import Hub88
from countroom.games.dialects.port import ANSWER_SECONDS, Callback, Dialect, Policies, Reply, Seat
from countroom.games.dialects.softswiss_v2 import SoftswissV2
from countroom.games.dialects.swipegames import Swipegames

__all__ = ["ANSWER_SECONDS", "DIALECTS", "Callback", "Dialect", "Policies", "Reply", "Seat"]

DIALECTS: Final[dict[str, Dialect]] = {
    "softswiss-v2": SoftswissV2(),
    "swipegames": Swipegames(),
    "hub88": Hub88(),
    "gcp-v1": GcpV1(),
}
"""By the name in `game_providers.dialect`."""
