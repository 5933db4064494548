"""The engine's process: examples/pytorch/schedule.lua, and its steps."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import tempfile
from typing import Dict, Iterator

import numpy as np
from model.step import Step

ROOT = pathlib.Path(__file__).resolve().parents[3]
FLOATS = {"temperature": np.float32, "top_p": np.float32, "seed": np.uint64, "request": np.int64}


def _environment() -> Dict[str, str]:
    lua, library = f"{ROOT}/lua/?.lua;{ROOT}/lua/?/init.lua;{ROOT}/?.lua", f"{ROOT}/build/?.so"
    paths = {"LUA_PATH": lua, "LUA_CPATH": library}
    return {**os.environ, **{name: f"{path};{os.environ.get(name, ';;')}" for name, path in paths.items()}}


def _step(line: str, groups: int) -> Step:
    values = {}
    for part in line.split(";"):
        name, _, text = part.partition(" ")
        values[name] = np.array(text.split(), FLOATS.get(name, np.int32))
    rows = len(values["query_len"])
    padded = values.pop("padded").tolist()
    values["slots"] = values["slots"].reshape(groups, rows, -1)
    values["read_slots"] = values["read_slots"].reshape(groups, rows)
    values["table_changes"] = values["table_changes"].reshape(-1, 3)
    values["kv_copies"] = values["kv_copies"].reshape(-1, 2)
    return Step(**values, padded_rows=padded[0], padded_tokens=padded[1], graph=padded[2])


class Engine:
    """`steps` gives one after the other; each is to be answered. `hello` and `stats` are what it says of
    itself, by name."""

    def __init__(self, requests, options: Dict[str, object]) -> None:
        if not shutil.which("luajit"):
            raise RuntimeError("no luajit: the engine that makes the schedules is missing")
        self.groups, self.stats = int(options.get("groups", 1)), {}
        with tempfile.NamedTemporaryFile("w", suffix=".requests", delete=False) as file:
            file.writelines(request.line + "\n" for request in requests)
        self.file = file.name
        command = ["luajit", str(ROOT / "examples/pytorch/schedule.lua"), file.name]
        self.process = subprocess.Popen(
            command + [f"{name}={value}" for name, value in options.items()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=_environment(),
        )
        self.hello = self._facts(self._read("hello"))

    @staticmethod
    def _facts(text: str) -> Dict[str, int]:
        return {name: int(value) for name, value in (word.split("=") for word in text.split())}

    def _read(self, *wanted: str) -> str:
        line = self.process.stdout.readline().rstrip("\n")
        kind, _, rest = line.partition(" ")
        if kind not in wanted:
            self.close()
            raise RuntimeError(f"the engine said {line[:200]!r}, want {' or '.join(wanted)}")
        self.kind = kind
        return rest

    def steps(self) -> Iterator[Step]:
        while True:
            rest = self._read("step", "done")
            if self.kind == "done":
                self.stats = self._facts(rest)
                return
            yield _step(rest, self.groups)

    def texts(self):
        """Of the requests that a worker has served, once they are all done: number and tokens."""
        while True:
            rest = self._read("text", "done")
            if self.kind == "done":
                self.stats = self._facts(rest)
                return
            number, *tokens = map(int, rest.split())
            yield number, tokens

    def answer(self, counts, tokens) -> None:
        self.process.stdin.write(f"{' '.join(map(str, counts))};{' '.join(map(str, tokens))}\n")
        self.process.stdin.flush()

    def close(self) -> None:
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        os.unlink(self.file)
