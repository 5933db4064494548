"""What a step brings to the device besides its metadata: one buffer at an address that never changes, filled on
the host and copied at once. Nothing is left of the step before: every element is written, but for those that follow
from the lengths of rows alone, where these are as they were."""

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
        self.copied = torch.cuda.Event() if on_gpu else None  # behind the last copy
        self.choices = None  # whose bounds, tiles and places are there
        self.host: Dict[str, np.ndarray] = dict(zip(sizes, np.split(self.staged.numpy(), np.cumsum([*sizes.values()]))))
        for name, part in zip(sizes, self.device.split([*sizes.values()])):
            setattr(self, name, part)

    def fill(self, step, choices=None, ids=(), positions=(), places=()) -> None:
        """A step's rows, its runner.Choices, and ids, positions and places of its tokens; None: no rows. Waits until the
        device has taken the copy before: nobody has waited for a step that chose no token."""
        if self.copied:
            self.copied.synchronize()
        own_block = self.limits.kv_blocks * self.limits.kv_block_size  # of padding
        for name, values, padding in (
            ("ids", ids, 0),
            ("positions", positions, 0),
            ("places", places, own_block),
            ("seq_len", () if step is None else step.seq_len, 0),
            ("table_row", () if step is None else step.table_row, 0),
        ):
            self._put(name, values, padding)
        if choices is None or choices is not self.choices:
            self.choices = choices
            self._lengths(np.zeros(0, np.int32) if step is None else step.query_len)
            self._put("at", () if choices is None else choices.at, self.tokens)
        self.device.copy_(self.staged, non_blocking=True)
        if self.copied:
            self.copied.record()

    def _put(self, name: str, values, padding: int) -> None:
        host, n = self.host[name], len(values)
        host[:n] = values
        if n < len(host):
            host[n:] = padding

    def _lengths(self, lengths) -> None:
        """What follows from them: bounds and attention tiles."""
        bounds, of_row = np.append(0, np.cumsum(lengths)), -(-lengths // self.tile)
        self._put("bounds", bounds, bounds[-1])
        self._put("tile_rows", np.repeat(np.arange(len(lengths)), of_row), -1)
        self._put("tile_of", np.arange(of_row.sum()) - np.repeat(np.cumsum(of_row) - of_row, of_row), 0)
