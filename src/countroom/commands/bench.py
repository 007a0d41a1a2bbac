"""`countroom bench`."""

import os
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from countroom.bench import bet as measure_bet
from countroom.bench import check as measure_check
from countroom.bench import crowd as measure_crowd
from countroom.bench import pipeline as measure_pipeline
from countroom.bench import providers as measure_providers
from countroom.bench import seals as measure_seals
from countroom.bench import steady as measure_steady
from countroom.bench import wallet as measure_wallet
from countroom.commands import console


def bet(
    *,
    seconds: Annotated[float, Parameter(validator=Number(gte=1, lte=300))] = 8.0,
    rounds: Annotated[int, Parameter(validator=Number(gte=1, lte=9))] = 3,
    processes: Annotated[int, Parameter(validator=Number(gte=1, lte=16))] = min(16, os.cpu_count() or 1),
) -> int:
    """Compare signed bets over HTTP with the same five writes, row by row, by pgbench.

    Both run against a PostgreSQL of their own, durable commits on. Needs `wrk` (Debian: apt-get install wrk).

    Parameters
    ----------
    seconds
        Of each measurement.
    rounds
        How often both are measured; medians are compared.
    processes
        Web processes; as many as there are cores by default.
    """
    return measure_bet(seconds=seconds, rounds=rounds, processes=processes, console=console)


def check(
    *,
    entries: Annotated[int, Parameter(validator=Number(gte=20_000, lte=1_000_000_000))] = 10_000_000,
    seconds: Annotated[float, Parameter(validator=Number(gte=5, lte=600))] = 60.0,
    rounds: Annotated[int, Parameter(validator=Number(gte=0, lte=9))] = 3,
    callers: Annotated[int, Parameter(validator=Number(gte=1, lte=1024))] = 128,
) -> int:
    """Compare bets without and with the books being proved, and prove everything over a long history.

    Every round is measured without a proof and with one, over as many bets as a round makes: so much a minute
    in production. Then everything is proved while bets flow. Takes half an hour and 15 GB of disk.

    Parameters
    ----------
    entries
        Of the journal, written before anything is measured.
    seconds
        Of each measurement; what `countroom work` keeps between two proofs is 60.
    rounds
        How often both are measured; medians are compared. With 0 only the full proof is measured.
    callers
        How many bet at once.
    """
    return measure_check(entries=entries, seconds=seconds, rounds=rounds, callers=callers, console=console)


def wallet(
    *,
    seconds: Annotated[float, Parameter(validator=Number(gte=1, lte=300))] = 8.0,
    rounds: Annotated[int, Parameter(validator=Number(gte=1, lte=9))] = 3,
    callers: Annotated[int, Parameter(validator=Number(gte=1, lte=1024))] = 192,
    grown: Annotated[int, Parameter(validator=Number(gte=0, lte=100_000_000))] = 10_000_000,
) -> int:
    """Compare bets through the wallet, in process, with the same five writes, row by row, by pgbench.

    Shows bets spread over 10,000 players, bets of which nine in ten fall on four wallets, bets while somebody else
    pays in for ten players a second, one caller alone, and bets into tables that hold millions already. Writing
    those takes some minutes and about a gigabyte a million.

    Parameters
    ----------
    seconds
        Of each measurement.
    rounds
        How often everything is measured; medians are compared.
    callers
        How many bet at once.
    grown
        Transactions that are there before the last case begins; 0 leaves it out.
    """
    return measure_wallet(seconds=seconds, rounds=rounds, callers=callers, grown=grown, console=console)


def pipeline(
    *,
    rows: Annotated[int, Parameter(validator=Number(gte=20_000, lte=100_000_000))] = 600_000,
    rounds: Annotated[int, Parameter(validator=Number(gte=1, lte=9))] = 3,
    large: Annotated[int, Parameter(validator=Number(gte=0, lte=100_000_000))] = 2_000_000,
    seconds: Annotated[float, Parameter(validator=Number(gte=0, lte=3_600))] = 30.0,
    debezium: Annotated[bool, Parameter(negative="")] = False,
    steady_minutes: Annotated[float, Parameter(validator=Number(gte=0, lte=10_000))] = 0.0,
    steady_rows: Annotated[int, Parameter(validator=Number(gte=10, lte=100_000))] = 2_000,
) -> int:
    """Measure facts on their way from PostgreSQL's log to Kafka, from there to ClickHouse, and straight.

    Stores of its own, every step a process as in production. Needs Java and Kafka's jars (`requirements/install
    kafka`). Takes ten minutes and 5 GB of disk.

    Parameters
    ----------
    rows
        Carried each way in a round.
    rounds
        How often everything is measured; medians are compared.
    large
        Rows of one transaction that is then carried each way, for the memory it takes; 0 leaves it out.
    seconds
        For how long the time from commit to visible is measured while bets are made; 0 leaves it out.
    debezium
        Measure Debezium in the relay's place, too (`requirements/install debezium`).
    steady_minutes
        Measure instead the memory of relay, loader and pipeline under a steady load of so many minutes.
    steady_rows
        Rows a second of that load, each way.
    """
    if steady_minutes:
        return measure_steady(minutes=steady_minutes, rows_per_second=steady_rows, console=console)
    return measure_pipeline(
        rows=rows, rounds=rounds, large=large, seconds=seconds, with_debezium=debezium, console=console
    )


def providers(
    *,
    seconds: Annotated[float, Parameter(validator=Number(gte=1, lte=300))] = 6.0,
    rounds: Annotated[int, Parameter(validator=Number(gte=1, lte=9))] = 3,
    processes: Annotated[int, Parameter(validator=Number(gte=1, lte=16))] = 1,
    crowd: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Compare signed bets over HTTP in every provider's dialect with those in `softswiss-v2`.

    Needs `wrk` (Debian: apt-get install wrk).

    Parameters
    ----------
    seconds
        Of each measurement.
    rounds
        How often every dialect is measured, in turn; medians are compared.
    processes
        Web processes. One shows best what a dialect costs.
    crowd
        Measure instead what 10,000 open sessions and 200 providers change for those who play.
    """
    if crowd:
        return measure_crowd(seconds=seconds, rounds=rounds, processes=processes, console=console)
    return measure_providers(seconds=seconds, rounds=rounds, processes=processes, console=console)


def seals(*, entries: Annotated[int, Parameter(validator=Number(gte=100_000, lte=1_000_000_000))] = 10_000_000) -> int:
    """Seal and check a large journal, find one changed, removed and inserted entry in it, and time all of it.

    Compares with the driver merely reading the journal, and says what the index on time costs an insert. Needs
    about 2 GB of disk for 10 million entries.

    Parameters
    ----------
    entries
        How many the journal holds.
    """
    return measure_seals(entries=entries, console=console)
