"""What a pass writes: one statement, and so all of it or nothing."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

from countroom.money import ZERO
from countroom.pipelined import Parameter, PipelinedConnection
from countroom.postgres import Connection
from countroom.wallet.arrays import (
    array,
    arrays,
    big_integers,
    binary_ids,
    binary_json,
    binary_octets,
    binary_texts,
    ids,
    octets,
    quoted,
    small_integers,
    text,
    timestamp,
)
from countroom.wallet.state import Entry, Purse, Round, Row, SessionSums, Tombstone, Wallet, Writes

STALE: Final = "CR001"
"""SQLSTATE of a write whose purses have moved on since they were read."""


async def write(connection: Connection, writes: Writes, moment: datetime, *, from_memory: bool = False) -> None:
    """Write whatever a batch has left: one statement, and so all of it or nothing.

    Where it was decided ``from_memory``, nobody has looked for the new keys among the tombstones; this does.

    Raises:
        asyncpg.PostgresError: with the SQLSTATE `STALE` when a purse has moved on since it was read.
    """
    await connection.execute(_WRITE_FROM_MEMORY if from_memory else _WRITE, moment, *_arguments(writes))


async def write_plain(
    connection: PipelinedConnection, writes: Writes, moment: datetime, *, from_memory: bool
) -> dict[UUID, Decimal]:
    """Write what a batch has left that is plain (`Writes.is_plain`), as `write` does, behind what is under way.

    Return, by main wallet, by how much a balance is another one than was decided: somebody else's plain bets and wins
    have moved it meanwhile. The wallets in ``writes`` are as they are then.

    Raises:
        asyncpg.PostgresError: as of `write`.
        OSError: as of `PipelinedConnection.fetchrow`.
    """
    statement = PLAIN_FROM_MEMORY if from_memory else PLAIN
    _, lines, balances = await connection.fetchrow(statement, plain_parameters(writes, moment))
    assert lines is not None
    assert balances is not None
    return _learn(list(writes.wallets.values()), _elements(lines), _elements(balances))


def _elements(array: bytes) -> list[str]:
    return array[1:-1].decode("ascii").split(",")


def _learn(wallets: Sequence[Wallet], lines: list[str], balances: list[str]) -> dict[UUID, Decimal]:
    """Give wallets the lines and balances that they have in truth; return the differences."""
    if lines == [str(wallet.sequence) for wallet in wallets]:
        return {}
    differences: dict[UUID, Decimal] = {}
    for wallet, sequence, balance in zip(wallets, map(int, lines), map(Decimal, balances), strict=True):
        if wallet.sequence != sequence:
            differences[wallet.id] = balance - wallet.balance
            wallet.sequence, wallet.balance = sequence, balance
    return differences


def plain_parameters(writes: Writes, moment: datetime) -> list[Parameter]:
    """Return the wallets with what each gains, and each bet or win as one row: what only it can say.

    A row's place is its wallet's, and its game one of those that are told once. What of the wallet's gain comes after
    the row is taken off the balance again. A column of nothing but zeros is left empty.
    """
    wallets = list(writes.wallets.values())  # the main wallets, each of which has been played from
    places = {wallet.id: place for place, wallet in enumerate(wallets, 1)}
    opened, changed, rows = writes.new_rounds, writes.changed_rounds, writes.rows
    games: dict[tuple[UUID, str | None, str], int] = {}
    in_place: list[int] = []
    in_game: list[int] = []
    bonuses: list[str] = []
    rounds: list[UUID] = []
    sessions: list[UUID] = []
    round_keys: list[str | None] = []
    gains: dict[UUID, Decimal] = {}
    moves: dict[UUID, list[Decimal]] = {}
    """What rounds that were there gain: bets and wins."""
    for row, entry in zip(rows, writes.entries, strict=True):
        wallet_id, round_id = row.wallet_account_id, row.game_round_id
        before = gains.get(wallet_id)
        gains[wallet_id] = entry.amount if before is None else before + entry.amount
        assert round_id is not None  # a bet or win has a round
        assert row.game_id is not None  # in a game
        assert row.answer_balance is not None  # and an answer
        bonuses.append(str(row.answer_balance - entry.balance_after))
        round_ = opened.get(round_id)
        if round_ is not None:
            round_keys.append(round_.external_id)
        else:
            round_ = changed[round_id]
            round_keys.append(None)
            move = moves.setdefault(round_id, [ZERO, ZERO])
            move[row.type == "win"] += row.amount
        rounds.append(round_id)
        sessions.append(round_.session_id)
        in_place.append(places[wallet_id])
        in_game.append(games.setdefault((row.game_id, row.provider, row.currency), len(games) + 1))
    return [
        moment.isoformat(),
        binary_ids(places),
        big_integers([writes.purses[wallet.id].version for wallet in wallets]),
        array([str(gains[wallet.id]) for wallet in wallets]),
        big_integers([wallet.sequence - writes.purses[wallet.id].lines for wallet in wallets]),
        binary_ids([game_id for game_id, _, _ in games]),
        binary_texts([provider for _, provider, _ in games]),
        binary_texts([currency for _, _, currency in games]),
        binary_ids([row.id for row in rows]),
        small_integers(in_place),
        small_integers(in_game),
        array([str(entry.amount) for entry in writes.entries]),
        binary_ids(rounds),
        binary_ids(sessions),
        binary_texts(round_keys),
        binary_texts([row.external_id for row in rows]),
        binary_octets([row.request_hash for row in rows]),
        binary_json([row.metadata for row in rows]),
        *_later(writes),
        array(bonuses if any(bonus != "0.00" for bonus in bonuses) else []),
        binary_ids(moves),
        array([str(bet) for bet, _ in moves.values()]),
        array([str(win) for _, win in moves.values()]),
        array([str(changed[round_id].status == "settled") for round_id in moves]),
    ]


def _later(writes: Writes) -> tuple[Parameter, Parameter]:
    """Return what comes after each row in its wallet: money and lines."""
    if len(writes.rows) == len(writes.wallets):
        return array([]), big_integers([])
    later = [(writes.wallets[entry.wallet_account_id], entry) for entry in writes.entries]
    return (
        array([str(last.balance - entry.balance_after) for last, entry in later]),
        big_integers([last.sequence - entry.sequence for last, entry in later]),
    )


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
        *arrays([_purse(purse) for purse in purses], 5),
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
    return str(purse.version), str(purse.lines), str(main.balance), str(main.sequence), str(main.receivable)


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


_MOMENT: Final = """clock_timestamp() AS moment"""
"""The database's own clock, read when this transaction has its id: seals rest on that."""

_PLAIN_CHANGES: Final = f"""
WITH new AS MATERIALIZED (
    -- A bet or win with its line of the journal, and the round that it opens where `round_key` is given.
    SELECT unnest($9::uuid[]) AS id, unnest($10::integer[]) AS place, unnest($11::integer[]) AS game,
           unnest($12::numeric[]) AS moved, unnest($13::uuid[]) AS game_round_id,
           unnest($14::uuid[]) AS session_id, unnest($15::text[]) AS round_key,
           unnest($16::text[]) AS external_id, unnest($17::bytea[]) AS request_hash,
           unnest($18::jsonb[]) AS metadata,
           -- These may be empty, and are null in every row then.
           unnest($19::numeric[]) AS moved_later, unnest($20::bigint[]) AS lines_later,
           unnest($21::numeric[]) AS bonus
), purses AS (
    -- Added to what is there: plain bets and wins of somebody else do not stand in the way.
    UPDATE wallet_accounts w
       SET balance = w.balance + gain.moved, sequence = w.sequence + gain.lines, updated_at = $1
      FROM (SELECT *
              FROM unnest($2::uuid[], $3::bigint[], $4::numeric[], $5::bigint[])
                   WITH ORDINALITY AS gain (id, version, moved, lines, place)
             ORDER BY id) gain
     WHERE w.id = gain.id AND w.version = gain.version AND w.balance + gain.moved >= 0
    RETURNING gain.place, w.id, w.user_id, w.balance, w.sequence
), written AS MATERIALIZED (
    SELECT count(*) AS purses, array_agg(id ORDER BY place) AS ids, array_agg(user_id ORDER BY place) AS users,
           array_agg(balance ORDER BY place) AS balances, array_agg(sequence ORDER BY place) AS lines,
           $6::uuid[] AS games, $7::text[] AS providers, $8::text[] AS currencies, {_MOMENT}
      FROM purses
), posted AS (
    INSERT INTO transactions (id, wallet_account_id, user_id, game_id, game_round_id, external_id, wallet_type,
                              currency, type, status, amount, request_hash, answer_balance, provider,
                              metadata, processed_at, created_at)
    SELECT id, ids[place], users[place], games[game], game_round_id, external_id, 'main', currencies[game],
           CASE WHEN moved < 0 THEN 'bet'::transaction_type ELSE 'win' END, 'success', abs(moved), request_hash,
           balances[place] - coalesce(moved_later, 0) + coalesce(bonus, 0), providers[game], metadata, moment, moment
      FROM written, new
), journal AS (
    INSERT INTO wallet_entries (wallet_account_id, transaction_id, sequence, amount, balance_after, created_at)
    SELECT ids[place], id, lines[place] - coalesce(lines_later, 0), moved,
           balances[place] - coalesce(moved_later, 0), moment
      FROM written, new
), opened AS (
    INSERT INTO game_rounds (id, session_id, user_id, game_id, provider, external_id, currency, bet_amount, status,
                             opened_at)
    SELECT game_round_id, session_id, users[place], games[game], providers[game], round_key, currencies[game], -moved,
           'open', moment
      FROM written, new
     WHERE round_key IS NOT NULL
), changed AS (
    UPDATE game_rounds r
       SET bet_amount = r.bet_amount + new.bet, win_amount = r.win_amount + new.win,
           status = CASE WHEN new.closes THEN 'settled'::game_round_status ELSE r.status END,
           closed_at = CASE WHEN new.closes THEN $1 ELSE r.closed_at END
      FROM unnest($22::uuid[], $23::numeric[], $24::numeric[], $25::boolean[])
           AS new (id, bet, win, closes)
     WHERE r.id = new.id AND r.status = 'open'
    RETURNING r.id
), sums AS (
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
                   unnest($4::text::bigint[]) AS lines, unnest($5::text::numeric[]) AS balance,
                   unnest($6::text::bigint[]) AS sequence, unnest($7::text::numeric[]) AS receivable) new
     WHERE w.id = new.id AND w.version = new.version AND w.sequence = new.lines
    RETURNING w.id
), written AS MATERIALIZED (
    SELECT count(*) AS purses, {_MOMENT} FROM purses
), new AS MATERIALIZED (
    -- A transaction, its line of the journal, and the round that it opens: what they share comes once.
    SELECT unnest($8::text::uuid[]) AS id, unnest($9::text::uuid[]) AS wallet_account_id,
           unnest($10::text::bigint[]) AS sequence, unnest($11::text::numeric[]) AS moved,
           unnest($12::text::numeric[]) AS balance_after, unnest($13::text::uuid[]) AS user_id,
           unnest($14::text::uuid[]) AS game_id, unnest($15::text::uuid[]) AS game_round_id,
           unnest($16::text::text[]) AS provider, unnest($17::text::text[]) AS currency,
           unnest($18::text::text[]) AS round_key, unnest($19::text::uuid[]) AS session_id,
           unnest($20::text::numeric[]) AS round_bet, unnest($21::text::numeric[]) AS round_win,
           unnest($22::text::numeric[]) AS round_bonus_bet, unnest($23::text::game_round_status[]) AS round_status,
           unnest($24::text::text[]) AS external_id, unnest($25::text::wallet_type[]) AS wallet_type,
           unnest($26::text::transaction_type[]) AS type, unnest($27::text::transaction_status[]) AS status,
           unnest($28::text::numeric[]) AS amount, unnest($29::text::numeric[]) AS fee,
           unnest($30::text::bytea[]) AS request_hash, unnest($31::text::numeric[]) AS answer_balance,
           unnest($32::text::jsonb[]) AS metadata, unnest($33::text::uuid[]) AS payment_id
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
      FROM unnest($34::text::uuid[], $35::text::numeric[], $36::text::numeric[], $37::text::numeric[],
                  $38::text::game_round_status[], $39::text::timestamptz[])
           AS new (id, bet_amount, win_amount, bonus_bet_amount, status, closed_at)
     WHERE r.id = new.id
), sums AS (
    UPDATE game_sessions s
       SET bet_amount = s.bet_amount + new.bet, win_amount = s.win_amount + new.win, last_played_at = $1
      FROM (SELECT unnest($40::text::uuid[]) AS id, unnest($41::text::numeric[]) AS bet,
                   unnest($42::text::numeric[]) AS win) new
     WHERE s.id = new.id
), others AS (
    UPDATE wallet_accounts w
       SET balance = new.balance, sequence = new.sequence, receivable = new.receivable,
           updated_at = $1
      FROM unnest($43::text::uuid[], $44::text::numeric[], $45::text::bigint[], $46::text::numeric[])
           AS new (id, balance, sequence, receivable)
     WHERE w.id = new.id
), other_journal AS (
    INSERT INTO wallet_entries (wallet_account_id, transaction_id, sequence, amount, balance_after, created_at)
    SELECT wallet_account_id, transaction_id, sequence, amount, balance_after, (SELECT moment FROM written)
      FROM unnest($47::text::uuid[], $48::text::uuid[], $49::text::bigint[], $50::text::numeric[],
                  $51::text::numeric[])
           AS new (wallet_account_id, transaction_id, sequence, amount, balance_after)
), sessions AS (
    INSERT INTO game_sessions (id, user_id, game_id, currency, bet_amount, win_amount, status, opened_at, closed_at)
    SELECT id, user_id, game_id, currency, bet, win, 'closed', (SELECT moment FROM written),
           (SELECT moment FROM written)
      FROM unnest($52::text::uuid[], $53::text::uuid[], $54::text::uuid[], $55::text::text[],
                  $56::text::numeric[], $57::text::numeric[])
           AS new (id, user_id, game_id, currency, bet, win)
), ended AS (
    UPDATE transactions t
       SET status = new.status,
           processed_at = coalesce(t.processed_at, (SELECT moment FROM written))
      FROM unnest($58::text::uuid[], $59::text::transaction_status[]) AS new (id, status)
     WHERE t.id = new.id
), stones AS (
    INSERT INTO tombstones (id, user_id, external_id, target_external_id, request_hash, outcome, amount, shortfall,
                            answer_balance, created_at)
    SELECT id, user_id, external_id, target_external_id, request_hash, outcome, amount, shortfall,
           answer_balance, (SELECT moment FROM written)
      FROM unnest($60::text::uuid[], $61::text::uuid[], $62::text::text[], $63::text::text[],
                  $64::text::bytea[], $65::text::text[], $66::text::numeric[], $67::text::numeric[],
                  $68::text::numeric[])
           AS new (id, user_id, external_id, target_external_id, request_hash, outcome, amount, shortfall,
                   answer_balance)
)"""

# The purses come first: the main query needs them, and only when all were still as they were read
# does PostgreSQL go on with the rest. They are given in id order, which is the order of their locks.
_DEAD: Final = """
    + (SELECT count(*) FROM tombstones WHERE external_id = ANY ({keys}))
    + (SELECT count(*) FROM tombstones WHERE target_external_id = ANY ({keys}) AND outcome <> 'repeated')"""
_PLAIN: Final = """
SELECT refuse_stale(cardinality($2::uuid[]) - purses
    + (cardinality($22::uuid[]) - (SELECT count(*) FROM changed)){dead}), lines::text, balances::text
  FROM written
"""
_ANYTHING: Final = """
SELECT refuse_stale(cardinality($2::text::uuid[]) - purses{dead}) FROM written
"""
PLAIN: Final = _PLAIN_CHANGES + _PLAIN.format(dead="")
PLAIN_FROM_MEMORY: Final = _PLAIN_CHANGES + _PLAIN.format(dead=_DEAD.format(keys="$16::text[]"))
PLAIN_STATEMENTS: Final = (PLAIN, PLAIN_FROM_MEMORY)
_WRITE: Final = _CHANGES + _ANYTHING.format(dead="")
_WRITE_FROM_MEMORY: Final = _CHANGES + _ANYTHING.format(dead=_DEAD.format(keys="$24::text::text[]"))
