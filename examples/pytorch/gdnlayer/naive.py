"""The kernels' functions in plain torch, token by token: for machines without a GPU, and to read what they
do. Slow, and they wait for the device; arguments as in ops.py."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def _rows(cu_seqlens):
    bounds = cu_seqlens.tolist()
    return [(row, first, last) for row, (first, last) in enumerate(zip(bounds, bounds[1:])) if last > first]


def conv(x, weight, initial_state, cu_seqlens, chunk_indices):
    """Tokens x [n, channels] of rows one after the other. Windows [rows, channels, width] hold the inputs
    in front."""
    y, windows, width = torch.full_like(x, float("nan")), initial_state.clone(), weight.shape[1]
    for row, first, last in _rows(cu_seqlens):
        inputs = torch.cat([initial_state[row], x[first:last].T], 1)  # [channels, width + tokens]
        seen = inputs[:, 1:].unfold(1, width, 1).float()  # [channels, tokens, width]
        y[first:last] = F.silu((seen * weight.float()[:, None]).sum(-1)).T.to(y.dtype)
        windows[row] = inputs[:, -width:]
    return y, windows


def conv_update(x, windows, weight):
    """One token a row: x [rows, channels], windows [rows, channels, width]."""
    windows = torch.cat([windows[:, :, 1:], x[:, :, None].to(windows.dtype)], 2)
    return F.silu((windows.float() * weight.float()).sum(-1)).to(x.dtype), windows


def _unit(x):
    x = x.float()
    return x * torch.rsqrt(x.square().sum(-1, keepdim=True) + 1e-6)


def token(q, k, v, g, beta, state):
    """One token of each row: q, k [rows, heads, key_dim], v [rows, value_heads, value_dim], g and beta
    [rows, value_heads], state [rows, value_heads, key_dim, value_dim]. Returns output and state, float32."""
    groups = v.shape[1] // q.shape[1]
    q = _unit(q).repeat_interleave(groups, 1) * q.shape[-1] ** -0.5
    k = _unit(k).repeat_interleave(groups, 1)
    state = state * g.float().exp()[:, :, None, None]
    change = (v.float() - torch.einsum("nhkv,nhk->nhv", state, k)) * beta.float()[:, :, None]
    state = state + k[:, :, :, None] * change[:, :, None, :]
    return torch.einsum("nhkv,nhk->nhv", state, q), state


def recurrent(q, k, v, g, beta, initial_state):
    """One token a row, see token."""
    out, state = token(q, k, v, g, beta, initial_state)
    return out.to(v.dtype), state


def chunk(q, k, v, g, beta, initial_state, cu_seqlens, chunk_indices, chunk_offsets):
    """Tokens of rows one after the other."""
    out, states = torch.full_like(v, float("nan")), initial_state.float().clone()
    for row, first, last in _rows(cu_seqlens):
        for t in range(first, last):
            one, here = slice(t, t + 1), slice(row, row + 1)
            o, states[here] = token(q[one], k[one], v[one], g[one], beta[one], states[here])
            out[one] = o.to(out.dtype)
    return out, states
