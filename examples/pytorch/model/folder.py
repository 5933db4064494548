"""A checkpoint folder, opened by transformers after it was looked at: what is wrong is told by name."""

from __future__ import annotations

import json
import os
import struct

import torch

from .errors import ModelError

TYPES = ("qwen3_next", "qwen3_5", "qwen3_5_text", "qwen3_5_moe", "qwen3_5_moe_text")
INDEX = "model.safetensors.index.json"


def _json(folder: str, name: str):
    path = os.path.join(folder, name)
    try:
        with open(path, encoding="utf-8") as file:
            value = json.load(file)
    except FileNotFoundError:
        raise ModelError(f"{folder} has no {name}, want a folder of a model") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from None
    if not isinstance(value, dict):
        raise ModelError(f"{path} holds no object")
    return value


def _config(folder: str) -> None:
    """Refuses what is no model, and architectures without Gated DeltaNet layers."""
    if not os.path.isdir(folder):
        raise ModelError(f"{folder} is no folder, want a folder of a model")
    config = _json(folder, "config.json")
    kind = config.get("model_type")
    if kind not in TYPES:
        raise ModelError(f"{folder}: model_type is {kind!r}, want a hybrid model: {', '.join(TYPES)}")
    text = config.get("text_config") or config
    layers = text.get("layer_types") or ["linear_attention"]
    if "linear_attention" not in layers:
        raise ModelError(f"{folder}: no layer is linear_attention, want a hybrid model")


def _shards(folder: str):
    if os.path.isfile(os.path.join(folder, INDEX)):
        names = sorted(set(_json(folder, INDEX).get("weight_map", {}).values()))
        if not names:
            raise ModelError(f"{folder}: {INDEX} names no file")
        return names
    if not os.path.isfile(os.path.join(folder, "model.safetensors")):
        raise ModelError(f"{folder} has neither model.safetensors nor {INDEX}")
    return ["model.safetensors"]


def _shard(path: str) -> None:
    """Is a file of weights as long as its header says? A file that is cut would be read as something else."""
    try:
        size = os.path.getsize(path)
        with open(path, "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8).ljust(8, b"\0"))
            header = json.loads(file.read(length)) if 0 < length <= size - 8 else None
    except FileNotFoundError:
        raise ModelError(f"{path} is missing") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} is corrupt: {error}") from None
    if not isinstance(header, dict):
        raise ModelError(f"{path} has {size} bytes and its header {length}, want a whole safetensors file")
    ends = [value["data_offsets"][1] for name, value in header.items() if name != "__metadata__"]
    whole = 8 + length + max(ends, default=0)
    if size != whole:
        raise ModelError(f"{path} has {size} bytes, its header says {whole}: truncated")


def check(folder: str) -> None:
    """Everything that can be told without reading the weights."""
    _config(folder)
    for name in _shards(folder):
        _shard(os.path.join(folder, name))


def open_model(folder: str, device, dtype: str = "auto"):
    """The model of a folder as transformers has it, in evaluation mode on a device."""
    check(folder)
    from transformers import AutoModelForCausalLM

    wanted = "auto" if dtype == "auto" else getattr(torch, dtype)
    try:
        model, told = AutoModelForCausalLM.from_pretrained(
            folder, dtype=wanted, local_files_only=True, output_loading_info=True, ignore_mismatched_sizes=True
        )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise ModelError(f"{folder}: {str(error)[:500]}") from None
    for what in ("missing_keys", "mismatched_keys"):
        names = sorted(map(str, told.get(what) or ()))
        if names:
            raise ModelError(f"{folder}: {what.replace('_', ' ')}: {', '.join(names[:5])}, {len(names)} in all")
    return model.to(device).eval()


def open_tokenizer(folder: str, vocabulary: int):
    """The folder's tokenizer, which may know fewer tokens than the model, but no others."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{folder}: no tokenizer: {str(error)[:300]}") from None
    highest = max(tokenizer.get_vocab().values(), default=-1)
    if not 0 <= highest < vocabulary:
        raise ModelError(
            f"{folder}: the tokenizer's ids reach {highest}, the model has {vocabulary}: "
            f"the vocabulary does not match"
        )
    return tokenizer
