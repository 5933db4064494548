"""The upstream builder's own arguments as a gdn_raw."""
from __future__ import annotations

import ctypes
from typing import Any, Dict, List, Sequence, Tuple, TypedDict, Union

import numpy as np

from ._abi import STRUCTS
from ._arrays import HIGH, LOW, int32s
from ._errors import integer
from ._memory import Int32s


class Inputs(TypedDict, total=False):
    """What build_raw and capture take: arrays of the host, numpy's or torch's, or lists. None: not given."""

    query_start_loc: Any          # int32 [R + 1]
    seq_lens: Any                 # int32 [R]
    block_table: Any              # int32 [R, columns], or one such array a group; rows may be strided
    num_accepted_tokens: Any      # int32 [R]
    num_decode_draft_tokens: Any  # int32 [R]; -1: none
    prompt_done: Any              # bools, or 0 and 1 [R]; default: rows that could be decodes are
    read_column: Any              # int32 [R]
    seq_index: Any                # int32 [R], with borrow_device_seq_lens
    accepted_index: Any           # int32 [R], with borrow_device_accepted
    num_reqs: Any                 # rows, padding included; default R
    num_actual_tokens: Any        # tokens, padding included; default query_start_loc[R]
    max_query_len: Any            # default: the longest


ARRAYS = ("query_start_loc", "seq_lens", "num_accepted_tokens", "num_decode_draft_tokens")
ROW_ARRAYS = ("prompt_done", "read_column", "seq_index", "accepted_index")  # as long as there are rows
SCALARS = ("num_reqs", "num_actual_tokens", "max_query_len")
KNOWN = ARRAYS + ROW_ARRAYS + SCALARS + ("block_table",)


def _tables(value: Any, groups: int) -> List[Int32s]:
    """One table a group, all of one shape and stride."""
    if groups > 1:
        if not isinstance(value, (list, tuple)) and getattr(value, "ndim", 0) != 3 or len(value) != groups:
            count = f"{len(value)} elements" if hasattr(value, "__len__") else "no length"
            raise ValueError(f"block_table has {count}, want {groups}, one table per group")
        named = [(f"block_table[{group}]", table) for group, table in enumerate(value)]
    elif getattr(value, "ndim", 2) == 3 or _is_list_of_one_table(value):
        if len(value) != 1:
            raise ValueError(f"block_table has {len(value)} elements, want 1, one table per group")
        named = [("block_table[0]", value[0])]
    else:
        named = [("block_table", value)]
    none = np.zeros((0, 0), np.int32)
    tables = [none if _empty(table) else int32s(name, table, 2) for name, table in named]
    for (name, _), table in zip(named, tables):
        if table.shape != tables[0].shape:
            raise ValueError(f"{name} is {table.shape[0]} x {table.shape[1]}, "
                             f"want {tables[0].shape[0]} x {tables[0].shape[1]} like the first")
    if any(table.strides != tables[0].strides or not _rows_in_place(table) for table in tables):
        tables = [np.ascontiguousarray(table) for table in tables]
    return tables


def _empty(table: Any) -> bool:
    return isinstance(table, (list, tuple)) and not table


def _is_list_of_one_table(value: Any) -> bool:
    if not isinstance(value, (list, tuple)) or len(value) != 1:
        return False
    first = value[0]
    if isinstance(first, (list, tuple)):
        return bool(first) and hasattr(first[0], "__len__")
    return getattr(first, "ndim", 0) == 2


def _rows_in_place(table: Int32s) -> bool:
    """Do its rows lie one after the other, each without gaps?"""
    row, column = table.strides
    return column == 4 and row % 4 == 0 and row >= 4 * table.shape[1] or table.size == 0


def fill(inputs: Dict[str, Any], groups: int) -> Tuple[ctypes.Structure, Sequence[object]]:
    """The gdn_raw of `inputs`, and what must live until the call is over."""
    raw = STRUCTS["gdn_raw"]()
    raw.size = ctypes.sizeof(raw)
    alive: List[Any] = []
    for name in inputs:
        if name not in KNOWN:
            raise TypeError(f"unknown input {name}, want one of {', '.join(KNOWN)}")
    if inputs.get("query_start_loc") is None:
        raise TypeError("query_start_loc is not given, want int32 [rows + 1]")
    lengths: Dict[str, int] = {}
    for name in ARRAYS + ROW_ARRAYS:
        if inputs.get(name) is not None:
            array = int32s(name, inputs[name], 1, name == "prompt_done", contiguous=True)
            alive.append(array)
            setattr(raw, name, array.ctypes.data)
            lengths[name] = len(array)
    for name in ARRAYS:
        setattr(raw, f"num_{name}", lengths.get(name, 0))
    loc: Int32s = alive[0]
    rows = len(loc) - 1
    for name in ROW_ARRAYS:
        if lengths.get(name, rows) != rows:
            raise ValueError(f"{name} has {lengths[name]} elements, want {rows}, one per row")
    if inputs.get("block_table") is not None:
        tables = _tables(inputs["block_table"], groups)
        pointers = (ctypes.c_void_p * groups)(*(table.ctypes.data for table in tables))
        alive += [tables, pointers]
        raw.block_tables = ctypes.addressof(pointers)
        raw.block_table_rows, raw.block_table_cols = tables[0].shape
        in_place = tables[0].size > 0 and tables[0].shape[0] > 1
        raw.block_table_stride = tables[0].strides[0] // 4 if in_place else tables[0].shape[1]
    raw.num_reqs, raw.num_actual_tokens = max(rows, 0), int(loc[rows]) if rows > 0 else 0
    longest = int(np.diff(loc.astype(np.int64)).max()) if rows > 0 else 0
    raw.max_query_len = min(max(longest, 0), HIGH)
    for name in SCALARS:
        if inputs.get(name) is not None:
            setattr(raw, name, integer(name, inputs[name], LOW, HIGH))
    return raw, alive


Stream = Union[None, int, Any]
