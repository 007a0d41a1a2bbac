"""The wallet's statements, one function each.

Look-ups by key are `LATERAL (… LIMIT 1)`: whatever the planner believes about a table that was
empty a moment ago, each key is then one descent of the index and never a walk through the table.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from asyncpg import Record

from countroom.postgres import Connection, Transaction
from countroom.wallet.commands import SECOND_ROW, Command, Reverse
from countroom.wallet.state import Facts, Round, Row, Session, SessionSums, Tombstone, Wallet, Writes


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


async def lock_wallets(tx: Transaction, commands: Sequence[Command], facts: Facts) -> None:
    """Lock the players' main and bonus wallets in id order, the one order in which anything locks them.

    A statement of its own: what follows reads what others have committed while it waited.
    """
    players = {(command.user_id, command.currency) for command in commands}
    rows = await tx.fetch(
        """
        SELECT id, user_id, currency, type, balance, sequence
          FROM wallet_accounts
         WHERE (user_id, currency) IN (SELECT * FROM unnest($1::uuid[], $2::text[]))
           AND type IN ('main', 'bonus')
         ORDER BY id
           FOR UPDATE
        """,
        [user_id for user_id, _ in players],
        [currency for _, currency in players],
    )
    for row in rows:
        facts.wallets[row["user_id"], row["currency"], row["type"]] = Wallet(*row.values())


async def read_keys(tx: Transaction, commands: Sequence[Command], facts: Facts) -> None:
    """Read what the commands' keys, and the targets of their reversals, have done before."""
    keys = set()
    for command in commands:
        for operation in command.operations:
            keys.add(f"{command.source}:{operation.key}")
            if isinstance(operation, Reverse):
                keys.add(f"{command.source}:{operation.target}")
    if not keys:
        return
    asked = list(keys)
    rows = await tx.fetch(
        """
        SELECT t.id, t.external_id, t.wallet_account_id, t.wallet_type, t.user_id, t.currency, t.type, t.status,
               t.amount, t.request_hash, t.answer_balance, t.provider, t.game_id, t.game_round_id, t.payment_id
          FROM unnest($1::text[]) AS asked (key),
               LATERAL (SELECT * FROM transactions WHERE external_id = asked.key LIMIT 1) t
         UNION ALL
        SELECT t.id, t.external_id, t.wallet_account_id, t.wallet_type, t.user_id, t.currency, t.type, t.status,
               t.amount, t.request_hash, t.answer_balance, t.provider, t.game_id, t.game_round_id, t.payment_id
          FROM unnest($1::text[]) AS asked (key),
               LATERAL (SELECT * FROM transactions WHERE external_id = asked.key || '/bonus' LIMIT 1) t
        """,
        asked,
    )
    for values in sorted(rows, key=lambda row: len(row["external_id"])):  # the second row after the first
        row = Row(*values.values())
        facts.rows.setdefault(row.external_id.removesuffix(SECOND_ROW), []).append(row)
    stones = await tx.fetch(
        """
        SELECT s.external_id, s.target_external_id, s.id, s.user_id, s.request_hash, s.outcome, s.amount,
               s.shortfall, s.answer_balance
          FROM unnest($1::text[]) AS asked (key),
               LATERAL (SELECT * FROM tombstones WHERE external_id = asked.key LIMIT 1) s
         UNION
        SELECT s.external_id, s.target_external_id, s.id, s.user_id, s.request_hash, s.outcome, s.amount,
               s.shortfall, s.answer_balance
          FROM unnest($1::text[]) AS asked (key),
               LATERAL (SELECT * FROM tombstones
                         WHERE target_external_id = asked.key AND outcome <> 'repeated' LIMIT 1) s
        """,
        asked,
    )
    for values in stones:
        stone = Tombstone(*values.values())
        facts.tombstones[stone.external_id] = stone
        if stone.outcome != "repeated":
            facts.dead[stone.target_external_id] = stone


async def read_plays(tx: Transaction, commands: Sequence[Command], facts: Facts) -> None:
    """Read the players' status, and the sessions and rounds that the commands name."""
    plays = [(command.user_id, command.play) for command in commands]
    rows = await tx.fetch(
        """
        SELECT asked.user_id, u.status AS user_status,
               asked.game_id, asked.session_id AS asked_session_id, s.id AS session_id, s.currency AS session_currency,
               s.status = 'open' AS session_is_open
          FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS asked (user_id, game_id, session_id)
          JOIN users u ON u.id = asked.user_id
          LEFT JOIN LATERAL (
               SELECT id, currency, status
                 FROM game_sessions
                WHERE game_sessions.user_id = asked.user_id AND game_sessions.game_id = asked.game_id
                ORDER BY (game_sessions.id = asked.session_id) DESC NULLS LAST, opened_at DESC
                LIMIT 1) s ON true
        """,
        [user_id for user_id, _ in plays],
        [play.game_id if play else None for _, play in plays],
        [play.session_id if play else None for _, play in plays],
    )
    for row in rows:
        facts.player_status[row["user_id"]] = row["user_status"]
        if row["session_id"] is not None:
            facts.sessions[row["user_id"], row["game_id"], row["asked_session_id"]] = Session(
                row["session_id"], row["session_currency"], row["session_is_open"]
            )
    rounds = {(play.game_id, play.round_key) for _, play in plays if play is not None}
    by_id = {row.game_round_id for known in facts.rows.values() for row in known if row.game_round_id is not None}
    if not rounds and not by_id:
        return
    found = await tx.fetch(
        """
        SELECT r.id, r.session_id, r.user_id, r.game_id, r.provider, r.external_id, r.currency, r.bet_amount,
               r.win_amount, r.bonus_bet_amount, r.status, r.opened_at, r.closed_at
          FROM unnest($1::uuid[], $2::text[]) AS asked (game_id, external_id),
               LATERAL (SELECT * FROM game_rounds
                         WHERE game_id = asked.game_id AND external_id = asked.external_id LIMIT 1) r
         UNION
        SELECT r.id, r.session_id, r.user_id, r.game_id, r.provider, r.external_id, r.currency, r.bet_amount,
               r.win_amount, r.bonus_bet_amount, r.status, r.opened_at, r.closed_at
          FROM unnest($3::uuid[]) AS asked (id),
               LATERAL (SELECT * FROM game_rounds WHERE id = asked.id LIMIT 1) r
        """,
        [game_id for game_id, _ in rounds],
        [key for _, key in rounds],
        list(by_id),
    )
    for values in found:
        round_ = Round(*values.values())
        facts.rounds[round_.game_id, round_.external_id] = round_
        facts.rounds_by_id[round_.id] = round_


async def write(tx: Transaction, writes: Writes, moment: datetime) -> None:
    """Write what a batch has left, in one statement.

    Rows travel as JSON, in which msgspec writes amounts and ids exactly as they are: encoding an
    array of each column for the driver took several times longer.
    """
    new_sessions = [(*session, writes.sessions.pop(session[0], SessionSums())) for session in writes.new_sessions]
    await tx.execute(
        _WRITE,
        moment,
        _json(writes.rows),
        _json(writes.entries),
        _json(list(writes.wallets.values())),
        _json(list(writes.new_rounds.values())),
        _json(list(writes.changed_rounds.values())),
        _json([{"id": session_id, "bet": sums.bet, "win": sums.win} for session_id, sums in writes.sessions.items()]),
    )
    if new_sessions:
        await tx.executemany(
            """
            INSERT INTO game_sessions (id, user_id, game_id, currency, bet_amount, win_amount, status,
                                       opened_at, closed_at)
            VALUES ($1, $2, $3, $4, $5, $6, 'closed', $7, $7)
            """,
            [(*ids, sums.bet, sums.win, moment) for *ids, sums in new_sessions],
        )
    if writes.cancelled:
        await tx.execute("UPDATE transactions SET status = 'cancelled' WHERE id = ANY($1::uuid[])", writes.cancelled)
    if writes.tombstones:
        await tx.execute(
            """
            INSERT INTO tombstones (external_id, target_external_id, id, user_id, request_hash, outcome, amount,
                                    shortfall, answer_balance, created_at)
            SELECT external_id, target_external_id, id, user_id, decode(request_hash, 'base64'), outcome, amount,
                   shortfall, answer_balance, $1
              FROM json_to_recordset($2::json) AS new (
                   external_id text, target_external_id text, id uuid, user_id uuid, request_hash text, outcome text,
                   amount numeric, shortfall numeric, answer_balance numeric)
            """,
            moment,
            _json(writes.tombstones),
        )


def _json(rows: Sequence[object]) -> str:
    return _encode(rows).decode()


_encode = msgspec.json.Encoder(decimal_format="string").encode

_WRITE = """
WITH posted AS (
    INSERT INTO transactions (id, wallet_account_id, external_id, amount, type, status, metadata, user_id, wallet_type,
                              currency, provider, game_id, game_round_id, payment_id, request_hash, answer_balance,
                              processed_at, created_at)
    SELECT id, wallet_account_id, external_id, amount, type, status, metadata::jsonb, user_id, wallet_type,
           currency, provider, game_id, game_round_id, payment_id, decode(request_hash, 'base64'), answer_balance,
           $1, $1
      FROM json_to_recordset($2::json) AS new (
           id uuid, wallet_account_id uuid, external_id text, amount numeric, type transaction_type,
           status transaction_status, metadata text, user_id uuid, wallet_type wallet_type, currency text,
           provider text, game_id uuid, game_round_id uuid, payment_id uuid, request_hash text, answer_balance numeric)
), journal AS (
    INSERT INTO wallet_entries (wallet_account_id, sequence, transaction_id, amount, balance_after, created_at)
    SELECT new.*, $1
      FROM json_to_recordset($3::json) AS new (
           wallet_account_id uuid, sequence bigint, transaction_id uuid, amount numeric, balance_after numeric)
), balances AS (
    UPDATE wallet_accounts w
       SET balance = new.balance, sequence = new.sequence, updated_at = $1
      FROM json_to_recordset($4::json) AS new (id uuid, balance numeric, sequence bigint)
     WHERE w.id = new.id
), opened AS (
    INSERT INTO game_rounds (id, session_id, user_id, game_id, provider, external_id, currency, bet_amount, win_amount,
                             bonus_bet_amount, status, opened_at, closed_at)
    SELECT new.*
      FROM json_to_recordset($5::json) AS new (
           id uuid, session_id uuid, user_id uuid, game_id uuid, provider text, external_id text, currency text,
           bet_amount numeric, win_amount numeric, bonus_bet_amount numeric, status game_round_status,
           opened_at timestamptz, closed_at timestamptz)
), changed AS (
    UPDATE game_rounds r
       SET bet_amount = new.bet_amount, win_amount = new.win_amount, bonus_bet_amount = new.bonus_bet_amount,
           status = new.status, closed_at = new.closed_at
      FROM json_to_recordset($6::json) AS new (
           id uuid, bet_amount numeric, win_amount numeric, bonus_bet_amount numeric, status game_round_status,
           closed_at timestamptz)
     WHERE r.id = new.id
)
UPDATE game_sessions s
   SET bet_amount = s.bet_amount + new.bet, win_amount = s.win_amount + new.win
  FROM json_to_recordset($7::json) AS new (id uuid, bet numeric, win numeric)
 WHERE s.id = new.id
"""
