"""The worker's side of a channel: records as arrays, answers, and what is refused by name."""
import contextlib
import ctypes
import importlib.util
import io
import os
import sys
import tempfile
import unittest
import unittest.mock

import numpy as np

import gdnmeta
from gdnmeta._abi import STRUCTS, lib

I32, ROWS = np.int32, 3


class Engine:
    """The other side, by the C functions: a builder, its hello and its steps."""

    def __init__(self, **options):
        options = dict(device="cpu", max_num_seqs=4, max_num_batched_tokens=64, num_speculative_tokens=2,
                       full_cuda_graph="mixed", num_groups=2, **options)
        self.builder = gdnmeta.Builder(**options)
        self.batch = self.builder.batch()
        self.hello = STRUCTS["gdn_hello"]()
        assert lib.gdn_hello_init(self.builder._opened(), ctypes.byref(self.hello)) == 0
        self.hello.kv_blocks, self.hello.kv_block_size, self.hello.kv_columns = 32, 4, 8
        self.hello.vocab_size, self.hello.seed, self.hello.max_model_len = 1000, 77, 32
        self.out = ctypes.c_void_p()
        largest = [f(ctypes.byref(self.hello)) for f in (lib.gdn_step_bytes, lib.gdn_result_bytes)]
        assert lib.gdn_channel_new(*largest, ctypes.byref(self.out), None, 0) == 0
        self.memory = np.zeros(largest[0] // 8, np.uint64)
        self.results = np.zeros(largest[1] // 8, np.uint64)

    @property
    def descriptor(self):
        return lib.gdn_channel_descriptor(self.out)

    def send(self, size):
        assert size > 0, size
        assert lib.gdn_channel_send(self.out, self.memory.ctypes.data, size) == 0

    def greet(self):
        self.send(lib.gdn_hello_pack(ctypes.byref(self.hello), self.memory.ctypes.data, self.memory.nbytes, None, 0))

    def step(self, number=1, kind=1, rows=ROWS):
        """A decode with two drafts, a plain decode, the first chunk of a prompt."""
        query, seq = np.array([3, 1, 6], I32), np.array([13, 9, 6], I32)
        arrays = {"request": np.array([11, 12, 13], np.int64), "seed": np.array([2**63 + 1, 5, 6], np.uint64),
                  "temperature": np.array([0, 0.5, 1], np.float32), "top_p": np.array([1, 0.5, 0.25], np.float32),
                  "samples": np.array([1, 1, 0], I32), "tokens": np.arange(10, 20, dtype=I32),
                  "table_changes": np.array([[0, 2, 9], [1, 1, 3]], I32), "kv_copies": np.array([[4, 5]], I32)}
        for group in range(2):
            for row in range(ROWS):
                table = self.builder.table(group)
                table[row, :] = np.arange(3) + 1 + 3 * row
        self.batch.set(query_len=query[:rows], seq_len=seq[:rows], drafts=np.array([2, -1, -1], I32)[:rows],
                       accepted=np.array([2, 1, 1], I32)[:rows], prompt_done=np.array([1, 1, 0], I32)[:rows],
                       read_column=np.array([1, 0, -1], I32)[:rows], table_row=np.arange(3, dtype=I32)[:rows])
        self.batch.pad(4, 16)
        rest = STRUCTS["gdn_step_record"]()
        for name, array in arrays.items():
            setattr(rest, name, array.ctypes.data)
        rest.number, rest.kind, rest.num_tokens = number, kind, int(query[:rows].sum())
        rest.graph, rest.branches = 2, 7
        if rows:
            rest.num_table_changes, rest.num_kv_copies = 2, 1
        why = ctypes.create_string_buffer(300)
        size = lib.gdn_step_pack_batch(self.builder._opened(), self.batch._handle, ctypes.byref(rest),
                                       ctypes.byref(self.hello), self.memory.ctypes.data, self.memory.nbytes, why, 300)
        assert size > 0, why.value
        self.send(size)
        return arrays

    def result(self):
        size = lib.gdn_channel_receive(self.out, self.results.ctypes.data, self.results.nbytes, 0.0)
        record = STRUCTS["gdn_result_record"]()
        assert lib.gdn_result_unpack(self.results.ctypes.data, size, ctypes.byref(record), None, 0) == 0
        return record

    def close(self):
        lib.gdn_channel_close(self.out)


def ints(address, n):
    return list((ctypes.c_int32 * n).from_address(address))


class WorkerTest(unittest.TestCase):
    def setUp(self):
        self.engine = Engine()
        self.channel = gdnmeta.Channel(self.engine.descriptor)

    def test_a_hello_makes_the_engines_builder(self):
        self.engine.greet()
        hello = self.channel.hello(timeout=1)
        self.assertEqual((hello.seed, hello.vocab_size, hello.kv_blocks, hello.kv_columns), (77, 1000, 32, 8))
        self.assertFalse(hello.asynchronous)
        ours, theirs = hello.builder("cpu"), self.engine.builder
        for name in ("max_rows", "max_requests", "num_spec", "num_slots", "num_groups", "max_num_batched_tokens"):
            self.assertEqual(getattr(ours, name), getattr(theirs, name), name)
        self.channel.ready("a model")
        result = self.engine.result()
        self.assertEqual((result.number, result.status), (0, 0))
        self.assertEqual(ctypes.string_at(result.text), b"a model")

    def test_a_step_is_arrays_and_builds_what_the_engine_built(self):
        self.engine.greet()
        hello = self.channel.hello(1)
        sent = self.engine.step(number=5)
        step = self.channel.receive(timeout=1)
        self.assertEqual((step.number, step.num_rows, step.num_tokens, step.graph, step.branches), (5, 3, 10, 2, 7))
        for name, array in sent.items():
            np.testing.assert_array_equal(getattr(step, name), array, name)
            self.assertEqual(getattr(step, name).dtype, array.dtype)
            self.assertFalse(getattr(step, name).flags.writeable)
        self.assertEqual(step.slots.shape, (2, 3, 3))
        np.testing.assert_array_equal(step.slots[1, 2], [7, 8, 9])
        np.testing.assert_array_equal(step.read_slots, [[2, 4, 0], [2, 4, 0]])
        np.testing.assert_array_equal(step.drafts, [2, -1, -1])
        self.assertEqual(step.num_bring, 1)
        want, builder = self.engine.builder.build(self.engine.batch), hello.builder("cpu")
        got = builder.build(step.fill(builder, builder.batch()))
        for name in ("spec_state_indices_tensor", "non_spec_read_state_indices", "chunk_indices", "live_counts"):
            np.testing.assert_array_equal(np.asarray(getattr(got, name)), np.asarray(getattr(want, name)), name)

    def test_views_outlive_the_next_step(self):
        self.engine.greet()
        self.engine.step(number=1)
        self.engine.step(number=2)
        first = self.channel.receive(1)
        tokens = first.tokens
        second = self.channel.receive(1)
        del first
        np.testing.assert_array_equal(tokens, np.arange(10, 20))
        self.assertEqual(second.number, 2)

    def test_answers(self):
        self.engine.greet()
        self.channel.hello(1)
        self.channel.answer(5, np.array([2, 1, 0], I32), [8, 9, 7], next_drafts=[2, 0, 0], drafts=[4, 5])
        result = self.engine.result()
        self.assertEqual((result.number, result.num_rows, result.num_tokens, result.num_drafts), (5, 3, 3, 2))
        self.assertEqual(ints(result.emitted, 3), [2, 1, 0])
        self.assertEqual(ints(result.tokens, 3), [8, 9, 7])
        self.assertEqual(ints(result.next_drafts, 3), [2, 0, 0])
        self.assertEqual(ints(result.drafts, 2), [4, 5])
        self.channel.fail(6, "out of memory")
        result = self.engine.result()
        self.assertEqual((result.number, result.status, ctypes.string_at(result.text)), (6, 1, b"out of memory"))

    def test_what_is_wrong_is_named(self):
        self.engine.greet()
        self.channel.hello(1)
        for message, call in (
                ("num_tokens = 1, want 2, the sum of emitted", lambda: self.channel.answer(1, [2], [7])),
                ("emitted[0] = -1, want 0 .. 65", lambda: self.channel.answer(1, [-1], [])),
                ("tokens[0] = -4, want 0 .. 2147483647", lambda: self.channel.answer(1, [1], [-4]))):
            with self.assertRaises(gdnmeta.Error) as raised:
                call()
            self.assertEqual(str(raised.exception), message)
        with self.assertRaises(ValueError):
            self.channel.answer(1, [1], [2], next_drafts=[1, 1])
        with self.assertRaises(gdnmeta.Error) as raised:
            gdnmeta.Channel(self.engine.descriptor)
        self.assertIn("another worker has opened the channel", str(raised.exception))
        with open("/dev/null") as file, self.assertRaises(gdnmeta.Error) as raised:
            gdnmeta.Channel(file.fileno())
        self.assertIn("is no channel of gdnmeta", str(raised.exception))

    def test_a_place_without_a_channel_is_named(self):
        with tempfile.NamedTemporaryFile() as file:
            file.write(bytes(10000))
            file.flush()
            for place, kind, message in (
                    (file.name, gdnmeta.Error, f"'{file.name}': descriptor"),
                    ("/no/such", OSError, "'/no/such'"),
                    (2**32 + self.engine.descriptor, ValueError, "want an integer in 0 .. 2147483647"),
                    (str(10**20), ValueError, f"channel = {10**20}, want an integer"),
                    (-1, ValueError, "channel = -1, want an integer in 0 .. 2147483647"),
                    (1.5, TypeError, "channel = 1.5, want an integer in 0 .. 2147483647")):
                with self.assertRaises(kind) as raised:
                    gdnmeta.Channel(place)
                self.assertIn(message, str(raised.exception))
        with unittest.mock.patch.dict(os.environ, GDNMETA_CHANNEL=""), self.assertRaises(ValueError) as raised:
            gdnmeta.Channel()
        self.assertIn("$GDNMETA_CHANNEL is not set", str(raised.exception))

    def test_a_damaged_record_is_refused(self):
        self.engine.greet()
        self.channel.hello(1)
        self.engine.step()
        raw = self.engine.memory.view(np.uint8)
        raw[200] ^= 4
        self.assertEqual(self.channel.receive(1).number, 1)
        size = int(self.engine.memory.view(np.int64)[1])
        self.engine.send(size)
        with self.assertRaises(gdnmeta.Error) as raised:
            self.channel.receive(1)
        self.assertIn("the checksum does not match", str(raised.exception))

    def test_time_and_ends(self):
        with self.assertRaises(TimeoutError):
            self.channel.hello(timeout=0.01)
        self.engine.greet()
        self.channel.hello(1)
        self.assertIsNone(self.channel.receive(timeout=0.01))
        self.engine.step()
        self.engine.close()
        self.assertEqual(self.channel.receive().number, 1)  # what was sent before is read
        with self.assertRaises(gdnmeta.ClosedError):
            self.channel.receive()
        with self.assertRaises(gdnmeta.ClosedError):
            self.channel.answer(1, [0, 0, 0], [])
        self.channel.close()
        with self.assertRaises(gdnmeta.ClosedError):
            self.channel.beat()


class FaultyRunner:
    """In place of a model: fails as it is told to."""

    def __init__(self, error):
        self.error = error

    def step(self, step):
        raise self.error


class ProgramTest(unittest.TestCase):
    """examples/pytorch/worker.py tells the engine what it cannot go on with, and ends with 1."""

    def run_it(self, send, runner):
        """What the engine is told last: the number and the text."""
        engine = Engine()
        engine.greet()
        send(engine)
        spec = importlib.util.spec_from_file_location("worker_program", "examples/pytorch/worker.py")
        program = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(program)
        program.make_runner = runner
        arguments = ["worker.py", "--random", "tiny", "--channel", str(engine.descriptor)]
        with unittest.mock.patch.object(sys, "argv", arguments), contextlib.redirect_stderr(io.StringIO()) as said:
            self.assertEqual(program.main(), 1)
        results = []
        while True:
            size = lib.gdn_channel_receive(engine.out, engine.results.ctypes.data, engine.results.nbytes, 0.0)
            if size <= 0:
                break
            record = STRUCTS["gdn_result_record"]()
            assert lib.gdn_result_unpack(engine.results.ctypes.data, size, ctypes.byref(record), None, 0) == 0
            results.append((record.status, ctypes.string_at(record.text).decode()))
        self.assertEqual(results[-1][0], 1)
        self.assertIn(f"worker: {results[-1][1]}\n", said.getvalue())
        return results[-1][1]

    def test_a_step_that_lies(self):
        def send(engine):
            engine.step()
            raw, size = engine.memory.view(np.uint8), int(engine.memory.view(np.int64)[1])
            raw[200] ^= 4
            engine.send(size)

        def runner(*_):
            class Good:
                def step(self, step):
                    return unittest.mock.Mock(counts=[1, 1, 0], tokens=[2, 3])
            return Good(), "a model"

        self.assertIn("the checksum does not match", self.run_it(send, runner))

    def test_a_step_that_cannot_be_run(self):
        for error, words in ((KeyError("a"), "step 1: KeyError: 'a'"), (gdnmeta.Error("no room", -2), "step 1: no room")):
            self.assertEqual(self.run_it(lambda engine: engine.step(), lambda *_: (FaultyRunner(error), "")), words)

    def test_a_model_that_cannot_be_loaded(self):
        def runner(*_):
            raise RuntimeError("no kernels")

        self.assertEqual(self.run_it(lambda engine: None, runner), "RuntimeError: no kernels")


if __name__ == "__main__":
    unittest.main()
