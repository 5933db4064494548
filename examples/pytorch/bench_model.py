"""How fast a model of random weights answers a Lua engine: one that is asked 1, 32 and 256 times at once, launched one
by one and as captured graphs; and a chat's second turn with the state cache and without.
    python3 examples/pytorch/bench_model.py [--random 0.6b] [--requests 1,32,256] [--modes eager,graphs] [--out FILE]
    torchrun --nproc-per-node 2 examples/pytorch/bench_model.py ...       the same on two ranks

A step's time is the model's: tables, inputs, layers, head, and the choice of tokens until the host has them. The
engine's is what Lua takes for the same step, its own build included, and build-us is the model's build from Python, a
part of its step; the text between the two processes is in neither. Buckets whose graphs are refused are launched.
    model-bench ranks 1 mode graphs requests 32 step-us <us> engine-us <us> share <%> build-us <us> tokens-per-s <n> ...
    model-chat ranks 1 mode graphs cache on chats 8 first-token-ms <ms> prompt-tokens <n> cached-tokens <n>
step-us and engine-us are medians of steps that decode alone, once every graph is there; first-token-ms is from a
second turn's first step to its first token. --out writes all figures as JSON."""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import sys
import time
import traceback

import torch
from checks import together
from checks.cases import limits_of
from checks.engine import Engine
from checks.requests import Request
from model import folder, random_model
from model.errors import ModelError
from model.ranks import Ranks

WARM = 5  # steps of decodes alone that are left out
ROUNDS = (16, 1)  # answers are that much shorter in the first round, which compiles and captures
SHORTER = {"graphs": 1, "eager": 6}


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="a checkpoint folder")
    parser.add_argument("--random", default="0.6b", help="a model of random weights: tiny, small or 0.6b")
    parser.add_argument("--root", default="build/models", help="where random models lie")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", help="default: float32 on a CPU, bfloat16 on a GPU")
    parser.add_argument("--requests", default="1,32,256")
    parser.add_argument("--modes", default="graphs,eager")
    parser.add_argument("--prompt", type=int, default=256)
    parser.add_argument("--answer", type=int, default=400, help="a sixth of it where nothing is captured")
    parser.add_argument("--tokens", type=int, default=2048, help="of a step, at most")
    parser.add_argument("--drafts", type=int, default=0, help="S; drafts are n-grams of the text")
    parser.add_argument("--chats", type=int, default=8, help="conversations of two turns; 0: none")
    parser.add_argument("--out", help="a file for all figures, as JSON")
    return parser.parse_args()


def prompt(number: int, length: int, vocabulary: int):
    draw = torch.Generator().manual_seed(number)
    return torch.randint(2, vocabulary, (length,), generator=draw).tolist()


class Played:
    """A schedule's steps: (seconds, tokens, decodes alone?, tokens emitted, seconds of the build), and what the
    engine counted."""

    def __init__(self, runner_of, options, asked) -> None:
        engine, self.steps, self.first, self.said = Engine(asked, options), [], {}, {}
        try:
            runner, spent = runner_of(limits_of(options, engine.hello)), 0.0
            for step in engine.steps():
                start = time.perf_counter()
                emitted = runner.step(step)
                took = time.perf_counter() - start
                spent += took
                alone = bool((step.query_len <= options["S"] + 1).all() and step.prompt_done.all())
                self.steps.append((took, len(step.tokens), alone, len(emitted.tokens), runner.build_seconds))
                self._note(step, emitted, spent)
                engine.answer(emitted.counts, emitted.tokens)
            self.stats, self.graphs, self.refused = engine.stats, len(runner.graphs), len(runner.refused)
        finally:
            engine.close()

    def _note(self, step, emitted, spent: float) -> None:
        """When each request came and spoke first, in seconds of model time, and what it said."""
        at = 0
        for number, count in zip(step.request.tolist(), emitted.counts.tolist()):
            came, spoke = self.first.get(number, (spent - self.steps[-1][0], None))
            self.first[number] = (came, spent if spoke is None and count else spoke)
            self.said.setdefault(number, []).extend(emitted.tokens[at : at + count].tolist())
            at += count

    def decodes(self):
        return [step for step in self.steps if step[2]][WARM:] or [step for step in self.steps if step[2]]


class Bench:
    def __init__(self, args, ranks, model) -> None:
        self.args, self.ranks, self.model, self.results, self.failed = args, ranks, model, [], 0
        self.count = ranks.count if ranks else 1
        self.vocabulary = model.config.vocab_size

    def runners(self, mode: str):
        """One runner for all schedules of the same limits, so that a second one finds its graphs."""
        gc.collect()  # a runner and its graphs know each other
        if self.args.device != "cpu":
            torch.cuda.empty_cache()
        make, made = together.maker(self.ranks, self.model, captures=mode == "graphs"), {}

        def runner_of(limits):
            if limits not in made:
                made[limits] = make(limits)
            return made[limits]

        return runner_of

    def options(self, mode: str, seqs: int, length: int, **more):
        blocks = seqs * (-(-length // 16) + 2)
        return {
            "S": self.args.drafts, "groups": 3, "seqs": seqs, "tokens": max(self.args.tokens, seqs), "seed": 1, "check": 0,
            "length": length, "kv_blocks": blocks, "buckets": 2 if mode == "graphs" else 0, **more,
        }  # fmt: skip

    def say(self, kind: str, **figures) -> None:
        self.results.append({"kind": kind, "ranks": self.count, "drafts": self.args.drafts, **figures})
        words = (f"{name.replace('_', '-')} {value:.5g}" if isinstance(value, float) else
                 f"{name.replace('_', '-')} {value}" for name, value in figures.items())  # fmt: skip
        print(f"{kind} ranks {self.count}", *words, flush=True)

    def tried(self, measure, *what) -> None:
        """One that fails does not keep the next from running."""
        try:
            measure(*what)
        except Exception as error:  # whatever kernels, driver or memory say
            traceback.print_exc()
            self.failed += 1
            print(f"model-bench {what}: FAILED, {type(error).__name__}: {str(error)[:300]}", flush=True)

    def load(self, mode: str, seqs: int) -> None:
        args, runner_of, start = self.args, self.runners(mode), time.perf_counter()
        for shorter in ROUNDS:
            answer = max(2, args.answer // shorter // SHORTER[mode])
            texts = [prompt(n, args.prompt, self.vocabulary) for n in range(seqs)]
            asked = [Request(n, text, answer, 0) for n, text in enumerate(texts, 1)]
            played = Played(runner_of, self.options(mode, seqs, args.prompt + args.answer), asked)
            progress(f"{mode}, {seqs} requests, {len(played.steps)} steps", start)
        decodes, others = played.decodes(), [step for step in played.steps if not step[2]]
        step_us = 1e6 * statistics.median(step[0] for step in decodes)
        engine_us = float(played.stats["engine_us"])
        emitted, seconds = sum(step[3] for step in decodes), sum(step[0] for step in decodes)
        seconds += 1e-6 * engine_us * len(decodes)
        self.say(
            "model-bench", mode=mode, requests=seqs, step_us=step_us, engine_us=engine_us,
            share=100 * engine_us / (engine_us + step_us),
            build_us=1e6 * statistics.median(step[4] for step in decodes), tokens_per_s=emitted / seconds,
            prompt_tokens_per_s=sum(step[1] for step in others) / sum(step[0] for step in others),
            graphs=played.graphs - played.refused, refused=played.refused,
        )  # fmt: skip

    def chat(self, mode: str) -> None:
        """Second turns come when all first ones are answered; their prompts are the text so far and some more."""
        args, runner_of, chats = self.args, self.runners(mode), self.args.chats
        first, answer = 4 * args.prompt, max(2, args.answer // 6)
        length, start = first + 2 * answer + 64, time.perf_counter()
        asked = [Request(n, prompt(n, first, self.vocabulary), answer, 0) for n in range(1, chats + 1)]
        played = Played(runner_of, self.options(mode, chats, length), asked)
        begin = 2 * len(played.steps)  # in steps of the engine
        for n in range(1, chats + 1):
            text = asked[n - 1].prompt + played.said[n] + prompt(1000 + n, 32, self.vocabulary)
            asked.append(Request(chats + n, text, answer, begin))
        for cache in ("off", "on"):
            more = {"hash": 16} if cache == "on" else {}
            blocks = 2 * chats * (-(-length // 16) + 2)  # what a cache keeps is memory, too
            options = self.options(mode, chats, length, slots=1 + 40 * chats, **more)
            for _ in ROUNDS:
                again = Played(runner_of, {**options, "kv_blocks": blocks}, asked)
            progress(f"{mode}, {chats} chats, cache {cache}, {len(again.steps)} steps", start)
            waited = [spoke - came for n, (came, spoke) in again.first.items() if n > chats]
            wanted, cached = sum(len(one.prompt) for one in asked[chats:]), again.stats["cached"]
            self.say(
                "model-chat", mode=mode, cache=cache, chats=chats, first_token_ms=1e3 * statistics.mean(waited),
                prompt_tokens=wanted, cached_tokens=cached,
            )  # fmt: skip


def progress(what: str, start: float) -> None:
    print(f"  {what}: {time.perf_counter() - start:.1f} s", flush=True)


def machine(args, ranks) -> str:
    where = torch.cuda.get_device_name() if args.device != "cpu" else "CPU"
    return f"{where}, torch {torch.__version__}, ranks {ranks.count if ranks else 1}"


def main() -> int:
    args = parse()
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [path for path in sys.path if os.path.abspath(path) != here] + [here]
    dtype = args.dtype or ("float32" if args.device == "cpu" else "bfloat16")
    start = time.perf_counter()
    try:
        place = args.model or random_model.folder(args.random, args.root)
        ranks = Ranks.join(args.device)
        if ranks:
            model = together.part(ranks, place, dtype)
            if ranks.rank > 0:
                return together.follow(ranks, model)
        else:
            model = folder.open_model(place, args.device, dtype)
        print(f"model-bench {place}, {dtype}, {machine(args, ranks)}", flush=True)
        progress("the model is there", start)
        bench = Bench(args, ranks, model)
        for mode in args.modes.split(","):
            for seqs in map(int, args.requests.split(",")):
                bench.tried(bench.load, mode, seqs)
            if args.chats:
                bench.tried(bench.chat, mode)
        if args.out:
            with open(args.out, "w", encoding="utf-8") as file:
                json.dump({"machine": machine(args, ranks), "model": place, "results": bench.results}, file, indent=1)
    except ModelError as error:
        print(f"bench_model: {error}", file=sys.stderr)
        return 1
    if ranks:
        ranks.leave()
    return 1 if bench.failed else 0


if __name__ == "__main__":
    sys.exit(main())
