"""Arrays of the host, as arguments: int32 from whatever a caller has, or a message that names argument, value
and what was wanted. Arrays of int32 and CPU tensors are taken without a copy."""
from __future__ import annotations

from typing import Any, Tuple

import numpy as np

from ._errors import show, wrong
from ._memory import INT32, AnyArray, Int32s

LOW, HIGH = -2**31, 2**31 - 1
HOST_DEVICES = (1, 3)  # DLPack's CPU, and pinned memory
BOOL = np.dtype(np.bool_)


def _first_bad(name: str, value: Any, flags: bool) -> str:
    """Which element of a list is no int32, as a message."""
    if isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            message = _first_bad(f"{name}[{i}]", item, flags)
            if message:
                return message
        return ""
    if hasattr(value, "__array__") and getattr(value, "shape", ()) != ():
        return ""
    whole = hasattr(type(value), "__index__") and (flags or not isinstance(value, bool))
    if not whole or not LOW <= int(value) <= HIGH:
        return wrong(name, value, f"an integer in {LOW} .. {HIGH}")
    return ""


def _as_array(name: str, value: Any, flags: bool) -> AnyArray:
    """Anything as a numpy array, of whatever dtype."""
    if isinstance(value, (str, bytes, dict, set)) or value is None or isinstance(value, (bool, int, float)):
        raise TypeError(wrong(name, value, "an int32 array or a list"))
    where = getattr(value, "__dlpack_device__", None)
    if where is not None and not isinstance(value, np.ndarray) and int(where()[0]) not in HOST_DEVICES:
        raise ValueError(f"{name} is on device {getattr(value, 'device', where())}, want memory of the host")
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, OverflowError, RuntimeError) as error:
        message = _first_bad(name, value, flags)
        raise TypeError(message or f"{name} is no array: {error}") from None
    if array.size == 0 and isinstance(value, (list, tuple)):
        array = array.astype(INT32)
    if array.dtype.kind in "iu" or flags and array.dtype.kind == "b":
        return array
    message = _first_bad(name, value, flags) if isinstance(value, (list, tuple)) else ""
    raise TypeError(message or f"{name} has dtype {array.dtype}, want int32")


def int32s(name: str, value: Any, ndim: int = 1, flags: bool = False, contiguous: bool = False) -> Int32s:
    """`value` as an int32 array of `ndim` dimensions. Wider integers are taken where every one fits; with
    `flags` bools as well. Contiguous, if that is asked for, at the price of a copy where it is not."""
    array = value
    if type(array) is not np.ndarray or array.dtype is not INT32:
        array = _as_array(name, value, flags)
        if array.dtype != INT32:
            array = _narrow(name, array)
    if array.ndim != ndim:
        plural = "s" if ndim > 1 else ""
        raise ValueError(f"{name} has shape {_shape(array.shape)}, want {ndim} dimension{plural}")
    if contiguous and not array.flags.c_contiguous:
        array = np.ascontiguousarray(array)
    result: Int32s = array
    return result


def _narrow(name: str, array: AnyArray) -> Int32s:
    if array.size and array.dtype.kind != "b" and (array.min() < LOW or array.max() > HIGH):
        at = np.unravel_index(int(np.argmax((array < LOW) | (array > HIGH))), array.shape)
        where = "".join(f"[{i}]" for i in at)
        raise ValueError(wrong(name + where, int(array[at]), f"an integer in {LOW} .. {HIGH}"))
    return array.astype(INT32)


def row_array(name: str, value: Any, n: int, flags: bool = False) -> AnyArray:
    """One element a row."""
    array = int32s(name, value, 1, flags)
    if len(array) != n:
        raise ValueError(f"{name} has {len(array)} elements, want {n}, one per row")
    return array


def is_scalar(value: Any) -> bool:
    return isinstance(value, (bool, int, float, str, bytes)) or getattr(value, "shape", None) == ()


def blocks_array(value: Any, groups: int, n: int, width: int) -> Int32s:
    """Blocks of n rows as int32 [groups, n, up to width]; one group does without the first dimension."""
    if isinstance(value, (list, tuple)) and groups > 1 and len(value) != groups:
        raise ValueError(f"blocks has {len(value)} elements, want {groups}, one table per group")
    array = _as_array("blocks", value, False)
    if groups == 1 and array.ndim == 2:
        array = array[np.newaxis]
    wanted = f"[{n}, 0 .. {width}]" if groups == 1 else f"[{groups}, {n}, 0 .. {width}]"
    if array.ndim != 3 or array.shape[:2] != (groups, n) or array.shape[2] > width:
        raise ValueError(f"blocks has shape {_shape(np.shape(value))}, want {wanted}")
    return int32s("blocks", array, 3)


def _shape(shape: Tuple[int, ...]) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"


__all__ = ["int32s", "row_array", "blocks_array", "is_scalar", "show", "LOW", "HIGH"]
