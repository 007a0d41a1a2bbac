"""Each way of changing the sealed past is found, in its block, and named where the books tell."""

import asyncio
import hashlib
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import asyncpg
import pytest

from casino import Casino, Player, open_casino
from countroom.postgres import Database
from countroom.proof import Proof
from countroom.wallet import seals
from countroom.wallet.seals.form import BLOCK_ENTRIES
from sealing import falsify, seal, write_old_journal

DOCUMENT = Path(__file__).parents[2] / "docs" / "seals.md"
BETS = 300
KEY = "created_at, wallet_account_id, sequence"


@pytest.fixture
async def casino(database_url: str) -> AsyncIterator[Casino]:
    """A casino whose books need not hold at the end."""
    async with open_casino(database_url) as opened:
        yield opened


class Played(NamedTuple):
    casino: Casino
    database: Database
    player: Player
    other: Player
    wallet_id: UUID
    """The player's main wallet: a deposit, and bets of 0.01, 0.02 …"""

    async def block_of(self, sequence: int) -> int:
        """Return in which block an entry of the player lies."""
        row = await self.database.fetchrow(
            f"""
            SELECT count(*) AS before FROM wallet_entries
             WHERE ({KEY}) < (SELECT {KEY} FROM wallet_entries WHERE wallet_account_id = $1 AND sequence = $2)
            """,
            self.wallet_id,
            sequence,
        )
        assert row is not None
        return int(row["before"]) // BLOCK_ENTRIES


@pytest.fixture
async def played(casino: Casino) -> Played:
    """Four players and a sealed journal of some blocks."""
    players = [await casino.player(main="1000.00") for _ in range(4)]
    await asyncio.gather(
        *(
            player.bet(f"{n / 100:.2f}", key=f"{player.id}:{n}", round_key=f"{player.id}:{n}")
            for n in range(1, BETS + 1)
            for player in players
        )
    )
    made = await seal(casino.database)
    assert sum(one.entries for one in made) == 4 * (BETS + 1)
    row = await casino.database.fetchrow(
        "SELECT id FROM wallet_accounts WHERE user_id = $1 AND type = 'main'", players[0].id
    )
    assert row is not None
    return Played(casino, casino.database, players[0], players[1], row["id"])


def blocks_named(proof: Proof) -> set[int]:
    return {int(block) for violation in proof.violations for block in re.findall(r"seal 1, block (\d+),", violation)}


async def test_what_was_not_changed_is_proved(played: Played) -> None:
    heard: list[tuple[int, int]] = []
    proof = await seals.prove(played.database, progress=lambda compared, of: heard.append((compared, of)))

    assert proof == Proof("seals", holds=True, compared=4 * (BETS + 1))
    assert heard[-1] == (proof.compared, proof.compared)


CHANGES = [
    ("amount = amount - 0.01", "entry 100: -1.00 after"),
    ("amount = amount - 0.01, balance_after = balance_after - 0.01", "and the entry after it continues"),
    ("balance_after = balance_after + 5", "entry 100: -0.99 after"),
    ("transaction_id = gen_random_uuid()", "entry 100: names transaction"),
    ("created_at = created_at + interval '1 microsecond'", "dated"),
]


@pytest.mark.parametrize(("change", "told"), CHANGES)
async def test_a_changed_entry_is_found_in_its_block_and_named(played: Played, change: str, told: str) -> None:
    block = await played.block_of(100)
    await falsify(
        played.database,
        f"UPDATE wallet_entries SET {change} WHERE wallet_account_id = $1 AND sequence = 100",
        played.wallet_id,
    )

    proof = await seals.prove(played.database)

    assert block in blocks_named(proof), proof
    assert len(blocks_named(proof)) == 1 or "created_at" in change
    assert any(f"wallet {played.wallet_id}" in violation and told in violation for violation in proof.violations), proof


@pytest.mark.parametrize("sequence", [1, 100, BETS + 1])
async def test_a_removed_entry_is_found_in_its_block_and_named(played: Played, sequence: int) -> None:
    block = await played.block_of(sequence)
    await falsify(
        played.database,
        "DELETE FROM wallet_entries WHERE wallet_account_id = $1 AND sequence = $2",
        played.wallet_id,
        sequence,
    )

    proof = await seals.prove(played.database)

    assert blocks_named(proof) == {block}
    assert f"wallet {played.wallet_id}: entry {sequence} is missing" in proof.violations[0]
    assert "entries were sealed, and" in proof.violations[0]


async def test_an_entry_that_leaves_its_block_without_a_neighbour_is_named(casino: Casino) -> None:
    """Nothing that is left in the block says whose entry it was: the whole journal is asked."""
    await write_old_journal(casino.database, wallets=300, entries=3)
    await falsify(
        casino.database,
        """
        INSERT INTO wallet_accounts (id, user_id, currency, type, balance, sequence)
        SELECT wallet_account_id, gen_random_uuid(), 'EUR', 'main', 3, 3 FROM wallet_entries GROUP BY 1;
        INSERT INTO transactions (id, wallet_account_id, external_id, amount, type, status, created_at, user_id,
                                  wallet_type, currency, request_hash)
        SELECT e.transaction_id, w.id, 'old:' || w.id || e.sequence, 1, 'deposit', 'success', e.created_at,
               w.user_id, 'main', 'EUR', ''
          FROM wallet_entries e JOIN wallet_accounts w ON w.id = e.wallet_account_id
        """,
    )
    await seal(casino.database)
    victim = UUID(hashlib.md5(b"7", usedforsecurity=False).hexdigest())
    await falsify(casino.database, "DELETE FROM wallet_entries WHERE wallet_account_id = $1 AND sequence = 2", victim)

    proof = await seals.prove(casino.database)

    assert len(proof.violations) == 1
    assert f"256 entries were sealed, and 255 are there (wallet {victim}: entry 2 is missing)" in proof.violations[0]


async def test_an_inserted_entry_is_found_in_its_block_and_named(played: Played) -> None:
    block = await played.block_of(100)
    await falsify(
        played.database,
        """
        INSERT INTO wallet_entries
        SELECT wallet_account_id, 5000, gen_random_uuid(), 1, 1, created_at
          FROM wallet_entries WHERE wallet_account_id = $1 AND sequence = 100
        """,
        played.wallet_id,
    )

    proof = await seals.prove(played.database)

    # It comes after the moment's other entries of its wallet: in the same block, or at the start of the next.
    assert len(blocks_named(proof)) == 1
    assert blocks_named(proof) <= {block, block + 1}
    assert f"wallet {played.wallet_id}, entry 5000: its wallet counts {BETS + 1} entries" in proof.violations[0]


async def test_swapped_transactions_are_found_and_named(played: Played) -> None:
    blocks = {await played.block_of(100), await played.block_of(101)}
    await falsify(
        played.database,
        """
        UPDATE wallet_entries e SET transaction_id = o.transaction_id
          FROM wallet_entries o
         WHERE e.wallet_account_id = $1 AND o.wallet_account_id = $1
           AND (e.sequence, o.sequence) IN ((100, 101), (101, 100))
        """,
        played.wallet_id,
    )

    proof = await seals.prove(played.database)

    assert blocks_named(proof) == blocks
    assert "entry 100: moves -0.99, and transaction" in " ".join(proof.violations)
    assert "entry 101: moves -1.00, and transaction" in " ".join(proof.violations)


async def test_a_change_that_fits_the_books_is_found_in_its_block(played: Played) -> None:
    """A bet and all that follows it in the wallet, 0.01 lower: nothing but the seal tells."""
    block = await played.block_of(100)
    await falsify(
        played.database,
        f"""
        UPDATE wallet_entries SET balance_after = balance_after - 0.01
         WHERE wallet_account_id = '{played.wallet_id}' AND sequence >= 100;
        UPDATE wallet_entries SET amount = amount - 0.01
         WHERE wallet_account_id = '{played.wallet_id}' AND sequence = 100;
        UPDATE wallet_accounts SET balance = balance - 0.01 WHERE id = '{played.wallet_id}';
        UPDATE transactions SET amount = amount + 0.01
         WHERE id = (SELECT transaction_id FROM wallet_entries
                      WHERE wallet_account_id = '{played.wallet_id}' AND sequence = 100);
        """,
    )

    proof = await seals.prove(played.database)

    assert min(blocks_named(proof)) == block
    assert "are not as they were sealed" in proof.violations[0]
    assert "wallet" not in proof.violations[0]


async def test_a_violation_of_many_blocks_is_counted(played: Played) -> None:
    await falsify(played.database, "DELETE FROM wallet_entries")

    proof = await seals.prove(played.database)

    assert not proof.holds
    assert len(proof.violations) == 5
    assert all("and 0 are there" in violation for violation in proof.violations)


async def _chain(played: Played) -> list[seals.Seal]:
    """Add two seals, so that there are three."""
    made = await seal(played.database)
    for n in range(2):
        await played.player.bet("1.00", key=f"more{n}", round_key=f"more{n}")
        made += await seal(played.database)
    assert [one.number for one in made] == [2, 3]
    return [await seals.head(played.database), *made]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("DELETE FROM seal_blocks WHERE seal_number = 2; DELETE FROM seals WHERE number = 2", "seal 2 is missing"),
        ("UPDATE seals SET root = sha256('') WHERE number = 2", "seal 2 was changed"),
        ("UPDATE seals SET entries = entries + 1 WHERE number = 2", "seal 2 was changed"),
        ("UPDATE seals SET hash = sha256('') WHERE number = 2", "seal 3 was changed, or the one before it"),
        ("UPDATE seals SET ends_at = ends_at + interval '1 day' WHERE number = 2", "seal 3 does not start where"),
        ("UPDATE seal_blocks SET hash = sha256('') WHERE seal_number = 2", "its entries are as they were sealed"),
        ("DELETE FROM seal_blocks WHERE seal_number = 2", "seal 2: the list of its blocks was changed"),
        (
            "DELETE FROM seal_blocks WHERE number = 1; DELETE FROM wallet_entries WHERE sequence = 9",
            "its entries were, too",
        ),
        ("UPDATE seal_blocks SET first_sequence = first_sequence + 1 WHERE seal_number = 1 AND number = 2", "block 2"),
    ],
)
async def test_a_falsified_chain_is_found(played: Played, change: str, told: str) -> None:
    await _chain(played)
    assert (await seals.prove(played.database)).holds
    await falsify(played.database, change)

    proof = await seals.prove(played.database)

    assert not proof.holds
    assert told in " ".join(proof.violations), proof


async def test_a_chain_that_was_made_anew_is_found_by_a_head_that_was_kept(played: Played) -> None:
    kept = await seals.head(played.database)
    assert (await seals.prove(played.database, head=kept.hash.hex())).holds
    await falsify(
        played.database,
        """
        UPDATE wallet_entries SET amount = amount - 1 WHERE sequence = 7;
        DELETE FROM seal_blocks;
        DELETE FROM seals
        """,
    )
    await seal(played.database)

    assert (await seals.prove(played.database)).holds
    proof = await seals.prove(played.database, head=kept.hash.hex())
    assert not proof.holds
    assert kept.hash.hex() in proof.violations[0]


async def test_a_chain_that_was_cut_is_found_by_a_head_that_was_kept(played: Played) -> None:
    kept = (await _chain(played))[-1]
    await falsify(played.database, "DELETE FROM seal_blocks WHERE seal_number = 3; DELETE FROM seals WHERE number = 3")

    assert (await seals.prove(played.database)).holds
    assert not (await seals.prove(played.database, head=kept.hash.hex())).holds


@pytest.mark.parametrize("head", ["", "12", "g" * 64, "0" * 66])
async def test_a_head_that_is_no_hash_is_refused(casino: Casino, head: str) -> None:
    with pytest.raises(seals.NoHash):
        await seals.prove(casino.database, head=head)


async def test_seals_and_blocks_cannot_be_changed_by_mistake(played: Played) -> None:
    for statement in ("UPDATE seals SET entries = 1", "DELETE FROM seal_blocks", "TRUNCATE seals CASCADE"):
        with pytest.raises(asyncpg.RestrictViolationError):
            await played.database.fetch(statement)


async def test_an_entry_dated_before_all_time_is_found(played: Played) -> None:
    for moment in ("-infinity", "4000-01-01 BC"):
        await falsify(
            played.database,
            "UPDATE wallet_entries SET created_at = $2::text::timestamptz "
            "WHERE wallet_account_id = $1 AND sequence = 100",
            played.wallet_id,
            moment,
        )
        proof = await seals.prove(played.database)
        assert 0 in blocks_named(proof), proof
        assert f"wallet {played.wallet_id}, entry 100: dated {moment}" in " ".join(proof.violations).replace(
            "01-01 00:00:00+00 BC", "01-01 BC"
        )


async def test_the_document_shows_how_a_stranger_verifies(played: Played, database_url: str) -> None:
    await _chain(played)
    (script,) = re.findall(r"```python\n(.+?)```", DOCUMENT.read_text(), re.DOTALL)

    async def verify() -> tuple[int | None, str]:
        stranger = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            script,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={"DATABASE_URL": database_url},
        )
        told, _ = await stranger.communicate()
        return stranger.returncode, told.decode()

    head = await seals.head(played.database)
    assert await verify() == (0, f"{head.number} {head.hash.hex()}\n")
    await falsify(played.database, "UPDATE wallet_entries SET amount = amount + 1 WHERE sequence = 7")
    code, told = await verify()
    assert code == 1
    assert told == "seal 1 is not what the journal says\n"
