"""Bets, wins and their reversals, and the rounds in which they happen. Pure, like `rules`."""

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from uuid import UUID

import msgspec
from msgspec.structs import replace

from countroom.money import AMOUNT_MAX, ZERO, unit
from countroom.wallet.commands import SECOND_ROW, Bet, Command, Operation, Play, Posted, Reverse, Win
from countroom.wallet.draft import Draft
from countroom.wallet.refusals import (
    BalanceLimit,
    ForeignRound,
    InsufficientFunds,
    NoOpenSession,
    NotReversible,
    PlayerBlocked,
    RoundClosed,
    RoundNotFound,
)
from countroom.wallet.state import Facts, Player, Round, Row, Session, SessionSums, Tombstone

_encode = msgspec.json.Encoder().encode


def split_win(amount: Decimal, *, bet: Decimal, bonus_bet: Decimal, smallest: Decimal) -> tuple[Decimal, Decimal]:
    """Split a win between main and bonus as the round's bets were, in the currency's smallest unit.

    Half a unit goes to main.

    A win without a bet is the player's own money.
    """
    if bonus_bet <= 0 or bet <= 0:
        return amount, ZERO
    if bonus_bet >= bet:
        return ZERO, amount
    main = (amount * (bet - bonus_bet) / bet).quantize(smallest, ROUND_HALF_UP)
    return main, amount - main


# Rounds ----------------------------------------------------------------------------------


def find_round(draft: Draft, facts: Facts, new: Sequence[Operation]) -> Round | None:
    """Find or open the command's round, and admit the bets among what is ``new`` in it.

    A bet that has been made before is a repeat, and needs no open round, session or admission (P2).
    """
    command, play, player = draft.command, draft.command.play, draft.player
    if play is None:
        return None
    name = (play.game_id, play.round_key)
    round_ = player.rounds.get(name) or facts.rounds.get(name)
    if round_ is not None and (round_.user_id != command.user_id or round_.currency != command.currency):
        raise ForeignRound
    betting = winning = False
    for operation in new:
        betting |= isinstance(operation, Bet)
        winning |= isinstance(operation, Win)
    if betting:
        _admit_bets(command, play, round_, player)
    if round_ is None:
        if not betting and (not winning or play.win_needs_round):
            if command.operations and not winning:
                return None  # a rollback of what never came: there is no round either
            raise RoundNotFound
        round_ = _open_round(draft, play)
    else:
        round_ = replace(round_)
    draft.rounds[round_.id] = round_
    return round_


def close_round(round_: Round, draft: Draft) -> None:
    """Settle a round that has not ended."""
    if round_.status in {"open", "unfinished"}:
        round_.status, round_.closed_at = "settled", draft.moment
        draft.moved = True


def _admit_bets(command: Command, play: Play, round_: Round | None, player: Player) -> None:
    """Hold bets to what P7 asks of them; wins and reversals never pass here."""
    if player.status != "active":
        raise PlayerBlocked
    session = player.sessions.get((play.game_id, play.session_id))
    if session is None or not session.is_open or session.currency != command.currency:
        raise NoOpenSession
    if play.session_id is not None and session.id != play.session_id:
        raise NoOpenSession
    if round_ is not None and round_.status == "settled":
        raise RoundClosed


def _open_round(draft: Draft, play: Play) -> Round:
    command = draft.command
    session = draft.player.sessions.get((play.game_id, play.session_id))
    if session is None or session.currency != command.currency:
        # Wins are always accepted (P7), also for a game that was never launched here.
        session = Session(draft.new_id(), command.currency, is_open=False)
        draft.new_session = session
    return Round(
        draft.new_id(), session.id, command.user_id, play.game_id, command.source, play.round_key,
        command.currency, ZERO, ZERO, ZERO, "open", draft.moment, None,
    )  # fmt: skip


def _count(round_: Round, kind: str, amount: Decimal, bonus: Decimal, draft: Draft) -> None:
    sums = draft.sums.get(round_.session_id)
    if sums is None:
        sums = draft.sums[round_.session_id] = SessionSums()
    if kind == "bet":
        round_.bet_amount += amount
        round_.bonus_bet_amount += bonus
        sums.bet += amount
    else:
        round_.win_amount += amount
        sums.win += amount
    if round_.bet_amount > AMOUNT_MAX or round_.win_amount > AMOUNT_MAX:
        raise BalanceLimit("The round's sums cannot hold that much.")


# Bets and wins ---------------------------------------------------------------------------


def bet(draft: Draft, operation: Bet, round_: Round | None) -> Posted:
    """Take a stake: main first, since bonus money carries terms that would lock up what is the player's own."""
    assert round_ is not None
    round_.status, round_.closed_at = "open", None
    if not operation.moves_money:
        return _track(draft, operation, "bet", round_)
    amount = operation.amount
    main, bonus = draft.wallet("main").balance, ZERO
    if main >= amount:
        main = amount
    else:
        bonus = amount - main
        if bonus > draft.wallet("bonus").balance:
            raise InsufficientFunds
    posted = _post(draft, operation, "bet", round_, main=main, bonus=bonus)
    _count(round_, "bet", amount, bonus, draft)
    return posted


def win(draft: Draft, operation: Win, round_: Round | None) -> Posted:
    """Pay a win, also into a round that is closed."""
    assert round_ is not None
    if not operation.moves_money:
        return _track(draft, operation, "win", round_)
    amount = operation.amount
    main, bonus = split_win(
        amount, bet=round_.bet_amount, bonus_bet=round_.bonus_bet_amount, smallest=unit(draft.command.currency)
    )
    posted = _post(draft, operation, "win", round_, main=main, bonus=bonus)
    _count(round_, "win", amount, bonus, draft)
    return posted


def _post(draft: Draft, operation: Bet | Win, kind: str, round_: Round, *, main: Decimal, bonus: Decimal) -> Posted:
    """Post one row for each wallet that it moves."""
    first: UUID | None = None
    for wallet_type, part in (("main", main), ("bonus", bonus)):
        if not part:
            continue
        row = draft.post(
            operation, kind, wallet_type, part, ending=SECOND_ROW if first is not None else "", round_=round_,
            metadata=metadata(operation, round_),
        )  # fmt: skip
        first = first or row.id
        if kind == "bet":
            draft.move(wallet_type, -part, row.id)
        else:
            draft.credit(wallet_type, part, row.id, operation)
    return Posted(operation.key, first, bonus)


def _track(draft: Draft, operation: Bet | Win, kind: str, round_: Round) -> Posted:
    """Keep a free round's bet or win under its key; its amount is for people, and moves nothing."""
    row = draft.post(operation, kind, "main", ZERO, round_=round_, metadata=metadata(operation, round_))
    return Posted(operation.key, row.id, ZERO)


def metadata(operation: Bet | Win, round_: Round) -> str:
    """Return what a bet's or win's row says beside its columns, as JSON."""
    content = {"round": round_.external_id}
    if operation.award:
        content["award"] = operation.award
    if not operation.moves_money and operation.amount:
        content["free_amount"] = str(operation.amount)
    return _encode(content).decode()


# Reversals -------------------------------------------------------------------------------


def reverse(draft: Draft, operation: Reverse, facts: Facts) -> Posted:
    """Undo a bet or a win exactly once (P4); what was never seen leaves a tombstone for ever."""
    target_id = f"{draft.command.source}:{operation.target}"
    first = first_end(target_id, draft, facts)
    rows = facts.rows.get(target_id) or draft.rows_of(target_id)
    if rows and (
        rows[0].type not in {"bet", "win"}
        or (rows[0].user_id, rows[0].currency) != (draft.command.user_id, draft.command.currency)
    ):
        raise NotReversible
    if first is not None:
        # The caller gets the first reversal's id: for him, this one has happened.
        draft.bury(operation, target_id, outcome="repeated", id=first.id)
    elif rows:
        _undo(draft, operation, rows, target_id, facts)
    elif target_id in facts.tombstones or target_id in draft.tombstones:
        raise NotReversible  # a reversal is not undone
    else:
        draft.bury(operation, target_id, outcome="unseen")
    return posted_reversal(operation.key, draft.tombstones[f"{draft.command.source}:{operation.key}"], draft, facts)


def first_end(target_id: str, draft: Draft, facts: Facts) -> Tombstone | None:
    """Return the one end of a target that counts (P4)."""
    known = facts.dead.get(target_id)
    if known is not None:
        return known
    for stone in draft.tombstones.values():
        if stone.target_external_id == target_id and stone.outcome != "repeated":
            return stone
    return None


def posted_reversal(key: str, stone: Tombstone, draft: Draft, facts: Facts) -> Posted:
    """Return what the caller of a reversal gets: our id, unless its target was never seen."""
    first = first_end(stone.target_external_id, draft, facts)
    assert first is not None
    return Posted(key, None if first.outcome == "unseen" else stone.id, ZERO)


def _undo(draft: Draft, operation: Reverse, rows: list[Row], target_id: str, facts: Facts) -> None:
    kind = rows[0].type
    stone = draft.bury(operation, target_id, outcome="reversed")
    whole = bonus = ZERO
    for row in rows:
        if kind == "bet":
            if row.amount:
                draft.credit(row.wallet_type, row.amount, row.id, operation)
            stone.amount += row.amount
        elif row.amount:
            short = draft.take_back(row.wallet_type, row.amount, row.id, operation)
            stone.shortfall += short
            stone.amount -= row.amount - short
        whole += row.amount
        bonus += row.amount if row.wallet_type == "bonus" else ZERO
        draft.end(row, "cancelled")
    round_id = rows[0].game_round_id
    assert round_id is not None
    round_ = draft.rounds.get(round_id)
    if round_ is None:
        round_ = draft.rounds[round_id] = replace(facts.rounds_by_id[round_id])
    _count(round_, kind, -whole, -bonus, draft)
    if round_.bet_amount == 0 and round_.win_amount == 0:
        round_.status, round_.closed_at = "cancelled", draft.moment
