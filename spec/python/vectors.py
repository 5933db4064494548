"""Runs vectors (lines of JSON as in spec/goldens) through Python: as build_raw or capture, and as row arrays.
    python3 spec/python/vectors.py FILE.jsonl...
Ends with "N passed, R of them as rows too, M failed"."""

import json
import sys

import numpy as np

import gdnmeta

WAYS = ("list", "int32", "int64", "strided")


def as_way(way, value):
    """The same numbers in another container; None stays None."""
    if value is None or way == "list":
        return value
    if way == "strided":
        array = np.asarray(value, np.int32)
        wide = np.full((2 * array.shape[0], *(2 * n for n in array.shape[1:])), -77, np.int32)
        wide[tuple(slice(0, None, 2) for _ in array.shape)] = array
        return wide[tuple(slice(0, None, 2) for _ in array.shape)]
    return np.asarray(value, way)


def filled(want):
    data = np.asarray(want["data"], want["dtype"]).ravel()
    size = int(np.prod(want["shape"]))
    if "fill" in want:
        data = np.concatenate([data, np.full(size - len(data), want["fill"], want["dtype"])])
    return data.reshape(want["shape"])


def same_tensor(name, want, got):
    if want is None or got is None:
        return None if want is got else f"{name}: want {'none' if want is None else 'one'}, got {got}"
    array = got.numpy() if isinstance(got, gdnmeta.Tensor) else got
    if str(array.dtype) != want["dtype"] or list(array.shape) != want["shape"]:
        return f"{name}: want {want['dtype']}{want['shape']}, got {array.dtype}{list(array.shape)}"
    if not np.array_equal(array, filled(want)):
        return f"{name}: want {want['data']}, got {array.tolist()}"
    return None


def same_record(want, got, meta):
    if want is None or got is None:
        return None if want is got else f"nums_dict: want {'none' if want is None else 'one'}"
    if [str(key) for key in got] != list(want):
        return f"nums_dict: keys {list(got)}"
    for key, entry in want.items():
        for name, value in entry.items():
            found = got[int(key)][name]
            if isinstance(value, str):
                reason = None if found.data == getattr(meta, name).data else f"not the memory of {name}"
            elif isinstance(value, dict):
                reason = same_tensor(name, value, found)
            else:
                reason = None if value == found else f"want {value}, got {found}"
            if reason:
                return f"nums_dict[{key}].{name}: {reason}"
    return None


def compare(expect, meta, builder):
    for name, want in expect.items():
        if name == "builder":
            reasons = [
                f"builder.{fact}: want {value}, got {getattr(builder, fact)}"
                for fact, value in want.items()
                if getattr(builder, fact) != value
            ]
            reason = reasons[0] if reasons else None
        elif name == "groups":
            pairs = [(g, field, value) for g, state in enumerate(want) for field, value in state.items()]
            reasons = [
                same_tensor(f"group {g}: {field}", value, getattr(meta.group(g), field))
                for g, field, value in pairs
            ]
            reason = next(filter(None, reasons), None)
        elif name == "nums_dict":
            reason = same_record(want, meta.nums_dict, meta)
        elif isinstance(want, dict) or want is None:
            reason = same_tensor(name, want, getattr(meta, name))
        else:
            got = getattr(meta, name)
            reason = None if want == got else f"{name}: want {want}, got {got}"
        if reason:
            return reason
    return None


def builder_for(case, width=None):
    inputs, options = case["inputs"], dict(case["config"])
    loc = inputs["query_start_loc"]
    options.update(rules=case["rules"], device="cpu")
    options["max_rows"] = options.get("max_rows") or max(len(loc) - 1, inputs["num_reqs"], 1)
    tokens = max(loc[-1] if loc else 0, inputs["num_actual_tokens"], 1)
    options["max_num_batched_tokens"] = options.get("max_num_batched_tokens") or tokens
    if width:
        options["max_blocks_per_row"] = width
    return gdnmeta.Builder(**options)


def run_raw(case, way):
    inputs = {
        name: value for name, value in case["inputs"].items() if name not in ("capture", "block_table_cols")
    }
    groups, cols = case["config"].get("num_groups") or 1, case["inputs"].get("block_table_cols")
    table = inputs.get("block_table")
    if table is not None:
        tables = table if groups > 1 else [table]
        tables = [
            (
                as_way("int32" if way == "list" and not rows else way, rows)
                if rows
                else np.zeros((0, cols or 0), np.int32)
            )
            for rows in tables
        ]
        inputs["block_table"] = tables if groups > 1 else tables[0]
    for name in (
        "query_start_loc",
        "seq_lens",
        "num_accepted_tokens",
        "num_decode_draft_tokens",
        "read_column",
    ):
        inputs[name] = as_way(way, inputs.get(name))
    with builder_for(case) as builder:
        meta = (builder.capture if case["inputs"]["capture"] else builder.build_raw)(**inputs)
        return compare(case["expect"], meta, builder)


def rows_of(case):
    """The arguments of Batch.set, or None where row arrays cannot say what the upstream builder was told."""
    inputs, config = case["inputs"], case["config"]
    loc, groups = inputs["query_start_loc"], config.get("num_groups") or 1
    n = len(loc) - 1
    query_len = np.diff(np.asarray(loc, np.int64))
    drafts, accepted = inputs.get("num_decode_draft_tokens"), inputs.get("num_accepted_tokens")
    table = inputs.get("block_table")
    if table is None or inputs["capture"] or "error" in case["expect"] or n < 1 or query_len.min() < 0:
        return None
    if inputs["num_reqs"] != n or inputs["num_actual_tokens"] < loc[-1] or len(inputs["seq_lens"]) != n:
        return None
    if inputs["max_query_len"] != query_len.max() or (drafts is None) != (accepted is None):
        return None
    tables = np.asarray(table if groups > 1 else [table], np.int32)
    if (
        tables.ndim != 3
        or tables.shape[1] != n
        or any(len(a) != n for a in (drafts, accepted) if a is not None)
    ):
        return None
    rows = {
        "query_len": query_len,
        "seq_len": np.asarray(inputs["seq_lens"], np.int32),
        "drafts": drafts,
        "accepted": accepted,
        "read_column": inputs.get("read_column"),
    }
    if inputs.get("checkpoint_len"):
        slots = np.zeros((groups, n), np.int32)
        for group, given in enumerate(inputs["checkpoint_slot"]):
            slots[group, : len(given)] = given
        rows["checkpoint_len"] = np.asarray(inputs["checkpoint_len"], np.int32)
        rows["checkpoint_slot"] = slots if groups > 1 else slots[0]
    done = inputs.get("prompt_done")
    if done is None and case["rules"] == "strict":  # it then looks at the rows
        return None
    rows["prompt_done"] = True if done is None else np.asarray(done)
    return rows, tables


def run_rows(case, rows, tables):
    """Through the state tables and through blocks of the rows' own, in one batch after the other."""
    own = tables if len(tables) > 1 else tables[0]
    with builder_for(case, tables.shape[2]) as builder, builder.batch() as batch:
        seats = builder.max_requests - 1 - np.arange(tables.shape[1], dtype=np.int32)
        for group, table in enumerate(tables):
            builder.set_blocks(group, seats, table)
        expect = {name: want for name, want in case["expect"].items() if name != "builder"}
        for where in ({"blocks": own}, {"table_row": seats}, {"blocks": own[..., ::-1][..., ::-1]}):
            batch.set(**rows, **where)
            batch.pad(len(batch), case["inputs"]["num_actual_tokens"])
            reason = compare(expect, builder.build(batch), builder)
            if reason:
                return f"as rows with {next(iter(where))}: {reason}"
    return None


def run_reorder(case, way):
    want, names = case["expect"], ("num_scheduled", "num_computed", "num_prompt")
    got = gdnmeta.reorder(
        decode_threshold=case["decode_threshold"], **{name: as_way(way, case[name]) for name in names}
    )
    found = (got.modified, got.order.tolist(), got.swaps.tolist())
    return None if found == (want["modified"], want["order"], want["swaps"]) else f"want {want}, got {found}"


def run(case, way):
    """(first difference or None, did it run as rows)"""
    if "decode_threshold" in case:
        return run_reorder(case, way), False
    refused = case["expect"].get("error")
    if case["inputs"].get("checkpoint_len"):  # raw arguments have none
        rows = rows_of(case)
        return (run_rows(case, *rows) if rows else "rows that cannot be set"), bool(rows)
    try:
        reason = run_raw(case, way)
    except (gdnmeta.Error, ValueError, TypeError) as error:
        expected = refused and not isinstance(error, TypeError)
        return (None if expected else f"{type(error).__name__}: {error}"), False
    if refused or reason:
        return reason or f"built, want it refused: {refused}", False
    rows = rows_of(case)
    return (run_rows(case, *rows) if rows else None), bool(rows)


def main(paths):
    passed = as_rows = failed = 0
    for path in paths:
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(file):
                # An empty list that Lua wrote is {}.
                case = json.loads(line, object_hook=lambda o: o or [])
                reason, did_rows = run(case, WAYS[number % len(WAYS)])
                passed, failed, as_rows = passed + (not reason), failed + bool(reason), as_rows + did_rows
                if reason:
                    print(f"{path}: {case['id']} ({WAYS[number % len(WAYS)]}): {reason[:400]}")
    print(f"{passed} passed, {as_rows} of them as rows too, {failed} failed")


main(sys.argv[1:])
