"""Ways to spoil a model's folder, for test_bad_folders.py. Each gives a function of the folder's place."""

from __future__ import annotations

import json
import os
import struct

from safetensors.torch import load_file, save_file

from .files import INDEX, WEIGHTS


def text(name: str, content: str):
    """A file of the folder with other contents."""

    def change(place: str) -> None:
        with open(os.path.join(place, name), "w", encoding="utf-8") as file:
            file.write(content)

    return change


def config(**edits):
    def change(place: str) -> None:
        with open(os.path.join(place, "config.json"), encoding="utf-8") as file:
            known = json.load(file)
        text("config.json", json.dumps({**known, **edits}))(place)

    return change


def without(*names: str):
    def change(place: str) -> None:
        for name in names:
            os.remove(os.path.join(place, name))

    return change


def fifo(name: str):
    def change(place: str) -> None:
        os.remove(os.path.join(place, name))
        os.mkfifo(os.path.join(place, name))

    return change


def weights(edit):
    """edit: a function of the tensors by name, which gives others."""

    def change(place: str) -> None:
        path = os.path.join(place, WEIGHTS)
        save_file(edit(load_file(path)), path, metadata={"format": "pt"})

    return change


def header(edit):
    """edit: of the first tensor's entry in the header of the weights, gives another."""

    def change(place: str) -> None:
        path = os.path.join(place, WEIGHTS)
        with open(path, "rb") as file:
            data = file.read()
        end = 8 + struct.unpack("<Q", data[:8])[0]
        entries = json.loads(data[8:end])
        first = next(name for name in entries if name != "__metadata__")
        entries[first] = edit(entries[first])
        new = json.dumps(entries).encode()
        with open(path, "wb") as file:
            file.write(struct.pack("<Q", len(new)) + new + data[end:])

    return change


def cut(size: int):
    return lambda place: os.truncate(os.path.join(place, WEIGHTS), size)


def first(tensors):
    return next(name for name in tensors if "in_proj" in name)


def index(weight_map):
    return text(INDEX, json.dumps({"weight_map": weight_map}))
