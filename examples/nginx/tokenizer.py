"""Text to tokens for the server example, with the tokenizer of a model's folder, over a Unix socket.
    python3 examples/nginx/tokenizer.py FOLDER SOCKET

A request is a line of JSON, and so is its answer:
  {"op": "vocabulary"}                 {"size", "ends", "lengths", "bytes"}: of the model; ids that end an answer; the
                                       bytes of each token in base64, one after the other, and how many they are
  {"op": "encode", "text"}             {"tokens"}
  {"op": "chat", "messages", "text"}   {"tokens"}: by the folder's template, or of the text where it has none
What is wrong is answered as {"error"}. A folder that cannot be used ends the process with 1."""

from __future__ import annotations

import base64
import json
import os
import re
import socketserver
import sys


class FolderError(Exception):
    """What is wrong with the folder, in a sentence."""


def read_json(folder: str, name: str, wanted: bool = True):
    path = os.path.join(folder, name)
    if not os.path.isfile(path):
        if not wanted:
            return {}
        raise FolderError(f"{folder} has no {name}, want a folder of a model")
    try:
        with open(path, encoding="utf-8") as file:
            value = json.load(file)
    except (OSError, ValueError, RecursionError) as error:
        raise FolderError(f"{path} cannot be read: {error}") from None
    if not isinstance(value, dict):
        raise FolderError(f"{path} is a {type(value).__name__}, want an object")
    return value


def byte_of_letter():
    """Letters that byte-level tokenizers write bytes as."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {chr(byte): byte for byte in plain}
    others = [byte for byte in range(256) if byte not in plain]
    letters.update({chr(256 + n): byte for n, byte in enumerate(others)})
    return letters


def bytes_of(piece: str, letters) -> bytes:
    if letters is not None:
        return bytes(letters[letter] for letter in piece) if all(c in letters for c in piece) else piece.encode()
    if re.fullmatch("<0x[0-9A-Fa-f]{2}>", piece):
        return bytes([int(piece[3:5], 16)])
    return piece.replace("\u2581", " ").encode()


class Folder:
    def __init__(self, path: str) -> None:
        if not os.path.isdir(path):
            raise FolderError(f"{path} is no folder, want a folder of a model")
        config = read_json(path, "config.json")
        for entry in os.scandir(path):  # whoever opens a FIFO waits for its writer
            if not entry.is_file() and not entry.is_dir():
                raise FolderError(f"{entry.path} is neither a file nor a folder, want a folder of a model")
        text = config.get("text_config") or config
        if not isinstance(text, dict):
            raise FolderError(f"{path}: text_config is {str(text)[:60]!r}, want an object")
        self.size = text.get("vocab_size")
        if not isinstance(self.size, int) or self.size < 1:
            raise FolderError(f"{path}: config.json has vocab_size = {str(self.size)[:60]}, want a number")
        self.tokenizer = self.open(path)
        ends = [read_json(path, "generation_config.json", False).get("eos_token_id"), text.get("eos_token_id")]
        ends.append(self.tokenizer.eos_token_id)
        flat = [end for given in ends for end in (given if isinstance(given, list) else [given])]
        self.ends = sorted({end for end in flat if isinstance(end, int)})
        if self.ends and self.ends[-1] >= self.size:
            raise FolderError(f"{path}: eos_token_id = {self.ends[-1]}, want below {self.size}, the model's vocab_size")

    def open(self, path: str):
        os.environ["HF_HUB_OFFLINE"] = "1"
        from transformers import AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
        except Exception as error:  # whatever the file makes of its readers
            raise FolderError(f"{path}: no tokenizer: {' '.join(str(error).split())[:300]}") from None
        names = sorted({name for what, name in tokenizer.vocab_files_names.items() if what != "merges_file"})
        if not any(os.path.isfile(os.path.join(path, name)) for name in names):  # then it is an empty one
            raise FolderError(f"{path}: no tokenizer: want one of {', '.join(names)}")
        highest = max(tokenizer.get_vocab().values(), default=-1)
        if not 0 <= highest < self.size:
            raise FolderError(
                f"{path}: the tokenizer's ids reach {highest}, the model has {self.size}: the vocabulary does not match"
            )
        return tokenizer

    def vocabulary(self):
        tokenizer = self.tokenizer
        backend = getattr(tokenizer, "backend_tokenizer", None)
        decoder = json.loads(backend.to_str()).get("decoder") if backend else None
        letters = byte_of_letter() if "ByteLevel" in json.dumps(decoder) else None
        pieces, added = [b""] * self.size, tokenizer.added_tokens_decoder
        for piece, number in tokenizer.get_vocab().items():
            if number not in added:
                pieces[number] = bytes_of(piece, letters)
            elif not added[number].special:
                pieces[number] = added[number].content.encode()
        whole = base64.b64encode(b"".join(pieces)).decode()
        return {"size": self.size, "ends": self.ends, "lengths": [len(p) for p in pieces], "bytes": whole}

    def chat(self, messages, text: str):
        if not self.tokenizer.chat_template:
            return self.encode(text)
        prompt = self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        return self.tokenizer.encode(prompt, add_special_tokens=False)

    def encode(self, text: str):
        return self.tokenizer.encode(text)

    def answer(self, line: bytes):
        try:
            request = json.loads(line)
            if request["op"] == "vocabulary":
                return self.vocabulary()
            if request["op"] == "encode":
                return {"tokens": self.encode(request["text"])}
            return {"tokens": self.chat(request["messages"], request["text"])}
        except Exception as error:  # a template may raise anything
            return {"error": f"{type(error).__name__}: {str(error)[:300]}"}


def main() -> int:
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    path, where = sys.argv[1:]
    try:
        folder = Folder(path)
    except FolderError as error:
        print(f"tokenizer: {error}", file=sys.stderr)
        return 1

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            for line in self.rfile:
                self.wfile.write(json.dumps(folder.answer(line)).encode() + b"\n")

    class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
        daemon_threads, request_queue_size = True, 128

    new = f"{where}.{os.getpid()}"  # nobody connects to one that does not listen yet
    with Server(new, Handler) as server:
        os.replace(new, where)
        server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
