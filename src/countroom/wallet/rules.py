"""What a batch of commands does to the wallets: pure, exact, one command after the other.

A `Ledger` is given what is already there (wallets under lock, known keys, rounds, sessions) and
applies commands to it in the order of their arrival. Each works on a draft; a refusal drops the
draft, so that a refused command leaves nothing behind (P5) and its neighbours never notice.
What is left in the ledger at the end is what one statement then writes.
"""

from collections.abc import Callable
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from uuid import UUID

import msgspec

from countroom.money import AMOUNT_MAX, unit
from countroom.wallet.commands import (
    SECOND_ROW,
    Answer,
    BalanceLimit,
    Bet,
    Command,
    Deposit,
    InsufficientFunds,
    KeyConflict,
    NoOpenSession,
    NotReversible,
    Operation,
    Play,
    PlayerBlocked,
    Posted,
    Reverse,
    RolledBack,
    RoundClosed,
    RoundNotFound,
    UnknownPlayer,
    WalletRefusal,
    Win,
    WrongCurrency,
    content_hash,
)
from countroom.wallet.state import (
    ZERO,
    Entry,
    Facts,
    Round,
    Row,
    Session,
    SessionSums,
    Tombstone,
    Wallet,
    Writes,
)


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


class _Draft:
    """One command's effects, kept apart until nothing can refuse it any more."""

    def __init__(self, main: Wallet, bonus: Wallet) -> None:
        self.main, self.bonus = main, bonus
        self.balance = {"main": main.balance, "bonus": bonus.balance}
        self.sequence = {"main": main.sequence, "bonus": bonus.sequence}
        self.rows: list[Row] = []
        self.entries: list[Entry] = []
        self.cancelled: list[Row] = []
        self.tombstones: dict[str, Tombstone] = {}
        self.rounds: dict[UUID, Round] = {}
        self.sums: dict[UUID, SessionSums] = {}
        self.posted: list[Posted] = []
        self.moved = False
        self.new_session: Session | None = None

    @property
    def spendable(self) -> Decimal:
        return self.balance["main"] + self.balance["bonus"]

    def rows_of(self, external_id: str) -> list[Row]:
        return [row for row in self.rows if _bare(row.external_id) == external_id]

    def wallet(self, wallet_type: str) -> Wallet:
        return self.main if wallet_type == "main" else self.bonus

    def move(self, wallet_type: str, amount: Decimal, transaction_id: UUID) -> None:
        after = self.balance[wallet_type] + amount
        assert after >= 0, "a rule let a balance fall below zero"
        if after > AMOUNT_MAX:
            raise BalanceLimit
        self.balance[wallet_type] = after
        self.sequence[wallet_type] += 1
        self.entries.append(
            Entry(self.wallet(wallet_type).id, self.sequence[wallet_type], transaction_id, amount, after)
        )


class Ledger:
    """Applies commands to facts, one after the other."""

    def __init__(self, facts: Facts, *, moment: datetime, new_id: Callable[[], UUID]) -> None:
        self.facts = facts
        self.moment = moment
        self.new_id = new_id
        self.writes = Writes()

    def apply(self, command: Command) -> Answer:
        """Apply one command.

        Raises:
            WalletRefusal: one of its kinds, with the balance before the command; nothing of the
                command has happened.
        """
        draft = _Draft(*self._wallets(command))
        before = draft.spendable
        try:
            answer = self._replay(command, draft)
            if answer is not None:
                return answer
            round_ = self._round_for(command, draft)
            for operation in command.operations:
                self._operate(command, operation, round_, draft)
            if command.play is not None and command.play.close_round and round_ is not None:
                self._close(round_, draft)
        except WalletRefusal as refusal:
            refusal.balance = before
            raise
        self._commit(command, draft)
        round_id = round_.id if round_ is not None else None
        return Answer(tuple(draft.posted), draft.spendable, round_id, repeated=False)

    # What a command finds ----------------------------------------------------------------

    def _wallets(self, command: Command) -> tuple[Wallet, Wallet]:
        main = self.facts.wallets.get((command.user_id, command.currency, "main"))
        bonus = self.facts.wallets.get((command.user_id, command.currency, "bonus"))
        if main is None or bonus is None:
            if command.user_id in self.facts.player_status:
                raise WrongCurrency
            raise UnknownPlayer
        return main, bonus

    def _replay(self, command: Command, draft: _Draft) -> Answer | None:
        """Give the first answer again when every operation has been done before (P2)."""
        posted: list[Posted] = []
        balance, round_id = draft.spendable, None
        for operation in command.operations:
            external_id = f"{command.source}:{operation.key}"
            known = self._known(command, operation, external_id, draft)
            if known is None:
                return None
            if isinstance(known, Tombstone):
                posted.append(self._posted_reversal(operation.key, known, draft))
                balance = known.answer_balance
            else:
                posted.append(_posted_rows(operation.key, known))
                first = known[0]
                round_id = first.game_round_id
                assert first.answer_balance is not None
                balance = first.answer_balance
        if not posted:
            return None  # nothing but a round to close
        if round_id is None and command.play is not None:
            round_ = self.facts.rounds.get((command.play.game_id, command.play.round_key))
            round_id = round_.id if round_ is not None else None
        return Answer(tuple(posted), balance, round_id, repeated=True)

    def _known(
        self, command: Command, operation: Operation, external_id: str, draft: _Draft
    ) -> list[Row] | Tombstone | None:
        """Return what a key has done before, also earlier in the same command.

        Raises:
            KeyConflict: the same key with other content.
        """
        rows = self.facts.rows.get(external_id) or draft.rows_of(external_id)
        stone = self.facts.tombstones.get(external_id) or draft.tombstones.get(external_id)
        if not rows and stone is None:
            return None
        same = content_hash(command, operation)
        if isinstance(operation, Reverse):
            if stone is None or stone.request_hash != same:
                raise KeyConflict
            return stone
        if not rows or rows[0].request_hash != same:
            raise KeyConflict
        return rows

    def _first_reversal(self, target_id: str, draft: _Draft) -> Tombstone | None:
        """Return the one reversal of a target that counts (P4)."""
        earlier = (
            stone
            for stone in draft.tombstones.values()
            if stone.target_external_id == target_id and stone.outcome != "repeated"
        )
        return self.facts.dead.get(target_id) or next(earlier, None)

    def _round_for(self, command: Command, draft: _Draft) -> Round | None:
        """Find or open the command's round."""
        play = command.play
        if play is None:
            return None
        betting = any(isinstance(operation, Bet) for operation in command.operations)
        round_ = self.facts.rounds.get((play.game_id, play.round_key))
        if round_ is not None and (round_.user_id != command.user_id or round_.currency != command.currency):
            raise KeyConflict("This round belongs to another player or currency.")
        if betting:
            self._admit_bets(command, play, round_)
        if round_ is None:
            if not any(isinstance(operation, (Bet, Win)) for operation in command.operations):
                if command.operations:
                    return None  # a rollback of what never came: there is no round either
                raise RoundNotFound
            round_ = self._open_round(command, play, draft)
        draft.rounds[round_.id] = copied = _copy(round_)
        return copied

    def _admit_bets(self, command: Command, play: Play, round_: Round | None) -> None:
        """Hold bets to what P7 asks of them; wins and reversals never pass here."""
        if self.facts.player_status.get(command.user_id) != "active":
            raise PlayerBlocked
        session = self.facts.sessions.get((command.user_id, play.game_id, play.session_id))
        if session is None or not session.is_open or session.currency != command.currency:
            raise NoOpenSession
        if play.session_id is not None and session.id != play.session_id:
            raise NoOpenSession
        if round_ is not None and round_.status == "settled":
            raise RoundClosed

    def _open_round(self, command: Command, play: Play, draft: _Draft) -> Round:
        session = self.facts.sessions.get((command.user_id, play.game_id, play.session_id))
        if session is None or session.currency != command.currency:
            # Wins are always accepted (P7), also for a game that was never launched here.
            session = Session(self.new_id(), command.currency, is_open=False)
            draft.new_session = session
        return Round(
            self.new_id(), session.id, command.user_id, play.game_id, command.source, play.round_key,
            command.currency, ZERO, ZERO, ZERO, "open", self.moment, None,
        )  # fmt: skip

    # What a command does -----------------------------------------------------------------

    def _operate(self, command: Command, operation: Operation, round_: Round | None, draft: _Draft) -> None:
        external_id = f"{command.source}:{operation.key}"
        if operation.key.endswith(SECOND_ROW):
            raise KeyConflict("An id may not end in /bonus.")
        known = self._known(command, operation, external_id, draft)
        if isinstance(known, Tombstone):
            draft.posted.append(self._posted_reversal(operation.key, known, draft))
        elif known is not None:
            draft.posted.append(_posted_rows(operation.key, known))
        elif isinstance(operation, Reverse):
            self._reverse(command, operation, external_id, draft)
        else:
            if external_id in self.facts.dead:
                raise RolledBack
            draft.posted.append(self._post(command, operation, external_id, round_, draft))

    def _post(
        self, command: Command, operation: Bet | Win | Deposit, external_id: str, round_: Round | None, draft: _Draft
    ) -> Posted:
        amount = operation.amount
        assert amount > 0
        if isinstance(operation, Bet):
            kind, sign = "bet", -1
            main = min(amount, draft.balance["main"])
            bonus = amount - main
            if bonus > draft.balance["bonus"]:
                raise InsufficientFunds
        elif isinstance(operation, Win):
            kind, sign = "win", 1
            assert round_ is not None
            main, bonus = split_win(
                amount, bet=round_.bet_amount, bonus_bet=round_.bonus_bet_amount, smallest=unit(command.currency)
            )
        else:
            kind, sign = "deposit", 1
            main, bonus = amount, ZERO
        first: UUID | None = None
        for wallet_type, part in (("main", main), ("bonus", bonus)):
            if part == 0:
                continue
            row = self._row(
                command,
                operation,
                external_id=external_id,
                kind=kind,
                wallet=draft.wallet(wallet_type),
                amount=part,
                round_=round_,
            )
            if first is not None:
                row.external_id += SECOND_ROW
            first = first or row.id
            draft.rows.append(row)
            draft.move(wallet_type, sign * part, row.id)
        draft.moved = True
        if round_ is not None:
            self._count(round_, kind, amount, bonus, draft)
            round_.status, round_.closed_at = ("open", None) if kind == "bet" else (round_.status, round_.closed_at)
        return Posted(operation.key, first, bonus)

    def _row(
        self, command: Command, operation: Bet | Win | Deposit, *, external_id: str, kind: str, wallet: Wallet,
        amount: Decimal, round_: Round | None,
    ) -> Row:  # fmt: skip
        return Row(
            id=self.new_id(),
            external_id=external_id,
            wallet_account_id=wallet.id,
            wallet_type=wallet.type,
            user_id=command.user_id,
            currency=command.currency,
            type=kind,
            status="success",
            amount=amount,
            request_hash=content_hash(command, operation),
            answer_balance=None,
            provider=command.source,
            game_id=command.play.game_id if command.play is not None else None,
            game_round_id=round_.id if round_ is not None else None,
            payment_id=operation.payment_id if isinstance(operation, Deposit) else None,
            metadata=_metadata(command),
        )

    def _reverse(self, command: Command, operation: Reverse, external_id: str, draft: _Draft) -> None:
        """Undo a bet or a win exactly once (P4); what was never seen leaves a tombstone for ever."""
        target_id = f"{command.source}:{operation.target}"
        stone = Tombstone(
            external_id, target_id, self.new_id(), command.user_id, content_hash(command, operation),
            "unseen", ZERO, ZERO, ZERO,
        )  # fmt: skip
        first = self._first_reversal(target_id, draft)
        rows = self.facts.rows.get(target_id) or draft.rows_of(target_id)
        if first is not None:
            # The caller gets the first reversal's id: for him, this one has happened.
            stone.outcome, stone.id = "repeated", first.id
        elif rows:
            self._undo(command, rows, stone, draft)
        draft.tombstones[external_id] = stone
        draft.posted.append(self._posted_reversal(operation.key, stone, draft))

    def _undo(self, command: Command, rows: list[Row], stone: Tombstone, draft: _Draft) -> None:
        kind = rows[0].type
        if rows[0].user_id != command.user_id or rows[0].currency != command.currency or kind not in {"bet", "win"}:
            raise NotReversible
        stone.outcome = "reversed"
        whole = bonus = ZERO
        for row in rows:
            back = row.amount
            if kind == "win":
                # What the player has spent meanwhile is not there to be taken; it stays on record.
                back = min(row.amount, draft.balance[row.wallet_type])
                stone.shortfall += row.amount - back
            signed = back if kind == "bet" else -back
            if back:
                draft.move(row.wallet_type, signed, row.id)
            stone.amount += signed
            whole += row.amount
            bonus += row.amount if row.wallet_type == "bonus" else ZERO
            draft.cancelled.append(row)
        draft.moved = True
        round_id = rows[0].game_round_id
        assert round_id is not None
        round_ = draft.rounds.get(round_id)
        if round_ is None:
            round_ = draft.rounds[round_id] = _copy(self.facts.rounds_by_id[round_id])
        self._count(round_, kind, -whole, -bonus, draft)
        if round_.bet_amount == 0 and round_.win_amount == 0:
            round_.status, round_.closed_at = "cancelled", self.moment

    def _posted_reversal(self, key: str, stone: Tombstone, draft: _Draft) -> Posted:
        first = self._first_reversal(stone.target_external_id, draft)
        assert first is not None
        return Posted(key, None if first.outcome == "unseen" else stone.id, ZERO)

    def _count(self, round_: Round, kind: str, amount: Decimal, bonus: Decimal, draft: _Draft) -> None:
        sums = draft.sums.setdefault(round_.session_id, SessionSums())
        if kind == "bet":
            round_.bet_amount += amount
            round_.bonus_bet_amount += bonus
            sums.bet += amount
        else:
            round_.win_amount += amount
            sums.win += amount

    def _close(self, round_: Round, draft: _Draft) -> None:
        if round_.status == "open":
            round_.status, round_.closed_at = "settled", self.moment
            draft.moved = True

    # What is left of it ------------------------------------------------------------------

    def _commit(self, command: Command, draft: _Draft) -> None:
        """Make the draft part of the ledger, so that the next command of the batch meets it."""
        writes, facts = self.writes, self.facts
        if draft.new_session is not None and command.play is not None:
            play, session = command.play, draft.new_session
            facts.sessions[command.user_id, play.game_id, play.session_id] = session
            writes.new_sessions.append((session.id, command.user_id, play.game_id, command.currency))
        for row in draft.rows:
            row.answer_balance = draft.spendable
            facts.rows.setdefault(_bare(row.external_id), []).append(row)
        writes.rows += draft.rows
        writes.entries += draft.entries
        for row in draft.cancelled:
            row.status = "cancelled"  # a row of this batch is written so; for it the update below changes nothing
            writes.cancelled.append(row.id)
        for stone in draft.tombstones.values():
            stone.answer_balance = draft.spendable
            facts.tombstones[stone.external_id] = stone
            if stone.outcome != "repeated":
                facts.dead[stone.target_external_id] = stone
        writes.tombstones += draft.tombstones.values()
        for wallet in (draft.main, draft.bonus):
            if draft.sequence[wallet.type] != wallet.sequence:
                wallet.balance, wallet.sequence = draft.balance[wallet.type], draft.sequence[wallet.type]
                writes.wallets[wallet.id] = wallet
        if draft.moved:
            self._commit_rounds(draft)

    def _commit_rounds(self, draft: _Draft) -> None:
        for round_ in draft.rounds.values():
            is_new = round_.id not in self.facts.rounds_by_id or round_.id in self.writes.new_rounds
            (self.writes.new_rounds if is_new else self.writes.changed_rounds)[round_.id] = round_
            self.facts.rounds[round_.game_id, round_.external_id] = round_
            self.facts.rounds_by_id[round_.id] = round_
        for session_id, sums in draft.sums.items():
            total = self.writes.sessions.setdefault(session_id, SessionSums())
            total.bet += sums.bet
            total.win += sums.win


def _copy(round_: Round) -> Round:
    return Round(
        round_.id, round_.session_id, round_.user_id, round_.game_id, round_.provider, round_.external_id,
        round_.currency, round_.bet_amount, round_.win_amount, round_.bonus_bet_amount, round_.status,
        round_.opened_at, round_.closed_at,
    )  # fmt: skip


def _metadata(command: Command) -> str:
    if command.play is None:
        return "{}"
    return msgspec.json.encode({"round": command.play.round_key}).decode()


def _bare(external_id: str) -> str:
    return external_id.removesuffix(SECOND_ROW)


def _posted_rows(key: str, rows: list[Row]) -> Posted:
    return Posted(key, rows[0].id, sum((row.amount for row in rows if row.wallet_type == "bonus"), ZERO))
