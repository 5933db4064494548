"""What is refused, and by which words: a vocabulary that does not match, more requests than memory, an engine that
the model cannot serve, tokens that it does not have. And the choice of tokens by themselves.
    python3 examples/pytorch/model/test_bad_input.py [--root FOLDER]"""

from __future__ import annotations

import argparse
import os
import sys
from types import SimpleNamespace

import numpy as np
import torch

sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from model import folder, random_model  # noqa: E402
from model.errors import ModelError  # noqa: E402
from model.limits import Limits, check_memory, of_hello, pool_bytes  # noqa: E402
from model.runner import Runner  # noqa: E402
from model.sampler import NONE, choose, numbers  # noqa: E402
from model.trial import run, step_of  # noqa: E402


def refused(words: str, call, *arguments) -> None:
    try:
        call(*arguments)
    except ModelError as error:
        assert words in str(error), f"{str(error)!r} does not say {words!r}"
        print(f"  refused: {str(error)[:110]}")
        return
    raise AssertionError(f"not refused: {words}")


def limits(model) -> None:
    config, tokenizer = model.config, model.config.vocab_size
    refused("the vocabulary does not match", folder.open_tokenizer, model.name_or_path, tokenizer - 1)
    huge = Limits(max_num_seqs=1 << 16, num_slots=(1 << 30,))
    assert pool_bytes(config, huge, torch.float32) > 1 << 40
    refused("states and blocks for 65536 requests take", check_memory, config, huge, torch.float32, "cpu")
    refused("one a group", check_memory, config, Limits(num_groups=2), torch.float32, "cpu")
    runner = Runner(model, Limits())
    run(runner)
    for token in (-2, config.vocab_size):
        refused(f"token {token}", runner.step, step_of(token))
    assert len(runner.step(step_of(5)).tokens) == 1


def engines(model) -> None:
    """Hellos that are of a builder that the model cannot serve, or that contradict themselves."""
    config, slots = model.config, Limits().num_slots
    options = dict(max_num_seqs=4, max_num_batched_tokens=64, num_speculative_tokens=0, num_groups=1, num_slots=slots,
                   max_requests=4, max_rows=4, max_blocks_per_row=2, mamba_cache_mode="none", mamba_block_size=0, parallel_drafting=False,
                   decode_context_parallel_size=1)
    good = dict(kv_blocks=16, kv_block_size=16, kv_columns=4, vocab_size=0, max_model_len=64)
    assert of_hello(SimpleNamespace(options=options, **good), config).max_kv_blocks == 4
    for name, value, words in (
        ("kv_blocks", 0, "no kv_blocks"),
        ("vocab_size", 300, "vocab_size = 300, the model has 320"),
        ("max_model_len", 8192, "max_model_len = 8192, the model has 4096"),
        ("kv_columns", 3, "3 columns for blocks of 16 tokens, want room for max_model_len = 64"),
    ):
        refused(words, of_hello, SimpleNamespace(options=options, **{**good, name: value}), config)
    for name, value in (("mamba_cache_mode", "all"), ("parallel_drafting", True), ("decode_context_parallel_size", 2)):
        refused(f"{name} = {value!r}, want", of_hello, SimpleNamespace(options={**options, name: value}, **good), config)


def trials(model) -> None:
    """What only shows when the model runs."""
    for columns in (0, 1, 9):  # of an engine without a state cache, and of one with more
        run(Runner(model, Limits(num_slots=(4,), max_blocks_per_row=columns)))
    runner = Runner(model, Limits(num_groups=2, num_slots=(4, 4)))
    experts = next(layer.mlp for layer in model.model.layers if hasattr(layer.mlp, "experts"))
    kept, experts.gate.top_k = experts.gate.top_k, 9
    refused("cannot run a prompt: RuntimeError", run, runner)
    experts.gate.top_k = kept
    weight = model.model.norm.weight.data
    weight[3] = float("inf")
    refused("cannot run a prompt: the logits of request 0 are not finite", run, runner)
    weight[3] = 0


def no_choice() -> None:
    """A row with a NaN, or whose largest logit is infinite, has no token, drawn or not; the others have theirs."""
    logits = torch.from_numpy(np.random.default_rng(2).normal(size=(8, 50)).astype(np.float32))
    seeds, places, ones = np.arange(8).astype(np.uint64), np.arange(8), np.ones(8, np.float32)
    broken = logits.clone()
    broken[1, 7], broken[2, 49], broken[3], broken[5, 0] = float("nan"), float("inf"), float("-inf"), float("-inf")
    for temperature in (ones * 0, ones, np.where(np.arange(8) % 2 == 0, ones, 0 * ones)):
        for top_p in (ones, ones * 0.5):
            chosen = choose(broken, temperature, top_p, seeds, places)
            assert (chosen == NONE).nonzero()[:, 0].tolist() == [1, 2, 3], chosen
            same = [0, 4, 6, 7]
            assert chosen[same].equal(choose(logits, temperature, top_p, seeds, places)[same])


def choices() -> None:
    """Greedy and drawn choices, alone and in a batch."""
    random = np.random.default_rng(1)
    logits = torch.from_numpy(random.normal(size=(64, 50)).astype(np.float32))
    warm, all_of = np.full(64, 0.8, np.float32), np.ones(64, np.float32)
    seeds, places = random.integers(0, 2**63, 64).astype(np.uint64), np.arange(64)
    zeros = np.zeros(64, np.float32)
    assert choose(logits, zeros, all_of, seeds, places).equal(logits.argmax(-1))
    assert choose(logits, warm, all_of * 1e-6, seeds, places).equal(logits.argmax(-1)), "top_p keeps the likeliest"
    for cold in (1e-30, 1e-38, 1e-40, np.finfo(np.float32).smallest_subnormal):
        drawn = choose(1e4 * logits, warm * 0 + np.float32(cold), all_of, seeds, places)
        assert drawn.equal(logits.argmax(-1)), f"temperature {cold} is as good as 0"
    mixed = np.where(np.arange(64) % 2 == 0, warm, zeros)
    drawn = choose(logits, mixed, all_of * 0.9, seeds, places)
    order = random.permutation(64)
    again = choose(logits[order], mixed[order], all_of * 0.9, seeds[order], places[order])
    assert again.equal(drawn[order]), "a batch in another order"
    for i in range(64):
        one = slice(i, i + 1)
        alone = choose(logits[one], mixed[one], all_of[one] * 0.9, seeds[one], places[one])
        assert alone[0] == drawn[i], f"row {i} alone"

    n, p = 40000, torch.softmax(logits[0] / 0.8, -1).numpy()
    ids = choose(logits[:1].expand(n, -1), np.full(n, 0.8), np.ones(n), np.full(n, 7, np.uint64), np.arange(n))
    seen = np.bincount(ids.numpy(), minlength=50)
    chi2 = ((seen - n * p) ** 2 / (n * p)).sum()
    assert chi2 < 100, f"chi square {chi2:.0f} of 49 degrees"
    ids = choose(logits[:1].expand(n, -1), np.full(n, 0.8), np.full(n, 0.5), np.full(n, 7, np.uint64), np.arange(n))
    likeliest = np.argsort(-p, kind="stable")
    kept = likeliest[: int((np.cumsum(p[likeliest]) < 0.5).sum()) + 1]
    assert set(ids.tolist()) == set(kept.tolist()), "top_p of a half"
    u = numbers(np.arange(n).astype(np.uint64), np.zeros(n, np.int64))
    assert 0 <= u.min() and u.max() < 1 and abs(u.mean() - 0.5) < 0.01, "seeds that are close begin far apart"


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", default="build/models")
    good = random_model.folder("tiny", parser.parse_args().root)
    refused("want one of tiny", random_model.folder, "huge", "build/models")
    model = folder.open_model(good, "cpu")
    limits(model)
    engines(model)
    trials(model)
    no_choice()
    choices()
    print("bad input: ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
