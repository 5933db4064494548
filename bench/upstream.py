"""The upstream metadata builder (vllm 0.33) and ours on the same batches, on one GPU in one run.
    python3 bench/upstream.py [--files FOLDER] [--device cuda|cpu] [--builds N]

--files has the Python files of vllm's wheel, where the package is not installed. Both build two batches in
turn, so that no build finds its step in place. A batch of ours is written from arrays in the timed part; the
upstream builder's tensors are on the device before. Host times are medians of builds that each start on an
idle device; operations are kernels, copies and fills a build, as the profiler counts them. `exported` is our
step with its tensors passed to torch. Every value is compared first; on the CPU that is all. Prints
    upstream-bench <workload> upstream host <us> operations <n> gdnmeta host <us> operations <n> ratio <r>"""
import argparse
import os
import statistics
import sys
import time
from types import SimpleNamespace

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [os.path.join(ROOT, "bench"), os.path.join(ROOT, "examples", "pytorch")]


def skipped(why):
    print(f"upstream-bench: SKIPPED, {why}")
    sys.exit(3)


# Groups of rows: how many, query length, drafts (-1: none), is the whole prompt computed.
DECODES, SPECULATIVE = (1, -1, True), (4, 3, True)
WORKLOADS = {
    "decodes": (0, [(256, *DECODES)]),
    "speculative": (3, [(128, *SPECULATIVE)]),
    "prompts": (0, [(8, 4096, -1, False)]),
    "mixed": (0, [(64, *DECODES), (4, 2048, -1, False)]),
    "speculative-mixed": (3, [(96, *SPECULATIVE), (24, *DECODES), (4, 1024, -1, False)]),
}
MAX_ROWS, MAX_TOKENS, WIDTH, CAPTURED, BLOCK = 256, 32768, 16, 512, 544
THEIRS_ALONE = ("spec_sequence_masks_cpu", "checkpoint", "flashinfer_checkpoint_plan",
                "aiter_prefill_metadata")


def rows_of(groups, turn):
    """A batch as int32 arrays; the two turns differ in lengths, accepted counts and slots."""
    columns = np.concatenate([np.tile([q, d, done], (n, 1)) for n, q, d, done in groups]).astype(np.int32)
    n, ids = len(columns), np.arange(len(columns), dtype=np.int32)
    query, drafts, done = (np.ascontiguousarray(column) for column in columns.T)
    before = np.where(done == 1, 2000 + ids + turn, 0)
    blocks = 1 + (turn * n + ids[:, None]) * WIDTH + np.arange(WIDTH)
    accepted = np.where(drafts >= 0, 1 + (ids + turn) % 4, 1)
    return SimpleNamespace(n=n, query=query, drafts=drafts, done=done, table=ids + turn * n,
                           **{name: value.astype(np.int32) for name, value in
                              (("seq", before + query), ("accepted", accepted), ("blocks", blocks))})


class Upstream:
    def __init__(self, modules, drafts, batches, device):
        gdn_attn, backend, interface = modules
        some = SimpleNamespace
        speculative = some(num_speculative_tokens=drafts, parallel_drafting=False,
                           use_eagle_block_drop=lambda: False)
        spec = interface.MambaSpec(block_size=BLOCK, shapes=((1,),), dtypes=(torch.float32,),
                                   num_speculative_blocks=drafts)
        config = some(
            speculative_config=speculative if drafts else None,
            scheduler_config=some(max_num_seqs=MAX_ROWS, max_num_batched_tokens=MAX_TOKENS),
            compilation_config=some(cudagraph_mode=some(has_full_cudagraphs=lambda: True),
                                    max_cudagraph_capture_size=CAPTURED),
            cache_config=some(mamba_cache_mode="none"), model_config=some(), additional_config={},
            parallel_config=some(decode_context_parallel_size=1), use_v2_model_runner=False)
        self.builder = gdn_attn.GDNAttentionMetadataBuilder(spec, ["layer"], config, torch.device(device))
        self.calls = [self.arguments(backend, rows, drafts, device) for rows in batches]

    @staticmethod
    def arguments(backend, rows, drafts, device):
        start = torch.from_numpy(np.concatenate([[0], np.cumsum(rows.query)]).astype(np.int32))
        host = {name: torch.from_numpy(array) for name, array in vars(rows).items() if name != "n"}
        tokens, longest = int(rows.query.sum()), int(rows.query.max())
        common = backend.CommonAttentionMetadata(
            query_start_loc=start.to(device), query_start_loc_cpu=start, seq_lens=host["seq"].to(device),
            num_reqs=rows.n, num_actual_tokens=tokens, max_query_len=longest, max_seq_len=int(rows.seq.max()),
            block_table_tensor=host["blocks"].to(device),
            slot_mapping=torch.zeros(tokens, dtype=torch.int64, device=device),
            is_prefilling=torch.from_numpy(rows.done == 0), seq_lens_cpu_upper_bound=host["seq"])
        return (0, common) + ((host["accepted"].to(device), host["drafts"]) if drafts else ())

    def step(self, turn):
        return self.builder.build(*self.calls[turn])


class Ours:
    def __init__(self, gdnmeta, drafts, batches, device):
        self.builder = gdnmeta.Builder(
            rules="vllm-2026-11", device=device, max_num_seqs=MAX_ROWS, max_num_batched_tokens=MAX_TOKENS,
            num_speculative_tokens=drafts, full_cuda_graph=True, max_cudagraph_capture_size=CAPTURED,
            mamba_block_size=BLOCK, max_blocks_per_row=WIDTH, max_requests=2 * MAX_ROWS)
        self.batch, self.batches = self.builder.batch(), batches
        self.stream = torch.cuda.current_stream().cuda_stream if device != "cpu" else None
        for rows in batches:
            self.builder.set_blocks(0, rows.table, rows.blocks)

    def step(self, turn):
        rows = self.batches[turn]
        self.batch.set(query_len=rows.query, seq_len=rows.seq, drafts=rows.drafts, accepted=rows.accepted,
                       prompt_done=rows.done, table_row=rows.table)
        return self.builder.build(self.batch, self.stream)

    def exported(self, turn):
        meta = self.step(turn)
        values = [getattr(meta, name) for name in self.fields]
        return [torch.from_dlpack(value) if hasattr(value, "__dlpack__") else value for value in values]


def array(value):
    return value.cpu().numpy() if hasattr(value, "cpu") else np.asarray(value)


def equal(a, b):
    return np.array_equal(a, b) and a.dtype == b.dtype


def differences(theirs, ours):
    """Names of the fields that differ, and how many were compared."""
    wrong, names = [], [name for name in theirs.__dataclass_fields__ if name not in THEIRS_ALONE]
    for name in names:
        a, b = getattr(theirs, name), getattr(ours, name)
        pairs = [(a, b)]
        if name == "nums_dict" and a and b:
            pairs = [(value, b[8][key]) for key, value in a[8].items()]
        for x, y in pairs:
            given = x is not None and y is not None
            if not (equal(array(x), array(y)) if given else x is y):
                wrong.append(name)
    return wrong, len(names)


def host(step, builds):
    """Median microseconds."""
    times = []
    for i in range(builds + 20):
        torch.cuda.synchronize()
        start = time.perf_counter_ns()
        step(i % 2)
        times.append((time.perf_counter_ns() - start) / 1e3)
    torch.cuda.synchronize()
    return statistics.median(times[20:])


def operations(step, builds=20):
    from torch.profiler import ProfilerActivity, profile
    step(1)
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as profiler:
        for i in range(builds):
            step(i % 2)
        torch.cuda.synchronize()
    on_device = [e for e in profiler.events() if e.device_type == torch.autograd.DeviceType.CUDA]
    return len(on_device) / builds


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--files")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--builds", type=int, default=500)
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        skipped("no GPU (--device cpu compares the values)")
    import upstream_import
    try:
        modules = upstream_import.load(options.files)
    except ImportError as error:
        skipped(f"vllm cannot be imported: {error}")
    import gdnmeta
    device, failed = "cuda:0" if options.device == "cuda" else "cpu", 0
    if device == "cpu":
        upstream_import.without_pinned_memory()
    timed = []
    for name, (drafts, groups) in WORKLOADS.items():
        batches = [rows_of(groups, turn) for turn in (0, 1)]
        theirs, ours = Upstream(modules, drafts, batches, device), Ours(gdnmeta, drafts, batches, device)
        for turn in (0, 1, 0):
            wrong, compared = differences(theirs.step(turn), ours.step(turn))
            failed += len(wrong)
            print("upstream-values", name, f"fields {compared} wrong {len(wrong)}", *wrong, flush=True)
        if device != "cpu":
            ours.fields = [field for field in type(theirs.step(0)).__dataclass_fields__
                           if field not in THEIRS_ALONE + ("nums_dict",)]
            times = [host(step, options.builds) for step in (theirs.step, ours.step, ours.exported)]
            timed.append((name, theirs, ours, times))
    for name, theirs, ours, (a, b, exported) in timed:  # last: a profiler slows what runs after it
        print(f"upstream-bench {name} upstream host {a:.1f} operations {operations(theirs.step):g} "
              f"gdnmeta host {b:.1f} operations {operations(ours.step):g} ratio {a / b:.1f}")
        print(f"upstream-exported {name} gdnmeta host {exported:.1f} ratio {a / exported:.1f}", flush=True)
    sys.exit(1 if failed else 0)


try:
    import numpy as np
    import torch
except ImportError as missing:
    skipped(missing)
if __name__ == "__main__":
    main()
