"""The rows of a step as a worker gets them. A record of the channel (gdnmeta.StepRecord) has the same fields."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

import numpy as np

FRESH = -1  # in a batch's read_column: no state yet


def _none(*shape):
    return field(default_factory=lambda: np.zeros(shape, np.int32))


@dataclass
class Step:
    """Arrays are int32 unless said otherwise; R is num_rows."""

    query_len: np.ndarray  # [R] tokens of the row in this step
    seq_len: np.ndarray  # [R] tokens of the request after it
    drafts: np.ndarray  # [R] drafts among query_len; -1: the row is not speculative
    accepted_tokens: np.ndarray  # [R] tokens that the request's last step emitted, 1 or more
    samples: np.ndarray  # [R] 1: the row emits tokens
    prompt_done: np.ndarray  # [R] 1: the whole prompt was computed before
    table_row: np.ndarray  # [R] the request's row of the kv table
    slots: np.ndarray  # [groups, R, columns] where states go: one column, or one for each token of a draft row
    read_slots: np.ndarray  # [groups, R] where the state is; 0: there is none yet
    tokens: np.ndarray  # [tokens] ids in the order of rows, drafts included
    temperature: np.ndarray  # [R] float32; 0: greedy
    top_p: np.ndarray  # [R] float32
    seed: np.ndarray  # [R] uint64
    request: np.ndarray  # [R] int64
    table_changes: np.ndarray = _none(0, 3)  # (table_row, column, block) since the last step
    kv_copies: np.ndarray = _none(0, 2)  # (from, to) blocks to copy before the step runs
    checkpoint_len: Optional[np.ndarray] = None  # [R] keep the state after so many tokens as well; 0: do not
    checkpoint_slot: Optional[np.ndarray] = None  # [groups, R] where
    number: int = 0
    padded_rows: int = 0  # 0: no padding
    padded_tokens: int = 0
    graph: int = 0  # 2: the step is padded to a bucket, for a captured graph

    def fill(self, builder, batch) -> None:
        """The rows as a batch of a builder, as StepRecord.fill does it in C. A row's blocks are the slots that it
        writes, and in the last column the one that its state is read from."""
        n, rows, written = self.num_rows, batch.rows, self.slots.shape[2]
        last = rows.blocks.shape[2] - 1
        batch.clear()
        rows.num_rows = n
        rows.query_len[:n], rows.seq_len[:n], rows.prompt_done[:n] = self.query_len, self.seq_len, self.prompt_done
        rows.num_draft_tokens[:n], rows.num_accepted_tokens[:n] = self.drafts, self.accepted_tokens
        rows.read_column[:n] = np.where(self.seq_len == self.query_len, FRESH, last)
        rows.table_row[:n] = ~np.arange(n, dtype=np.int32)  # the batch's own
        rows.blocks[:, :n] = 0
        rows.blocks[:, :n, :written], rows.blocks[:, :n, last] = self.slots, self.read_slots
        rows.checkpoint_len[:n] = 0
        if self.checkpoint_len is not None:
            rows.checkpoint_len[:n], rows.checkpoint_slot[:, :n] = self.checkpoint_len, self.checkpoint_slot
        batch.pad(self.padded_rows or n, self.padded_tokens or len(self.tokens))

    @property
    def num_rows(self) -> int:
        return len(self.query_len)
