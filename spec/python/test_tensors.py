"""Metadata and tensors from Python: their steps, their memory and who keeps it, on the CPU."""

import gc
import pickle
import threading
import unittest
from unittest import mock

import numpy as np

import gdnmeta


def make(**options):
    return gdnmeta.Builder(**{**dict(device="cpu", max_num_seqs=4, max_num_batched_tokens=64), **options})


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
        others = [make(check=True) for _ in range(8)]  # take what memory is free
        for other in others:
            other.batch().set(query_len=1, seq_len=[9], blocks=[[1]])
            other.poison()
        self.assertEqual([array.tolist() for array in arrays], [[0, 1], [0, 1]])
        table[:], rows[:] = 7, 8  # still memory, though without an owner

    def test_capsules_that_nobody_takes_are_deleted(self):
        tensor, deleted = self.prefill().chunk_offsets, []
        for form, version in ((gdnmeta._tensor.VERSIONED, (1, 0)), (gdnmeta._tensor.UNVERSIONED, (0, 8))):
            delete = form.delete
            form.delete = lambda at, delete=delete: (deleted.append(at), delete(at))
            try:
                for _ in range(20):
                    capsule = tensor.__dlpack__(max_version=version)
                    del capsule
                np.from_dlpack(tensor)  # takes it, and deletes it by itself
            finally:
                form.delete = delete
        self.assertEqual(len(deleted), 40)
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

    def test_an_array_keeps_its_export_and_no_longer(self):
        array, deleted = None, []
        with mock.patch.object(gdnmeta._tensor, "delete_export", deleted.append):
            array = self.prefill().chunk_offsets.numpy()
            gc.collect()
            self.assertEqual(deleted, [])
            del array
            self.assertEqual(len(deleted), 1)
        gdnmeta._memory.delete_export(deleted[0])

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
