"""The kernels of a GDN layer, under the names of recurrent.py:

    conv_rows(x, weight, windows, out, bounds, write, read, shift)    rows of a few tokens
    conv_tiles(..., rows, tiles, count)                               rows of any length
    delta_rows(q, k, v, g, beta, states, out, bounds, write, read)    rows of a few tokens
    chunk(q, k, v, g, beta, states, bounds, chunks, offsets)          rows of any length: outputs and new states

On a GPU the first three are Triton's, in recurrent.py, and the last is flash-linear-attention's. On a CPU all
are transformers' own PyTorch functions, called row by row."""

from __future__ import annotations

import inspect
from types import SimpleNamespace

import torch

from .errors import ModelError


def load(device, module) -> SimpleNamespace:
    """The kernels for a device. `module` is the one that the model's classes are in."""
    if torch.device(device).type == "cpu":
        return TorchKernels(module)
    from gdnlayer import ops

    try:
        from . import recurrent

        chunks = ops.load(False)
    except (ImportError, ops.Missing) as error:
        raise ModelError(f"{device}: no kernels: {error}") from None
    return SimpleNamespace(
        name=chunks.name,
        conv_rows=recurrent.conv_rows,
        conv_tiles=recurrent.conv_tiles,
        delta_rows=recurrent.delta_rows,
        chunk=chunks.chunk,
    )


def _rows(bounds):
    """(row, first token, last token + 1) of the rows that have tokens."""
    ends = bounds.tolist()
    return [(row, first, last) for row, (first, last) in enumerate(zip(ends, ends[1:])) if last > first]


def _heads(q, k, v):
    """Queries and keys for every head of values; the functions of some releases want that."""
    groups = v.shape[1] // q.shape[1]
    return q.repeat_interleave(groups, 1), k.repeat_interleave(groups, 1), v


class TorchKernels:
    """The module's functions may be wrapped, to find GPU kernels where such are installed: what they wrap is
    wanted here."""

    name = "transformers' torch functions"

    def __init__(self, module) -> None:
        self._chunk = inspect.unwrap(module.torch_chunk_gated_delta_rule)
        self._recurrent = inspect.unwrap(module.torch_recurrent_gated_delta_rule)
        self._conv = inspect.unwrap(module.causal_conv1d_update)

    def conv_rows(self, x, weight, windows, out, bounds, write, read, shift) -> None:
        taps, slots = weight.shape[1], write.view(len(read), -1).tolist()
        read, shift = read.tolist(), shift.tolist()
        olds = windows.clone()  # no row sees what another one wrote
        for row, first, last in _rows(bounds):
            old = olds[read[row], :, shift[row] : shift[row] + taps - 1].clone()
            if read[row] <= 0:
                old.zero_()
            inputs = torch.cat([old, x[first:last].T], 1)[:, 1:]
            out[first:last] = self._conv(x[first:last].T[None], old[None], weight, None, "silu")[0].T
            if len(slots[row]) == 1:  # no drafts: the last ones alone are wanted again
                inputs = inputs[:, 1 - taps :]
            for slot in slots[row][: last - first]:
                if slot > 0:
                    windows[slot, :, : inputs.shape[1]] = inputs

    def conv_tiles(self, x, weight, windows, out, bounds, write, read, shift, rows, tiles, count) -> None:
        self.conv_rows(x, weight, windows, out, bounds, write, read, shift)

    def delta_rows(self, q, k, v, g, beta, states, out, bounds, write, read) -> None:
        q, k, v = _heads(q, k, v)
        rows, write = _rows(bounds), write.view(len(read), -1)
        state = states[read.long().clamp(min=0)]
        state[read <= 0] = 0
        for column in range(max((last - first for _, first, last in rows), default=0)):
            live = [(row, first + column) for row, first, last in rows if first + column < last]
            at, tokens = (torch.tensor(part) for part in zip(*live))
            o, new = self._recurrent(
                *(part[tokens, None] for part in (q, k, v)),
                g=g[tokens, None],
                beta=beta[tokens, None],
                initial_state=state[at],
                output_final_state=True,
                use_qk_l2norm_in_kernel=True,
            )
            out[tokens], state[at] = o[:, 0], new
            slots = write[at, column].long()
            states[slots[slots > 0]] = new[slots > 0]

    def chunk(self, q, k, v, g, beta, states, bounds, chunks, offsets):
        q, k, v = _heads(q, k, v)
        out, states = torch.zeros_like(v), states.clone()
        for row, first, last in _rows(bounds):
            o, state = self._chunk(
                *(part[None, first:last] for part in (q, k, v)),
                g=g[None, first:last],
                beta=beta[None, first:last],
                initial_state=states[row : row + 1],
                output_final_state=True,
                use_qk_l2norm_in_kernel=True,
            )
            out[first:last], states[row] = o[0], state[0]
        return out, states
