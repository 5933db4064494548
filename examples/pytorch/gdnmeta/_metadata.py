"""The metadata of a builder's last successful build, under the names of gdn_metadata."""
from __future__ import annotations

import ctypes
from typing import Any, Dict, Optional

import numpy as np

from ._abi import STRUCTS, lib
from ._errors import failed, integer
from ._tensor import Core, Tensor

FIELDS: Dict[str, Any] = dict(getattr(STRUCTS["gdn_metadata"], "_fields_"))
TILE = 8  # tokens
# Numbers that a step may not have, and the number that is 0 then.
OPTIONAL = {"uniform_spec_sequence_length": "uniform_spec_sequence_length",
            "checkpoint_every_n_tokens": "checkpoint_every_n_tokens", "num_checkpoints": "checkpoint_every_n_tokens"}


class Metadata:
    """Numbers, and tensors or None where the step has none. The object is the same every time and shows the
    last build that succeeded; with `group` it shows that cache group's tensors. gdnmeta.h has the shapes."""

    step: int
    num_prefills: int
    num_prefill_tokens: int
    num_decodes: int
    num_decode_tokens: int
    num_spec_decodes: int
    num_spec_decode_tokens: int
    num_actual_tokens: int
    num_rows: int
    num_tiles: int
    uniform_spec_sequence_length: Optional[int]
    checkpoint_every_n_tokens: Optional[int]
    num_checkpoints: Optional[int]
    spec_query_start_loc: Optional[Tensor]
    non_spec_query_start_loc: Optional[Tensor]
    spec_state_indices_tensor: Optional[Tensor]
    non_spec_state_indices_tensor: Optional[Tensor]
    spec_sequence_masks: Optional[Tensor]
    spec_token_indx: Optional[Tensor]
    non_spec_token_indx: Optional[Tensor]
    num_accepted_tokens: Optional[Tensor]
    has_initial_state: Optional[Tensor]
    chunk_indices: Optional[Tensor]
    chunk_offsets: Optional[Tensor]
    batch_ptr: Optional[Tensor]
    token_chunk_offset_ptr: Optional[Tensor]
    prefill_query_start_loc: Optional[Tensor]
    prefill_state_indices: Optional[Tensor]
    prefill_has_initial_state: Optional[Tensor]
    spec_read_state_indices: Optional[Tensor]
    non_spec_read_state_indices: Optional[Tensor]
    prefill_read_state_indices: Optional[Tensor]
    spec_conv_shift: Optional[Tensor]
    non_spec_conv_shift: Optional[Tensor]
    checkpoint_offsets: Optional[Tensor]
    checkpoint_state_indices: Optional[Tensor]
    checkpoint_chunk: Optional[Tensor]
    checkpoint_cu_starts: Optional[Tensor]
    checkpoint_rows: Optional[Tensor]
    decode_query_start_loc: Optional[Tensor]
    decode_state_indices: Optional[Tensor]
    decode_read_state_indices: Optional[Tensor]
    token_class: Optional[Tensor]
    live_counts: Optional[Tensor]

    def __init__(self, core: Core, num_groups: int, group: Optional[int] = None) -> None:
        own = STRUCTS["gdn_metadata"]
        address = lib.gdn_builder_metadata(core.handle("Metadata"))
        self._struct: Any = own.from_address(address) if group is None else own()
        self._core, self._num_groups, self._group, self._seen = core, num_groups, group, -1
        self._views: Dict[str, Any] = {}
        self._groups: Dict[int, Metadata] = {}

    def _refresh(self) -> None:
        handle = self._core.handle("Metadata")
        if self._seen == self._core.step:
            return
        if self._group is not None:  # the struct is a copy
            status = lib.gdn_metadata_group(handle, self._group, ctypes.byref(self._struct))
            if status:
                failed(handle, status)
        self._views.clear()
        self._seen = self._core.step

    def __getattr__(self, name: str) -> Any:
        if name not in FIELDS:
            raise AttributeError(f"gdnmeta.Metadata: no field {name}")
        self._refresh()
        value = getattr(self._struct, name)
        if FIELDS[name] is not STRUCTS["gdn_tensor"]:
            return None if name in OPTIONAL and not getattr(self._struct, OPTIONAL[name]) else value
        if name not in self._views:
            self._views[name] = Tensor(self._core, value) if value.data else None
        return self._views[name]

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_"):
            raise AttributeError(f"gdnmeta.Metadata: read-only, cannot set {name}")
        super().__setattr__(name, value)

    def group(self, group: int) -> Metadata:
        """The step as cache group `group`, counted from 0, sees it."""
        self._core.handle("Metadata")
        group = integer("group", group, 0, self._num_groups - 1)
        if group not in self._groups:
            self._groups[group] = Metadata(self._core, self._num_groups, group)
        return self._groups[group]

    @property
    def nums_dict(self) -> Optional[Dict[int, Dict[str, Any]]]:
        """The host's record of the conv1d launch of a step with prefills, by tokens a tile, 8: nums int32 [n]
        tiles of each non-spec row, tot their sum, mlist int64 [tot] row of each tile, offsetlist int32 [tot]
        tile of the row, and the two tables that the device reads. In a bucket tot is what a launch covers: -1
        after the tiles. Made when first asked for."""
        self._refresh()
        if "nums_dict" not in self._views:
            self._views["nums_dict"] = self._conv_record()
        record: Optional[Dict[int, Dict[str, Any]]] = self._views["nums_dict"]
        return record

    def _conv_record(self) -> Optional[Dict[int, Dict[str, Any]]]:
        boundaries = self.non_spec_query_start_loc
        if self.batch_ptr is None or boundaries is None:
            return None
        nums = (-(-np.diff(boundaries.numpy()) // TILE)).astype(np.int32)
        ends = np.cumsum(nums, dtype=np.int64)
        total = int(ends[-1]) if len(ends) else 0
        offsets = np.arange(total, dtype=np.int64) - np.repeat(ends - nums, nums)
        rows = np.repeat(np.arange(len(nums), dtype=np.int64), nums)
        if self.token_class is not None:
            padding = np.full(self.num_tiles - total, -1, np.int64)
            offsets, rows = np.concatenate([offsets, padding]), np.concatenate([rows, padding])
            total = self.num_tiles
        return {TILE: {"nums": nums, "tot": total, "mlist": rows, "mlist_len": total,
                       "offsetlist": offsets.astype(np.int32), "batch_ptr": self.batch_ptr,
                       "token_chunk_offset_ptr": self.token_chunk_offset_ptr}}

    def __repr__(self) -> str:
        if self._core.owner is None:
            return "gdnmeta.Metadata(closed)"
        return (f"gdnmeta.Metadata(step={self.step}, decodes={self.num_decodes}, "
                f"prefills={self.num_prefills}, spec_decodes={self.num_spec_decodes}, "
                f"tokens={self.num_actual_tokens})")
