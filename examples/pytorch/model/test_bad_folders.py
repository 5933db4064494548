"""Folders that are no model that can be served: each is refused by name, none is opened as something else. Those with
a tokenizer at fault are refused by examples/nginx/tokenizer.py, too.
    python3 examples/pytorch/model/test_bad_folders.py [--root FOLDER]"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import sys
import tempfile

import torch

sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from model import folder, random_model  # noqa: E402
from model.damage import config, cut, fifo, first, header, index, text, weights, without  # noqa: E402
from model.errors import ModelError  # noqa: E402
from model.files import WEIGHTS  # noqa: E402

# What is changed in a good folder, and words that the refusal has.
CASES = (
    (without("config.json"), "has no config.json"),
    (text("config.json", "{"), "config.json cannot be read"),
    (config(model_type="llama"), "model_type is 'llama', want a hybrid model"),
    (config(layer_types=["full_attention"] * 4), "no layer is linear_attention"),
    (config(layer_types=7), "no layer is linear_attention"),
    (config(hidden_size="64"), "'hidden_size' expected int"),
    (config(layer_types=["linear_attention"]), "no model: "),
    (config(hidden_act="none such"), "no model: "),
    (config(quantization_config={"quant_method": "fp8"}), "the weights are quantized"),
    (config(vocab_size=400), "lm_head.weight is 320 x 64, want 400 x 64"),
    (config(num_hidden_layers=5, layer_types=None), "missing keys: model.layers.4"),
    (config(num_hidden_layers=3, layer_types=None), "the model of config.json has not: model.layers.3"),
    (config(num_hidden_layers=0, layer_types=None), "the model of config.json has not: model.layers.0"),
    (without(WEIGHTS), f"has neither {WEIGHTS}"),
    (fifo(WEIGHTS), "is neither a file nor a folder"),
    (cut(0), "has 0 bytes"),
    (cut(5), "has 5 bytes"),
    (cut(100), "has 100 bytes"),
    (cut(500000), "has 500000 bytes, its header says"),
    (text(WEIGHTS, "\x08" + "\0" * 7 + "not json"), "is corrupt"),
    (header(lambda _: 7), "want dtype, shape and data_offsets"),
    (header(lambda entry: {**entry, "data_offsets": [0]}), "want dtype, shape and data_offsets"),
    (header(lambda entry: {**entry, "data_offsets": [0, 8]}), "has 8 bytes, want 81920 by its shape"),
    (header(lambda entry: {**entry, "shape": [-320, -64]}), "want dtype, shape and data_offsets"),
    (header(lambda entry: {**entry, "dtype": "I32"}), "is I32, want one of F64, F32, F16, BF16"),
    (weights(lambda t: {**t, first(t): t[first(t)].to(torch.int8)}), "is I8, want one of"),
    (weights(lambda t: {n: v for n, v in t.items() if "conv1d" not in n}), "missing keys: model.layers.0.linear_attn"),
    (weights(lambda t: {**t, "model.layers.9.norm.weight": torch.ones(3)}), "has not: model.layers.9.norm.weight"),
    (weights(lambda t: {**t, first(t): t[first(t)][1:].clone()}), "is 7 x 64, want 8 x 64"),
    (weights(lambda t: {**t, first(t): t[first(t)] / 0}), "has numbers that are not finite"),
    (index([]), "has no weight_map"),
    (index({"a": 7}), "says a is in 7"),
    (index({"a": "../outside.safetensors"}), "want a file of the folder"),
    (index({"a": "other.safetensors"}), "other.safetensors is missing"),
)
# The same for the tokenizer, which examples/nginx/tokenizer.py opens as well.
TOKENIZERS = (
    (text("config.json", "[" * 100000), "config.json cannot be read"),
    (text("config.json", "[]"), "config.json is a list"),
    (fifo("config.json"), "config.json"),
    (fifo("tokenizer.json"), "tokenizer.json is neither a file nor a folder"),
    (config(text_config="words"), "text_config is 'words'"),
    (without("tokenizer.json", "tokenizer_config.json"), "no tokenizer: want one of tokenizer.json, vocab.json"),
    (without("tokenizer.json"), "no tokenizer: "),
    (text("tokenizer.json", "{}"), "no tokenizer: "),
    (text("tokenizer_config.json", "words"), "no tokenizer: "),
)


def open_all(place: str):
    model = folder.open_model(place, "cpu")
    folder.open_tokenizer(place, model.config.vocab_size)
    return model


def refusal(place: str) -> str:
    try:
        open_all(place)
    except ModelError as error:
        return str(error)
    return ""


def refusal_of_server(place: str) -> str:
    """What the tokenizer of examples/nginx says."""
    path = os.path.join(os.path.dirname(sys.path[0]), "nginx", "tokenizer.py")
    spec = importlib.util.spec_from_file_location("server_tokenizer", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    try:
        module.Folder(place)
    except module.FolderError as error:
        return str(error)
    return ""


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", default="build/models")
    good = random_model.folder("tiny", parser.parse_args().root)
    with tempfile.TemporaryDirectory() as into:
        assert "is no folder" in refusal(os.path.join(into, "nothing"))
        for change, words in CASES + TOKENIZERS:
            place = shutil.copytree(good, os.path.join(into, "copy"))
            change(place)
            said = [refusal(place)]
            if (change, words) in TOKENIZERS:
                said.append(refusal_of_server(place))
            print(f"  refused: {said[-1].replace(into, '')[:130]}")
            assert all(words in one and len(one) < 900 for one in said), f"{said!r} does not say {words!r}"
            shutil.rmtree(place)
        place = shutil.copytree(good, os.path.join(into, "copy"))
        text("generation_config.json", '{"eos_token_id": [1, 320]}')(place)
        assert "eos_token_id = 320, want below 320" in refusal_of_server(place)
        shutil.rmtree(place)
        place = shutil.copytree(good, os.path.join(into, "copy"))
        weights(lambda t: {**t, "mtp.norm.weight": torch.ones(3, dtype=torch.int64)})(place)
        assert open_all(place), "parts that a text model leaves out are no fault"
    print(f"bad folders: {len(CASES + TOKENIZERS) + 2} refused")
    return 0


if __name__ == "__main__":
    sys.exit(main())
