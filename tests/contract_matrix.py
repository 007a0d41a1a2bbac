"""The matrix of scenarios and dialects, as `make test` prints it."""

from collections.abc import Iterator, Sequence

Told = tuple[str, str, str, str]
"""Outcome, scenario, dialect, and the protocol's reason where it has no such thing."""


def matrix(told: Sequence[Told]) -> Iterator[str]:
    """A line a scenario, a column a dialect: ok, FAILED, or the number of the protocol's reason below."""
    if not told:
        return
    dialects = sorted({dialect for _, _, dialect, _ in told})
    reasons = list(dict.fromkeys(reason for _, _, _, reason in sorted(told, key=lambda each: each[1:]) if reason))
    cells = {
        (scenario, dialect): "FAILED" if outcome == "failed" else f"- {reasons.index(reason) + 1}" if reason else "ok"
        for outcome, scenario, dialect, reason in told
    }
    scenarios = sorted({scenario for _, scenario, _, _ in told})
    width = max(map(len, scenarios))
    yield f"{'scenario':{width}}  " + "  ".join(f"{dialect:12}" for dialect in dialects)
    for scenario in scenarios:
        yield f"{scenario:{width}}  " + "  ".join(f"{cells.get((scenario, dialect), ''):12}" for dialect in dialects)
    for number, reason in enumerate(reasons, 1):
        yield f"- {number}: not in the protocol: {reason}"
    ran = sum(cell == "ok" for cell in cells.values())
    yield f"{len(scenarios)} scenarios, {ran} of {len(cells)} ran and passed; the others are not in their protocol"
