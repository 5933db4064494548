"""A prompt of one token and its answer, run before an engine's first step: what a model cannot do is told by name
while it is loaded, and kernels are compiled meanwhile."""

from __future__ import annotations

import numpy as np

from .errors import ModelError
from .runner import Runner
from .step import Step

TOKEN, SLOT, REQUEST = 0, 1, 0


def step_of(token: int, groups: int = 1, seq_len: int = 1) -> Step:
    """One row, greedy, whose state lies in slot 1, and the token at its end."""
    one = np.ones(1, np.int32)
    state = np.full((groups, 1), SLOT, np.int32)
    return Step(
        query_len=one,
        seq_len=one * seq_len,
        drafts=-one,
        accepted_tokens=one,
        samples=one,
        prompt_done=one * (seq_len > 1),
        table_row=one * 0,
        slots=state[:, :, None],
        read_slots=state * (seq_len > 1),
        tokens=one * token,
        temperature=np.zeros(1, np.float32),
        top_p=np.ones(1, np.float32),
        seed=np.zeros(1, np.uint64),
        request=np.full(1, REQUEST, np.int64),
    )


def run(runner: Runner) -> None:
    """Nothing is left of it: slots, blocks and rows of the table are written before they are read."""
    kept, runner.keep_logits = runner.keep_logits, True
    try:
        for seq_len, what in ((1, "a prompt"), (2, "a token of an answer")):
            runner.step(step_of(TOKEN, runner.limits.num_groups, seq_len))
            if not runner.logits.isfinite().all():
                raise ModelError(f"some logits are not finite in {runner.hybrid.dtype}")
    except ModelError as error:
        raise ModelError(f"the model cannot run {what}: {error}") from error
    except Exception as error:
        raise ModelError(f"the model cannot run {what}: {type(error).__name__}: {error}") from error
    finally:
        runner.keep_logits, runner.logits = kept, None
