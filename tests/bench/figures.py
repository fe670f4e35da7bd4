"""Figures: medians with their spread, as a table and as JSON."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Figure:
    """One measured value. `low` and `high` are the smallest and largest of the rounds."""

    part: str
    name: str
    unit: str
    median: float
    low: float
    high: float
    rounds: int
    limit: float | None = None

    @property
    def within(self) -> bool:
        """Whether it keeps to its limit; true where there is none."""
        return self.limit is None or self.median <= self.limit

    def row(self) -> str:
        """Return a line of the table."""
        limit = "" if self.limit is None else f"<= {self.limit:g}" + ("" if self.within else "  OVER")
        spread = f"{self.low:.4g} .. {self.high:.4g}"
        return f"{self.part:<9} {self.name:<44} {self.median:>10.4g} {self.unit:<9} {spread:<22} {limit}"

    def members(self) -> dict[str, object]:
        """For `bench.json`."""
        return {**asdict(self), "within": self.within}


def figure(part: str, name: str, unit: str, values: Sequence[float], limit: float | None = None) -> Figure:
    """Return the median of some rounds."""
    return Figure(part, name, unit, statistics.median(values), min(values), max(values), len(values), limit)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
