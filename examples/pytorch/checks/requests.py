"""Random requests."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Dict, List

import numpy as np


@dataclass
class Request:
    number: int
    prompt: List[int]
    max_tokens: int
    arrival: int  # step
    parent: int = 0  # it is a fork of that request,
    after: int = 0  # once that has emitted so many tokens
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    answer: List[int] = field(default_factory=list)  # alone
    alone: object = None  # logits of the answer, [tokens, vocabulary] float32
    said: Dict[int, int] = field(default_factory=dict)  # place in the text: token, in the schedule
    logits: Dict[int, object] = field(default_factory=dict)  # place: [vocabulary]

    @property
    def line(self) -> str:
        head = (self.number, self.arrival, self.max_tokens, self.parent, self.after, self.temperature, self.top_p)
        return ";".join(" ".join(map(str, part)) for part in ((*head, self.seed), self.prompt, self.answer))


def draw(count: int, seed: int, vocabulary: int, longest: int, answer: int, sampled: float) -> List[Request]:
    """Prompts of 1 .. `longest` tokens, a third of which begin like an earlier one."""
    random = np.random.default_rng(seed)
    requests: List[Request] = []
    for number in range(1, count + 1):
        prompt = random.integers(2, min(vocabulary, 4096), int(random.integers(1, longest + 1))).tolist()
        request = Request(number, prompt, int(random.integers(1, answer + 1)), int(random.integers(0, 2 * count)))
        earlier = requests[int(random.integers(len(requests)))] if requests else None
        if earlier and random.random() < 0.35:
            shared = int(random.integers(len(earlier.prompt) // 2, len(earlier.prompt) + 1))
            request.prompt = (earlier.prompt[:shared] + prompt)[:longest]
        elif earlier and random.random() < 0.3 and earlier.max_tokens > 4:
            request.prompt, request.parent = list(earlier.prompt), earlier.number
            request.after = int(random.integers(1, earlier.max_tokens - 2))
            request.max_tokens = int(random.integers(request.after + 2, answer + 3))
        if random.random() < sampled:
            request.temperature, request.top_p = float(random.choice([0.7, 1.0])), float(random.choice([0.8, 1.0]))
            request.seed = int(random.integers(2**31))
        if request.parent:  # the text so far is the parent's
            of = requests[request.parent - 1]
            request.temperature, request.top_p, request.seed = of.temperature, of.top_p, of.seed
        requests.append(request)
    return requests
