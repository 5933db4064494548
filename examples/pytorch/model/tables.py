"""A step's tensors as torch has them, without a copy.

The builder makes all steps of one bucket (rows, tokens) in the same memory and the same shapes, so the views of a
bucket are made once. Nothing here waits for the device: the same code runs in a captured graph."""

from __future__ import annotations

import torch

SHARED = (
    "non_spec_query_start_loc",
    "non_spec_conv_shift",
    "prefill_query_start_loc",
    "prefill_has_initial_state",
    "decode_query_start_loc",
    "chunk_indices",
    "chunk_offsets",
    "batch_ptr",
    "token_chunk_offset_ptr",
)
SHARED_SPEC = ("spec_query_start_loc", "spec_token_indx", "non_spec_token_indx", "spec_conv_shift")
OWN = (
    "non_spec_state_indices_tensor",
    "non_spec_read_state_indices",
    "decode_state_indices",
    "decode_read_state_indices",
    "prefill_state_indices",
    "prefill_read_state_indices",
)
OWN_SPEC = ("spec_state_indices_tensor", "spec_read_state_indices")


class Group:
    """Where the rows of a cache group read and write."""

    def __init__(self, meta, drafts: int) -> None:
        for name in OWN + (OWN_SPEC if drafts else ()):
            setattr(self, name, torch.from_dlpack(getattr(meta, name)))


class Tables:
    """Of a bucket. `rows` and `tokens` are the bucket's, `drafts` is S."""

    def __init__(self, meta, num_groups: int, drafts: int) -> None:
        self.rows, self.tokens, self.drafts = meta.num_rows, meta.num_actual_tokens, drafts
        self.num_tiles = meta.num_tiles
        for name in SHARED + (SHARED_SPEC if drafts else ()):
            setattr(self, name, torch.from_dlpack(getattr(meta, name)))
        self.groups = [Group(meta.group(g), drafts) for g in range(num_groups)]


class Pass:
    """What one pass over a bucket's tables needs once for all layers."""

    def __init__(self, t: Tables, checkpoints=None) -> None:
        self.t, self.checkpoints = t, checkpoints
        # flash-linear-attention keeps the last boundaries that it was given, and what it derived from them. So each
        # pass has boundaries of its own, for the contents of ours change; and they are a copy, not a view: the last
        # view of a builder that is gone would free its memory within the capture of another one, which spoils it.
        self.prefill_bounds = t.prefill_query_start_loc.clone()
        self.fresh = t.prefill_has_initial_state.logical_not()
        self.prefill_read = [group.prefill_read_state_indices.long() for group in t.groups]
        self.prefill_write = [group.prefill_state_indices.long() for group in t.groups]
