"""Runs steps: builds their metadata, runs the model, chooses tokens, and says what each row emitted."""

from __future__ import annotations

from contextlib import nullcontext
from typing import NamedTuple

import numpy as np
import torch

from gdnmeta import Builder

from .attention import Plan, parts_of
from .checkpoints import Checkpoints
from .errors import ModelError
from .gdn_layer import BRANCHES
from .hybrid import Hybrid
from .limits import Limits
from .sampler import choose
from .tables import Pass, Tables

PENDING = -1  # in a step's tokens: what the request's last step emitted
FRESH = -1  # in read_column: no state yet
SIZES = 512  # of steps, whose tables are remembered


class Emitted(NamedTuple):
    counts: np.ndarray  # int32 [rows] accepted drafts plus one; 0 for a row that does not sample
    tokens: np.ndarray  # int32 [sum of counts] in the order of rows


class Choices:
    """Where the rows of a step choose tokens: after each draft, and after the token in front of the first. And where
    tokens are: those of row i at bounds[i] .. bounds[i + 1] - 1, so that row[t] is token t's row."""

    def __init__(self, step) -> None:
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
            max_blocks_per_row=s + 2,  # the slots that a row writes, and the one that it reads
            checkpoint_any=True,
        )
        self.batch, self.tables = self.builder.batch(), {}
        self.rows, self.own = self.batch.rows, ~np.arange(limits.rows, dtype=np.int32)  # rows of the batch's own
        self.kv_table = np.zeros((limits.max_requests, limits.max_kv_blocks), np.int64)
        self.last_token = np.zeros(limits.max_requests, np.int32)
        self.numbers = np.arange(limits.max_num_batched_tokens)
        self.stream = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None
        if self.stream:
            torch.cuda.synchronize(self.device)  # pools and weights are there

    def step(self, step) -> Emitted:
        with torch.inference_mode(), torch.cuda.stream(self.stream) if self.stream else nullcontext():
            self.prepare(step)
            if step.num_rows == 0:
                return Emitted(np.zeros(0, np.int32), np.zeros(0, np.int32))
            choices = Choices(step)
            return self.verify(step, self.forward(step, choices), choices)

    def prepare(self, step) -> None:
        """Table changes and copies of blocks, before anything reads them."""
        if len(step.table_changes):
            row, column, block = np.asarray(step.table_changes).T
            self.kv_table[row, column] = block
        if len(step.kv_copies):
            self.hybrid.copy_blocks(torch.from_numpy(np.asarray(step.kv_copies, np.int64)).to(self.device))

    def build(self, step) -> Tables:
        """The step's tables, and which branches have rows."""
        n, columns, batch = step.num_rows, self.limits.num_speculative_tokens + 1, self.rows
        self.batch.clear()
        batch.num_rows = n
        batch.query_len[:n], batch.seq_len[:n] = step.query_len, step.seq_len
        batch.num_draft_tokens[:n], batch.num_accepted_tokens[:n] = step.drafts, step.accepted_tokens
        batch.prompt_done[:n] = step.prompt_done
        batch.read_column[:n] = np.where(step.seq_len == step.query_len, FRESH, columns)
        batch.table_row[:n] = self.own[:n]
        batch.blocks[:, :n, :columns] = 0
        batch.blocks[:, :n, : step.slots.shape[2]] = step.slots[:, :, :columns]
        batch.blocks[:, :n, columns] = step.read_slots
        batch.checkpoint_len[:n] = 0
        if leaves_states(step):
            batch.checkpoint_len[:n], batch.checkpoint_slot[:, :n] = step.checkpoint_len, step.checkpoint_slot
        rows, tokens = step.padded_rows or step.num_rows, step.padded_tokens or len(step.tokens)
        self.batch.pad(rows, tokens)
        meta = self.builder.build(self.batch, self.stream)
        counts = (meta.num_spec_decodes, meta.num_decodes, meta.num_prefills)
        self.branches = tuple(branch for branch, count in zip(BRANCHES, counts) if count)
        if (rows, tokens) not in self.tables:
            if len(self.tables) >= SIZES:
                self.tables.clear()
            drafts = self.limits.num_speculative_tokens
            self.tables[rows, tokens] = Tables(meta, self.limits.num_groups, drafts)
        return self.tables[rows, tokens]

    def inputs(self, step, padded: int, choices: Choices):
        """Token ids and positions [padded + 1]."""
        ids, positions = np.zeros(padded + 1, np.int64), np.zeros(padded + 1, np.int64)
        n, row = len(step.tokens), choices.row
        ids[:n] = step.tokens
        pending = step.tokens == PENDING
        if pending.any():
            ids[:n][pending] = self.last_token[step.table_row[row[pending]]]
        if n and ids.view(np.uint64).max() >= self.hybrid.config.vocab_size:  # negative ones are large
            bad = ids[(ids < 0) | (ids >= self.hybrid.config.vocab_size)][0]
            raise ModelError(f"token {bad}, want 0 .. {self.hybrid.config.vocab_size - 1}")
        positions[:n] = self.numbers[:n] + (step.seq_len - choices.bounds[1:])[row]
        return ids, positions

    def plan(self, step, positions, row) -> Plan:
        size, n = self.limits.kv_block_size, len(row)
        places = np.full(len(positions), self.limits.kv_blocks * size, np.int64)  # padding's own block
        block = self.kv_table[step.table_row[row], positions[:n] // size]
        places[:n] = block * size + positions[:n] % size
        parts = parts_of(
            torch.from_numpy(step.query_len.astype(np.int64)),
            torch.from_numpy(step.seq_len.astype(np.int64)),
            torch.from_numpy(self.kv_table[step.table_row]),
            size,
            len(positions) - 1,
        )
        return Plan(
            torch.from_numpy(places).to(self.device),
            [type(part)(*(tensor.to(self.device) for tensor in part)) for part in parts],
            self.hybrid.positions(torch.from_numpy(positions).to(self.device)),
        )

    def forward(self, step, choices: Choices):
        """Hidden states [tokens + 1, hidden] of a step."""
        tables = self.build(step)
        ids, positions = self.inputs(step, tables.tokens, choices)
        plan, ids = self.plan(step, positions, choices.row), torch.from_numpy(ids).to(self.device)
        checkpoints = Checkpoints(step, self.device) if leaves_states(step) else None
        return self.hybrid.forward(ids, Pass(tables, checkpoints), plan, self.branches)

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
        chosen = self.choose(step, hidden, c)
        right = (chosen == np.append(step.tokens, 0)[c.at + 1]) & (c.k + 1 < c.asked[c.of])
        counts[c.samples] = np.minimum.reduceat(np.where(right, len(c.k), c.k), c.begins) + 1
        self.emitted_at = kept = np.flatnonzero(c.k < counts[c.who])
        self.last_token[step.table_row[c.samples]] = chosen[c.begins + counts[c.samples] - 1]
        return Emitted(counts, chosen[kept].astype(np.int32))
