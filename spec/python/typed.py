"""For mypy alone: what hosts write has the types that they think it has."""

from __future__ import annotations

from typing import Dict, Optional

import numpy as np

import gdnmeta


def step(builder: gdnmeta.Builder, lengths: "np.typing.NDArray[np.int32]") -> Optional[gdnmeta.Tensor]:
    with builder.batch() as batch:
        batch.set(query_len=1, seq_len=lengths, drafts=None, prompt_done=True, table_row=[0, 1])
        batch.pad(rows=4, tokens=4)
        meta: gdnmeta.Metadata = builder.build(batch, None)
    decodes: int = meta.num_decodes
    counters: Dict[str, int] = builder.counters()
    violation: Optional[gdnmeta.Violation] = builder.check_result()
    assert decodes and counters and violation is None
    builder.build_raw(query_start_loc=[0, 1], seq_lens=lengths, block_table=None)
    return meta.group(0).chunk_offsets


def make() -> gdnmeta.Builder:
    gdnmeta.Builder(max_num_seq=3)  # type: ignore[call-arg]
    gdnmeta.Builder(max_num_seqs="3")  # type: ignore[arg-type]
    return gdnmeta.Builder(rules="strict", device="cpu", max_num_seqs=4, full_cuda_graph=True)
