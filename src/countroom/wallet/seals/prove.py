"""The seals proved: the chain is whole, and what the journal holds is what was sealed.

Everything is read again and hashed here, outside the database: whoever can change rows, triggers and
functions there cannot make this say yes. It goes seal by seal, in short transactions: what is sealed
does not change, and a long snapshot would keep PostgreSQL from tidying up behind the players' bets.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from countroom.postgres import Database, Transaction
from countroom.proof import Proof
from countroom.refusal import Refusal
from countroom.wallet.seals import queries, suspects
from countroom.wallet.seals.form import ANY_TIME, NO_SEAL, Block, Cutter, Seal, merkle_root
from countroom.wallet.seals.walk import DAMAGES_KEPT, Damage, Walk

ENTRIES_AT_ONCE: Final = 250_000
"""Compared in one transaction: a large seal, or as many small ones as hold so much."""
SEALS_AT_ONCE: Final = 2_000
VIOLATIONS_SHOWN: Final = 10
SUSPECTS_SHOWN: Final = 5
"""Of a block: a longer list points at nothing."""


class NoHash(Refusal):
    """A head is the 64 hexadecimal digits that `countroom seal head` prints."""

    kind = "invalid"
    code = "no_hash"


def _ignore(_compared: int, _of: int) -> None:
    pass


@dataclass(slots=True)
class _Found:
    compared: int = 0
    damaged: int = 0
    violations: list[str] = field(default_factory=list)
    damages: list[Damage] = field(default_factory=list)

    def add(self, walk: Walk) -> None:
        self.compared += walk.entries
        self.damaged += walk.damaged
        self.damages += walk.damages[: DAMAGES_KEPT - len(self.damages)]


@dataclass(frozen=True, slots=True)
class _Sealed:
    seal: Seal
    blocks: Sequence[Block]
    is_listed: bool
    """Whether the blocks are those over which the seal was made."""


async def prove(
    database: Database, *, head: str | None = None, progress: Callable[[int, int], None] = _ignore
) -> Proof:
    """Prove that nothing which was sealed has changed since. Bets may flow meanwhile.

    With ``head``, the hash of a seal that was kept elsewhere, also that the chain still holds that seal:
    a chain that was made anew over a changed journal is whole, and does not. ``progress`` hears how many
    entries were compared, and how many there are to compare.

    Raises:
        NoHash: ``head`` is none.
    """
    kept = _read_hash(head) if head is not None else None
    found = _Found()
    previous: Seal | None = None
    is_kept = kept is None
    async with database.transaction(snapshot=True) as tx:
        expected = await queries.sealed_entries(tx)
    while True:
        async with database.transaction(snapshot=True) as tx:
            await queries.print_as_hashed(tx)
            sealed = await _next_seals(tx, previous.number if previous else 0)
            if not sealed:
                break
            for one in sealed:
                found.violations += _links(one.seal, previous)
                is_kept = is_kept or one.seal.hash == kept
                previous = one.seal
            await queries.read_by_time(tx)
            for run in _runs(sealed):
                await _compare(tx, run, found)
                progress(found.compared, expected)
    if not is_kept:
        found.violations.insert(
            0, f"no seal has the hash {head}: the chain was cut before it, or was made anew over another journal"
        )
    found.violations += await _describe(database, found)
    return Proof("seals", not found.violations, found.compared, tuple(found.violations[:VIOLATIONS_SHOWN]))


def _read_hash(text: str) -> bytes:
    try:
        kept = bytes.fromhex(text)
    except ValueError as error:
        raise NoHash from error
    if len(kept) != len(NO_SEAL):
        raise NoHash
    return kept


async def _next_seals(tx: Transaction, after: int) -> list[_Sealed]:
    """Read the next seals, as many as are compared at once."""
    seals: list[Seal] = []
    entries = 0
    for seal in await queries.seals_after(tx, after, SEALS_AT_ONCE):
        entries += seal.entries
        if seals and entries > ENTRIES_AT_ONCE:
            break
        seals.append(seal)
    if not seals:
        return []
    blocks = await queries.blocks_of(tx, seals[0].number, seals[-1].number)
    return [_Sealed(seal, mine, _is_listed(seal, mine)) for seal in seals for mine in [blocks.get(seal.number, [])]]


def _is_listed(seal: Seal, blocks: Sequence[Block]) -> bool:
    return (
        bool(blocks)
        and sum(block.entries for block in blocks) == seal.entries
        and merkle_root([block.hash for block in blocks]) == seal.root
    )


def _links(seal: Seal, previous: Seal | None) -> Iterator[str]:
    """Say what is wrong with the link between a seal and the one before it."""
    number = previous.number if previous else 0
    if seal.number != number + 1:
        which = f"seal {number + 1} is" if seal.number == number + 2 else f"seals {number + 1} to {seal.number - 1} are"
        yield f"{which} missing: the chain is broken"
        return
    if seal.starts_at != (previous.ends_at if previous else ANY_TIME):
        yield f"seal {seal.number} does not start where the one before it ends"
    if seal.hash != seal.hash_after(previous.hash if previous else NO_SEAL):
        yield f"seal {seal.number} was changed, or the one before it: its hash is not that of its content"


def _runs(sealed: Sequence[_Sealed]) -> Iterator[list[_Sealed]]:
    """Part seals into those that can be read in one go: one follows the other, and their blocks are known."""
    run: list[_Sealed] = []
    for one in sealed:
        if run and not (run[-1].is_listed and one.is_listed and run[-1].seal.ends_at == one.seal.starts_at):
            yield run
            run = []
        run.append(one)
    if run:
        yield run


async def _compare(tx: Transaction, run: Sequence[_Sealed], found: _Found) -> None:
    first, last = run[0], run[-1]
    if first.is_listed:
        walk = Walk([(one.seal, one.blocks) for one in run])
        await queries.read_lines(tx, first.seal.starts_at, last.seal.ends_at, walk.take)
        walk.finish()
        found.add(walk)
        return
    # The list of blocks was changed; the seal itself still tells whether the entries were, too.
    cutter = Cutter()
    await queries.read_lines(tx, first.seal.starts_at, first.seal.ends_at, cutter.take)
    cutter.finish()
    found.compared += cutter.entries
    is_whole = bool(cutter.blocks) and merkle_root([block.hash for block in cutter.blocks]) == first.seal.root
    found.violations.append(
        f"seal {first.seal.number}: the list of its blocks was changed; "
        + (
            "its entries are as they were sealed"
            if is_whole
            else f"its entries were, too, from {first.seal.starts_at} to {first.seal.ends_at}"
        )
    )


async def _describe(database: Database, found: _Found) -> list[str]:
    """Give a sentence for each damaged block, with the entries at fault where the books tell."""
    if not found.damages:
        return []
    async with database.transaction(snapshot=True) as tx:
        await queries.print_as_hashed(tx)
        named = {damage: await suspects.name(tx, damage) for damage in found.damages}
        short = [damage for damage in found.damages if damage.found < damage.entries and not named[damage]]
        if short:
            named |= await suspects.name_missing(tx, short)
    sentences = [_sentence(damage, named[damage]) for damage in found.damages]
    if found.damaged > len(sentences):
        sentences.insert(VIOLATIONS_SHOWN - 1, f"{found.damaged:,} blocks are not as they were sealed")
    return sentences


def _sentence(damage: Damage, named: Sequence[str]) -> str:
    now = (
        f"its {damage.entries} entries are not as they were sealed"
        if damage.found == damage.entries
        else f"{damage.entries} entries were sealed, and {damage.found} are there"
    )
    more = [f"and {len(named) - SUSPECTS_SHOWN} more"] if len(named) > SUSPECTS_SHOWN else []
    told = "; ".join([*named[:SUSPECTS_SHOWN], *more])
    where = f"seal {damage.seal}, block {damage.block}, {damage.starts_at} to {damage.ends_at}"
    return f"{where}: {now}" + (f" ({told})" if told else "")
