"""Captured graphs of a model's steps: one for a bucket (rows, tokens) and the classes of rows that it holds. Tables
and inputs of a bucket stay where they are, and a step changes their contents alone, so that a replay runs whatever
step they hold.

A graph is captured when a step first needs it, over the bucket's step without rows, which changes no state. Where the
device refuses that, the bucket's steps are launched one by one from then on, and a warning says why. Of more than
`most` graphs the one that was used longest ago is dropped."""

from __future__ import annotations

import time
import warnings
from collections import Counter, OrderedDict
from typing import Dict, Optional, Tuple

import numpy as np
import torch

from .attention import Plan, parts_of
from .capture import Recorder, Refused
from .gdn_layer import BRANCHES
from .inputs import Inputs, most_choices
from .runner import Choices, Runner, leaves_states
from .sampler import likeliest
from .tables import Pass, Tables

ALONE = {("speculative",), ("decode",)}  # classes that have a smaller graph of their own
MOST = 64
FULL = 2  # of a step's `graph`: the engine has padded it to a bucket


class BlockPlan:
    """attention.Plan over a bucket's inputs, in blocks.py."""

    def __init__(self, inputs: Inputs, hybrid, table) -> None:
        from . import blocks

        self.position, self.places = hybrid.positions(inputs.positions), inputs.places.long()
        self.rows = blocks.Rows(inputs.bounds, inputs.seq_len, inputs.table_row, table)
        self.tiles = blocks.Tiles(inputs.tile_rows, inputs.tile_of, inputs.tile)
        self.size, self.run = hybrid.limits.kv_block_size, blocks.attend

    def attend(self, layer, q):
        out, pool = torch.zeros_like(q), layer.pool
        self.run(q, pool.keys, pool.values, out, self.rows, self.tiles, self.size, layer.module.scaling)
        return out


class TorchPlan:
    """The same where there is no GPU, from the same inputs."""

    def __init__(self, inputs: Inputs, hybrid, table) -> None:
        self.position, self.places = hybrid.positions(inputs.positions), inputs.places.long()
        lengths, seq_len = inputs.bounds.diff().long(), inputs.seq_len.long()
        live = lengths > 0
        blocks = table[inputs.table_row.long()].long()[live]
        parts = parts_of(lengths[live], seq_len[live], blocks, hybrid.limits.kv_block_size, inputs.tokens)
        self.attend = Plan(self.places, parts, self.position).attend


class Launches:
    """In place of a graph where there is none: the same work, launched again."""

    def __init__(self, run) -> None:
        self.replay = run


class Bucket:
    """Tables, inputs and outputs of one size."""

    def __init__(self, runner: GraphRunner, rows: int, tokens: int) -> None:
        self.runner, self.size = runner, (rows, tokens)
        limits, hybrid = runner.limits, runner.hybrid
        meta = runner.builder.capture(rows=rows, tokens=tokens, stream=runner.stream)
        self.tables = Tables(meta, limits.num_groups, limits.num_speculative_tokens)
        self.inputs = Inputs(limits, rows, tokens, hybrid.device)
        self.hidden = torch.zeros(tokens + 1, hybrid.config.hidden_size, dtype=hybrid.dtype, device=hybrid.device)
        self.logits = runner.all_logits[: len(self.inputs.at)]
        self.chosen = torch.zeros(len(self.logits), dtype=torch.int64, device=hybrid.device)

    def forward(self, branches) -> None:
        runner = self.runner
        plan = runner.plan_type(self.inputs, runner.hybrid, runner.table)
        self.hidden.copy_(runner.hybrid.forward(self.inputs.ids.long(), Pass(self.tables), plan, branches))
        self.logits.copy_(runner.hybrid.logits(self.hidden, self.inputs.at))
        self.chosen.copy_(likeliest(self.logits))

    def capture(self, branches):
        """A graph of the bucket's branches, or launches where the device takes no graph of them. Afterwards the tables
        hold the step without rows."""
        runner, key = self.runner, (*self.size, branches)
        runner.builder.capture(rows=self.size[0], tokens=self.size[1], stream=runner.stream)
        launches = Launches(lambda: self.forward(branches))
        if runner.recorder is None or key in runner.refused:
            return launches
        self.inputs.fill(None)
        what = f"the bucket of {self.size[0]} rows and {self.size[1]} tokens, {' and '.join(branches)}"
        try:
            graph, failed = runner.recorder.record(launches.replay)
        except Refused as error:
            runner.refused[key] = str(error)
            warnings.warn(f"{what}: runs without a graph: {error}", RuntimeWarning, stacklevel=2)
            return launches
        if failed:
            warnings.warn(f"{what}: captured at the second try: {failed}", RuntimeWarning, stacklevel=2)
        return graph


class GraphRunner(Runner):
    """Runs steps that the engine has padded to a bucket as graphs, and others as its parent does, also those that keep
    states within a prompt. On a CPU, and with captures=False, the same work is launched one by one."""

    def __init__(self, model, limits, keep_logits: bool = False, captures: bool = True, most: int = MOST) -> None:
        super().__init__(model, limits, keep_logits)
        on_gpu = self.device.type == "cuda"
        self.most = most
        self.recorder = Recorder(self.device, self.stream) if captures and on_gpu else None
        self.refused: Dict[tuple, str] = {}  # buckets and branches that no graph could be made of, and why
        self.plan_type = BlockPlan if on_gpu else TorchPlan
        self.table = torch.from_numpy(self.kv_table.astype("int32")).to(self.device)
        self.buckets: Dict[Tuple[int, int], Bucket] = {}
        self.graphs: OrderedDict = OrderedDict()  # the one used last comes last
        count = most_choices(limits, limits.rows, limits.max_num_batched_tokens)
        self.all_logits = torch.zeros(count, self.hybrid.config.vocab_size, device=self.device)  # of any bucket
        if on_gpu:
            torch.cuda.synchronize(self.device)
        self.bucket_now: Optional[Bucket] = None  # what the step ran in
        self.ran: Counter = Counter()
        self.build_seconds = 0.0  # of the host, for the last step of a bucket

    def prepare(self, step) -> None:
        super().prepare(step)
        if len(step.table_changes):
            row, column, block = step.table_changes.T
            changes = np.stack([row * self.limits.max_kv_blocks + column, block])
            place, block = torch.from_numpy(changes).to(self.device)
            self.table.view(-1).index_copy_(0, place.long(), block)

    def bucket(self, rows: int, tokens: int) -> Bucket:
        if (rows, tokens) not in self.buckets:
            self.buckets[rows, tokens] = Bucket(self, rows, tokens)
        return self.buckets[rows, tokens]

    def capture(self, bucket: Bucket, key) -> None:
        while len(self.graphs) >= self.most:
            self.graphs.popitem(last=False)
        self.graphs[key] = bucket.capture(key[2])

    def forward(self, step, choices: Choices):
        self.bucket_now = None
        if step.graph != FULL or leaves_states(step):
            return super().forward(step, choices)
        bucket, start = self.bucket(step.padded_rows, step.padded_tokens), time.perf_counter()
        self.build(step)
        self.build_seconds = time.perf_counter() - start
        key = (*bucket.size, self.branches if self.branches in ALONE else BRANCHES)
        if key not in self.graphs:
            self.capture(bucket, key)
            self.build(step)
        self.graphs.move_to_end(key)
        bucket.inputs.fill(step, choices, *self.inputs(step, choices))
        self.graphs[key].replay()
        self.ran["+".join(key[2])] += 1
        self.bucket_now = bucket
        return bucket.hidden

    def choose(self, step, hidden, c: Choices):
        """The likeliest tokens are the graph's own choice."""
        bucket = self.bucket_now
        if bucket is None:
            return super().choose(step, hidden, c)
        if self.keep_logits or step.temperature[c.samples].any():
            return self.drawn(step, bucket.logits[: len(c.at)].clone(), c)
        return bucket.chosen[: len(c.at)].cpu().numpy()
