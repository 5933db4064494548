"""full_cuda_graph="mixed" from Python: shapes that follow from a bucket, and its step without rows."""

import unittest

import numpy as np

import gdnmeta

SIZES = dict(device="cpu", max_num_seqs=8, max_num_batched_tokens=300, num_slots=40)
DRAFTS = (0, 1, 3)


def make(drafts, **options):
    return gdnmeta.Builder(
        **{**SIZES, "num_speculative_tokens": drafts, "full_cuda_graph": "mixed", **options}
    )


def tensors(meta):
    """What a step has, by name: shape, type and address."""
    found = {}
    for name in gdnmeta.Metadata.__annotations__:
        value = getattr(meta, name)
        if isinstance(value, gdnmeta.Tensor):
            found[name] = (value.shape, value.dtype, value.data)
    return found


def rows(random, drafts):
    """Arguments of Batch.set for a random mix: speculative rows, decodes, prompts that go on, first
    chunks."""
    kinds = sorted(int(kind) for kind in random.integers(0, 4, random.integers(1, 8)))
    query, seq, drafted, done = [], [], [], []
    for kind in kinds:
        spec = kind == 0 and drafts > 0
        n = 1 + int(random.integers(drafts + 1)) if spec else 1 if kind < 2 else int(random.integers(2, 36))
        query.append(n)
        seq.append(n + (0 if kind == 3 else 500))
        drafted.append(n - 1 if spec else -1)
        done.append(int(kind < 2))
    order = gdnmeta.reorder(
        decode_threshold=drafts + 1,
        num_scheduled=query,
        num_computed=np.subtract(seq, query),
        num_prompt=[500 if one else 10**6 for one in done],
    ).order
    blocks = 1 + np.arange(len(query) * (drafts + 1), dtype=np.int32).reshape(len(query), -1)
    columns = dict(query_len=query, seq_len=seq, drafts=drafted, prompt_done=done)
    return {name: np.array(values, np.int32)[order] for name, values in columns.items()}, blocks


class Buckets(unittest.TestCase):
    def test_shapes_are_known_before_there_is_a_builder(self):
        for drafts in DRAFTS:
            for size in ((1, 1), (8, 8), (8, 300), (3, 65)):
                bucket = gdnmeta.bucket(*size, **SIZES, num_speculative_tokens=drafts)
                with make(drafts) as builder:
                    meta = builder.capture(rows=size[0], tokens=size[1])
                    found = {
                        name: gdnmeta.Shape(shape, dtype) for name, (shape, dtype, _) in tensors(meta).items()
                    }
                    self.assertEqual(found, bucket.tensors)
                    self.assertEqual((meta.num_rows, meta.num_actual_tokens), size)
                    self.assertEqual((bucket.num_rows, bucket.num_actual_tokens), size)
                    self.assertEqual(bucket.num_tiles, meta.num_tiles)

    def test_steps_of_a_bucket_differ_in_contents_alone(self):
        random = np.random.default_rng(7)
        for drafts in DRAFTS:
            with make(drafts) as builder, builder.batch() as batch:
                wanted = tensors(builder.capture(rows=8, tokens=280))
                for _ in range(50):
                    given, blocks = rows(random, drafts)
                    batch.set(**given, blocks=blocks)
                    batch.pad(8, 280)
                    meta = builder.build(batch)
                    self.assertEqual(tensors(meta), wanted)
                    total = int(given["query_len"].sum())
                    classes = meta.token_class.numpy()
                    self.assertEqual(int((classes > 0).sum()), total)
                    self.assertEqual((classes == 1).sum(), meta.num_spec_decode_tokens)
                    self.assertEqual((classes == 2).sum(), meta.num_decode_tokens)
                    self.assertEqual((classes == 3).sum(), meta.num_prefill_tokens)
                    self.assertEqual(meta.live_counts.tolist()[-1], len(blocks))
                    record, live = meta.nums_dict[8], int(meta.nums_dict[8]["nums"].sum())
                    self.assertEqual((record["tot"], len(record["mlist"])), (meta.num_tiles,) * 2)
                    self.assertEqual((record["mlist"][live:] == -1).all(), True)
                    if drafts:
                        lists = [meta.spec_token_indx.numpy(), meta.non_spec_token_indx.numpy()]
                        live = np.sort(np.concatenate([one[one < 280] for one in lists]))
                        self.assertEqual(live.tolist(), list(range(total)))

    def test_captures_name_no_slot_of_a_step_before(self):
        with make(3) as builder, builder.batch() as batch:
            given, blocks = rows(np.random.default_rng(1), 3)
            batch.set(**given, blocks=blocks)
            batch.pad(8, 280)
            builder.build(batch)
            meta = builder.capture(rows=8, tokens=280)
            for name in tensors(meta):
                if "state_indices" in name:
                    self.assertEqual(getattr(meta, name).numpy().any(), False, name)

    def refused(self, error, message, call, *arguments, **options):
        with self.assertRaises(error) as raised:
            call(*arguments, **options)
        self.assertIn(message, str(raised.exception))

    def test_what_is_no_bucket_is_refused(self):
        self.refused(gdnmeta.Error, "full_cuda_graph", make, 0, rules="vllm-2026-11")
        self.refused(TypeError, "rows = None, want an integer", gdnmeta.bucket, None, 8)
        self.refused(ValueError, "tokens = -1, want an integer", gdnmeta.bucket, 1, -1)
        self.refused(gdnmeta.Error, "9", gdnmeta.bucket, 9, 8, **{**SIZES, "max_rows": 8})
        with make(0) as builder, builder.batch() as batch:
            self.refused(TypeError, "tokens = None, want an integer", builder.capture, rows=4)
            self.refused(
                TypeError, "seq_lens is given, want rows", builder.capture, rows=4, tokens=4, seq_lens=[1]
            )
            self.refused(gdnmeta.Error, "301", builder.capture, rows=4, tokens=301)
            step = builder.metadata.step
            self.refused(
                gdnmeta.Error, "", builder.build_raw, query_start_loc=[0, 1], seq_lens=[5], block_table=[[1]]
            )
            batch.set(query_len=[1, 1], seq_len=9, prompt_done=True, blocks=[[1], [2]])
            self.refused(ValueError, "rows = 1, want an integer in 2", batch.pad, 1, 8)
            self.refused(ValueError, "tokens = 1, want an integer in 2", batch.pad, 2, 1)
            self.assertEqual(builder.metadata.step, step)
        with gdnmeta.Builder(**SIZES) as builder:
            self.refused(gdnmeta.Error, "full_cuda_graph", builder.capture, rows=4, tokens=4)


if __name__ == "__main__":
    unittest.main()
