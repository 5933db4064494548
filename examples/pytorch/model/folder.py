"""A checkpoint folder, opened by transformers after it was looked at: what is wrong is told by name."""

from __future__ import annotations

import os

import torch

from . import files
from .errors import ModelError

TYPES = ("qwen3_next", "qwen3_5", "qwen3_5_text", "qwen3_5_moe", "qwen3_5_moe_text")
SHOWN = 5  # tensors that a message names
WORDS = 400  # letters of what others say


def _said(folder: str, what: str, error: Exception) -> ModelError:
    """What transformers makes of a folder: it raises whatever the file drove it to."""
    return ModelError(f"{folder}: {what}: {type(error).__name__}: {' '.join(str(error).split())[:WORDS]}")


def _config(folder: str) -> None:
    """Refuses what is no model, and architectures without Gated DeltaNet layers."""
    config = files.read_json(folder, "config.json")
    kind = config.get("model_type")
    if kind not in TYPES:
        raise ModelError(f"{folder}: model_type is {str(kind)[:60]!r}, want a hybrid model: {', '.join(TYPES)}")
    text = config.get("text_config") or config
    if not isinstance(text, dict):
        raise ModelError(f"{folder}: text_config is {str(text)[:60]!r}, want an object")
    layers = text.get("layer_types") or ["linear_attention"]
    if not isinstance(layers, list) or "linear_attention" not in layers:
        raise ModelError(f"{folder}: no layer is linear_attention, want a hybrid model")
    for part in (config, text):
        if part.get("quantization_config"):
            raise ModelError(f"{folder}: the weights are quantized, want {', '.join(files.FLOATS)}")


def check(folder: str) -> None:
    """Everything that can be told without reading the weights."""
    files.look(folder)
    _config(folder)
    for name in files.shards(folder):
        files.check_shard(os.path.join(folder, name))


def _shape(size) -> str:
    return " x ".join(map(str, size)) or "a number"


def _check_tensors(folder: str, told) -> None:
    """Are the files' tensors those of the model that config.json describes, no more and no less?"""
    others = [f"{name} is {_shape(had)}, want {_shape(wanted)}" for name, had, wanted in told["mismatched_keys"]]
    lists = {"missing keys": told["missing_keys"], "mismatched keys": others,
             "keys that the model of config.json has not": told["unexpected_keys"]}
    for what, names in lists.items():
        if names:
            shown = ", ".join(sorted(map(str, names))[:SHOWN])
            raise ModelError(f"{folder}: {what}: {shown}{f', {len(names)} in all' if len(names) > SHOWN else ''}")


def _check_numbers(folder: str, model) -> None:
    for name, tensor in model.named_parameters():
        if not tensor.isfinite().all():
            raise ModelError(f"{folder}: {name} has numbers that are not finite in {tensor.dtype}")


def open_model(folder: str, device, dtype: str = "auto"):
    """The model of a folder as transformers has it, in evaluation mode on a device."""
    check(folder)
    from transformers import AutoModelForCausalLM

    wanted = "auto" if dtype == "auto" else getattr(torch, dtype)
    try:
        model, told = AutoModelForCausalLM.from_pretrained(
            folder, dtype=wanted, local_files_only=True, output_loading_info=True, ignore_mismatched_sizes=True
        )
    except Exception as error:
        raise _said(folder, "no model", error) from None
    _check_tensors(folder, told)
    model = model.to(device).eval()
    _check_numbers(folder, model)
    return model


def open_tokenizer(folder: str, vocabulary: int):
    """The folder's tokenizer, which may know fewer tokens than the model, but no others."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:
        raise _said(folder, "no tokenizer", error) from None
    names = sorted({name for what, name in tokenizer.vocab_files_names.items() if what != "merges_file"})
    if not any(os.path.isfile(os.path.join(folder, name)) for name in names):  # then it is an empty one
        raise ModelError(f"{folder}: no tokenizer: want one of {', '.join(names)}")
    highest = max(tokenizer.get_vocab().values(), default=-1)
    if not 0 <= highest < vocabulary:
        raise ModelError(
            f"{folder}: the tokenizer's ids reach {highest}, the model has {vocabulary}: "
            f"the vocabulary does not match"
        )
    return tokenizer
