"""What a batch of commands does to the wallets: pure, exact, one command after the other.

A `Ledger` is given what is already there (purses, known keys, rounds, sessions) and applies
commands to it in the order of their arrival. Each works on a draft; a refusal drops the draft, so
that a refused command leaves nothing behind (P5) and its neighbours never notice. What is left in
the ledger at the end is what one statement then writes.

What the operations themselves do is in `play` (bets, wins, reversals) and `cashier` (the rest).
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

from countroom.money import AMOUNT_MAX, EXPONENTS, ZERO, unit
from countroom.wallet import cashier, plain, play
from countroom.wallet.commands import (
    KEY_LENGTH_MAX,
    RESERVED,
    SECOND_ROW,
    Adjust,
    Answer,
    Bet,
    Command,
    Conclude,
    Convert,
    Deposit,
    Forfeit,
    Grant,
    Operation,
    Posted,
    Reverse,
    Win,
    Withdraw,
    content_hash,
)
from countroom.wallet.draft import Draft
from countroom.wallet.refusals import (
    BalanceLimit,
    InvalidOperation,
    KeyConflict,
    RolledBack,
    UnknownPlayer,
    WalletRefusal,
    WrongCurrency,
)
from countroom.wallet.state import Facts, Player, Round, Row, Tombstone, Writes

_CASHIER: Final[dict[type, Callable[..., Posted]]] = {
    Deposit: cashier.deposit,
    Withdraw: cashier.withdraw,
    Grant: cashier.grant,
    Convert: cashier.convert,
    Forfeit: cashier.forfeit,
    Adjust: cashier.adjust,
}


def check(command: Command) -> None:
    """Refuse what no wallet can do, before anything is read.

    Raises:
        InvalidOperation: a key or an amount is none; ``field`` names it.
        WrongCurrency: nobody can hold a wallet in this currency.
    """
    if command.currency not in EXPONENTS:
        raise WrongCurrency(field="currency")
    smallest = unit(command.currency)
    if command.play is not None:
        _check_name(command.play.round_key, "round")
    for operation in command.operations:
        _check_key(operation.key, "key")
        if isinstance(operation, (Bet, Win, Grant)) and operation.award:
            _check_name(operation.award, "award")
        if isinstance(operation, (Reverse, Conclude)):
            _check_key(operation.target, "target")
            continue
        amount = operation.amount
        if isinstance(operation, (Bet, Win)) and not operation.moves_money and amount.is_zero():
            continue  # a round that ended without a win is told, too
        if isinstance(operation, Adjust):
            amount = amount.copy_abs()  # abs() would round it first
        _check_amount(amount, smallest, "amount")
        if isinstance(operation, (Deposit, Withdraw)) and operation.fee:
            _check_amount(operation.fee, smallest, "fee")


def _check_name(name: str, field: str) -> None:
    if not name or len(name) > KEY_LENGTH_MAX or not name.isprintable():
        raise InvalidOperation("An id is printable and has 1 to 200 characters.", field=field)


def _check_key(key: str, field: str) -> None:
    _check_name(key, field)
    if key.endswith(RESERVED):
        raise InvalidOperation(f"An id may not end in {', '.join(RESERVED)}.", field=field)


def _check_amount(amount: Decimal, smallest: Decimal, field: str) -> None:
    if not amount.is_finite() or amount <= 0 or amount > AMOUNT_MAX or amount % smallest:
        raise InvalidOperation("An amount is positive, no finer than its currency and fits the wallet.", field=field)


class Ledger:
    """Applies commands to facts, one after the other."""

    def __init__(self, facts: Facts, *, moment: datetime, new_id: Callable[[], UUID]) -> None:
        self.facts = facts
        self.moment = moment
        self.new_id = new_id
        self.writes = Writes()

    def apply(self, command: Command) -> Answer:
        """Apply one command, which `check` has let through.

        Raises:
            WalletRefusal: one of its kinds, with the balance before the command; nothing of the
                command has happened.
        """
        answer = plain.post(command, self.facts, self.writes, moment=self.moment, new_id=self.new_id)
        return answer if answer is not None else self.decide(command)

    def decide(self, command: Command) -> Answer:
        """Apply one command of any kind, on a draft.

        Raises:
            WalletRefusal: as of `apply`.
        """
        player = self._player(command)
        draft = Draft(command, player, moment=self.moment, new_id=self.new_id)
        try:
            known = [self._known(operation, draft) for operation in command.operations]
            if known and None not in known:
                return self._replay(draft, known)
            new = [operation for operation, before in zip(command.operations, known, strict=True) if before is None]
            if command.play is not None and command.play.accept_reversed:
                new = [operation for operation in new if not self._is_dead(operation, draft)]
            round_ = play.find_round(draft, self.facts, new)
            for operation, before in zip(command.operations, known, strict=True):
                draft.posted.append(self._operate(operation, before, round_, draft))
            if command.play is not None and command.play.close_round and round_ is not None:
                play.close_round(round_, draft)
            if draft.spendable > AMOUNT_MAX:
                raise BalanceLimit  # each wallet could hold its part, and no answer their sum
        except WalletRefusal as refusal:
            refusal.balance = player.purse.spendable
            raise
        balance = draft.spendable
        if draft.moved:
            self._commit(draft, balance)
        round_id = self._answered_round(draft, round_.id if round_ is not None else None)
        return Answer(tuple(draft.posted), balance, round_id, repeated=False)

    # What a command finds ----------------------------------------------------------------

    def _player(self, command: Command) -> Player:
        whose = (command.user_id, command.currency)
        player = self.facts.players.get(whose)
        if player is None:
            if whose in self.facts.players:
                raise WrongCurrency(field="currency")
            raise UnknownPlayer
        return player

    def _replay(self, draft: Draft, known: Sequence[list[Row] | Tombstone | None]) -> Answer:
        """Give the first answer again: every operation has been done before (P2)."""
        command = draft.command
        posted: list[Posted] = []
        balance, round_id = ZERO, None  # the round of the first bet or win
        for operation, before in zip(command.operations, known, strict=True):
            assert before is not None
            posted.append(self._posted_before(operation, before, draft))
            if isinstance(before, Tombstone):
                balance = before.answer_balance
            else:
                round_id = round_id or before[0].game_round_id
                assert before[0].answer_balance is not None
                balance = before[0].answer_balance
        return Answer(tuple(posted), balance, self._answered_round(draft, round_id), repeated=True)

    def _answered_round(self, draft: Draft, played: UUID | None) -> UUID | None:
        """Return the round of the first bet, win or undone bet or win: every repeat finds the same one.

        Not the round that a reversal names: it may be opened between a reversal and its repeat.
        """
        command = draft.command
        for operation in command.operations:
            if isinstance(operation, (Bet, Win)):
                return played
            if isinstance(operation, Reverse):
                rows = self.facts.rows.get(f"{command.source}:{operation.target}")
                if rows and rows[0].game_round_id is not None:
                    return rows[0].game_round_id
        return None if command.operations else played

    def _known(self, operation: Operation, draft: Draft) -> list[Row] | Tombstone | None:
        """Return what a key has done before, also earlier in the same command.

        Raises:
            KeyConflict: the same key with other content.
        """
        external_id = f"{draft.command.source}:{operation.key}"
        rows = self.facts.rows.get(external_id)
        stone = self.facts.tombstones.get(external_id)
        if draft.moved:
            rows = rows or draft.rows_of(external_id)
            stone = stone or draft.tombstones.get(external_id)
        if not rows and stone is None:
            return None
        same = content_hash(draft.command, operation)
        if isinstance(operation, (Reverse, Conclude)):
            if stone is None or stone.request_hash != same:
                raise KeyConflict
            return stone
        if not rows or rows[0].request_hash != same:
            raise KeyConflict
        return rows

    def _posted_before(self, operation: Operation, known: list[Row] | Tombstone, draft: Draft) -> Posted:
        if isinstance(known, Tombstone):
            if isinstance(operation, Conclude):
                return Posted(operation.key, known.id, ZERO)
            return play.posted_reversal(operation.key, known, draft, self.facts)
        bonus = sum((row.amount for row in known if row.wallet_type == "bonus"), ZERO)
        return Posted(operation.key, known[0].id, bonus)

    # What a command does -----------------------------------------------------------------

    def _operate(
        self, operation: Operation, known: list[Row] | Tombstone | None, round_: Round | None, draft: Draft
    ) -> Posted:
        if known is None and draft.moved:
            known = self._known(operation, draft)  # a key may come twice in one command
        posted = self._late(operation, draft) if known is None else self._posted_before(operation, known, draft)
        if posted is not None:
            return posted
        if isinstance(operation, Reverse):
            return play.reverse(draft, operation, self.facts)
        if isinstance(operation, Conclude):
            return cashier.conclude(draft, operation, self.facts)
        if isinstance(operation, Bet):
            return play.bet(draft, operation, round_)
        if isinstance(operation, Win):
            return play.win(draft, operation, round_)
        return _CASHIER[type(operation)](draft, operation)

    def _late(self, operation: Operation, draft: Draft) -> Posted | None:
        """Refuse what was reversed before it came, or let it move nothing where its protocol wants that (P4)."""
        if isinstance(operation, (Reverse, Conclude)) or not self._is_dead(operation, draft):
            return None
        if draft.command.play is not None and draft.command.play.accept_reversed:
            return Posted(operation.key, None, ZERO)
        raise RolledBack

    def _is_dead(self, operation: Operation, draft: Draft) -> bool:
        """Whether a reversal has come before the operation itself (P4)."""
        return play.first_end(f"{draft.command.source}:{operation.key}", draft, self.facts) is not None

    # What is left of it ------------------------------------------------------------------

    def _commit(self, draft: Draft, balance: Decimal) -> None:
        """Make the draft part of the ledger, so that the next command of the batch meets it."""
        writes, facts, purse = self.writes, self.facts, draft.purse
        writes.is_plain = False
        for wallet_type, wallet in draft.touched.items():
            setattr(purse, wallet_type, wallet)
            writes.wallets[wallet.id] = wallet
        writes.purses[purse.main.id] = purse
        for row in draft.rows:
            row.answer_balance = balance
            facts.rows.setdefault(row.external_id.removesuffix(SECOND_ROW), []).append(row)
        writes.rows += draft.rows
        writes.entries += draft.entries
        if draft.tombstones:
            self._commit_ends(draft, balance)
        if draft.rounds:
            self._commit_rounds(draft)

    def _commit_ends(self, draft: Draft, balance: Decimal) -> None:
        writes, facts = self.writes, self.facts
        for row, status in draft.ended.values():
            row.status = status  # a row of this batch is written so; for it the update below changes nothing
            writes.ended[row.id] = status
        for stone in draft.tombstones.values():
            stone.answer_balance = balance
            facts.tombstones[stone.external_id] = stone
            if stone.outcome != "repeated":
                facts.dead[stone.target_external_id] = stone
            writes.tombstones.append(stone)

    def _commit_rounds(self, draft: Draft) -> None:
        command, writes, facts = draft.command, self.writes, self.facts
        if draft.new_session is not None and command.play is not None:
            session = draft.new_session
            draft.player.sessions[command.play.game_id, command.play.session_id] = session
            writes.new_sessions[session.id] = (command.user_id, command.play.game_id, command.currency)
        for round_ in draft.rounds.values():
            name = (round_.game_id, round_.external_id)
            was_there = draft.player.rounds.pop(name, None) is not None or round_.id in facts.rounds_by_id
            is_new = round_.id in writes.new_rounds or not was_there
            (writes.new_rounds if is_new else writes.changed_rounds)[round_.id] = round_
            draft.player.rounds[name] = facts.rounds[name] = facts.rounds_by_id[round_.id] = round_
        for session_id, sums in draft.sums.items():
            total = writes.sessions.get(session_id)
            if total is None:
                writes.sessions[session_id] = sums
            else:
                total.bet += sums.bet
                total.win += sums.win
