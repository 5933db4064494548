"""Pools of states and windows, as arguments: tensors of a builder's device, of any type, by DLPack or
__cuda_array_interface__, or numpy arrays."""

from __future__ import annotations

import ctypes
from typing import Any, List, NamedTuple, Tuple

import numpy as np

from ._abi import CONSTANTS, STRUCTS, names_of
from ._device import contiguous
from ._errors import one_of, wrong
from ._tensor import _pointer

SPEC_ROWS, WINDOWS = names_of("BRING"), names_of("WINDOWS")
MOST = CONSTANTS.get("GDN_MAX_POOLS", 64)
Device = Tuple[int, int]  # DLPack's type and number


class Pool(NamedTuple):
    address: int
    shape: Tuple[int, ...]
    strides: Tuple[int, ...]  # elements
    element_bytes: int


def _on(device: Device) -> str:
    return "the CPU" if device[0] == CONSTANTS["GDN_DL_CPU"] else f"cuda:{device[1]}"


def _of_bytes(
    name: str, address: int, shape: Tuple[int, ...], steps: Tuple[int, ...], dtype: Any, read_only: bool
) -> Pool:
    """Of strides in bytes. Python objects count their references, which no copy of bytes does."""
    if read_only:
        raise ValueError(f"{name} is read-only, want memory to be written")
    if dtype.hasobject or not dtype.itemsize:
        raise TypeError(f"{name} has dtype {dtype}, want numbers")
    if any(step % dtype.itemsize for step in steps):
        raise ValueError(f"{name} has strides {list(steps)} bytes, want whole elements")
    return Pool(address, shape, tuple(step // dtype.itemsize for step in steps), dtype.itemsize)


def _from_array(name: str, array: Any, device: Device) -> Pool:
    if device[0] != CONSTANTS["GDN_DL_CPU"]:
        raise ValueError(f"{name} is on the CPU, want {_on(device)}")
    return _of_bytes(
        name, array.ctypes.data, array.shape, array.strides, array.dtype, not array.flags.writeable
    )


def _from_dlpack(name: str, value: Any, device: Device) -> Pool:
    found = tuple(int(part) for part in value.__dlpack_device__())
    cpu = CONSTANTS["GDN_DL_CPU"]
    if found != device and (found[0] != cpu or device[0] != cpu):
        raise ValueError(f"{name} is on device {getattr(value, 'device', found)}, want {_on(device)}")
    capsule = value.__dlpack__() if device[0] == cpu else value.__dlpack__(stream=-1)  # nothing waits here
    t: Any = STRUCTS["gdn_dlpack_unversioned"].from_address(_pointer(id(capsule), b"dltensor")).dl_tensor
    shape = tuple((ctypes.c_int64 * t.ndim).from_address(t.shape)) if t.ndim else ()
    strides = (
        tuple((ctypes.c_int64 * t.ndim).from_address(t.strides))
        if t.ndim and t.strides
        else contiguous(shape)
    )
    return Pool((t.data or 0) + t.byte_offset, shape, strides, t.bits * t.lanes // 8)


def _from_interface(name: str, interface: Any, device: Device) -> Pool:
    if device[0] == CONSTANTS["GDN_DL_CPU"]:
        raise ValueError(f"{name} is on a CUDA device, want the CPU")
    shape, dtype = tuple(interface["shape"]), np.dtype(interface["typestr"])
    address, read_only = interface["data"]
    steps = interface.get("strides") or tuple(dtype.itemsize * step for step in contiguous(shape))
    return _of_bytes(name, address or 0, shape, tuple(steps), dtype, read_only)


def _pool(name: str, value: Any, ndim: int, slots: int, device: Device) -> Pool:
    if isinstance(value, np.ndarray):
        pool = _from_array(name, value, device)
    elif hasattr(value, "__dlpack__") and hasattr(value, "__dlpack_device__"):
        pool = _from_dlpack(name, value, device)
    elif hasattr(value, "__cuda_array_interface__"):
        pool = _from_interface(name, value.__cuda_array_interface__, device)
    else:
        raise TypeError(wrong(name, value, "a tensor or a list of tensors"))
    # An axis of one element may have any stride: that of a contiguous array stands for it.
    steps = zip(pool.shape, pool.strides, contiguous(pool.shape))
    pool = pool._replace(strides=tuple(own if n == 1 else step for n, step, own in steps))
    shape, least = list(pool.shape), "[slots, ...]" if ndim == 2 else "[slots, channels, length]"
    if len(shape) < 2 or ndim == 3 and len(shape) != 3:
        raise ValueError(f"{name} has shape {shape}, want {least}")
    if shape[0] < slots:
        raise ValueError(f"{name} has {shape[0]} slots, want at least {slots}")
    if 0 in shape or min(pool.strides) < 1:
        raise ValueError(
            f"{name} has shape {shape} and strides {list(pool.strides)}, want elements of their own"
        )
    return pool


def _pools(value: Any, ndim: int, slots: int, device: Device) -> List[Pool]:
    """All of one shape, stride and element size."""
    several = isinstance(value, (list, tuple))
    values = list(value) if several else [value]
    if not 1 <= len(values) <= MOST:
        raise ValueError(f"pools has {len(values)} elements, want 1 .. {MOST}")
    pools = [
        _pool(f"pools[{i}]" if several else "pools", one, ndim, slots, device) for i, one in enumerate(values)
    ]
    for i, pool in enumerate(pools):
        if pool[1:] != pools[0][1:]:
            raise ValueError(
                f"pools[{i}] has shape {list(pool.shape)} and strides {list(pool.strides)} of "
                f"{pool.element_bytes} bytes, want those of the first"
            )
    return pools


def _code(name: str, value: Any, codes: dict[str, int]) -> int:
    if not isinstance(value, str) or value not in codes:
        raise (ValueError if isinstance(value, str) else TypeError)(wrong(name, value, one_of(codes)))
    return codes[value]


def _filled(struct: str, pools: List[Pool], group: int, spec_rows: Any) -> Tuple[Any, object]:
    given: Any = STRUCTS[struct]()
    addresses = (ctypes.c_void_p * len(pools))(*(pool.address for pool in pools))
    given.size, given.group, given.num_pools = ctypes.sizeof(given), group, len(pools)
    given.pools, given.spec_rows = ctypes.addressof(addresses), _code("spec_rows", spec_rows, SPEC_ROWS)
    return given, addresses


def states(value: Any, slots: int, group: int, spec_rows: Any, device: Device) -> Tuple[Any, object]:
    """A gdn_state_pools of tensors [slots, ...], and what must live until the call is over."""
    pools = _pools(value, 2, slots, device)
    shape, strides, size = pools[0][1:]
    if strides[1:] != contiguous(shape[1:]):
        raise ValueError(f"pools has strides {list(strides)}, want slots without gaps")
    given, alive = _filled("gdn_state_pools", pools, group, spec_rows)
    given.slot_bytes, given.slot_stride = contiguous(shape)[0] * size, strides[0] * size
    return given, alive


def windows(
    value: Any, slots: int, group: int, spec_rows: Any, windows_in: Any, device: Device
) -> Tuple[Any, object]:
    """A gdn_window_pools of tensors [slots, channels, length] of any strides."""
    pools = _pools(value, 3, slots, device)
    given, alive = _filled("gdn_window_pools", pools, group, spec_rows)
    places = {name[3:]: code for name, code in WINDOWS.items() if name.startswith("in-")}
    given.windows_in = WINDOWS["by-mode"] if windows_in is None else _code("windows_in", windows_in, places)
    _, given.channels, given.length = pools[0].shape
    given.element_bytes, given.strides[:] = pools[0].element_bytes, pools[0].strides
    return given, alive
