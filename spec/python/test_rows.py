"""Batches, tables, metadata and tensors from Python, on the CPU."""

import gc
import unittest
import weakref

import numpy as np

import gdnmeta

OPTIONS = dict(device="cpu", max_num_seqs=4, max_num_batched_tokens=64)


def make(**options):
    return gdnmeta.Builder(**{**OPTIONS, **options})


class Rows(unittest.TestCase):
    def setUp(self):
        self.builder = make(num_slots=100)
        self.batch = self.builder.batch()
        self.builder.set_blocks(0, [0, 1, 2, 3], [[7], [8], [9], [10]])

    def slots(self, meta):
        return meta.non_spec_state_indices_tensor.tolist()

    def step(self, **rows):
        self.batch.set(**{**dict(query_len=1, seq_len=[20, 30], prompt_done=True, table_row=[2, 1]), **rows})
        return self.builder.build(self.batch)

    def test_rows_are_set_at_once(self):
        meta = self.step()
        self.assertEqual((meta.num_decodes, meta.num_rows, meta.step, len(self.batch)), (2, 2, 1, 2))
        self.assertEqual(self.slots(meta), [9, 8])
        self.assertEqual(meta.non_spec_query_start_loc.tolist(), [0, 1, 2])

    def test_numbers_shared_by_rows_do_not_outlast_what_else_writes(self):
        """A number that stays is not written again; what was written into the rows meanwhile must not be kept."""
        builder = make(rules="vllm-2026-08", num_speculative_tokens=2, max_blocks_per_row=3)
        shared = dict(query_len=2, accepted=2, drafts=0, prompt_done=True, read_column=1, table_row=3)
        fields = {"query_len": 2, "num_accepted_tokens": 2, "num_draft_tokens": 0, "prompt_done": 1}
        fields.update(read_column=1, table_row=3)

        def pad(batch):
            batch.pad(4, 64)
            builder.build(batch)

        def push(batch):
            batch.push(1, 5, -1, 1, False, 0, 0)

        def add(batch):
            batch.clear()
            batch.add(1, 5, [1])

        def write(batch):
            for name in fields:
                getattr(batch.rows, name)[:] = 9

        def arrays(batch):
            batch.set(**{name: np.full(2, 0, np.int32) for name in shared}, seq_len=[1, 1])

        def numbers(batch):
            batch.set(**dict.fromkeys(shared, 0), seq_len=[1, 1])

        for disturb in (pad, push, add, write, arrays, numbers):
            batch = builder.batch()
            for n in (4, 2, 4):
                batch.set(**shared, seq_len=np.full(n, 9, np.int32))
                for name, value in fields.items():
                    self.assertEqual(getattr(batch._rows, name)[:n].tolist(), [value] * n, (disturb, name))
                if n == 2:
                    disturb(batch)

    def test_padding_is_of_one_step(self):
        self.step()
        self.batch.pad(4, 9)
        meta = self.builder.build(self.batch)
        self.assertEqual((meta.num_rows, meta.num_actual_tokens), (4, 9))
        meta = self.step()
        self.assertEqual((meta.num_rows, meta.num_actual_tokens), (2, 2))

    def test_blocks_end_with_zeros(self):
        builder = make(num_speculative_tokens=2)
        batch = builder.batch()
        for blocks in ([[1, 2, 3], [4, 5, 6]], [[7], [8]]):
            batch.set(query_len=1, seq_len=[9, 9], blocks=blocks)
            builder.set_blocks(0, [2, 1], blocks)
        self.assertEqual(batch.rows.blocks[0, :2].tolist(), [[7, 0, 0], [8, 0, 0]])
        self.assertEqual(builder.table(0)[1:3].tolist(), [[8, 0, 0], [7, 0, 0]])
        builder.set_blocks(0, 1, [6, 5])
        self.assertEqual(builder.table(0)[1].tolist(), [6, 5, 0])

    def test_raw_tables_may_have_rows_apart(self):
        wide = np.arange(40, dtype=np.int32).reshape(4, 10)
        given = dict(query_start_loc=[0, 1, 2], seq_lens=[9, 9])
        one, two = make(rules="vllm-2026-08"), make(rules="vllm-2026-08", num_groups=2)
        for table, want in ((wide[1:3, 4:7], [14, 24]), (wide[::2, :3], [0, 20]), (wide[:2, ::3], [0, 10])):
            self.assertEqual(self.slots(one.build_raw(**given, block_table=table)), want)
            for other in (wide[1:3, 1:4], wide[1::2, 1:4]):
                if other.shape == table.shape:
                    meta = two.build_raw(**given, block_table=[table, other])
                    self.assertEqual(self.slots(meta), want)
                    self.assertEqual(self.slots(meta.group(1)), other[:, 0].tolist())

    def test_rows_one_by_one(self):
        self.assertEqual(self.batch.push(1, 20, None, None, True, 2), 0)
        self.assertEqual(self.batch.add(query_len=3, seq_len=3, blocks=[33]), 1)
        meta = self.builder.build(self.batch)
        self.assertEqual((meta.num_decodes, meta.num_prefills, self.slots(meta)), (1, 1, [9, 33]))
        self.batch.clear()
        self.assertEqual(self.batch.num_rows, 0)

    def test_checkpoints(self):
        prompt = dict(query_len=[1, 200], seq_len=[20, 200], table_row=[2, 1], prompt_done=[True, False])
        with make(num_slots=100, max_num_batched_tokens=300) as builder, builder.batch() as batch:
            builder.set_blocks(0, [0, 1, 2, 3], [[7], [8], [9], [10]])
            batch.set(**prompt, checkpoint_len=[0, 128], checkpoint_slot=[0, 50])
            meta = builder.build(batch)
            self.assertEqual(meta.checkpoint_offsets.tolist(), [128])
            self.assertEqual(meta.checkpoint_state_indices.tolist(), [50])
            self.assertEqual(meta.checkpoint_chunk.tolist(), [2])
            batch.set(**prompt)
            self.assertIsNone(builder.build(batch).checkpoint_offsets)
            batch.clear()
            batch.add(query_len=100, seq_len=100, blocks=[5], checkpoint_len=64, checkpoint_slot=60)
            self.assertEqual(builder.build(batch).checkpoint_state_indices.tolist(), [60])
            for given, reason in (
                (dict(checkpoint_len=[0, 128]), TypeError),
                (dict(checkpoint_len=[0, 128], checkpoint_slot=[1]), ValueError),
            ):
                with self.assertRaises(reason):
                    batch.set(**prompt, **given)
                with self.assertRaises(reason):  # blocks as well are as they were
                    batch.set(query_len=[100], seq_len=[100], blocks=[[9]],
                              **{name: value[1:] or [1, 2] for name, value in given.items()})
                self.assertEqual(batch.rows.blocks[0, 0, 0], 5)
            with self.assertRaises(gdnmeta.Error):
                batch.set(**prompt, checkpoint_len=[0, 100], checkpoint_slot=[0, 50])
                builder.build(batch)

    def test_the_arrays_themselves(self):
        rows = self.batch.rows
        rows.query_len[:2], rows.seq_len[:2], rows.table_row[:2] = 1, [20, 30], [0, 3]
        rows.num_draft_tokens[:2], rows.num_accepted_tokens[:2], rows.read_column[:2] = (
            -1,
            1,
            gdnmeta.READ_DEFAULT,
        )
        rows.prompt_done[:2] = 1
        rows.num_rows = 2
        self.assertEqual(self.slots(self.builder.build(self.batch)), [7, 10])
        with self.assertRaises(ValueError):
            rows.num_rows = 5

    def test_padding_and_groups_and_drafts(self):
        builder = make(num_groups=2, num_speculative_tokens=2, full_cuda_graph=True, num_slots=[50, 60])
        batch = builder.batch()
        blocks = np.arange(1, 13, dtype=np.int64).reshape(2, 2, 3)
        batch.set(
            query_len=3,
            seq_len=[9, 8],
            drafts=2,
            accepted=[3, 1],
            prompt_done=np.array([True, True]),
            blocks=blocks,
        )
        batch.pad(4, 12)
        meta = builder.build(batch)
        self.assertEqual((meta.num_spec_decodes, meta.num_actual_tokens), (2, 12))
        self.assertEqual(
            meta.group(1).spec_state_indices_tensor.tolist(), [[7, 8, 9], [10, 11, 12], [0] * 3, [0] * 3]
        )
        self.assertEqual(meta.group(0).spec_read_state_indices.tolist(), [3, 4, 0, 0])
        self.assertEqual(meta.num_accepted_tokens.tolist(), [3, 1, 1, 1])
        self.assertEqual(builder.num_slots, [50, 60])

    def test_a_borrowed_table_is_read_in_place(self):
        wide = np.zeros((9, 5), np.int32)
        self.builder.borrow_table(0, wide[::2, 1:4])
        wide[2, 1], wide[4, 1] = 41, 42
        self.assertEqual(self.slots(self.step()), [42, 41])
        wide[2, 1] = 43
        self.assertEqual(self.slots(self.step()), [42, 43])
        with self.assertRaisesRegex(ValueError, "group 0 borrows its table"):
            self.builder.table(0)
        self.builder.borrow_table(0, None)
        self.assertEqual(self.slots(self.step()), [9, 8])

    def test_a_borrowed_table_is_kept_alive_and_counts_its_rows(self):
        table = np.full((2, 1), 5, np.int32)
        alive = weakref.ref(table)
        self.builder.borrow_table(0, table)
        del table
        gc.collect()
        self.assertIsNotNone(alive())
        with self.assertRaisesRegex(ValueError, r"table_row\[0\] = 2, want an integer in 0 .. 1"):
            self.step()
        self.builder.close()
        gc.collect()
        self.assertIsNone(alive())


if __name__ == "__main__":
    unittest.main()
