"""Sizes of a layer."""

from __future__ import annotations

from typing import NamedTuple


class Sizes(NamedTuple):
    heads: int  # of queries and keys
    value_heads: int  # a multiple of that
    key_dim: int
    value_dim: int
    width: int  # inputs that the convolution sees
    drafts: int  # speculative tokens a row may have

    @property
    def channels(self) -> int:
        """Inputs of the convolution: queries, keys and values of a token."""
        return 2 * self.heads * self.key_dim + self.value_heads * self.value_dim

    @property
    def window(self) -> int:
        """Inputs that a slot keeps: those in front of the next token, whichever drafts are accepted."""
        return self.width - 1 + self.drafts

    @property
    def state_shape(self) -> tuple[int, int, int]:
        return self.value_heads, self.key_dim, self.value_dim

    def split(self, mixed):
        """[n, channels] as queries, keys [n, heads, key_dim] and values [n, value_heads, value_dim]."""
        keys = self.heads * self.key_dim
        q, k, v = mixed.split([keys, keys, self.value_heads * self.value_dim], -1)
        return (
            q.unflatten(-1, (self.heads, self.key_dim)),
            k.unflatten(-1, (self.heads, self.key_dim)),
            v.unflatten(-1, (self.value_heads, self.value_dim)),
        )


SERVED = Sizes(
    heads=4, value_heads=8, key_dim=128, value_dim=128, width=4, drafts=3
)  # a quarter of a large model's
TINY = Sizes(heads=1, value_heads=2, key_dim=16, value_dim=16, width=4, drafts=3)
