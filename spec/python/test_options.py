"""Options of a builder from Python: by their names, and refused by them."""

import unittest

import numpy as np

import gdnmeta

INT32 = "an integer in -2147483648 .. 2147483647"
DEFAULTS = dict(device="cpu", max_num_seqs=4, max_num_batched_tokens=64)


def make(**options):
    return gdnmeta.Builder(**{**DEFAULTS, **options})


OPTIONS = [
    (dict(max_num_seq=3), TypeError, "unknown option max_num_seq, want one of rules, num_slots, device, "),
    (dict(size=4), TypeError, "unknown option size, want one of rules, "),
    (dict(rules="vllm"), ValueError, 'rules = "vllm", want "strict", "vllm-2026-04"'),
    (dict(rules=1), TypeError, 'rules = 1, want "strict", '),
    (dict(mamba_cache_mode="some"), ValueError, 'mamba_cache_mode = "some", want "none", "align" or "all"'),
    (
        dict(query_start_loc_dtype="int16"),
        ValueError,
        'query_start_loc_dtype = "int16", want "int32" or "int64"',
    ),
    (
        dict(query_start_loc_dtype=np.float32),
        ValueError,
        'query_start_loc_dtype = "float32", want "int32" or "int64"',
    ),
    (dict(device="tpu"), ValueError, 'device = "tpu", want "auto", "cpu", "cuda", "cuda:N" or an ordinal'),
    (dict(device=True), TypeError, "device = True, want "),
    (dict(device=-3), ValueError, "device = -3, want an integer in -2 .. 1023"),
    (dict(full_cuda_graph=1), TypeError, "full_cuda_graph = 1, want True or False"),
    (dict(check_unique="yes"), TypeError, 'check_unique = "yes", want True or False'),
    (dict(max_num_seqs=2.0), TypeError, "max_num_seqs = 2.0, want " + INT32),
    (dict(max_num_seqs=True), TypeError, "max_num_seqs = True, want " + INT32),
    (dict(max_num_seqs=2**31), ValueError, "max_num_seqs = 2147483648, want " + INT32),
    (dict(max_num_seqs=0), gdnmeta.Error, "max_num_seqs = 0, want 1 .. 65536"),
    (dict(num_groups=65), gdnmeta.Error, "num_groups = 65, want 1 .. 64"),
    (dict(num_slots=[3, 4]), ValueError, "num_slots has 2 elements, want 1, one per group"),
    (dict(num_slots=[0]), ValueError, "num_slots[0] = 0, want an integer in 1 .. 2147483647"),
    (dict(num_slots=1.5), TypeError, "num_slots = 1.5, want an int32 array or a list"),
]


class Options(unittest.TestCase):
    def test_are_the_fields_of_the_configuration(self):
        fields = {name for name, _ in gdnmeta.STRUCTS["gdn_config"]._fields_ if name != "size"}
        self.assertEqual(fields, set(gdnmeta.Options.__annotations__))
        metadata = {name for name, _ in gdnmeta.STRUCTS["gdn_metadata"]._fields_}
        self.assertEqual(metadata, set(gdnmeta.Metadata.__annotations__))

    def test_by_their_names(self):
        for rules in gdnmeta.RULES:
            with make(
                rules=rules,
                mamba_cache_mode="align",
                query_start_loc_dtype=np.int64,
                parallel_drafting=True,
                check_unique=False,
                pad_slot_id=-1,
                max_rows=None,
            ) as builder:
                self.assertEqual((builder.rules, builder.device, builder.max_rows), (rules, "cpu", 4))
                meta = builder.build_raw(query_start_loc=[0, 1], seq_lens=[5], block_table=[[3, 3]])
                self.assertEqual(str(meta.non_spec_query_start_loc.dtype), "int64")
        self.assertIn("strict", gdnmeta.RULES)
        with make(device=-1) as builder:
            self.assertEqual(builder.bytes, gdnmeta.builder_bytes(**DEFAULTS))

    def test_of_speculation_follow_each_other(self):
        with make(num_speculative_tokens=3, mamba_cache_mode="align") as builder:
            self.assertEqual((builder.num_spec, builder.max_blocks_per_row), (3, 4))

    def test_are_refused_by_name_and_value(self):
        for options, kind, message in OPTIONS:
            for call in (make, lambda **given: gdnmeta.builder_bytes(**{**DEFAULTS, **given})):
                with self.subTest(options), self.assertRaises(kind) as caught:
                    call(**options)
                self.assertIs(type(caught.exception), kind)
                self.assertIn(message, str(caught.exception))


if __name__ == "__main__":
    unittest.main()
