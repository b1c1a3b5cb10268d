"""Measured differences with 95 % intervals over people, and what they make of a claim."""

from collections import Counter
from dataclasses import dataclass

import pandas as pd
from torch import Tensor

from efgan.evaluation.expression_accuracy import bootstrap_interval

LEAST_PEOPLE = 6  # fewer decide nothing; our decision


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One measured difference: positive = as the paper claims.

    Attributes:
        what: of what, in words, with the unit.
        difference: mean over edits, people or real faces.
        interval: 95 %, people drawn with replacement; None where too few were measured to tell.
        count: edits, people or real faces.
        decides: False for what is measured beside the claim.
    """

    what: str
    difference: float
    interval: tuple[float, float] | None
    count: int
    decides: bool = True

    @property
    def verdict(self) -> str:
        """ "yes", "no", or "not decided" where the interval holds zero, is missing or is no number."""
        if self.interval is None or not (self.interval[0] > 0 or self.interval[1] < 0):
            return "not decided"
        return "yes" if self.difference > 0 else "no"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What the paper says, and what was measured here. Shows itself in a notebook.

    Attributes:
        says: the claim.
        measured_on: faces, split, preset, seed and budgets of the runs compared.
        comparisons: the measurements.
    """

    says: str
    measured_on: str
    comparisons: tuple[Comparison, ...]

    @property
    def verdict(self) -> str:
        """ "holds", "does not hold" or "not decided" if all comparisons that decide say so, else how many say what."""
        found = Counter(comparison.verdict for comparison in self.comparisons if comparison.decides)
        if len(found) == 1:
            return {"yes": "holds", "no": "does not hold"}.get(next(iter(found)), "not decided")
        return ", ".join(f"{found[said]} {said}" for said in ("yes", "no", "not decided") if found[said])

    def table(self) -> pd.DataFrame:
        """One row per comparison."""
        return pd.DataFrame([
            {"comparison": c.what, "difference": c.difference, "low": c.interval[0] if c.interval else None,
             "high": c.interval[1] if c.interval else None, "count": c.count, "as claimed": c.verdict,
             "decides": c.decides}
            for c in self.comparisons
        ])  # fmt: skip

    def _repr_html_(self) -> str:
        table = self.table().round(4).to_html(index=False)
        return f"<p>{self.says}<br><b>Here: {self.verdict}.</b><br>{self.measured_on}</p>{table}"


def compare(what: str, gain: Tensor, people: Tensor, *, decides: bool = True) -> Comparison:
    """The mean of `gain`, with an interval over `people` if there are enough of them.

    Args:
        what: of what, in words, with the unit.
        gain: N differences, positive = as the paper claims.
        people: int64 N, whose each is.
        decides: False for what is measured beside the claim.
    """
    enough = len(people.unique()) >= LEAST_PEOPLE
    return Comparison(what=what, difference=float(gain.mean()), count=len(gain), decides=decides,
                      interval=bootstrap_interval(gain, people) if enough else None)  # fmt: skip
