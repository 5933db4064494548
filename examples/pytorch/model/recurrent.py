"""Three kernels of a Gated DeltaNet layer that read a slot and write others, in Triton.

The kernels of published packages read the slot that they write, so states must be brought there first. These
take the step's read indices instead, and leave a state and a window for each token of a speculative row:

    conv_rows    convolution of decodes or speculative rows: a few tokens each
    conv_tiles   convolution of decodes and prefills of any length, by the tiles of batch_ptr
    delta_rows   the delta rule of decodes or speculative rows

`bounds` [R + 1], `write` [R] or [R, S + 1], `read` and `shift` [R] are the step's own tensors. A row without
tokens does nothing, a read index of 0 or less starts from zeros, and a slot of 0 or less is not written: so
padding is harmless, and all shapes follow from the bucket. States are float32 or bfloat16, sums float32.

A slot's window [channels, taps - 1 + S] holds the inputs in front of the next token from `shift` on, where
shift is the number of tokens beyond one that the last step accepted. Every slot that a speculative row writes
gets all of the row's inputs, so that any number of drafts may be accepted."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

TILE = 8  # tokens of an entry of batch_ptr


@triton.jit
def _input(x, stride, window, stride_token, first, place, BEFORE: tl.constexpr, c, is_token, is_old):
    """Inputs `place` [n, 1] of channels c [1, m], counted from the oldest that a row's first token sees."""
    token = tl.load(x + (first + place - BEFORE) * stride + c, is_token & (place >= BEFORE), other=0)
    old = tl.load(window + place * stride_token, is_old & (place < BEFORE), other=0)
    return token.to(tl.float32) + old.to(tl.float32)


@triton.jit
def _conv_rows(
    x, stride_x, weight, windows, stride_slot, stride_channel, stride_token, out, stride_out,
    bounds, write, read, shift, channels,
    TAPS: tl.constexpr, COLUMNS: tl.constexpr, PLACES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0)
    first = tl.load(bounds + row).to(tl.int64)
    n = tl.load(bounds + row + 1) - first
    if n <= 0:
        return
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)[None, :]
    here = c < channels
    source = tl.load(read + row).to(tl.int64)
    window = windows + source * stride_slot + c * stride_channel + tl.load(shift + row) * stride_token
    old = c < tl.where(source > 0, channels, 0)

    t = tl.arange(0, PLACES)[:, None]
    sums = tl.zeros((PLACES, BLOCK), tl.float32)
    for tap in tl.static_range(TAPS):
        place = t + tap
        mask = here & (t < n)
        seen = _input(x, stride_x, window, stride_token, first, place, TAPS - 1, c, mask, old & mask)
        sums += seen * tl.load(weight + c * TAPS + tap, here, other=0).to(tl.float32)
    tl.store(out + (first + t) * stride_out + c, sums / (1 + tl.exp(-sums)), here & (t < n))

    # All inputs but the oldest, also where this overwrites the window that was read: hence the barrier.
    kept = here & (t < TAPS - 2 + n)
    keep = _input(x, stride_x, window, stride_token, first, t + 1, TAPS - 1, c, kept, old & kept)
    tl.debug_barrier()
    for column in tl.static_range(COLUMNS):
        slot = tl.load(write + row * COLUMNS + column).to(tl.int64)
        to = windows + slot * stride_slot + c * stride_channel + t * stride_token
        tl.store(to, keep, kept & (c < tl.where((slot > 0) & (column < n), channels, 0)))


@triton.jit
def _conv_tiles(
    x, stride_x, weight, windows, stride_slot, stride_channel, stride_token, out, stride_out,
    bounds, write, read, shift, rows, tiles, channels,
    TAPS: tl.constexpr, PLACES: tl.constexpr, BLOCK: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    row = tl.load(rows + program)
    if row < 0:
        return
    tile = tl.load(tiles + program)
    first = tl.load(bounds + row).to(tl.int64)
    n = tl.load(bounds + row + 1) - first
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)[None, :]
    here = c < channels
    source = tl.load(read + row).to(tl.int64)
    window = windows + source * stride_slot + c * stride_channel + tl.load(shift + row) * stride_token
    old = c < tl.where(source > 0, channels, 0)

    t = tile * TILE + tl.arange(0, TILE)[:, None]
    mask = here & (t < n)
    sums = tl.zeros((TILE, BLOCK), tl.float32)
    for tap in tl.static_range(TAPS):
        seen = _input(x, stride_x, window, stride_token, first, t + tap, TAPS - 1, c, mask, old & mask)
        sums += seen * tl.load(weight + c * TAPS + tap, here, other=0).to(tl.float32)
    tl.store(out + (first + t) * stride_out + c, sums / (1 + tl.exp(-sums)), mask)

    # The row's last inputs. Only the first tile's program reads the old window, so it writes the new one.
    if tile == 0:
        p = tl.arange(0, PLACES)[:, None]
        kept = here & (p < TAPS - 1)
        keep = _input(x, stride_x, window, stride_token, first, n + p, TAPS - 1, c, kept, old & kept)
        slot = tl.load(write + row).to(tl.int64)
        to = windows + slot * stride_slot + c * stride_channel + p * stride_token
        tl.debug_barrier()
        tl.store(to, keep, kept & (c < tl.where(slot > 0, channels, 0)))


@triton.jit
def _delta_rows(
    q, stride_q, k, stride_k, v, stride_v, g, beta, out, stride_out, states, stride_slot,
    bounds, write, read, scale,
    HEADS: tl.constexpr, GROUP: tl.constexpr, KEYS: tl.constexpr, VALUES: tl.constexpr,
    COLUMNS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row, head = tl.program_id(0), tl.program_id(1)
    first, last = tl.load(bounds + row).to(tl.int64), tl.load(bounds + row + 1).to(tl.int64)
    if last <= first:
        return
    i = tl.arange(0, KEYS)
    j = tl.program_id(2) * BLOCK + tl.arange(0, BLOCK)
    element = head * KEYS * VALUES + i[:, None] * VALUES + j[None, :]
    source = tl.load(read + row).to(tl.int64)
    old = element < tl.where(source > 0, HEADS * KEYS * VALUES, 0)  # all or none
    state = tl.load(states + source * stride_slot + element, old, other=0).to(tl.float32)
    tl.debug_barrier()  # a slot may be read and written
    for token in range(first, last):
        key = tl.load(k + token * stride_k + head // GROUP * KEYS + i).to(tl.float32)
        query = tl.load(q + token * stride_q + head // GROUP * KEYS + i).to(tl.float32)
        key *= 1 / tl.sqrt(tl.sum(key * key) + 1e-6)
        query *= scale / tl.sqrt(tl.sum(query * query) + 1e-6)
        value = tl.load(v + token * stride_v + head * VALUES + j).to(tl.float32)

        state *= tl.exp(tl.load(g + token * HEADS + head))
        change = (value - tl.sum(state * key[:, None], 0)) * tl.load(beta + token * HEADS + head)
        state += key[:, None] * change[None, :]
        answer = tl.sum(state * query[:, None], 0)
        tl.store(out + token * stride_out + head * VALUES + j, answer)
        slot = tl.load(write + row * COLUMNS + token - first).to(tl.int64)
        kept = element < tl.where(slot > 0, HEADS * KEYS * VALUES, 0)
        tl.store(states + slot * stride_slot + element, state, kept)


def _columns(write) -> int:
    return write.shape[1] if write.dim() == 2 else 1


def _tokens(name, values, inner) -> int:
    """Elements from a token to the next; within a token there are no gaps."""
    step = 1
    for size, stride in zip(reversed(values.shape[1:]), reversed(values.stride()[1:])):
        if size > 1 and stride != step:
            raise ValueError(f"{name} has strides {values.stride()}, want tokens of {inner} without gaps")
        step *= size
    return values.stride(0)


def _conv(x, weight, windows, out):
    channels, taps = weight.shape
    if windows.shape[1] != channels or x.shape[1] != channels or out.shape[1] != channels:
        raise ValueError(f"x {tuple(x.shape)}, out {tuple(out.shape)}, windows {tuple(windows.shape)}, "
                         f"want {channels} channels each")  # fmt: skip
    return (x, _tokens("x", x, "channels"), weight.contiguous(), windows, *windows.stride(),
            out, _tokens("out", out, "channels"))  # fmt: skip


def conv_rows(x, weight, windows, out, bounds, write, read, shift) -> None:
    """Tokens x [n, channels] through weight [channels, taps] and SiLU into out; windows [slots, channels,
    taps - 1 + S] of any strides. Rows have at most as many tokens as `write` has columns."""
    (channels, taps), columns = weight.shape, _columns(write)
    block = min(256, triton.next_power_of_2(channels))
    _conv_rows[(len(read), triton.cdiv(channels, block))](
        *_conv(x, weight, windows, out), bounds, write, read, shift, channels,
        TAPS=taps, COLUMNS=columns, PLACES=triton.next_power_of_2(taps - 1 + columns), BLOCK=block,
    )  # fmt: skip


def conv_tiles(x, weight, windows, out, bounds, write, read, shift, rows, tiles, count) -> None:
    """The same for rows of any length that write one slot each. rows, tiles: batch_ptr and
    token_chunk_offset_ptr, of which `count` (num_tiles) are launched."""
    channels, taps = weight.shape
    block = min(128, triton.next_power_of_2(channels))
    _conv_tiles[(count, triton.cdiv(channels, block))](
        *_conv(x, weight, windows, out), bounds, write, read, shift, rows, tiles, channels,
        TAPS=taps, PLACES=triton.next_power_of_2(taps - 1), BLOCK=block, TILE=TILE,
    )  # fmt: skip


def delta_rows(q, k, v, g, beta, states, out, bounds, write, read) -> None:
    """Queries and keys [n, heads, key_dim], which are normed here; values and out [n, value_heads,
    value_dim]; g and beta [n, value_heads] float32, the decay's logarithm and the share of a change that is
    made; states [slots, value_heads, key_dim, value_dim]. Rows have at most as many tokens as `write` has
    columns. Dims are powers of two, and value_heads is a multiple of heads."""
    (heads, keys), (value_heads, values) = q.shape[1:], v.shape[1:]
    if keys & (keys - 1) or values & (values - 1) or value_heads % heads:
        raise ValueError(
            f"{heads} heads of {keys}, {value_heads} of {values}, want powers of two and a multiple"
        )
    if states.shape[1:] != (value_heads, keys, values):
        raise ValueError(f"states {tuple(states.shape)}, want [slots, {value_heads}, {keys}, {values}]")
    if g.dtype != torch.float32 or beta.dtype != torch.float32:
        raise ValueError(f"g {g.dtype}, beta {beta.dtype}, want float32")
    _tokens("states", states, "heads")
    block = min(32, values)
    _delta_rows[(len(read), value_heads, values // block)](
        q, _tokens("q", q, "heads"), k, _tokens("k", k, "heads"), v, _tokens("v", v, "heads"),
        g.contiguous(), beta.contiguous(), out, _tokens("out", out, "heads"), states, states.stride(0),
        bounds, write, read, keys**-0.5,
        HEADS=value_heads, GROUP=value_heads // heads, KEYS=keys, VALUES=values,
        COLUMNS=_columns(write), BLOCK=block, num_warps=4,
    )  # fmt: skip
