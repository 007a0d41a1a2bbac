"""The wallet once more: one command after the other, without database, batch or clock.

Written from the design's table of operations, not from the wallet's code. A world maps names to values that
never change; a command gives the next world, and what its caller is told.
"""

from decimal import Decimal
from fractions import Fraction
from math import floor
from typing import Any, NamedTuple

from countroom.wallet import commands as c

MOST, NONE = Decimal("9999999999999999.99"), Decimal(0)
UNIT = {"EUR": Decimal("0.01"), "JPY": Decimal(1), "USD": Decimal("0.01")}
World = dict[tuple[Any, ...], Any]


class Told(NamedTuple):
    code: str  # "ok", or a refusal's
    balance: Decimal | None = None
    posted: tuple[tuple[str, str | None, Decimal], ...] = ()  # key, id (here a name), bonus part
    round: str | None = None
    repeated: bool = False


class Done(NamedTuple):
    says: tuple[Any, ...]  # the same key and something else is a conflict
    id: str | None = None
    parts: tuple[tuple[str, Decimal], ...] = ()  # what it moved, by wallet
    bonus: Decimal = NONE
    round: str | None = None
    balance: Decimal = NONE


class Round(NamedTuple):
    who: tuple[Any, ...]
    bet: Decimal = NONE
    bonus: Decimal = NONE
    win: Decimal = NONE
    status: str = "open"


class No(Exception):  # noqa: N818 - an answer, not an error
    pass


def apply(world: World, command: c.Command) -> tuple[World, Told]:
    who = (command.user_id, command.currency)
    if not all(_is_sound(operation, UNIT.get(command.currency)) for operation in command.operations):
        return world, Told("invalid_operation" if command.currency in UNIT else "wrong_currency")
    if ("money", *who, "main") not in world:
        return world, Told("wrong_currency" if ("player", who[0]) in world else "unknown_player")
    attempt = _Attempt(dict(world), command)
    try:
        return attempt.world, attempt.run()
    except No as no:
        return world, Told(str(no), _Attempt(world, command).spendable())


def _is_sound(operation: Any, unit: Decimal | None) -> bool:
    if unit is None:
        return False
    names = (operation.key, getattr(operation, "target", operation.key))
    amount: Decimal = getattr(operation, "amount", unit)
    sizes: tuple[Decimal, ...] = (abs(amount) if isinstance(operation, c.Adjust) else amount,)
    sizes += (operation.fee,) if getattr(operation, "fee", NONE) else ()
    return (
        all(1 <= len(name) <= 200 and name.isprintable() for name in names)
        and not any(name.endswith(("/bonus", "/receivable", "/repayment")) for name in names)
        and all(size.is_finite() and 0 < size <= MOST and not size % unit for size in sizes)
    )


class _Attempt:
    """A command under way; its world is thrown away when it is refused."""

    def __init__(self, world: World, command: c.Command) -> None:
        self.world, self.command, self.who = world, command, (command.user_id, command.currency)
        self.round = command.play.round_key if command.play else None

    def spendable(self) -> Decimal:
        return sum((self.world["money", *self.who, wallet] for wallet in ("main", "bonus")), NONE)

    def run(self) -> Told:
        operations, play = self.command.operations, self.command.play
        repeated = bool(operations) and all(map(self.knows, operations))
        if not repeated:
            new = [operation for operation in operations if ("done", operation.key) not in self.world]
            if play:
                bets = [operation for operation in operations if isinstance(operation, c.Bet)]
                self.enter(play, is_bet=any(("row", bet.key) not in self.world for bet in bets))
            for operation in operations:
                if not self.knows(operation):
                    self.do(operation, operation.key)
            if play and play.close_round and (round_ := self.world.get(("round", self.round))):
                self.world["round", self.round] = round_._replace(status=round_.status.replace("open", "settled"))
            if self.spendable() > MOST:
                raise No("balance_limit")
            for operation in new:
                self.note(operation.key, balance=self.spendable())
        done = [self.world["done", operation.key] for operation in operations]
        posted = tuple((o.key, d.id, d.bonus) for o, d in zip(operations, done, strict=True))
        round_name = next((d.round for d in done if d.round), None) if operations else self.round
        return Told("ok", done[-1].balance if repeated else self.spendable(), posted, round_name, repeated)

    def says(self, operation: c.Operation) -> tuple[Any, ...]:
        fields = (getattr(operation, name) for name in operation.__struct_fields__ if name != "key")
        return (type(operation), self.who, self.round if isinstance(operation, c.Bet | c.Win) else None, *fields)

    def knows(self, operation: c.Operation) -> bool:
        done: Done | None = self.world.get(("done", operation.key))
        if done is not None and done.says != self.says(operation):
            raise No("key_conflict")
        return done is not None

    def note(self, key: str, **facts: Any) -> None:
        self.world["done", key] = self.world["done", key]._replace(**facts)

    def enter(self, play: c.Play, *, is_bet: bool) -> None:
        found: Round | None = self.world.get(("round", self.round))
        kinds = {type(operation) for operation in self.command.operations}
        if found and found.who != self.who:
            raise No("foreign_round")
        if found and found.status == "settled" and is_bet:
            raise No("round_closed")
        if not found and c.Bet not in kinds and (not kinds or (c.Win in kinds and play.win_needs_round)):
            raise No("round_not_found")
        if not found and kinds & {c.Bet, c.Win}:
            self.world["round", self.round] = Round(self.who)

    def do(self, operation: Any, key: str) -> None:
        if ("end", key) in self.world and not isinstance(operation, c.Reverse | c.Conclude):
            raise No("rolled_back")
        self.world["done", key] = Done(self.says(operation))
        match operation:
            case c.Bet() | c.Win():
                self.play(operation, key, "bet" if isinstance(operation, c.Bet) else "win")
            case c.Reverse(target=target):
                self.reverse(key, target, self.world.get(("done", target)))
            case c.Conclude(target=target, outcome=outcome):
                self.conclude(key, target, outcome, self.world.get(("done", target)))
            case c.Grant() | c.Convert() | c.Forfeit():
                self.give_or_take(operation, key)
            case c.Deposit(amount=amount, fee=fee):
                if fee >= amount:
                    raise No("invalid_operation")
                self.post(key, "deposit", "main", amount, fee)
                self.credit(key, "main", amount - fee)
            case c.Withdraw(amount=amount, fee=fee):
                self.post(key, "withdrawal", "main", amount, fee)
                self.move("main", -amount - fee)
                self.move("locked", amount + fee)
            case c.Adjust(amount=amount, wallet_type=wallet):
                self.post(key, "adjustment", wallet, amount)
                self.credit(key, wallet, amount) if amount > 0 else self.move(wallet, amount)

    def give_or_take(self, operation: c.Grant | c.Convert | c.Forfeit, key: str) -> None:
        """Bonus money: given, taken away, or turned into the player's own."""
        given = operation.amount if isinstance(operation, c.Grant) else -operation.amount
        if isinstance(operation, c.Convert):
            self.post(key, "bonus", "main", operation.amount)
        self.post(key, "bonus", "bonus", given)
        self.credit(key, "bonus", given) if given > 0 else self.move("bonus", given)
        if isinstance(operation, c.Convert):
            self.credit(key, "main", operation.amount)

    def post(self, key: str, kind: str, wallet: str, amount: Decimal, fee: Decimal = NONE) -> None:
        parts = self.world["done", key].parts
        status = "pending" if kind == "withdrawal" else "success"
        self.world["row", key + ("/bonus" if parts else "")] = (kind, status, wallet, amount, fee)
        self.note(key, id=key, parts=(*parts, (wallet, amount + fee)), bonus=amount if wallet == "bonus" else NONE)

    def move(self, wallet: str, amount: Decimal) -> None:
        after = self.world["money", *self.who, wallet] + amount
        if not 0 <= after <= MOST:
            raise No("insufficient_funds" if after < 0 else "balance_limit")
        self.world["money", *self.who, wallet] = after

    def credit(self, key: str, wallet: str, amount: Decimal) -> None:
        """Add to a wallet; what it owes is taken from that first."""
        self.move(wallet, amount)
        self.owe(key + "/repayment", wallet, -min(amount, self.world["owed", *self.who, wallet]))

    def owe(self, key: str, wallet: str, amount: Decimal) -> None:
        if amount:
            name = key + ("/bonus" if wallet == "bonus" else "")
            self.world["row", name] = ("adjustment", "success", wallet, amount, NONE)
            self.world["owed", *self.who, wallet] += amount
            self.move(wallet, amount)

    def play(self, operation: c.Bet | c.Win, key: str, kind: str) -> None:
        round_: Round = self.world["round", self.round]
        amount = operation.amount if operation.moves_money else NONE
        if kind == "bet":
            main = min(amount, self.world["money", *self.who, "main"])
        else:  # as the bets were, in whole units, half of one to main
            unit = UNIT[self.who[1]]
            share = Fraction(round_.bet - round_.bonus) / Fraction(round_.bet) if round_.bet else Fraction(1)
            main = floor(Fraction(amount) / Fraction(unit) * share + Fraction(1, 2)) * unit
        for wallet, part in (("main", main), ("bonus", amount - main)):
            if part or (not amount and wallet == "main"):
                self.post(key, kind, wallet, part)
                self.move(wallet, -part) if kind == "bet" else self.credit(key, wallet, part)
        if kind == "bet":
            self.world["round", self.round] = round_._replace(status="open")
        self.count(self.round, kind, amount, amount - main)
        self.note(key, round=self.round)

    def count(self, name: str | None, kind: str, amount: Decimal, bonus: Decimal) -> None:
        round_: Round = self.world["round", name]
        if kind == "bet":
            round_ = round_._replace(bet=round_.bet + amount, bonus=round_.bonus + bonus)
        else:
            round_ = round_._replace(win=round_.win + amount)
        if max(round_.bet, round_.win) > MOST:
            raise No("balance_limit")
        self.world["round", name] = round_

    def reverse(self, key: str, target: str, done: Done | None) -> None:
        kind = done.says[0] if done else None
        if done and kind not in {c.Reverse, c.Conclude} and (kind not in {c.Bet, c.Win} or done.says[1] != self.who):
            raise No("not_reversible")
        self.note(key, round=done.round if done and kind in {c.Bet, c.Win} else None)
        if ("end", target) in self.world:
            self.world["stone", key] = (target, "repeated")
            self.note(key, id=self.world["end", target])
        elif done is None:
            self.world["stone", key], self.world["end", target] = (target, "unseen"), None
        elif kind in {c.Reverse, c.Conclude}:
            raise No("not_reversible")
        else:
            self.end(key, target, "reversed", "cancelled")
            self.note(key, id=key)
            for wallet, part in done.parts:
                if kind is c.Bet:
                    self.credit(key, wallet, part)
                else:
                    self.owe(key + "/receivable", wallet, max(part - self.world["money", *self.who, wallet], NONE))
                    self.move(wallet, -part)
            self.count(
                done.round, "bet" if kind is c.Bet else "win", -sum((part for _, part in done.parts), NONE), -done.bonus
            )
            if not (round_ := self.world["round", done.round]).bet and not round_.win:
                self.world["round", done.round] = round_._replace(status="cancelled")

    def conclude(self, key: str, target: str, outcome: str, done: Done | None) -> None:
        if done is None or done.says[:2] != (c.Withdraw, self.who):
            raise No("withdrawal_not_found")
        if ("end", target) in self.world:
            raise No("withdrawal_concluded")
        self.end(key, target, outcome, "success" if outcome == "settled" else outcome)
        self.note(key, id=target)
        held = done.parts[0][1]
        self.move("locked", -held)
        if outcome != "settled":
            self.credit(key, "main", held)

    def end(self, key: str, target: str, outcome: str, status: str) -> None:
        self.world["stone", key], self.world["end", target] = (target, outcome), key
        for row in (("row", target), ("row", target + "/bonus")):
            if row in self.world:
                kind, _, *rest = self.world[row]
                self.world[row] = (kind, status, *rest)
