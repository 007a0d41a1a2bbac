"""Measurements on this machine, each against a named peer in the same run.

Each prints a table and, as its last line, one JSON object. None of them is a test: machines are
noisy, and only the ratio of two things measured side by side says anything.
"""

from countroom.bench.bet import bet
from countroom.bench.check import check
from countroom.bench.crowd import crowd
from countroom.bench.pipeline import pipeline
from countroom.bench.providers import providers
from countroom.bench.seals import seals
from countroom.bench.steady import steady
from countroom.bench.wallet import wallet

__all__ = ["bet", "check", "crowd", "pipeline", "providers", "seals", "steady", "wallet"]
