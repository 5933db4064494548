"""What is refused, and by which words: folders that are no model, weights that are cut, a vocabulary that does not
match, more requests than memory, tokens that the model does not have. And the choice of tokens by themselves.
    python3 examples/pytorch/model/test_bad_input.py [--root FOLDER]"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile

import numpy as np
import torch

sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from model import folder, random_model  # noqa: E402
from model.errors import ModelError  # noqa: E402
from model.limits import Limits, check_memory, pool_bytes  # noqa: E402
from model.runner import Runner  # noqa: E402
from model.sampler import choose, numbers  # noqa: E402
from model.step import Step  # noqa: E402


def refused(words: str, call, *arguments) -> None:
    try:
        call(*arguments)
    except ModelError as error:
        assert words in str(error), f"{str(error)!r} does not say {words!r}"
        print(f"  refused: {str(error)[:110]}")
        return
    raise AssertionError(f"not refused: {words}")


def changed(good: str, into: str, **edits) -> str:
    """A copy of a model's folder, with other entries in config.json."""
    place = shutil.copytree(good, os.path.join(into, f"copy{len(os.listdir(into))}"))
    path = os.path.join(place, "config.json")
    with open(path, encoding="utf-8") as file:
        config = json.load(file)
    with open(path, "w", encoding="utf-8") as file:
        json.dump({**config, **edits}, file)
    return place


def folders(good: str, into: str) -> None:
    weights = "model.safetensors"
    refused("is no folder", folder.open_model, os.path.join(into, "nothing"), "cpu")
    empty = os.path.join(into, "empty")
    os.mkdir(empty)
    refused("has no config.json", folder.open_model, empty, "cpu")
    refused("want a hybrid model", folder.open_model, changed(good, into, model_type="llama"), "cpu")
    plain = changed(good, into, layer_types=["full_attention"] * 4)
    refused("no layer is linear_attention", folder.open_model, plain, "cpu")
    place = changed(good, into)
    os.remove(os.path.join(place, weights))
    refused("has neither model.safetensors", folder.open_model, place, "cpu")
    whole = os.path.getsize(os.path.join(good, weights))
    for size in (0, 5, 100, whole // 2, whole - 1):
        place = changed(good, into)
        os.truncate(os.path.join(place, weights), size)
        refused(f"{size} bytes", folder.open_model, place, "cpu")
    place = changed(good, into)
    with open(os.path.join(place, weights), "r+b") as file:
        file.seek(8)
        file.write(b"not json")
    refused("is corrupt", folder.open_model, place, "cpu")
    refused("mismatched keys", folder.open_model, changed(good, into, vocab_size=400), "cpu")
    refused("missing keys", folder.open_model, changed(good, into, num_hidden_layers=5, layer_types=None), "cpu")
    with open(os.path.join(place, "config.json"), "w", encoding="utf-8") as file:
        file.write("{")
    refused("cannot be read", folder.open_model, place, "cpu")


def step_of(token: int, groups: int = 1):
    one = np.ones(1, np.int32)
    return Step(
        query_len=one,
        seq_len=one,
        drafts=-one,
        accepted_tokens=one,
        samples=one,
        prompt_done=one * 0,
        table_row=one * 0,
        slots=np.ones((groups, 1, 1), np.int32),
        read_slots=np.zeros((groups, 1), np.int32),
        tokens=one * token,
        temperature=np.zeros(1, np.float32),
        top_p=np.ones(1, np.float32),
        seed=np.zeros(1, np.uint64),
        request=np.ones(1, np.int64),
    )


def limits(model) -> None:
    config, tokenizer = model.config, model.config.vocab_size
    refused("the vocabulary does not match", folder.open_tokenizer, model.name_or_path, tokenizer - 1)
    huge = Limits(max_num_seqs=1 << 16, num_slots=(1 << 30,))
    assert pool_bytes(config, huge, torch.float32) > 1 << 40
    refused("states and blocks for 65536 requests take", check_memory, config, huge, torch.float32, "cpu")
    refused("one a group", check_memory, config, Limits(num_groups=2), torch.float32, "cpu")
    runner = Runner(model, Limits())
    for token in (-2, config.vocab_size):
        refused(f"token {token}", runner.step, step_of(token))
    assert len(runner.step(step_of(5)).tokens) == 1


def choices() -> None:
    """Greedy and drawn choices, alone and in a batch."""
    random = np.random.default_rng(1)
    logits = torch.from_numpy(random.normal(size=(64, 50)).astype(np.float32))
    warm, all_of = np.full(64, 0.8, np.float32), np.ones(64, np.float32)
    seeds, places = random.integers(0, 2**63, 64).astype(np.uint64), np.arange(64)
    zeros = np.zeros(64, np.float32)
    assert choose(logits, zeros, all_of, seeds, places).equal(logits.argmax(-1))
    assert choose(logits, warm, all_of * 1e-6, seeds, places).equal(logits.argmax(-1)), "top_p keeps the likeliest"
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
    with tempfile.TemporaryDirectory() as into:
        folders(good, into)
    limits(folder.open_model(good, "cpu"))
    choices()
    print("bad input: ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
