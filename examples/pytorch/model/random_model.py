"""Models of random weights, for machines without a checkpoint: drawn from a seed once, and kept as a folder
that transformers reads like any other.

"tiny" is a Qwen3-Next of four layers with experts, for checks on a CPU, "tiny-dense" a Qwen3.5 of that size;
"small" has heads of the size that GPU kernels are made for; "0.6b" has the shape of a dense Qwen3.5."""

from __future__ import annotations

import os
import shutil
import tempfile

import torch

from . import random_tokenizer
from .errors import ModelError

NEXT = {
    "model_type": "qwen3_next",
    "num_hidden_layers": 4,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 32,
    "decoder_sparse_step": 2,
    "vocab_size": 320,
    "max_position_embeddings": 4096,
}
SMALL = {
    **NEXT,
    "num_hidden_layers": 8,
    "hidden_size": 512,
    "intermediate_size": 1024,
    "num_attention_heads": 4,
    "head_dim": 128,
    "linear_key_head_dim": 128,
    "linear_value_head_dim": 128,
    "mlp_only_layers": list(range(8)),  # in bfloat16 a batch may move a token to other experts
    "vocab_size": 4096,
}
DENSE = {
    "model_type": "qwen3_5_text",
    "num_hidden_layers": 24,
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 256,
    "linear_num_key_heads": 16,
    "linear_num_value_heads": 16,
    "linear_key_head_dim": 128,
    "linear_value_head_dim": 128,
    "vocab_size": 151936,
    "max_position_embeddings": 32768,
    "tie_word_embeddings": True,
}
TINY_DENSE = {
    **DENSE,
    **{name: NEXT[name] for name in NEXT if name in DENSE and name != "model_type"},
    "linear_num_key_heads": 4,
}
# Spread of the weights: wide enough that a token's logits depend on all tokens before it.
SIZES = {
    "tiny": (NEXT, 0.15, "float32"),
    "tiny-dense": (TINY_DENSE, 0.15, "float32"),
    "small": (SMALL, 0.05, "bfloat16"),
    "0.6b": (DENSE, 0.03, "bfloat16"),
}


def _config(shape, spread: float):
    from transformers import AutoConfig

    known = dict(shape)
    return AutoConfig.for_model(known.pop("model_type"), initializer_range=spread, eos_token_id=1, **known)


def _remember(model) -> None:
    """Decays of a trained model: a tenth of the heads forgets within a few tokens, the others within tens
    and hundreds. As transformers draws them, a state would be gone after a token, and no fault would show."""
    for layer in model.model.layers:
        if hasattr(layer, "linear_attn"):
            part = layer.linear_attn
            heads = len(part.A_log)
            part.A_log.copy_(torch.empty(heads).uniform_(0.5, 4).log())
            steps = torch.empty(heads).uniform_(-6.5, -1.5).exp()  # softplus(dt_bias)
            part.dt_bias.copy_(torch.log(torch.expm1(steps)))


def _draw(shape, spread: float, dtype: str, seed: int):
    from transformers import AutoModelForCausalLM

    kept = torch.random.get_rng_state()
    try:
        torch.manual_seed(seed)
        with torch.no_grad():
            model = AutoModelForCausalLM.from_config(_config(shape, spread), dtype=torch.float32)
            _remember(model)
            for parameter in model.parameters():
                if not parameter.isfinite().all():
                    raise ModelError("a parameter of the random model is not finite")
    finally:
        torch.random.set_rng_state(kept)
    return model.to(getattr(torch, dtype))


def folder(size: str, root: str, seed: int = 1) -> str:
    """Where the random model of a size lies, in a folder of `root`; made where it is not there yet."""
    if size not in SIZES:
        raise ModelError(f"--random {size}, want one of {', '.join(SIZES)}")
    shape, spread, dtype = SIZES[size]
    place = os.path.join(root, f"random-{size}-{seed}")
    if os.path.isfile(os.path.join(place, "config.json")):
        return place
    os.makedirs(root, exist_ok=True)
    half = tempfile.mkdtemp(prefix=f"random-{size}-", dir=root)
    try:
        _draw(shape, spread, dtype, seed).save_pretrained(half)
        random_tokenizer.save(half, shape["vocab_size"], shape["max_position_embeddings"])
        os.chmod(half, 0o755)
        try:
            os.rename(half, place)
        except OSError:  # another process was first
            if not os.path.isfile(os.path.join(place, "config.json")):
                raise
    finally:
        shutil.rmtree(half, ignore_errors=True)
    return place
