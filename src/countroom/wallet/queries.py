"""The wallet's statements, one function each.

What a pass reads may be older than what it writes: `writing.write` refuses when a purse has moved on.
Therefore the purses are read first, and everything else after them.

Look-ups by key are `LATERAL (… LIMIT 1)`: whatever the planner believes about a table that was
empty a moment ago, each key is then one descent of the index and never a walk through the table.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final
from uuid import UUID

from asyncpg import Record

from countroom.money import ZERO
from countroom.postgres import Connection, Transaction
from countroom.wallet.arrays import array, ids, quoted, text
from countroom.wallet.commands import SECOND_ROW, Command, Conclude, Reverse, Withdraw
from countroom.wallet.state import (
    Facts,
    Player,
    Purse,
    Round,
    Row,
    Session,
    Tombstone,
    Wallet,
)


async def insert_wallets(tx: Transaction, wallet_ids: Sequence[UUID], user_id: UUID, currency: str) -> None:
    """Open a player's three wallets in a currency; those that exist stay as they are."""
    await tx.execute(
        """
        INSERT INTO wallet_accounts (id, user_id, currency, type)
        SELECT id, $2, $3, type FROM unnest($1::uuid[], enum_range(NULL::wallet_type)) AS new (id, type)
            ON CONFLICT ON CONSTRAINT wallet_accounts_one_of_a_kind DO NOTHING
        """,
        wallet_ids,
        user_id,
        currency,
    )


async def wallets_of_player(connection: Connection, user_id: UUID) -> Sequence[Record]:
    """Read a player's wallets, without locking them."""
    return await connection.fetch(
        """
        SELECT id, user_id, currency, type, balance, sequence
          FROM wallet_accounts
         WHERE user_id = $1
         ORDER BY currency, type
        """,
        user_id,
    )


async def spendable(connection: Connection, user_id: UUID, currency: str) -> Record | None:
    """Read what a player can play with; one row with a null sum when there is no such wallet."""
    return await connection.fetchrow(
        """
        SELECT (SELECT sum(balance) FROM wallet_accounts
                 WHERE user_id = $1 AND currency = $2 AND type IN ('main', 'bonus')) AS balance,
               EXISTS (SELECT FROM users WHERE id = $1) AS player_exists
        """,
        user_id,
        currency,
    )


async def transactions_of_player(
    connection: Connection, user_id: UUID, limit: int, before: UUID | None
) -> Sequence[Record]:
    """Read a player's transactions, newest first; ids are UUIDv7 and so their order is time's."""
    return await connection.fetch(
        """
        SELECT id, type, status, amount, currency, wallet_type, created_at, processed_at, provider,
               game_round_id, external_id
          FROM transactions
         WHERE user_id = $1
           AND ($3::uuid IS NULL OR (created_at, id) < (SELECT created_at, id FROM transactions WHERE id = $3))
         ORDER BY created_at DESC, id DESC
         LIMIT $2
        """,
        user_id,
        limit,
        before,
    )


async def insert_staff_posting(tx: Transaction, transaction_id: UUID, staff_id: UUID, reason: str) -> None:
    """Note who corrected a wallet, and why; a repeat changes nothing."""
    await tx.execute(
        """
        INSERT INTO staff_postings (transaction_id, staff_id, reason) VALUES ($1, $2, $3)
            ON CONFLICT (transaction_id) DO NOTHING
        """,
        transaction_id,
        staff_id,
        reason,
    )


async def lock_purses(tx: Transaction, commands: Sequence[Command]) -> None:
    """Lock the players' main wallets in id order, the one order in which anything locks them.

    The main wallet's row stands for all of the player's wallets in its currency: whoever moves one of
    them locks it first. A statement of its own: what follows reads what others have committed
    while it waited.
    """
    players = {(command.user_id, command.currency) for command in commands}
    await tx.execute(
        """
        SELECT FROM wallet_accounts
         WHERE id IN (SELECT w.id
                        FROM unnest($1::uuid[], $2::bpchar[]) AS asked (user_id, currency),
                             LATERAL (SELECT id FROM wallet_accounts
                                       WHERE user_id = asked.user_id AND currency = asked.currency AND type = 'main'
                                       LIMIT 1) w)
         ORDER BY id
           FOR UPDATE
        """,
        [user_id for user_id, _ in players],
        [currency for _, currency in players],
    )


async def read_facts(connection: Connection, commands: Sequence[Command], facts: Facts) -> None:
    """Read whose the commands are, where they play, and what their keys have done before.

    One statement, at one moment. More are needed only when something was known already: a repeat,
    a reversal, the end of a withdrawal.
    """
    asked, keys, ends = _asked(commands)
    rows = await connection.fetch(
        _READ_FACTS,
        ids([user_id for user_id, *_ in asked]),
        array([currency for _, currency, *_ in asked]),
        ids([game_id for _, _, game_id, *_ in asked]),
        ids([session_id for *_, session_id, _, _ in asked]),
        array([quoted(round_key) for *_, round_key, _ in asked]),
        array([text(needs_locked) for *_, needs_locked in asked]),
        array([quoted(key) for key in keys]),
    )
    known = ends
    for (
        number, known_keys, status, main_id, version, main_balance, main_sequence, main_owed,
        bonus_id, bonus_balance, bonus_sequence, bonus_owed, locked_id, locked_balance, locked_sequence,
        session_id, session_currency, session_is_open, *round_,
    ) in rows:  # fmt: skip
        known = known or known_keys > 0
        user_id, currency, game_id, asked_session_id, _, _ = asked[number - 1]
        player = facts.players.setdefault((user_id, currency))
        if main_id is None:
            continue
        if player is None or locked_id is not None:
            purse = Purse(
                Wallet(main_id, user_id, currency, "main", Decimal(main_balance), main_sequence, _owed(main_owed)),
                Wallet(bonus_id, user_id, currency, "bonus", Decimal(bonus_balance), bonus_sequence, _owed(bonus_owed)),
                Wallet(locked_id, user_id, currency, "locked", Decimal(locked_balance), locked_sequence)
                if locked_id is not None
                else None,
                version,
                main_sequence,
            )
            if player is None:
                player = facts.players[user_id, currency] = Player(purse, status)
            player.purse = purse
        if session_id is not None:
            player.sessions[game_id, asked_session_id] = Session(session_id, session_currency, session_is_open)
        if round_[0] is not None:
            found = Round(*round_)
            player.rounds[found.game_id, found.external_id] = facts.rounds_by_id[found.id] = found
    if known:
        facts.is_torn = True
        await _read_keys(connection, keys, facts)


_Asked = tuple[UUID, str, UUID | None, UUID | None, str | None, bool]
"""Player, currency, game, session, round, and whether the locked wallet is needed."""


def _asked(commands: Sequence[Command]) -> tuple[list[_Asked], list[str], bool]:
    """Return what to ask for: a row a command, the keys, and whether anything is to be ended."""
    asked: list[_Asked] = []
    keys: list[str] = []
    ends = False
    for command in commands:
        needs_locked = False
        for operation in command.operations:
            keys.append(f"{command.source}:{operation.key}")
            if isinstance(operation, (Reverse, Conclude)):
                ends = True
                keys.append(f"{command.source}:{operation.target}")
            needs_locked = needs_locked or isinstance(operation, (Withdraw, Conclude))
        play = command.play
        where = (play.game_id, play.session_id, play.round_key) if play is not None else (None, None, None)
        asked.append((command.user_id, command.currency, *where, needs_locked))
    return asked, keys, ends


def _owed(receivable: str | None) -> Decimal:
    return ZERO if receivable is None else Decimal(receivable)


async def _read_keys(connection: Connection, keys: Sequence[str], facts: Facts) -> None:
    """Read what keys have done before: transactions, tombstones, and the rounds that these touched."""
    keys = list(dict.fromkeys(keys))
    # Both rows of an operation in one statement, at one moment: half of it would be another operation.
    asked = [*keys, *(f"{key}{SECOND_ROW}" for key in keys)]
    found = await connection.fetch(_READ_KEYS, array([quoted(key) for key in asked]))
    for kind, *values in found:
        if kind == "row":
            row = Row(*values[:16])
            rows = facts.rows.setdefault(row.external_id.removesuffix(SECOND_ROW), [])
            rows.insert(len(rows) if row.external_id.endswith(SECOND_ROW) else 0, row)
        else:
            stone = Tombstone(*values[16:])
            facts.tombstones[stone.external_id] = stone
            if stone.outcome != "repeated":
                facts.dead[stone.target_external_id] = stone
    rounds = {row.game_round_id for known in facts.rows.values() for row in known if row.game_round_id is not None}
    if rounds - facts.rounds_by_id.keys():
        for record in await connection.fetch(_READ_ROUNDS, ids(rounds)):
            round_ = Round(*record.values())
            facts.rounds_by_id[round_.id] = round_


async def still_holds(connection: Connection, purses: Sequence[Purse], refused: Sequence[Command]) -> bool:
    """Whether these purses are as they are remembered, and none of the refused was done or reversed before."""
    keys = [f"{command.source}:{operation.key}" for command in refused for operation in command.operations]
    holds: bool = await connection.fetchval(
        """
        SELECT (SELECT count(*)
                  FROM unnest($1::text::uuid[], $2::text::bigint[], $4::text::bigint[])
                       AS remembered (id, version, lines),
                       LATERAL (SELECT FROM wallet_accounts w
                                 WHERE w.id = remembered.id AND w.version = remembered.version
                                   AND w.sequence = remembered.lines LIMIT 1) current
               ) = cardinality($1::text::uuid[])
           AND NOT EXISTS (SELECT
                             FROM unnest($3::text::text[]) AS asked (key),
                                  LATERAL (SELECT FROM transactions WHERE external_id = asked.key
                                            UNION ALL
                                           SELECT FROM tombstones WHERE external_id = asked.key
                                            UNION ALL
                                           SELECT FROM tombstones
                                            WHERE target_external_id = asked.key AND outcome <> 'repeated' LIMIT 1) k)
        """,
        ids([purse.main.id for purse in purses]),
        array([str(purse.version) for purse in purses]),
        array([quoted(key) for key in keys]),
        array([str(purse.lines) for purse in purses]),
    )
    return holds


_READ_FACTS: Final = """
WITH keys AS MATERIALIZED (
    SELECT unnest($7::text::text[]) AS key
), known AS MATERIALIZED (
    SELECT (SELECT count(*) FROM keys, LATERAL (SELECT FROM transactions WHERE external_id = keys.key LIMIT 1) t)
         + (SELECT count(*) FROM keys, LATERAL (SELECT FROM tombstones WHERE external_id = keys.key LIMIT 1) s)
         + (SELECT count(*)
              FROM keys, LATERAL (SELECT FROM tombstones
                                   WHERE target_external_id = keys.key AND outcome <> 'repeated' LIMIT 1) s) AS keys
)
SELECT asked.number, (SELECT keys FROM known), u.status,
       m.id, m.version, m.balance::text, m.sequence, nullif(m.receivable, 0)::text,
       b.id, b.balance::text, b.sequence, nullif(b.receivable, 0)::text,
       l.id, l.balance::text, l.sequence,
       coalesce(s.id, latest.id), coalesce(s.currency, latest.currency), coalesce(s.status, latest.status) = 'open',
       r.id, r.session_id, r.user_id, r.game_id, r.provider, r.external_id, r.currency, r.bet_amount, r.win_amount,
       r.bonus_bet_amount, r.status, r.opened_at, r.closed_at
  FROM unnest($1::text::uuid[], $2::text::bpchar[], $3::text::uuid[], $4::text::uuid[], $5::text::text[],
              $6::text::boolean[])
       WITH ORDINALITY AS asked (user_id, currency, game_id, session_id, round_key, needs_locked, number)
 CROSS JOIN LATERAL (SELECT status FROM users WHERE id = asked.user_id LIMIT 1) u
  LEFT JOIN LATERAL (SELECT id, version, balance, sequence, receivable
                       FROM wallet_accounts
                      WHERE user_id = asked.user_id AND currency = asked.currency AND type = 'main'
                      LIMIT 1) m ON true
  LEFT JOIN LATERAL (SELECT id, balance, sequence, receivable
                       FROM wallet_accounts
                      WHERE user_id = asked.user_id AND currency = asked.currency AND type = 'bonus'
                      LIMIT 1) b ON true
  LEFT JOIN LATERAL (SELECT id, balance, sequence
                       FROM wallet_accounts
                      WHERE asked.needs_locked AND user_id = asked.user_id AND currency = asked.currency
                        AND type = 'locked'
                      LIMIT 1) l ON true
  LEFT JOIN LATERAL (SELECT id, currency, status
                       FROM (SELECT id, user_id, game_id, currency, status
                               FROM game_sessions
                              WHERE id = asked.session_id
                              LIMIT 1) named
                      WHERE user_id = asked.user_id AND game_id = asked.game_id) s ON true
  LEFT JOIN LATERAL (SELECT id, currency, status
                       FROM game_sessions
                      WHERE s.id IS NULL AND user_id = asked.user_id AND game_id = asked.game_id
                      ORDER BY opened_at DESC
                      LIMIT 1) latest ON true
  LEFT JOIN LATERAL (SELECT *
                       FROM game_rounds
                      WHERE game_id = asked.game_id AND external_id = asked.round_key
                      LIMIT 1) r ON true
"""

_READ_KEYS: Final = """
SELECT 'row' AS kind, t.id, t.external_id, t.wallet_account_id, t.wallet_type, t.user_id, t.currency, t.type, t.status,
       t.amount, t.fee, t.request_hash, t.answer_balance, t.provider, t.game_id, t.game_round_id, t.payment_id,
       NULL, NULL, NULL::uuid, NULL::uuid, NULL::bytea, NULL, NULL::numeric, NULL::numeric, NULL::numeric
  FROM unnest($1::text::text[]) AS asked (key),
       LATERAL (SELECT * FROM transactions WHERE external_id = asked.key LIMIT 1) t
 UNION ALL
SELECT 'stone', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
       NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
       s.external_id, s.target_external_id, s.id, s.user_id, s.request_hash, s.outcome, s.amount, s.shortfall,
       s.answer_balance
  FROM unnest($1::text::text[]) AS asked (key),
       LATERAL (SELECT * FROM tombstones WHERE external_id = asked.key LIMIT 1) s
 UNION ALL
SELECT 'stone', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
       NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
       s.external_id, s.target_external_id, s.id, s.user_id, s.request_hash, s.outcome, s.amount, s.shortfall,
       s.answer_balance
  FROM unnest($1::text::text[]) AS asked (key),
       LATERAL (SELECT * FROM tombstones
                 WHERE target_external_id = asked.key AND outcome <> 'repeated' LIMIT 1) s
"""

_READ_ROUNDS: Final = """
SELECT r.id, r.session_id, r.user_id, r.game_id, r.provider, r.external_id, r.currency, r.bet_amount,
       r.win_amount, r.bonus_bet_amount, r.status, r.opened_at, r.closed_at
  FROM unnest($1::text::uuid[]) AS asked (id),
       LATERAL (SELECT * FROM game_rounds WHERE id = asked.id LIMIT 1) r
"""
