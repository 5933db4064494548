"""Inputs and outputs on a device, over the driver that GDNMETA_LIBCUDA names: the specs', or a real one."""

import ctypes
import os
import unittest

import numpy as np

import gdnmeta

cuda = ctypes.CDLL(os.environ.get("GDNMETA_LIBCUDA") or "libcuda.so.1")
STRUCTS = gdnmeta.STRUCTS


def call(name, *arguments):
    code = getattr(cuda, name)(*arguments)
    if code:
        raise RuntimeError(f"{name}: {code}")


call("cuInit", 0)
context = ctypes.c_void_p()
call("cuDevicePrimaryCtxRetain", ctypes.byref(context), 0)
call("cuCtxSetCurrent", context)


class Interface:
    """A device's array as libraries with __cuda_array_interface__ show it."""

    read_only = False

    def __init__(self, values, dtype=np.int32, strides=None):
        values = np.ascontiguousarray(values, dtype)
        self.shape, self.memory, self.dtype = values.shape, ctypes.c_uint64(), values.dtype
        call("cuMemAlloc_v2", ctypes.byref(self.memory), ctypes.c_size_t(max(values.nbytes, 1)))
        call(
            "cuMemcpyHtoDAsync_v2",
            self.memory,
            ctypes.c_void_p(values.ctypes.data),
            ctypes.c_size_t(values.nbytes),
            None,
        )
        call("cuStreamSynchronize", None)
        self.strides = strides  # elements

    @property
    def __cuda_array_interface__(self):
        strides = self.strides and tuple(int(self.dtype.itemsize * s) for s in self.strides)
        return {
            "version": 3,
            "data": (self.memory.value, self.read_only),
            "shape": self.shape,
            "typestr": self.dtype.str,
            "strides": strides,
        }


class Exporter(Interface):
    """The same by DLPack, as torch does."""

    ordinal, given = 0, ()

    def __dlpack_device__(self):
        return 2, self.ordinal

    def __dlpack__(self, *, stream):
        assert stream == -1, "the builder waits for no stream"
        out = STRUCTS["gdn_dlpack_unversioned"]()
        t, n = out.dl_tensor, len(self.shape)
        strides = self.strides or tuple(int(np.prod(self.shape[d + 1 :])) for d in range(n))
        shape, steps = (ctypes.c_int64 * n)(*self.shape), (ctypes.c_int64 * n)(*strides)
        self.given += (out, shape, steps)
        t.data, t.device_type, t.device_id, t.ndim = self.memory.value - 8, 2, self.ordinal, n
        t.code, t.bits, t.lanes, t.byte_offset = 0, 8 * self.dtype.itemsize, 1, 8
        t.shape, t.strides = ctypes.addressof(shape), ctypes.addressof(steps)
        return gdnmeta._tensor._new(ctypes.addressof(out), b"dltensor", None)


def read(array):
    values = np.empty(array.shape, array.dtype)
    at, size = ctypes.c_void_p(values.ctypes.data), ctypes.c_size_t(values.nbytes)
    call("cuMemcpyDtoHAsync_v2", at, array.memory, size, None)
    call("cuStreamSynchronize", None)
    return values


def make(**options):
    return gdnmeta.Builder(
        **{**dict(device="cuda", max_num_seqs=4, num_speculative_tokens=2, num_slots=100), **options}
    )


class Devices(unittest.TestCase):
    def setUp(self):
        self.builder = make()
        self.batch = self.builder.batch()

    def tearDown(self):
        self.batch.close()
        self.builder.close()

    def test_outputs_are_read_back(self):
        self.batch.set(
            query_len=[1, 70], seq_len=[9, 70], prompt_done=[True, False], blocks=[[5, 6, 7], [8, 9, 10]]
        )
        meta = self.builder.build(self.batch)
        tensor = meta.non_spec_state_indices_tensor
        self.assertEqual(
            (tensor.tolist(), tensor.__dlpack_device__(), self.builder.device), ([5, 8], (2, 0), "cuda:0")
        )
        self.assertEqual(meta.nums_dict[8]["nums"].tolist(), [1, 9])
        with self.assertRaises(ValueError):
            tensor.__array__(copy=False)
        counters = self.builder.counters()
        self.assertEqual(counters["launches"], 1)
        self.assertGreaterEqual(counters["reads"], 2)

    def test_tables_in_place_by_every_protocol(self):
        cells = np.arange(1, 31).reshape(6, 5)
        for kind in (Interface, Exporter):
            for strides, rows, want in ((None, [3, 0], [16, 1]), ((10, 1), [2, 0], [21, 1])):
                table = kind(cells, strides=strides)
                table.shape = (3, 3) if strides else table.shape
                self.builder.borrow_device_table(0, table)
                self.batch.set(query_len=1, seq_len=[9, 9], prompt_done=True, table_row=rows)
                self.assertEqual(self.builder.build(self.batch).non_spec_state_indices_tensor.tolist(), want)
        table = Interface(cells)
        self.builder.borrow_device_table(0, table.memory.value, row_stride=5, rows=2)
        self.batch.set(query_len=1, seq_len=[9, 9], prompt_done=True, table_row=[1, 0])
        self.assertEqual(self.builder.build(self.batch).non_spec_state_indices_tensor.tolist(), [6, 1])
        with self.assertRaisesRegex(ValueError, r"table_row\[0\] = 2, want an integer in 0 .. 1"):
            self.batch.set(query_len=1, seq_len=[9, 9], prompt_done=True, table_row=[2, 0])
        self.builder.borrow_device_table(0, None)
        self.assertIsNone(self.builder.device_error())

    def test_lengths_and_accepted_counts_by_index(self):
        self.builder.set_blocks(0, [0, 3], [[1, 2, 3], [31, 32, 33]])
        self.builder.borrow_device_accepted(Exporter([3, 1, 2, 9, 3]))
        self.builder.borrow_device_seq_lens(Interface([50, 60]).memory.value, 2)
        self.batch.set(query_len=3, seq_len=[9, 9], drafts=2, accepted=77, prompt_done=True, table_row=[0, 3])
        for index, want in (
            ((None, np.array([4, 1])), [3, 1]),
            (([1, 0], [2, -1]), [2, 1]),
            ((None, None), [3, 1]),
        ):
            self.batch.index(*index)
            self.assertEqual(self.builder.build(self.batch).num_accepted_tokens.tolist(), want)
        self.assertIsNone(self.builder.device_error())
        self.batch.index(None, [3, 1])  # 9 accepted of 3
        self.builder.build(self.batch).num_accepted_tokens.tolist()
        error = self.builder.device_error(forget=True)
        self.assertEqual((type(error), error.code), (gdnmeta.Error, gdnmeta.EINVAL))
        self.assertIsNone(self.builder.device_error())
        with self.assertRaisesRegex(ValueError, r"seq_index\[1\] = -2, want an integer in -1 .. 2147483647"):
            self.batch.index([0, -2])

    def test_streams_are_addresses_or_objects(self):
        stream = ctypes.c_void_p()
        call("cuStreamCreate", ctypes.byref(stream), 1)
        self.batch.set(query_len=1, seq_len=[9], prompt_done=True, blocks=[[5, 6, 7]])
        torch_like = type("Stream", (), {"cuda_stream": stream.value})()
        for given in (stream.value, torch_like, 0, None):
            self.assertEqual(self.builder.build(self.batch, given).num_decodes, 1)
        with self.assertRaisesRegex(TypeError, "stream = True, want None"):
            self.builder.build(self.batch, True)
        call("cuStreamDestroy_v2", stream)

    def test_wrong_memory_is_refused_by_name(self):
        host = np.zeros(4, np.int32)
        elsewhere = Exporter([1, 2])
        elsewhere.ordinal = 1
        table = np.zeros((4, 3))
        borrow, vector = self.builder.borrow_device_table, self.builder.borrow_device_seq_lens
        refusals = [
            (lambda: vector(host), ValueError, r"memory is on device .+, want cuda:0"),
            (lambda: vector(host.ctypes.data, 4), gdnmeta.Error, "memory"),
            (lambda: vector(elsewhere), ValueError, r"memory is on device \(2, 1\), want cuda:0"),
            (lambda: vector(Exporter([1], np.int64)), TypeError, "memory has dtype int64, want int32"),
            (lambda: vector(Interface([1], np.float32)), TypeError, "memory has dtype <f4, want int32"),
            (lambda: vector(Exporter([[1]])), ValueError, r"memory has shape \[1, 1\], want 1 dimension"),
            (lambda: vector(Exporter([1, 2, 3], strides=(2,))), ValueError, r"memory has strides \[2\]"),
            (lambda: vector(Exporter([1, 2]), 3), ValueError, "n = 3, want an integer in 1 .. 2"),
            (lambda: vector(Exporter([])), ValueError, "n = 0, want an integer in 1 .. 0"),
            (lambda: vector([1, 2]), TypeError, "memory = a list, want a CUDA tensor or an address"),
            (lambda: vector(0, 2), ValueError, "memory = 0, want an integer in 1 .. "),
            (lambda: vector(4096), TypeError, "n is not given"),
            (lambda: borrow(1, None), ValueError, "group = 1, want an integer in 0 .. 0"),
            (lambda: borrow(0, 4096, 3), TypeError, "row_stride and rows are not both given"),
            (lambda: borrow(0, 4096, 2, 4), ValueError, "row_stride = 2, want an integer in 3 .. 2147483647"),
            (lambda: borrow(0, Exporter(table[:, :2])), ValueError, "cells has 2 columns, want at least 3"),
            (lambda: borrow(0, Exporter(table), rows=5), ValueError, "rows = 5, want an integer in 1 .. 4"),
            (
                lambda: borrow(0, Exporter(table), row_stride=4),
                ValueError,
                "row_stride = 4, want 3, that of cells",
            ),
            (lambda: borrow(0, Exporter(table, strides=(1, 4))), ValueError, r"cells has strides \[1, 4\]"),
            (
                lambda: borrow(0, Interface(table, strides=(4.5, 1))),
                ValueError,
                r"cells has strides \[18, 4\] bytes, want whole elements",
            ),
        ]
        for refused, kind, message in refusals:
            with self.subTest(message), self.assertRaisesRegex(kind, message):
                refused()

    def test_pools_are_brought_where_they_are(self):
        values = np.arange(100 * 6, dtype=np.float32).reshape(100, 2, 3)
        brought, shifted = values.copy(), values.copy()
        brought[1] = values[3]
        shifted[1, :, :1] = values[1, :, 2:]
        with make(full_cuda_graph="mixed", max_rows=6) as builder, builder.batch() as batch:
            address = builder.capture(rows=6, tokens=16).decode_state_indices.data
            columns = dict(drafts=[-1, 2], accepted=[3, 2], prompt_done=True, blocks=[[1, 2, 3], [4, 5, 6]])
            batch.set(query_len=[1, 3], seq_len=[41, 43], **columns)
            batch.pad(6, 16)
            meta = builder.build(batch)
            self.assertEqual(meta.decode_state_indices.data, address)
            self.assertEqual(meta.token_class.tolist(), [2, 1, 1, 1] + [0] * 12)
            for form in (Exporter, Interface):
                pools = [form(values, np.float32), form(values + 1, np.float32)]
                builder.bring_states(pools)
                np.testing.assert_array_equal([read(pool) for pool in pools], [brought, brought + 1])
                builder.bring_windows(pool := form(values, np.float32))
                np.testing.assert_array_equal(read(pool), shifted)
            elsewhere = Exporter(values, np.float32)
            elsewhere.ordinal = 1
            frozen = Interface(values, np.float32)
            frozen.read_only = True
            between = Interface(values, np.float32, strides=(15.5, 3, 1))
            for message, pool in (
                ("pools is on the CPU, want cuda:0", values),
                ("pools is on device .*, want cuda:0", elsewhere),
                ("pools is read-only, want memory to be written", frozen),
                (r"pools has strides \[62, 12, 4\] bytes, want whole elements", between),
                ("pools has 99 slots, want at least 100", Exporter(values[:99], np.float32)),
            ):
                with self.assertRaisesRegex(ValueError, message):
                    builder.bring_states(pool)
        with gdnmeta.Builder(device="cpu", num_slots=100) as builder:
            for pool in (Interface(values, np.float32), Exporter(values, np.float32)):
                with self.assertRaisesRegex(ValueError, "pools is on .*, want the CPU"):
                    builder.bring_states(pool)


if __name__ == "__main__":
    unittest.main()
