"""The proof itself is proved: each way of falsifying the books is found, and named."""

from casino import Casino
from countroom.wallet import books

NEVER_NEGATIVE = "ALTER TABLE wallet_entries DROP CONSTRAINT wallet_entries_never_negative;"
FALSIFIED = [
    ("P1", "UPDATE wallet_accounts SET balance = balance + 0.01 WHERE type = 'main'"),
    ("P1", "UPDATE wallet_accounts SET sequence = sequence + 1 WHERE type = 'main'"),
    ("P1", "DELETE FROM wallet_entries WHERE sequence = 2"),
    ("P1", "UPDATE wallet_entries SET amount = amount + 0.01, balance_after = balance_after + 0.01 WHERE sequence = 2"),
    ("P1", "UPDATE transactions SET amount = amount + 1 WHERE type = 'deposit'"),
    ("P2", "UPDATE tombstones SET external_id = 'sandbox:b1' WHERE outcome = 'unseen'"),
    ("P3", NEVER_NEGATIVE + "UPDATE wallet_entries SET balance_after = -1 WHERE sequence = 2"),
    ("P4", "UPDATE transactions SET status = 'cancelled' WHERE external_id = 'sandbox:b1'"),
    ("P4", "UPDATE transactions SET status = 'success' WHERE external_id = 'sandbox:b2'"),
    ("P4", "UPDATE tombstones SET target_external_id = 'sandbox:b1' WHERE outcome = 'unseen'"),
    ("P5", "UPDATE transactions SET amount = amount + 1 WHERE external_id = 'sandbox:b1'"),
    ("P5", "INSERT INTO wallet_entries SELECT id, 99, gen_random_uuid(), 1, 1 FROM wallet_accounts LIMIT 1"),
    ("P5", "UPDATE game_rounds SET bet_amount = bet_amount + 1"),
    ("P5", "UPDATE game_sessions SET win_amount = win_amount + 1"),
]  # fmt: skip


async def test_each_falsification_is_found(casino: Casino) -> None:
    player = await casino.player(main="10.00", bonus="5.00")
    await player.bet("3.00", key="b1")
    await player.bet("9.00", key="b2", round_key="r2")
    await player.win("4.00", key="w1")
    await player.reverse("b2", key="x2", round_key="r2")
    await player.reverse("never", key="x3")
    await casino.check_books()

    for promise, statements in FALSIFIED:
        broken = await _proofs_after(casino, statements)
        assert broken.get(promise), (promise, statements, broken)


async def _proofs_after(casino: Casino, statements: str) -> dict[str, tuple[str, ...]]:
    """Falsify, prove, and take it back; give what was found by promise."""
    async with casino.database.connection() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("SET LOCAL session_replication_role = replica")  # no trigger keeps the liar out
        await connection.execute(statements)
        proofs = await books.prove_within(connection)
        await transaction.rollback()
    return {proof.promise: proof.violations for proof in proofs if not proof.holds}
