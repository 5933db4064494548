"""How far the answers of a schedule are from those of its requests alone."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Found:
    """Sums over requests."""

    tolerance: float
    relative: bool  # errors are shares of the largest logit
    tokens: int = 0
    wrong: int = 0  # tokens that are not those of the request alone
    close: int = 0  # tokens whose choice hung on less than the tolerance, or that bfloat16 drew otherwise
    off: int = 0  # tokens whose logits are further off than the tolerance
    worst: float = 0.0
    measured: int = 0  # tokens whose logits are known

    @property
    def good(self) -> bool:
        return self.tokens > 0 and self.wrong == 0 and self.off == 0

    def __str__(self) -> str:
        kind = "of the largest" if self.relative else "absolute"
        share = 100 * self.wrong / max(self.tokens, 1)
        text = f"{self.tokens} tokens, {self.wrong} wrong ({share:.1f} %), {self.close} too close to call"
        if not self.measured:
            return text
        return f"{text}, logits off by {self.worst:.1e} at most ({kind}), {self.off} too far"

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
                error = (request.logits[first + k].to(logits.device) - logits).abs().max().item() / scale
                self.worst = self.worst if error <= self.worst else error
                self.off += not error <= self.tolerance
                self.measured += 1
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
