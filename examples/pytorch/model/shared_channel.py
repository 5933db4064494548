"""The channel of a worker that is several ranks: rank 0 reads records and passes them on."""

from __future__ import annotations

from typing import Optional

import numpy as np
from gdnmeta import ClosedError
from gdnmeta._records import Hello, StepRecord

from .ranks import Ranks


class SharedChannel:
    """gdnmeta.Channel for all ranks: rank 0 gives the one that it opened, the others None."""

    def __init__(self, ranks: Ranks, channel=None) -> None:
        self.ranks, self.channel, self._hello = ranks, channel, None

    def _shared(self, receive):
        if self.channel is None:
            data = self.ranks.share()
            if not data:
                raise ClosedError("rank 0 has left")
            return np.frombuffer(bytearray(data), np.uint64)
        try:
            got = receive()
        except BaseException:
            self.ranks.share(b"")
            raise
        if got is None:
            return None
        return np.frombuffer(bytearray(self.ranks.share(got._record.tobytes())), np.uint64)

    def hello(self, timeout: Optional[float] = None) -> Hello:
        if self._hello is None:
            record = self._shared(lambda: self.channel.hello(timeout))
            self._hello = self.channel.hello(timeout) if self.channel else Hello(record)
        return self._hello

    def receive(self, timeout: Optional[float] = None) -> Optional[StepRecord]:
        hello = self.hello(timeout)
        record = self._shared(lambda: self.channel.receive(timeout))
        return None if record is None else StepRecord(record, hello)

    def __enter__(self) -> SharedChannel:
        return self

    def __exit__(self, *_: object) -> None:
        if self.channel is not None:
            self.channel.close()
        self.ranks.close()

    def __getattr__(self, name: str):
        """answer, fail, ready and beat: rank 0's alone."""
        return getattr(self.channel, name) if self.channel is not None else lambda *_, **__: None
