"""Runs steps: builds their metadata, runs the model, chooses tokens, and says what each row emitted."""

from __future__ import annotations

from contextlib import nullcontext
from typing import NamedTuple, Optional

import numpy as np
import torch

from gdnmeta import Builder

from .attention import Plan, parts_of
from .checkpoints import Checkpoints
from .errors import ModelError
from .gdn_layer import BRANCHES
from .hybrid import Hybrid
from .limits import Limits
from .sampler import NONE, choose
from .tables import Pass, Tables

PENDING = -1  # in a step's tokens: what the request's last step emitted
SIZES = 512  # of steps, whose tables are remembered


class Emitted(NamedTuple):
    counts: np.ndarray  # int32 [rows] accepted drafts plus one; 0 for a row that does not sample
    tokens: np.ndarray  # int32 [sum of counts] in the order of rows


class Choices:
    """Where the rows of a step choose tokens: after each draft, and after the token in front of the first. And where
    tokens are: those of row i at bounds[i] .. bounds[i + 1] - 1, so that row[t] is token t's row. All of it follows
    from `key_of` the step, and serves each step that has the same."""

    @staticmethod
    def key_of(step):
        return step.query_len.tobytes(), step.drafts.tobytes(), step.samples.tobytes()

    def __init__(self, step) -> None:
        self.key = self.key_of(step)
        self.bounds = np.zeros(step.num_rows + 1, np.int32)
        np.cumsum(step.query_len, out=self.bounds[1:])
        self.row = np.repeat(np.arange(step.num_rows), step.query_len)
        self.samples = np.flatnonzero(step.samples)  # rows
        self.asked = np.maximum(step.drafts[self.samples], 0) + 1  # choices of each of them
        self.begins = np.cumsum(self.asked) - self.asked  # its first choice
        self.of = np.repeat(np.arange(len(self.samples)), self.asked)  # [choices] place in the lists above
        self.who = self.samples[self.of]  # [choices] row
        self.k = np.arange(len(self.of)) - self.begins[self.of]  # [choices] how many of the row are in front
        self.at = (self.bounds[self.samples + 1] - self.asked)[self.of] + self.k  # [choices] token
        self.inside = np.arange(len(self.row)) - self.bounds[self.row]  # [tokens] how many of the row are in front
        self.has_drafts = len(self.of) > len(self.samples)

    def places(self, step):
        """The place in its text that each choice is made for, and its seed is mixed with: [choices] int64."""
        return step.seq_len[self.who].astype(np.int64) - self.asked[self.of] + self.k + 2


def leaves_states(step) -> bool:
    """Does a prefill leave a state on the way? Such a step runs eagerly."""
    return step.checkpoint_len is not None and bool(step.checkpoint_len.any())


class Runner:
    """One for a model; steps come in the engine's order. `keep_logits` leaves those of a step's choices in
    `logits` [choices, vocabulary] float32, those of the emitted tokens at the places `emitted_at`."""

    def __init__(self, model, limits: Limits, keep_logits: bool = False) -> None:
        self.hybrid, self.limits, self.keep_logits = Hybrid(model, limits), limits, keep_logits
        self.device, s = self.hybrid.device, limits.num_speculative_tokens
        self.builder = Builder(
            device=self.device,
            max_num_seqs=limits.max_num_seqs,
            max_rows=limits.rows,
            max_num_batched_tokens=limits.max_num_batched_tokens,
            full_cuda_graph="mixed",
            num_speculative_tokens=s,
            num_groups=limits.num_groups,
            num_slots=limits.num_slots,
            max_requests=limits.max_requests,
            mamba_cache_mode=limits.mamba_cache_mode,
            mamba_block_size=limits.mamba_block_size,
            max_blocks_per_row=limits.columns,
            checkpoint_any=True,
        )
        self.batch, self.tables = self.builder.batch(), {}
        self.kv_table = np.zeros((limits.max_requests, limits.max_kv_blocks), np.int64)
        self.last_token = np.zeros(limits.max_requests, np.int32)
        self.known: Optional[Choices] = None
        self.stream = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None
        if self.stream:
            torch.cuda.synchronize(self.device)  # pools and weights are there

    def step(self, step) -> Emitted:
        with torch.inference_mode(), torch.cuda.stream(self.stream) if self.stream else nullcontext():
            self.prepare(step)
            if step.num_rows == 0:
                return Emitted(np.zeros(0, np.int32), np.zeros(0, np.int32))
            choices = self.choices_of(step)
            return self.verify(step, self.forward(step, choices), choices)

    def choices_of(self, step) -> Choices:
        """Those of the step before, where the rows are as long and have as many drafts."""
        if self.known is None or self.known.key != Choices.key_of(step):
            self.known = Choices(step)
        return self.known

    def prepare(self, step) -> None:
        """Table changes and copies of blocks, before anything reads them."""
        if len(step.table_changes):
            row, column, block = np.asarray(step.table_changes).T
            self.kv_table[row, column] = block
        if len(step.kv_copies):
            self.hybrid.copy_blocks(torch.from_numpy(np.asarray(step.kv_copies, np.int64)).to(self.device))

    def build(self, step) -> Tables:
        """The step's tables, and which branches have rows."""
        rows, tokens = step.padded_rows or step.num_rows, step.padded_tokens or len(step.tokens)
        step.fill(self.builder, self.batch)
        meta = self.builder.build(self.batch, self.stream)
        counts = (meta.num_spec_decodes, meta.num_decodes, meta.num_prefills)
        self.branches = tuple(branch for branch, count in zip(BRANCHES, counts) if count)
        if (rows, tokens) not in self.tables:
            if len(self.tables) >= SIZES:
                self.tables.clear()
            drafts = self.limits.num_speculative_tokens
            self.tables[rows, tokens] = Tables(meta, self.limits.num_groups, drafts)
        return self.tables[rows, tokens]

    def inputs(self, step, choices: Choices):
        """Token ids, positions, and places of keys and values, [tokens] each."""
        ids, row, size = step.tokens, choices.row, self.limits.kv_block_size
        if ids.view(np.uint32).max(initial=0) >= self.hybrid.config.vocab_size:  # negative ones are large
            ids = self.known_ids(step, ids, row)
        positions = (step.seq_len - step.query_len)[row] + choices.inside
        column = positions // size
        places = self.kv_table[step.table_row[row], column] * size + (positions - column * size)
        return ids, positions, places

    def known_ids(self, step, ids, row):
        """With tokens in place of those that the step before has emitted."""
        ids = np.where(ids == PENDING, self.last_token[step.table_row[row]], ids)
        bad = ids[(ids < 0) | (ids >= self.hybrid.config.vocab_size)]
        if len(bad):
            raise ModelError(f"token {bad[0]}, want 0 .. {self.hybrid.config.vocab_size - 1}")
        return ids

    def plan(self, step, positions, places) -> Plan:
        """positions and places [tokens + 1], on the device."""
        parts = parts_of(
            torch.from_numpy(step.query_len.astype(np.int64)),
            torch.from_numpy(step.seq_len.astype(np.int64)),
            torch.from_numpy(self.kv_table[step.table_row]),
            self.limits.kv_block_size,
            len(positions) - 1,
        )
        parts = [type(part)(*(tensor.to(self.device) for tensor in part)) for part in parts]
        return Plan(places, parts, self.hybrid.positions(positions))

    def forward(self, step, choices: Choices):
        """Hidden states [tokens + 1, hidden] of a step."""
        tables, last = self.build(step), self.limits.kv_blocks * self.limits.kv_block_size
        padded = np.zeros((3, tables.tokens + 1), np.int64)
        padded[2] = last  # padding's own block
        for values, to in zip(self.inputs(step, choices), padded):
            to[: len(values)] = values
        ids, positions, places = torch.from_numpy(padded).to(self.device)
        checkpoints = Checkpoints(step, self.device) if leaves_states(step) else None
        return self.hybrid.forward(ids, Pass(tables, checkpoints), self.plan(step, positions, places), self.branches)

    def choose(self, step, hidden, c: Choices):
        """The tokens that are chosen, [choices] on the host."""
        logits = self.hybrid.logits(hidden, torch.from_numpy(c.at).to(self.device))
        return self.drawn(step, logits, c)

    def drawn(self, step, logits, c: Choices):
        self.logits = logits if self.keep_logits else None
        who, places = c.who, c.places(step)
        return choose(logits, step.temperature[who], step.top_p[who], step.seed[who], places).cpu().numpy()

    def verify(self, step, hidden, c: Choices) -> Emitted:
        """A row goes on as long as the token that is chosen after each draft is the next draft."""
        counts = np.zeros(step.num_rows, np.int32)
        self.logits, self.emitted_at = None, c.at
        if len(c.at) == 0:
            return Emitted(counts, np.zeros(0, np.int32))
        chosen = self.choose(step, hidden, c).astype(np.int32)
        if (chosen == NONE).any():
            request = step.request[c.who[np.argmax(chosen == NONE)]]
            raise ModelError(f"the logits of request {request} are not finite in {self.hybrid.dtype}")
        if not c.has_drafts:
            counts[c.samples] = 1
            self.emitted_at = c.of  # all
            self.last_token[step.table_row[c.samples]] = chosen
            return Emitted(counts, chosen)
        right = (chosen == np.append(step.tokens, 0)[c.at + 1]) & (c.k + 1 < c.asked[c.of])
        counts[c.samples] = np.minimum.reduceat(np.where(right, len(c.k), c.k), c.begins) + 1
        self.emitted_at = kept = np.flatnonzero(c.k < counts[c.who])
        self.last_token[step.table_row[c.samples]] = chosen[c.begins + counts[c.samples] - 1]
        return Emitted(counts, chosen[kept])
