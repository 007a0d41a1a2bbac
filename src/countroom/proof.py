"""The promise checks: what one of them found."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Proof:
    """One promise of design.md §1, proved or not over the live stores."""

    promise: str
    """P1 … P6."""
    holds: bool
    compared: int
    """How many things were compared."""
    violations: tuple[str, ...] = ()
    """The first ones, each a sentence with the ids at fault."""
