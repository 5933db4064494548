"""A Gated DeltaNet layer in the kernels of flash-linear-attention, fed by gdnmeta's tables.
    python3 examples/pytorch/kernels.py [--quick] [--naive] [--tune] [--steps N] [--seed N] ...

Random schedules of requests with and without drafts run eagerly, as captured graphs (one a bucket, padding
NaN), and without `bring_states`. Each token's output is compared with that of its request alone, in float32.
Then a step of 36 layers is timed eagerly and as one graph:
    graph-bench layers 36 eager <us> graph <us> ratio <r>

  --quick   fewer steps
  --naive   plain torch in place of the kernels, also without a GPU; no graphs there, no times
  --tune    let the kernels search for launch parameters
Exits with 0 when every phase that ran is good, 1 otherwise, and 3 when the package or a GPU is missing."""

from __future__ import annotations

import argparse
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


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for flag in ("quick", "naive", "tune"):
        parser.add_argument("--" + flag, action="store_true")
    parser.add_argument("--device", default="cuda:0" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--dtype", choices=("bfloat16", "float16", "float32"), help="of all but states and gates"
    )
    parser.add_argument("--tiny", action="store_true", help="small sizes, for kernels that are interpreted")
    parser.add_argument("--steps", type=int, help="of each schedule")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--layers", type=int, default=36, help="of the bench")
    return parser.parse_args()


class World:
    """A schedule, its layer, and what its requests give alone."""

    def __init__(self, drafts: int, args, kernels) -> None:
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
        )
        pool = Pool(self.sizes, self.schedule.num_slots, args.device, self.dtype)
        self.layer = Layer(self.sizes, kernels, pool, args.seed, args.device, self.dtype)
        self.inputs = alone.Inputs(self.schedule, self.layer, args.seed, args.device, self.dtype)
        self.alone = alone.outputs(self.schedule, self.layer, self.inputs)

    def run(self, graphs: bool, brings: bool):
        runner = Runner(self.schedule, [self.layer], self.inputs, self.args.device, graphs, brings)
        out, served = runner.run(self.schedule)
        ran = ", ".join(f"{name} {count}" for name, count in [*sorted(runner.ran.items()), *runner.asked.items()])
        return compare.difference(out, self.alone, served), ran

    def compared(self, graphs: bool):
        found, ran = self.run(graphs, True)
        return found.good, f"{found}; steps: {ran}"

    def unbrought(self):
        found, _ = self.run(False, False)
        return found.wrong > 0, f"{found}"


def schedules(phases: Phases, args, kernels) -> None:
    for drafts in (0, 3):
        worlds = []

        def draw():
            worlds.append(World(drafts, args, kernels))
            schedule = worlds[0].schedule
            return True, f"{len(schedule.steps)} steps, {len(schedule.requests)} requests"

        phases.run(f"drafts {drafts}, requests alone", draw)
        if not worlds:
            continue
        phases.run(f"drafts {drafts}, eager", lambda: worlds[0].compared(False))
        if args.device == "cpu" or not args.naive:  # the naive kernels wait for the device
            phases.run(f"drafts {drafts}, graphs", lambda: worlds[0].compared(True))
        phases.run(f"drafts {drafts}, states not brought (want some wrong)", lambda: worlds[0].unbrought())


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
    try:
        kernels = ops.load(args.naive)
    except ops.Missing as missing:
        print(f"kernels: SKIPPED, {missing}")
        return 3
    if args.device == "cpu" and not args.naive and not args.tiny:
        print("kernels: SKIPPED, no GPU, want one, or --naive")
        return 3
    device = torch.cuda.get_device_name(args.device) if args.device != "cpu" else "the CPU"
    triton = getattr(sys.modules.get("triton"), "__version__", "none")
    print(
        f"kernels of {kernels.name}, torch {torch.__version__}, triton {triton}, "
        f"gdnmeta {gdnmeta.__version__}, on {device}",
        flush=True,
    )
    phases = Phases()
    with torch.no_grad():
        schedules(phases, args, kernels)
        if args.device != "cpu" and not args.naive:
            for drafts in (0, 3):
                phases.run(f"bench, drafts {drafts}", lambda: timed(args, kernels, drafts))
    print(f"kernels: {phases.failed} phases failed")
    return 1 if phases.failed else 0


if __name__ == "__main__":
    sys.exit(main())
