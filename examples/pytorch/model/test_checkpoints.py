"""A state that a prefill leaves on the way is where another request may begin: its tokens are those of the model
alone.
    python3 examples/pytorch/model/test_checkpoints.py [--root FOLDER]"""

from __future__ import annotations

import argparse
import os
import sys

import numpy as np
import torch

sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from model import folder, random_model  # noqa: E402
from model.limits import Limits  # noqa: E402
from model.runner import Runner  # noqa: E402
from model.step import Step  # noqa: E402

GROUPS, SIZE, LENGTH = 3, 16, 150  # cache groups, tokens of a block, tokens of the text
OWN, KEPT, OTHER = 1, 2, 3  # slots: of the first request, of the state that is kept, of the second request


def step_of(text, first: int, last: int, read: int, write: int, checkpoint: int = 0):
    """Tokens first .. last - 1 of the one text, whose keys and values all requests share."""
    one, blocks = np.ones(1, np.int32), -(-LENGTH // SIZE)
    columns = np.arange(blocks)
    return Step(
        query_len=one * (last - first),
        seq_len=one * last,
        drafts=-one,
        accepted_tokens=one,
        samples=one,
        prompt_done=one * 0,
        table_row=one * 0,
        slots=np.full((GROUPS, 1, 1), write, np.int32),
        read_slots=np.full((GROUPS, 1), read, np.int32),
        tokens=text[first:last],
        temperature=np.zeros(1, np.float32),
        top_p=np.ones(1, np.float32),
        seed=np.zeros(1, np.uint64),
        request=np.ones(1, np.int64),
        table_changes=np.stack([columns * 0, columns, columns], 1).astype(np.int32),
        checkpoint_len=one * checkpoint,
        checkpoint_slot=np.full((GROUPS, 1), KEPT, np.int32),
    )


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", default="build/models")
    model = folder.open_model(random_model.folder("tiny", parser.parse_args().root), "cpu")
    text = np.random.default_rng(1).integers(2, 320, LENGTH).astype(np.int32)
    with torch.inference_mode():
        wanted = model(torch.from_numpy(text.astype(np.int64))[None]).logits[0, -1]
    worst = 0.0
    # Within and at the end of the kernel's chunks of 64 tokens, in a first part of the text and in a later one.
    for start, checkpoint in ((0, 1), (0, 2), (0, 37), (0, 64), (0, 120), (40, 41), (40, 104), (70, 149)):
        runner = Runner(model, Limits(num_groups=GROUPS, num_slots=(4,) * GROUPS), keep_logits=True)
        if start:
            runner.step(step_of(text, 0, start, 0, OWN))
        runner.step(step_of(text, start, LENGTH, OWN if start else 0, OWN, checkpoint))
        worst = max(worst, (runner.logits[0] - wanted).abs().max().item())
        runner.step(step_of(text, checkpoint, LENGTH, KEPT, OTHER))
        error = (runner.logits[0] - wanted).abs().max().item()
        assert error <= 1e-4, f"state after {checkpoint} tokens of a part from {start} on: off by {error:.1e}"
        worst = max(worst, error)
    print(f"checkpoints: ok, logits off by {worst:.1e} at most")
    return 0


if __name__ == "__main__":
    sys.exit(main())
