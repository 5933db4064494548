"""Batches, tables, metadata and tensors from Python, on the CPU."""

import contextlib
import gc
import pickle
import threading
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

    def test_numbers_shared_by_rows_do_not_outlast_their_step(self):
        """A number is written once while it stays; whatever else writes the rows must not be lost or kept."""
        rng, mirror = np.random.default_rng(5), self.builder.batch()
        names = [name for name, *_ in gdnmeta._batch.FIELDS] + ["table_row"]
        fields = [array for _, array, _ in gdnmeta._batch.FIELDS] + ["table_row"]
        for _ in range(400):
            n, done = int(rng.integers(1, 5)), {}
            for name in names:
                numbers = {"prompt_done": [True, False], "table_row": [0, 3]}.get(name, [1, 2])
                kind = rng.integers(3)
                one = numbers[int(rng.integers(2))]
                done[name] = one if kind else rng.choice(numbers, n)
                if kind == 2 and name in ("drafts", "accepted", "read_column", "prompt_done"):
                    del done[name]
            done["seq_len"] = rng.integers(1, 9, n).astype(np.int32)
            self.batch.set(**done)
            mirror.rows  # from here on nothing is remembered there
            mirror.set(**done)
            for field in fields:
                got = np.copy(self.builder_array(self.batch, field, n))
                self.assertEqual(got.tolist(), getattr(mirror.rows, field)[:n].tolist(), (field, done))
            event = rng.integers(6)
            if event == 0:
                self.batch.pad(4, 64)
                with contextlib.suppress(gdnmeta.Error):
                    self.builder.build(self.batch)
            elif event == 1 and n < 4:
                self.batch.push(2, 5, 0, 2, True, 1, 3)
            elif event == 2:
                self.batch.clear()

    @staticmethod
    def builder_array(batch, field, n):
        return getattr(batch._rows, field)[:n]

    def test_rows_one_by_one(self):
        self.assertEqual(self.batch.push(1, 20, None, None, True, 2), 0)
        self.assertEqual(self.batch.add(query_len=3, seq_len=3, blocks=[33]), 1)
        meta = self.builder.build(self.batch)
        self.assertEqual((meta.num_decodes, meta.num_prefills, self.slots(meta)), (1, 1, [9, 33]))
        self.batch.clear()
        self.assertEqual(self.batch.num_rows, 0)

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


class Tensors(unittest.TestCase):
    def setUp(self):
        self.builder = make(check=True)
        self.batch = self.builder.batch()

    def prefill(self, slot=3, tokens=20):
        self.batch.set(query_len=tokens, seq_len=[tokens], blocks=[[slot]])
        return self.builder.build(self.batch)

    def test_of_a_step_that_is_over_raise(self):
        meta = self.prefill()
        old, name = meta.chunk_offsets, "made at step 1, the builder is at step 2"
        self.assertEqual(old.tolist(), [0, 1])
        self.assertIs(old, meta.chunk_offsets)
        self.prefill()
        uses = (
            old.numpy,
            old.tolist,
            old.__dlpack__,
            lambda: old[0],
            lambda: list(old),
            lambda: np.asarray(old),
        )
        for use in uses:
            with self.assertRaisesRegex(gdnmeta.StaleError, name):
                use()
        self.assertEqual(meta.chunk_offsets.data, old.data)
        self.assertIn("StaleError", repr(old))

    def test_a_refused_build_leaves_the_step_as_it_was(self):
        meta = self.prefill()
        kept = meta.chunk_offsets
        self.batch.set(query_len=9, seq_len=[4], blocks=[[3]])
        with self.assertRaises(gdnmeta.Error) as caught:
            self.builder.build(self.batch)
        self.assertEqual(str(caught.exception), "rows[0].seq_len = 4, want >= query_len = 9")
        self.assertEqual((caught.exception.code, caught.exception.name), (gdnmeta.EINVAL, "GDN_EINVAL"))
        self.assertEqual(pickle.loads(pickle.dumps(caught.exception)).code, gdnmeta.EINVAL)
        self.assertEqual((kept.tolist(), meta.step), ([0, 1], 1))

    def test_of_every_dtype_by_numpy_and_by_dlpack(self):
        meta = self.prefill(tokens=40)
        for name, dtype in (
            ("has_initial_state", "bool"),
            ("chunk_indices", "int32"),
            ("chunk_offsets", "int64"),
        ):
            tensor = getattr(meta, name)
            array = tensor.numpy()
            self.assertEqual(
                (str(array.dtype), array.shape, array.flags.writeable), (dtype, tensor.shape, False)
            )
            self.assertEqual(array.ctypes.data, tensor.data)
            self.assertEqual((tensor.ndim, tensor.size, len(tensor)), (array.ndim, array.size, len(array)))
            if dtype != "bool" or np.lib.NumpyVersion(np.__version__) >= "1.25.0":
                taken = np.from_dlpack(tensor)
                self.assertEqual((taken.ctypes.data, taken.tolist()), (tensor.data, array.tolist()))
            self.assertEqual(np.asarray(tensor, dtype="float64").tolist(), array.tolist())

    def test_outlive_their_builder_as_arrays(self):
        arrays = [self.prefill().chunk_offsets.numpy(), np.from_dlpack(self.prefill().chunk_offsets)]
        table, rows = self.builder.table(0), self.batch.rows.query_len
        self.builder.close()
        self.batch.close()
        del self.builder, self.batch
        gc.collect()
        self.assertEqual([array.tolist() for array in arrays], [[0, 1], [0, 1]])
        table[:], rows[:] = 7, 8  # still memory, though nobody's

    def test_capsules_that_nobody_takes_are_deleted(self):
        tensor = self.prefill().chunk_offsets
        for version in (None, (1, 0), (0, 8)):
            for _ in range(50):
                capsule = tensor.__dlpack__(max_version=version)
                del capsule
        self.assertEqual(tensor.__dlpack_device__(), (1, 0))
        for wrong in (dict(copy=True), dict(dl_device=(2, 0))):
            with self.assertRaises(BufferError):
                tensor.__dlpack__(**wrong)

    def test_the_conv_record_is_made_once(self):
        meta = self.prefill(tokens=17)
        record = meta.nums_dict[8]
        self.assertIs(meta.nums_dict, meta.nums_dict)
        self.assertEqual(
            (record["nums"].tolist(), record["tot"], record["offsetlist"].tolist()), ([3], 3, [0, 1, 2])
        )

    def test_checks_counters_and_poison(self):
        meta = self.prefill()
        self.assertIsNone(self.builder.check_result())
        self.builder.poison()
        self.assertNotEqual(meta.chunk_offsets.tolist(), [0, 1])
        self.builder.check()
        found = self.builder.check_result()
        self.assertEqual(
            (found.step, found.group, type(found.field), found.field in found.message), (1, 0, str, True)
        )
        self.assertEqual(self.builder.check_result(forget=True), found)
        self.assertIsNone(self.builder.check_result())
        self.assertEqual(
            self.builder.counters().keys(), dict(gdnmeta.STRUCTS["gdn_counters"]._fields_).keys()
        )
        self.assertIsNone(self.builder.device_error())
        self.prefill()
        self.assertEqual(meta.chunk_offsets.tolist(), [0, 1])

    def test_from_several_threads_at_once_is_no_crash(self):
        builder = make()
        batch = builder.batch()
        batch.set(query_len=9, seq_len=[9], blocks=[[1]])
        threads = [
            threading.Thread(target=lambda: [builder.build(batch) for _ in range(300)]) for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(builder.metadata.step, 900)


if __name__ == "__main__":
    unittest.main()
