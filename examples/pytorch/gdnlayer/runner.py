"""Runs a schedule's steps through layers: builds the tables, brings states, launches branches one by one
or replays the graph that the bucket has for them."""

from __future__ import annotations

from collections import Counter
from typing import Dict, Tuple

import torch

from gdnmeta import Builder

from .layer import BRANCHES
from .tables import Derived, Tables

ONLY = {("speculative",), ("decode",)}  # branches that have a smaller graph of their own


class Launches:
    """In place of a graph where there is none: the same branches, launched again."""

    def __init__(self, bucket: Bucket, branches) -> None:
        self.replay = lambda: bucket.forward(branches)


class Bucket:
    """Inputs, outputs and tables of one size, and the graphs over them."""

    def __init__(self, runner: Runner, rows: int, tokens: int) -> None:
        self.runner, sizes, like = runner, runner.layers[0].sizes, runner.inputs
        meta = runner.builder.capture(rows=rows, tokens=tokens, stream=runner.stream())
        self.tables = Tables(meta, sizes.drafts)
        self.numbers = torch.zeros(tokens + 1, dtype=torch.int64, device=like.x.device)
        self.x, self.a, self.b = (
            part.new_zeros(tokens + 1, part.shape[1]) for part in (like.x, like.a, like.b)
        )
        self.out = like.x.new_zeros(tokens + 1, sizes.value_heads, sizes.value_dim)
        self.graphs: Dict[Tuple[str, ...], object] = {}

    def load(self, tokens) -> None:
        """Inputs of the step's tokens; all after them are padding's, which is NaN."""
        host = torch.full(self.numbers.shape, len(self.runner.inputs.x) - 1)
        host[: len(tokens)] = torch.from_numpy(tokens)
        self.numbers.copy_(host)
        for buffer, values in (
            (self.x, self.runner.inputs.x),
            (self.a, self.runner.inputs.a),
            (self.b, self.runner.inputs.b),
        ):
            torch.index_select(values, 0, self.numbers, out=buffer)

    def forward(self, branches) -> None:
        self.runner.bring()
        derived = Derived(self.tables)
        for layer in self.runner.layers:
            layer.forward(derived, self.x, self.a, self.b, self.out, branches)

    def capture(self, branches) -> None:
        """Captured over the bucket's step without rows, so that warming and capturing change no state."""
        if not self.x.is_cuda:
            self.graphs[branches] = Launches(self, branches)
            return
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self.forward(branches)  # compiles what is not compiled yet
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.runner.memory, capture_error_mode="relaxed"):
            self.forward(branches)
        self.graphs[branches] = graph


class Runner:
    def __init__(self, schedule, layers, inputs, device: str, graphs: bool, brings: bool = True) -> None:
        self.layers, self.inputs, self.graphs, self.brings = layers, inputs, graphs, brings
        drafts = layers[0].sizes.drafts
        self.checks = not graphs  # checked builds are never skipped, so graphs do without
        self.builder = Builder(
            device=device,
            max_num_seqs=schedule.seats,
            max_rows=max(rows for rows, _ in schedule.buckets),
            max_num_batched_tokens=max(tokens for _, tokens in schedule.buckets),
            full_cuda_graph="mixed",
            num_speculative_tokens=drafts,
            max_requests=schedule.seats,
            max_blocks_per_row=schedule.tables.shape[1],
            num_slots=schedule.num_slots,
            mamba_cache_mode="align" if schedule.block else "none",
            mamba_block_size=schedule.block or 1,
            check=self.checks,
        )
        self.builder.set_blocks(0, range(schedule.seats), schedule.tables)
        self.batch = self.builder.batch()
        self.ran = Counter()
        # One for all graphs, which never run side by side.
        self.memory = torch.cuda.graph_pool_handle() if graphs and inputs.x.is_cuda else None
        self.buckets = {}
        for rows, tokens in schedule.buckets:
            bucket = self.buckets[rows, tokens] = Bucket(self, rows, tokens)
            for branches in [BRANCHES, *ONLY] if graphs else ():
                if drafts or branches != ("speculative",):
                    bucket.capture(branches)
        for layer in layers:
            layer.pool.poison()

    def stream(self):
        return torch.cuda.current_stream() if self.inputs.x.is_cuda else None

    def bring(self) -> None:
        """Moves states and windows to where the layers look for them: two launches, for all layers."""
        layers, like = self.layers, self.layers[0]
        if not self.brings or like.reads == "tables":
            return
        more = {"spec_rows": like.reads, "stream": self.stream()}
        self.builder.bring_states([layer.pool.states for layer in layers], **more)
        places = "every" if like.every else "first"
        self.builder.bring_windows([layer.pool.windows for layer in layers], windows_in=places, **more)

    def build(self, rows, bucket):
        """The step's tables. Returns the branches that it needs."""
        self.batch.set(**rows)
        self.batch.pad(*bucket)
        meta = self.builder.build(self.batch, self.stream())
        counts = (meta.num_spec_decodes, meta.num_decodes, meta.num_prefills)
        return tuple(branch for branch, count in zip(BRANCHES, counts) if count)

    def step(self, rows, tokens, size) -> Bucket:
        branches, bucket = self.build(rows, size), self.buckets[size]
        bucket.load(tokens)
        if not self.graphs:
            bucket.forward(branches)
        else:
            branches = branches if branches in ONLY else BRANCHES
            bucket.graphs[branches].replay()
        self.ran["+".join(branches)] += 1
        return bucket

    def run(self, schedule):
        """Every step. Returns outputs by token number, and which tokens were served."""
        out = self.inputs.x.new_zeros(len(self.inputs.x), *self.buckets[schedule.buckets[0]].out.shape[1:])
        served = torch.zeros(len(out), dtype=torch.bool)
        for step in schedule.steps:
            bucket, n = self.step(step.rows, step.tokens, step.bucket), len(step.tokens)
            out.index_copy_(0, bucket.numbers[:n], bucket.out[:n])
            served[step.tokens[step.accepted]] = True
        if out.is_cuda:
            torch.cuda.synchronize()
        violation = self.builder.check_result() if self.checks else None
        if violation:
            raise AssertionError(violation.message)
        self.asked = {name: count for name, count in self.builder.counters().items() if count}
        self.builder.close()
        return out, served.to(out.device)
