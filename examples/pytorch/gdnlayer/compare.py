"""How far a schedule's outputs are from those of its requests alone."""

from __future__ import annotations

from typing import NamedTuple

import torch

WORST, MEDIAN = 0.1, 0.01  # relative errors that bfloat16 explains
SMALL = 0.1  # tokens whose norm is below that part of the median are all cancellation


class Difference(NamedTuple):
    tokens: int
    median: float
    worst: float
    wrong: int  # further off than WORST, or no number

    @property
    def good(self) -> bool:
        return self.tokens > 0 and self.wrong == 0 and self.median <= MEDIAN

    def __str__(self) -> str:
        return (
            f"tokens {self.tokens} median {self.median:.4f} worst {self.worst:.4f} wrong {self.wrong} "
            f"({100 * self.wrong / max(self.tokens, 1):.1f} %)"
        )


def difference(got, alone, served) -> Difference:
    """Of the tokens that were served, [n] bools."""
    got, alone = got[served].float().flatten(1), alone[served].flatten(1)
    norms = alone.norm(dim=1)
    counts = norms >= SMALL * norms.median()
    errors = ((got - alone).norm(dim=1) / norms)[counts]
    errors = torch.where(errors.isnan(), float("inf"), errors)
    return Difference(len(errors), errors.median().item(), errors.max().item(), int((errors > WORST).sum()))
