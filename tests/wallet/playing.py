"""Histories played on real batchers, and explained by the model.

In a step of a history its calls are under way at once; the next step begins when all of them have their
answers. The model may take a step's calls in any order, if that gives every caller the answer that he got;
with one batcher, and no connection lost, only in the order in which they were sent. At the end the model's
world must be what is in the tables.
"""

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple
from uuid import UUID

import asyncpg
import msgspec

from countroom import clock
from countroom.wallet import commands as c
from countroom.wallet.batch import Batcher
from countroom.wallet.refusals import Overloaded, WalletRefusal
from wallet import model
from wallet.histories import PAYMENT, Call, History

SOURCE: Final = "sandbox"
CURRENCIES: Final = ("EUR", "JPY")
ANSWER_SECONDS: Final = 15.0
"""A caller tries so long to get an answer; a connection that was lost costs a fraction of it."""
COMPARED: Final = frozenset({"money", "owed", "row", "round", "stone"})
Outcome = c.Answer | WalletRefusal | Overloaded
Ids = dict[str, UUID | None]
"""Our ids, by the names that the model gives them."""


class Player(NamedTuple):
    """A player with wallets and a session in each currency."""

    id: UUID
    sessions: dict[str, UUID]

    def world(self) -> model.World:
        """Return the world as it is before anything has happened."""
        amounts = {
            (fact, self.id, currency, wallet): model.NONE
            for fact in ("money", "owed")
            for currency in CURRENCIES
            for wallet in ("main", "bonus", "locked")
        }
        return {("player", self.id): True, **amounts}


class Asked(NamedTuple):
    """Commands that were under way at once, in the order in which they were sent, and their answers."""

    commands: Sequence[c.Command]
    outcomes: Sequence[Outcome]
    in_order: bool = False
    """Nothing but the order in which they were sent can explain them."""
    was_lost: bool = False
    """A connection was lost: what was done may have been answered as a repeat."""
    is_torn: bool = False
    """Several processes were asked: what wrote nothing may tell the balance of a moment earlier."""


class Table:
    """Where histories are played: batchers as two processes would have them, on one database."""

    def __init__(self, batchers: Sequence[Batcher], connections: "asyncpg.Pool[asyncpg.Record]", game_id: UUID) -> None:
        self.batchers = batchers
        self.connections = connections
        """Not the batchers': a crash spares them."""
        self.game_id = game_id
        self.numbers = itertools.count(1)

    async def play(self, histories: Sequence[History]) -> list[str | None]:
        """Play histories at once; say of each what the model cannot explain, if anything."""
        players = await self._open(2 * len(histories))
        playing = [
            _Playing(self, history, f"{next(self.numbers)}-", players[2 * n], players[2 * n + 1])
            for n, history in enumerate(histories)
        ]
        await asyncio.gather(*(each.run() for each in playing))
        found = await self._read([player.id for player in players])
        return [each.wrong(found) for each in playing]

    async def crash(self) -> None:
        """End every connection of the batchers, whatever it is doing."""
        await self.connections.execute(
            """
            SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND application_name = 'countroom'
            """
        )

    async def _open(self, count: int) -> list[Player]:
        players = [Player(clock.new_id(), {currency: clock.new_id() for currency in CURRENCIES}) for _ in range(count)]
        ids = [player.id for player in players]
        await self.connections.execute(
            "INSERT INTO users (id, email) SELECT id, id || '@example.test' FROM unnest($1::uuid[]) AS new (id)", ids
        )
        await self.connections.execute(
            """
            INSERT INTO wallet_accounts (id, user_id, currency, type)
            SELECT gen_random_uuid(), user_id, currency, type
              FROM unnest($1::uuid[]) AS u (user_id), unnest($2::text[]) AS c (currency),
                   unnest(enum_range(NULL::wallet_type)) AS t (type)
            """,
            ids,
            CURRENCIES,
        )
        await self.connections.execute(
            """
            INSERT INTO game_sessions (id, user_id, game_id, currency)
            SELECT id, user_id, $4, currency
              FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS new (id, user_id, currency)
            """,
            [session for player in players for session in player.sessions.values()],
            [player.id for player in players for _ in CURRENCIES],
            list(CURRENCIES) * count,
            self.game_id,
        )
        return players

    async def _read(self, ids: list[UUID]) -> dict[UUID, model.World]:
        """Read what has become of players, in the model's words."""
        worlds: dict[UUID, model.World] = {id_: {} for id_ in ids}
        fetch = self.connections.fetch
        for user_id, currency, wallet, balance, owed in await fetch(
            "SELECT user_id, currency, type, balance, receivable FROM wallet_accounts WHERE user_id = ANY($1)", ids
        ):
            worlds[user_id]["money", user_id, currency, wallet] = balance
            worlds[user_id]["owed", user_id, currency, wallet] = owed
        for user_id, key, *values in await fetch(
            """
            SELECT user_id, substr(external_id, $2), type, status, wallet_type, amount, fee
              FROM transactions WHERE user_id = ANY($1)
            """,
            ids,
            len(SOURCE) + 2,
        ):
            worlds[user_id]["row", key] = tuple(values)
        for user_id, currency, key, *values in await fetch(
            """
            SELECT user_id, currency, external_id, bet_amount, bonus_bet_amount, win_amount, status
              FROM game_rounds WHERE user_id = ANY($1)
            """,
            ids,
        ):
            worlds[user_id]["round", key] = model.Round((user_id, currency), *values)
        for user_id, key, target, outcome in await fetch(
            """
            SELECT user_id, substr(external_id, $2), substr(target_external_id, $2), outcome
              FROM tombstones WHERE user_id = ANY($1)
            """,
            ids,
            len(SOURCE) + 2,
        ):
            worlds[user_id]["stone", key] = (target, outcome)
        return worlds


class _Playing:
    """A history under way. Its names get a prefix of their own: a key stands for ever."""

    def __init__(self, table: Table, history: History, prefix: str, player: Player, stranger: Player) -> None:
        self.table, self.history, self.prefix, self.player, self.stranger = table, history, prefix, player, stranger
        self.asked: list[Asked] = []
        self.explained = 0
        """So many of them, the furthest that the model came."""

    async def run(self) -> None:
        """Ask everything, one step after the other."""
        await self._ask([self._opening(self.player, c) for c in CURRENCIES] + [self._opening(self.stranger, "EUR")])
        for step in self.history.steps:
            calls = step.calls
            commands = [command for call in calls for command in [self._command(call)] * call.copies]
            if self._may_be_at_once(calls):
                await self._ask(commands, step.crash_after_ms)
            else:
                for command in commands:
                    await self._ask([command], step.crash_after_ms)

    def _may_be_at_once(self, calls: Sequence[Call]) -> bool:
        """Whether the wallet promises that some order of these calls explains what they get.

        It keeps the order of one player's commands in one currency. What two processes read for a command
        of several operations, some of which another command is just doing, may be of different moments.
        """
        if any(call.is_strangers for call in calls):
            return False
        if self.history.processes == 1:
            return True
        distinct = {call._replace(copies=1) for call in calls}
        keys = [key for call in distinct for key in {operation.key for operation in call.operations}]
        is_partial = len(set(keys)) < len(keys) and any(len(call.operations) > 1 for call in distinct)
        return len({call.currency for call in calls}) == 1 and not is_partial

    async def _ask(self, commands: list[c.Command], crash_after_ms: int | None = None) -> None:
        batchers = itertools.cycle(self.table.batchers[: self.history.processes])
        asking = [asyncio.create_task(_ask(next(batchers), command)) for command in commands]
        if crash_after_ms is not None:
            await asyncio.sleep(crash_after_ms / 1000)
            await self.table.crash()
        answers = await asyncio.gather(*asking)
        was_lost = any(again for _, again in answers)
        in_order = self.history.processes == 1 and not was_lost and len({c.user_id for c in commands}) == 1
        is_torn = self.history.processes > 1 and len(commands) > 1
        self.asked.append(Asked(commands, [outcome for outcome, _ in answers], in_order, was_lost, is_torn))

    def _opening(self, player: Player, currency: str) -> c.Command:
        unit = model.UNIT[currency]
        money = (c.Deposit("deposit", self.history.main * unit, PAYMENT), c.Grant("bonus", self.history.bonus * unit))
        return c.Command(
            SOURCE,
            player.id,
            currency,
            tuple(
                msgspec.structs.replace(each, key=f"{self.prefix}{each.key}-{player.id}-{currency}")
                for each in money
                if each.amount
            ),
        )

    def _command(self, call: Call) -> c.Command:
        player = self.stranger if call.is_strangers else self.player
        unit = model.UNIT.get(call.currency, Decimal(1))
        operations = tuple(self._own(operation, unit) for operation in call.operations)
        play = None
        if not operations or any(isinstance(each, c.Bet | c.Win | c.Reverse) for each in operations):
            session = player.sessions.get(call.currency)
            play = c.Play(self.table.game_id, self.prefix + call.round, session, call.closes, call.needs_round)
        return c.Command(SOURCE, player.id, call.currency, operations, play)

    def _own(self, operation: c.Operation, unit: Decimal) -> c.Operation:
        changes: dict[str, Any] = {"key": operation.key and self.prefix + operation.key}
        for name in ("amount", "fee"):
            if hasattr(operation, name):
                changes[name] = getattr(operation, name) * unit
        if isinstance(operation, c.Reverse | c.Conclude):
            changes["target"] = self.prefix + operation.target
        return msgspec.structs.replace(operation, **changes)

    # What explains the answers -----------------------------------------------------------

    def wrong(self, found: dict[UUID, model.World]) -> str | None:
        """Return why the model cannot explain this history, or None when it can."""
        begin = {**self.player.world(), **self.stranger.world()}
        end = {**found[self.player.id], **found[self.stranger.id]}
        last: model.World = {}
        for world in self._worlds(begin, {}, 0):
            last = {name: value for name, value in world.items() if name[0] in COMPARED}
            if last == end:
                return None
        lines = [f"{self.history}", "asked, and answered:"]
        for number, asked in enumerate(self.asked[: None if last else self.explained + 1]):
            for command, outcome in zip(asked.commands, asked.outcomes, strict=True):
                lines.append(f"{number}. {command.operations} {command.currency} {command.play}\n    {_shown(outcome)}")
        if not last:
            lines.append(f"no order of number {self.explained} explains its answers")
            if len(self.asked[self.explained].commands) == 1:
                lines.append(f"the model says {self.said}")
        else:
            lines += [
                f"{name}: there is {end.get(name)}, and the model says {last.get(name)}"
                for name in {**end, **last}
                if end.get(name) != last.get(name)
            ]
        return "\n".join(lines)

    def _worlds(self, world: model.World, ids: Ids, number: int) -> Iterator[model.World]:
        """Give every world that explains the answers from here on."""
        self.explained = max(self.explained, number)
        if number == len(self.asked):
            yield world
            return
        asked = self.asked[number]
        calls = list(zip(asked.commands, asked.outcomes, strict=True))
        for after, ids_after in self._orders((world,), ids, calls, asked):
            yield from self._worlds(after, ids_after, number + 1)

    def _orders(
        self, worlds: tuple[model.World, ...], ids: Ids, calls: list[tuple[c.Command, Outcome]], asked: Asked
    ) -> Iterator[tuple[model.World, Ids]]:
        """Give the world after each order of calls that explains their answers; ``worlds`` are those before."""
        world = worlds[-1]
        if not calls:
            yield world, ids
            return
        for n, (command, outcome) in enumerate(calls):
            after, said = model.apply(world, command)
            self.said = said
            if isinstance(outcome, WalletRefusal) and said.code != "ok":
                said = _as_well(said, outcome, world, command)
            if asked.is_torn and after == world and not (said.repeated or isinstance(outcome, Overloaded)):
                earlier = {_spendable(each, command) for each in worlds}
                said = said._replace(balance=outcome.balance if outcome.balance in earlier else said.balance)
            ids_after = _agree(said, outcome, ids, is_first_told=not asked.was_lost)
            if ids_after is not None:
                yield from self._orders((*worlds, after), ids_after, calls[:n] + calls[n + 1 :], asked)
                if after == world:
                    return  # it changed nothing, so it can have been first
            if asked.in_order:
                return


def _as_well(said: model.Told, outcome: WalletRefusal, world: model.World, command: c.Command) -> model.Told:
    """Say the reason that a caller got for a refusal, if it is one of several: which comes first is no promise."""
    if said.code == outcome.code:
        return said
    alone = [msgspec.structs.replace(command, operations=(operation,)) for operation in command.operations]
    reasons = {model.apply(world, each)[1].code for each in alone}
    if said.code in {"foreign_round", "round_closed"} and command.play is not None:
        elsewhere = msgspec.structs.replace(command.play, round_key="a round of his own")
        own = [msgspec.structs.replace(each, play=elsewhere) for each in (command, *alone)]
        reasons |= {model.apply(world, each)[1].code for each in own} - {"key_conflict"}
    if len({operation.key for operation in command.operations}) < len(set(command.operations)):
        reasons.add("key_conflict")
    return said._replace(code=outcome.code) if outcome.code in reasons else said


def _spendable(world: model.World, command: c.Command) -> Decimal:
    who = (command.user_id, command.currency)
    return sum((world.get(("money", *who, wallet), model.NONE) for wallet in ("main", "bonus")), model.NONE)


async def _ask(batcher: Batcher, command: c.Command) -> tuple[Outcome, bool]:
    """Ask until there is an answer; also return whether it took more than one attempt."""
    until = asyncio.get_running_loop().time() + ANSWER_SECONDS
    for attempt in itertools.count():
        try:
            return await batcher.submit(command), attempt > 0
        except WalletRefusal as refusal:
            return refusal, attempt > 0
        except Overloaded as overloaded:
            if asyncio.get_running_loop().time() > until:
                return overloaded, True
            await asyncio.sleep(0.01)
    raise AssertionError


def _agree(told: model.Told, outcome: Outcome, ids: Ids, *, is_first_told: bool) -> Ids | None:
    """Compare what the model says with what a caller got; return the ids known then, or None."""
    if isinstance(outcome, WalletRefusal):
        return ids if (told.code, told.balance) == (outcome.code, outcome.balance) else None
    if isinstance(outcome, Overloaded):
        return None
    repeated = outcome.repeated if is_first_told else told.repeated
    parts = [(posted.key, posted.bonus) for posted in outcome.operations]
    if ("ok", outcome.balance, parts, repeated) != (
        told.code, told.balance, [(key, bonus) for key, _, bonus in told.posted], told.repeated,
    ):  # fmt: skip
        return None
    named: dict[str | None, UUID | None] = {
        **{name: posted.id for (_, name, _), posted in zip(told.posted, outcome.operations, strict=True)},
        f"round {told.round}" if told.round is not None else None: outcome.round_id,
    }
    return _bind(named, ids)


def _bind(named: dict[str | None, UUID | None], ids: Ids) -> Ids | None:
    """Add what the model's names stand for: each for one id for ever, and each id for one name."""
    after = dict(ids)
    for name, id_ in named.items():
        if (name is None) != (id_ is None) or (name is not None and after.setdefault(name, id_) != id_):
            return None
    return after if len(set(after.values())) == len(after) else None


def _shown(outcome: Outcome) -> str:
    if isinstance(outcome, Overloaded):
        return f"no answer in {ANSWER_SECONDS:g} s"
    if isinstance(outcome, WalletRefusal):
        return f"refused: {outcome.code}, balance {outcome.balance}"
    return str(outcome)
