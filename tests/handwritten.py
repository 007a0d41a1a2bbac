"""Postings written by hand, as the wallet leaves them: for operations of which only the books are tested."""

from collections.abc import Sequence
from decimal import Decimal
from uuid import UUID

from casino import Player
from countroom import clock
from countroom.postgres import Connection

Move = tuple[str, str]
"""Type of a wallet, and the signed amount of an entry in it."""


async def post(
    connection: Connection,
    player: Player,
    kind: str,
    key: str,
    amount: str,
    *moves: Move,
    status: str = "success",
    fee: str = "0",
    owed: str = "0",
) -> UUID:
    """Write a transaction of the wallet that its first move is in (or main) and its entries."""
    wallet_type = moves[0][0] if moves else "main"
    transaction_id = clock.new_id()
    await connection.execute(
        "INSERT INTO transactions (id, wallet_account_id, external_id, amount, fee, type, status, user_id, "
        "wallet_type, currency, request_hash) SELECT $1, id, $2, $3, $4, $5, $6, user_id, type, currency, sha256('') "
        "FROM wallet_accounts WHERE user_id = $7 AND currency = $8 AND type = $9",
        transaction_id, f"hand:{key}", Decimal(amount), Decimal(fee), kind, status, player.id, player.currency,
        wallet_type,
    )  # fmt: skip
    await move(connection, player, transaction_id, moves)
    if Decimal(owed):
        await connection.execute(
            "UPDATE wallet_accounts SET receivable = receivable + $1 "
            "WHERE user_id = $2 AND currency = $3 AND type = $4",
            Decimal(owed), player.id, player.currency, wallet_type,
        )  # fmt: skip
    return transaction_id


async def move(connection: Connection, player: Player, transaction_id: UUID, moves: Sequence[Move]) -> None:
    """Write entries of a transaction."""
    for wallet_type, amount in moves:
        await connection.execute(
            "WITH w AS (UPDATE wallet_accounts SET balance = balance + $1, sequence = sequence + 1 "
            "WHERE user_id = $2 AND currency = $3 AND type = $4 RETURNING id, sequence, balance) "
            "INSERT INTO wallet_entries (wallet_account_id, sequence, transaction_id, amount, balance_after, "
            "created_at) SELECT id, sequence, $5, $1, balance, now() FROM w",  # as the transaction's: of one moment
            Decimal(amount), player.id, player.currency, wallet_type, transaction_id,
        )  # fmt: skip


async def withdraw(connection: Connection, player: Player, key: str, amount: str, fee: str = "0") -> UUID:
    """Request a withdrawal: main to locked."""
    whole = Decimal(amount) + Decimal(fee)
    return await post(
        connection, player, "withdrawal", key, amount, ("main", f"-{whole}"), ("locked", str(whole)),
        status="pending", fee=fee,
    )  # fmt: skip


async def end_withdrawal(connection: Connection, player: Player, key: str, outcome: str) -> None:
    """Settle, fail or cancel it."""
    row = await connection.fetchrow(
        "UPDATE transactions SET status = $2, processed_at = now() WHERE external_id = $1 "
        "RETURNING id, amount + fee AS whole",
        f"hand:{key}", "success" if outcome == "settled" else outcome,
    )  # fmt: skip
    assert row is not None
    back = [] if outcome == "settled" else [("main", str(row["whole"]))]
    await move(connection, player, row["id"], [("locked", str(-row["whole"])), *back])
    await bury(connection, player, f"{key}:{outcome}", key, outcome)


async def bury(connection: Connection, player: Player, key: str, target: str, outcome: str) -> None:
    """Write a tombstone."""
    await connection.execute(
        "INSERT INTO tombstones (external_id, target_external_id, id, user_id, request_hash, outcome, answer_balance) "
        "VALUES ($1, $2, $3, $4, sha256(''), $5, 0)",
        f"hand:{key}", f"hand:{target}", clock.new_id(), player.id, outcome,
    )  # fmt: skip


async def everything(connection: Connection, player: Player) -> None:
    """One of each operation that the wallet itself is not asked for here; the player needs 100 in main."""
    await post(connection, player, "deposit", "d1", "20.00", ("main", "19.50"), fee="0.50")
    await withdraw(connection, player, "pending", "5.00", fee="0.25")
    for key, outcome in (("paid", "settled"), ("broken", "failed"), ("regretted", "cancelled")):
        await withdraw(connection, player, key, "3.00")
        await end_withdrawal(connection, player, key, outcome)
    await post(connection, player, "bonus", "granted", "10.00", ("bonus", "10.00"))
    await post(connection, player, "bonus", "forfeited", "-2.00", ("bonus", "-2.00"))
    await post(connection, player, "bonus", "converted", "4.00", ("main", "4.00"))
    await post(connection, player, "bonus", "converted/bonus", "-4.00", ("bonus", "-4.00"))
    await post(connection, player, "adjustment", "goodwill", "-1.00", ("main", "-1.00"))
    await post(connection, player, "win", "free-round", "0")
    await post(connection, player, "adjustment", "x9/receivable", "7.00", ("main", "7.00"), owed="7.00")
    await post(connection, player, "adjustment", "d2/repayment", "-2.00", ("main", "-2.00"), owed="-2.00")
