"""The journal sealed: a chain of SHA-256 over all entries, so that a changed past shows.

`make` seals what no seal covers yet, `head` is what is kept elsewhere, `prove` compares.
`docs/seals.md` says what this proves and what it does not.
"""

from countroom.wallet.seals.form import Seal
from countroom.wallet.seals.make import NothingSealed, TransactionsStayOpen, head, make, make_for
from countroom.wallet.seals.prove import NoHash, prove

__all__ = ["NoHash", "NothingSealed", "Seal", "TransactionsStayOpen", "head", "make", "make_for", "prove"]
