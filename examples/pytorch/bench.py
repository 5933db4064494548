"""How long a step of 256 decodes takes from Python, row arrays and build together.
    python3 examples/pytorch/bench.py [steps a round]

Prints microseconds a step, of the fastest round and of the median one:
    python-bench decodes 256 set <us> build <us> both <us> median <us>"""
import statistics
import sys
import time

import numpy as np

from gdnmeta import Builder

ROWS, ROUNDS = 256, 100
STEPS = int(sys.argv[1]) if len(sys.argv) > 1 else 500


def rounds(step):
    """Seconds a step, of each round."""
    out = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(STEPS):
            step()
        out.append((time.perf_counter() - start) / STEPS)
    return out


def main():
    with Builder(device="cpu", max_num_seqs=ROWS, num_slots=ROWS + 1) as builder, builder.batch() as batch:
        rows, lengths = np.arange(ROWS, dtype=np.int32), np.full(ROWS, 1000, np.int32)
        builder.set_blocks(0, rows, (1 + rows)[:, np.newaxis])

        def write():
            batch.set(query_len=1, seq_len=lengths, prompt_done=True, table_row=rows)

        def both():
            write()
            builder.build(batch)

        write()
        assert builder.build(batch).num_decodes == ROWS
        seconds = [rounds(write), rounds(lambda: builder.build(batch)), rounds(both)]
        figures = [1e6 * min(times) for times in seconds] + [1e6 * statistics.median(seconds[2])]
        print("python-bench decodes %d set %.2f build %.2f both %.2f median %.2f" % (ROWS, *figures))


main()
