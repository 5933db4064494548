"""The arrays of a gdn_batch, as numpy has them."""
from __future__ import annotations

import ctypes
from typing import Any

from ._abi import STRUCTS
from ._errors import integer
from ._memory import Owner, array_at


class TableRows:
    """How many rows the tables of all groups have: shared by a builder and its batches."""

    def __init__(self, least: int) -> None:
        self.least = least


class Rows:
    """The arrays of a gdn_batch, for hosts that write them on their own: int32 [max_rows],
    checkpoint_slot [num_groups, max_rows] and blocks [num_groups, max_rows, max_blocks_per_row]. num_rows
    says how many of the rows there are."""

    def __init__(self, owner: Owner) -> None:
        self._struct: Any = STRUCTS["gdn_batch"].from_address(owner.handle)
        c = self._struct
        for name, kind in getattr(STRUCTS["gdn_batch"], "_fields_"):
            address = getattr(c, name)
            # seq_index and accepted_index are there on CUDA alone.
            if kind is ctypes.c_void_p and name not in ("blocks", "checkpoint_slot"):
                setattr(self, name, array_at(owner, address, (c.max_rows,)) if address else None)
        self.blocks = array_at(owner, c.blocks, (c.num_groups, c.max_rows, c.max_blocks_per_row))
        self.checkpoint_slot = array_at(owner, c.checkpoint_slot, (c.num_groups, c.max_rows))
        self._owner = owner

    @property
    def num_rows(self) -> int:
        n: int = self._struct.num_rows
        return n

    @num_rows.setter
    def num_rows(self, n: int) -> None:
        self._struct.num_rows = integer("num_rows", n, 0, self._struct.max_rows)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"gdnmeta.Rows: no field {name}")
