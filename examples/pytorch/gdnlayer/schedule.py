"""Random requests, and the steps that serve them: rows for a builder, and which tokens they are.
Everything is drawn here, on the host, so that one schedule can be run in several ways.

Tokens are numbered over all requests: those of request r from `first` on, then tokens that stand for wrong
drafts, then one that stands for padding."""

from __future__ import annotations

from typing import Iterator, List, NamedTuple

import numpy as np

from gdnmeta import READ_DEFAULT, reorder

KINDS = ("speculative", "decode", "prefill")
COLUMNS = ("query_len", "seq_len", "drafts", "accepted", "prompt_done", "read_column", "table_row")
WRONG = 64  # tokens that stand for wrong drafts


class Request:
    """One seat of the state tables: its own slots, and in the last column the shared prefix's."""

    def __init__(self, first: int, prompt: int, total: int, seat: int, shared: int) -> None:
        self.first, self.prompt, self.total, self.seat = first, prompt, total, seat
        self.computed, self.accepted, self.column = shared, 1, 0
        self.moved = False  # its state has been elsewhere than where kernels look that read where they write
        self.fresh_from_shared = shared > 0
        self.start = shared  # tokens before are the shared prefix's

    @property
    def decodes(self) -> bool:
        return self.computed >= self.prompt


class Step(NamedTuple):
    kinds: tuple  # of KINDS: what is in it
    rows: dict  # arguments of Batch.set
    tokens: np.ndarray  # [n] numbers of the tokens, in the batch's order
    accepted: np.ndarray  # [n] does the token become part of its request
    moved: np.ndarray  # [n] is it of a request whose state had to be brought, in this step or before
    bucket: tuple  # rows and tokens with padding


class Schedule:
    """`steps` are drawn from `seed`; requests come and go, up to `seats` at a time. block: of mode align, 0:
    mode none."""

    def __init__(
        self, *, drafts: int, seats: int, steps: int, buckets, longest: int, seed: int, block: int = 0
    ) -> None:
        self.block = block
        self.drafts, self.seats, self.buckets = drafts, seats, sorted(buckets)
        self.random, self.longest = np.random.default_rng(seed), longest
        self.requests: List[Request] = []
        self.num_tokens, self.prefix = 0, int(self.random.integers(3, max(4, longest // 4)))
        self.live = [self._request(seat, prefix=seat == 0) for seat in range(seats)]
        self.steps = list(self._steps(steps))
        self.wrong = self.num_tokens
        self.padding = self.wrong + WRONG
        for step in self.steps:
            drafted = step.tokens < 0
            step.tokens[drafted] = self.wrong + self.random.integers(0, WRONG, drafted.sum())

    @property
    def num_slots(self) -> int:
        return 1 + self.seats * self.width

    @property
    def width(self) -> int:
        """Columns of a seat's own: in mode align one a block, and S for the drafts of the last."""
        longest = max(self.longest, 4) // 4 + self.longest + 40
        return self.drafts + 1 + (longest // self.block if self.block else 0)

    def first_column(self, tokens: int) -> int:
        """Of those that a step writes which ends at so many tokens."""
        return (tokens - 1) // self.block if self.block else 0

    @property
    def tables(self) -> np.ndarray:
        """[seats, width + 1] blocks. Seat 0 is the prefix's: the slot of its state is read by many, and
        written no more."""
        own = 1 + np.arange(self.seats * self.width).reshape(self.seats, -1)
        shared = own[0, self.first_column(self.prefix)]
        return np.concatenate([own, np.full((self.seats, 1), shared)], 1).astype(np.int32)

    def _request(self, seat: int, prefix: bool = False) -> Request:
        draw = self.random.integers
        shared = 0 if prefix or not self.requests or draw(3) else self.prefix
        prompt = self.prefix if prefix else shared + int(draw(1, self.longest))
        total = prompt if prefix else prompt + int(draw(1, 40))
        request = Request(self.num_tokens, prompt, total, seat, shared)
        self.num_tokens += total
        self.requests.append(request)
        return request

    def _steps(self, count: int) -> Iterator[Step]:
        yield self._step([(self.live[0], "prefill", self.prefix)], self.buckets[-1])
        while count > 1:
            step = self._draw()
            if step:
                count -= 1
                yield step

    def _draw(self):
        """A step of a random mix: of one, two or three kinds."""
        random = self.random
        kinds = [kind for kind in KINDS if random.random() < 0.6 and (self.drafts or kind != "speculative")]
        most_rows, most_tokens = self.buckets[random.integers(len(self.buckets))]
        chosen, left = [], most_tokens
        for request in random.permutation(self.live[1:]).tolist():
            take = self._take(request, kinds, left)
            if take and len(chosen) < most_rows:
                chosen.append(take)
                left -= take[2]
        return self._step(chosen, (most_rows, most_tokens)) if chosen else None

    def _take(self, request: Request, kinds, left: int):
        """(request, kind, tokens), or None."""
        remaining = request.total - request.computed
        if request.decodes:
            options = [kind for kind in kinds if kind != "prefill"]
            kind = options[self.random.integers(len(options))] if options else None
            n = 1 + int(self.random.integers(self.drafts + 1)) if kind == "speculative" else 1
            n = min(n, remaining) if kind == "speculative" else n
        else:
            kind = "prefill" if "prefill" in kinds else None
            n = int(min(request.prompt - request.computed, self.random.integers(1, self.longest + 1)))
            n = min(n, left)
        return (request, kind, n) if kind and 0 < n <= left else None

    def _ordered(self, chosen):
        given = {
            "num_scheduled": [tokens for _, _, tokens in chosen],
            "num_computed": [request.computed for request, _, _ in chosen],
            "num_prompt": [request.prompt for request, _, _ in chosen],
        }
        return [chosen[i] for i in reorder(decode_threshold=self.drafts + 1, **given).order]

    def _step(self, chosen, bucket) -> Step:
        chosen = self._ordered(chosen)
        lines, tokens, kept, moved = [], [], [], []
        for request, kind, n in chosen:
            good = int(self.random.integers(1, n + 1)) if kind == "speculative" else n
            drafts, column = n - 1 if kind == "speculative" else -1, self._column(request)
            seq_len = request.computed + n
            request.moved |= self._moves(request, kind, seq_len)
            moved += [request.moved] * n
            lines.append((n, seq_len, drafts, request.accepted, request.decodes, column, request.seat))
            first = request.first + request.computed
            tokens += [*range(first, first + good), *[-1] * (n - good)]
            kept += [True] * good + [False] * (n - good)
            request.computed += good
            request.accepted = good if kind == "speculative" else 1
            request.column = self.first_column(seq_len) + request.accepted - 1
            request.fresh_from_shared = False
            if request.computed == request.total and request.seat:
                self.live[request.seat] = self._request(request.seat)
        kinds = tuple(kind for kind in KINDS if any(kind == taken for _, taken, _ in chosen))
        rows = dict(zip(COLUMNS, np.array(lines, np.int32).T.copy()))
        return Step(kinds, rows, np.array(tokens), np.array(kept), np.array(moved), bucket)

    def _column(self, request: Request) -> int:
        """Where its state lies."""
        if request.fresh_from_shared:
            return self.width
        return request.column if self.block and request.computed else READ_DEFAULT

    def _moves(self, request: Request, kind: str, seq_len: int) -> bool:
        """Would kernels look elsewhere that read where they write, and know accepted counts in mode none?"""
        if request.computed == 0:
            return False
        if request.fresh_from_shared:
            return True
        counts = kind == "speculative" and not self.block
        return request.column != self.first_column(seq_len) + (request.accepted - 1 if counts else 0)
