"""What lies in a checkpoint's folder, looked at without its weights being read: files that are missing, that are no
files, that are cut, or that hold something else than a model's weights."""

from __future__ import annotations

import json
import os
import struct

from .errors import ModelError

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
FLOATS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}  # bytes of an element; scales that others need lie beside them
LEFT_OUT = ("mtp.", "model.visual.")  # parts of a checkpoint that the model of its text does not have


def look(folder: str) -> None:
    """Is it a folder of files? Whoever opens a FIFO waits for its writer."""
    if not os.path.isdir(folder):
        raise ModelError(f"{folder} is no folder, want a folder of a model")
    try:
        for entry in os.scandir(folder):
            if not entry.is_file() and not entry.is_dir():
                raise ModelError(f"{entry.path} is neither a file nor a folder, want a folder of a model")
    except OSError as error:
        raise ModelError(f"{folder} cannot be read: {error}") from None


def read_json(folder: str, name: str) -> dict:
    path = os.path.join(folder, name)
    if not os.path.isfile(path):
        raise ModelError(f"{folder} has no {name}, want a folder of a model")
    try:
        with open(path, encoding="utf-8") as file:
            value = json.load(file)
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from None
    if not isinstance(value, dict):
        raise ModelError(f"{path} is a {type(value).__name__}, want an object")
    return value


def shards(folder: str):
    """Names of the files that hold the weights."""
    if os.path.isfile(os.path.join(folder, INDEX)):
        names = read_json(folder, INDEX).get("weight_map")
        if not isinstance(names, dict) or not names:
            raise ModelError(f"{folder}: {INDEX} has no weight_map, want a file's name for each tensor")
        for tensor, name in names.items():
            if not isinstance(name, str) or os.path.basename(name) != name or not name:
                raise ModelError(f"{folder}: {INDEX} says {tensor} is in {name!r}, want a file of the folder")
        return sorted(set(names.values()))
    if not os.path.isfile(os.path.join(folder, WEIGHTS)):
        raise ModelError(f"{folder} has neither {WEIGHTS} nor {INDEX}")
    return [WEIGHTS]


def _header(path: str):
    """A file's header, and its bytes before and after the header's end."""
    if not os.path.isfile(path):
        raise ModelError(f"{path} is missing")
    try:
        size = os.path.getsize(path)
        with open(path, "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8).ljust(8, b"\0"))
            header = json.loads(file.read(length)) if 0 < length <= size - 8 else None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} is corrupt: {error}") from None
    if not isinstance(header, dict):
        raise ModelError(f"{path} has {size} bytes and its header {length}, want a whole safetensors file")
    return header, 8 + length, size


def _tensor(path: str, name: str, entry) -> int:
    """The offset where a tensor ends."""
    try:
        kind, shape, (first, last) = entry["dtype"], entry["shape"], entry["data_offsets"]
        elements = 1
        for n in (first, last, *shape):
            if type(n) is not int or n < 0:
                raise ValueError
        for n in shape:
            elements *= n
    except (TypeError, KeyError, ValueError):
        raise ModelError(f"{path}: {name} is {str(entry)[:100]}, want dtype, shape and data_offsets") from None
    if name.startswith(LEFT_OUT):
        return last
    if kind not in FLOATS:
        raise ModelError(f"{path}: {name} is {str(kind)[:20]}, want one of {', '.join(FLOATS)}")
    if last - first != elements * FLOATS[kind]:
        raise ModelError(f"{path}: {name} has {last - first} bytes, want {elements * FLOATS[kind]} by its shape")
    return last


def check_shard(path: str) -> None:
    """Is a file of weights what its header says? One that is cut would be read as something else, and numbers that
    are no floats would be taken as such."""
    header, start, size = _header(path)
    ends = [_tensor(path, name, entry) for name, entry in header.items() if name != "__metadata__"]
    whole = start + max(ends, default=0)
    if size != whole:
        raise ModelError(f"{path} has {size} bytes, its header says {whole}: {'truncated' if size < whole else 'longer'}")
