"""Buckets of full_cuda_graph = "mixed": (rows, tokens), from which the shape of every tensor follows."""

from __future__ import annotations

from typing import Any, Dict, NamedTuple, Tuple

import numpy as np

from ._abi import STRUCTS, lib
from ._errors import integer
from ._metadata import FIELDS
from ._options import ask
from ._tensor import DTYPES

HIGH = 2**31 - 1


class Shape(NamedTuple):
    shape: Tuple[int, ...]
    dtype: np.dtype[Any]


class Bucket(NamedTuple):
    num_rows: int
    num_actual_tokens: int
    num_tiles: int
    tensors: Dict[str, Shape]  # by the names of Metadata


def sizes(rows: Any, tokens: Any) -> Tuple[int, int]:
    return integer("rows", rows, 0, HIGH), integer("tokens", tokens, 0, HIGH)


def bucket(rows: int, tokens: int, given: Dict[str, Any]) -> Bucket:
    rows, tokens = sizes(rows, tokens)
    out: Any = STRUCTS["gdn_metadata"]()

    def call(config: Any, into: Any, why: Any, size: int) -> int:
        status: int = lib.gdn_bucket(config, rows, tokens, into, why, size)
        return status

    ask(call, {"full_cuda_graph": "mixed", **given}, out)
    tensors = {}
    for name, kind in FIELDS.items():
        if kind is STRUCTS["gdn_tensor"]:
            tensor = getattr(out, name)
            if tensor.ndim:
                tensors[name] = Shape(tuple(tensor.shape[: tensor.ndim]), DTYPES[tensor.dtype])
    return Bucket(out.num_rows, out.num_actual_tokens, out.num_tiles, tensors)
