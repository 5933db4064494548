"""A Gated DeltaNet layer in the kernels of flash-linear-attention, fed by gdnmeta's tables.
    python3 examples/pytorch/kernels.py [--quick] [--naive] [--tune] [--steps N] [--seed N] ...

Random schedules of requests, with and without drafts, in the cache modes none and align, run in four ways:
eagerly, as captured graphs (one a bucket, padding NaN), in a layer that reads where the tables say, and in
one whose states are not brought. Each token's output is compared with that of its request alone, in float32.
The third must give what the first gave, to the last bit. In the fourth the tokens of requests whose states
lay elsewhere come out wrong, and no others.
Then a step of 36 layers is timed eagerly and as one graph:
    graph-bench layers 36 eager <us> graph <us> ratio <r>

  --quick   fewer steps
  --naive   plain torch in place of the kernels, also without a GPU; no graphs there, no times
  --tune    let the kernels search for launch parameters
Without a GPU it runs --naive with small sizes, and skips the rest.
Exits with 0 when every phase that ran is good, 1 otherwise, 2 for wrong options, and 3 when all are good but
the package or a GPU is missing."""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import time
import traceback

import torch

import gdnmeta
from gdnlayer import alone, bench, compare, ops
from gdnlayer.layer import Layer
from gdnlayer.pools import Pool
from gdnlayer.runner import Runner
from gdnlayer.schedule import Schedule
from gdnlayer.sizes import SERVED, TINY

BUCKETS, TINY_BUCKETS = [(8, 8), (32, 64), (32, 256), (64, 1024)], [(4, 4), (6, 24), (6, 48)]


class Phases:
    """Each prints a line, and one that fails does not keep the next from running."""

    def __init__(self) -> None:
        self.failed = 0

    def run(self, name: str, phase) -> None:
        start = time.perf_counter()
        try:
            good, text = phase()
        except Exception as error:  # whatever kernels, driver or compiler say
            traceback.print_exc()
            good, text = False, f"{type(error).__name__}: {str(error)[:300]}"
        self.failed += not good
        took = time.perf_counter() - start
        print(f"{name}: {'ok' if good else 'FAILED'}, {text}, {took:.1f} s", flush=True)


def positive(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r}, want an integer >= 1")
    return value


def device(text: str) -> str:
    """The CPU, or a GPU that is there."""
    kind, _, number = text.partition(":")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if text == "cpu" or kind == "cuda" and text in ("cuda", f"cuda:{number}") and _index(number) < count:
        return "cuda:0" if text == "cuda" else text
    raise argparse.ArgumentTypeError(f"{text!r}, want cpu or one of {count} devices cuda:N")


def _index(number: str) -> float:
    return int(number) if number.isdecimal() else 0 if not number else float("inf")


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for flag in ("quick", "naive", "tune"):
        parser.add_argument("--" + flag, action="store_true")
    parser.add_argument("--device", type=device, default="cuda:0" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--dtype", choices=("bfloat16", "float16", "float32"), help="of all but states and gates"
    )
    parser.add_argument("--tiny", action="store_true", help="small sizes, for kernels that are interpreted")
    parser.add_argument("--steps", type=positive, help="of each schedule")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--layers", type=positive, default=36, help="of the bench")
    parser.add_argument("--mode", choices=("none", "align", "both"), default="both", help="of the cache")
    args = parser.parse_args()
    if args.seed < 0:
        parser.error(f"argument --seed: {args.seed}, want an integer >= 0")
    return args


class World:
    """A schedule, its layer, and what its requests give alone."""

    def __init__(self, drafts: int, mode: str, args, kernels) -> None:
        self.args, small = args, args.tiny or args.device == "cpu"
        self.sizes = (TINY if small else SERVED)._replace(drafts=drafts)
        self.dtype = getattr(torch, args.dtype or ("float32" if small else "bfloat16"))
        steps = args.steps or (150 if args.quick else 1000)
        self.schedule = Schedule(
            drafts=drafts,
            seats=6 if small else 48,
            steps=steps,
            seed=args.seed + drafts,
            longest=40 if small else 200,
            buckets=TINY_BUCKETS if small else BUCKETS,
            block=0 if mode == "none" else 16 if small else 64,
        )
        self.kernels = kernels
        # In mode align a window may move away from the column that accepted counts name.
        self.layer = self.new_layer("first" if mode == "align" else "accepted", mode == "align")
        self.inputs = alone.Inputs(self.schedule, self.layer, args.seed, args.device, self.dtype)
        self.alone = alone.outputs(self.schedule, self.layer, self.inputs)

    def new_layer(self, reads: str, every: bool) -> Layer:
        pool = Pool(self.sizes, self.schedule.num_slots, self.args.device, self.dtype)
        args = self.args
        return Layer(self.sizes, self.kernels, pool, args.seed, args.device, self.dtype, reads, every)

    def run(self, layer: Layer, graphs: bool, brings: bool):
        runner = Runner(self.schedule, [layer], self.inputs, self.args.device, graphs, brings)
        out, served = runner.run(self.schedule)
        counts = [*sorted(runner.ran.items()), *runner.asked.items()]
        ran = ", ".join(f"{name} {count}" for name, count in counts)
        return out, served, ran

    def compared(self, graphs: bool):
        out, served, ran = self.run(self.layer, graphs, True)
        found = compare.difference(out, self.alone, served)
        if not graphs:
            self.brought = out
        return found.good, f"{found}; steps: {ran}"

    def read_by_tables(self):
        """The same values, read where they lie: of brought states and windows nothing may differ."""
        out, served, _ = self.run(self.new_layer("tables", True), False, False)
        others = (out != self.brought).flatten(1).any(1)[served]
        number = int(others.sum())
        return not number, f"{len(others)} tokens, {number} other than where states are brought"

    def unbrought(self):
        out, served, _ = self.run(self.layer, False, False)
        moved = torch.zeros_like(served)
        for step in self.schedule.steps:
            moved[step.tokens[step.moved]] = True
        elsewhere = compare.difference(out, self.alone, served & moved)
        others = compare.difference(out, self.alone, served & ~moved)
        return elsewhere.wrong > 0 and others.good, f"of states elsewhere {elsewhere}; of others {others}"


def schedules(phases: Phases, args, kernels) -> None:
    modes = ("none", "align") if args.mode == "both" else (args.mode,)
    for mode, drafts in itertools.product(modes, (0, 3)):
        name, worlds = f"{mode}, drafts {drafts}", []

        def draw():
            worlds.append(World(drafts, mode, args, kernels))
            schedule = worlds[0].schedule
            return True, f"{len(schedule.steps)} steps, {len(schedule.requests)} requests"

        phases.run(f"{name}, requests alone", draw)
        if not worlds:
            continue
        phases.run(f"{name}, eager", lambda: worlds[0].compared(False))
        if args.device == "cpu" or not args.naive:  # the naive kernels wait for the device
            phases.run(f"{name}, graphs", lambda: worlds[0].compared(True))
        phases.run(f"{name}, read by tables", lambda: worlds[0].read_by_tables())
        phases.run(f"{name}, states not brought (want some wrong)", lambda: worlds[0].unbrought())


def timed(args, kernels, drafts: int):
    eager, graph = bench.measure(
        SERVED._replace(drafts=drafts),
        kernels,
        args.device,
        torch.bfloat16,
        args.layers,
        1 if args.quick else 3,
    )
    name = "graph-bench-drafts" if drafts else "graph-bench"
    print(f"{name} layers {args.layers} eager {eager:.0f} graph {graph:.0f} ratio {eager / graph:.1f}")
    wanted = 8 if drafts else 10  # a speculative row is drafts + 1 calls that each move its state
    return eager / graph >= wanted, f"one graph against launches one by one, want a ratio of {wanted}"


def main() -> int:
    args = parse()
    here = os.path.dirname(os.path.abspath(__file__))  # others look for a package that is called kernels, too
    sys.path[:] = [path for path in sys.path if os.path.abspath(path) != here]
    if not args.tune:
        ops.fixed_launches()
    replaced = args.device == "cpu" and not args.naive and not args.tiny
    if replaced:
        print("kernels: no GPU: plain torch in their place, small sizes, no graphs and no times", flush=True)
        args.naive, args.steps = True, args.steps or 60
    try:
        kernels = ops.load(args.naive)
    except ops.Missing as missing:
        print(f"kernels: SKIPPED, {missing}")
        return 3
    where = torch.cuda.get_device_name(args.device) if args.device != "cpu" else "the CPU"
    triton = getattr(sys.modules.get("triton"), "__version__", "none")
    print(
        f"kernels of {kernels.name}, torch {torch.__version__}, triton {triton}, "
        f"gdnmeta {gdnmeta.__version__}, on {where}",
        flush=True,
    )
    phases = Phases()
    with torch.no_grad():
        schedules(phases, args, kernels)
        if args.device != "cpu" and not args.naive:
            for drafts in (0, 3):
                phases.run(f"bench, drafts {drafts}", lambda: timed(args, kernels, drafts))
    print(f"kernels: {phases.failed} phases failed")
    if replaced:
        print("kernels: SKIPPED, no GPU, want one")
    return 1 if phases.failed else 3 if replaced else 0


if __name__ == "__main__":
    sys.exit(main())
