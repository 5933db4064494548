"""What captured graphs want of a step, and what becomes of one that the device refuses.
    python3 examples/pytorch/model/test_capture.py [--device cuda] [--random SIZE] [--dtypes bfloat16,float32] [--requests 1,32,256]

On a CPU, where nothing can be captured, the calls of a pass are looked at: none may wait for the device or bring something
from the host, and nothing that a kernel's package remembers may keep a builder's memory. On a GPU engines of so many
requests are played one after another in one process, each capturing its graphs after the last one's runner has gone; a
capture that fails is named with the call that broke it.
    test_capture: <what>: <n> graphs, <n> replays, <n> refused, <n> at the second try"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
import warnings
from collections import deque

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[0] = os.path.dirname(HERE)

from checks import requests  # noqa: E402
from checks.cases import limits_of  # noqa: E402
from checks.engine import Engine  # noqa: E402
from model import folder, random_model  # noqa: E402
from model.capture import Refused, Watch  # noqa: E402
from model.gdn_layer import BRANCHES  # noqa: E402
from model.graphs import ALONE, GraphRunner, Launches  # noqa: E402
from model.limits import Limits  # noqa: E402

WAITS = (
    *("item", "is_nonzero", "_local_scalar_dense", "resolve_neg", "equal"),  # values on the host; tolist is resolve_neg
    *("nonzero", "masked_select", "_unique2", "repeat_interleave"),  # sizes that follow from values
    "lift_fresh",  # tensors made of numbers
)


class Captured(TorchDispatchMode):
    """Refuses what a capture would: reading a value on the host, sizes that depend on values, tensors made of numbers."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        masked = name.startswith("index") and any(
            isinstance(at, torch.Tensor) and at.dtype == torch.bool
            for part in args
            if isinstance(part, (list, tuple))
            for at in part
        )
        if name in WAITS or masked:
            raise AssertionError(f"{function} within a capture")
        return function(*args, **(kwargs or {}))


class Idle:
    """In place of kernels and attention: shapes alone."""

    name = "none"

    def conv_rows(self, *_) -> None: ...

    conv_tiles = delta_rows = conv_rows

    def chunk(self, q, k, v, g, beta, states, bounds, chunks, offsets):
        return torch.zeros_like(v), states.clone()


class IdlePlan:
    def __init__(self, inputs, hybrid, table) -> None:
        self.position, self.places = hybrid.positions(inputs.positions), inputs.places.long()

    def attend(self, layer, q):
        return torch.zeros_like(q)


def passes_wait_for_nothing(model) -> None:
    for drafts in (0, 3):
        slots = (9,) * 3
        limits = Limits(4, 64, num_speculative_tokens=drafts, num_groups=3, num_slots=slots, max_requests=4)
        runner = GraphRunner(model, limits)
        runner.plan_type = IdlePlan
        for layer in runner.hybrid.gdn:
            layer.kernels = Idle()
        with torch.inference_mode():
            bucket = runner.bucket(4, 32)
            bucket.inputs.fill(None)
            for branches in (BRANCHES, *ALONE):
                if drafts or branches != ("speculative",):
                    with Captured():
                        bucket.forward(branches)


class Remembers:
    """The kernels, and a memory of the last boundaries that they were given, as flash-linear-attention has."""

    def __init__(self, kernels) -> None:
        self.kernels, self.last = kernels, deque(maxlen=4)

    def __getattr__(self, name: str):
        return getattr(self.kernels, name)

    def chunk(self, *args):
        self.last.append(args[6])
        return self.kernels.chunk(*args)


def played(model, options, make, seed: int):
    """A runner after the steps of an engine, and what every request said."""
    drawn = requests.draw(options["seqs"], seed, model.config.vocab_size, 60, 8, sampled=0.0)
    engine, said = Engine(drawn, {**options, "seed": seed}), {}
    try:
        runner = make(limits_of(options, engine.hello))
        for step in engine.steps():
            emitted, at = runner.step(step), 0
            for number, count in zip(step.request.tolist(), emitted.counts.tolist()):
                said.setdefault(number, []).extend(emitted.tokens[at : at + count].tolist())
                at += count
            engine.answer(emitted.counts, emitted.tokens)
    finally:
        engine.close()
    return runner, said


MIXED = {"S": 2, "groups": 3, "seqs": 4, "tokens": 64, "buckets": 2}


def nothing_keeps_a_builder(model, seed: int) -> None:
    remembers = None

    def make(limits):
        nonlocal remembers
        runner = GraphRunner(model, limits)
        remembers = Remembers(runner.hybrid.kernels)
        for layer in runner.hybrid.gdn:
            layer.kernels = remembers
        return runner

    runner, _ = played(model, MIXED, make, seed)
    assert remembers.last, "no prefill ran"
    kept = [StorageWeakRef(bucket.tables.prefill_query_start_loc.untyped_storage()) for bucket in runner.buckets.values()]
    kept += [StorageWeakRef(tables.prefill_query_start_loc.untyped_storage()) for tables in runner.tables.values()]
    assert kept
    del runner
    gc.collect()
    alive = sum(not storage.expired() for storage in kept)
    assert alive == 0, f"{alive} of {len(kept)} tables outlive their runner"


class Refuses:
    """Takes no graph of decodes alone, and others at the second try."""

    def __init__(self) -> None:
        self.tries = 0

    def record(self, run):
        self.tries += 1
        if self.tries % 2:
            raise Refused("CUDA error: x; the capture became invalid in y")
        return Launches(run), "CUDA error: z"


def refused_runs_without_a_graph(model, seed: int) -> None:
    _, want = played(model, MIXED, lambda limits: GraphRunner(model, limits), seed)

    def make(limits):
        runner = GraphRunner(model, limits, most=1)  # so that each is asked for again and again
        runner.recorder = Refuses()
        return runner

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        runner, got = played(model, MIXED, make, seed)
    assert got == want, "tokens differ where a graph was refused"
    told = [str(warning.message) for warning in warned if "runs without a graph" in str(warning.message)]
    assert runner.refused and len(told) == len(runner.refused), f"{len(told)} warnings, {len(runner.refused)} refused"
    rows, tokens, branches = next(iter(runner.refused))
    assert any(f"{rows} rows and {tokens} tokens, {' and '.join(branches)}" in text and "in y" in text for text in told), told


def the_call_is_named() -> None:
    """The last thing that kept an object frees it, within a call that is no one's fault to see."""

    class Memory:
        freed = False

        def __del__(self) -> None:
            Memory.freed = True

    last = deque([Memory()], maxlen=1)

    def remember() -> None:
        last.append(None)

    def launch() -> None:
        raise RuntimeError("operation failed due to a previous error during capture")

    with Watch(lambda: Memory.freed) as watch:
        len(last)
        remember()
        try:
            launch()
        except RuntimeError:
            pass
    assert watch.found and ("append" in watch.found or "__del__" in watch.found), watch.found
    assert " remember" in watch.found and "launch" not in watch.found, watch.found
    with Watch(lambda: False) as watch:
        remember()
    assert watch.found is None


def on_cpu(args) -> int:
    for size in (args.random or "tiny,tiny-dense").split(","):
        model = folder.open_model(random_model.folder(size, args.root), "cpu")
        passes_wait_for_nothing(model)
    nothing_keeps_a_builder(model, args.seed)
    refused_runs_without_a_graph(model, args.seed)
    the_call_is_named()
    print("test_capture: ok")
    return 0


def on_gpu(args) -> int:
    os.environ.setdefault("SERVE_CAPTURE_DEBUG", "1")
    bad, place = 0, random_model.folder(args.random or "small", args.root)
    for dtype in args.dtypes.split(","):
        model = folder.open_model(place, args.device, dtype)
        for seqs in map(int, args.requests.split(",")):
            for drafts in (0, 3):
                start, slots = time.perf_counter(), 1 + seqs * (drafts + 3) + 12
                options = {"S": drafts, "groups": 3, "seqs": seqs, "tokens": max(1024, seqs), "slots": slots, "kv_blocks": 8 * seqs}
                with warnings.catch_warnings(record=True) as warned:
                    warnings.simplefilter("always")
                    runner, _ = played(model, {**options, "buckets": 2}, lambda limits: GraphRunner(model, limits), args.seed)
                told = sorted({str(warning.message) for warning in warned if warning.category is RuntimeWarning})
                graphs = len(runner.graphs) - len(runner.refused)
                print(f"test_capture: {dtype}, {seqs} requests, S {drafts}: {graphs} graphs, {sum(runner.ran.values())} replays, "
                      f"{len(runner.refused)} refused, {sum('second try' in text for text in told)} at the second try, "
                      f"{time.perf_counter() - start:.1f} s", *told, sep="\n    ", flush=True)  # fmt: skip
                bad += bool(told) + (graphs == 0)
                del runner
                gc.collect()
    print(f"test_capture: {'FAILED' if bad else 'ok'}")
    return 1 if bad else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--random", help="default: tiny and tiny-dense on a CPU, small on a GPU")
    parser.add_argument("--root", default="build/models", help="where random models lie")
    parser.add_argument("--dtypes", default="bfloat16,float32", help="on a GPU")
    parser.add_argument("--requests", default="1,32,256", help="on a GPU")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    return on_cpu(args) if args.device == "cpu" else on_gpu(args)


if __name__ == "__main__":
    sys.exit(main())
