"""Every "no" of the wallet. Each means that nothing has moved."""

from decimal import Decimal
from typing import ClassVar

from countroom.refusal import Kind, Refusal


class WalletRefusal(Refusal):
    """The wallet refuses a command; nothing has moved."""

    kind: ClassVar[Kind] = "conflict"
    code: ClassVar[str] = "refused"

    def __init__(
        self, sentence: str | None = None, *, field: str | None = None, balance: Decimal | None = None
    ) -> None:
        super().__init__(sentence, field=field)
        self.balance = balance
        """Main and bonus together before the command, where a wallet was found."""


class InvalidOperation(WalletRefusal):
    """An amount is positive and no finer than its currency; a key is printable and has 1 to 200 characters."""

    kind = "invalid"
    code = "invalid_operation"


class InsufficientFunds(WalletRefusal):
    """The wallet cannot cover this stake."""

    code = "insufficient_funds"


class KeyConflict(WalletRefusal):
    """This id was used before, with other content."""

    code = "key_conflict"


class RolledBack(WalletRefusal):
    """This transaction was reversed before it came; it moves nothing."""

    code = "rolled_back"


class RoundClosed(WalletRefusal):
    """The round is settled; it takes no more bets."""

    code = "round_closed"


class RoundNotFound(WalletRefusal):
    """There is no such round of this player."""

    kind = "missing"
    code = "round_not_found"


class ForeignRound(WalletRefusal):
    """This round belongs to another player or currency."""

    code = "foreign_round"


class NotReversible(WalletRefusal):
    """What the reversal names is not a bet or win of this player."""

    code = "not_reversible"


class WithdrawalNotFound(WalletRefusal):
    """There is no such withdrawal of this player."""

    kind = "missing"
    code = "withdrawal_not_found"


class WithdrawalConcluded(WalletRefusal):
    """This withdrawal has ended already."""

    code = "withdrawal_concluded"


class UnknownPlayer(WalletRefusal):
    """There is no such player."""

    kind = "missing"
    code = "unknown_player"


class WrongCurrency(WalletRefusal):
    """The player holds no wallet in this currency."""

    code = "wrong_currency"


class PlayerBlocked(WalletRefusal):
    """The player may not bet."""

    kind = "forbidden"
    code = "player_blocked"


class NoOpenSession(WalletRefusal):
    """A bet needs an open session of this game."""

    kind = "forbidden"
    code = "no_open_session"


class BalanceLimit(WalletRefusal):
    """The wallet cannot hold that much."""

    code = "balance_limit"


class Overloaded(Refusal):
    """Too much is waiting to be written; try again in a moment."""

    kind = "unavailable"
    code = "overloaded"
