"""A served model as its clients see it, over HTTP, and as its machine sees it."""

from __future__ import annotations

import asyncio
import json
import os
import time
from dataclasses import dataclass, field
from typing import List

SECONDS = 120  # that one answer may take


@dataclass
class Answer:
    status: int = 0
    body: bytes = b""
    times: List[float] = field(default_factory=list)  # of pieces of the body, without a stream's comments
    begun: float = 0.0

    def json(self):
        return json.loads(self.body)

    def events(self):
        """Of a stream: its objects, without the end."""
        lines = [line[6:] for line in self.body.split(b"\n") if line.startswith(b"data: ")]
        return [json.loads(line) for line in lines if line != b"[DONE]"]

    def text(self) -> str:
        return "".join(c.get("text") or c.get("delta", {}).get("content") or "" for e in self.events() for c in e.get("choices", ()))

    def usage(self):
        found = [event["usage"] for event in self.events() if event.get("usage")]
        return found[-1] if found else None

    def is_whole(self, tokens: int) -> bool:
        """A stream with an end, of so many tokens or to the text's own end."""
        if self.status != 200 or not self.body.rstrip().endswith(b"data: [DONE]"):
            return False
        ends = [c["finish_reason"] for e in self.events() for c in e.get("choices", ()) if c.get("finish_reason")]
        count = self.usage()["completion_tokens"]
        return ends == ["length"] and count == tokens or ends == ["stop"] and 0 < count <= tokens


class Server:
    def __init__(self, port: int, folder: str) -> None:
        self.port, self.folder, self.keys = port, folder, 0

    def key(self) -> str:
        """Another one each time: no state is shared."""
        self.keys += 1
        return f"Bearer {os.getpid()}-{self.keys}"

    async def ask(self, path: str, body=None, key=None, leave=None) -> Answer:
        """leave: after so many pieces of the body the connection is closed."""
        answer, sent = Answer(begun=time.perf_counter()), b"" if body is None else json.dumps(body).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20)
        try:
            head = [f"{'POST' if sent else 'GET'} {path} HTTP/1.1", "Host: 127.0.0.1", "Connection: close", f"Content-Length: {len(sent)}"]
            head += [f"Authorization: {key}"] if key else []
            writer.write("\r\n".join([*head, "", ""]).encode() + sent)
            answer.status = int((await reader.readline()).split()[1])
            chunked = False
            while (line := (await reader.readline()).strip()):
                chunked = chunked or line.lower() == b"transfer-encoding: chunked"
            pieces = []
            while piece := await (self.chunk(reader) if chunked else reader.read(1 << 16)):
                pieces.append(piece)
                if not piece.startswith(b":"):
                    answer.times.append(time.perf_counter())
                if leave and len(pieces) >= leave:
                    break
            answer.body = b"".join(pieces)
        finally:
            writer.close()
        return answer

    @staticmethod
    async def chunk(reader) -> bytes:
        size = int((await reader.readline()).strip() or b"0", 16)
        return (await reader.readexactly(size + 2))[:-2]

    async def complete(self, prompt, tokens: int, key=None, leave=None, **more) -> Answer:
        body = {"prompt": prompt, "max_tokens": tokens, **more}
        if more.get("stream"):
            body["stream_options"] = {"include_usage": True}
        return await asyncio.wait_for(self.ask("/v1/completions", body, key or self.key(), leave), SECONDS)

    async def stream(self, prompt, tokens: int, **more) -> Answer:
        return await self.complete(prompt, tokens, stream=True, **more)

    async def chat(self, messages, tokens: int, key: str) -> Answer:
        body = {"messages": messages, "max_tokens": tokens, "stream": True, "stream_options": {"include_usage": True}}
        return await asyncio.wait_for(self.ask("/v1/chat/completions", body, key), SECONDS)

    async def metrics(self):
        """Samples by name, without prefix and labels, summed."""
        found = {}
        for line in (await self.ask("/metrics")).body.decode().splitlines():
            if line.startswith("gdnmeta_"):
                name, value = line.split("{")[0].split(" ")[0][8:], line.rsplit(" ", 1)[1]
                found[name] = found.get(name, 0) + float(value)
        return found

    async def is_idle(self, seconds: float = 20):
        """Soon nothing runs, and no slot is lost but to states that are kept: the metrics then, or None."""
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            m = await self.metrics()
            busy = m["requests_waiting"] + m["requests_running"] + m["open_requests"] + m["slots_used"] - m.get("cache_slots", 0)
            if busy == 0:
                return m
            await asyncio.sleep(0.02)
        return None

    def processes(self):
        """Of nginx's master and what it started, by id: command lines."""
        with open(os.path.join(self.folder, "nginx.pid"), encoding="ascii") as file:
            left, found = [file.read().strip()], {}
        while left:
            pid = left.pop()
            try:
                with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
                    found[pid] = file.read().replace("\0", " ").strip()
                for thread in os.listdir(f"/proc/{pid}/task"):
                    with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as file:
                        left += file.read().split()
            except OSError:  # it has ended
                continue
        return found
