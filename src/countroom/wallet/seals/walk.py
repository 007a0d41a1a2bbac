"""Comparing the journal, as it is read, with the blocks that were sealed."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from countroom.wallet.seals.form import Block, Key, Seal, block_hash, key_of, moment

LINES_KEPT: Final = 1_024
"""Of a damaged block, to look at: four times what it may hold."""
DAMAGES_KEPT: Final = 20
"""Beyond these, damaged blocks are only counted."""


@dataclass(frozen=True, slots=True)
class Damage:
    """A block that is not as it was sealed."""

    seal: int
    block: int
    entries: int
    """As many were sealed."""
    found: int
    starts_at: str
    ends_at: str
    lines: tuple[bytes, ...]
    """The first lines that are in its place now."""


@dataclass(slots=True)
class _Place:
    seal: Seal
    number: int
    block: Block
    start: Key
    """The first place that belongs to it."""

    @property
    def starts_at(self) -> str:
        return self.block.first.split(b"\t")[0].decode()


@dataclass(slots=True)
class _Closer:
    """Lines that are put into their block one by one, by their place: only where something is wrong."""

    count: int = 0
    kept: list[bytes] = field(default_factory=list)
    hash: "hashlib._Hash" = field(default_factory=lambda: hashlib.sha256(b"\x00"))

    def add(self, line: bytes) -> None:
        self.count += 1
        self.hash.update(line + b"\n")
        if len(self.kept) < LINES_KEPT:
            self.kept.append(line)


class Walk:
    """Walks along the blocks of consecutive seals while their entries arrive in order.

    Each entry belongs to the block in whose range its place lies, so that an entry which was inserted or
    removed damages the block where it is (or was) and no other.
    """

    def __init__(self, seals: Sequence[tuple[Seal, Sequence[Block]]]) -> None:
        self.entries = 0
        self.damaged = 0
        self.damages: list[Damage] = []
        self._places = [
            # A seal's first block takes what stands before its first entry, too.
            _Place(seal, number, block, key_of(block.first) if number else (moment(seal.starts_at), b"", 0))
            for seal, blocks in seals
            for number, block in enumerate(blocks)
        ]
        self._ends_at = seals[-1][0].ends_at
        self._at = 0
        self._lines: list[bytes] = []
        self._line = 0
        self._closer: _Closer | None = None

    def take(self, lines: Sequence[bytes]) -> None:
        """Go on with the entries that come next."""
        self.entries += len(lines)
        self._lines = [*self._lines[self._line :], *lines]
        self._line = 0
        while self._step(is_last=False):
            pass

    def finish(self) -> None:
        """Close the last block: no more entries come."""
        while self._step(is_last=True):
            pass

    def _step(self, *, is_last: bool) -> bool:
        """Close the present block; False when it needs more lines, or when there is none."""
        if self._at == len(self._places):
            return False
        here = self._places[self._at]
        following = self._places[self._at + 1] if self._at + 1 < len(self._places) else None
        if self._closer is None:
            end = self._line + here.block.entries
            if len(self._lines) <= end and not is_last:
                return False
            # What follows must be the next block's first entry, or something was inserted between the two.
            ends_well = (
                len(self._lines) > end and self._lines[end].startswith(following.block.first)
                if following
                else len(self._lines) == end
            )
            if ends_well and block_hash(self._lines[self._line : end]) == here.block.hash:
                self._at += 1
                self._line = end
                return True
            self._closer = _Closer()
        return self._step_closely(self._closer, here, following, is_last=is_last)

    def _step_closely(self, closer: _Closer, here: _Place, following: _Place | None, *, is_last: bool) -> bool:
        lines = len(self._lines)
        while self._line < lines and (following is None or key_of(self._lines[self._line]) < following.start):
            closer.add(self._lines[self._line])
            self._line += 1
        if self._line == lines and not is_last:
            return False
        if closer.count != here.block.entries or closer.hash.digest() != here.block.hash:
            self.damaged += 1
            if len(self.damages) < DAMAGES_KEPT:
                self.damages.append(
                    Damage(
                        here.seal.number,
                        here.number,
                        here.block.entries,
                        closer.count,
                        here.starts_at,
                        following.starts_at if following else self._ends_at,
                        tuple(closer.kept),
                    )
                )
        self._closer = None
        self._at += 1
        return True
