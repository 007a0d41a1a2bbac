"""What is hashed, and how a fault is narrowed down to its block: no store is needed for either."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countroom.wallet.seals.form import ANY_TIME, BLOCK_ENTRIES, NO_SEAL, Cutter, Seal, block_hash, key_of, merkle_root
from countroom.wallet.seals.walk import Walk

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def _root_by_definition(leaves: Sequence[bytes]) -> bytes:
    """RFC 9162, section 2.1.1, as it is written there."""
    if len(leaves) == 1:
        return leaves[0]
    k = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + _root_by_definition(leaves[:k]) + _root_by_definition(leaves[k:])).digest()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 9, 255, 977])
def test_the_root_is_that_of_rfc_9162(count: int) -> None:
    leaves = [hashlib.sha256(str(n).encode()).digest() for n in range(count)]

    assert merkle_root(leaves) == _root_by_definition(leaves)


def test_a_leaf_cannot_be_taken_for_a_node() -> None:
    leaves = [hashlib.sha256(b"a").digest(), hashlib.sha256(b"b").digest()]

    assert block_hash([leaves[0] + leaves[1]]) != merkle_root(leaves)
    assert block_hash([b"x"]) == hashlib.sha256(b"\x00x\n").digest()


def test_each_part_of_a_seal_is_in_its_hash() -> None:
    def hashed(
        number: int = 1, ends_at: str = "2026-01-01 00:00:00+00", entries: int = 1, root: bytes = NO_SEAL,
        previous: bytes = NO_SEAL,
    ) -> bytes:  # fmt: skip
        return Seal(number, ANY_TIME, ends_at, entries, root, b"").hash_after(previous)

    other = bytes(31) + b"\x01"
    all_of_them = {
        hashed(),
        hashed(number=2),
        hashed(ends_at="2026-01-01 00:00:01+00"),
        hashed(entries=2),
        hashed(root=other),
        hashed(previous=other),
    }
    assert len(all_of_them) == 6


def _line(second: int, wallet: int = 0, sequence: int = 1, amount: str = "1.00") -> bytes:
    at = f"{BEGAN + timedelta(seconds=second):%Y-%m-%d %H:%M:%S}+00"
    return f"{at}\t{wallet:08x}-0000-7000-8000-000000000000\t{sequence}\tt\t{amount}\t1.00".encode()


def _sealed(lines: Sequence[bytes], per_seal: int) -> list[tuple[Seal, Cutter]]:
    """Seal lines that are a second apart, so many a seal."""
    made = []
    ends_at = ANY_TIME
    for number, start in enumerate(range(0, len(lines), per_seal), start=1):
        cutter = Cutter()
        cutter.take(lines[start : start + per_seal])
        cutter.finish()
        starts_at, ends_at = ends_at, _line(min(start + per_seal, len(lines)) * 2).split(b"\t")[0].decode()
        made.append((Seal(number, starts_at, ends_at, cutter.entries, NO_SEAL, NO_SEAL), cutter))
    return made


@given(
    count=st.integers(1, 900),
    per_seal=st.integers(1, 700),
    at=st.integers(0, 10_000),
    chunk=st.integers(1, 400),
    fault=st.sampled_from(["none", "changed", "removed", "inserted before", "inserted after"]),
)
def test_a_fault_damages_the_block_in_which_it_lies_and_no_other(
    count: int, per_seal: int, at: int, chunk: int, fault: str
) -> None:
    at %= count
    lines = [_line(2 * n) for n in range(count)]
    sealed = _sealed(lines, per_seal)
    seal, offset = at // per_seal + 1, at % per_seal
    block = offset // BLOCK_ENTRIES
    now = list(lines)
    if fault == "changed":
        now[at] = _line(2 * at, amount="1.01")
    elif fault == "removed":
        del now[at]
    elif fault == "inserted before":
        # A block reaches from its first entry to the next one's; the first of a seal from where the seal starts.
        now.insert(at, _line(2 * at - 1))
        is_first_of_block = offset > 0 and offset % BLOCK_ENTRIES == 0
        if is_first_of_block:
            block -= 1
        elif at > 0 and offset == 0:
            seal, block = seal - 1, (per_seal - 1) // BLOCK_ENTRIES
    elif fault == "inserted after":
        now.insert(at + 1, _line(2 * at, sequence=2))

    walk = Walk([(seal, cutter.blocks) for seal, cutter in sealed])
    for start in range(0, len(now), chunk):
        walk.take(now[start : start + chunk])
    walk.finish()

    assert walk.entries == len(now)
    assert [(d.seal, d.block) for d in walk.damages] == ([] if fault == "none" else [(seal, block)])


def test_a_block_takes_what_stands_before_its_seals_first_entry() -> None:
    lines = [_line(2 * n) for n in range(10)]
    (one, first), (two, second) = _sealed(lines, 5)
    inserted = _line(10, wallet=0, sequence=0)  # at the moment where the second seal starts

    walk = Walk([(one, first.blocks), (two, second.blocks)])
    walk.take([*lines[:5], inserted, *lines[5:]])
    walk.finish()

    assert [(d.seal, d.block, d.entries, d.found) for d in walk.damages] == [(2, 0, 5, 6)]


def test_everything_removed_damages_every_block() -> None:
    lines = [_line(2 * n) for n in range(600)]
    walk = Walk([(seal, cutter.blocks) for seal, cutter in _sealed(lines, 600)])
    walk.finish()

    assert [(d.block, d.found) for d in walk.damages] == [(0, 0), (1, 0), (2, 0)]


def test_times_that_python_does_not_know_still_have_a_place() -> None:
    rest = b"\t00000000-0000-7000-8000-000000000000\t1\tt\t1.00\t1.00"
    times = [b"4000-01-01 00:00:00+00 BC", b"2026-01-01 00:00:00.5+00", b"2026-01-01 00:00:01+00", b"infinity"]

    keys = [key_of(time + rest) for time in [b"-infinity", *times]]

    assert keys == sorted(keys)
