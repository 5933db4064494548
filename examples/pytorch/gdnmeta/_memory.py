"""C memory: who owns it, and numpy arrays over it."""
from __future__ import annotations

import ctypes
from typing import Any, Callable, Tuple

import numpy as np
import numpy.typing as npt

from ._abi import STRUCTS

Int32s = npt.NDArray[np.int32]
AnyArray = npt.NDArray[Any]
INT32 = np.dtype(np.int32)


class Owner:
    """A C object, freed once nothing holds this: neither its object in Python nor an array over its memory."""

    __slots__ = ("handle", "_free", "__weakref__")

    def __init__(self, handle: int, free: Callable[[int], object]) -> None:
        self.handle, self._free = handle, free

    def __del__(self) -> None:
        self._free(self.handle)


class _Span:
    """What numpy makes an array of; the array keeps it, and so the owner."""

    def __init__(self, owner: object, **interface: object) -> None:
        self.owner, self.__array_interface__ = owner, {"version": 3, **interface}


def array_at(owner: object, address: int, shape: Tuple[int, ...], dtype: Any = INT32,
             writable: bool = True) -> AnyArray:
    """An array over memory that `owner` keeps."""
    return np.asarray(_Span(owner, data=(address, not writable), shape=shape, typestr=np.dtype(dtype).str))


_DELETER = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)


def delete_export(address: int) -> None:
    """Call the deleter of a gdn_dlpack."""
    _DELETER(STRUCTS["gdn_dlpack"].from_address(address).deleter)(address)


def delete_unversioned(address: int) -> None:
    _DELETER(STRUCTS["gdn_dlpack_unversioned"].from_address(address).deleter)(address)
