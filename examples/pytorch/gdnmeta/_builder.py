"""The builder: made once, owns the outputs and the state tables, turns batches into metadata."""
from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any, Dict, List, NamedTuple, Optional

import numpy as np

from . import _device, _raw
from ._abi import CONSTANTS, STRUCTS, lib, text
from ._arrays import int32s, is_scalar
from ._batch import Batch
from ._errors import ClosedError, Error, failed, integer, wrong
from ._memory import Int32s, Owner, array_at
from ._metadata import Metadata
from ._options import RULES, Options, parse
from ._raw import Stream
from ._rows import TableRows
from ._tensor import Core

if TYPE_CHECKING:
    from typing_extensions import Unpack

OPTIONAL_SIZE = 512  # bytes of a reason
HIGH = 2**31 - 1


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


def _ask(call: Any, given: Dict[str, Any], out: Any) -> None:
    config, alive = parse(given)
    why = ctypes.create_string_buffer(OPTIONAL_SIZE)
    status = call(ctypes.byref(config), ctypes.byref(out), why, OPTIONAL_SIZE)
    del alive
    if status:
        raise Error(text(why.value), status)


def builder_bytes(**options: Unpack[Options]) -> int:
    """How many bytes a builder of these options takes, on the host and the device together."""
    out = ctypes.c_int64()
    _ask(lib.gdn_builder_bytes, dict(options), out)
    return out.value


class Builder:
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
        _ask(lib.gdn_builder_new, dict(options), out)
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
        self._foreign: Dict[int, int] = {}  # rows of tables that are not the builder's own
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

    def capture(self, *, stream: Stream = None, **inputs: Unpack[_raw.Inputs]) -> Metadata:
        """Build the step that a CUDA graph is captured with."""
        return self._from_arguments(lib.gdn_capture, inputs, stream)

    def _group(self, group: int) -> int:
        return integer("group", group, 0, self.num_groups - 1)

    def table(self, group: int) -> Int32s:
        """A group's state table, to be written: int32 [max_requests, max_blocks_per_row]."""
        handle = self._opened()
        address = lib.gdn_builder_table(handle, self._group(group))
        if not address:
            raise ValueError(f"group {group} borrows its table")
        return array_at(self._core.owner, address, (self.max_requests, self.max_blocks_per_row))

    def set_blocks(self, group: int, table_row: Any, blocks: Any) -> None:
        """Write rows of a group's state table, zeros after what is given: one row and its list, or rows [n]
        and blocks [n, up to max_blocks_per_row]."""
        table, one = self.table(group), is_scalar(table_row)
        if one:
            rows = np.array([integer("table_row", table_row, 0, self.max_requests - 1)], np.int32)
            cells = int32s("blocks", blocks)[np.newaxis]
        else:
            rows, cells = int32s("table_row", table_row), int32s("blocks", blocks, 2)
            for at, row in enumerate(rows.tolist()):
                integer(f"table_row[{at}]", row, 0, self.max_requests - 1)
            if len(cells) != len(rows):
                raise ValueError(f"blocks has {len(cells)} rows, want {len(rows)}, one for each table_row")
        width = cells.shape[1]
        if width > self.max_blocks_per_row:
            raise ValueError(f"blocks has {width} elements, want at most {self.max_blocks_per_row}")
        table[rows, :width] = cells
        table[rows, width:] = 0

    def _took_table(self, group: int, rows: Optional[int], alive: object) -> None:
        self._core.borrowed[group] = alive
        if rows is None:
            self._foreign.pop(group, None)
        else:
            self._foreign[group] = rows
        self._table_rows.least = min(self._foreign.get(g, self.max_requests) for g in range(self.num_groups))

    def borrow_table(self, group: int, cells: Optional[Any]) -> None:
        """Read the host's own table, int32 [rows, at least max_blocks_per_row], in place of the builder's. It
        is kept alive, may be written between builds, and may have strided rows. None: the builder's."""
        self._opened()
        group = self._group(group)
        if cells is None:
            self._call(lib.gdn_builder_borrow_table, group, None, 0, 0)
            return self._took_table(group, None, None)
        array = int32s("cells", cells, 2)
        dtype = getattr(cells, "dtype", type(cells).__name__)
        if array is not cells and str(dtype).replace("torch.", "") != "int32":
            raise TypeError(f"cells has dtype {dtype}, want int32, to be read in place")
        (rows, columns), (row_step, step), width = array.shape, array.strides, self.max_blocks_per_row
        if rows < 1 or columns < width:
            raise ValueError(f"cells is {rows} x {columns}, want at least 1 x {width}")
        if step != 4 and columns > 1 or row_step < 4 * columns or row_step % 4:
            raise ValueError(f"cells has strides {list(array.strides)} bytes, want rows in a row")
        self._call(lib.gdn_builder_borrow_table, group, array.ctypes.data, array.strides[0] // 4, len(array))
        self._took_table(group, len(array), (cells, array))

    def _ordinal(self) -> int:
        self._opened()
        if self.device == "cpu":
            raise ValueError("the builder's device is the CPU, want a CUDA device")
        return self._core.device[1]

    def borrow_device_table(self, group: int, cells: Any, row_stride: Optional[int] = None,
                            rows: Optional[int] = None) -> None:
        """Read a group's state table where it is, on the device: an int32 CUDA tensor [rows, at least
        max_blocks_per_row], or an address with row_stride and rows. None: back to the builder's own."""
        ordinal, group = self._ordinal(), self._group(group)
        if cells is None:
            self._call(lib.gdn_builder_borrow_device_table, group, None, 0, 0)
            return self._took_table(group, None, None)
        at, stride, n = _device.table("cells", cells, row_stride, rows, self.max_blocks_per_row, ordinal)
        self._call(lib.gdn_builder_borrow_device_table, group, at, stride, n)
        self._took_table(group, n, cells)

    def _borrow_vector(self, function: Any, key: str, memory: Any, n: Optional[int]) -> None:
        ordinal = self._ordinal()
        at, count = (None, 0) if memory is None else _device.vector("memory", memory, n, ordinal)
        self._call(function, at, count)
        self._core.borrowed[key] = memory

    def borrow_device_seq_lens(self, memory: Any, n: Optional[int] = None) -> None:
        """Read seq_len on the device: an int32 CUDA tensor [n], or an address; see Batch.index. None: back to
        the host's. Rows with nothing computed are then told by read_column = -1."""
        self._borrow_vector(lib.gdn_builder_borrow_device_seq_lens, "seq_lens", memory, n)

    def borrow_device_accepted(self, memory: Any, n: Optional[int] = None) -> None:
        """Read num_accepted_tokens on the device, likewise."""
        self._borrow_vector(lib.gdn_builder_borrow_device_accepted, "accepted", memory, n)

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
