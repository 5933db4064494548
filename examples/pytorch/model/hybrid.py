"""A hybrid model over the rows of a step. The model is transformers' own, with its weights: embeddings, norms,
projections, experts and head run as they are. Its two kinds of layers are run over pools instead of caches."""

from __future__ import annotations

import sys

import torch

from . import kernels
from .attention import AttentionLayer, KvPool, Plan
from .gdn_layer import BRANCHES, GdnLayer, StatePool
from .limits import Limits, check_memory
from .tables import Pass


class Hybrid:
    def __init__(self, model, limits: Limits) -> None:
        self.model, self.limits, self.config = model, limits, model.config
        weight = model.lm_head.weight
        self.device, self.dtype = weight.device, weight.dtype
        check_memory(self.config, limits, self.dtype, self.device)
        module = sys.modules[type(model).__module__]
        self.kernels = kernels.load(self.device, module)
        self.mixers, self.gdn, self.attention = [], [], []
        for layer in model.model.layers:
            if hasattr(layer, "linear_attn"):
                group = len(self.gdn) % limits.num_groups
                pool = StatePool(
                    self.config, limits.num_slots[group], limits.num_speculative_tokens, self.device, self.dtype
                )
                self.gdn.append(GdnLayer(layer.linear_attn, pool, self.kernels, group))
                self.mixers.append(self.gdn[-1])
            else:
                pool = KvPool(self.config, limits.kv_blocks, limits.kv_block_size, self.device, self.dtype)
                self.attention.append(AttentionLayer(layer.self_attn, pool, module.apply_rotary_pos_emb))
                self.mixers.append(self.attention[-1])

    def positions(self, numbers):
        """Cosines and sines of positions [n]."""
        like, rotary = torch.empty(0, device=self.device, dtype=self.dtype), self.model.model.rotary_emb
        if hasattr(rotary, "mrope_section"):  # a text's tokens have one position in all three of an image's axes
            return rotary(like, numbers.expand(3, 1, -1))
        return rotary(like, numbers[None])

    def forward(self, tokens, tables: Pass, plan: Plan, branches=BRANCHES):
        """Tokens [T + 1] as what the head takes [T + 1, hidden]. The last token belongs to no row."""
        hidden = self.model.model.embed_tokens(tokens[None])
        for layer, mixer in zip(self.model.model.layers, self.mixers):
            normed = layer.input_layernorm(hidden)
            if isinstance(mixer, GdnLayer):
                hidden = hidden + mixer.forward(tables, normed, branches)
            else:
                hidden = hidden + mixer.forward(plan, normed)
            added = layer.mlp(layer.post_attention_layernorm(hidden))
            hidden = hidden + (added[0] if isinstance(added, tuple) else added)
        return self.model.model.norm(hidden)[0]

    def logits(self, hidden, at):
        """Of the tokens `at`, [n, vocabulary] float32."""
        return self.model.lm_head(hidden.index_select(0, at)).float()

    def copy_blocks(self, copies) -> None:
        """Blocks of keys and values (from, to), int64 [n, 2] on the device."""
        size = self.limits.kv_block_size
        inner = torch.arange(size, device=self.device)
        source, target = ((copies[:, side, None] * size + inner).flatten() for side in (0, 1))
        for layer in self.attention:
            layer.pool.keys[target] = layer.pool.keys[source]
            layer.pool.values[target] = layer.pool.values[source]
