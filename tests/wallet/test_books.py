"""The proof itself is proved: each way of falsifying the books is found, and named."""

import re

import pytest

from casino import Casino, Player
from countroom.wallet import books, incremental
from handwritten import everything

NEVER_NEGATIVE = "ALTER TABLE wallet_entries DROP CONSTRAINT wallet_entries_never_negative;"
ONE_OUTCOME = "DROP INDEX tombstones_one_reversal_a_target;"
MAIN = "(SELECT id FROM wallet_accounts WHERE type = 'main' ORDER BY id LIMIT 1)"
LOCKED = "(SELECT id FROM wallet_accounts WHERE type = 'locked' ORDER BY id LIMIT 1)"
SECOND = f"sequence = 2 AND wallet_account_id = {MAIN}"
A_BET = (
    "INSERT INTO transactions (id, wallet_account_id, external_id, amount, type, status, user_id, wallet_type, "
    "currency, request_hash) SELECT '0f000000-0000-7000-8000-000000000000', {wallet}, 'lie', 1, 'bet', 'success', "
    "user_id, 'main', 'EUR', {hash} FROM wallet_accounts WHERE id = " + MAIN
)
Found = dict[str, tuple[str, ...]]

FALSIFIED = [
    ("P1", "UPDATE wallet_accounts SET balance = balance + 0.01 WHERE type = 'main'"),
    ("P1", "UPDATE wallet_accounts SET sequence = sequence + 1 WHERE type = 'main'"),
    ("P1", "UPDATE wallet_accounts SET receivable = receivable + 1 WHERE type = 'main'"),
    ("P1", "DELETE FROM wallet_entries WHERE sequence = 2"),
    ("P1", "UPDATE wallet_entries SET amount = amount + 0.01, balance_after = balance_after + 0.01 WHERE sequence = 2"),
    ("P1", "UPDATE wallet_entries SET balance_after = balance_after + 0.01 WHERE sequence = 3"),
    ("P1", "UPDATE transactions SET amount = amount + 1 WHERE external_id = 'hand:x9/receivable'"),
    ("P1", f"DELETE FROM wallet_accounts WHERE id = {MAIN}"),
    ("P1", A_BET.format(wallet="gen_random_uuid()", hash="sha256('')")),
    ("P1", "UPDATE transactions SET wallet_type = 'bonus' WHERE external_id = 'sandbox:b1'"),
    ("P1", "UPDATE transactions SET user_id = gen_random_uuid() WHERE external_id = 'hand:goodwill'"),
    ("P2", "UPDATE tombstones SET external_id = 'sandbox:b1' WHERE outcome = 'unseen'"),
    ("P2", "UPDATE transactions SET request_hash = '' WHERE external_id = 'sandbox:b1'"),
    ("P2", A_BET.format(wallet=MAIN, hash="''")),
    ("P3", NEVER_NEGATIVE + "UPDATE wallet_entries SET balance_after = -1 WHERE sequence = 2"),
    ("P4", "UPDATE transactions SET status = 'cancelled' WHERE external_id = 'sandbox:b1'"),
    ("P4", "UPDATE transactions SET status = 'success' WHERE external_id = 'sandbox:b2'"),
    ("P4", "UPDATE tombstones SET target_external_id = 'sandbox:b1' WHERE outcome = 'unseen'"),
    ("P4", "UPDATE tombstones SET target_external_id = 'sandbox:b7' WHERE outcome = 'reversed'"),
    ("P4", ONE_OUTCOME + "UPDATE tombstones SET target_external_id = 'sandbox:b2' WHERE outcome = 'unseen'"),
    ("P4", "DELETE FROM tombstones WHERE outcome = 'reversed'"),
    ("P4", "DELETE FROM tombstones WHERE outcome = 'settled'"),
    ("P4", "UPDATE tombstones SET outcome = 'failed' WHERE outcome = 'settled'"),
    ("P4", "UPDATE transactions SET status = 'failed' WHERE external_id = 'hand:pending'"),
    ("P4", "UPDATE transactions SET status = 'pending' WHERE external_id = 'hand:paid'"),
    ("P5", "UPDATE transactions SET amount = amount + 1 WHERE external_id = 'sandbox:b1'"),
    ("P5", "UPDATE transactions SET amount = amount + 1 WHERE external_id = 'hand:granted'"),
    ("P5", "UPDATE transactions SET fee = fee + 0.01 WHERE external_id = 'hand:d1'"),
    ("P5", "UPDATE transactions SET fee = fee + 0.01 WHERE external_id = 'hand:pending'"),
    ("P5", A_BET.format(wallet=MAIN, hash="sha256('')")),
    ("P5", "UPDATE wallet_entries SET transaction_id = gen_random_uuid() WHERE sequence = 2"),
    ("P5", f"UPDATE wallet_entries SET wallet_account_id = {LOCKED}, sequence = 99 WHERE {SECOND}"),
    ("P5", "UPDATE game_rounds SET bet_amount = bet_amount + 1"),
    ("P5", "UPDATE game_rounds SET bonus_bet_amount = bonus_bet_amount + 1"),
    ("P5", "DELETE FROM game_rounds"),
    ("P5", "UPDATE game_sessions SET win_amount = win_amount + 1"),
]  # fmt: skip


@pytest.fixture
async def player(casino: Casino) -> Player:
    """Somebody who did one of each, all of it since the marks were set."""
    player = await casino.player(main="100.00", bonus="5.00")
    await player.bet("3.00", key="b1")
    await player.bet("100.00", key="b0", round_key="r0")  # beyond main: the bonus wallet pays the rest
    await player.win("106.00", key="w0", round_key="r0")
    await player.bet("9.00", key="b2", round_key="r2")
    await player.win("4.00", key="w1")
    await player.reverse("b2", key="x2", round_key="r2")
    await player.reverse("never", key="x3")
    async with casino.database.transaction() as tx:
        await everything(tx, player)
    return player


async def test_each_falsification_is_found_in_everything_and_in_what_is_new(casino: Casino, player: Player) -> None:
    assert await _proved_after(casino, "SELECT") == ({}, {})

    for promise, statements in FALSIFIED:
        for found in await _proved_after(casino, statements):
            assert found.get(promise), (promise, statements, found)


async def test_a_violation_names_wallet_sequence_and_amounts(casino: Casino, player: Player) -> None:
    wallet_id = await casino.database.pool.fetchval("SELECT id FROM wallet_accounts WHERE type = 'main'")

    found = await _proved_after(
        casino,
        f"UPDATE wallet_entries SET amount = amount + 7 WHERE sequence = 2 AND wallet_account_id = '{wallet_id}'",
    )

    for violations in found:
        (gap,) = [violation for violation in violations["P1"] if "entry 2" in violation]
        assert gap == f"wallet {wallet_id}, entry 2: 4.00 after 100.00 gives 97.00, and the entry before it is number 1"
        (sum_,) = violations["P5"]
        assert re.search(r"sandbox:b1 \(bet of 3.00.*add up to 4.00 instead of -3.00", sum_), sum_
        assert f"wallet {wallet_id}" in sum_
        assert "entry 2: 4.00" in sum_


async def _proved_after(casino: Casino, statements: str) -> tuple[Found, Found]:
    """Falsify, prove everything and what is new, and take it back; give what was found by promise."""
    async with casino.database.connection() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("SET LOCAL session_replication_role = replica")  # no trigger keeps the liar out
        await connection.execute(statements)
        proofs = [await books.prove_within(connection), await incremental.prove_within(connection)]
        await transaction.rollback()
    in_everything, in_what_is_new = (
        {proof.promise: proof.violations for proof in found if not proof.holds} for found in proofs
    )
    return in_everything, in_what_is_new
