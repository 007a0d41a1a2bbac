"""The bet or win that nearly all are: alone in its command, and on the main wallet alone.

`rules.Ledger` decides everything. Most of what that costs is the draft, which can be dropped when
something is refused half way. Here whatever could refuse is looked at before anything is touched, so
no draft is needed. What is not so plain, and what is to be refused, is left to the ledger: `post`
never refuses. A test holds both to the same answers and the same rows (tests/wallet/test_plain.py).
"""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from countroom.money import AMOUNT_MAX, ZERO
from countroom.wallet.commands import Answer, Bet, Command, Play, Posted, Win, content_hash
from countroom.wallet.play import metadata
from countroom.wallet.state import Entry, Facts, Player, Round, Row, Session, SessionSums, Wallet, Writes


def post(
    command: Command, facts: Facts, writes: Writes, *, moment: datetime, new_id: Callable[[], UUID]
) -> Answer | None:
    """Post a plain bet or win; None, and nothing touched, where the ledger has to look at it."""
    play, player = command.play, facts.players.get((command.user_id, command.currency))
    operation = _only_operation(command, facts)
    if operation is None or play is None or player is None:
        return None
    is_bet = type(operation) is Bet
    place = _place_of_bet(player, play, command, facts) if is_bet else _round_of_win(player, play, command)
    main, amount = player.purse.main, operation.amount
    moved = -amount if is_bet else amount
    after = main.balance + moved
    balance = after + player.purse.bonus.balance
    if place is None or after < 0 or balance > AMOUNT_MAX or _is_full(place, amount):
        return None

    if isinstance(place, Round):
        round_ = place
        if round_.id in writes.new_rounds:
            writes.is_plain = False
        else:
            facts.rounds_by_id[round_.id] = writes.changed_rounds[round_.id] = round_
    else:
        round_ = Round(
            new_id(), place.id, command.user_id, play.game_id, command.source, play.round_key, command.currency,
            ZERO, ZERO, ZERO, "open", moment, None,
        )  # fmt: skip
        name = (play.game_id, play.round_key)
        player.rounds[name] = facts.rounds[name] = facts.rounds_by_id[round_.id] = writes.new_rounds[round_.id] = round_
    _count(round_, writes, bet=amount if is_bet else ZERO, win=ZERO if is_bet else amount)
    if play.close_round:
        round_.status, round_.closed_at = "settled", moment
        writes.is_plain = writes.is_plain and round_.id not in writes.new_rounds

    # A new one: whoever heard of the wallet after the pass before must not see what this one may not get written.
    main = player.purse.main = writes.wallets[main.id] = Wallet(
        main.id, main.user_id, main.currency, "main", after, main.sequence + 1, main.receivable
    )
    writes.purses[main.id] = player.purse
    row = Row(
        new_id(), f"{command.source}:{operation.key}", main.id, "main", command.user_id, command.currency,
        "bet" if is_bet else "win", "success", amount, ZERO, content_hash(command, operation), balance, command.source,
        play.game_id, round_.id, None, metadata(operation, round_),
    )  # fmt: skip
    facts.rows[row.external_id] = [row]
    writes.rows.append(row)
    writes.entries.append(Entry(main.id, main.sequence, row.id, moved, after))
    return Answer((Posted(operation.key, row.id, ZERO),), balance, round_.id, repeated=False)


def _only_operation(command: Command, facts: Facts) -> Bet | Win | None:
    """Return the command's only operation, if it is a bet or win for money whose key is new."""
    if len(command.operations) != 1:
        return None
    operation = command.operations[0]
    if not isinstance(operation, (Bet, Win)) or operation.award or not operation.moves_money:
        return None
    external_id = f"{command.source}:{operation.key}"
    if external_id in facts.rows or external_id in facts.tombstones or external_id in facts.dead:
        return None
    return operation


def _place_of_bet(player: Player, play: Play, command: Command, facts: Facts) -> Round | Session | None:
    """Return the round of a bet, or the session in which it opens one, if nothing is in its way."""
    session = player.sessions.get((play.game_id, play.session_id))
    if session is None or player.status != "active" or not session.is_open or session.currency != command.currency:
        return None
    if play.session_id is not None and session.id != play.session_id:
        return None
    name = (play.game_id, play.round_key)
    round_ = player.rounds.get(name)
    if round_ is None:
        return None if name in facts.rounds else session
    return round_ if _is_open(round_, command) else None


def _round_of_win(player: Player, play: Play, command: Command) -> Round | None:
    """Return the round of a win, if all of it belongs in the main wallet, which owes nothing."""
    round_ = player.rounds.get((play.game_id, play.round_key))
    if round_ is None or round_.bonus_bet_amount or player.purse.main.receivable:
        return None
    return round_ if _is_open(round_, command) else None


def _is_open(round_: Round, command: Command) -> bool:
    return (
        round_.status == "open" and round_.user_id == command.user_id and round_.currency == command.currency
    )  # fmt: skip


def _is_full(place: Round | Session, amount: Decimal) -> bool:
    """Whether the round's sums may not hold this much more."""
    return isinstance(place, Round) and max(place.bet_amount, place.win_amount) + amount > AMOUNT_MAX


def _count(round_: Round, writes: Writes, *, bet: Decimal, win: Decimal) -> None:
    sums = writes.sessions.get(round_.session_id)
    if sums is None:
        sums = writes.sessions[round_.session_id] = SessionSums()
    if bet:
        round_.bet_amount += bet
        sums.bet += bet
    else:
        round_.win_amount += win
        sums.win += win
