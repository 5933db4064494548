"""Arguments of Batch.set and add as what is written into the batch's arrays, or refused by name."""
from __future__ import annotations

from typing import Any, List, Sequence, Union

import numpy as np

from ._abi import CONSTANTS
from ._arrays import BOOL, HIGH, LOW, int32s, is_scalar, row_array
from ._errors import integer, wrong
from ._memory import Int32s

Ints = Union[int, Sequence[int], Int32s, Any]  # an int32 array, or one number for all rows
READ_DEFAULT = CONSTANTS["GDN_READ_DEFAULT"]

# Arguments of set, the array of gdn_batch that each becomes, and its default.
FIELDS = (("query_len", "query_len", None), ("seq_len", "seq_len", None), ("drafts", "num_draft_tokens", -1),
          ("accepted", "num_accepted_tokens", 1), ("prompt_done", "prompt_done", 0),
          ("read_column", "read_column", READ_DEFAULT), ("checkpoint_len", "checkpoint_len", 0))
TABLE_ROW = len(FIELDS)


def length(values: List[Any], blocks: Any) -> int:
    names = [name for name, _, _ in FIELDS] + ["table_row"]
    for name, value in zip(names, values):
        if value is not None and not is_scalar(value):
            try:
                return len(value)
            except TypeError:
                raise TypeError(wrong(name, value, "an int32 array or a number")) from None
    if blocks is not None:
        shape = np.shape(blocks)
        if len(shape) >= 2:
            return int(shape[-2])
    raise TypeError("seq_len is a number like all others, want an array of one element a row")


def column(i: int, value: Any, n: int) -> Any:
    """What is written for argument i: a number, or an array [n]."""
    name, _, default = FIELDS[i]
    if type(value) is int and LOW <= value <= HIGH:
        return value
    flags = name == "prompt_done"
    if value is None and default is not None:
        return default
    if type(value) is np.ndarray and flags and value.dtype is BOOL and value.shape == (n,):
        return value
    if is_scalar(value):
        if flags and isinstance(value, (bool, np.bool_)):
            return int(value)
        return integer(name, value, LOW, HIGH)
    return row_array(name, value, n, flags)


def table_rows(least: int, value: Any, n: int) -> Any:
    last = least - 1
    if value is None:
        raise TypeError("neither table_row nor blocks is given, want rows "
                        f"0 .. {last} of the state tables, or blocks of the rows' own")
    if is_scalar(value):
        return integer("table_row", value, 0, last)
    value = row_array("table_row", value, n)
    if n and (value.min() < 0 or value.max() > last):
        at = int(np.argmax((value < 0) | (value > last)))
        raise ValueError(wrong(f"table_row[{at}]", int(value[at]), f"an integer in 0 .. {last}"))
    return value


def row_slots(lengths: Any, slots: Any, groups: int, n: int) -> Any:
    """checkpoint_slot of n rows, int32 [num_groups, n]; None where no row asks for a checkpoint."""
    if slots is None:
        if lengths is not None and np.any(lengths):
            raise TypeError("checkpoint_slot is not given, want where the states at checkpoint_len go")
        return None
    want = [n] if np.ndim(slots) == 1 and groups == 1 else [groups, n]
    if list(np.shape(slots)) != want:
        axes = "[num_groups, n]" if groups > 1 else "[n]"
        raise ValueError(f"checkpoint_slot has shape {list(np.shape(slots))}, want {want}: {axes}")
    return int32s("checkpoint_slot", np.reshape(slots, -1)).reshape(groups, n)


def slots_of_row(length: Any, slots: Any, groups: int) -> Any:
    """checkpoint_slot of one row, int32 [num_groups]; None where it asks for no checkpoint."""
    if slots is None:
        if length:
            raise TypeError("checkpoint_slot is not given, want where the state at checkpoint_len goes")
        return None
    array = int32s("checkpoint_slot", [slots] if is_scalar(slots) else slots)
    if len(array) != groups:
        raise ValueError(f"checkpoint_slot has {len(array)} elements, want {groups}, one per group")
    return array
