"""State tables, and inputs that a builder reads where they are: those parts of Builder."""
from __future__ import annotations

from typing import Any, Dict, Optional

import numpy as np

from . import _device
from ._abi import lib
from ._arrays import int32s, is_scalar
from ._errors import integer
from ._memory import Int32s, array_at
from ._rows import TableRows
from ._tensor import Core


class Tables:
    """What Builder says of its groups' state tables and of device inputs."""

    num_groups: int
    max_requests: int
    max_blocks_per_row: int
    device: str
    _core: Core
    _table_rows: TableRows
    _foreign: Dict[int, int]  # rows of tables that are not the builder's own

    def _opened(self) -> int:
        raise NotImplementedError

    def _call(self, function: Any, *arguments: Any) -> None:
        raise NotImplementedError

    def _group(self, group: int) -> int:
        return integer("group", group, 0, self.num_groups - 1)

    def table(self, group: int) -> Int32s:
        """A group's state table, to be written: int32 [max_requests, max_blocks_per_row]."""
        handle = self._opened()
        address = lib.gdn_builder_table(handle, self._group(group))
        if not address:
            raise ValueError(f"group {group} borrows its table")
        return array_at(self._core.owner, address, (self.max_requests, self.max_blocks_per_row))

    def set_blocks(self, group: int, table_row: Any, blocks: Any) -> None:
        """Write rows of a group's state table, zeros after what is given: one row and its list, or rows [n]
        and blocks [n, up to max_blocks_per_row]."""
        table, one = self.table(group), is_scalar(table_row)
        if one:
            rows = np.array([integer("table_row", table_row, 0, self.max_requests - 1)], np.int32)
            cells = int32s("blocks", blocks)[np.newaxis]
        else:
            rows, cells = int32s("table_row", table_row), int32s("blocks", blocks, 2)
            for at, row in enumerate(rows.tolist()):
                integer(f"table_row[{at}]", row, 0, self.max_requests - 1)
            if len(cells) != len(rows):
                raise ValueError(f"blocks has {len(cells)} rows, want {len(rows)}, one for each table_row")
        width = cells.shape[1]
        if width > self.max_blocks_per_row:
            raise ValueError(f"blocks has {width} elements, want at most {self.max_blocks_per_row}")
        table[rows, :width] = cells
        table[rows, width:] = 0

    def _took_table(self, group: int, rows: Optional[int], alive: object) -> None:
        self._core.borrowed[group] = alive
        if rows is None:
            self._foreign.pop(group, None)
        else:
            self._foreign[group] = rows
        self._table_rows.least = min(self._foreign.get(g, self.max_requests) for g in range(self.num_groups))

    def borrow_table(self, group: int, cells: Optional[Any]) -> None:
        """Read the host's own table, int32 [rows, at least max_blocks_per_row], in place of the builder's. It
        is kept alive, may be written between builds, and may have strided rows. None: the builder's."""
        self._opened()
        group = self._group(group)
        if cells is None:
            self._call(lib.gdn_builder_borrow_table, group, None, 0, 0)
            return self._took_table(group, None, None)
        array = int32s("cells", cells, 2)
        dtype = getattr(cells, "dtype", type(cells).__name__)
        if array is not cells and str(dtype).replace("torch.", "") != "int32":
            raise TypeError(f"cells has dtype {dtype}, want int32, to be read in place")
        (rows, columns), (row_step, step), width = array.shape, array.strides, self.max_blocks_per_row
        if rows < 1 or columns < width:
            raise ValueError(f"cells is {rows} x {columns}, want at least 1 x {width}")
        if step != 4 and columns > 1 or row_step < 4 * columns or row_step % 4:
            raise ValueError(f"cells has strides {list(array.strides)} bytes, want rows in a row")
        self._call(lib.gdn_builder_borrow_table, group, array.ctypes.data, array.strides[0] // 4, len(array))
        self._took_table(group, len(array), (cells, array))

    def _ordinal(self) -> int:
        self._opened()
        if self.device == "cpu":
            raise ValueError("the builder's device is the CPU, want a CUDA device")
        return self._core.device[1]

    def borrow_device_table(self, group: int, cells: Any, row_stride: Optional[int] = None,
                            rows: Optional[int] = None) -> None:
        """Read a group's state table where it is, on the device: an int32 CUDA tensor [rows, at least
        max_blocks_per_row], or an address with row_stride and rows. None: back to the builder's own."""
        ordinal, group = self._ordinal(), self._group(group)
        if cells is None:
            self._call(lib.gdn_builder_borrow_device_table, group, None, 0, 0)
            return self._took_table(group, None, None)
        at, stride, n = _device.table("cells", cells, row_stride, rows, self.max_blocks_per_row, ordinal)
        self._call(lib.gdn_builder_borrow_device_table, group, at, stride, n)
        self._took_table(group, n, cells)

    def _borrow_vector(self, function: Any, key: str, memory: Any, n: Optional[int]) -> None:
        ordinal = self._ordinal()
        at, count = (None, 0) if memory is None else _device.vector("memory", memory, n, ordinal)
        self._call(function, at, count)
        self._core.borrowed[key] = memory

    def borrow_device_seq_lens(self, memory: Any, n: Optional[int] = None) -> None:
        """Read seq_len on the device: an int32 CUDA tensor [n], or an address; see Batch.index. None: back to
        the host's. Rows with nothing computed are then told by read_column = -1."""
        self._borrow_vector(lib.gdn_builder_borrow_device_seq_lens, "seq_lens", memory, n)

    def borrow_device_accepted(self, memory: Any, n: Optional[int] = None) -> None:
        """Read num_accepted_tokens on the device, likewise."""
        self._borrow_vector(lib.gdn_builder_borrow_device_accepted, "accepted", memory, n)
