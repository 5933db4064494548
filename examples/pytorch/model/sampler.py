"""Chooses tokens from logits. The number that decides a token follows from the request's seed and the token's
place in its text, so a text is the same in every batch, with and without drafts, and after a preemption."""

from __future__ import annotations

import numpy as np
import torch

_STEP = np.uint64(0x9E3779B97F4A7C15)
NONE = -1  # in the place of a token, where there is none to choose
COLDEST = 1e-30  # devices take what is below float32's normal numbers for 0, and 0 / 0 is no weight


def _mixed(x):
    """Spreads 64-bit numbers over all 64-bit numbers: the finalizer of splitmix64."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def numbers(seeds, places):
    """In 0 .. 1, 1 excluded, for seeds and places [n]: float64."""
    with np.errstate(over="ignore"):
        seeds, places = seeds.astype(np.uint64), places.astype(np.uint64)
        bits = _mixed(_mixed(seeds + _STEP) + (places + np.uint64(1)) * _STEP)
    return (bits >> np.uint64(11)).astype(np.float64) / 2.0**53


def likeliest(logits):
    """The likeliest token of each row of logits [n, vocabulary], int64 [n]; NONE where the largest is no finite number,
    as with a NaN anywhere in the row."""
    at = logits.argmax(-1)  # takes a NaN for the largest
    return at.masked_fill(~logits.gather(-1, at[:, None])[:, 0].isfinite(), NONE)


def _draw(logits, temperature, top_p, u):
    """Of the likeliest tokens that together have the share top_p, the one that u falls on: int64 [n]. logits [n,
    vocabulary] float32; temperature, top_p and u (in 0 .. 1, 1 excluded) [n] on their device."""
    below = logits - logits.amax(-1, keepdim=True)  # 0 or less, so that no quotient is infinite upwards
    weights = torch.softmax(below / temperature.clamp(min=COLDEST)[:, None], -1)
    p, order = weights.sort(dim=-1, descending=True, stable=True)
    p = p.double()
    before = p.cumsum(-1) - p
    p = p.masked_fill(before >= top_p[:, None], 0)
    p[:, 0] = p[:, 0].clamp(min=1e-300)  # the likeliest is always there
    reached = p.cumsum(-1)
    at = torch.searchsorted(reached, u[:, None] * reached[:, -1:], right=True).clamp(max=p.shape[1] - 1)
    last = ((p > 0).sum(-1, keepdim=True) - 1).clamp(min=0)  # no weight is above 0 where one is NaN
    return order.gather(-1, torch.minimum(at, last))[:, 0]


def choose(logits, temperature, top_p, seeds, places):
    """A token for each row of logits [n, vocabulary], int64 [n] on their device; the rest are numpy arrays [n].
    A temperature of 0 takes the likeliest. NONE as in `likeliest`."""
    chosen = likeliest(logits)
    warm = np.flatnonzero(temperature > 0)
    if len(warm) == 0:
        return chosen
    device = logits.device
    at = torch.from_numpy(warm).to(device)

    def part(values):
        return torch.from_numpy(np.ascontiguousarray(values[warm])).to(device)

    u = part(numbers(seeds, places))
    drawn = _draw(logits[at], part(temperature.astype(np.float32)), part(top_p.astype(np.float64)), u)
    chosen[at] = torch.where(chosen[at] == NONE, chosen[at], drawn)
    return chosen
