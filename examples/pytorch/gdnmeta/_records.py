"""What an engine sends a worker: a hello, then steps. gdnmeta_worker.h says what each field means."""
from __future__ import annotations

import ctypes
from typing import Any, Dict, List, Tuple

import numpy as np
import numpy.typing as npt

from ._abi import CONSTANTS, STRUCTS, lib, text
from ._batch import Batch
from ._builder import Builder
from ._errors import Error
from ._memory import AnyArray, Int32s
from ._options import BACKENDS, DTYPES, FIELDS, MODES, RULES, WHY_SIZE

Buffer = npt.NDArray[np.uint64]

GRAPHS = {False: 0, True: 1, "mixed": 2}
NAMED: Dict[str, Dict[Any, int]] = {
    "rules": RULES, "mamba_cache_mode": MODES, "gdn_prefill_backend": BACKENDS, "query_start_loc_dtype": DTYPES,
    "full_cuda_graph": GRAPHS,
}
FLAGS = ("parallel_drafting", "check_unique", "check", "poison", "drop_eagle_block", "checkpoint_any")

# Arrays of a step: name, dtype, and its shape by the record's counts.
ROWS, GROUPS, WINDOWS = ("num_rows",), ("num_groups", "num_rows"), ("num_groups", "num_rows", "columns")
ARRAYS: Tuple[Tuple[str, Any, Tuple[Any, ...]], ...] = (
    ("request", np.int64, ROWS), ("seed", np.uint64, ROWS), ("temperature", np.float32, ROWS),
    ("top_p", np.float32, ROWS), ("query_len", np.int32, ROWS), ("seq_len", np.int32, ROWS),
    ("drafts", np.int32, ROWS), ("accepted_tokens", np.int32, ROWS), ("prompt_done", np.int32, ROWS),
    ("table_row", np.int32, ROWS), ("read_column", np.int32, ROWS), ("checkpoint_len", np.int32, ROWS),
    ("samples", np.int32, ROWS), ("slots", np.int32, WINDOWS), ("read_slots", np.int32, GROUPS),
    ("checkpoint_slot", np.int32, GROUPS), ("tokens", np.int32, ("num_tokens",)),
    ("table_changes", np.int32, ("num_table_changes", 3)), ("kv_copies", np.int32, ("num_kv_copies", 2)),
)
SHAPES = frozenset(name for name, _, _ in ARRAYS)
SIZES = ("num_rows", "num_groups", "columns", "num_tokens", "num_table_changes", "num_kv_copies")
COUNTS = ("number", "kind", "graph", "branches", "num_rows", "num_tokens", "padded_rows", "padded_tokens",
          "num_groups", "columns", "num_table_changes", "num_kv_copies", "num_bring")


def refuse(status: int, why: Any) -> None:
    if status < 0:
        raise Error(text(why.value) or text(lib.gdn_strstatus(status)), status)


class Hello:
    """What a worker is to be made for. `options` are those of the engine's builder, as Builder takes them."""

    seed: int
    kv_blocks: int
    kv_block_size: int
    kv_columns: int
    max_model_len: int
    vocab_size: int
    max_kv_copies: int
    asynchronous: bool

    def __init__(self, record: Buffer) -> None:
        self._record = record  # the struct has a pointer into it
        self._struct: Any = STRUCTS["gdn_hello"]()
        why = ctypes.create_string_buffer(WHY_SIZE)
        refuse(lib.gdn_hello_unpack(record.ctypes.data, record.nbytes, ctypes.byref(self._struct), why, WHY_SIZE), why)
        for name in ("seed", "kv_blocks", "kv_block_size", "kv_columns", "max_model_len", "vocab_size",
                     "max_kv_copies"):
            setattr(self, name, getattr(self._struct, name))
        self.asynchronous = bool(self._struct.asynchronous)
        self.options = self._options()

    def _options(self) -> Dict[str, Any]:
        config, options = self._struct.config, {}
        for name in FIELDS:
            value = getattr(config, name)
            if name in NAMED:
                value = {code: word for word, code in NAMED[name].items()}[value]
            elif name in FLAGS:
                value = bool(value)
            options[name] = value
        slots: List[int] = list((ctypes.c_int32 * config.num_groups).from_address(config.num_slots))
        options["num_slots"] = slots
        del options["device"]
        return options

    def builder(self, device: Any) -> Builder:
        """A builder on a device that builds what the engine's own builder builds."""
        options: Any = dict(self.options, device=device)
        return Builder(**options)


Places = Dict[str, Tuple[Tuple[int, ...], Any, int]]
KNOWN: Dict[Tuple[int, ...], Places] = {}
MOST_KNOWN = 512


def places(step: Any, record: Buffer) -> Places:
    """Each array's shape, dtype, and offset in the record: they follow from the counts, and are kept by them."""
    counts = tuple(getattr(step, name) for name in SIZES)
    if counts not in KNOWN:
        if len(KNOWN) >= MOST_KNOWN:
            KNOWN.clear()
        size, start, found = dict(zip(SIZES, counts)), record.__array_interface__["data"][0], {}
        for name, dtype, shape in ARRAYS:
            lengths = tuple(size[n] if isinstance(n, str) else n for n in shape)
            found[name] = (lengths, np.dtype(dtype), getattr(step, name) - start)
        KNOWN[counts] = found
    return KNOWN[counts]


class StepRecord:
    """A step. Arrays are read-only views of the record, which lives as long as one of them does. Each is made when it
    is first asked for."""

    number: int
    kind: int
    graph: int
    branches: int
    num_rows: int
    num_tokens: int
    padded_rows: int
    padded_tokens: int
    num_groups: int
    columns: int
    num_table_changes: int
    num_kv_copies: int
    num_bring: int
    request: npt.NDArray[np.int64]
    seed: npt.NDArray[np.uint64]
    temperature: npt.NDArray[np.float32]
    top_p: npt.NDArray[np.float32]
    query_len: Int32s
    seq_len: Int32s
    drafts: Int32s
    accepted_tokens: Int32s
    prompt_done: Int32s
    table_row: Int32s
    read_column: Int32s
    checkpoint_len: Int32s
    samples: Int32s
    slots: Int32s
    read_slots: Int32s
    checkpoint_slot: Int32s
    tokens: Int32s
    table_changes: Int32s
    kv_copies: Int32s

    def __init__(self, record: Buffer, hello: Hello) -> None:
        struct: Any = STRUCTS["gdn_step_record"]()
        why = ctypes.create_string_buffer(WHY_SIZE)
        refuse(lib.gdn_step_unpack(record.ctypes.data, record.nbytes, ctypes.byref(hello._struct), ctypes.byref(struct),
                                   why, WHY_SIZE), why)
        self._record, self._struct = record, struct
        for name in COUNTS:
            setattr(self, name, getattr(struct, name))
        self._bytes = record.data.toreadonly()  # an array over it keeps it
        self._places = places(struct, record)

    def __getattr__(self, name: str) -> AnyArray:
        if name not in SHAPES:
            raise AttributeError(f"gdnmeta.StepRecord: no field {name}")
        shape, dtype, offset = self._places[name]
        view: AnyArray = np.ndarray(shape, dtype, self._bytes, offset)
        self.__dict__[name] = view
        return view

    @property
    def is_stop(self) -> bool:
        return self.kind == CONSTANTS["GDN_STEP_STOP"]

    @property
    def is_idle(self) -> bool:
        """No rows: the empty step of the bucket (padded_rows, padded_tokens)."""
        return self.kind == CONSTANTS["GDN_STEP_IDLE"]

    def fill(self, builder: Builder, batch: Batch) -> Batch:
        """The step's rows as a batch of a builder that Hello.builder made; then builder.build(batch, stream)."""
        if batch._token is not builder._token:
            raise ValueError("the batch belongs to another builder")
        batch.clear()
        batch._alone, batch._upto = False, -1
        why = ctypes.create_string_buffer(WHY_SIZE)
        refuse(lib.gdn_step_batch(ctypes.byref(self._struct), builder._opened(), batch._handle, why, WHY_SIZE), why)
        return batch

    def __repr__(self) -> str:
        return f"gdnmeta.StepRecord({self.number}: {self.num_rows} rows, {self.num_tokens} tokens)"
