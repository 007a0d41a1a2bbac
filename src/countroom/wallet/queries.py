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
from countroom.wallet.commands import SECOND_ROW, Command, Conclude, Reverse, Withdraw
from countroom.wallet.state import (
    Entry,
    Facts,
    Player,
    Purse,
    Round,
    Row,
    Session,
    SessionSums,
    Tombstone,
    Wallet,
    Writes,
)

STALE: Final = "CR001"
"""SQLSTATE of a write whose purses have moved on since they were read."""


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
        _ids([user_id for user_id, *_ in asked]),
        _array([currency for _, currency, *_ in asked]),
        _ids([game_id for _, _, game_id, *_ in asked]),
        _ids([session_id for *_, session_id, _, _ in asked]),
        _array([_quoted(round_key) for *_, round_key, _ in asked]),
        _array([_text(needs_locked) for *_, needs_locked in asked]),
        _array([_quoted(key) for key in keys]),
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
    found = await connection.fetch(_READ_KEYS, _array([_quoted(key) for key in asked]))
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
        for record in await connection.fetch(_READ_ROUNDS, _ids(rounds)):
            round_ = Round(*record.values())
            facts.rounds_by_id[round_.id] = round_


async def still_holds(connection: Connection, purses: Sequence[Purse], refused: Sequence[Command]) -> bool:
    """Whether these purses are as they are remembered, and none of the refused commands repeats what was done."""
    keys = [f"{command.source}:{operation.key}" for command in refused for operation in command.operations]
    holds: bool = await connection.fetchval(
        """
        SELECT (SELECT count(*)
                  FROM unnest($1::text::uuid[], $2::text::bigint[]) AS remembered (id, version),
                       LATERAL (SELECT FROM wallet_accounts w
                                 WHERE w.id = remembered.id AND w.version = remembered.version LIMIT 1) current
               ) = cardinality($1::text::uuid[])
           AND NOT EXISTS (SELECT
                             FROM unnest($3::text::text[]) AS asked (key),
                                  LATERAL (SELECT FROM transactions WHERE external_id = asked.key
                                            UNION ALL
                                           SELECT FROM tombstones WHERE external_id = asked.key LIMIT 1) known)
        """,
        _ids([purse.main.id for purse in purses]),
        _array([str(purse.version) for purse in purses]),
        _array([_quoted(key) for key in keys]),
    )
    return holds


async def write(connection: Connection, writes: Writes, moment: datetime, *, from_memory: bool = False) -> None:
    """Write what a batch has left: one statement, and so all of it or nothing.

    Where it was decided ``from_memory``, nobody has looked for the new keys among the tombstones; this does.

    Raises:
        asyncpg.PostgresError: with the SQLSTATE `STALE` when a purse has moved on since it was read.
    """
    more = [(session_id, *whose) for session_id, whose in writes.new_sessions.items()]
    more_sums = [_sums(writes.sessions.pop(session_id, SessionSums())) for session_id, *_ in more]
    purses = [writes.purses[wallet_id] for wallet_id in sorted(writes.purses)]
    others = [wallet for wallet in writes.wallets.values() if wallet.type != "main"]
    sessions = sorted(writes.sessions)
    changed = list(writes.changed_rounds.values())
    rows, entries = _rows(writes)
    arguments = [
        moment,
        _ids([purse.main.id for purse in purses]),
        *_arrays([_purse(purse) for purse in purses], 4),
        *_arrays(rows, 26),
        _ids([round_.id for round_ in changed]),
        *_arrays([_changed_round(round_) for round_ in changed], 5),
        _ids(sessions),
        *_arrays([_sums(writes.sessions[session_id]) for session_id in sessions], 2),
    ]
    if not (others or entries or more or writes.ended or writes.tombstones):
        await connection.execute(_WRITE_FROM_MEMORY if from_memory else _WRITE_PLAY, *arguments)
        return
    stones = writes.tombstones
    await connection.execute(
        _WRITE_MORE_FROM_MEMORY if from_memory else _WRITE,
        *arguments,
        _ids([wallet.id for wallet in others]),
        *_arrays([_wallet(wallet) for wallet in others], 3),
        _ids([entry.wallet_account_id for entry in entries]),
        _ids([entry.transaction_id for entry in entries]),
        *_arrays([_entry(entry) for entry in entries], 3),
        _ids([session_id for session_id, *_ in more]),
        _ids([user_id for _, user_id, *_ in more]),
        _ids([game_id for _, _, game_id, _ in more]),
        _array([currency for *_, currency in more]),
        *_arrays(more_sums, 2),
        _ids(list(writes.ended)),
        _array(writes.ended.values()),
        _ids([stone.id for stone in stones]),
        _ids([stone.user_id for stone in stones]),
        *_arrays([_stone(stone) for stone in stones], 7),
    )


def _rows(writes: Writes) -> tuple[list[tuple[str, ...]], list[Entry]]:
    """Return each transaction with its line of the journal and the round that it opens, and the other lines."""
    entries: dict[tuple[UUID, UUID], Entry] = {}
    others: list[Entry] = []
    for entry in writes.entries:
        where = (entry.transaction_id, entry.wallet_account_id)
        if where in entries:
            others.append(entry)
        else:
            entries[where] = entry
    rounds: dict[UUID | None, Round] = dict(writes.new_rounds.items())
    rows = [
        _row(row, entries.pop((row.id, row.wallet_account_id), None), rounds.pop(row.game_round_id, None))
        for row in writes.rows
    ]
    return rows, [*entries.values(), *others]


# Arrays travel as PostgreSQL's own text form of an array, `{a,b,NULL}`: the driver looks at each element
# of a list twice before it encodes it, which was a third of the wallet's time (docs/decisions/0013).


def _arrays(rows: Iterable[tuple[str, ...]], width: int) -> list[str]:
    """Turn rows of texts into one array a column; ``width`` says how many columns no rows have."""
    columns = [f"{{{','.join(column)}}}" for column in zip(*rows, strict=True)]
    return columns or ["{}"] * width


def _array(values: Iterable[str]) -> str:
    return f"{{{','.join(values)}}}"


def _ids(values: Iterable[UUID | None]) -> str:
    return f"{{{','.join(['NULL' if value is None else str(value) for value in values])}}}"


def _text(value: object) -> str:
    """Return a value that needs no quotes: a number, a truth, a word of ours; or NULL."""
    return "NULL" if value is None else str(value)


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
    return str(purse.version), str(main.balance), str(main.sequence), str(main.receivable)


def _wallet(wallet: Wallet) -> tuple[str, ...]:
    return str(wallet.balance), str(wallet.sequence), str(wallet.receivable)


def _row(row: Row, entry: Entry | None, opened: Round | None) -> tuple[str, ...]:
    line = _NO_ENTRY if entry is None else _entry(entry)
    round_ = _NO_ROUND if opened is None else _round(opened)
    return (
        str(row.id), str(row.wallet_account_id), *line, str(row.user_id), _text(row.game_id), _text(row.game_round_id),
        _quoted(row.provider), row.currency, *round_, _quoted(row.external_id), row.wallet_type, row.type, row.status,
        str(row.amount), str(row.fee), _bytes(row.request_hash), str(row.answer_balance), _quoted(row.metadata),
        _text(row.payment_id),
    )  # fmt: skip


def _entry(entry: Entry) -> tuple[str, ...]:
    return str(entry.sequence), str(entry.amount), str(entry.balance_after)


def _round(round_: Round) -> tuple[str, ...]:
    return (
        _quoted(round_.external_id), str(round_.session_id), str(round_.bet_amount), str(round_.win_amount),
        str(round_.bonus_bet_amount), round_.status,
    )  # fmt: skip


_NO_ENTRY: Final = ("NULL",) * 3
_NO_ROUND: Final = ("NULL",) * 6


def _changed_round(round_: Round) -> tuple[str, ...]:
    return (
        str(round_.bet_amount), str(round_.win_amount), str(round_.bonus_bet_amount), round_.status,
        _moment(round_.closed_at),
    )  # fmt: skip


def _stone(stone: Tombstone) -> tuple[str, ...]:
    return (
        _quoted(stone.external_id), _quoted(stone.target_external_id), _bytes(stone.request_hash), stone.outcome,
        str(stone.amount), str(stone.shortfall), str(stone.answer_balance),
    )  # fmt: skip


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

_CHANGES_OF_PLAY: Final = """
WITH purses AS (
    UPDATE wallet_accounts w
       SET balance = new.balance, sequence = new.sequence, receivable = new.receivable,
           version = w.version + 1, updated_at = $1
      FROM (SELECT unnest($2::text::uuid[]) AS id, unnest($3::text::bigint[]) AS version,
                   unnest($4::text::numeric[]) AS balance, unnest($5::text::bigint[]) AS sequence,
                   unnest($6::text::numeric[]) AS receivable) new
     WHERE w.id = new.id AND w.version = new.version
    RETURNING w.id
), written AS MATERIALIZED (
    -- The database's own clock, read when this transaction has its id: seals rest on that.
    SELECT count(*) AS purses, clock_timestamp() AS moment FROM purses
), new AS MATERIALIZED (
    -- A transaction, its line of the journal, and the round that it opens: what they share comes once.
    SELECT unnest($7::text::uuid[]) AS id, unnest($8::text::uuid[]) AS wallet_account_id,
           unnest($9::text::bigint[]) AS sequence, unnest($10::text::numeric[]) AS moved,
           unnest($11::text::numeric[]) AS balance_after, unnest($12::text::uuid[]) AS user_id,
           unnest($13::text::uuid[]) AS game_id, unnest($14::text::uuid[]) AS game_round_id,
           unnest($15::text::text[]) AS provider, unnest($16::text::text[]) AS currency,
           unnest($17::text::text[]) AS round_key, unnest($18::text::uuid[]) AS session_id,
           unnest($19::text::numeric[]) AS round_bet, unnest($20::text::numeric[]) AS round_win,
           unnest($21::text::numeric[]) AS round_bonus_bet, unnest($22::text::game_round_status[]) AS round_status,
           unnest($23::text::text[]) AS external_id, unnest($24::text::wallet_type[]) AS wallet_type,
           unnest($25::text::transaction_type[]) AS type, unnest($26::text::transaction_status[]) AS status,
           unnest($27::text::numeric[]) AS amount, unnest($28::text::numeric[]) AS fee,
           unnest($29::text::bytea[]) AS request_hash, unnest($30::text::numeric[]) AS answer_balance,
           unnest($31::text::jsonb[]) AS metadata, unnest($32::text::uuid[]) AS payment_id
), posted AS (
    INSERT INTO transactions (id, wallet_account_id, user_id, game_id, game_round_id, payment_id, external_id,
                              wallet_type, currency, type, status, amount, fee, request_hash, answer_balance, provider,
                              metadata, processed_at, created_at)
    SELECT id, wallet_account_id, user_id, game_id, game_round_id, payment_id, external_id, wallet_type, currency,
           type, status, amount, fee, request_hash, answer_balance, provider, metadata,
           CASE WHEN status <> 'pending' THEN (SELECT moment FROM written) END, (SELECT moment FROM written)
      FROM new
), journal AS (
    INSERT INTO wallet_entries (wallet_account_id, transaction_id, sequence, amount, balance_after, created_at)
    SELECT wallet_account_id, id, sequence, moved, balance_after, (SELECT moment FROM written)
      FROM new
     WHERE sequence IS NOT NULL
), opened AS (
    INSERT INTO game_rounds (id, session_id, user_id, game_id, provider, external_id, currency, bet_amount, win_amount,
                             bonus_bet_amount, status, opened_at, closed_at)
    SELECT game_round_id, session_id, user_id, game_id, provider, round_key, currency, round_bet, round_win,
           round_bonus_bet, round_status, (SELECT moment FROM written),
           CASE WHEN round_status <> 'open' THEN (SELECT moment FROM written) END
      FROM new
     WHERE session_id IS NOT NULL
), changed AS (
    UPDATE game_rounds r
       SET bet_amount = new.bet_amount, win_amount = new.win_amount, bonus_bet_amount = new.bonus_bet_amount,
           status = new.status, closed_at = new.closed_at
      FROM (SELECT unnest($33::text::uuid[]) AS id, unnest($34::text::numeric[]) AS bet_amount,
                   unnest($35::text::numeric[]) AS win_amount, unnest($36::text::numeric[]) AS bonus_bet_amount,
                   unnest($37::text::game_round_status[]) AS status, unnest($38::text::timestamptz[]) AS closed_at) new
     WHERE r.id = new.id
), sums AS (
    UPDATE game_sessions s
       SET bet_amount = s.bet_amount + new.bet, win_amount = s.win_amount + new.win
      FROM (SELECT unnest($39::text::uuid[]) AS id, unnest($40::text::numeric[]) AS bet,
                   unnest($41::text::numeric[]) AS win) new
     WHERE s.id = new.id
)"""

_OTHER_CHANGES: Final = """, others AS (
    UPDATE wallet_accounts w
       SET balance = new.balance, sequence = new.sequence, receivable = new.receivable,
           updated_at = $1
      FROM unnest($42::text::uuid[], $43::text::numeric[], $44::text::bigint[], $45::text::numeric[])
           AS new (id, balance, sequence, receivable)
     WHERE w.id = new.id
), other_journal AS (
    INSERT INTO wallet_entries (wallet_account_id, transaction_id, sequence, amount, balance_after, created_at)
    SELECT wallet_account_id, transaction_id, sequence, amount, balance_after, (SELECT moment FROM written)
      FROM unnest($46::text::uuid[], $47::text::uuid[], $48::text::bigint[], $49::text::numeric[],
                  $50::text::numeric[])
           AS new (wallet_account_id, transaction_id, sequence, amount, balance_after)
), sessions AS (
    INSERT INTO game_sessions (id, user_id, game_id, currency, bet_amount, win_amount, status, opened_at, closed_at)
    SELECT id, user_id, game_id, currency, bet, win, 'closed', (SELECT moment FROM written),
           (SELECT moment FROM written)
      FROM unnest($51::text::uuid[], $52::text::uuid[], $53::text::uuid[], $54::text::text[],
                  $55::text::numeric[], $56::text::numeric[])
           AS new (id, user_id, game_id, currency, bet, win)
), ended AS (
    UPDATE transactions t
       SET status = new.status,
           processed_at = coalesce(t.processed_at, (SELECT moment FROM written))
      FROM unnest($57::text::uuid[], $58::text::transaction_status[]) AS new (id, status)
     WHERE t.id = new.id
), stones AS (
    INSERT INTO tombstones (id, user_id, external_id, target_external_id, request_hash, outcome, amount, shortfall,
                            answer_balance, created_at)
    SELECT id, user_id, external_id, target_external_id, request_hash, outcome, amount, shortfall,
           answer_balance, (SELECT moment FROM written)
      FROM unnest($59::text::uuid[], $60::text::uuid[], $61::text::text[], $62::text::text[],
                  $63::text::bytea[], $64::text::text[], $65::text::numeric[], $66::text::numeric[],
                  $67::text::numeric[])
           AS new (id, user_id, external_id, target_external_id, request_hash, outcome, amount, shortfall,
                   answer_balance)
)"""

# The purses come first: the main query needs them, and only when all were still as they were read
# does PostgreSQL go on with the rest. They are given in id order, which is the order of their locks.
_REFUSE_STALE: Final = """
SELECT refuse_stale(cardinality($2::text::uuid[]) - purses) FROM written
"""
_REFUSE_STALE_OR_DEAD: Final = """
SELECT refuse_stale(cardinality($2::text::uuid[]) - purses
    + (SELECT count(*)
         FROM new, LATERAL (SELECT FROM tombstones WHERE external_id = new.external_id LIMIT 1) s)
    + (SELECT count(*)
         FROM new, LATERAL (SELECT FROM tombstones
                             WHERE target_external_id = new.external_id AND outcome <> 'repeated' LIMIT 1) s))
  FROM written
"""
_WRITE_PLAY: Final = _CHANGES_OF_PLAY + _REFUSE_STALE
_WRITE_FROM_MEMORY: Final = _CHANGES_OF_PLAY + _REFUSE_STALE_OR_DEAD
_WRITE: Final = _CHANGES_OF_PLAY + _OTHER_CHANGES + _REFUSE_STALE
_WRITE_MORE_FROM_MEMORY: Final = _CHANGES_OF_PLAY + _OTHER_CHANGES + _REFUSE_STALE_OR_DEAD
