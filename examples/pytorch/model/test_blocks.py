"""blocks.py against loops in float64, over random rows and tables.
    python3 examples/pytorch/model/test_blocks.py                         Triton's interpreter, on the CPU
    python3 examples/pytorch/model/test_blocks.py --device cuda [--cases 200] [--bench]

What no row's table names is NaN, and so are padding's queries and outputs. Exits with 3 without Triton. Prints
    test_blocks: <n> cases, <type>: <n> values compared, worst error <e>, <n> wrong"""

from __future__ import annotations

import argparse
import sys
import time

import torch
import triton_or_skip  # noqa: F401, before the kernels
from model import blocks
from model.test_recurrent import Compared, fastest

NAN = float("nan")


class Case:
    def __init__(self, seed: int, device: str, dtype, small: bool) -> None:
        self.random, self.device, self.dtype = torch.Generator().manual_seed(seed), device, dtype
        self.kv_heads, self.group = 1 + seed % 2, (1, 4, 3)[seed % 3]
        self.dim, self.size = (16 if small else 256), (16, 8, 32)[seed % 3]
        self.tile, rows, columns = (1, 4, 16)[seed % 3], 5 if small else 20, 6 if small else 40
        live = self.number(0, rows)
        longest = columns * self.size
        self.lengths = [self.number(1, self.number(1, longest)) for _ in range(live)]
        self.queries = [self.number(1, min(n, (1, 5, 40)[seed % 3])) for n in self.lengths]
        own = iter(torch.randperm(rows * columns, generator=self.random).tolist())
        self.table_row = torch.randperm(rows + 2, generator=self.random).tolist()[:rows]
        self.table = [[0] * columns for _ in range(rows + 2)]
        for row, n in enumerate(self.lengths):
            for column in range(-(-n // self.size)):
                self.table[self.table_row[row]][column] = next(own)
        self.pad, self.blocks = rows - live, rows * columns

    def number(self, low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=self.random))

    def draw(self, *shape):
        return torch.randn(*shape, generator=self.random).to(self.dtype).double()

    def int32s(self, values):
        return torch.tensor(values, dtype=torch.int32, device=self.device)

    def places(self, row: int):
        table = self.table[self.table_row[row]]
        return [table[k // self.size] * self.size + k % self.size for k in range(self.lengths[row])]

    def both(self, compared: Compared) -> None:
        heads, n = self.kv_heads * self.group, sum(self.queries)
        q = self.draw(n + 2, heads, self.dim)
        keys, values = (self.draw(self.blocks * self.size, self.kv_heads, self.dim) for _ in range(2))
        known = [place for row in range(len(self.lengths)) for place in self.places(row)]
        unknown = torch.ones(len(keys), dtype=torch.bool)
        unknown[known] = False
        q[n:], keys[unknown], values[unknown] = NAN, NAN, NAN
        want = self.loops(q, keys, values)

        bounds = [0]
        for count in self.queries + [0] * self.pad:
            bounds.append(bounds[-1] + count)
        named = [(row, tile) for row, c in enumerate(self.queries) for tile in range(-(-c // self.tile))]
        named += [(-1, 0)] * self.number(1, 3)
        tiles = blocks.Tiles(*(self.int32s(part) for part in zip(*named)), self.tile)
        rows = blocks.Rows(self.int32s(bounds), self.int32s(self.lengths + [0] * self.pad),
                           self.int32s(self.table_row), self.int32s(self.table))  # fmt: skip
        q, keys, values = (tensor.to(self.device, self.dtype) for tensor in (q, keys, values))
        if self.tile > 1:  # as rotary positions leave it: a token's heads are not side by side
            q = q.transpose(0, 1).contiguous().transpose(0, 1)
        out = torch.full_like(q, NAN)
        blocks.attend(q, keys, values, out, rows, tiles, self.size, self.dim**-0.5)
        compared.both(out, want)

    def loops(self, q, keys, values):
        out, token = torch.full_like(q, NAN), 0
        for row, (n, length) in enumerate(zip(self.queries, self.lengths)):
            places = self.places(row)
            for t in range(n):
                seen = places[: length - n + t + 1]
                for head in range(q.shape[1]):
                    k, v = keys[seen, head // self.group], values[seen, head // self.group]
                    out[token, head] = torch.softmax(k @ q[token, head] * self.dim**-0.5, 0) @ v
                token += 1
        return out


def bench(device: str) -> None:
    """Microseconds of a layer of 8 heads over 2 of keys, of 256."""
    blocks.PROGRAMS = 256
    heads, kv_heads, dim, size, dtype = 8, 2, 256, 16, torch.bfloat16
    for count, queries, length in ((1, 1, 1024), (32, 1, 1024), (256, 1, 1024), (32, 4, 1024), (4, 256, 1024)):
        columns, tile = length // size, 1 if queries == 1 else 4 if queries < 16 else 16
        n = count * queries
        keys, values = (torch.randn(count * length, kv_heads, dim, device=device, dtype=dtype) for _ in range(2))
        q = torch.randn(n, heads, dim, device=device, dtype=dtype)
        out = torch.empty_like(q)
        rows = blocks.Rows(
            torch.arange(count + 1, device=device, dtype=torch.int32) * queries,
            torch.full((count,), length, device=device, dtype=torch.int32),
            torch.arange(count, device=device, dtype=torch.int32),
            torch.arange(count * columns, device=device, dtype=torch.int32).view(count, columns),
        )
        per_row = -(-queries // tile)
        at = torch.arange(count * per_row, device=device, dtype=torch.int32)
        tiles = blocks.Tiles(at // per_row, at % per_row, tile)
        took = fastest(lambda: blocks.attend(q, keys, values, out, rows, tiles, size, dim**-0.5))
        print(f"blocks-bench rows {count} queries {queries} keys {length} parts "
              f"{blocks.parts_for(len(at), kv_heads)} us {took:.1f} "
              f"GB/s {1e-3 * 4 * dim * kv_heads * count * length / took:.0f}", flush=True)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--cases", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bench", action="store_true", help="times, on a GPU")
    args = parser.parse_args()
    on_gpu, start, failed = args.device != "cpu", time.perf_counter(), 0
    cases = args.cases or (30 if on_gpu else 12)
    exact, coarse = Compared(1e-5), Compared(2e-2)
    for case in range(args.seed, args.seed + cases):
        half = on_gpu and case % 2 == 0
        blocks.PROGRAMS = (1, 32)[case % 2] if not on_gpu else (1, 32, 256)[case % 3]  # with parts and without
        Case(case, args.device, torch.bfloat16 if half else torch.float32, not on_gpu).both(
            coarse if half else exact
        )
    for name, compared in (("float32", exact), ("bfloat16", coarse)):
        if compared.values:
            print(f"test_blocks: {cases} cases, {name}: {compared.values} values compared, worst error "
                  f"{compared.worst:.2g}, {compared.wrong} wrong", flush=True)  # fmt: skip
        failed += compared.wrong
    print(f"test_blocks: {'FAILED' if failed else 'ok'}, {time.perf_counter() - start:.1f} s", flush=True)
    if args.bench and on_gpu:
        bench(args.device)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
