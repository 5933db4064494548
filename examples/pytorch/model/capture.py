"""Captures what a function launches as a CUDA graph, and says which call broke a capture that fails.

CUDA ends a capture at the first call that must not be in one: what waits for the device, copies from memory that
is not pinned, frees memory. The error comes with some later launch, so a capture that failed is made once more
with a look at its status after every call of a function. Where that fails as well, Refused names the call."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import sys
import traceback
import weakref
from typing import Callable, Optional

import torch

WARM_UPS = 2  # what a first run compiles and allocates, a second one finds
FRAMES = 8  # of the stack that a broken capture is told with
INVALIDATED = 2  # CU_STREAM_CAPTURE_STATUS_INVALIDATED

_graphs = weakref.WeakSet()  # of this process, whoever holds them


def drop_graphs() -> None:
    """Ends every graph of the process. A communicator of NCCL waits, without end, for those that its calls are in."""
    for graph in list(_graphs):
        graph.reset()


class Refused(Exception):
    """The device did not take the capture."""


@contextlib.contextmanager
def nothing_is_freed():
    """Keeps the collector out: a builder or a graph of a runner that is gone frees memory of the device when it is
    collected, which spoils a capture that is under way."""
    gc.collect()
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def is_invalid(stream) -> Callable[[], bool]:
    """Whether a capture of the stream has become invalid, asked of the driver, which changes nothing."""
    driver = ctypes.CDLL(os.environ.get("GDNMETA_LIBCUDA", "libcuda.so.1"))
    handle, status = ctypes.c_void_p(stream.cuda_stream), ctypes.c_int()

    def asked() -> bool:
        return driver.cuStreamIsCapturing(handle, ctypes.byref(status)) == 0 and status.value == INVALIDATED

    return asked


class Watch:
    """Within it, `broken` is asked before and after every call; `found` is the first call that made it true."""

    def __init__(self, broken: Callable[[], bool]) -> None:
        self.broken, self.found = broken, None

    def __enter__(self) -> Watch:
        sys.setprofile(self._call)
        return self

    def __exit__(self, *_) -> None:
        sys.setprofile(None)

    def _call(self, frame, event: str, function) -> None:
        if not self.broken():
            return
        sys.setprofile(None)
        name = getattr(function, "__qualname__", None) if event.startswith("c_") else frame.f_code.co_name
        when = "before" if event.endswith("call") else "in"
        places = [f"{os.path.basename(at.filename)}:{at.lineno} {at.name}" for at in traceback.extract_stack(frame)[-FRAMES:]]
        self.found = f"{when} {name or function!r}, at {' > '.join(places)}"


class Recorder:
    """Captures on a stream. All graphs share one pool of memory, for they never run side by side."""

    def __init__(self, device, stream) -> None:
        self.device, self.stream, self.memory = device, stream, torch.cuda.graph_pool_handle()

    def record(self, run: Callable[[], object]):
        """A graph of what `run` launches; and what was wrong with a first capture, or None. Raises Refused. With
        $SERVE_CAPTURE_DEBUG=1 the first one is watched, too."""
        for _ in range(WARM_UPS):
            run()
        failed = None
        for watched in (os.environ.get("SERVE_CAPTURE_DEBUG", "0") != "0", True):
            watch = Watch(is_invalid(self.stream)) if watched else None
            try:
                with nothing_is_freed(), watch or contextlib.nullcontext():
                    return self._graph(run), failed
            except RuntimeError as error:
                failed = told(error, watch)
            self._end()
        raise Refused(failed)

    def _graph(self, run) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        # relaxed: kernels that load, or memory that is asked for, on the way spoil nothing.
        with torch.cuda.graph(graph, pool=self.memory, stream=self.stream, capture_error_mode="relaxed"):
            run()
        _graphs.add(graph)
        return graph

    def _end(self) -> None:
        """After a capture that failed torch's allocator would take all that comes for a part of it."""
        end = getattr(torch._C, "_cuda_endAllocateToPool", None)
        with contextlib.suppress(RuntimeError, TypeError):  # it has ended
            end(self.device.index or 0, self.memory)
        self.memory = torch.cuda.graph_pool_handle()


def told(error: BaseException, watch: Optional[Watch]) -> str:
    """Of a capture's errors the first one, which the capture's end hides."""
    while error.__context__ is not None:
        error = error.__context__
    lines = str(error).strip().splitlines()
    said = f"{type(error).__name__}: {lines[0] if lines else ''}"
    return f"{said}; the capture became invalid {watch.found}" if watch and watch.found else said
