"""A worker: the process behind gdn.worker that owns a device and runs a model. It takes steps from the channel, and
answers with what their rows emitted.
    python3 examples/pytorch/worker.py --model FOLDER | --random 0.6b [--device cuda] [--channel PATH]
    torchrun --nproc-per-node 2 examples/pytorch/worker.py ...          on two GPUs

  --model FOLDER   a checkpoint of Qwen3-Next or Qwen3.5, as transformers reads it
  --random SIZE    a model of random weights instead: tiny, small or 0.6b; made in --root once
  --dtype          default: bfloat16 on a GPU, float32 on a CPU
  --eager          no captured graphs
  --channel        default: $GDNMETA_CHANNEL, which gdn.worker sets
What cannot be run is told the engine by name, and the process ends with 1; with 0 when the engine stops it."""

from __future__ import annotations

import argparse
import os
import sys
import threading
import traceback

import gdnmeta

BEAT = 0.5  # seconds
LOADING = 1800  # seconds that loading may take: a worker that hangs longer is found out


class Beats:
    """Signs of life while a model is loaded, which the engine would else take for a hang."""

    def __init__(self, channel) -> None:
        self.channel, self.done = channel, threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        for _ in range(int(LOADING / BEAT)):
            if self.done.wait(BEAT):
                return
            self.channel.beat()

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, *_) -> None:
        self.done.set()
        self.thread.join()


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--model", metavar="FOLDER")
    which.add_argument("--random", metavar="SIZE")
    parser.add_argument("--root", default="build/models", help="where random models lie")
    parser.add_argument("--device", help="default: the first GPU, or the CPU where there is none")
    parser.add_argument("--dtype", choices=("bfloat16", "float16", "float32"))
    parser.add_argument("--eager", action="store_true")
    parser.add_argument("--channel", help="a descriptor or a path")
    return parser.parse_args()


def open_channel(args):
    """The engine's channel. Of the ranks of a torchrun the first one opens it, by way of the torchrun, which has
    inherited it, and passes on what comes."""
    where = args.channel or os.environ.get("GDNMETA_CHANNEL", "")
    if "RANK" not in os.environ:
        return gdnmeta.Channel(where or None)
    from model.ranks import Ranks
    from model.shared_channel import SharedChannel

    ranks = Ranks(args.device)
    if where.isdigit():
        where = f"/proc/{os.getppid()}/fd/{where}"
    return SharedChannel(ranks, gdnmeta.Channel(where) if ranks.rank == 0 else None)


def make_runner(args, hello, ranks=None):
    """A runner for the engine that says hello, and what it runs, in words. Imports come here: they take
    seconds, and the engine is told of what is missing."""
    import torch
    from model import folder, random_model, trial
    from model.graphs import GraphRunner
    from model.limits import of_hello

    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    dtype = args.dtype or ("float32" if torch.device(device).type == "cpu" else "bfloat16")
    place = args.model or random_model.folder(args.random, args.root)
    model = folder.open_model(place, "cpu" if ranks else device, dtype)
    if ranks:
        model, device = ranks.shard(model).to(ranks.device), f"{ranks.count} ranks of {device}"
    folder.open_tokenizer(place, model.config.vocab_size)
    limits = of_hello(hello, model.config)
    runner = GraphRunner(model, limits, captures=not args.eager)
    trial.run(runner)
    return runner, f"{place} on {device} in {dtype}"


class StepError(Exception):
    """A step that cannot be run, and why."""


def words(error: Exception) -> str:
    """Errors of gdnmeta, of files and of the model name what is wrong; of others the kind says more than the text."""
    named = isinstance(error, (gdnmeta.Error, OSError, ValueError, StepError)) or type(error).__name__ == "ModelError"
    return str(error) if named else f"{type(error).__name__}: {error}"


def serve(channel, runner) -> None:
    """Until the engine stops it, or has gone."""
    while True:
        step = channel.receive()
        if step.is_stop:
            return
        if step.is_idle:
            channel.answer(step.number, [], [])
            continue
        try:
            emitted = runner.step(step)
        except Exception as error:
            raise StepError(f"step {step.number}: {words(error)}") from error
        channel.answer(step.number, emitted.counts, emitted.tokens)


def load_and_serve(args, channel) -> None:
    hello = channel.hello()
    with Beats(channel):
        runner, said = make_runner(args, hello, getattr(channel, "ranks", None))
    channel.ready(said)
    serve(channel, runner)


def main() -> int:
    args, channel = parse(), None
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    try:
        with open_channel(args) as channel:
            try:
                load_and_serve(args, channel)
            except gdnmeta.ClosedError:
                raise
            except Exception as error:  # whatever torch, transformers or the driver say
                channel.fail(0, words(error))
                raise
    except gdnmeta.ClosedError:
        return 0  # the engine has gone
    except Exception as error:
        if channel is not None and type(error).__name__ != "ModelError":
            traceback.print_exc()
        print(f"worker: {words(error)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
