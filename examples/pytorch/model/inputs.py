"""What a step brings to the device besides its metadata: one buffer at an address that never changes, filled on
the host and copied at once. Every element is written for every step, so nothing is left of the step before."""

from __future__ import annotations

from typing import Dict

import numpy as np
import torch

MIXED_TILE = 16  # queries of an attention tile in steps with prompts


def tile_size(rows: int, tokens: int, drafts: int) -> int:
    """Queries of an attention tile: as many as a decode or a speculative row has, where a bucket holds no more."""
    return 1 << drafts.bit_length() if tokens <= rows * (drafts + 1) else MIXED_TILE


def most_choices(limits, rows: int, tokens: int) -> int:
    """The most that a bucket's steps make."""
    return min(tokens, rows * (limits.num_speculative_tokens + 1))


class Inputs:
    """Of a bucket of `rows` and `tokens`. int32 on the device:

    ids, positions, places  [T + 1] token ids, positions in their texts, and where their keys and values go
    bounds [R + 1], seq_len, table_row [R]   rows of the batch, as blocks.Rows has them
    tile_rows, tile_of  [count]     attention tiles, as blocks.Tiles has them
    at  [choices]                   tokens after which one is chosen; padding: T"""

    def __init__(self, limits, rows: int, tokens: int, device) -> None:
        self.limits, self.rows, self.tokens = limits, rows, tokens
        self.tile = tile_size(rows, tokens, limits.num_speculative_tokens)
        count = min(tokens, tokens // self.tile + rows)
        sizes = {
            "ids": tokens + 1,
            "positions": tokens + 1,
            "places": tokens + 1,
            "bounds": rows + 1,
            "seq_len": rows,
            "table_row": rows,
            "tile_rows": count,
            "tile_of": count,
            "at": most_choices(limits, rows, tokens),
        }
        on_gpu = torch.device(device).type == "cuda"
        self.staged = torch.zeros(sum(sizes.values()), dtype=torch.int32, pin_memory=on_gpu)
        self.device = torch.zeros_like(self.staged, device=device)
        self.host: Dict[str, np.ndarray] = dict(zip(sizes, np.split(self.staged.numpy(), np.cumsum([*sizes.values()]))))
        for name, part in zip(sizes, self.device.split([*sizes.values()])):
            setattr(self, name, part)

    def fill(self, step, ids=(), positions=(), places=(), choices=None) -> None:
        """A step's rows, with ids, positions and places of its tokens, and its runner.Choices; None: no rows. The device
        must be done with the copy before: a step's tokens have been read since."""
        n, host = 0 if step is None else step.num_rows, self.host
        lengths = np.zeros(0, np.int32) if step is None else step.query_len
        bounds, at = (np.zeros(1, np.int32), ()) if choices is None else (choices.bounds, choices.at)
        last = int(bounds[n])
        for name, values, padding in (
            ("ids", ids, 0),
            ("positions", positions, 0),
            ("places", places, self.limits.kv_blocks * self.limits.kv_block_size),  # a block of padding's own
        ):
            if last:
                host[name][:last] = values[:last]
            host[name][last:] = padding
        host["bounds"][: n + 1], host["bounds"][n + 1 :] = bounds, last
        host["at"][: len(at)], host["at"][len(at) :] = at, self.tokens
        for name, values in (("seq_len", step and step.seq_len), ("table_row", step and step.table_row)):
            if n:
                host[name][:n] = values
            host[name][n:] = 0
        self._tiles(lengths)
        self.device.copy_(self.staged, non_blocking=True)

    def _tiles(self, lengths) -> None:
        of_row, tile_rows, tile_of = -(-lengths // self.tile), self.host["tile_rows"], self.host["tile_of"]
        count = int(of_row.sum())
        tile_rows[:count] = np.repeat(np.arange(len(lengths)), of_row)
        tile_of[:count] = np.arange(count) - np.repeat(np.cumsum(of_row) - of_row, of_row)
        tile_rows[count:], tile_of[count:] = -1, 0
