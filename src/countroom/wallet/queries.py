"""The wallet's statements, one function each.

What a pass reads may be older than what it writes: `write` refuses when a purse has moved on.
Therefore the purses are read first, and everything else after them.

Look-ups by key are `LATERAL (… LIMIT 1)`: whatever the planner believes about a table that was
empty a moment ago, each key is then one descent of the index and never a walk through the table.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

from asyncpg import Record

from countroom.money import ZERO
from countroom.postgres import Connection, Transaction
from countroom.wallet.commands import SECOND_ROW, Command, Conclude, Reverse
from countroom.wallet.state import Entry, Facts, Purse, Round, Row, Session, SessionSums, Tombstone, Wallet, Writes

STALE: Final = "CR001"
"""SQLSTATE of a write whose purses have moved on since they were read."""


async def insert_wallets(tx: Transaction, ids: Sequence[UUID], user_id: UUID, currency: str) -> None:
    """Open a player's three wallets in a currency; those that exist stay as they are."""
    await tx.execute(
        """
        INSERT INTO wallet_accounts (id, user_id, currency, type)
        SELECT id, $2, $3, type FROM unnest($1::uuid[], enum_range(NULL::wallet_type)) AS new (id, type)
            ON CONFLICT ON CONSTRAINT wallet_accounts_one_of_a_kind DO NOTHING
        """,
        ids,
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


async def read_purses(connection: Connection, commands: Sequence[Command], facts: Facts) -> None:
    """Read whose the commands are: status, wallets, and the session that they play in."""
    asked = {
        (command.user_id, command.currency, play.game_id if (play := command.play) else None,
         play.session_id if play else None)
        for command in commands
    }  # fmt: skip
    rows = await connection.fetch(_READ_PURSES, *_arrays([_texts(*each) for each in asked], 4))
    for (
        user_id, currency, status, main_id, version, main_balance, main_sequence, main_receivable,
        bonus_id, bonus_balance, bonus_sequence, bonus_receivable, locked_id, locked_balance, locked_sequence,
        game_id, asked_session_id, session_id, session_currency, session_is_open,
    ) in rows:  # fmt: skip
        facts.player_status[user_id] = status
        if main_id is not None and (user_id, currency) not in facts.purses:
            facts.purses[user_id, currency] = Purse(
                Wallet(
                    main_id, user_id, currency, "main", Decimal(main_balance), main_sequence, _owed(main_receivable)
                ),
                Wallet(
                    bonus_id,
                    user_id,
                    currency,
                    "bonus",
                    Decimal(bonus_balance),
                    bonus_sequence,
                    _owed(bonus_receivable),
                ),
                Wallet(locked_id, user_id, currency, "locked", Decimal(locked_balance), locked_sequence),
                version,
            )
        if session_id is not None:
            facts.sessions[user_id, game_id, asked_session_id] = Session(session_id, session_currency, session_is_open)


def _owed(receivable: str | None) -> Decimal:
    return Decimal(receivable) if receivable is not None else ZERO


async def read_keys(connection: Connection, commands: Sequence[Command], facts: Facts) -> None:
    """Read what the commands' keys, and the targets of their ends, have done before."""
    keys = set()
    for command in commands:
        for operation in command.operations:
            keys.add(f"{command.source}:{operation.key}")
            if isinstance(operation, (Reverse, Conclude)):
                keys.add(f"{command.source}:{operation.target}")
    if not keys:
        return
    found = await connection.fetch(_READ_KEYS, _array(map(_quoted, keys)))
    if not found:
        return
    if any(row["kind"] == "row" for row in found):
        found += await connection.fetch(_READ_KEYS, _array(_quoted(f"{key}{SECOND_ROW}") for key in keys))
    for kind, *values in found:
        if kind == "row":
            row = Row(*values[:16])
            facts.rows.setdefault(row.external_id.removesuffix(SECOND_ROW), []).append(row)
        else:
            stone = Tombstone(*values[16:])
            facts.tombstones[stone.external_id] = stone
            if stone.outcome != "repeated":
                facts.dead[stone.target_external_id] = stone


async def read_rounds(connection: Connection, commands: Sequence[Command], facts: Facts) -> None:
    """Read the rounds that the commands name, and those of what they reverse."""
    rounds = {(play.game_id, play.round_key) for command in commands if (play := command.play) is not None}
    by_id = {row.game_round_id for known in facts.rows.values() for row in known if row.game_round_id is not None}
    if not rounds and not by_id:
        return
    found = await connection.fetch(
        _READ_ROUNDS, *_arrays([(str(game_id), _quoted(key)) for game_id, key in rounds], 2), _array(by_id)
    )
    for values in found:
        round_ = Round(*values.values())
        facts.rounds[round_.game_id, round_.external_id] = round_
        facts.rounds_by_id[round_.id] = round_


async def write(connection: Connection, writes: Writes, moment: datetime) -> None:
    """Write what a batch has left: one statement, and so all of it or nothing.

    Raises:
        asyncpg.PostgresError: with the SQLSTATE `STALE` when a purse has moved on since it was read.
    """
    new_sessions = [
        (str(session_id), *_texts(*whose), *_sums(writes.sessions.pop(session_id, SessionSums())))
        for session_id, whose in writes.new_sessions.items()
    ]
    others = [wallet for wallet in writes.wallets.values() if wallet.type != "main"]
    await connection.execute(
        _WRITE,
        moment,
        *_arrays([_purse(writes.purses[wallet_id]) for wallet_id in sorted(writes.purses)], 5),
        *_arrays([_wallet(wallet) for wallet in others], 4),
        *_arrays([_row(row) for row in writes.rows], 17),
        *_arrays([_entry(entry) for entry in writes.entries], 5),
        *_arrays([_round(round_) for round_ in writes.new_rounds.values()], 13),
        *_arrays([_changed_round(round_) for round_ in writes.changed_rounds.values()], 6),
        *_arrays([(str(session_id), *_sums(writes.sessions[session_id])) for session_id in sorted(writes.sessions)], 3),
        *_arrays(new_sessions, 6),
        *_arrays([_texts(transaction_id, status) for transaction_id, status in writes.ended.items()], 2),
        *_arrays([_stone(stone) for stone in writes.tombstones], 9),
    )


# Arrays travel as PostgreSQL's own text form of an array, `{a,b,NULL}`: the driver looks at each element
# of a list twice before it encodes it, which was a third of the wallet's time (docs/decisions/0013).


def _arrays(rows: Iterable[tuple[str, ...]], width: int) -> list[str]:
    """Turn rows of texts into one array a column; ``width`` says how many columns no rows have."""
    columns = [f"{{{','.join(column)}}}" for column in zip(*rows, strict=True)]
    return columns or ["{}"] * width


def _array(values: Iterable[object]) -> str:
    return f"{{{','.join(_text(value) for value in values)}}}"


def _text(value: object) -> str:
    """Return a value that needs no quotes: an id, a number, a word of ours; or NULL."""
    return "NULL" if value is None else str(value)


def _texts(*values: object) -> tuple[str, ...]:
    return tuple(_text(value) for value in values)


def _quoted(text: str | None) -> str:
    """Return somebody else's text between quotes, in which only a quote and a backslash mean something."""
    if text is None:
        return "NULL"
    if "\\" in text or '"' in text:
        text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def _bytes(value: bytes) -> str:
    return f'"\\\\x{value.hex()}"'


def _moment(value: datetime | None) -> str:
    return "NULL" if value is None else f'"{value.isoformat()}"'


def _sums(sums: SessionSums) -> tuple[str, str]:
    return str(sums.bet), str(sums.win)


def _purse(purse: Purse) -> tuple[str, ...]:
    main = purse.main
    return str(main.id), str(purse.version), str(main.balance), str(main.sequence), str(main.receivable)


def _wallet(wallet: Wallet) -> tuple[str, ...]:
    return str(wallet.id), str(wallet.balance), str(wallet.sequence), str(wallet.receivable)


def _row(row: Row) -> tuple[str, ...]:
    return (
        str(row.id), _quoted(row.external_id), str(row.wallet_account_id), row.wallet_type, str(row.user_id),
        row.currency, row.type, row.status, str(row.amount), str(row.fee), _bytes(row.request_hash),
        str(row.answer_balance), _quoted(row.provider), _text(row.game_id), _text(row.game_round_id),
        _text(row.payment_id), _quoted(row.metadata),
    )  # fmt: skip


def _entry(entry: Entry) -> tuple[str, ...]:
    return (
        str(entry.wallet_account_id), str(entry.sequence), str(entry.transaction_id), str(entry.amount),
        str(entry.balance_after),
    )  # fmt: skip


def _round(round_: Round) -> tuple[str, ...]:
    return (
        str(round_.id), str(round_.session_id), str(round_.user_id), str(round_.game_id), _quoted(round_.provider),
        _quoted(round_.external_id), round_.currency, str(round_.bet_amount), str(round_.win_amount),
        str(round_.bonus_bet_amount), round_.status, _moment(round_.opened_at), _moment(round_.closed_at),
    )  # fmt: skip


def _changed_round(round_: Round) -> tuple[str, ...]:
    return (
        str(round_.id), str(round_.bet_amount), str(round_.win_amount), str(round_.bonus_bet_amount), round_.status,
        _moment(round_.closed_at),
    )  # fmt: skip


def _stone(stone: Tombstone) -> tuple[str, ...]:
    return (
        _quoted(stone.external_id), _quoted(stone.target_external_id), str(stone.id), str(stone.user_id),
        _bytes(stone.request_hash), stone.outcome, str(stone.amount), str(stone.shortfall), str(stone.answer_balance),
    )  # fmt: skip


_READ_PURSES: Final = """
SELECT asked.user_id, asked.currency, u.status,
       m.id, m.version, m.balance::text, m.sequence, nullif(m.receivable, 0)::text,
       b.id, b.balance::text, b.sequence, nullif(b.receivable, 0)::text,
       l.id, l.balance::text, l.sequence,
       asked.game_id, asked.session_id, coalesce(s.id, latest.id), coalesce(s.currency, latest.currency),
       coalesce(s.status, latest.status) = 'open'
  FROM unnest($1::text::uuid[], $2::text::bpchar[], $3::text::uuid[], $4::text::uuid[])
       AS asked (user_id, currency, game_id, session_id)
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
                      WHERE user_id = asked.user_id AND currency = asked.currency AND type = 'locked'
                      LIMIT 1) l ON true
  LEFT JOIN LATERAL (SELECT id, currency, status
                       FROM game_sessions
                      WHERE game_sessions.id = asked.session_id AND game_sessions.user_id = asked.user_id
                        AND game_sessions.game_id = asked.game_id
                      LIMIT 1) s ON true
  LEFT JOIN LATERAL (SELECT id, currency, status
                       FROM game_sessions
                      WHERE s.id IS NULL AND game_sessions.user_id = asked.user_id
                        AND game_sessions.game_id = asked.game_id
                      ORDER BY opened_at DESC
                      LIMIT 1) latest ON true
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
  FROM unnest($1::text::uuid[], $2::text::text[]) AS asked (game_id, external_id),
       LATERAL (SELECT * FROM game_rounds
                 WHERE game_id = asked.game_id AND external_id = asked.external_id LIMIT 1) r
 UNION ALL
SELECT r.id, r.session_id, r.user_id, r.game_id, r.provider, r.external_id, r.currency, r.bet_amount,
       r.win_amount, r.bonus_bet_amount, r.status, r.opened_at, r.closed_at
  FROM unnest($3::text::uuid[]) AS asked (id),
       LATERAL (SELECT * FROM game_rounds WHERE id = asked.id LIMIT 1) r
"""

# The purses come first: the main query needs them, and only when all were still as they were read
# does PostgreSQL go on with the rest. They are given in id order, which is the order of their locks.
_WRITE: Final = """
WITH purses AS (
    UPDATE wallet_accounts w
       SET balance = new.balance::numeric, sequence = new.sequence, receivable = new.receivable::numeric,
           version = w.version + 1, updated_at = $1
      FROM unnest($2::text::uuid[], $3::text::bigint[], $4::text::text[], $5::text::bigint[],
                  $6::text::text[])
           AS new (id, version, balance, sequence, receivable)
     WHERE w.id = new.id AND w.version = new.version
    RETURNING w.id
), others AS (
    UPDATE wallet_accounts w
       SET balance = new.balance::numeric, sequence = new.sequence, receivable = new.receivable::numeric,
           updated_at = $1
      FROM unnest($7::text::uuid[], $8::text::text[], $9::text::bigint[], $10::text::text[])
           AS new (id, balance, sequence, receivable)
     WHERE w.id = new.id
), posted AS (
    INSERT INTO transactions (id, external_id, wallet_account_id, wallet_type, user_id, currency, type, status, amount,
                              fee, request_hash, answer_balance, provider, game_id, game_round_id, payment_id, metadata,
                              processed_at, created_at)
    SELECT id, external_id, wallet_account_id, wallet_type::wallet_type, user_id, currency, type::transaction_type,
           status::transaction_status, amount::numeric, fee::numeric, request_hash, answer_balance::numeric, provider,
           game_id, game_round_id, payment_id, metadata::jsonb, CASE WHEN status <> 'pending' THEN $1 END, $1
      FROM unnest($11::text::uuid[], $12::text::text[], $13::text::uuid[], $14::text::text[],
                  $15::text::uuid[], $16::text::text[], $17::text::text[], $18::text::text[],
                  $19::text::text[], $20::text::text[], $21::text::bytea[], $22::text::text[],
                  $23::text::text[], $24::text::uuid[], $25::text::uuid[], $26::text::uuid[],
                  $27::text::text[])
           AS new (id, external_id, wallet_account_id, wallet_type, user_id, currency, type, status, amount, fee,
                   request_hash, answer_balance, provider, game_id, game_round_id, payment_id, metadata)
), journal AS (
    INSERT INTO wallet_entries (wallet_account_id, sequence, transaction_id, amount, balance_after, created_at)
    SELECT wallet_account_id, sequence, transaction_id, amount::numeric, balance_after::numeric, $1
      FROM unnest($28::text::uuid[], $29::text::bigint[], $30::text::uuid[], $31::text::text[],
                  $32::text::text[])
           AS new (wallet_account_id, sequence, transaction_id, amount, balance_after)
), opened AS (
    INSERT INTO game_rounds (id, session_id, user_id, game_id, provider, external_id, currency, bet_amount, win_amount,
                             bonus_bet_amount, status, opened_at, closed_at)
    SELECT id, session_id, user_id, game_id, provider, external_id, currency, bet_amount::numeric, win_amount::numeric,
           bonus_bet_amount::numeric, status::game_round_status, opened_at, closed_at
      FROM unnest($33::text::uuid[], $34::text::uuid[], $35::text::uuid[], $36::text::uuid[],
                  $37::text::text[], $38::text::text[], $39::text::text[], $40::text::text[],
                  $41::text::text[], $42::text::text[], $43::text::text[], $44::text::timestamptz[],
                  $45::text::timestamptz[])
           AS new (id, session_id, user_id, game_id, provider, external_id, currency, bet_amount, win_amount,
                   bonus_bet_amount, status, opened_at, closed_at)
), changed AS (
    UPDATE game_rounds r
       SET bet_amount = new.bet_amount::numeric, win_amount = new.win_amount::numeric,
           bonus_bet_amount = new.bonus_bet_amount::numeric, status = new.status::game_round_status,
           closed_at = new.closed_at
      FROM unnest($46::text::uuid[], $47::text::text[], $48::text::text[], $49::text::text[],
                  $50::text::text[], $51::text::timestamptz[])
           AS new (id, bet_amount, win_amount, bonus_bet_amount, status, closed_at)
     WHERE r.id = new.id
), sums AS (
    UPDATE game_sessions s
       SET bet_amount = s.bet_amount + new.bet::numeric, win_amount = s.win_amount + new.win::numeric
      FROM unnest($52::text::uuid[], $53::text::text[], $54::text::text[]) AS new (id, bet, win)
     WHERE s.id = new.id
), sessions AS (
    INSERT INTO game_sessions (id, user_id, game_id, currency, bet_amount, win_amount, status, opened_at, closed_at)
    SELECT id, user_id, game_id, currency, bet::numeric, win::numeric, 'closed', $1, $1
      FROM unnest($55::text::uuid[], $56::text::uuid[], $57::text::uuid[], $58::text::text[],
                  $59::text::text[], $60::text::text[])
           AS new (id, user_id, game_id, currency, bet, win)
), ended AS (
    UPDATE transactions t
       SET status = new.status::transaction_status, processed_at = coalesce(t.processed_at, $1)
      FROM unnest($61::text::uuid[], $62::text::text[]) AS new (id, status)
     WHERE t.id = new.id
), stones AS (
    INSERT INTO tombstones (external_id, target_external_id, id, user_id, request_hash, outcome, amount, shortfall,
                            answer_balance, created_at)
    SELECT external_id, target_external_id, id, user_id, request_hash, outcome, amount::numeric, shortfall::numeric,
           answer_balance::numeric, $1
      FROM unnest($63::text::text[], $64::text::text[], $65::text::uuid[], $66::text::uuid[],
                  $67::text::bytea[], $68::text::text[], $69::text::text[], $70::text::text[],
                  $71::text::text[])
           AS new (external_id, target_external_id, id, user_id, request_hash, outcome, amount, shortfall,
                   answer_balance)
)
SELECT refuse_stale(cardinality($2::text::uuid[]) - count(*)) FROM purses
"""
