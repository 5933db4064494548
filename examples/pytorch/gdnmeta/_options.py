"""Options of a builder: the fields of gdn_config, by name and with names for what is a number in C."""
from __future__ import annotations

import ctypes
import re
from typing import Any, Callable, Dict, Mapping, Optional, Sequence, Tuple, TypedDict, Union

from ._abi import CONSTANTS, STRUCTS, lib, names_of, text
from ._arrays import int32s
from ._errors import Error, flag, integer, one_of, wrong
from ._memory import Int32s


class Options(TypedDict, total=False):
    """What Builder and builder_bytes take. None is the core's default; gdnmeta.h describes each."""

    rules: Optional[str]  # "strict", or the name of an upstream builder: RULES
    num_slots: Union[None, int, Sequence[int], Int32s]  # one for all groups, or one per group
    device: Union[None, str, int, Any]  # "cpu", "auto", "cuda", "cuda:N", an ordinal, torch's device
    max_num_seqs: Optional[int]
    max_num_batched_tokens: Optional[int]
    max_rows: Optional[int]
    num_speculative_tokens: Optional[int]
    full_cuda_graph: Union[None, bool, str]
    max_cudagraph_capture_size: Optional[int]
    mamba_cache_mode: Optional[str]  # "none", "align", "all"
    mamba_block_size: Optional[int]
    num_speculative_blocks: Optional[int]  # default num_speculative_tokens
    num_groups: Optional[int]
    max_requests: Optional[int]
    max_blocks_per_row: Optional[int]
    parallel_drafting: Optional[bool]
    decode_context_parallel_size: Optional[int]
    check_unique: Optional[bool]
    pad_slot_id: Optional[int]
    query_start_loc_dtype: Any  # "int32", "int64", or what numpy or torch call so
    check: Optional[bool]
    poison: Optional[bool]
    gdn_prefill_backend: Optional[str]  # "triton", "flashinfer"; strict and vllm-2026-11
    checkpoint_any: Optional[bool]  # strict
    num_prefill_checkpoint_blocks: Optional[int]  # this and the rest: vllm-2026-11
    prefill_checkpoint_alignment: Optional[int]
    hash_block_size: Optional[int]
    cache_hit_alignment_tokens: Optional[int]
    num_hash_lookahead_tokens: Optional[int]
    drop_eagle_block: Optional[bool]


RULES, MODES, BACKENDS = names_of("RULES"), names_of("CACHE"), names_of("PREFILL")
DTYPES = {"int32": CONSTANTS["GDN_INT32"], "int64": CONSTANTS["GDN_INT64"]}
FIELDS = {name: kind for name, kind in getattr(STRUCTS["gdn_config"], "_fields_") if name != "size"}
WHY_SIZE = 512  # bytes of a reason
DEVICES = '"auto", "cpu", "cuda", "cuda:N" or an ordinal'


def _named(codes: Dict[str, int]) -> Callable[[str, Any], int]:
    def domain(name: str, value: Any) -> int:
        code = codes.get(value) if isinstance(value, str) else None
        if code is None:
            raise (ValueError if isinstance(value, str) else TypeError)(wrong(name, value, one_of(codes)))
        return code
    return domain


def _dtype(name: str, value: Any) -> int:
    if not isinstance(value, str):  # numpy.int64, numpy.dtype("int64"), torch.int64
        value = str(getattr(value, "__name__", value)).replace("torch.", "")
    return _named(DTYPES)(name, value)


def _device(name: str, value: Any) -> int:
    if type(value).__name__ == "device":  # torch's
        value = str(value)
    if isinstance(value, str):
        fixed = {"cpu": CONSTANTS["GDN_DEVICE_CPU"], "auto": CONSTANTS["GDN_DEVICE_AUTO"], "cuda": 0}
        ordinal = re.fullmatch(r"cuda:(\d{1,3})", value)
        if value in fixed or ordinal:
            return fixed[value] if value in fixed else int(ordinal[1])  # type: ignore[index]
        raise ValueError(wrong(name, value, DEVICES))
    if isinstance(value, bool) or not hasattr(type(value), "__index__"):
        raise TypeError(wrong(name, value, DEVICES))
    return integer(name, value, -2, 1023)


def _full_cuda_graph(name: str, value: Any) -> int:
    return 2 if value == "mixed" and isinstance(value, str) else flag(name, value)


DOMAINS: Dict[str, Callable[[str, Any], int]] = {
    "rules": _named(RULES), "mamba_cache_mode": _named(MODES), "query_start_loc_dtype": _dtype,
    "device": _device, "full_cuda_graph": _full_cuda_graph, "parallel_drafting": flag, "check_unique": flag,
    "check": flag, "poison": flag, "checkpoint_any": flag, "drop_eagle_block": flag,
    "gdn_prefill_backend": _named(BACKENDS),
}


def _slots(value: Any, groups: int) -> Int32s:
    if isinstance(value, int) and not isinstance(value, bool):
        value = [integer("num_slots", value, 1, 2**31 - 1)] * groups
    slots = int32s("num_slots", value, contiguous=True)
    if len(slots) != groups:
        raise ValueError(f"num_slots has {len(slots)} elements, want {groups}, one per group")
    for i, slot in enumerate(slots.tolist()):
        integer(f"num_slots[{i}]", slot, 1, 2**31 - 1)
    return slots


def parse(given: Mapping[str, Any]) -> Tuple[ctypes.Structure, object]:
    """Options as a gdn_config, and what must live as long as it is read."""
    config = STRUCTS["gdn_config"]()
    lib.gdn_config_init(ctypes.byref(config))
    for name, value in given.items():
        if name not in FIELDS:  # ctypes would take it for an attribute of the object, and say nothing
            raise TypeError(f"unknown option {name}, want one of {', '.join(FIELDS)}")
        if value is not None and name != "num_slots":
            domain = DOMAINS.get(name)
            setattr(config, name, domain(name, value) if domain else integer(name, value, -2**31, 2**31 - 1))
    if given.get("num_speculative_blocks") is None:
        config.num_speculative_blocks = config.num_speculative_tokens
    slots = None
    if given.get("num_slots") is not None:
        slots = _slots(given["num_slots"], max(1, min(64, config.num_groups)))
        config.num_slots = slots.ctypes.data
    return config, slots


def ask(call: Any, given: Mapping[str, Any], out: Any) -> None:
    """What the core says of a configuration, into `out`; or raises what is wrong with it."""
    config, alive = parse(given)
    why = ctypes.create_string_buffer(WHY_SIZE)
    status = call(ctypes.byref(config), ctypes.byref(out), why, WHY_SIZE)
    del alive
    if status:
        raise Error(text(why.value), status)
