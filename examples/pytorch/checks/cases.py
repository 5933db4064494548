"""Kinds of schedules: options of schedule.lua, and where a fault would show."""

CASES = {
    "chunks": {"S": 0, "groups": 1, "seqs": 6, "tokens": 40},
    "preempted": {"S": 0, "groups": 3, "seqs": 6, "tokens": 64, "kv_blocks": 13},
    "drafts": {"S": 3, "groups": 3, "seqs": 5, "tokens": 48},
    "cached": {"S": 2, "groups": 3, "seqs": 6, "tokens": 64, "hash": 16, "kv_blocks": 60},
    "aligned": {"S": 2, "groups": 1, "seqs": 5, "tokens": 64, "mode": "align", "hash": 16, "slots": 160},
    "graphs": {"S": 3, "groups": 3, "seqs": 6, "tokens": 64, "buckets": 2, "hash": 16, "kv_blocks": 60},
    "buckets": {"S": 2, "groups": 3, "seqs": 6, "tokens": 64, "buckets": 1, "kv_blocks": 24},
}
# The same through worker.py, which gdn.worker starts, with and without its death.
WORKERS = {
    "worker": {"S": 2, "groups": 3, "seqs": 6, "tokens": 64, "hash": 16, "kv_blocks": 60},
    "killed": {"S": 2, "groups": 1, "seqs": 5, "tokens": 64, "mode": "align", "hash": 16, "slots": 160, "kill": 12},
}


def limits_of(options, hello):
    """Limits of a worker for the engine of a case."""
    from model.limits import Limits

    drafts, groups, seqs = options["S"], options["groups"], options["seqs"]
    slots = options.get("slots") or 1 + seqs * (drafts + 3) + 12
    size = options.get("kv_block_size", 16)
    return Limits(
        max_num_seqs=seqs,
        max_num_batched_tokens=options["tokens"],
        num_speculative_tokens=drafts,
        num_groups=groups,
        num_slots=(slots,) * groups,
        max_requests=hello["rows"],
        kv_blocks=options.get("kv_blocks", 40),
        kv_block_size=size,
        max_kv_blocks=hello["columns"],
    )
