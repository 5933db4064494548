"""Attention over blocks: keys and values of all requests lie in one pool, and a request's row of the kv table
says in which blocks its tokens are. Queries, keys, norms, gate and rotary positions are the model's own.

Rows of a few tokens are taken together, padded to the longest; a long chunk of a prompt by itself."""

from __future__ import annotations

from typing import List, NamedTuple

import torch
import torch.nn.functional as F

SHORT = 8  # tokens of a row that may be taken together with others


class Part(NamedTuple):
    """Rows that attend together: n rows, up to q queries and k keys each."""

    queries: torch.Tensor  # [n, q] tokens of the step; the last one of all where the row has fewer
    keys: torch.Tensor  # [n, k] places in the pool
    mask: torch.Tensor  # [n, 1, q, k] which key a query may see
    into: torch.Tensor  # [n, q] as queries


class Plan(NamedTuple):
    """What all attention layers need of a step."""

    places: torch.Tensor  # [T + 1] where each token's key and value go
    parts: List[Part]
    position: tuple  # cosines and sines of the tokens' positions

    def attend(self, layer, q):
        """What a layer's queries [T + 1, heads, dim] find."""
        out = torch.zeros_like(q)
        for part in self.parts:
            found = layer.attend(part, q[part.queries])
            out.index_copy_(0, part.into.flatten(), found.flatten(0, 1))
        return out


class KvPool:
    """Keys and values of a layer, [places, kv heads, dim]: token t of block b lies at place b * size + t. Padding has a
    block of its own behind the others."""

    def __init__(self, config, blocks: int, size: int, device, dtype) -> None:
        shape = ((blocks + 1) * size, config.num_key_value_heads, config.head_dim)
        self.keys = torch.zeros(shape, device=device, dtype=dtype)
        self.values = torch.zeros(shape, device=device, dtype=dtype)


def parts_of(query_len, seq_len, blocks, size: int, tokens: int) -> List[Part]:
    """Of rows on the host: their lengths, and their blocks [rows, columns], as int64 tensors. `tokens` is the
    number of the token that belongs to no row."""
    first = F.pad(query_len.cumsum(0), (1, 0))
    short = [row for row, n in enumerate(query_len.tolist()) if n <= SHORT]
    alone = [[row] for row, n in enumerate(query_len.tolist()) if n > SHORT]
    return [_part(rows, first, query_len, seq_len, blocks, size, tokens) for rows in [short, *alone] if rows]


def _part(rows, first, query_len, seq_len, blocks, size, tokens) -> Part:
    at = torch.tensor(rows)
    asked, length = query_len[at, None], seq_len[at, None]
    q, k = torch.arange(int(asked.max())), torch.arange(int(length.max()))
    queries = torch.where(q < asked, first[at, None] + q, tokens)
    keys = blocks[at][:, k // size] * size + k % size
    last = length - asked + q  # the last key that each query sees
    mask = k <= torch.where(q < asked, last, length - 1)[:, :, None]
    return Part(queries, torch.where(k < length, keys, 0), mask[:, None], queries)


class AttentionLayer:
    """`module` is the model's self_attn, `rotate` its way to apply rotary positions."""

    def __init__(self, module, pool: KvPool, rotate) -> None:
        self.module, self.pool, self.rotate = module, pool, rotate

    def project(self, hidden, position):
        """Tokens [1, n, hidden] as queries [n, heads, dim], gate [n, heads * dim], keys and values."""
        m, shape = self.module, (*hidden.shape[:-1], -1, self.module.head_dim)
        q, gate = m.q_proj(hidden).view(*hidden.shape[:-1], -1, m.head_dim * 2).chunk(2, -1)
        q, k = m.q_norm(q.reshape(shape)).transpose(1, 2), m.k_norm(m.k_proj(hidden).view(shape)).transpose(1, 2)
        q, k = self.rotate(q, k, *position)
        v = m.v_proj(hidden).view(shape)
        return q.transpose(1, 2)[0], gate.flatten(2)[0], k.transpose(1, 2)[0], v[0]

    def forward(self, plan: Plan, hidden):
        q, gate, k, v = self.project(hidden, plan.position)
        self.pool.keys.index_copy_(0, plan.places, k)
        self.pool.values.index_copy_(0, plan.places, v)
        out = plan.attend(self, q)
        return self.module.o_proj((out.flatten(1) * gate.sigmoid())[None])

    def attend(self, part: Part, q):
        """Queries [n, q, heads, dim] over the keys of their rows."""
        keys, values = self.pool.keys[part.keys], self.pool.values[part.keys]
        q, keys, values = (tensor.transpose(1, 2) for tensor in (q, keys, values))
        out = F.scaled_dot_product_attention(
            q, keys, values, attn_mask=part.mask, scale=self.module.scaling, enable_gqa=True
        )
        return out.transpose(1, 2)
