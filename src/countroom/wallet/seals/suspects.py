"""Which entry of a damaged block it is, where the rest of the books tells.

The seal knows that a block has changed, and not what it was. The journal's own continuity, the wallet's
count and balance, and the transaction that an entry names often tell the line; where someone has made
all of them fit, the block is what is known.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Final
from uuid import UUID

from asyncpg import Record

from countroom.postgres import Transaction
from countroom.wallet.seals import queries
from countroom.wallet.seals.form import key_of, moment
from countroom.wallet.seals.walk import Damage

MISSING_LOOKED_AT: Final = 1_000
"""Gaps in all journals among which a block's missing entry is looked for."""


async def name(tx: Transaction, damage: Damage) -> list[str]:
    """Return what the books say about the entries that are in a damaged block now, a sentence each."""
    keys = [key_of(line) for line in damage.lines]
    facts = await queries.facts_about(
        tx, [UUID(wallet_id.decode()) for _, wallet_id, _ in keys], [sequence for _, _, sequence in keys]
    )
    return list(judge(facts))


async def name_missing(tx: Transaction, damages: Sequence[Damage]) -> dict[Damage, list[str]]:
    """Return the entries that wallets count, that the journal lacks, and that may have been in these blocks.

    Walks through the whole journal's key: only asked when blocks lack entries.
    """
    found: dict[Damage, list[str]] = {}
    for row in await queries.missing_entries(tx, MISSING_LOOKED_AT):
        not_before, not_after = moment(row["not_before"]), moment(row["not_after"])
        for damage in damages:
            if not_before <= moment(damage.ends_at) and not_after >= moment(damage.starts_at):
                found.setdefault(damage, []).append(_missing(row["wallet_account_id"], row["first"], row["last"]))
    return found


def judge(facts: Sequence[Record]) -> Iterator[str]:
    """Give a sentence for each entry about which the books say something; facts come by wallet and number."""
    wanted: dict[tuple[UUID, int], Decimal] = {}
    for fact in facts:
        place = (fact["wallet_account_id"], fact["sequence"])
        continues = wanted.get((place[0], place[1] - 1))
        wanted_here = (fact["balance_before"] or Decimal(0)) + fact["amount"]
        if fact["balance_after"] != wanted_here:
            wanted[place] = wanted_here
        # The entry before was changed, and this one continues what that was.
        is_explained = continues is not None and continues + fact["amount"] == fact["balance_after"]
        sentence = _about_wallet(fact, is_explained=is_explained) or _about_transaction(fact)
        if sentence is not None:
            yield sentence


def _about_wallet(fact: Record, *, is_explained: bool) -> str | None:
    wallet_id, sequence, leaves = fact["wallet_account_id"], fact["sequence"], fact["balance_after"]
    if fact["user_id"] is None:
        return f"wallet {wallet_id}, entry {sequence}: there is no such wallet"
    is_last = sequence == fact["wallet_sequence"]
    before = fact["balance_before"] or Decimal(0)
    wanted_after = fact["balance_wanted_after"]
    if sequence > fact["wallet_sequence"]:
        return f"wallet {wallet_id}, entry {sequence}: its wallet counts {fact['wallet_sequence']} entries"
    if sequence > 1 and not fact["has_before"]:
        return _missing(wallet_id, sequence - 1, sequence - 1)
    if sequence < fact["wallet_sequence"] and not fact["has_after"]:
        return _missing(wallet_id, sequence + 1, sequence + 1)
    claims = (
        (before + fact["amount"] != leaves and not is_explained, f"{fact['amount']} after {before} gives {leaves}"),
        (
            is_last and leaves != fact["wallet_balance"],
            f"the last one leaves {leaves}, and the wallet holds {fact['wallet_balance']}",
        ),
        (
            fact["has_after"] and wanted_after != leaves,
            f"leaves {leaves}, and the entry after it continues {wanted_after}",
        ),
        (fact["is_before_the_one_before"], f"dated {fact['created_at']}, before the entry before it"),
    )
    return _first(fact, claims)


def _about_transaction(fact: Record) -> str | None:
    transaction = f"transaction {fact['transaction_id']}"
    claims = (
        (not fact["has_transaction"], f"names {transaction}, which does not exist"),
        (fact["transaction_user_id"] != fact["user_id"], f"names {transaction}, which is another player's"),
        (fact["is_before_transaction"], f"dated {fact['created_at']}, before {transaction}"),
        (fact["is_after_transaction"], f"dated {fact['created_at']}, after {transaction}"),
        (fact["is_not_transactions_amount"], f"moves {fact['amount']}, and {transaction} does not"),
    )
    return _first(fact, claims)


def _first(fact: Record, claims: Sequence[tuple[bool | None, str]]) -> str | None:
    said = next((sentence for is_so, sentence in claims if is_so), None)
    return said and f"wallet {fact['wallet_account_id']}, entry {fact['sequence']}: {said}"


def _missing(wallet_id: UUID, first: int, last: int) -> str:
    which = f"entry {first} is" if first == last else f"entries {first} to {last} are"
    return f"wallet {wallet_id}: {which} missing"
