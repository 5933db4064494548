"""Tensors of a step: for numpy, and by DLPack for torch.from_dlpack and its like. All are read-only views of
the builder's memory, which the next build overwrites; a Tensor knows its step and then raises StaleError. An
array that was made of one stays valid memory, also when the builder is closed, and shows the newest step."""
from __future__ import annotations

import ctypes
from typing import Any, Iterator, Optional, Tuple

import numpy as np

from ._abi import CONSTANTS, STRUCTS, lib, waiting
from ._errors import ClosedError, Error, StaleError, failed
from ._memory import AnyArray, Owner, array_at, delete_export, delete_unversioned

DTYPES = {CONSTANTS[name]: np.dtype(name[4:].lower()) for name in
          ("GDN_INT32", "GDN_INT64", "GDN_BOOL", "GDN_UINT8") if name in CONSTANTS}
CPU, CUDA = CONSTANTS["GDN_DL_CPU"], CONSTANTS["GDN_DL_CUDA"]

_new, _valid, _pointer = (getattr(ctypes.pythonapi, f"PyCapsule_{name}")
                          for name in ("New", "IsValid", "GetPointer"))
_new.restype, _new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
_valid.argtypes = _pointer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
_pointer.restype = ctypes.c_void_p


class Core:
    """What a builder, its metadata and its tensors share: the handle and the number of the current step."""

    __slots__ = ("owner", "step", "device", "borrowed")

    def __init__(self, owner: Owner, device: int) -> None:
        self.owner: Optional[Owner] = owner
        self.step = 0
        self.device: Tuple[int, int] = (CPU, 0) if device < 0 else (CUDA, device)
        self.borrowed: dict[object, object] = {}

    def handle(self, who: str) -> int:
        if self.owner is None:
            raise ClosedError(f"gdnmeta.{who}: builder closed")
        return self.owner.handle


class _Form:
    """One of DLPack's two forms: how it is exported, and what its capsule is called."""

    def __init__(self, export: Any, delete: Any, name: bytes) -> None:
        self.export, self.delete, self.name = export, delete, name
        # A consumer renames the capsule and owns the tensor. A capsule that was never consumed deletes it.
        self.destructor = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)(self._dropped)
        # Never freed: a capsule may be the last thing that an interpreter drops.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self.destructor))

    def _dropped(self, capsule: int) -> None:
        if _valid(capsule, self.name):
            self.delete(_pointer(capsule, self.name))

    def pointer(self, handle: int, tensor: ctypes.Structure) -> int:
        out = ctypes.c_void_p()
        status = self.export(handle, ctypes.byref(tensor), ctypes.byref(out))
        if status:
            failed(handle, status)
        return out.value or 0

    def capsule(self, handle: int, tensor: ctypes.Structure) -> Any:
        return _new(self.pointer(handle, tensor), self.name, ctypes.cast(self.destructor, ctypes.c_void_p))


VERSIONED = _Form(lib.gdn_tensor_export, delete_export, b"dltensor_versioned")
UNVERSIONED = _Form(lib.gdn_tensor_export_unversioned, delete_unversioned, b"dltensor")


class Tensor:
    """A tensor of a builder's last step."""

    __slots__ = ("_core", "_step", "_struct", "shape", "dtype", "_data")

    def __init__(self, core: Core, struct: Any) -> None:
        self._core, self._step = core, core.step
        self._struct = STRUCTS["gdn_tensor"].from_buffer_copy(struct)
        self.shape: Tuple[int, ...] = tuple(struct.shape[:struct.ndim])
        self.dtype: np.dtype[Any] = DTYPES[struct.dtype]
        self._data: int = struct.data

    def _handle(self) -> int:
        handle = self._core.handle("Tensor")
        if self._core.step != self._step:
            raise StaleError(f"gdnmeta.Tensor: stale, made at step {self._step}, "
                             f"the builder is at step {self._core.step}")
        return handle

    @property
    def data(self) -> int:
        """The address: of the device's memory on a CUDA builder. It is the same step after step."""
        self._core.handle("Tensor")
        return self._data

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        n = 1
        for length in self.shape:
            n *= length
        return n

    def numpy(self) -> AnyArray:
        """On the CPU the memory itself, read-only; from a GPU a copy, once the build is done there."""
        handle = self._handle()
        if self._core.device[0] == CPU:
            export = Owner(VERSIONED.pointer(handle, self._struct), delete_export)
            return array_at(export, self._data, self.shape, self.dtype, writable=False)
        out: AnyArray = np.empty(self.shape, self.dtype)
        status = waiting.gdn_builder_read(handle, out.ctypes.data, self._data, out.nbytes) if out.size else 0
        if status:
            failed(handle, status)
        return out

    def __array__(self, dtype: Any = None, copy: Optional[bool] = None) -> AnyArray:
        array = self.numpy()
        if copy is False and self._core.device[0] != CPU:
            raise ValueError("gdnmeta.Tensor: on a device, want a copy")
        if dtype is not None and array.dtype != dtype:
            return array.astype(dtype)
        return array.copy() if copy else array

    def tolist(self) -> Any:
        """The elements: a list, or a list of rows."""
        return self.numpy().tolist()

    def __getitem__(self, at: Any) -> Any:
        return self.numpy()[at]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.numpy())

    def __len__(self) -> int:
        return self.shape[0]

    def __dlpack_device__(self) -> Tuple[int, int]:
        return self._core.device

    def __dlpack__(self, *, stream: Any = None, max_version: Optional[Tuple[int, int]] = None,
                   dl_device: Optional[Tuple[int, int]] = None, copy: Optional[bool] = None) -> Any:
        """`stream` is the consumer's: builds are on it already, see Builder.build."""
        if copy or dl_device not in (None, self._core.device):
            raise BufferError("gdnmeta exports its own memory, where it is")
        form = VERSIONED if max_version and max_version[0] >= 1 else UNVERSIONED
        return form.capsule(self._handle(), self._struct)

    def __repr__(self) -> str:
        head = f"{self.dtype}[{', '.join(map(str, self.shape))}]"
        try:
            array = self.numpy()
        except (ClosedError, StaleError, Error) as error:
            return f"{head} ({type(error).__name__})"
        shown = " ".join(str(item) for item in array.ravel()[:8].tolist())
        return f"{head} {{{shown}{' ...' if array.size > 8 else ''}}}"
