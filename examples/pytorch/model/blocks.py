"""Attention over blocks of keys and values, in Triton: shapes follow from the bucket alone, and what a row
has computed is read on the device, so a captured graph serves rows of any length.

A program takes a tile of a row's queries, all heads that share keys, and a part of the keys. Tiles are entries
(row, tile) of two lists; -1 is padding. Where few tiles leave the device idle, several programs share a tile's
keys, and a second kernel joins what they found."""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl

PROGRAMS = 256  # that keep a device busy
MOST_PARTS = 16


class Tiles(NamedTuple):
    """Which queries a launch has."""

    rows: torch.Tensor  # [count] int32; -1: none
    tiles: torch.Tensor  # [count] int32 of the row
    size: int  # tokens


class Rows(NamedTuple):
    """Rows of the batch, [R] int32 each."""

    bounds: torch.Tensor  # [R + 1] first token of each
    seq_len: torch.Tensor  # tokens of the request after the step
    table_row: torch.Tensor  # the request's row of the table
    table: torch.Tensor  # [requests, columns] blocks


@triton.jit
def _attend(
    q, q_token, q_head, keys, values, stride_kv, out, out_token, out_head, sums, tops,
    bounds, seq_len, table_row, table, columns, rows, tiles, scale,
    HEADS: tl.constexpr, GROUP: tl.constexpr, DIM: tl.constexpr, BLOCK_SIZE: tl.constexpr, TILE: tl.constexpr,
    PARTS: tl.constexpr, M: tl.constexpr, N: tl.constexpr,
):  # fmt: skip
    row = tl.load(rows + tl.program_id(0))
    if row < 0:
        return
    kv_head, part = tl.program_id(1), tl.program_id(2)
    first = tl.load(bounds + row)
    n, length = tl.load(bounds + row + 1) - first, tl.load(seq_len + row)
    t = tl.load(tiles + tl.program_id(0)) * TILE + tl.arange(0, M) // GROUP  # queries of the row
    head = kv_head * GROUP + tl.arange(0, M) % GROUP
    live = (t < n) & (tl.arange(0, M) < TILE * GROUP)
    d = tl.arange(0, DIM)
    token = (first + t).to(tl.int64)
    query = tl.load(q + (token * q_token + head * q_head)[:, None] + d[None, :], live[:, None], other=0)

    last = length - n + t  # the last key that a query sees
    end = tl.minimum(length, length - n + tl.load(tiles + tl.program_id(0)) * TILE + TILE)
    share = tl.cdiv(tl.cdiv(end, N), PARTS) * N
    from_ = part * share
    end = tl.minimum(end, from_ + share)
    blocks = table + tl.load(table_row + row).to(tl.int64) * columns
    top = tl.full((M,), -1e30, tl.float32)
    total = tl.zeros((M,), tl.float32)
    found = tl.zeros((M, DIM), tl.float32)
    for start in range(from_, end, N):
        key = start + tl.arange(0, N)
        there = key < end
        block = tl.load(blocks + key // BLOCK_SIZE, there, other=0).to(tl.int64)
        place = (block * BLOCK_SIZE + key % BLOCK_SIZE) * stride_kv + kv_head * DIM
        k = tl.load(keys + place[None, :] + d[:, None], there[None, :], other=0)
        seen = there[None, :] & (key[None, :] <= last[:, None])
        score = tl.where(seen, tl.dot(query, k, input_precision="ieee") * scale, -1e30)
        new_top = tl.maximum(top, tl.max(score, 1))
        weight = tl.where(seen, tl.exp(score - new_top[:, None]), 0)
        old = tl.exp(top - new_top)
        v = tl.load(values + place[:, None] + d[None, :], there[:, None], other=0)
        found = found * old[:, None] + tl.dot(weight.to(v.dtype), v, input_precision="ieee")
        total, top = total * old + tl.sum(weight, 1), new_top

    if PARTS == 1:
        to = out + (token * out_token + head * out_head)[:, None] + d[None, :]
        tl.store(to, found / total[:, None], live[:, None])
    else:
        at = (token * HEADS + head) * PARTS + part
        tl.store(sums + at[:, None] * DIM + d[None, :], found, live[:, None])
        tl.store(tops + 2 * at, top, live)
        tl.store(tops + 2 * at + 1, total, live)


@triton.jit
def _join(
    sums, tops, out, out_token, out_head, bounds, num_rows,
    HEADS: tl.constexpr, DIM: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    token, head = tl.program_id(0).to(tl.int64), tl.program_id(1)
    if token >= tl.load(bounds + num_rows):
        return
    at, d = (token * HEADS + head) * PARTS + tl.arange(0, PARTS), tl.arange(0, DIM)
    top = tl.load(tops + 2 * at)
    weight = tl.exp(top - tl.max(top, 0))
    total = tl.sum(weight * tl.load(tops + 2 * at + 1), 0)
    found = tl.sum(weight[:, None] * tl.load(sums + at[:, None] * DIM + d[None, :]), 0)
    tl.store(out + token * out_token + head * out_head + d, found / total)


def parts_for(count: int, kv_heads: int) -> int:
    """How many programs share the keys of a tile, where a launch has `count` tiles."""
    return min(MOST_PARTS, triton.next_power_of_2(max(1, PROGRAMS // (count * kv_heads))))


def attend(q, keys, values, out, rows: Rows, tiles: Tiles, block_size: int, scale: float) -> None:
    """Queries [n, heads, dim] over keys and values [places, kv_heads, dim] into out [n, heads, dim]. Only tokens
    of rows are read and written."""
    (heads, dim), kv_heads, count = q.shape[1:], keys.shape[1], len(tiles.rows)
    if not (keys.is_contiguous() and values.is_contiguous() and q.stride(2) == out.stride(2) == 1):
        raise ValueError(f"q {q.stride()}, out {out.stride()}, keys {keys.stride()}, want dims without gaps")
    group, parts = heads // kv_heads, parts_for(count, kv_heads)
    sums = tops = None
    if parts > 1:
        sums = torch.empty(len(q), heads, parts, dim, dtype=torch.float32, device=q.device)
        tops = torch.empty(len(q), heads, parts, 2, dtype=torch.float32, device=q.device)
    m = max(16, triton.next_power_of_2(tiles.size * group))
    _attend[(count, kv_heads, parts)](
        q, *q.stride()[:2], keys, values, keys.stride(0), out, *out.stride()[:2], sums, tops,
        rows.bounds, rows.seq_len, rows.table_row, rows.table, rows.table.shape[1], tiles.rows, tiles.tiles, scale,
        HEADS=heads, GROUP=group, DIM=dim, BLOCK_SIZE=block_size, TILE=tiles.size, PARTS=parts, M=m, N=64 // q.element_size(),
        num_warps=4, num_stages=2,
    )  # fmt: skip
    if parts > 1:
        _join[(len(q), heads)](
            sums, tops, out, *out.stride()[:2], rows.bounds, len(rows.seq_len), HEADS=heads, DIM=dim, PARTS=parts
        )
