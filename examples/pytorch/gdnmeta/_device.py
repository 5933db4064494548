"""Memory of a device, as an argument: a CUDA tensor of any library that speaks DLPack or
__cuda_array_interface__, or an address. Tensors tell their device, type and shape, and are checked by them;
of addresses the driver is asked."""
from __future__ import annotations

import ctypes
from typing import Any, NamedTuple, Optional, Tuple

from ._abi import STRUCTS
from ._errors import integer, wrong
from ._tensor import _pointer

CUDA_DEVICES = (2, 13)  # DLPack's CUDA, and managed memory
ADDRESSES = 2**63 - 1


class Memory(NamedTuple):
    address: int
    shape: Optional[Tuple[int, ...]]    # None: an address alone
    strides: Optional[Tuple[int, ...]]  # elements


def _from_dlpack(name: str, value: Any, ordinal: int) -> Memory:
    kind, index = (int(part) for part in value.__dlpack_device__())
    if kind not in CUDA_DEVICES or index != ordinal:
        where = getattr(value, "device", (kind, index))
        raise ValueError(f"{name} is on device {where}, want cuda:{ordinal}")
    capsule = value.__dlpack__(stream=-1)  # the caller orders the streams; nothing waits here
    at = _pointer(id(capsule), b"dltensor")
    t: Any = STRUCTS["gdn_dlpack_unversioned"].from_address(at).dl_tensor
    shape = tuple((ctypes.c_int64 * t.ndim).from_address(t.shape)) if t.ndim else ()
    strides = tuple((ctypes.c_int64 * t.ndim).from_address(t.strides)) if t.ndim and t.strides else None
    if (t.code, t.bits, t.lanes) != (0, 32, 1):
        raise TypeError(f"{name} has dtype {getattr(value, 'dtype', (t.code, t.bits))}, want int32")
    return Memory((t.data or 0) + t.byte_offset, shape, strides or contiguous(shape))


def _from_interface(name: str, interface: Any) -> Memory:
    if interface["typestr"] not in ("<i4", "=i4"):
        raise TypeError(f"{name} has dtype {interface['typestr']}, want int32")
    shape, strides = tuple(interface["shape"]), interface.get("strides")
    if strides and any(step % 4 for step in strides):
        raise ValueError(f"{name} has strides {list(strides)} bytes, want whole elements")
    elements = tuple(step // 4 for step in strides) if strides else contiguous(shape)
    return Memory(interface["data"][0] or 0, shape, elements)


def contiguous(shape: Tuple[int, ...]) -> Tuple[int, ...]:
    strides, step = [], 1
    for length in reversed(shape):
        strides.append(step)
        step *= length
    return tuple(reversed(strides))


def memory_of(name: str, value: Any, ndim: int, ordinal: int) -> Memory:
    if isinstance(value, int) and not isinstance(value, bool):
        return Memory(integer(name, value, 1, ADDRESSES), None, None)
    if hasattr(value, "__dlpack__") and hasattr(value, "__dlpack_device__"):
        memory = _from_dlpack(name, value, ordinal)
    elif hasattr(value, "__cuda_array_interface__"):
        memory = _from_interface(name, value.__cuda_array_interface__)
    else:
        raise TypeError(wrong(name, value, "a CUDA tensor or an address"))
    shape, strides = memory.shape or (), memory.strides or ()
    if len(shape) != ndim:
        raise ValueError(f"{name} has shape {list(shape)}, want {ndim} dimension{'s' if ndim > 1 else ''}")
    if shape[-1] > 1 and strides[-1] != 1 or ndim == 2 and shape[0] > 1 and strides[0] < shape[1]:
        raise ValueError(f"{name} has strides {list(strides)}, want elements that follow each other")
    return memory


def vector(name: str, value: Any, n: Optional[int], ordinal: int) -> Tuple[int, int]:
    """Address and elements of an int32 vector."""
    memory = memory_of(name, value, 1, ordinal)
    known = memory.shape[0] if memory.shape is not None else 2**31 - 1
    if n is None:
        if memory.shape is None:
            raise TypeError(f"n is not given, want the elements at the address {name}")
        n = known
    return memory.address, integer("n", n, 1, known)


def table(name: str, value: Any, row_stride: Optional[int], rows: Optional[int], width: int,
          ordinal: int) -> Tuple[int, int, int]:
    """Address, stride and rows of an int32 table of at least `width` columns."""
    memory = memory_of(name, value, 2, ordinal)
    if memory.shape is None or memory.strides is None:
        if row_stride is None or rows is None:
            raise TypeError(f"row_stride and rows are not both given, want them for the address {name}")
        stride = integer("row_stride", row_stride, width, 2**31 - 1)
        return memory.address, stride, integer("rows", rows, 1, 2**31 - 1)
    if memory.shape[1] < width:
        raise ValueError(f"{name} has {memory.shape[1]} columns, want at least {width}")
    if row_stride is not None and row_stride != memory.strides[0]:
        raise ValueError(wrong("row_stride", row_stride, f"{memory.strides[0]}, that of {name}"))
    rows = integer("rows", memory.shape[0] if rows is None else rows, 1, memory.shape[0])
    return memory.address, max(memory.strides[0], width), rows
