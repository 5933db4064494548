"""The builder: made once, owns the outputs and the state tables, turns batches into metadata."""
from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any, Dict, List, NamedTuple, Optional, overload

from . import _bucket, _pools, _raw
from ._abi import CONSTANTS, STRUCTS, lib, text
from ._batch import Batch
from ._errors import ClosedError, Error, failed, wrong
from ._memory import Owner
from ._metadata import Metadata
from ._options import RULES, Options, ask
from ._raw import Stream
from ._rows import TableRows
from ._tables import Tables
from ._tensor import Core

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Violation(NamedTuple):
    """What a check of the outputs found: see gdn_check_result."""

    step: int
    field: str
    code: int  # GDN_CHECK_*
    group: int
    element: int
    message: str


def _stream(stream: Stream) -> Optional[int]:
    """A CUDA stream's handle: None, an address, or an object like torch.cuda.Stream."""
    if stream is None or type(stream) is int:
        return stream
    handle = getattr(stream, "cuda_stream", None)
    if type(handle) is not int:
        raise TypeError(wrong("stream", stream, "None, an address or a torch.cuda.Stream"))
    return handle


def builder_bytes(**options: Unpack[Options]) -> int:
    """How many bytes a builder of these options takes, on the host and the device together."""
    out = ctypes.c_int64()
    ask(lib.gdn_builder_bytes, dict(options), out)
    return out.value


def bucket(rows: int, tokens: int, **options: Unpack[Options]) -> _bucket.Bucket:
    """Shapes and types of every tensor of a bucket, for whoever allocates before there is a builder.
    full_cuda_graph is "mixed" where it is not given."""
    return _bucket.bucket(rows, tokens, dict(options))


class Builder(Tables):
    """Made of options (see Options): Builder(rules="strict", device="cuda:0", max_num_seqs=256). Its facts
    are attributes, from `bytes` to `num_groups`. Closed by close() or a with statement; memory that arrays
    still show is kept until they are gone."""

    bytes: int
    decode_cudagraph_max_bs: int
    num_spec: int
    reorder_batch_threshold: int
    max_rows: int
    max_num_batched_tokens: int
    max_requests: int
    max_blocks_per_row: int
    num_groups: int

    def __init__(self, **options: Unpack[Options]) -> None:
        out = ctypes.c_void_p()
        ask(lib.gdn_builder_new, dict(options), out)
        assert out.value
        owner = Owner(out.value, lib.gdn_builder_free)
        info: Any = STRUCTS["gdn_builder_info"]()
        lib.gdn_builder_describe(owner.handle, ctypes.byref(info))
        for name, _ in getattr(info, "_fields_"):
            if name not in ("device", "rules"):
                setattr(self, name, getattr(info, name))
        self.rules: str = {code: name for name, code in RULES.items()}[info.rules]
        self.device: str = "cpu" if info.device < 0 else f"cuda:{info.device}"
        config: Any = STRUCTS["gdn_config"]()
        lib.gdn_builder_config(owner.handle, ctypes.byref(config))
        self.num_slots: List[int] = list((ctypes.c_int32 * info.num_groups).from_address(config.num_slots))
        self._core = Core(owner, info.device)
        self._handle: Optional[int] = owner.handle
        self._token = object()
        self._table_rows = TableRows(info.max_requests)
        self._foreign = {}
        self.metadata = Metadata(self._core, info.num_groups)

    def _opened(self) -> int:
        if self._handle is None:
            raise ClosedError("gdnmeta.Builder: closed")
        return self._handle

    def _call(self, function: Any, *arguments: Any) -> None:
        handle = self._opened()
        status = function(handle, *arguments)
        if status:
            failed(handle, status)

    def batch(self) -> Batch:
        """An empty batch for this builder."""
        return Batch(self._opened(), self._token, self._table_rows, self.max_num_batched_tokens)

    def build(self, batch: Batch, stream: Stream = None) -> Metadata:
        """The metadata of a batch. On CUDA, `stream` is the one that consumers work on. A build that is
        refused leaves the metadata as it was."""
        if self._handle is None:
            self._opened()
        if type(batch) is not Batch:
            raise TypeError(wrong("batch", batch, "a batch of this builder"))
        if batch._token is not self._token:
            raise ValueError("the batch belongs to another builder")
        if batch._owner is None:
            raise ClosedError("gdnmeta.Batch: closed")
        status = lib.gdn_build(self._handle, batch._handle, stream if stream is None else _stream(stream))
        if status:
            failed(self._opened(), status)
        self._core.step += 1
        return self.metadata

    def _from_arguments(self, function: Any, inputs: Any, stream: Stream) -> Metadata:
        self._opened()
        at = _stream(stream)
        raw, alive = _raw.fill(inputs, self.num_groups)
        self._call(function, ctypes.byref(raw), at)
        del alive
        self._core.step += 1
        return self.metadata

    def build_raw(self, *, stream: Stream = None, **inputs: Unpack[_raw.Inputs]) -> Metadata:
        """Build from the upstream builder's own arguments: see gdnmeta.Inputs."""
        return self._from_arguments(lib.gdn_build_raw, inputs, stream)

    @overload
    def capture(self, *, rows: int, tokens: int, stream: Stream = None) -> Metadata: ...

    @overload
    def capture(self, *, stream: Stream = None, **inputs: Unpack[_raw.Inputs]) -> Metadata: ...

    def capture(self, *, stream: Stream = None, **inputs: Any) -> Metadata:
        """Build the step that a CUDA graph is captured with: of uniform rows, see gdnmeta.Inputs; or, where
        full_cuda_graph is "mixed", the step without rows of the bucket rows, tokens."""
        if "rows" not in inputs and "tokens" not in inputs:
            return self._from_arguments(lib.gdn_capture, inputs, stream)
        for name in inputs:
            if name not in ("rows", "tokens"):
                raise TypeError(f"{name} is given, want rows and tokens of a bucket alone")
        rows, tokens = _bucket.sizes(inputs.get("rows"), inputs.get("tokens"))
        self._call(lib.gdn_capture_bucket, rows, tokens, _stream(stream))
        self._core.step += 1
        return self.metadata

    def bring_states(self, pools: Any, *, group: int = 0, spec_rows: str = "accepted",
                     stream: Stream = None) -> None:
        """Copy states of the last build's rows to the slots where kernels look that read where they write;
        see gdn_bring_states. `pools` is a tensor [slots, ...] of the builder's device, or a list of such:
        those of the group's layers. The launch reads the tables on the device, so a captured graph may
        hold it."""
        slots = self.num_slots[self._group(group)]
        given, alive = _pools.states(pools, slots, group, spec_rows, self._core.device)
        self._call(lib.gdn_bring_states, ctypes.byref(given), _stream(stream))
        del alive

    def bring_windows(self, pools: Any, *, group: int = 0, spec_rows: str = "accepted",
                      windows_in: Optional[str] = None, stream: Stream = None) -> None:
        """The same for conv windows [slots, channels, length], of any strides, which also move within a slot.
        windows_in: "first" or "every" slot that a row wrote has its window; default by mamba_cache_mode."""
        slots = self.num_slots[self._group(group)]
        given, alive = _pools.windows(pools, slots, group, spec_rows, windows_in, self._core.device)
        self._call(lib.gdn_bring_windows, ctypes.byref(given), _stream(stream))
        del alive

    def device_error(self, forget: bool = False) -> Optional[Error]:
        """Did a build that the device has finished find a bad value among its device inputs?"""
        handle = self._opened()
        status = lib.gdn_device_error(handle, int(bool(forget)))
        return Error(text(lib.gdn_last_error(handle)), status) if status else None

    def counters(self) -> Dict[str, int]:
        """What the builder asked of its device so far, by the names of gdn_counters."""
        out = STRUCTS["gdn_counters"]()
        lib.gdn_builder_counters(self._opened(), ctypes.byref(out))
        return {name: getattr(out, name) for name, _ in getattr(out, "_fields_")}

    def check(self, stream: Stream = None) -> None:
        """Check the last build's outputs again, as they are once what is enqueued on the stream is done."""
        self._call(lib.gdn_check, _stream(stream))

    def check_result(self, forget: bool = False) -> Optional[Violation]:
        """What a finished check found, with check=True; on a GPU a step's answer comes a step late."""
        handle, out = self._opened(), STRUCTS["gdn_violation"]()
        status = lib.gdn_check_result(handle, int(bool(forget)), ctypes.byref(out))
        if not status:
            return None
        message = text(lib.gdn_last_error(handle))
        if status != CONSTANTS["GDN_EINVAL"]:
            raise Error(message, status)
        v: Any = out
        field = text(ctypes.string_at(v.field)) if v.field else ""
        return Violation(v.step, field, v.code, v.group, v.element, message)

    def poison(self) -> None:
        """For tests: overwrite every output and forget which padding is in place."""
        lib.gdn_builder_poison(self._opened())

    def close(self) -> None:
        self._handle = None
        self._core.owner = None
        self._core.borrowed.clear()

    def __enter__(self) -> Builder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        end = ", closed" if self._handle is None else ""
        return (f"gdnmeta.Builder(device={self.device}, rules={self.rules}, max_rows={self.max_rows}, "
                f"max_num_batched_tokens={self.max_num_batched_tokens}{end})")
