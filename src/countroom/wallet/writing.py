"""What a pass writes: one statement, and so all of it or nothing."""

from datetime import datetime
from typing import Final
from uuid import UUID

from countroom.postgres import Connection
from countroom.wallet.arrays import array, arrays, ids, octets, quoted, text, timestamp
from countroom.wallet.state import Entry, Purse, Round, Row, SessionSums, Tombstone, Wallet, Writes

STALE: Final = "CR001"
"""SQLSTATE of a write whose purses have moved on since they were read."""


async def write(connection: Connection, writes: Writes, moment: datetime, *, from_memory: bool = False) -> None:
    """Write what a batch has left: one statement, and so all of it or nothing.

    Where it was decided ``from_memory``, nobody has looked for the new keys among the tombstones; this does.

    Raises:
        asyncpg.PostgresError: with the SQLSTATE `STALE` when a purse has moved on since it was read.
    """
    if writes.is_plain:
        statement = _WRITE_PLAIN_FROM_MEMORY if from_memory else _WRITE_PLAIN
        await connection.execute(statement, moment, *_plain_arguments(writes))
    else:
        statement = _WRITE_FROM_MEMORY if from_memory else _WRITE
        await connection.execute(statement, moment, *_arguments(writes))


def _plain_arguments(writes: Writes) -> list[str]:
    """Return each bet or win as one row: what only it can say; its purse's version with the purse's last row."""
    last = {row.wallet_account_id: row.id for row in writes.rows}
    purses, opened, changed = writes.purses, writes.new_rounds, writes.changed_rounds
    rows: list[tuple[str, ...]] = []
    for row, entry in zip(writes.rows, writes.entries, strict=True):
        wallet_id, round_id = row.wallet_account_id, row.game_round_id
        assert round_id is not None  # a bet or win has a round
        version = str(purses[wallet_id].version) if last[wallet_id] is row.id else "NULL"
        new = opened.get(round_id)
        round_ = new or changed[round_id]
        rows.append((
            str(row.id), str(wallet_id), version, str(entry.sequence), str(entry.amount), str(entry.balance_after),
            str(row.answer_balance), str(row.user_id), str(row.game_id), str(round_id), str(round_.session_id),
            quoted(new.external_id) if new else "NULL", quoted(row.provider), row.currency, quoted(row.external_id),
            octets(row.request_hash), quoted(row.metadata),
        ))  # fmt: skip
    return [*arrays(rows, 17), *_changed_rounds(writes)]


def _arguments(writes: Writes) -> list[str]:
    more = [(session_id, *whose) for session_id, whose in writes.new_sessions.items()]
    more_sums = [_sums(writes.sessions.pop(session_id, SessionSums())) for session_id, *_ in more]
    purses = [writes.purses[wallet_id] for wallet_id in sorted(writes.purses)]
    others = [wallet for wallet in writes.wallets.values() if wallet.type != "main"]
    sessions = sorted(writes.sessions)
    rows, entries = _rows(writes)
    stones = writes.tombstones
    return [
        ids([purse.main.id for purse in purses]),
        *arrays([_purse(purse) for purse in purses], 4),
        *arrays(rows, 26),
        *_changed_rounds(writes),
        ids(sessions),
        *arrays([_sums(writes.sessions[session_id]) for session_id in sessions], 2),
        ids([wallet.id for wallet in others]),
        *arrays([_wallet(wallet) for wallet in others], 3),
        ids([entry.wallet_account_id for entry in entries]),
        ids([entry.transaction_id for entry in entries]),
        *arrays([_entry(entry) for entry in entries], 3),
        ids([session_id for session_id, *_ in more]),
        ids([user_id for _, user_id, *_ in more]),
        ids([game_id for _, _, game_id, _ in more]),
        array([currency for *_, currency in more]),
        *arrays(more_sums, 2),
        ids(list(writes.ended)),
        array(writes.ended.values()),
        ids([stone.id for stone in stones]),
        ids([stone.user_id for stone in stones]),
        *arrays([_stone(stone) for stone in stones], 7),
    ]


def _changed_rounds(writes: Writes) -> list[str]:
    changed = list(writes.changed_rounds.values())
    return [ids([round_.id for round_ in changed]), *arrays([_changed_round(round_) for round_ in changed], 5)]


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
        str(row.id), str(row.wallet_account_id), *line, str(row.user_id), text(row.game_id), text(row.game_round_id),
        quoted(row.provider), row.currency, *round_, quoted(row.external_id), row.wallet_type, row.type, row.status,
        str(row.amount), str(row.fee), octets(row.request_hash), str(row.answer_balance), quoted(row.metadata),
        text(row.payment_id),
    )  # fmt: skip


def _entry(entry: Entry) -> tuple[str, ...]:
    return str(entry.sequence), str(entry.amount), str(entry.balance_after)


def _round(round_: Round) -> tuple[str, ...]:
    return (
        quoted(round_.external_id), str(round_.session_id), str(round_.bet_amount), str(round_.win_amount),
        str(round_.bonus_bet_amount), round_.status,
    )  # fmt: skip


_NO_ENTRY: Final = ("NULL",) * 3
_NO_ROUND: Final = ("NULL",) * 6


def _changed_round(round_: Round) -> tuple[str, ...]:
    return (
        str(round_.bet_amount), str(round_.win_amount), str(round_.bonus_bet_amount), round_.status,
        timestamp(round_.closed_at),
    )  # fmt: skip


def _stone(stone: Tombstone) -> tuple[str, ...]:
    return (
        quoted(stone.external_id), quoted(stone.target_external_id), octets(stone.request_hash), stone.outcome,
        str(stone.amount), str(stone.shortfall), str(stone.answer_balance),
    )  # fmt: skip


_WRITTEN: Final = """written AS MATERIALIZED (
    -- The database's own clock, read when this transaction has its id: seals rest on that.
    SELECT count(*) AS purses, clock_timestamp() AS moment FROM purses
)"""


def _changed(*, first: int) -> str:
    """Return what writes the changed rounds, whose arrays begin at the parameter of this number."""
    id_, bet, win, bonus_bet, status, closed_at = (f"${number}::text" for number in range(first, first + 6))
    return f"""changed AS (
    UPDATE game_rounds r
       SET bet_amount = new.bet_amount, win_amount = new.win_amount, bonus_bet_amount = new.bonus_bet_amount,
           status = new.status, closed_at = new.closed_at
      FROM (SELECT unnest({id_}::uuid[]) AS id, unnest({bet}::numeric[]) AS bet_amount,
                   unnest({win}::numeric[]) AS win_amount, unnest({bonus_bet}::numeric[]) AS bonus_bet_amount,
                   unnest({status}::game_round_status[]) AS status, unnest({closed_at}::timestamptz[]) AS closed_at) new
     WHERE r.id = new.id
)"""


_PLAIN_CHANGES: Final = f"""
WITH new AS MATERIALIZED (
    -- A bet or win with its line of the journal, and the round that it opens where `round_key` is given.
    SELECT unnest($2::text::uuid[]) AS id, unnest($3::text::uuid[]) AS wallet_account_id,
           unnest($4::text::bigint[]) AS version, unnest($5::text::bigint[]) AS sequence,
           unnest($6::text::numeric[]) AS moved, unnest($7::text::numeric[]) AS balance_after,
           unnest($8::text::numeric[]) AS answer_balance, unnest($9::text::uuid[]) AS user_id,
           unnest($10::text::uuid[]) AS game_id, unnest($11::text::uuid[]) AS game_round_id,
           unnest($12::text::uuid[]) AS session_id, unnest($13::text::text[]) AS round_key,
           unnest($14::text::text[]) AS provider, unnest($15::text::text[]) AS currency,
           unnest($16::text::text[]) AS external_id, unnest($17::text::bytea[]) AS request_hash,
           unnest($18::text::jsonb[]) AS metadata
), purses AS (
    UPDATE wallet_accounts w
       SET balance = new.balance_after, sequence = new.sequence, version = w.version + 1, updated_at = $1
      FROM (SELECT wallet_account_id, version, balance_after, sequence
              FROM new
             WHERE version IS NOT NULL
             ORDER BY wallet_account_id) new
     WHERE w.id = new.wallet_account_id AND w.version = new.version
    RETURNING w.id
), {_WRITTEN}, posted AS (
    INSERT INTO transactions (id, wallet_account_id, user_id, game_id, game_round_id, external_id, wallet_type,
                              currency, type, status, amount, request_hash, answer_balance, provider,
                              metadata, processed_at, created_at)
    SELECT id, wallet_account_id, user_id, game_id, game_round_id, external_id, 'main', currency,
           CASE WHEN moved < 0 THEN 'bet'::transaction_type ELSE 'win' END, 'success', abs(moved), request_hash,
           answer_balance, provider, metadata, (SELECT moment FROM written), (SELECT moment FROM written)
      FROM new
), journal AS (
    INSERT INTO wallet_entries (wallet_account_id, transaction_id, sequence, amount, balance_after, created_at)
    SELECT wallet_account_id, id, sequence, moved, balance_after, (SELECT moment FROM written)
      FROM new
), opened AS (
    INSERT INTO game_rounds (id, session_id, user_id, game_id, provider, external_id, currency, bet_amount, status,
                             opened_at)
    SELECT game_round_id, session_id, user_id, game_id, provider, round_key, currency, -moved, 'open',
           (SELECT moment FROM written)
      FROM new
     WHERE round_key IS NOT NULL
), {_changed(first=19)}, sums AS (
    UPDATE game_sessions s
       SET bet_amount = s.bet_amount + new.bet, win_amount = s.win_amount + new.win, last_played_at = $1
      FROM (SELECT session_id, sum(greatest(-moved, 0)) AS bet, sum(greatest(moved, 0)) AS win
              FROM new
             GROUP BY session_id
             ORDER BY session_id) new
     WHERE s.id = new.session_id
)"""

_CHANGES: Final = f"""
WITH purses AS (
    UPDATE wallet_accounts w
       SET balance = new.balance, sequence = new.sequence, receivable = new.receivable,
           version = w.version + 1, updated_at = $1
      FROM (SELECT unnest($2::text::uuid[]) AS id, unnest($3::text::bigint[]) AS version,
                   unnest($4::text::numeric[]) AS balance, unnest($5::text::bigint[]) AS sequence,
                   unnest($6::text::numeric[]) AS receivable) new
     WHERE w.id = new.id AND w.version = new.version
    RETURNING w.id
), {_WRITTEN}, new AS MATERIALIZED (
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
), {_changed(first=33)}, sums AS (
    UPDATE game_sessions s
       SET bet_amount = s.bet_amount + new.bet, win_amount = s.win_amount + new.win, last_played_at = $1
      FROM (SELECT unnest($39::text::uuid[]) AS id, unnest($40::text::numeric[]) AS bet,
                   unnest($41::text::numeric[]) AS win) new
     WHERE s.id = new.id
), others AS (
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
SELECT refuse_stale(({written}) - purses) FROM written
"""
_REFUSE_STALE_OR_DEAD: Final = """
SELECT refuse_stale(({written}) - purses
    + (SELECT count(*)
         FROM new, LATERAL (SELECT FROM tombstones WHERE external_id = new.external_id LIMIT 1) s)
    + (SELECT count(*)
         FROM new, LATERAL (SELECT FROM tombstones
                             WHERE target_external_id = new.external_id AND outcome <> 'repeated' LIMIT 1) s))
  FROM written
"""
_PLAIN_PURSES: Final = "SELECT count(version) FROM new"
_PURSES: Final = "cardinality($2::text::uuid[])"
_WRITE_PLAIN: Final = _PLAIN_CHANGES + _REFUSE_STALE.format(written=_PLAIN_PURSES)
_WRITE_PLAIN_FROM_MEMORY: Final = _PLAIN_CHANGES + _REFUSE_STALE_OR_DEAD.format(written=_PLAIN_PURSES)
_WRITE: Final = _CHANGES + _REFUSE_STALE.format(written=_PURSES)
_WRITE_FROM_MEMORY: Final = _CHANGES + _REFUSE_STALE_OR_DEAD.format(written=_PURSES)
