"""Puts a host's rows into the order that a build wants: see gdn_reorder."""
from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ._abi import lib
from ._arrays import int32s
from ._errors import integer
from ._memory import Int32s


class Order(NamedTuple):
    modified: bool
    order: Int32s  # [n] the old row now at each place
    swaps: Int32s  # [k, 2] pairs of rows to exchange, one after the other


def reorder(*, decode_threshold: int, num_scheduled: Any, num_computed: Any, num_prompt: Any) -> Order:
    """Rows by region: decodes, short extends (at most decode_threshold tokens), long extends, first chunks.
    The three are int32 [n], tokens of each row."""
    integer("decode_threshold", decode_threshold, 0, 2**31 - 1)
    named = (("num_scheduled", num_scheduled), ("num_computed", num_computed), ("num_prompt", num_prompt))
    arrays = [int32s(name, value, contiguous=True) for name, value in named]
    n = len(arrays[0])
    for (name, _), array in zip(named, arrays):
        if len(array) != n:
            raise ValueError(f"{name} has {len(array)} elements, want {n}")
    order, swaps, work = np.zeros(n, np.int32), np.zeros((n, 2), np.int32), np.zeros(3 * n, np.int32)
    count = lib.gdn_reorder(n, decode_threshold, *(a.ctypes.data for a in (*arrays, order, swaps, work)))
    return Order(count > 0, order, swaps[:count])
