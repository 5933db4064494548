"""What callers get wrong: each is refused by argument, value and what was wanted, and nothing is written."""

import re
import unittest

import numpy as np

import gdnmeta

INT32 = "an integer in -2147483648 .. 2147483647"


def make(**options):
    return gdnmeta.Builder(**{**dict(device="cpu", max_num_seqs=4, max_num_batched_tokens=64), **options})


class Device:
    """A tensor of a device, as far as anybody looks."""

    device = "cuda:3"
    dtype = "int32"

    def __dlpack_device__(self):
        return 2, 3

    def __dlpack__(self, **_):
        raise AssertionError("nothing may ask for this memory")


ROWS = [
    (dict(seq_len=[9, 9.5]), TypeError, f"seq_len[1] = 9.5, want {INT32}"),
    (dict(seq_len=[9, "x"]), TypeError, f'seq_len[1] = "x", want {INT32}'),
    (dict(seq_len=[9, None]), TypeError, f"seq_len[1] = None, want {INT32}"),
    (dict(seq_len=[9, 2**31]), ValueError, f"seq_len[1] = 2147483648, want {INT32}"),
    (dict(seq_len=[9, 2**70]), TypeError, f"seq_len[1] = {2**70}, want {INT32}"),
    (dict(seq_len=np.array([9, -(2**40)])), ValueError, f"seq_len[1] = -1099511627776, want {INT32}"),
    (
        dict(seq_len=np.array([9, 2**64 - 1], np.uint64)),
        ValueError,
        f"seq_len[1] = 18446744073709551615, want {INT32}",
    ),
    (dict(seq_len=np.array([9.0, 9.0])), TypeError, "seq_len has dtype float64, want int32"),
    (dict(seq_len=np.array([True, False])), TypeError, "seq_len has dtype bool, want int32"),
    (dict(seq_len=np.array([[9], [9]], np.int32)), ValueError, "seq_len has shape [2, 1], want 1 dimension"),
    (dict(seq_len=[[9], [9, 8]]), TypeError, "seq_len"),
    (dict(seq_len="99"), TypeError, f'seq_len = "99", want {INT32}'),
    (dict(seq_len=Device()), TypeError, "seq_len = a Device, want an int32 array or a number"),
    (dict(drafts=Device()), ValueError, "drafts is on device cuda:3, want memory of the host"),
    (dict(query_len=[1, 1, 1]), ValueError, "query_len has 3 elements, want 2, one per row"),
    (dict(query_len=np.ones(1, np.int32)), ValueError, "query_len has 1 elements, want 2, one per row"),
    (dict(query_len=1.0), TypeError, f"query_len = 1.0, want {INT32}"),
    (dict(query_len=True), TypeError, f"query_len = True, want {INT32}"),
    (dict(query_len=None), TypeError, "query_len = None, want an int32 array or a list"),
    (dict(drafts=2**31), ValueError, f"drafts = 2147483648, want {INT32}"),
    (dict(accepted=np.float32(1)), TypeError, f"accepted = 1.0 (float32), want {INT32}"),
    (dict(prompt_done="yes"), TypeError, f'prompt_done = "yes", want {INT32}'),
    (dict(prompt_done=[True]), ValueError, "prompt_done has 1 elements, want 2, one per row"),
    (dict(read_column={}), TypeError, "read_column = a dict, want an int32 array or a list"),
    (
        dict(table_row=None),
        TypeError,
        "neither table_row nor blocks is given, want rows 0 .. 3 of the state tables",
    ),
    (dict(table_row=[0, 4]), ValueError, "table_row[1] = 4, want an integer in 0 .. 3"),
    (dict(table_row=np.array([0, -1], np.int32)), ValueError, "table_row[1] = -1, want an integer in 0 .. 3"),
    (dict(table_row=np.array([4, 0], np.int32)), ValueError, "table_row[0] = 4, want an integer in 0 .. 3"),
    (dict(table_row=-1), ValueError, "table_row = -1, want an integer in 0 .. 3"),
    (dict(blocks=[[1], [2]]), TypeError, "table_row and blocks are both given, want one of them"),
    (dict(table_row=None, blocks=[1, 2]), ValueError, "blocks has shape [2], want [2, 0 .. 1]"),
    (dict(table_row=None, blocks=[[1]]), ValueError, "blocks has shape [1, 1], want [2, 0 .. 1]"),
    (dict(table_row=None, blocks=[[1, 2], [3, 4]]), ValueError, "blocks has shape [2, 2], want [2, 0 .. 1]"),
    (dict(table_row=None, blocks=[[1], [2**31]]), ValueError, f"blocks[0][1][0] = 2147483648, want {INT32}"),
    (dict(table_row=None, blocks=[[1], [None]]), TypeError, f"blocks[1][0] = None, want {INT32}"),
    (
        dict(seq_len=9, table_row=0),
        TypeError,
        "seq_len is a number like all others, want an array of one element a row",
    ),
    (dict(seq_len=np.ones(5, np.int32), table_row=0), gdnmeta.Error, "5 rows, the batch holds 4"),
]

ARGUMENTS = [
    (dict(block_tabel=1), TypeError, "unknown input block_tabel, want one of query_start_loc, "),
    (dict(query_start_loc=None), TypeError, "query_start_loc is not given, want int32 [rows + 1]"),
    (dict(query_start_loc=[0.0, 1.0]), TypeError, f"query_start_loc[0] = 0.0, want {INT32}"),
    (dict(seq_lens=[2**31]), ValueError, f"seq_lens[0] = 2147483648, want {INT32}"),
    (dict(seq_lens=[1, 2]), gdnmeta.Error, "seq_lens"),
    (dict(seq_lens=Device()), ValueError, "seq_lens is on device cuda:3, want memory of the host"),
    (dict(prompt_done=[True, False]), ValueError, "prompt_done has 2 elements, want 1, one per row"),
    (dict(num_reqs=1.5), TypeError, f"num_reqs = 1.5, want {INT32}"),
    (dict(max_query_len=2**31), ValueError, f"max_query_len = 2147483648, want {INT32}"),
    (dict(block_table=[3]), ValueError, "block_table has shape [1], want 2 dimensions"),
    (dict(block_table=[[3], [4, 5]]), TypeError, "block_table"),
    (dict(block_table=[[[3]], [[4]]]), ValueError, "block_table has shape [2, 1, 1], want 2 dimensions"),
    (
        dict(block_table=np.zeros((2, 1, 1), np.int32)),
        ValueError,
        "block_table has 2 elements, want 1, one table per group",
    ),
    (dict(block_table=np.zeros((1, 1))), TypeError, "block_table has dtype float64, want int32"),
    (dict(stream="x"), TypeError, 'stream = "x", want None, an address or a torch.cuda.Stream'),
]


class Misuse(unittest.TestCase):
    def refused(self, kind, message, call, *arguments, **named):
        with self.assertRaises(kind) as caught:
            call(*arguments, **named)
        self.assertIs(type(caught.exception), kind, caught.exception)
        self.assertIn(message, str(caught.exception))

    def test_of_rows(self):
        builder = make(num_slots=100)
        batch = builder.batch()
        good = dict(query_len=1, seq_len=np.array([9, 8], np.int32), prompt_done=True, table_row=[0, 1])
        builder.set_blocks(0, [0, 1], [[5], [6]])
        for changes, kind, message in ROWS:
            with self.subTest(changes):
                batch.set(**good)
                self.refused(kind, message, batch.set, **{**good, **changes})
                self.assertEqual(builder.build(batch).non_spec_state_indices_tensor.tolist(), [5, 6])

    def test_of_rows_that_only_the_core_can_judge(self):
        for rules in gdnmeta.RULES:
            with make(rules=rules, num_slots=100) as builder, builder.batch() as batch:
                batch.set(query_len=[1, -2], seq_len=[9, 9], prompt_done=True, blocks=[[1], [2]])
                self.refused(gdnmeta.Error, "rows[1].query_len = -2, want >= ", builder.build, batch)

    def test_of_arguments(self):
        builder = make(rules="vllm-2026-08")
        good = dict(query_start_loc=[0, 1], seq_lens=[9], block_table=[[3]])
        builder.build_raw(**good)
        for changes, kind, message in ARGUMENTS:
            for call in (builder.build_raw, builder.capture):
                with self.subTest(changes):
                    self.refused(kind, message, call, **{**good, **changes})
        self.assertEqual(builder.metadata.step, 1)
        groups = make(num_groups=2)
        self.refused(
            ValueError, "block_table has 1 elements, want 2, one table per group", groups.build_raw, **good
        )
        self.refused(
            ValueError,
            "block_table[1] is 2 x 1, want 1 x 1 like the first",
            groups.build_raw,
            **{**good, "block_table": [[[3]], [[3], [4]]]},
        )

    def test_of_single_rows(self):
        batch = make(max_rows=1, max_num_seqs=1).batch()
        table = [
            ((1, 2, None, None, 1, 0), TypeError, "prompt_done = 1, want True or False"),
            ((-1, 2, None, None, True, 0), ValueError, "query_len = -1, want an integer in 0 .. 2147483647"),
            ((1, 2.5, None, None, True, 0), TypeError, f"seq_len = 2.5, want {INT32}"),
            ((1, 2, -2, None, True, 0), ValueError, "drafts = -2, want an integer in -1 .. 2147483647"),
            ((1, 2, None, 2**31, True, 0), ValueError, f"accepted = 2147483648, want {INT32}"),
            ((1, 2, None, None, True, 1), ValueError, "table_row = 1, want an integer in 0 .. 0"),
            ((1, 2, None, None, True, -1), ValueError, "table_row = -1, want an integer in 0 .. 0"),
        ]
        for row, kind, message in table:
            with self.subTest(row):
                self.refused(kind, message, batch.push, *row)
        self.refused(ValueError, "blocks has 2 elements, want at most 1", batch.add, 1, 1, [1, 2])
        self.refused(TypeError, f"blocks[0] = 1.5, want {INT32}", batch.add, 1, 1, [1.5])
        for blocks, shown in ((3, "3"), (None, "None"), ("ab", '"ab"'), ({1}, "a set"), (np.array(3), "3 (int64)")):
            self.refused(TypeError, f"blocks = {shown}, want a list", batch.add, 1, 1, blocks)
        self.assertEqual(batch.num_rows, 0)
        batch.add(1, 1, [1])
        self.refused(gdnmeta.Error, "2 rows, the batch holds 1", batch.add, 1, 1, [1])
        self.refused(ValueError, "rows = 0, want an integer in 1 .. 2147483647", batch.pad, 0, 1)
        self.refused(gdnmeta.Error, "2 rows, the batch holds 1", batch.pad, 2, 1)
        self.refused(gdnmeta.Error, "65 tokens, the builder takes 64", batch.pad, 1, 65)
        self.refused(ValueError, "the builder's device is the CPU", batch.index, [0])
        batch.pad(1, 3)
        self.refused(ValueError, "the batch is padded", batch.add, 1, 1, [1])

    def test_of_tables_and_devices(self):
        builder = make(num_speculative_tokens=1, num_groups=2)
        calls = [
            (lambda: builder.table(2), ValueError, "group = 2, want an integer in 0 .. 1"),
            (lambda: builder.set_blocks(0, 9, [1]), ValueError, "table_row = 9, want an integer in 0 .. 7"),
            (
                lambda: builder.set_blocks(0, [0, -1], [[1], [2]]),
                ValueError,
                "table_row[1] = -1, want an integer in 0 .. 7",
            ),
            (
                lambda: builder.set_blocks(0, 0, [1, 2, 3]),
                ValueError,
                "blocks has 3 elements, want at most 2",
            ),
            (
                lambda: builder.set_blocks(0, [0, 1], [[1]]),
                ValueError,
                "blocks has 1 rows, want 2, one for each table_row",
            ),
            (
                lambda: builder.borrow_table(0, [[1, 2]]),
                TypeError,
                "cells has dtype list, want int32, to be read in place",
            ),
            (
                lambda: builder.borrow_table(0, np.zeros((2, 2), np.int64)),
                TypeError,
                "cells has dtype int64, want int32",
            ),
            (
                lambda: builder.borrow_table(0, np.zeros((2, 1), np.int32)),
                ValueError,
                "cells is 2 x 1, want at least 1 x 2",
            ),
            (
                lambda: builder.borrow_table(0, np.zeros((2, 4), np.int32)[:, ::2]),
                ValueError,
                "cells has strides [16, 8]",
            ),
            (
                lambda: builder.borrow_table(0, np.zeros((2, 2), np.int32)[::-1]),
                ValueError,
                "cells has strides [-8, 4]",
            ),
            (lambda: builder.borrow_device_seq_lens(5, 1), ValueError, "the builder's device is the CPU"),
            (lambda: builder.metadata.group(2), ValueError, "group = 2, want an integer in 0 .. 1"),
            (lambda: builder.metadata.num_decode, AttributeError, "gdnmeta.Metadata: no field num_decode"),
            (
                lambda: setattr(builder.metadata, "num_decodes", 3),
                AttributeError,
                "read-only, cannot set num_decodes",
            ),
            (lambda: builder.check(), gdnmeta.Error, "check"),
            (lambda: builder.build(None), TypeError, "batch = None, want a batch of this builder"),
            (lambda: builder.build(make().batch()), ValueError, "the batch belongs to another builder"),
            (
                lambda: gdnmeta.reorder(
                    decode_threshold=1, num_scheduled=[1], num_computed=[1, 2], num_prompt=[1]
                ),
                ValueError,
                "num_computed has 2 elements, want 1",
            ),
        ]
        for call, kind, message in calls:
            self.refused(kind, message, call)

    def test_of_what_is_closed(self):
        builder = make(check=True)
        batch = builder.batch()
        batch.add(9, 9, [1])
        meta = builder.build(batch)
        tensor = meta.chunk_offsets
        other = builder.batch()
        other.close()
        other.close()
        for call in (
            lambda: other.num_rows,
            lambda: other.rows,
            other.clear,
            lambda: builder.build(other),
            lambda: other.set(query_len=1, seq_len=[1], blocks=[[1]]),
            lambda: other.add(1, 1, [1]),
            lambda: other.pad(0, 0),
        ):
            self.refused(gdnmeta.ClosedError, "gdnmeta.Batch: closed", call)
        builder.close()
        builder.close()
        for call in (
            builder.batch,
            lambda: builder.build(batch),
            lambda: builder.build_raw(query_start_loc=[0]),
            lambda: builder.table(0),
            lambda: builder.set_blocks(0, 0, [1]),
            builder.counters,
            builder.poison,
            builder.check,
            builder.check_result,
            builder.device_error,
            lambda: builder.borrow_table(0, None),
            lambda: builder.borrow_device_seq_lens(None),
        ):
            self.refused(gdnmeta.ClosedError, "gdnmeta.Builder: closed", call)
        for call in (
            lambda: meta.num_decodes,
            lambda: meta.group(0),
            lambda: meta.nums_dict,
            tensor.numpy,
            lambda: tensor.data,
        ):
            self.refused(gdnmeta.ClosedError, "builder closed", call)
        self.assertTrue(all(re.search("(?i)closed", repr(thing)) for thing in (builder, other, meta, tensor)))
        batch.clear()  # it outlives its builder


if __name__ == "__main__":
    unittest.main()
