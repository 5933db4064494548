"""How far the answers of a schedule are from those of its requests alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import List


@dataclass
class Found:
    """Sums over requests."""

    tolerance: float
    relative: bool  # errors are norms as shares of the logits' norm, not the largest difference
    tokens: int = 0
    wrong: int = 0  # tokens that are not those of the request alone
    close: int = 0  # tokens whose choice hung on less than the tolerance, or that bfloat16 drew otherwise
    errors: List[float] = field(default_factory=list)  # of the tokens whose logits are known

    @property
    def most(self) -> float:
        """How far logits may be off. Where errors are relative, the median must be within the tolerance."""
        return 2 * self.tolerance if self.relative else self.tolerance

    @property
    def off(self) -> int:
        """Tokens whose logits are further off."""
        return sum(not error <= self.most for error in self.errors)

    @property
    def good(self) -> bool:
        middle = median(self.errors) if self.errors else 0.0
        return self.tokens > 0 and self.wrong == 0 and self.off == 0 and middle <= self.tolerance

    def __str__(self) -> str:
        kind = "of their norm" if self.relative else "absolute"
        share = 100 * self.wrong / max(self.tokens, 1)
        text = f"{self.tokens} tokens, {self.wrong} wrong ({share:.1f} %), {self.close} too close to call"
        if not self.errors:
            return text
        middle, worst = median(self.errors), max(self.errors, key=lambda error: (error != error, error))
        return f"{text}, logits off by {middle:.1e} ({kind}), {worst:.1e} at most, {self.off} too far"

    def request(self, request, forced: bool) -> None:
        """Compare a request's answer. `forced`: alone it was given the tokens of the schedule, so that each
        can be compared. Without, the answers part for good where a choice was too close."""
        first = len(request.prompt)
        for k, (token, logits) in enumerate(zip(request.answer, request.alone)):
            said = request.said.get(first + k)
            if said is None:
                break
            self.tokens += 1
            scale = logits.abs().max().item() if self.relative else 1.0
            if first + k in request.logits:  # a worker tells none
                difference = request.logits[first + k].to(logits.device) - logits
                error = (difference.norm() / logits.norm() if self.relative else difference.abs().max()).item()
                self.errors.append(error)
            if said == token:
                continue
            margin = (logits[token] - logits[said]).item() / scale
            close = margin <= 2 * self.tolerance if request.temperature == 0 else forced
            self.close, self.wrong = self.close + close, self.wrong + (not close)
            if not forced:
                if not close:  # and so is all that follows from it
                    rest = sum(first + j in request.said for j in range(k + 1, len(request.answer)))
                    self.tokens, self.wrong = self.tokens + rest, self.wrong + rest
                break
