"""Rounds that the provider has not ended: marked, settled or cancelled by us. In the caller's transaction.

Whatever is done goes through the write path's own operations, so that the books, the versions of purses and the log see
nothing but what a provider could have asked for.
"""

from collections.abc import Sequence
from uuid import UUID

from countroom.money import ZERO
from countroom.postgres import Transaction
from countroom.refusal import Refusal
from countroom.wallet import queries, story, story_queries
from countroom.wallet.batch import post
from countroom.wallet.commands import SECOND_ROW, Command, Operation, Play, Reverse
from countroom.wallet.refusals import WalletRefusal
from countroom.wallet.story import NoSuchRound, RoundRow

__all__ = ["cancel", "mark_unfinished", "settle"]


class RoundHasEnded(WalletRefusal):
    """The round has ended already."""

    code = "round_has_ended"


class RoundHasWins(WalletRefusal):
    """A win stands in this round; bets are given back only where nothing was won. Settle it instead."""

    code = "round_has_wins"


class NothingToReverse(WalletRefusal):
    """No bet stands in this round. Settle it instead."""

    code = "nothing_to_reverse"


class RoundNotFoundWhole(WalletRefusal):
    """Not all of the round's bets could be found among the player's transactions."""

    code = "round_not_found_whole"


async def settle(tx: Transaction, round_id: UUID) -> RoundRow:
    """End a round without moving money; wins that come later are accepted as those of any settled round.

    Raises:
        NoSuchRound, RoundHasEnded: nothing was done.
    """
    round_ = await _locked(tx, round_id)
    await _post(tx, round_, (), close=True)
    return await _read(tx, round_id)


async def cancel(tx: Transaction, round_id: UUID, key: str) -> RoundRow:
    """Give every bet of a round back, by reversals whose keys begin with ``key``; that cancels the round.

    Raises:
        NoSuchRound, RoundHasEnded, RoundHasWins, NothingToReverse, RoundNotFoundWhole: nothing was done.
    """
    round_ = await _locked(tx, round_id)
    if round_.win_amount != ZERO:
        raise RoundHasWins
    found = await story.find_transactions(tx, round_)
    if not found.is_complete:
        raise RoundNotFoundWhole
    source = f"{round_.provider}:"
    standing = [row["external_id"] for row in found.rows if (row["type"], row["status"]) == ("bet", "success")]
    bets = dict.fromkeys(one.removesuffix(SECOND_ROW).removeprefix(source) for one in standing)
    if not bets:
        raise NothingToReverse
    await _post(tx, round_, [Reverse(f"{key}-{number}", bet) for number, bet in enumerate(bets, 1)])
    return await _read(tx, round_id)


async def mark_unfinished(tx: Transaction, round_ids: Sequence[UUID]) -> Sequence[UUID]:
    """Mark those of these rounds that are open as unfinished; return which they were. A bet opens them again."""
    await story_queries.lock_main_wallets(tx, round_ids)
    return await story_queries.mark_unfinished(tx, round_ids)


async def _locked(tx: Transaction, round_id: UUID) -> RoundRow:
    """Return a round that has not ended, and lets nobody write about its player until the transaction ends."""
    round_ = await _read(tx, round_id)
    await queries.lock_purses(tx, [_command(round_, ())])
    round_ = await _read(tx, round_id)
    if round_.has_ended:
        raise RoundHasEnded
    return round_


async def _read(tx: Transaction, round_id: UUID) -> RoundRow:
    row = await story_queries.round_by_id(tx, round_id)
    if row is None:
        raise NoSuchRound
    return RoundRow(*row.values())


async def _post(tx: Transaction, round_: RoundRow, operations: Sequence[Operation], *, close: bool = False) -> None:
    (outcome,) = (await post(tx, [_command(round_, operations, close=close)])).outcomes
    if isinstance(outcome, Refusal):
        raise outcome


def _command(round_: RoundRow, operations: Sequence[Operation], *, close: bool = False) -> Command:
    play = Play(round_.game_id, round_.external_id, None, close)
    return Command(round_.provider, round_.user_id, round_.currency, tuple(operations), play)
