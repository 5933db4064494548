"""A tokenizer for random models: every byte is a token, and so are the printable pairs, quadruples and triples
that the vocabulary has room for. It encodes any text, and most of what a random model emits can be read."""

from __future__ import annotations

import itertools
import string

SPECIAL = ["<|pad|>", "<|end|>"]  # ids 0 and 1
LETTERS = string.ascii_lowercase


def _merges():
    """Pairs of tokens that become a token, likelier ones first. Each token comes up once."""
    printable = [chr(code) for code in range(33, 127)]
    yield from itertools.product(printable, printable)
    pairs = ["".join(pair) for pair in itertools.product(LETTERS, LETTERS)]
    yield from itertools.product(pairs, LETTERS)
    yield from itertools.product(pairs, pairs)


def save(folder: str, size: int, longest: int) -> None:
    """Write a tokenizer of `size` tokens to a folder."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    symbols = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate(SPECIAL + symbols)}
    merges = list(itertools.islice(_merges(), size - len(vocabulary)))
    for left, right in merges:
        vocabulary.setdefault(left + right, len(vocabulary))
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=SPECIAL[0],
        eos_token=SPECIAL[1],
        model_max_length=longest,
        clean_up_tokenization_spaces=False,
    ).save_pretrained(folder)
