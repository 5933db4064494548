"""Steps of buckets in buffers that stay, against the same steps one by one: every bit of the hidden states and every
token is the same, whatever the buffers held before, and also where few graphs are kept.
    python3 examples/pytorch/model/test_graphs.py [--device cuda] [--seed N]

On a CPU, where nothing can be captured, the same work is launched from the same buffers. On a GPU it is replayed, and
kernels of another launch may sum up in another order: there tokens are compared, and hidden states to within 3e-2.
    test_graphs: <n> steps, <n> graphs, <n> replays, <n> tokens, <n> wrong, hidden states off by <e>"""

from __future__ import annotations

import argparse
import os
import sys

import torch

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[0] = os.path.dirname(HERE)

from checks import requests  # noqa: E402
from checks.cases import limits_of  # noqa: E402
from checks.engine import Engine  # noqa: E402
from model import folder, random_model  # noqa: E402
from model.graphs import GraphRunner  # noqa: E402
from model.runner import Runner  # noqa: E402

CASES = {
    "decodes": {"S": 0, "groups": 1, "seqs": 6, "tokens": 64, "buckets": 2},
    "drafts": {"S": 3, "groups": 3, "seqs": 5, "tokens": 64, "buckets": 2, "hash": 16, "kv_blocks": 60},
    "few": {"S": 2, "groups": 3, "seqs": 6, "tokens": 64, "buckets": 1, "kv_blocks": 24},
}


@torch.inference_mode()
def spoil(runner: GraphRunner, lengths: bool) -> None:
    """What a step does not write is wrong; what follows from the lengths of rows is left, or forgotten as well."""
    for bucket in runner.buckets.values():
        if lengths:
            bucket.inputs.choices = None
            bucket.inputs.staged.fill_(77)
        for name in ("ids", "positions", "places", "seq_len", "table_row"):
            bucket.inputs.host[name][:] = 77
        bucket.inputs.device.fill_(77)
        bucket.hidden.fill_(float("nan"))
        bucket.chosen.fill_(-7)
        bucket.logits.fill_(float("nan"))


class Compared:
    def __init__(self, on_gpu: bool) -> None:
        self.on_gpu, self.steps, self.tokens, self.wrong, self.off = on_gpu, 0, 0, 0, 0.0

    def step(self, got, want, ours, theirs, n: int) -> None:
        self.steps += 1
        self.tokens += len(want.tokens)
        same = got.counts.tolist() == want.counts.tolist() and got.tokens.tolist() == want.tokens.tolist()
        ours, theirs = ours[:n].float(), theirs[:n].float()
        off = float((ours - theirs).norm() / theirs.norm())
        self.off = max(self.off, off)
        near = off < 3e-2 if self.on_gpu else torch.equal(ours, theirs)
        self.wrong += not near or not (same or self.on_gpu)


class Kept(Runner):
    def forward(self, step, choices):
        self.hidden = super().forward(step, choices)
        return self.hidden


class KeptGraphs(GraphRunner):
    def forward(self, step, choices):
        self.hidden = super().forward(step, choices)
        return self.hidden


def run(model, options, seed: int, most: int):
    drawn = requests.draw(12, seed, model.config.vocab_size, 90, 20, sampled=0.2)
    engine, compared = Engine(drawn, {**options, "seed": seed}), Compared(model.device.type != "cpu")
    try:
        limits = limits_of(options, engine.hello)
        ours, theirs = KeptGraphs(model, limits, most=most), Kept(model, limits)
        for step in engine.steps():
            spoil(ours, lengths=compared.steps % 3 == 0)
            got, want = ours.step(step), theirs.step(step)
            compared.step(got, want, ours.hidden, theirs.hidden, len(step.tokens))
            engine.answer(want.counts, want.tokens)
    finally:
        engine.close()
    assert len(ours.graphs) <= most
    return compared, ours


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--random", help="default: tiny on a CPU, small on a GPU")
    parser.add_argument("--root", default="build/models", help="where random models lie")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    size = args.random or ("tiny" if args.device == "cpu" else "small")
    model = folder.open_model(random_model.folder(size, args.root), args.device)
    wrong = 0
    print(f"test_graphs: {size} on {args.device}", flush=True)
    for name, options in CASES.items():
        compared, runner = run(model, options, args.seed, 2 if name == "few" else 64)
        ran = ", ".join(f"{name} {count}" for name, count in sorted(runner.ran.items()))
        print(f"test_graphs: {name}: {compared.steps} steps, {len(runner.graphs)} graphs, {ran}, {compared.tokens} "
              f"tokens, {compared.wrong} wrong, hidden states off by {compared.off:.2g}", flush=True)  # fmt: skip
        wrong += compared.wrong + len(runner.refused) + (compared.tokens == 0) + (sum(runner.ran.values()) == 0)
    print(f"test_graphs: {'FAILED' if wrong else 'ok'}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
