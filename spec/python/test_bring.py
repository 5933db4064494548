"""bring_states and bring_windows from Python: pools of any type and layout, and what is no pool."""

import unittest

import numpy as np

import gdnmeta

SEATS, DRAFTS, CHANNELS = 6, 3, 5
SLOTS, LENGTH = 1 + SEATS * (DRAFTS + 1), 3 + DRAFTS


def make(**options):
    return gdnmeta.Builder(
        **{
            **dict(device="cpu", max_num_seqs=SEATS, max_num_batched_tokens=64, num_slots=SLOTS),
            **dict(num_speculative_tokens=DRAFTS),
            **options,
        }
    )


def step(builder, batch, random):
    """A step of decodes, speculative or not, each with some tokens of its last step accepted."""
    drafts = random.integers(-1, DRAFTS + 1, SEATS).astype(np.int32)
    accepted = random.integers(1, DRAFTS + 2, SEATS).astype(np.int32)
    blocks = 1 + np.arange(SLOTS - 1, dtype=np.int32).reshape(SEATS, -1)
    query = np.maximum(drafts, 0) + 1
    batch.set(
        query_len=query, seq_len=query + 50, drafts=drafts, accepted=accepted, prompt_done=True, blocks=blocks
    )
    builder.build(batch)
    return blocks, accepted, drafts


def moved(pool, blocks, accepted, drafts):
    """What bring_states is to make of a pool: plain rows find the state of column accepted - 1 in column
    0."""
    wanted = pool.copy()
    for row, plain in enumerate(drafts < 0):
        if plain:
            wanted[blocks[row, 0]] = pool[blocks[row, accepted[row] - 1]]
    return wanted


def shifted(pool, blocks, accepted, drafts):
    wanted = pool.copy()
    for row, plain in enumerate(drafts < 0):
        shift = accepted[row] - 1
        if plain and shift:
            wanted[blocks[row, 0], :, :-shift] = pool[blocks[row, 0], :, shift:]
    return wanted


class Bring(unittest.TestCase):
    def setUp(self):
        self.random = np.random.default_rng(3)

    def test_states_of_any_type_are_brought(self):
        for dtype in (np.int8, np.float16, np.float32, np.float64):
            with make() as builder, builder.batch() as batch:
                for _ in range(5):
                    pools = [self.random.integers(0, 99, (SLOTS, 3, 7)).astype(dtype) for _ in range(3)]
                    found = step(builder, batch, self.random)
                    wanted = [moved(pool, *found) for pool in pools]
                    builder.bring_states(pools)
                    np.testing.assert_array_equal(pools, wanted)

    def test_slots_may_have_gaps_between_them(self):
        with make() as builder, builder.batch() as batch:
            wide = self.random.random((SLOTS, 20))
            found = step(builder, batch, self.random)
            wanted = wide.copy()
            wanted[:, :12] = moved(wide[:, :12], *found)
            builder.bring_states(wide[:, :12])
            np.testing.assert_array_equal(wide, wanted)

    def test_windows_move_within_their_slots(self):
        for turned in (False, True):
            with make() as builder, builder.batch() as batch:
                for _ in range(5):
                    shape = (SLOTS, LENGTH, CHANNELS) if turned else (SLOTS, CHANNELS, LENGTH)
                    memory = self.random.random(shape).astype(np.float32)
                    pool = memory.transpose(0, 2, 1) if turned else memory
                    wanted = shifted(pool, *step(builder, batch, self.random))
                    builder.bring_windows([pool])
                    np.testing.assert_array_equal(pool, wanted)

    def test_groups_have_their_own(self):
        with make(num_groups=2) as builder, builder.batch() as batch:
            own = 1 + np.arange(SLOTS - 1, dtype=np.int32).reshape(SEATS, -1)
            blocks = np.stack([own, own[::-1]])
            batch.set(query_len=[1] * SEATS, seq_len=9, accepted=2, prompt_done=True, blocks=blocks)
            builder.build(batch)
            for group in (0, 1):
                pool = self.random.random((SLOTS, 4))
                wanted = moved(pool, blocks[group], np.full(SEATS, 2), np.full(SEATS, -1))
                builder.bring_states(pool, group=group)
                np.testing.assert_array_equal(pool, wanted)

    def refused(self, error, message, call, *arguments, **options):
        with self.assertRaises(error) as raised:
            call(*arguments, **options)
        self.assertIn(message, str(raised.exception))

    def test_what_is_no_pool_is_refused(self):
        pool = np.zeros((SLOTS, CHANNELS, LENGTH), np.float32)
        frozen = pool.copy()
        frozen.flags.writeable = False
        with make() as builder, builder.batch() as batch:
            self.refused(gdnmeta.Error, "nothing is built yet", builder.bring_states, pool)
            step(builder, batch, self.random)
            for bring in (builder.bring_states, builder.bring_windows):
                for error, message, value in (
                    (TypeError, "pools = 7, want a tensor or a list of tensors", 7),
                    (ValueError, "pools has 0 elements, want 1 .. 64", []),
                    (ValueError, f"pools has {SLOTS - 1} slots, want at least {SLOTS}", pool[:-1]),
                    (ValueError, f"pools[1] has shape [{SLOTS}, {CHANNELS}, 5]", [pool, pool[:, :, 1:]]),
                    (ValueError, "pools has shape [9], want [slots, ", np.zeros(9)),
                    (ValueError, "pools is read-only", frozen),
                    (TypeError, "pools has dtype object, want numbers", pool.astype(object)),
                    (TypeError, "pools[1] has dtype [('x', 'O')]", [pool, pool.astype([("x", object)])]),
                    (TypeError, "pools has dtype |V0, want numbers", np.zeros(pool.shape, "V0")),
                    (gdnmeta.Error, "pools[1] = ", [pool, pool]),
                ):
                    self.refused(error, message, bring, value)
                self.refused(ValueError, "group = 1, want an integer in 0 .. 0", bring, pool, group=1)
                self.refused(ValueError, 'spec_rows = "all", want "accepted"', bring, pool, spec_rows="all")
                self.refused(TypeError, 'spec_rows = 0, want "accepted"', bring, pool, spec_rows=0)
            self.refused(ValueError, "want slots without gaps", builder.bring_states, pool[:, :, 1:])
            self.refused(
                ValueError, "want [slots, channels, length]", builder.bring_windows, np.zeros((SLOTS, 4))
            )
            self.refused(
                ValueError,
                'windows_in = "last", want "first" or "every"',
                builder.bring_windows,
                pool,
                windows_in="last",
            )
        with make(rules="vllm-2026-11", num_speculative_tokens=0) as builder, builder.batch() as batch:
            batch.set(query_len=[1], seq_len=9, prompt_done=True, blocks=[[1]])
            builder.build(batch)
            self.refused(gdnmeta.Error, "strict", builder.bring_states, pool)


if __name__ == "__main__":
    unittest.main()
