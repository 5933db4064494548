"""A bucket's tensors as torch has them, without a copy, and what a step derives from them for all of its
layers."""

from __future__ import annotations

import torch

NON_SPEC = (
    "decode_state_indices",
    "decode_read_state_indices",
    "non_spec_conv_shift",
    "prefill_read_state_indices",
    "prefill_query_start_loc",
    "prefill_state_indices",
    "prefill_has_initial_state",
    "chunk_indices",
    "chunk_offsets",
    "live_counts",
)
SPEC = (
    "spec_query_start_loc",
    "spec_state_indices_tensor",
    "spec_token_indx",
    "non_spec_token_indx",
    "num_accepted_tokens",
    "spec_read_state_indices",
    "spec_conv_shift",
)
DECODES, DECODE_TOKENS = 2, 3  # of live_counts: num_decodes, num_decode_tokens


class Tables:
    """Made once for a bucket: the builder writes other contents into the same memory step after step."""

    def __init__(self, meta, drafts: int) -> None:
        self.rows, self.tokens, self.drafts = meta.num_rows, meta.num_actual_tokens, drafts
        for name in NON_SPEC + (SPEC if drafts else ()):
            setattr(self, name, torch.from_dlpack(getattr(meta, name)))


class Derived:
    """What one pass over a bucket's tables needs once. In a captured graph these launches are part of the
    graph."""

    def __init__(self, t: Tables) -> None:
        self.t, device = t, t.live_counts.device
        # FLA keeps the last boundaries that it was given, and what it derived from them. So each pass has
        # boundaries of its own, for the contents of ours change; and they are a copy, so that no memory of a
        # builder that is gone is freed within a capture.
        self.prefill_bounds = t.prefill_query_start_loc.clone()
        self.decode_slots, self.prefill_slots = t.decode_state_indices.long(), t.prefill_state_indices.long()
        self.fresh = t.prefill_has_initial_state.logical_not()
        places = torch.arange(t.tokens, device=device)
        self.is_decode = places < t.live_counts[DECODE_TOKENS]
        # For layers that read where the tables say.
        self.decode_read = t.decode_read_state_indices.long()
        self.prefill_read = t.prefill_read_state_indices.long()
        rows = torch.arange(len(self.prefill_slots), device=device) + t.live_counts[DECODES]
        last = len(t.non_spec_conv_shift) - 1
        self.prefill_shift = t.non_spec_conv_shift.index_select(0, rows.clamp(max=last)).long()
        if not t.drafts:
            return
        # Row i of the speculative tokens: a chunk of its own, since it has at most S + 1 tokens.
        rows = torch.arange(t.rows, device=device, dtype=torch.int32)
        self.spec_bounds, self.spec_chunks = t.spec_query_start_loc.clone(), torch.stack([rows, rows * 0], 1)
        first, columns = self.spec_bounds[:-1, None].long(), torch.arange(t.drafts + 1, device=device)
        self.live = columns < self.spec_bounds[1:, None] - first  # [R, S + 1]
        none = self.live.logical_not()
        self.spec_places = (first + columns).masked_fill(none, t.tokens)  # in the speculative tokens
        self.spec_slots = t.spec_state_indices_tensor.masked_fill(none, 0).long()  # 0: the null slot
        self.accepted = t.num_accepted_tokens.long()
        self.spec_read, self.spec_shift = t.spec_read_state_indices.long(), t.spec_conv_shift.long()
