"""A Gated DeltaNet layer of a bucket: convolution, gates and delta rule, without its projections.

All shapes follow from the bucket, nothing waits for the device, and padded rows write the null slot: the
same code runs eagerly and in a captured graph. Where states and windows are read is `reads`:

    "accepted"  where the row writes; speculative rows in the column of the last token accepted, as most
                kernels do. Whoever runs the layer brings states there first
    "first"     the same without accepted counts: the first column that the row writes
    "tables"    where the read indices and conv shifts say; nothing has to be brought"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from .pools import Pool
from .sizes import Sizes
from .tables import Derived

BRANCHES = ("speculative", "decode", "prefill")
READS = ("accepted", "first", "tables")


def row(values, like):
    """[rows] as a mask over [rows, ...]."""
    return values.view(-1, *[1] * (like.dim() - 1))


class Layer:
    def __init__(
        self, sizes: Sizes, ops, pool: Pool, seed: int, device, dtype, reads="accepted", every=False
    ) -> None:
        """every: a speculative row leaves its window in each slot that it writes, not in the first alone."""
        assert reads in READS
        self.reads, self.every = reads, every
        random = torch.Generator().manual_seed(seed)
        self.sizes, self.ops, self.pool = sizes, ops, pool
        self.weight = (torch.randn(sizes.channels, sizes.width, generator=random) / 2).to(device, dtype)
        self.decay = torch.rand(sizes.value_heads, generator=random).to(device) / 4  # before its gate
        self.bias = torch.randn(sizes.value_heads, generator=random).to(device) / 4

    def gates(self, a, b):
        """Logarithm of the decay, and the share of a change that is made; float32."""
        return -self.decay * F.softplus(a.float() + self.bias), torch.sigmoid(b.float())

    def forward(self, d: Derived, x, a, b, out, branches=BRANCHES) -> None:
        """Tokens x [T + 1, channels], gates a, b [T + 1, value_heads], into out [T + 1, value_heads,
        value_dim]. The last element of each belongs to no token."""
        t = d.t
        g, beta = self.gates(a, b)
        if t.drafts and "speculative" in branches:
            self.speculative(d, *(tokens.index_select(0, t.spec_token_indx) for tokens in (x, g, beta)), out)
        if "decode" not in branches and "prefill" not in branches:
            return
        if t.drafts:
            x, g, beta = (tokens.index_select(0, t.non_spec_token_indx) for tokens in (x, g, beta))
        part = torch.empty(t.tokens, *out.shape[1:], dtype=out.dtype, device=out.device)
        if "prefill" in branches:
            part = self.prefill(d, x[: t.tokens], g[: t.tokens], beta[: t.tokens])
        if "decode" in branches:
            n = min(t.rows, t.tokens)
            decoded = self.decode(d, x[:n], g[:n], beta[:n])
            part[:n] = torch.where(row(d.is_decode[:n], decoded), decoded, part[:n])
        if t.drafts:
            out.index_copy_(0, t.non_spec_token_indx, part)
        else:
            out[: t.tokens] = part

    def moved_window(self, slots, shift):
        """The inputs in front of each row, [rows, channels, width - 1]: `shift` inputs into the window."""
        kept = self.pool.windows.index_select(0, slots)
        at = shift[:, None] + torch.arange(self.sizes.width - 1, device=kept.device)
        return kept.gather(2, at[:, None].expand(-1, self.sizes.channels, -1))

    def window(self, slots, read, shift):
        """Windows as the kernels want them: of `width` inputs, the first of which counts no more."""
        if self.reads == "tables":
            return F.pad(self.moved_window(read, shift), (1, 0))
        return F.pad(self.pool.windows.index_select(0, slots)[:, :, : self.sizes.width - 1], (1, 0))

    def state(self, slots, read):
        return self.pool.states.index_select(0, read if self.reads == "tables" else slots)

    def keep_window(self, slots, windows) -> None:
        self.pool.windows[:, :, : self.sizes.width - 1].index_copy_(0, slots, windows[:, :, 1:])

    def decode(self, d: Derived, x, g, beta):
        """Row i is token i: decodes stand in front."""
        slots, pool = d.decode_slots[: len(x)], self.pool
        read, shift = d.decode_read[: len(x)], d.t.non_spec_conv_shift[: len(x)].long()
        y, windows = self.ops.conv_update(x, self.window(slots, read, shift), self.weight)
        self.keep_window(slots, windows)
        out, states = self.ops.recurrent(*self.sizes.split(y), g, beta, self.state(slots, read))
        pool.states.index_copy_(0, slots, states)
        return out

    def prefill(self, d: Derived, x, g, beta):
        t, slots, pool = d.t, d.prefill_slots, self.pool
        window = self.window(slots, d.prefill_read, d.prefill_shift)
        y, windows = self.ops.conv(
            x, self.weight, window.masked_fill(row(d.fresh, window), 0), d.prefill_bounds, t.chunk_indices
        )
        self.keep_window(slots, windows)
        state = self.state(slots, d.prefill_read)
        out, states = self.ops.chunk(
            *self.sizes.split(y),
            g,
            beta,
            state.masked_fill(row(d.fresh, state), 0),
            d.prefill_bounds,
            t.chunk_indices,
            t.chunk_offsets,
        )
        pool.states.index_copy_(0, slots, states)
        return out

    def speculative(self, d: Derived, x, g, beta, out) -> None:
        """The state after each token of a row goes to a slot of its own, for any number of drafts may be
        accepted. A row that has ended goes on with a token that is not its own, into the null slot."""
        t, pool, sizes = d.t, self.pool, self.sizes
        window = self.spec_window(d)
        y, _ = self.ops.conv(x, self.weight, F.pad(window, (1, 0)), d.spec_bounds, d.spec_chunks)
        self.keep_spec_window(d, window, x)
        state = pool.states.index_select(0, self.spec_source(d))
        q, k, v = sizes.split(y)
        for column in range(t.drafts + 1):
            live = d.live[:, column]
            places = d.spec_places[:, column].clamp(max=t.tokens - 1)
            o, state = self.ops.recurrent(
                *(part.index_select(0, places) for part in (q, k, v, g, beta)), state
            )
            pool.states.index_copy_(0, d.spec_slots[:, column], state)
            to = t.spec_token_indx.index_select(0, places).masked_fill(live.logical_not(), t.tokens)
            out.index_copy_(0, to, o)

    def spec_source(self, d: Derived):
        """Slots of the states after the tokens that the last step had accepted."""
        if self.reads == "tables":
            return d.spec_read
        if self.reads == "first":
            return d.t.spec_state_indices_tensor[:, 0].long()
        return d.t.spec_state_indices_tensor.gather(1, d.accepted[:, None] - 1)[:, 0].long()

    def spec_window(self, d: Derived):
        """The inputs in front of each row: of kernels with accepted counts, accepted - 1 into the window."""
        if self.reads == "tables":
            return self.moved_window(d.spec_read, d.spec_shift)
        shift = d.accepted - 1 if self.reads == "accepted" else torch.zeros_like(d.accepted)
        return self.moved_window(d.t.spec_state_indices_tensor[:, 0].long(), shift)

    def keep_spec_window(self, d: Derived, window, x) -> None:
        """All inputs of the row, whichever of them are accepted, in the first slot that the row writes, or in
        every one."""
        tokens = x.index_select(0, d.spec_places.clamp(max=d.t.tokens - 1).flatten())
        tokens = tokens.unflatten(0, d.spec_places.shape).transpose(1, 2)  # [R, channels, S + 1]
        kept = torch.cat([window, tokens], 2)[:, :, 1:]
        for column in range(d.t.drafts + 1 if self.every else 1):
            self.pool.windows.index_copy_(0, d.spec_slots[:, column], kept)
