"""A worker's side of a channel: steps come, answers go. The engine's side is gdn.worker in Lua.

    channel = Channel()                            # the descriptor that gdn.worker has left
    hello = channel.hello(timeout=10)
    builder = hello.builder("cuda:0")
    channel.ready()
    while (step := channel.receive()) is not None and not step.is_stop:
        builder.build(step.fill(builder, batch), stream)
        channel.answer(step.number, emitted, tokens)
"""
from __future__ import annotations

import ctypes
import os
from typing import Any, Optional, Union

import numpy as np

from ._abi import CONSTANTS, STRUCTS, lib, text, waiting
from ._arrays import int32s
from ._errors import ClosedError, Error, integer
from ._memory import Owner
from ._options import WHY_SIZE
from ._records import Buffer, Hello, StepRecord, refuse

ENVIRONMENT = "GDNMETA_CHANNEL"
FOREVER = 1e9  # seconds
TEXT_BYTES = 4095
INT32_MAX = 2**31 - 1


class Channel:
    """Over the memory at a descriptor or a path such as /proc/1234/fd/5 (a text of digits is a descriptor); default:
    $GDNMETA_CHANNEL, which gdn.worker sets. One worker may open it."""

    def __init__(self, where: Union[None, int, str, "os.PathLike[str]"] = None) -> None:
        if where is None:
            where = os.environ.get(ENVIRONMENT)
            if not where:
                raise ValueError(f"no channel: ${ENVIRONMENT} is not set, and none is given")
        is_number = not isinstance(where, (str, os.PathLike)) or str(where).isdigit()
        place: Any = int(where) if isinstance(where, str) and is_number else where
        opened = integer("channel", place, 0, INT32_MAX) if is_number else os.open(place, os.O_RDWR | os.O_CLOEXEC)
        out, why = ctypes.c_void_p(), ctypes.create_string_buffer(WHY_SIZE)
        status: int = lib.gdn_channel_open(opened, ctypes.byref(out), why, WHY_SIZE)
        if not is_number:
            os.close(opened)
            why.value = f"{os.fspath(place)!r}: ".encode()[:WHY_SIZE // 2] + why.value[:WHY_SIZE // 2 - 1]
        refuse(status, why)
        assert out.value
        self._owner: Optional[Owner] = Owner(out.value, lib.gdn_channel_free)
        self._steps: Buffer = np.empty(int(lib.gdn_channel_largest(out, 1)) // 8, np.uint64)
        self._results: Buffer = np.empty(int(lib.gdn_channel_largest(out, 0)) // 8, np.uint64)
        self._hello: Optional[Hello] = None

    def _opened(self) -> int:
        if self._owner is None:
            raise ClosedError("gdnmeta.Channel: closed")
        return self._owner.handle

    def _record(self, timeout: Optional[float]) -> Optional[Buffer]:
        seconds = FOREVER if timeout is None else float(timeout)
        buffer = self._steps
        got: int = waiting.gdn_channel_receive(self._opened(), buffer.ctypes.data, buffer.nbytes, seconds)
        if got == CONSTANTS["GDN_ECLOSED"]:
            raise ClosedError("gdnmeta.Channel: the engine has closed it")
        if got < 0:
            raise Error(f"the channel is corrupt: {text(lib.gdn_strstatus(got))}", got)
        return buffer[:got // 8].copy() if got else None

    def hello(self, timeout: Optional[float] = None) -> Hello:
        """The first record. A worker makes its builder and its model of it, and then calls ready()."""
        if self._hello is None:
            record = self._record(timeout)
            if record is None:
                raise TimeoutError(f"no hello within {timeout} s")
            self._hello = Hello(record)
        return self._hello

    def ready(self, said: str = "") -> None:
        """Steps may come from now on; `said` describes the model."""
        self.answer(0, [], [], text=said)

    def receive(self, timeout: Optional[float] = None) -> Optional[StepRecord]:
        """The next step; None: there was none within `timeout` seconds. Other threads run meanwhile. Raises
        ClosedError when the engine has gone, and Error for a record that is not what it says."""
        hello = self.hello(timeout)
        record = self._record(timeout)
        return StepRecord(record, hello) if record is not None else None

    def answer(self, number: int, emitted: Any, tokens: Any, next_drafts: Any = None, drafts: Any = None,
               text: str = "") -> None:
        """What the rows of step `number` emitted: int32 [rows] counts and the tokens in row order. next_drafts and
        drafts likewise, where the model proposes tokens for each row's next step."""
        counts, flat = int32s("emitted", emitted, contiguous=True), int32s("tokens", tokens, contiguous=True)
        more = None if next_drafts is None else int32s("next_drafts", next_drafts, contiguous=True)
        proposed = int32s("drafts", [] if drafts is None else drafts, contiguous=True)
        if more is not None and len(more) != len(counts):
            raise ValueError(f"next_drafts has {len(more)} elements, want {len(counts)}, as emitted")
        said = text.encode()[:TEXT_BYTES]
        result: Any = STRUCTS["gdn_result_record"]()
        result.number, result.num_rows, result.num_tokens = number, len(counts), len(flat)
        result.num_drafts, result.text_bytes = len(proposed), len(said)
        result.emitted, result.tokens, result.drafts = counts.ctypes.data, flat.ctypes.data, proposed.ctypes.data
        result.next_drafts = None if more is None else more.ctypes.data
        memory = ctypes.create_string_buffer(said)
        result.text = ctypes.addressof(memory)
        self._send(result)

    def fail(self, number: int, text: str) -> None:
        """The worker cannot go on with step `number` (0: with the hello), and says why."""
        said = text.encode()[:TEXT_BYTES].replace(b"\0", b" ")
        result: Any = STRUCTS["gdn_result_record"]()
        result.number, result.status, result.text_bytes = number, CONSTANTS["GDN_RESULT_FAILED"], len(said)
        memory = ctypes.create_string_buffer(said)
        result.text = ctypes.addressof(memory)
        self._send(result)

    def _send(self, result: Any) -> None:
        out, why = self._results, ctypes.create_string_buffer(WHY_SIZE)
        size: int = lib.gdn_result_pack(ctypes.byref(result), out.ctypes.data, out.nbytes, why, WHY_SIZE)
        refuse(size, why)
        status: int = lib.gdn_channel_send(self._opened(), out.ctypes.data, size)
        if status == CONSTANTS["GDN_ECLOSED"]:
            raise ClosedError("gdnmeta.Channel: the engine has closed it")
        refuse(status, why)

    def beat(self) -> None:
        """A sign of progress within a long step or while a model is loaded: the deadline starts anew."""
        lib.gdn_channel_beat(self._opened())

    def close(self) -> None:
        self._owner = None

    def __enter__(self) -> Channel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
