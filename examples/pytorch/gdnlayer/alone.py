"""Every request by itself: one token after the other in float32, from zeros. Nothing of the tables is
used."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from . import naive
from .layer import Layer
from .schedule import Schedule

AT_ONCE = 64  # requests


class Inputs:
    """What the tokens of a schedule bring to the layer; those of wrong drafts are numbers too, padding is
    NaN."""

    def __init__(self, schedule: Schedule, layer: Layer, seed: int, device, dtype) -> None:
        random = torch.Generator().manual_seed(seed)
        sizes, count = layer.sizes, schedule.padding + 1

        def draw(width):
            values = torch.randn(count, width, generator=random)
            values[schedule.padding] = float("nan")
            return values.to(device, dtype)

        self.x, self.a, self.b = draw(sizes.channels), draw(sizes.value_heads), draw(sizes.value_heads)


def numbers(schedule: Schedule, request):
    """The tokens of a request as far as it was served, the shared prefix in front."""
    own = range(request.first + request.start, request.first + request.computed)
    return [*range(request.start), *own] if request.computed > request.start else []


def outputs(schedule: Schedule, layer: Layer, inputs: Inputs):
    """[tokens, value_heads, value_dim] float32; NaN for tokens that were not served."""
    out = torch.full(
        (len(inputs.x), layer.sizes.value_heads, layer.sizes.value_dim), float("nan"), device=inputs.x.device
    )
    rows = sorted((row for request in schedule.requests if (row := numbers(schedule, request))), key=len)
    for first in range(0, len(rows), AT_ONCE):
        _some(rows[first : first + AT_ONCE], layer, inputs, out)
    return out


def _some(rows, layer: Layer, inputs: Inputs, out) -> None:
    sizes, length = layer.sizes, max(map(len, rows))
    at = torch.tensor([row + [row[-1]] * (length - len(row)) for row in rows], device=out.device)
    x = F.pad(
        inputs.x.float()[at].transpose(1, 2), (sizes.width - 1, 0)
    )  # [rows, channels, tokens in front ..]
    y = F.silu((x.unfold(2, sizes.width, 1) * layer.weight.float()[:, None]).sum(-1)).transpose(1, 2)
    g, beta = layer.gates(inputs.a[at], inputs.b[at])
    state = torch.zeros(len(rows), *sizes.state_shape, device=out.device)
    for place in range(length):
        o, state = naive.token(*sizes.split(y[:, place]), g[:, place], beta[:, place], state)
        here = [i for i, row in enumerate(rows) if place < len(row)]
        here = slice(here[0], None)  # rows are sorted by length
        out[at[here, place]] = o[here]
