"""What exactly is hashed. `docs/seals.md` says the same in words, and a test runs its example.

A line is an entry as PostgreSQL's COPY prints it. A block is up to 256 lines in the journal's order.
The blocks of a seal are the leaves of a Merkle tree (RFC 9162, section 2.1.1), and the seal's hash
covers the tree's root and the hash of the seal before it.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

BLOCK_ENTRIES: Final = 256
"""Of a block: a fault is narrowed down to so many lines, for an eighth of a byte of hash per entry."""
NO_SEAL: Final = bytes(32)
"""Stands for the hash of the seal before the first one."""
ANY_TIME: Final = "-infinity"
"""Where the first seal starts, as PostgreSQL prints it."""

_LEAF: Final = b"\x00"
_NODE: Final = b"\x01"

Key = tuple[datetime, bytes, int]
"""An entry's place in the journal: when, whose wallet, its number there."""


@dataclass(frozen=True, slots=True)
class Block:
    """Up to 256 consecutive entries of the journal."""

    first: bytes
    """The first three columns of its first line: `created_at`, `wallet_account_id`, `sequence`, each with its tab."""
    entries: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Seal:
    """One link of the chain. Times are text, as PostgreSQL prints them in UTC: they are hashed."""

    number: int
    starts_at: str
    ends_at: str
    entries: int
    root: bytes
    hash: bytes

    def hash_after(self, previous: bytes) -> bytes:
        """Return the hash that this seal must have, following one with hash ``previous``."""
        return hashlib.sha256(
            f"countroom seal 1\n"
            f"number {self.number}\n"
            f"previous {previous.hex()}\n"
            f"from {self.starts_at}\n"
            f"to {self.ends_at}\n"
            f"entries {self.entries}\n"
            f"root {self.root.hex()}\n".encode()
        ).digest()


def block_hash(lines: Sequence[bytes]) -> bytes:
    """Return the hash of a block: a leaf of the tree. Lines come without their newline."""
    return hashlib.sha256(_LEAF + b"\n".join(lines) + b"\n").digest()


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """Return the root over leaf hashes. A node without a neighbour rises unchanged, as RFC 9162 splits trees."""
    assert leaves
    level = list(leaves)
    while len(level) > 1:
        above = [
            hashlib.sha256(_NODE + left + right).digest()
            for left, right in zip(level[::2], level[1::2], strict=False)  # the odd one out rises below
        ]
        if len(level) % 2:
            above.append(level[-1])
        level = above
    return level[0]


def key_of(line: bytes) -> Key:
    """Read an entry's place from its line."""
    created_at, wallet_id, sequence, _ = line.split(b"\t", 3)
    return moment(created_at.decode()), wallet_id, int(sequence)


def moment(text: str) -> datetime:
    """Read a time that PostgreSQL has printed in UTC.

    A falsified time may be one that Python does not know: what is before its first year is its
    first moment, what is after its last year its last one. Times only place lines into blocks here.
    """
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        is_long_ago = text.startswith("-") or text.endswith("BC")
        return datetime.min.replace(tzinfo=UTC) if is_long_ago else datetime.max.replace(tzinfo=UTC)


class Cutter:
    """Cuts the lines of a seal into its blocks, while they arrive."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self._lines: list[bytes] = []

    @property
    def entries(self) -> int:
        """How many lines the blocks hold; valid after ``finish``."""
        return sum(block.entries for block in self.blocks)

    def take(self, lines: Sequence[bytes]) -> None:
        """Add what comes next."""
        self._lines += lines
        whole = len(self._lines) - len(self._lines) % BLOCK_ENTRIES
        for start in range(0, whole, BLOCK_ENTRIES):
            self._close(self._lines[start : start + BLOCK_ENTRIES])
        del self._lines[:whole]

    def finish(self) -> None:
        """Close the last block."""
        if self._lines:
            self._close(self._lines)
            self._lines = []

    def _close(self, lines: Sequence[bytes]) -> None:
        first = lines[0][: len(lines[0]) - len(lines[0].split(b"\t", 3)[3])]
        self.blocks.append(Block(first, len(lines), block_hash(lines)))
