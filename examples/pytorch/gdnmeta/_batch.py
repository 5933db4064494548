"""The rows of one step. `set` writes the whole step from arrays at once; `add` and `push` append a row."""
from __future__ import annotations

import ctypes
from typing import Any, List, Optional, Tuple

import numpy as np

from ._abi import CONSTANTS, lib, text
from ._arrays import HIGH, LOW, blocks_array, int32s, is_scalar, row_array
from ._columns import FIELDS, READ_DEFAULT, TABLE_ROW, Ints
from ._columns import column, length, row_slots, slots_of_row, table_rows
from ._errors import ClosedError, Error, flag, integer, wrong
from ._memory import INT32, Int32s, Owner
from ._rows import Rows, TableRows

ECAP = CONSTANTS["GDN_ECAP"]

UNKNOWN = object()


def _size(blocks: Any, groups: int) -> int:
    """Elements of a row's blocks."""
    wanted = "a list" if groups == 1 else "a list with one per group"
    if isinstance(blocks, (str, bytes, dict, set)):
        raise TypeError(wrong("blocks", blocks, wanted))
    try:
        return len(blocks)
    except TypeError:
        raise TypeError(wrong("blocks", blocks, wanted)) from None


class Batch:
    """Made by Builder.batch, for that builder alone."""

    def __init__(self, builder: int, token: object, table_rows: TableRows, max_tokens: int) -> None:
        out = ctypes.c_void_p()
        status = lib.gdn_batch_new(builder, ctypes.byref(out))
        if status:
            raise Error(text(lib.gdn_strstatus(status)), status)
        assert out.value
        owner = Owner(out.value, lib.gdn_batch_free)
        self._owner: Optional[Owner] = owner
        self._handle = out.value
        self._token, self._table_rows, self._max_tokens = token, table_rows, max_tokens
        self._rows = Rows(owner)
        self._struct: Any = self._rows._struct
        self.max_rows: int = self._struct.max_rows
        names = [array for _, array, _ in FIELDS] + ["table_row"]
        self._arrays: List[Int32s] = [getattr(self._rows, name) for name in names]
        self._own: Int32s = ~np.arange(self.max_rows, dtype=np.int32)
        self._n, self._heads = -1, self._arrays
        # Which number each array holds in all of the rows 0 .. _upto - 1, while nothing else writes; see set.
        self._last: List[object] = [UNKNOWN] * len(names)
        self._upto, self._alone = -1, True

    def _opened(self) -> Any:
        if self._owner is None:
            raise ClosedError("gdnmeta.Batch: closed")
        return self._struct

    @property
    def rows(self) -> Rows:
        """The arrays themselves."""
        self._opened()
        self._alone, self._upto = False, -1
        return self._rows

    @property
    def num_rows(self) -> int:
        n: int = self._opened().num_rows
        return n

    def __len__(self) -> int:
        return self.num_rows

    def set(self, *, query_len: Ints, seq_len: Ints, drafts: Optional[Ints] = None,
            accepted: Optional[Ints] = None, prompt_done: Optional[Ints] = None,
            read_column: Optional[Ints] = None, table_row: Optional[Ints] = None, blocks: Any = None,
            checkpoint_len: Optional[Ints] = None, checkpoint_slot: Any = None) -> None:
        """Replace the rows by n others, all at once; nothing changes where anything is refused. Each argument
        is an int32 array [n], or a number that all rows share; at least one is an array.

        query_len    tokens scheduled this step
        seq_len      tokens computed before this step plus query_len
        drafts       drafts among query_len; default -1: not a speculative row
        accepted     tokens that the row's previous step emitted; default 1
        prompt_done  the whole prompt was computed before this step: bools, or 0 and 1; default False
        read_column  column that holds the current state, -1: fresh; default see gdnmeta.h
        table_row    row of the state tables; or else
        blocks       rows of the batch's own: int32 [n, up to max_blocks_per_row] where there is one group,
                     else [num_groups, n, ...], zeros after what is given
        checkpoint_len   after how many tokens of its sequence a prefill's state is kept as well; default 0:
                     it is not
        checkpoint_slot  where: int32 [n] where there is one group, else [num_groups, n]
        """
        if self._owner is None:
            self._opened()
        values: List[Any] = [query_len, seq_len, drafts, accepted, prompt_done, read_column, checkpoint_len,
                             table_row]
        n = len(seq_len) if type(seq_len) is np.ndarray and seq_len.ndim else length(values, blocks)
        if n > self.max_rows:
            raise Error(f"{n} rows, the batch holds {self.max_rows}", ECAP)
        shape, upto, last, writes, scalars = (n,), self._upto, self._last, [], n > self._upto
        for i, value in enumerate(values):
            if value is last[i] and n <= upto:
                continue  # the number that these rows have already
            if type(value) is not np.ndarray or value.dtype is not INT32 or value.shape != shape:
                if i < TABLE_ROW:
                    value = column(i, value, n)
                    scalars = scalars or type(value) is not np.ndarray
                elif blocks is None:
                    value = table_rows(self._table_rows.least, value, n)
            elif i == TABLE_ROW and n and blocks is None:
                # As unsigned: ~k would mean row k of the blocks of before. argmax takes half of max.
                unsigned = value.view(np.uint32)
                if unsigned[unsigned.argmax()] >= self._table_rows.least:
                    table_rows(self._table_rows.least, value, n)
            writes.append((i, value))
        kept = self._rows.checkpoint_slot
        slots = row_slots(checkpoint_len, checkpoint_slot, len(kept), n)
        if blocks is not None:
            self._set_blocks(table_row, blocks, n)
            writes[-1] = (TABLE_ROW, self._own[:n])
        if slots is not None:
            kept[:, :n] = slots
        self._write(n, values, writes, scalars)

    def _write(self, n: int, given: List[Any], writes: List[Tuple[int, Any]], scalars: bool) -> None:
        if n != self._n:
            self._n, self._heads = n, [array[:n] for array in self._arrays]
        heads, last = self._heads, self._last
        for i, value in writes:
            if type(value) is np.ndarray:
                heads[i][...] = value
                last[i] = UNKNOWN
            else:
                heads[i].fill(value)
                last[i] = given[i]
        if scalars:
            self._upto = n if self._alone else -1
        struct = self._struct
        struct.padded_rows = struct.padded_tokens = struct.indexed = 0
        struct.num_rows = n

    def _set_blocks(self, table_row: Any, blocks: Any, n: int) -> None:
        if table_row is not None:
            raise TypeError("table_row and blocks are both given, want one of them")
        target = self._rows.blocks
        array = blocks_array(blocks, target.shape[0], n, target.shape[2])
        width = array.shape[2]
        target[:, :n, :width] = array
        target[:, :n, width:] = 0

    def push(self, query_len: int, seq_len: int, drafts: Optional[int], accepted: Optional[int],
             prompt_done: bool, table_row: int, read_column: Optional[int] = None) -> int:
        """Append a row whose blocks stand in the state tables; its number."""
        row = integer("table_row", table_row, 0, self._table_rows.least - 1)
        return self._append((query_len, seq_len, drafts, accepted, prompt_done, read_column, None), row)

    def add(self, query_len: int, seq_len: int, blocks: Any, drafts: Optional[int] = None,
            accepted: Optional[int] = None, prompt_done: bool = False,
            read_column: Optional[int] = None, checkpoint_len: Optional[int] = None,
            checkpoint_slot: Any = None) -> int:
        """Append a row with its own blocks: a list, or one per group; its number. checkpoint_slot is a number,
        or one per group."""
        i, target = self.num_rows, self._rows.blocks
        groups, width = target.shape[0], target.shape[2]
        size = _size(blocks, groups)
        nested = groups > 1 or size > 0 and not is_scalar(blocks[0])
        lists = list(blocks) if nested else [blocks]
        if len(lists) != groups:
            raise ValueError(f"blocks has {len(lists)} elements, want {groups}, one list per group")
        new = np.zeros((groups, width), np.int32)
        for group, one in enumerate(lists):
            name = f"blocks[{group}]" if nested else "blocks"
            array = int32s(name, one)
            if len(array) > width:
                raise ValueError(f"{name} has {len(array)} elements, want at most {width}")
            new[group, :len(array)] = array
        kept = slots_of_row(checkpoint_len, checkpoint_slot, groups)
        row = self._append((query_len, seq_len, drafts, accepted, prompt_done, read_column, checkpoint_len), ~i)
        target[:, i] = new
        if kept is not None:
            self._rows.checkpoint_slot[:, i] = kept
        return row

    def _append(self, values: Tuple[Any, ...], table_row: int) -> int:
        struct = self._opened()
        i: int = struct.num_rows
        if struct.padded_rows or struct.padded_tokens:
            raise ValueError("the batch is padded; clear() it first, or add rows before pad()")
        if i >= self.max_rows:
            raise Error(f"{i + 1} rows, the batch holds {self.max_rows}", ECAP)
        lows = (0, LOW, -1, LOW, 0, READ_DEFAULT, 0)
        numbers = []
        for (name, _, default), value, low in zip(FIELDS, values, lows):
            if value is None and default is not None:
                value = default
            numbers.append(flag(name, value) if name == "prompt_done" else integer(name, value, low, HIGH))
        for array, value in zip(self._arrays, numbers + [table_row]):
            array[i] = value
        self._upto = min(self._upto, i)
        struct.num_rows = i + 1
        return i

    def pad(self, rows: int, tokens: int) -> None:
        """Rows and tokens of the step with its padding, which the build makes after the real rows."""
        struct = self._opened()
        n: int = struct.num_rows
        real = int(self._arrays[0][:n].sum(dtype=np.int64))
        integer("rows", rows, n, HIGH)
        integer("tokens", tokens, real, HIGH)
        if rows > self.max_rows:
            raise Error(f"{rows} rows, the batch holds {self.max_rows}", ECAP)
        if tokens > self._max_tokens:
            raise Error(f"{tokens} tokens, the builder takes {self._max_tokens}", ECAP)
        struct.padded_rows, struct.padded_tokens = rows, tokens
        self._upto = min(self._upto, n)  # the build writes the rest

    def index(self, seq_index: Optional[Ints] = None, accepted_index: Optional[Ints] = None) -> None:
        """Which elements of the device's arrays belong to the rows, int32 [n] each; -1, or None: those of the
        rows' own numbers. An accepted_index of -2: the row's own count."""
        struct = self._opened()
        if not struct.seq_index:
            raise ValueError("gdnmeta.Batch.index: the builder's device is the CPU, want a CUDA device")
        n: int = struct.num_rows
        arrays = [("seq_index", seq_index, -1), ("accepted_index", accepted_index, -2)]
        judged = []
        for name, value, least in arrays:
            array = row_array(name, value, n) if value is not None else np.full(n, -1, np.int32)
            if n and array.min() < least:
                at = int(np.argmax(array < least))
                raise ValueError(wrong(f"{name}[{at}]", int(array[at]), f"an integer in {least} .. {HIGH}"))
            judged.append((name, array))
        for name, array in judged:
            target = getattr(self._rows, name)
            target[:n] = array
            target[n:] = -1
        struct.indexed = 1

    def clear(self) -> None:
        """Empty the batch for the next step."""
        struct = self._opened()
        struct.num_rows = struct.padded_rows = struct.padded_tokens = struct.indexed = 0

    def close(self) -> None:
        """Free the batch, once no array over its rows is held any more either."""
        self._owner = None
        self.__dict__.update(_rows=None, _struct=None, _arrays=[], _heads=[], _n=-1, _handle=0)

    def __enter__(self) -> Batch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        if self._owner is None:
            return "gdnmeta.Batch(closed)"
        return f"gdnmeta.Batch({self.num_rows} of {self.max_rows} rows)"
