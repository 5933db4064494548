"""States that prefills leave on the way, after so many tokens of a text: others begin there. The kernel of a chunk
returns the state at its end alone, so the tokens up to the place are run once more, from where the row began."""

from __future__ import annotations

import numpy as np
import torch

CHUNK = 64  # tokens of the kernel's own chunks


class Checkpoints:
    """Those of a step, for the eager pass."""

    def __init__(self, step, device) -> None:
        plain = np.flatnonzero(step.drafts < 0)  # whose tokens follow each other, in this order
        first = np.cumsum(step.query_len[plain]) - step.query_len[plain]
        rows = [(row, start) for row, start in zip(plain, first) if step.checkpoint_len[row] > 0]
        at, self.first = (np.array(part) for part in zip(*rows))
        self.length = step.checkpoint_len[at] - (step.seq_len - step.query_len)[at]
        bounds = np.concatenate([[0], np.cumsum(self.length)]).astype(np.int32)
        chunks = [(row, k) for row, n in enumerate(self.length) for k in range(-(-n // CHUNK))]
        offsets = np.concatenate([[0], np.cumsum(-(-self.length // CHUNK))]).astype(np.int64)
        tokens = np.concatenate([np.arange(a, a + n) for a, n in zip(self.first, self.length)])

        def put(values, dtype):
            return torch.from_numpy(np.ascontiguousarray(values, dtype)).to(device)

        self.bounds, self.chunks, self.offsets = put(bounds, np.int32), put(chunks, np.int32), put(offsets, np.int64)
        self.tokens = put(tokens, np.int64)
        self.read = [put(slots[at], np.int64) for slots in step.read_slots]
        self.write = [put(slots[at], np.int64) for slots in step.checkpoint_slot]
        self.shift = (step.accepted_tokens[at] - 1).tolist()

    def before(self, layer):
        """States and windows that the rows begin with, before the kernels write others."""
        read, pool, taps = self.read[layer.group], layer.pool, layer.weight.shape[1]
        states, windows = pool.states[read], pool.windows[read]
        windows = torch.stack([part[:, h : h + taps - 1] for part, h in zip(windows, self.shift)])
        states[read <= 0], windows[read <= 0] = 0, 0
        return states, windows

    def keep(self, layer, before, x, parts) -> None:
        """Inputs x of the convolution and q, k, v, g, beta of all plain tokens."""
        write, pool, taps = self.write[layer.group], layer.pool, layer.weight.shape[1]
        given = (part[self.tokens].contiguous() for part in parts)
        _, states = layer.kernels.chunk(*given, before[0], self.bounds, self.chunks, self.offsets)
        pool.states[write] = states
        for row, (first, n) in enumerate(zip(self.first.tolist(), self.length.tolist())):
            inputs = torch.cat([before[1][row], x[first : first + n].T], 1)
            pool.windows[write[row], :, : taps - 1] = inputs[:, 1 - taps :]
