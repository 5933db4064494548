"""Steps of buckets in buffers that stay, against the same steps one by one: every bit of the hidden states and every
token is the same, whatever the buffers held before, and also where few graphs are kept. And prompts of many steps that choose
no token, which nobody waits for, on a device that is far behind.
    python3 examples/pytorch/model/test_graphs.py [--device cuda] [--seed N]

On a CPU, where nothing can be captured, the same work is launched from the same buffers. On a GPU it is replayed, and
kernels of another launch may sum up in another order: there hidden states are compared, to within 3e-2 of their norm.
    test_graphs: <case>: <n> steps, <n> graphs, <n> replays, <n> tokens, <n> wrong, hidden states off by <e>"""

from __future__ import annotations

import argparse
import os
import sys
from types import SimpleNamespace

import numpy as np
import torch

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[0] = os.path.dirname(HERE)

from checks import requests  # noqa: E402
from checks.cases import limits_of  # noqa: E402
from checks.engine import Engine  # noqa: E402
from model import folder, random_model  # noqa: E402
from model.graphs import GraphRunner  # noqa: E402
from model.inputs import Inputs  # noqa: E402
from model.limits import Limits  # noqa: E402
from model.runner import Runner  # noqa: E402

CASES = {
    "decodes": {"S": 0, "groups": 1, "seqs": 6, "tokens": 64, "buckets": 2},
    "drafts": {"S": 3, "groups": 3, "seqs": 5, "tokens": 64, "buckets": 2, "hash": 16, "kv_blocks": 60},
    "few": {"S": 2, "groups": 3, "seqs": 6, "tokens": 64, "buckets": 1, "kv_blocks": 24},
}


LONG = {"S": 0, "groups": 1, "seqs": 2, "tokens": 64, "buckets": 2, "length": 640, "kv_blocks": 90}
BEHIND = 20_000_000  # cycles of a GPU, some ten milliseconds


def synchronize(model) -> None:
    """Streams of two runners and the default one do not wait for each other."""
    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)


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
            synchronize(model)
            got, want = ours.step(step), theirs.step(step)
            synchronize(model)
            compared.step(got, want, ours.hidden, theirs.hidden, len(step.tokens))
            engine.answer(want.counts, want.tokens)
    finally:
        engine.close()
    assert len(ours.graphs) <= most
    return compared, ours


class Behind(KeptGraphs):
    def forward(self, step, choices):
        if self.stream:
            torch.cuda._sleep(BEHIND)
        return super().forward(step, choices)


def first_hidden(model, make, seed: int):
    """Of requests with long prompts: the hidden state that each chooses its first token from; and the runner."""
    draw, found = torch.Generator().manual_seed(seed), {}
    prompts = [torch.randint(2, model.config.vocab_size, (length,), generator=draw).tolist() for length in (600, 333, 500)]
    engine = Engine([requests.Request(n, prompt, 2, 0) for n, prompt in enumerate(prompts, 1)], {**LONG, "seed": seed})
    try:
        runner = make(model, limits_of(LONG, engine.hello))
        for step in engine.steps():
            emitted = runner.step(step)
            for number, count, end in zip(step.request.tolist(), emitted.counts.tolist(), np.cumsum(step.query_len).tolist()):
                if count and number not in found:
                    synchronize(model)
                    found[number] = runner.hidden[end - 1].float().clone()
            engine.answer(emitted.counts, emitted.tokens)
    finally:
        engine.close()
    return torch.stack([found[number] for number in sorted(found)]), runner


def long_prompts(model, seed: int) -> bool:
    (ours, runner), (theirs, _) = first_hidden(model, Behind, seed), first_hidden(model, Kept, seed)
    off = float(((ours - theirs).norm(dim=-1) / theirs.norm(dim=-1)).max())
    print(f"test_graphs: long: {len(ours)} prompts, {len(runner.graphs)} graphs, {sum(runner.ran.values())} replays, "
          f"hidden states off by {off:.2g}", flush=True)  # fmt: skip
    return off < 1e-1 and sum(runner.ran.values()) > 20 and not runner.refused


class Late:
    """In place of a device that is far behind, and of the event behind a copy: takes what it is given when it is waited for."""

    def __init__(self) -> None:
        self.waits, self.took = None, []

    def copy_(self, staged, non_blocking: bool) -> None:
        assert non_blocking and self.waits is None, "a copy was not waited for"
        self.waits = staged

    def record(self) -> None: ...

    def synchronize(self) -> None:
        if self.waits is not None:
            self.took.append(self.waits.clone())
        self.waits = None


def copies_are_waited_for() -> None:
    inputs = Inputs(Limits(4, 32, num_groups=1, num_slots=(9,), max_requests=4), 4, 32, "cpu")
    inputs.device = inputs.copied = late = Late()
    for n in (3, 4, 5):
        row = SimpleNamespace(seq_len=np.array([n]), table_row=np.array([0]), query_len=np.array([1]))
        inputs.fill(row, None, [n], [n - 1], [n])
    late.synchronize()
    assert [int(taken[0]) for taken in late.took] == [3, 4, 5], "the host wrote over what was to be copied"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--random", help="default: tiny on a CPU, small on a GPU")
    parser.add_argument("--root", default="build/models", help="where random models lie")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    size = args.random or ("tiny" if args.device == "cpu" else "small")
    model = folder.open_model(random_model.folder(size, args.root), args.device)
    copies_are_waited_for()
    print(f"test_graphs: {size} on {args.device}", flush=True)
    wrong = 0 if long_prompts(model, args.seed) else 1
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
