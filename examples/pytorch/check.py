"""The proof that a batch changes nothing: random schedules of a real engine (schedule.lua) run through the model,
and every request's tokens and logits are compared with those of the request alone.
    python3 examples/pytorch/check.py [--model FOLDER | --random tiny] [--device cuda] [--seed N] ...
    torchrun --nproc-per-node 2 examples/pytorch/check.py ...       the same on two ranks

Schedules have chunks, preemptions, drafts that are accepted or rejected, cache hits, forks, padding and buckets; two
go through worker.py as gdn.worker starts it, and one of these is killed on the way. On a CPU, in float32, greedy answers
must be those of transformers' generate, with logits within 1e-4. In bfloat16 and float16 rounding alone moves logits by
several hundredths of their norm, also those of transformers. So the same texts are run by transformers in float32, too: in
the median our logits may be off from those by 1.25 times as much as transformers' in the same type, and each by twice that.
From a request's own run alone they may differ by as much. On a GPU with --dtype float32 the bound is 5e-3 of the norm, for
kernels multiply in TF32. Tokens must be the choice of what they are compared with, unless that hangs on less.

  --break WHAT   breaks something, to see the check fail: read (states are read where they are written, as by kernels
                 without read indices), shift (windows are not moved to the last accepted token), tables (changes of
                 the kv table come a step late)
Exits with 0 when every case is good, 1 otherwise."""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import replace

import torch
from checks import alone, requests, together
from checks.cases import CASES, WORKERS, limits_of
from checks.compare import Found
from checks.engine import Engine
from model import folder, random_model
from model.errors import ModelError
from model.ranks import Ranks


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="a checkpoint folder")
    parser.add_argument("--random", default="tiny", help="a model of random weights: tiny or 0.6b")
    parser.add_argument("--root", default="build/models", help="where random models lie")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", help="default: float32 on a CPU, bfloat16 on a GPU")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--requests", type=int, default=14, help="of each case")
    parser.add_argument("--prompt", type=int, default=120, help="tokens of the longest prompt")
    parser.add_argument("--answer", type=int, default=24, help="tokens of the longest answer")
    parser.add_argument("--only", help="cases, separated by commas")
    parser.add_argument("--eager", action="store_true", help="no captured graphs, on a GPU")
    parser.add_argument("--break", dest="broken", choices=("read", "shift", "tables"))
    return parser.parse_args()


MARGIN = 1.25  # of transformers' own error


class Broken:
    """Steps as a faulty worker would see them."""

    def __init__(self, how) -> None:
        self.how, self.late = how, None

    def step(self, step):
        if self.how == "read":  # a kernel that reads where it writes
            step.read_slots = (step.read_slots > 0) * step.slots[:, :, 0]
        elif self.how == "shift":
            step.accepted_tokens = step.accepted_tokens * 0 + 1
        elif self.how == "tables":
            step.table_changes, self.late = (self.late if self.late is not None else step.table_changes), step.table_changes
        return step


def inherit(request, parent, first: int) -> None:
    """What a fork's text has of its parent's answer."""
    for place in range(len(request.prompt), first):
        request.said[place], request.logits[place] = parent.said[place], parent.logits[place]


def play(make, options, drawn, seed: int, broken):
    """A schedule's answers, into its requests. Returns what the engine counted."""
    engine = Engine(drawn, {**options, "seed": seed})
    if "worker" in options:
        for number, tokens in engine.texts():
            first = len(drawn[number - 1].prompt)
            drawn[number - 1].said.update(enumerate(tokens, first))
        engine.close()
        return engine.stats
    try:
        runner = make(limits_of(options, engine.hello))
        faulty = Broken(broken)
        for step in engine.steps():
            emitted = runner.step(faulty.step(step))
            at = 0
            for row, count in enumerate(emitted.counts.tolist()):
                request = drawn[int(step.request[row]) - 1]
                first = int(step.seq_len[row]) - max(int(step.drafts[row]), 0)
                if request.parent and not request.said:
                    inherit(request, drawn[request.parent - 1], first)
                for k in range(count):
                    if first + k < len(request.prompt) + request.max_tokens:
                        request.said[first + k] = int(emitted.tokens[at + k])
                        request.logits[first + k] = runner.logits[runner.emitted_at[at + k]]
                at += count
            engine.answer(emitted.counts, emitted.tokens)
        refused = len(runner.refused)
        return {**engine.stats, "graphs refused": refused} if refused else engine.stats
    finally:
        engine.close()


def is_exact(model) -> bool:
    """Are logits the same in a batch and alone, but for 1e-4?"""
    return model.device.type == "cpu" and model.dtype == torch.float32


def compared(model, drawn, single):
    """Alone against the schedule: [(name, Found)]."""
    if is_exact(model):
        theirs, own = Found(1e-4, relative=False), Found(1e-4, relative=False)
        for request in drawn:
            (own if request.temperature > 0 else theirs).request(request, forced=False)
        return [(name, found) for name, found in (("transformers", theirs), ("alone, sampled", own)) if found.tokens]
    texts = [(request, [request.said[place] for place in sorted(request.said)]) for request in drawn]
    noise = None if model.dtype == torch.float32 else single.noise(texts)
    tolerance = 5e-3 if noise is None else MARGIN * noise
    own, theirs = Found(tolerance, relative=True), Found(tolerance, relative=True)
    for request, said in texts:
        request.answer, request.alone = single.known(single.forced, request, said)
        own.request(request, forced=True)
        if request.temperature == 0:
            request.alone = single.known(single.exact, request, said)
            request.answer = request.alone.argmax(-1).tolist()
            theirs.request(request, forced=True)
    if noise is None:
        return [("alone", own), ("transformers", theirs)]
    return [("alone", own), (f"float32, where transformers' own are off by {noise:.1e}", theirs)]


def draw(model, args, single):
    """Random requests, and their answers alone."""
    drawn = requests.draw(
        args.requests, args.seed, model.config.vocab_size, args.prompt, args.answer, sampled=0.2
    )
    for request in drawn:
        if request.temperature > 0 or not is_exact(model):
            single.run(request)
        else:
            alone.generate(model, request)
    return drawn


def case(model, args, name: str, drawn, single) -> bool:
    options, start = CASES.get(name), time.perf_counter()
    if not options:
        process = {"worker": sys.executable, "dtype": str(model.dtype)[6:], "random": args.random, "root": args.root, "device": args.device}
        options = {**WORKERS[name], **process}
    drawn = [replace(request, said={}, logits={}) for request in drawn]
    stats = play(args.make, options, drawn, args.seed, args.broken)
    missing = [r.number for r in drawn if len(r.said) != r.max_tokens]
    good, lines = not missing and "graphs refused" not in stats, []
    for against, found in compared(model, drawn, single):
        good = good and found.good
        lines.append(f"against {against}: {found}")
    counted = ", ".join(f"{value} {key}" for key, value in stats.items())
    took = time.perf_counter() - start
    print(f"{name}: {'ok' if good else 'FAILED'}, {len(drawn)} requests, {counted}, {took:.1f} s", flush=True)
    for line in lines:
        print(f"  {line}", flush=True)
    if missing:
        print(f"  requests {missing} have answers of another length")
    return good


def main() -> int:
    args = parse()
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [path for path in sys.path if os.path.abspath(path) != here] + [here]
    cpu = torch.device(args.device).type == "cpu"
    dtype = args.dtype or ("float32" if cpu else "bfloat16")
    try:
        place = args.model or random_model.folder(args.random, args.root)
        ranks = Ranks.join(args.device)
        if ranks:
            args.device, part = str(ranks.device), together.part(ranks, place, dtype)
            if ranks.rank > 0:
                return together.follow(ranks, part)
        model = folder.open_model(place, args.device, dtype)
        args.make = together.maker(ranks, part if ranks else model, keep_logits=True, captures=not args.eager)
        folder.open_tokenizer(place, model.config.vocab_size)
        names = [*CASES] if args.model or ranks or args.broken else [*CASES, *WORKERS]
        names = args.only.split(",") if args.only else names
        print(f"{place}, {type(model).__name__}, {dtype}, {args.device}, torch {torch.__version__}", flush=True)
        exact = model if model.dtype == torch.float32 else folder.open_model(place, args.device, "float32")
        single = alone.Alone(model, args.prompt + args.answer + 8, exact)
        drawn = draw(model, args, single)
        results = [case(model, args, name, drawn, single) for name in names]
    except ModelError as error:
        print(f"check: {error}", file=sys.stderr)
        return 1
    if ranks:
        ranks.leave()
    print(f"check: {sum(results)} passed, {len(results) - sum(results)} failed")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
