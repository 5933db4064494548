"""What a worker is made for, and the memory that takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Tuple

import torch

from .errors import ModelError

SERVED = {"mamba_cache_mode": ("none", "align"), "parallel_drafting": (False,), "decode_context_parallel_size": (1,)}


@dataclass(frozen=True)
class Limits:
    """The engine's builder must have the same numbers."""

    max_num_seqs: int = 16
    max_num_batched_tokens: int = 512
    num_speculative_tokens: int = 0
    num_groups: int = 1
    num_slots: Tuple[int, ...] = (65,)  # of each group, the null slot included
    max_requests: int = 16  # rows of the kv table
    kv_blocks: int = 256
    kv_block_size: int = 16
    max_kv_blocks: int = 64  # columns of the kv table
    max_rows: int = 0  # padded ones included; 0: max_num_seqs
    mamba_cache_mode: str = "none"
    mamba_block_size: Optional[int] = None
    max_blocks_per_row: int = 0  # columns of the engine's state tables

    @property
    def columns(self) -> int:
        """Of this side's tables: there is one for each slot that a row writes, and one for the slot that it reads."""
        return max(self.max_blocks_per_row, self.num_speculative_tokens + 2)

    @property
    def rows(self) -> int:
        return self.max_rows or self.max_num_seqs


def state_bytes(config, dtype) -> int:
    """A slot of one GDN layer."""
    keys = config.linear_num_key_heads * config.linear_key_head_dim
    values = config.linear_num_value_heads * config.linear_value_head_dim
    window = (2 * keys + values) * (config.linear_conv_kernel_dim - 1) * dtype.itemsize
    return 4 * values * config.linear_key_head_dim + window


def pool_bytes(config, limits: Limits, dtype) -> int:
    """All states, windows, keys and values."""
    linear = [i for i, kind in enumerate(config.layer_types) if kind == "linear_attention"]
    slots = sum(limits.num_slots[i % limits.num_groups] for i in range(len(linear)))
    token = 2 * config.num_key_value_heads * config.head_dim * dtype.itemsize
    blocks = limits.kv_blocks * limits.kv_block_size * (len(config.layer_types) - len(linear))
    return slots * state_bytes(config, dtype) + blocks * token


def check_memory(config, limits: Limits, dtype, device) -> None:
    """More requests than memory is told before anything is allocated."""
    if len(limits.num_slots) != limits.num_groups:
        raise ModelError(f"num_slots has {len(limits.num_slots)} numbers, want {limits.num_groups}, one a group")
    wanted = pool_bytes(config, limits, dtype)
    device = torch.device(device)
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
    else:
        free = _host_free()
    if wanted > free:
        raise ModelError(
            f"states and blocks for {limits.max_num_seqs} requests take {wanted / 2**30:.2f} GiB "
            f"(num_slots = {limits.num_slots}, kv_blocks = {limits.kv_blocks}), {device} has {free / 2**30:.2f} free"
        )


def _host_free() -> int:
    with open("/proc/meminfo", encoding="ascii") as file:
        for line in file:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return 2**63


def of_hello(hello, config) -> Limits:
    """Those of the engine that a worker is made for (gdnmeta.Hello), if the model can serve it."""
    options = hello.options
    for name, wanted in SERVED.items():
        if options[name] not in wanted:
            raise ModelError(
                f"the engine's builder has {name} = {options[name]!r}, want {' or '.join(map(repr, wanted))}"
            )
    if hello.kv_blocks == 0:
        raise ModelError("the engine has no kv_blocks, want some: the model has attention layers")
    if hello.vocab_size and hello.vocab_size != config.vocab_size:
        raise ModelError(f"the engine's vocab_size = {hello.vocab_size}, the model has {config.vocab_size}")
    if hello.max_model_len > config.max_position_embeddings:
        raise ModelError(
            f"the engine's max_model_len = {hello.max_model_len}, the model has {config.max_position_embeddings} "
            "positions"
        )
    if hello.kv_columns * hello.kv_block_size < hello.max_model_len:
        raise ModelError(
            f"the engine's kv table has {hello.kv_columns} columns for blocks of {hello.kv_block_size} tokens, "
            f"want room for max_model_len = {hello.max_model_len}"
        )
    return Limits(
        max_num_seqs=options["max_num_seqs"],
        max_num_batched_tokens=options["max_num_batched_tokens"],
        num_speculative_tokens=options["num_speculative_tokens"],
        num_groups=options["num_groups"],
        num_slots=tuple(options["num_slots"]),
        max_requests=options["max_requests"] or options["max_num_seqs"],
        kv_blocks=hello.kv_blocks,
        kv_block_size=hello.kv_block_size,
        max_kv_blocks=hello.kv_columns,
        max_rows=options["max_rows"],
        mamba_cache_mode=options["mamba_cache_mode"],
        mamba_block_size=options["mamba_block_size"],
        max_blocks_per_row=options["max_blocks_per_row"],
    )
