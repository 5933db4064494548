"""Where a layer keeps states and windows between steps: a slot a row, as the index tensors number them."""

from __future__ import annotations

import torch

from .sizes import Sizes


class Pool:
    def __init__(self, sizes: Sizes, slots: int, device, dtype) -> None:
        self.states = torch.zeros(slots, *sizes.state_shape, device=device)
        self.windows = torch.zeros(slots, sizes.channels, sizes.window, device=device, dtype=dtype)

    def poison(self) -> None:
        """No kernel may use what nobody wrote, nor the null slot."""
        self.states.fill_(float("nan"))
        self.windows.fill_(float("nan"))
