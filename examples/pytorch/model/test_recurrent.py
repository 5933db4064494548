"""recurrent.py against loops in float64, over random rows.
    python3 examples/pytorch/model/test_recurrent.py                        Triton's interpreter, on the CPU
    python3 examples/pytorch/model/test_recurrent.py --device cuda [--cases 200] [--bench]

Cases have decodes, speculative rows and prefills of 0 .. S + 1 or 0 .. 20 tokens, some fresh, some reading a
slot that others read too or that they write themselves, some past tokens that were not accepted. What no row
writes must keep its bits; the null slot, padding tokens and everything nobody wrote is NaN. Prints
    test_recurrent: <n> cases, <n> values compared, worst error <e>, <n> wrong"""

from __future__ import annotations

import argparse
import sys
import time

import torch
import triton_or_skip  # noqa: F401, before the kernels
from model import recurrent

NAN = float("nan")
TAPS = 4


class Rows:
    """R rows as a builder has them, the last ones empty: bounds, slots to write, to read, shifts."""

    def __init__(self, random, rows: int, longest: int, columns: int, drafts: int, pad: int) -> None:
        def draw(low, high):
            return int(torch.randint(low, high + 1, (), generator=random))

        live = draw(0, rows)
        self.lengths = [draw(1, longest) for _ in range(live)] + [0] * (rows - live)
        self.bounds = [sum(self.lengths[:row]) for row in range(rows + 1)]
        own = iter(torch.randperm(rows * columns, generator=random).add(1).tolist())
        shared = 1 + rows * columns  # written by nobody, read by several
        self.slots = 2 + rows * columns
        self.write = [[next(own) for _ in range(columns)] for _ in range(live)]
        self.write += [[pad] * columns for _ in range(rows - live)]
        for row in range(live):
            for column in range(self.lengths[row] if columns > 1 else 1, columns):
                self.write[row][column] = draw(0, 1) * self.write[row][column]  # slots after its drafts
            if not draw(0, 3):
                self.write[row][draw(0, min(columns, self.lengths[row]) - 1)] = pad  # nothing is left there
        choices = [0, shared, *([1] * 3)]
        self.read, self.shift = [], []
        for row in range(rows):
            from_ = choices[draw(0, len(choices) - 1)]
            slots = [slot for slot in self.write[row] if slot > 0]
            own_slot = slots[draw(0, len(slots) - 1)] if slots else pad
            self.read.append(pad if row >= live else own_slot if from_ == 1 else from_)
            self.shift.append(draw(0, drafts) if self.read[row] > 0 and row < live else 0)


def convolution(x, weight, windows, rows: Rows):
    """Outputs, and windows as they are afterwards."""
    out, after = torch.full_like(x, NAN), windows.clone()
    for row, n in enumerate(rows.lengths):
        if not n:
            continue
        first, read, shift = rows.bounds[row], rows.read[row], rows.shift[row]
        old = windows[read, :, shift : shift + TAPS - 1] if read > 0 else x.new_zeros(x.shape[1], TAPS - 1)
        inputs = torch.cat([old, x[first : first + n].T], 1)
        for t in range(n):
            y = (inputs[:, t : t + TAPS] * weight).sum(1)
            out[first + t] = y * torch.sigmoid(y)
        several = len(rows.write[row]) > 1
        for slot in rows.write[row][:n] if several else rows.write[row]:
            kept = inputs[:, 1:] if several else inputs[:, n:]
            if slot > 0:
                after[slot][:, : kept.shape[1]] = kept
    return out, after


def delta_rule(q, k, v, g, beta, states, rows: Rows):
    out, after = torch.full_like(v, NAN), states.clone()
    group = v.shape[1] // q.shape[1]
    for row, n in enumerate(rows.lengths):
        read = rows.read[row]
        state = states[read].clone() if read > 0 else torch.zeros_like(states[0])
        for token in range(rows.bounds[row], rows.bounds[row] + n):
            for head in range(v.shape[1]):
                key, query = k[token, head // group], q[token, head // group]
                key = key / (key @ key + 1e-6).sqrt()
                query = query / (query @ query + 1e-6).sqrt() * len(query) ** -0.5
                decayed = state[head] * g[token, head].exp()
                change = beta[token, head] * (v[token, head] - key @ decayed)
                state[head] = decayed + torch.outer(key, change)
                out[token, head] = query @ state[head]
            slot = rows.write[row][token - rows.bounds[row]]
            if slot > 0:
                after[slot] = state
    return out, after


class Compared:
    def __init__(self, tolerance: float) -> None:
        self.tolerance, self.worst, self.values, self.wrong = tolerance, 0.0, 0, 0

    def both(self, got, want) -> None:
        got, want = got.cpu().double(), want
        if not torch.equal(got.isnan(), want.isnan()):
            self.wrong += int((got.isnan() != want.isnan()).sum())
        errors = ((got - want).abs() / (1 + want.abs())).nan_to_num(0)
        self.values += int((~want.isnan()).sum())
        self.worst = max(self.worst, float(errors.max()) if errors.numel() else 0.0)
        self.wrong += int((errors > self.tolerance).sum())


class Case:
    """Kernels on a device against the loops on the CPU, in numbers that both types can hold."""

    def __init__(self, seed: int, device: str, dtype, state_dtype, small: bool) -> None:
        self.random = torch.Generator().manual_seed(seed)
        self.device, self.dtype, self.state_dtype = device, dtype, state_dtype
        self.heads, self.group = 1 + seed % 2, 1 + seed // 2 % 3
        self.dim = (16 if small else 128, (16, 32)[seed % 2] if small else (128, 64)[seed % 2])
        self.drafts = seed % 4
        self.rows = 6 if small else 24

    def draw(self, *shape, dtype=None):
        values = torch.randn(*shape, generator=self.random)
        return values.to(dtype or self.dtype).double()

    def to(self, values, dtype=None):
        return values.to(self.device, dtype or self.dtype)

    def tables(self, rows: Rows):
        def to(values):
            return torch.tensor(values, dtype=torch.int32, device=self.device)

        write = rows.write if len(rows.write[0]) > 1 else [slots[0] for slots in rows.write]
        return to(rows.bounds), to(write), to(rows.read), to(rows.shift)

    def pool(self, rows: Rows, *shape, dtype=None):
        values = self.draw(rows.slots, *shape, dtype=dtype)
        values[0] = NAN
        return values

    def tokens(self, rows: Rows, *shape, dtype=None):
        """With some of padding behind them."""
        values = self.draw(rows.bounds[-1] + 3, *shape, dtype=dtype)
        values[rows.bounds[-1] :] = NAN
        return values

    def both(self, compared: Compared) -> None:
        pad = (0, -1)[self.drafts % 2]
        short = Rows(self.random, self.rows, self.drafts + 1, self.drafts + 1, self.drafts, pad)
        long = Rows(self.random, self.rows, 20, 1, self.drafts, pad)
        self.convolutions(compared, short, False)
        self.convolutions(compared, long, True)
        self.deltas(compared, short)

    def convolutions(self, compared: Compared, rows: Rows, tiles: bool) -> None:
        keys, values = self.dim
        channels = self.heads * (2 * keys + self.group * values) + 8
        x, weight = self.tokens(rows, channels), self.draw(channels, TAPS)
        windows = self.pool(rows, channels, TAPS - 1 + self.drafts)
        want = convolution(x, weight, windows, rows)
        kept = self.to(windows.transpose(1, 2)).contiguous().transpose(1, 2) if tiles else self.to(windows)
        out = torch.full_like(self.to(x), NAN)
        arguments = (self.to(x), self.to(weight), kept, out, *self.tables(rows))
        if tiles:
            size = recurrent.TILE
            named = [(row, tile) for row, n in enumerate(rows.lengths) for tile in range(-(-n // size))]
            named += [(-1, -1)] * 4
            both = torch.tensor(named, dtype=torch.int32, device=self.device).T.contiguous()
            recurrent.conv_tiles(*arguments, both[0], both[1], len(named))
        else:
            recurrent.conv_rows(*arguments)
        compared.both(out, want[0])
        compared.both(kept, want[1])

    def deltas(self, compared: Compared, rows: Rows) -> None:
        (keys, values), value_heads = self.dim, self.heads * self.group
        mixed = self.tokens(rows, 2 * self.heads * keys + value_heads * values)
        g, beta = (self.draw(len(mixed), value_heads, dtype=torch.float32) for _ in range(2))
        g, beta = -g.abs(), beta.sigmoid().float().double()
        states = self.pool(rows, value_heads, keys, values, dtype=self.state_dtype)

        def split(mixed):
            q, k, v = mixed.split([self.heads * keys, self.heads * keys, value_heads * values], 1)
            return q.unflatten(1, (-1, keys)), k.unflatten(1, (-1, keys)), v.unflatten(1, (-1, values))

        want = delta_rule(*split(mixed), g, beta, states, rows)
        kept = self.to(states, self.state_dtype)
        out = self.to(torch.full((len(mixed), value_heads, values), NAN))
        recurrent.delta_rows(*split(self.to(mixed)), self.to(g, torch.float32), self.to(beta, torch.float32),
                             kept, out, *self.tables(rows)[:3])  # fmt: skip
        compared.both(out, want[0])
        compared.both(kept, want[1])


def bench(device: str) -> None:
    """Microseconds of each kernel at the sizes of a layer with 16 key heads and 32 value heads of 128, and
    the share of the device's memory rate, by the states read and written."""
    heads, value_heads, dim, dtype = 16, 32, 128, torch.bfloat16
    channels = (2 * heads + value_heads) * dim
    for rows, columns in ((1, 1), (32, 1), (256, 1), (1, 4), (32, 4)):
        n, slots = rows * columns, 1 + rows * columns
        x = torch.randn(n, channels, device=device, dtype=dtype)
        weight = torch.randn(channels, TAPS, device=device, dtype=dtype)
        windows = torch.zeros(slots, TAPS + columns - 2, channels, device=device, dtype=dtype).transpose(1, 2)
        states = torch.zeros(slots, value_heads, dim, dim, device=device)
        out, y = torch.empty(n, value_heads, dim, device=device, dtype=dtype), torch.empty_like(x)
        bounds = torch.arange(rows + 1, device=device, dtype=torch.int32) * columns
        write = torch.arange(1, slots, device=device, dtype=torch.int32).view(rows, columns).squeeze(1)
        read = write.view(rows, columns)[:, 0].contiguous()
        shift = torch.zeros_like(read)
        g = torch.zeros(n, value_heads, device=device)
        q, k, v = x.view(n, -1, dim).split([heads, heads, value_heads], 1)
        conv = fastest(lambda: recurrent.conv_rows(x, weight, windows, y, bounds, write, read, shift))
        delta = fastest(lambda: recurrent.delta_rows(q, k, v, g, g, states, out, bounds, write, read))
        moved = 4 * value_heads * dim * dim * rows * (1 + columns)
        print(f"recurrent-bench rows {rows} columns {columns} conv {conv:.1f} delta {delta:.1f} "
              f"GB/s {1e-3 * moved / delta:.0f}", flush=True)  # fmt: skip


def fastest(run) -> float:
    """Microseconds on the device, of a captured graph of ten."""
    run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(10):
            run()
    times = []
    for _ in range(30):
        first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        first.record()
        graph.replay()
        last.record()
        torch.cuda.synchronize()
        times.append(100 * first.elapsed_time(last))
    return min(times)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--cases", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bench", action="store_true", help="times, on a GPU")
    args = parser.parse_args()
    on_gpu, start = args.device != "cpu", time.perf_counter()
    cases, failed = args.cases or (96 if on_gpu else 12), 0
    exact, coarse = Compared(1e-5), Compared(2e-2)
    for case in range(args.seed, args.seed + cases):
        # The interpreter has no bfloat16 worth the name.
        half = on_gpu and case % 3 == 0
        state_dtype = torch.bfloat16 if on_gpu and case % 6 == 0 else torch.float32
        dtype = torch.bfloat16 if half else torch.float32
        Case(case, args.device, dtype, state_dtype, not on_gpu or case % 2).both(coarse if half else exact)
    for name, compared in (("float32", exact), ("bfloat16", coarse)):
        if compared.values:
            print(f"test_recurrent: {cases} cases, {name}: {compared.values} values compared, worst error "
                  f"{compared.worst:.2g}, {compared.wrong} wrong", flush=True)  # fmt: skip
        failed += compared.wrong
    print(f"test_recurrent: {'FAILED' if failed else 'ok'}, {time.perf_counter() - start:.1f} s", flush=True)
    if args.bench and on_gpu:
        bench(args.device)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
