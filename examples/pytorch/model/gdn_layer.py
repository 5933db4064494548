"""A Gated DeltaNet layer over the rows of a step: speculative rows, decodes and prefills, each in the kernel
that suits it. Projections, norm and gates are the model's own module (transformers); the rest follows the step's
tables.

A slot of the pool is all that a layer knows of a request after a token: its recurrent state, and the inputs that
the convolution sees next. A row reads the slot at its read index and writes those at its write indices, of which a
speculative row has one for each token. The two differ after a fork, a cache hit or accepted drafts."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from .tables import Pass

BRANCHES = ("speculative", "decode", "prefill")


class StatePool:
    """Of one layer, by slot; slot 0 is nobody's. S is the number of drafts.

    states   [slots, value heads, key dim, value dim] float32
    windows  [slots, channels, taps - 1 + S] the convolution's last inputs, the oldest first"""

    def __init__(self, config, num_slots: int, drafts: int, device, dtype) -> None:
        keys = config.linear_num_key_heads * config.linear_key_head_dim
        values = config.linear_num_value_heads * config.linear_value_head_dim
        shape = (config.linear_num_value_heads, config.linear_key_head_dim, config.linear_value_head_dim)
        window = config.linear_conv_kernel_dim - 1 + drafts
        self.states = torch.zeros(num_slots, *shape, device=device)
        self.windows = torch.zeros(num_slots, 2 * keys + values, window, dtype=dtype, device=device)


class GdnLayer:
    """`module` is the model's linear_attn; `group` the cache group whose slots it uses."""

    def __init__(self, module, pool: StatePool, kernels, group: int) -> None:
        self.module, self.pool, self.kernels, self.group = module, pool, kernels, group
        self.weight = module.conv1d.weight.squeeze(1)
        self.widths = [module.key_dim, module.key_dim, module.value_dim]

    def project(self, hidden):
        """Tokens [1, n, hidden] as inputs of the convolution x [n, channels], log decays g and write strengths beta
        [n, value heads] float32, and output gates z [n, value heads, value dim]."""
        m = self.module
        if hasattr(m, "in_proj_qkvz"):
            q, k, v, z, b, a = m.fix_query_key_value_ordering(m.in_proj_qkvz(hidden), m.in_proj_ba(hidden))
            x = torch.cat([part.flatten(2) for part in (q, k, v)], -1)
        else:
            x, z = m.in_proj_qkv(hidden), m.in_proj_z(hidden).unflatten(-1, (-1, m.head_v_dim))
            b, a = m.in_proj_b(hidden), m.in_proj_a(hidden)
        g = -m.A_log.float().exp() * F.softplus(a.float() + m.dt_bias)
        return x[0], g[0], b.sigmoid()[0].float(), z[0]

    def split(self, y):
        """What the convolution gives [n, channels], as queries, keys and values [n, heads, dim]."""
        m = self.module
        q, k, v = y.split(self.widths, -1)
        return (
            q.unflatten(-1, (-1, m.head_k_dim)),
            k.unflatten(-1, (-1, m.head_k_dim)),
            v.unflatten(-1, (-1, m.head_v_dim)),
        )

    def forward(self, p: Pass, hidden, branches=BRANCHES):
        """Tokens [1, T + 1, hidden]. The last one is no token of the step: padding goes there."""
        x, g, beta, z = self.project(hidden)
        t, out = p.t, torch.zeros_like(z)
        plain = "decode" in branches or "prefill" in branches
        if not t.drafts:
            self.plain(p, x, g, beta, out, branches)
        else:
            if "speculative" in branches:
                at = t.spec_token_indx
                out.index_copy_(0, at, self.speculative(p, x[at], g[at], beta[at]))
            if plain:
                at, part = t.non_spec_token_indx, out.new_zeros(t.tokens, *out.shape[1:])
                self.plain(p, x[at], g[at], beta[at], part, branches)
                out.index_copy_(0, at, part)
        m = self.module
        normed = m.norm(out.flatten(0, 1), z.reshape(-1, z.shape[-1]))
        return m.out_proj(normed.view(1, len(x), -1))

    def speculative(self, p: Pass, x, g, beta):
        """The state after each token goes to a slot of its own, for any number of drafts may be accepted."""
        t, group, pool, run = p.t, p.t.groups[self.group], self.pool, self.kernels
        y, out = torch.zeros_like(x), x.new_zeros(len(x), *self.values)
        bounds, write, read = t.spec_query_start_loc, group.spec_state_indices_tensor, group.spec_read_state_indices
        run.conv_rows(x, self.weight, pool.windows, y, bounds, write, read, t.spec_conv_shift)
        run.delta_rows(*self.split(y), g, beta, pool.states, out, bounds, write, read)
        return out

    @property
    def values(self):
        """Shape of a token's output."""
        return self.module.num_v_heads, self.module.head_v_dim

    def plain(self, p: Pass, x, g, beta, out, branches) -> None:
        """Decodes and prefills, whose tokens follow each other."""
        t, group, pool, run = p.t, p.t.groups[self.group], self.pool, self.kernels
        y, prefills = torch.zeros_like(x), "prefill" in branches
        before = p.checkpoints.before(self) if p.checkpoints else None
        if prefills:
            run.conv_tiles(
                x,
                self.weight,
                pool.windows,
                y,
                t.non_spec_query_start_loc,
                group.non_spec_state_indices_tensor,
                group.non_spec_read_state_indices,
                t.non_spec_conv_shift,
                t.batch_ptr,
                t.token_chunk_offset_ptr,
                t.num_tiles,
            )
        bounds, write, read = t.decode_query_start_loc, group.decode_state_indices, group.decode_read_state_indices
        if not prefills:
            run.conv_rows(x, self.weight, pool.windows, y, bounds, write, read, t.non_spec_conv_shift)
        parts = (*self.split(y), g, beta)
        if prefills:
            out[: t.tokens] = self.prefill(p, *(part[: t.tokens] for part in parts))
        if "decode" in branches:
            run.delta_rows(*parts, pool.states, out, bounds, write, read)
        if p.checkpoints:
            p.checkpoints.keep(self, before, x, parts)

    def prefill(self, p: Pass, q, k, v, g, beta):
        """Outputs [tokens, value heads, value dim] of prompts; those of decodes are then written by delta_rows."""
        states = self.pool.states.index_select(0, p.prefill_read[self.group])
        states = states.masked_fill(p.fresh[:, None, None, None], 0)
        out, states = self.kernels.chunk(
            q, k, v, g, beta, states, p.prefill_bounds, p.t.chunk_indices, p.t.chunk_offsets
        )
        self.pool.states.index_copy_(0, p.prefill_write[self.group], states)
        return out
