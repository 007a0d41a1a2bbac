"""What each role of the staff may do beside looking: whoever is signed in may look."""

from typing import Final, Literal

from countroom.players.staff import StaffSession
from countroom.refusal import Refusal
from countroom.schema.enumerations import StaffRole

Right = Literal[
    "propose_round_closings", "decide_round_closings", "rotate_provider_keys", "send_test_calls",
    "settle_dead_letters", "compare_reports", "note_differences",
    "switch_games", "import_games",
]  # fmt: skip

RIGHTS: Final[dict[Right, frozenset[StaffRole]]] = {
    # Support sees the player's trouble first; who moves money decides, and never alone.
    "propose_round_closings": frozenset({"admin", "compliance", "cashier", "support"}),
    "decide_round_closings": frozenset({"admin", "compliance", "cashier"}),
    "rotate_provider_keys": frozenset({"admin"}),
    "send_test_calls": frozenset({"admin", "support"}),
    "settle_dead_letters": frozenset({"admin"}),
    # Where and for whom a game may be launched is the licence's matter.
    "switch_games": frozenset({"admin", "compliance"}),
    "import_games": frozenset({"admin", "compliance"}),
    # Comparing moves nothing, and shows every player's bets: who answers for the money does it.
    "compare_reports": frozenset({"admin", "compliance", "cashier", "analyst"}),
    "note_differences": frozenset({"admin", "compliance", "cashier"}),
}


class NotYourRole(Refusal):
    """Your role may not do this."""

    kind = "forbidden"
    code = "not_your_role"


def may(member: StaffSession, right: Right) -> bool:
    """Whether somebody of the staff has a right."""
    return member.role in RIGHTS[right]


def require(member: StaffSession, right: Right) -> None:
    """Refuse who has not this right.

    Raises:
        NotYourRole: the role has it not.
    """
    if not may(member, right):
        roles = ", ".join(sorted(RIGHTS[right]))
        raise NotYourRole(f"Your role ({member.role}) may not do this; it is for: {roles}.")
