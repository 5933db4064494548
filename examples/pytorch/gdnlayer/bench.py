"""36 layers of one step with decodes and prompts: launched one by one, and as one graph. Each time
includes the build of the step's tables."""

from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import torch

from gdnmeta import READ_DEFAULT

from .layer import Layer
from .pools import Pool
from .runner import Runner

PROMPTS, CHUNK = 3, 150


def step_of(drafts: int):
    """Rows and number of tokens: 20 decodes, 12 of them speculative where there are drafts, and 3 chunks."""
    spec = 12 if drafts else 0
    lengths = [drafts + 1] * spec + [1] * (20 - spec) + [CHUNK] * PROMPTS
    done = [1] * 20 + [0] * PROMPTS
    rows = {
        "query_len": lengths,
        "seq_len": [n + 1000 * d for n, d in zip(lengths, done)],
        "drafts": [drafts] * spec + [-1] * (20 - spec + PROMPTS),
        "accepted": [1] * len(done),
        "prompt_done": done,
        "read_column": [READ_DEFAULT] * len(done),
        "table_row": range(len(done)),
    }
    return {name: np.array(values, np.int32) for name, values in rows.items()}, sum(lengths)


def fastest(run, seconds: float) -> float:
    """Microseconds of the fastest of many runs, each waited for."""
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 5:
        start = time.perf_counter()
        run()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return 1e6 * min(times)


def measure(sizes, ops, device: str, dtype, layers: int, seconds: float):
    """(eager, graph) in microseconds."""
    rows, count = step_of(sizes.drafts)
    seats, exact, padded = len(rows["seq_len"]), (len(rows["seq_len"]), count), (24, 512)
    own = 1 + np.arange(seats * (sizes.drafts + 1)).reshape(seats, -1)
    case = SimpleNamespace(
        seats=seats,
        block=0,
        num_slots=1 + own.size,
        buckets=[exact, padded],
        tables=np.concatenate([own, own[:, :1]], 1).astype(np.int32),
    )
    stack = [
        Layer(sizes, ops, Pool(sizes, case.num_slots, device, dtype), i, device, dtype) for i in range(layers)
    ]
    draw = torch.Generator().manual_seed(1)
    inputs = SimpleNamespace(
        **{
            name: torch.randn(count + 1, width, generator=draw).to(device, dtype)
            for name, width in (("x", sizes.channels), ("a", sizes.value_heads), ("b", sizes.value_heads))
        }
    )
    runner = Runner(case, stack, inputs, device, graphs=True)
    for layer in stack:  # what a server's states would be
        layer.pool.states.normal_()
        layer.pool.windows.normal_()
    eager, graph = runner.buckets[exact], runner.buckets[padded]
    for bucket, size in ((eager, exact), (graph, padded)):
        runner.build(rows, size)
        bucket.load(np.arange(count))
    whole = max(graph.graphs, key=len)
    with runner.builder:
        return (
            fastest(lambda: eager.forward(runner.build(rows, exact)), seconds),
            fastest(lambda: (runner.build(rows, padded), graph.graphs[whole].replay()), seconds),
        )
