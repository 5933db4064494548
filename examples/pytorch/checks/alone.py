"""Every request by itself: what a schedule's answers are compared with."""

from __future__ import annotations

from statistics import median

import numpy as np
import torch
from model.limits import Limits
from model.runner import Runner
from model.step import Step


def generate(model, request) -> None:
    """By transformers' own generate: the greedy answer, and its logits."""
    ids = torch.tensor([request.prompt], device=model.device)
    with torch.inference_mode():
        found = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=request.max_tokens,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
            return_dict_in_generate=True,
            output_logits=True,
        )
    request.answer = found.sequences[0, len(request.prompt) :].tolist()
    request.alone = torch.stack(found.logits)[:, 0].float()


class Alone:
    """The model with one request at a time: its prompt in one step, then a token a step. `truth` is the same model in
    float32."""

    def __init__(self, model, longest: int, truth) -> None:
        size = 16
        blocks = -(-longest // size)
        limits = Limits(
            max_num_seqs=1,
            max_num_batched_tokens=longest,
            num_slots=(2,),
            max_requests=1,
            kv_blocks=blocks,
            kv_block_size=size,
            max_kv_blocks=blocks,
        )
        self.runner = Runner(model, limits, keep_logits=True)
        self.model, self.truth, self.results = model, truth, {}  # of what was computed before: schedules mostly come to the same answers
        self.table = np.stack([np.zeros(blocks), np.arange(blocks), np.arange(blocks)], 1).astype(np.int32)

    def _step(self, request, tokens, length: int, decode: bool):
        one = np.ones(1, np.int32)
        return Step(
            query_len=one * len(tokens),
            seq_len=one * length,
            drafts=-one,
            accepted_tokens=one,
            samples=one,
            prompt_done=one * decode,
            table_row=one * 0,
            slots=one.reshape(1, 1, 1),
            read_slots=one.reshape(1, 1) * decode,
            tokens=np.array(tokens, np.int32),
            temperature=np.array([request.temperature], np.float32),
            top_p=np.array([request.top_p], np.float32),
            seed=np.array([request.seed], np.uint64),
            request=one.astype(np.int64),
            table_changes=self.table,
        )

    def known(self, function, request, said):
        """function(request, said), computed once."""
        key = (function.__name__, request.number, *said)
        if key not in self.results:
            self.results[key] = function(request, said)
        return self.results[key]

    def forced(self, request, said):
        """Answer and logits where the request is given the tokens `said`."""
        self.run(request, forced=said)
        return request.answer, request.alone

    def _forward(self, model, request, said):
        ids = torch.tensor([request.prompt + said[:-1]], device=model.device)
        with torch.inference_mode():
            return model(ids).logits[0, len(request.prompt) - 1 :].float()

    def forward(self, request, said):
        """By transformers' own forward over prompt and answer at once: logits [answer, vocabulary]."""
        return self._forward(self.model, request, said)

    def exact(self, request, said):
        """The same in float32."""
        return self._forward(self.truth, request, said)

    def noise(self, texts) -> float:
        """How far transformers' own logits are from those in float32, as shares of their norm: the median over all
        tokens of texts [(request, said)]."""
        errors = []
        for request, said in texts:
            got, want = self.known(self.forward, request, said), self.known(self.exact, request, said)
            errors += ((got - want).norm(dim=-1) / want.norm(dim=-1)).tolist()
        return median(errors)

    def run(self, request, forced=None) -> None:
        """The answer and its logits, with `forced` in place of the tokens that are chosen."""
        text, answer, logits = list(request.prompt), [], []
        for k in range(request.max_tokens if forced is None else len(forced)):
            step = self._step(request, text if k == 0 else text[-1:], len(text), k > 0)
            said = int(self.runner.step(step).tokens[0])
            answer.append(said)
            logits.append(self.runner.logits[0])
            text.append(said if forced is None else forced[k])
        request.answer, request.alone = answer, torch.stack(logits)
