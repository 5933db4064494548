"""Runners of one process or, under torchrun, of several: rank 0 plays schedules and compares, and the other ranks run
the same steps."""

from __future__ import annotations

import pickle

from model import folder
from model.graphs import GraphRunner


class Leader:
    """A runner whose steps all ranks run."""

    def __init__(self, ranks, model, limits, **options) -> None:
        self.ranks = ranks
        ranks.share(pickle.dumps((limits, options)))
        self.runner = GraphRunner(model, limits, **options)

    def step(self, step):
        self.ranks.share(pickle.dumps(step))
        return self.runner.step(step)

    def __getattr__(self, name: str):
        return getattr(self.runner, name)


def part(ranks, place: str, dtype: str):
    """This rank's part of a folder's model."""
    return ranks.shard(folder.open_model(place, "cpu", dtype)).to(ranks.device)


def maker(ranks, model, **always):
    """How runners are made of limits and options: of this process, or of all ranks."""

    def make(limits, **options):
        given = {**always, **options}
        return Leader(ranks, model, limits, **given) if ranks else GraphRunner(model, limits, **given)

    return make


def follow(ranks, model) -> int:
    """Runs the steps of rank 0, until it leaves."""
    runner = None
    while data := ranks.share():
        given = pickle.loads(data)
        if isinstance(given, tuple):
            runner = GraphRunner(model, given[0], **given[1])
        else:
            runner.step(given)
    ranks.leave()
    return 0
