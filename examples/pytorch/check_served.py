"""Asks a served model over HTTP what its clients ask, and says how fast it answers. Needs Python's own library alone.
    MODEL=<folder> examples/nginx/serve start && python3 examples/pytorch/check_served.py [--stop QUIT] ...

  ready      until /healthz is good
  answers    a completion, whole and streamed; a chat; sampling with a seed; a prompt that is refused
  turns      a chat's second turn begins with the state of the first one, and for another key with none
  together   so many streams at once: all whole; how fast
  cancelled  streams whose clients leave: all is free again, and the next request is answered
  killed     the model's process is killed under streams: all whole, the process is another one
  --stop SIGNAL  at last nginx gets it under streams: all processes end, and with QUIT streams are whole

The same prompt for another key shares no state, so that the same steps run, and its answer must be the same.
    served: <check>: ok, <figures>
Exits with 0 when every check is good, 1 otherwise."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import statistics
import sys
import time

from checks.served import Answer, Server

CHECKS = ("ready", "answers", "turns", "together", "cancelled", "killed")
BLOCK = 16  # tokens between two states that are kept


class Failed(Exception):
    """What is wrong, in a sentence."""


def want(good: bool, otherwise) -> None:
    if not good:
        raise Failed(str(otherwise)[:400])


def prompt(n: int, words: int = 12) -> str:
    return " ".join(f"{(n + 7) * (k + 3) * 7919 % 100003:x}" for k in range(words))


async def ready(server, args) -> str:
    start, said = time.perf_counter(), []
    while time.perf_counter() < start + args.wait:
        try:
            answer = await server.ask("/healthz")
        except OSError:
            answer = Answer(body=b"no connection")
        if answer.status == 200:
            return f"{time.perf_counter() - start:.1f} s" + "".join(f"; {text}" for text in said)
        text = answer.body.decode().strip()
        said += [text] if text not in said else []
        await asyncio.sleep(0.1)
    raise Failed(f"not within {args.wait} s: {said[-3:]}")


async def answers(server, args) -> str:
    text, tokens = "Once upon a time", args.tokens
    whole = (await server.complete(text, tokens)).json()
    want("choices" in whole, whole)
    said = whole["choices"][0]["text"]
    again = (await server.complete(text, tokens)).json()["choices"][0]["text"]
    want(said == again, f"another key's answer to the same prompt: {again!r}, want {said!r}")
    streamed = await server.stream(text, tokens)
    want(streamed.is_whole(tokens), streamed.body[-200:])
    want(streamed.text() == said, f"streamed: {streamed.text()!r}, want {said!r}")
    hello = [{"role": "user", "content": "Hello"}]
    chats = [await server.chat(hello, tokens, server.key()) for _ in range(2)]
    want(all(chat.is_whole(tokens) for chat in chats), chats[0].body[-200:])
    want(chats[0].events()[0]["choices"][0]["delta"].get("role") == "assistant", chats[0].events()[0])
    want(chats[0].text() == chats[1].text(), "another key's answer to the same chat differs")
    drawn = [(await server.stream(text, tokens, temperature=1, seed=seed)).text() for seed in (1, 1, 2)]
    want(drawn[0] == drawn[1] != drawn[2], f"seeds 1, 1, 2: {drawn}")
    refused = await server.complete([1, 2, 10**8], 4)
    want(refused.status == 400 and refused.json()["error"]["param"] == "prompt", refused.body)
    return f"{whole['usage']['completion_tokens']} tokens, {len(streamed.times)} pieces"


async def turns(server, args) -> str:
    await a_chat(server, args, 1)  # captures graphs
    return await a_chat(server, args, 2)


async def a_chat(server, args, n: int) -> str:
    key, messages = server.key(), [{"role": "user", "content": prompt(n, args.words)}]
    first = await server.chat(messages, 16, key)
    want(first.is_whole(16), first.body[-200:])
    messages += [{"role": "assistant", "content": first.text()}, {"role": "user", "content": "and then?"}]
    second, other = await server.chat(messages, 16, key), await server.chat(messages, 16, server.key())
    want(second.is_whole(16) and other.is_whole(16), second.body[-200:])
    counts = [turn.usage()["prompt_tokens"] for turn in (first, second)]
    cached = [(turn.usage().get("prompt_tokens_details") or {}).get("cached_tokens", 0) for turn in (first, second, other)]
    least = (counts[0] - 1) // BLOCK * BLOCK
    want(counts[0] < counts[1] and cached[0] == cached[2] == 0 and least <= cached[1] < counts[1],
         f"prompts of {counts} tokens, {cached} cached, want 0, {least} or more, 0")
    waits = [1e3 * (turn.times[1] - turn.begun) for turn in (second, other)]
    return f"{counts[1]} tokens, {cached[1]} cached, first token after {waits[0]:.1f} ms; without {waits[1]:.1f} ms"


def rates(streams, seconds: float) -> str:
    tokens = sum(stream.usage()["completion_tokens"] for stream in streams)
    first = sorted(1e3 * (stream.times[1] - stream.begun) for stream in streams)
    gaps = sorted(1e3 * (b - a) for stream in streams for a, b in zip(stream.times[1:], stream.times[2:]))
    return (f"{tokens} tokens, {tokens / seconds:.0f} a second, first after {statistics.median(first):.1f} ms, {first[-1]:.1f} at most, "
            f"next after {statistics.median(gaps):.2f} ms, p99 {gaps[int(0.99 * len(gaps))]:.2f}")  # fmt: skip


async def together(server, args) -> str:
    said = []
    for count in map(int, args.at_once.split(",")):
        for turn in range(2):  # the first one captures graphs
            before, start = await server.metrics(), time.perf_counter()
            streams = await asyncio.gather(*(server.stream(prompt(n), args.answer) for n in range(count)))
            seconds, after = time.perf_counter() - start, await server.metrics()
            bad = [stream for stream in streams if not stream.is_whole(args.answer)]
            want(not bad, f"{len(bad)} of {count} are not whole: {[(b.status, b.body[-200:]) for b in bad[:2]]}")
            steps = after["step_seconds_count"] - before["step_seconds_count"]
            share = (after["step_seconds_sum"] - before["step_seconds_sum"]) / max(steps, 1)
            line = f"{count} at once, {'again' if turn else 'first'}: {rates(streams, seconds)}, {steps:.0f} steps of {1e3 * share:.2f} ms"
            said.append(line)
            print(f"served:   {line}", flush=True)
    want(await server.is_idle(), await server.metrics())
    return f"{len(said)} times"


async def cancelled(server, args) -> str:
    before = await server.metrics()
    await asyncio.gather(*(server.stream(prompt(n), 1500, leave=5) for n in range(args.leave)))
    start = time.perf_counter()
    after = await server.is_idle()
    seconds = time.perf_counter() - start
    want(after, await server.metrics())
    count = after["requests_cancelled_total"] - before["requests_cancelled_total"]
    want(count == args.leave, f"{count:.0f} of {args.leave} were cancelled")
    answer = await server.stream("Once", args.tokens)
    want(answer.is_whole(args.tokens), answer.body[-200:])
    return f"{args.leave} streams, all free after {seconds:.2f} s"


async def under_streams(server, args, act):
    """Calls act once every stream has begun; what became of the streams."""
    streams = [asyncio.ensure_future(server.stream(prompt(n), args.long)) for n in range(args.leave)]
    before = (await server.metrics())["emitted_tokens_total"]
    while (await server.metrics())["emitted_tokens_total"] < before + 4 * args.leave:
        await asyncio.sleep(0.01)
    act()
    return await asyncio.gather(*streams, return_exceptions=True)


async def killed(server, args) -> str:
    before = await server.metrics()
    pid = next((pid for pid, line in server.processes().items() if "worker.py" in line), None)
    want(pid, f"no worker.py among {server.processes()}")
    streams = await under_streams(server, args, lambda: os.kill(int(pid), signal.SIGKILL))
    want(all(isinstance(stream, Answer) and stream.is_whole(args.long) for stream in streams), streams[0])
    after = await server.is_idle()
    want(after and after["worker_restarts_total"] == before["worker_restarts_total"] + 1, after)
    want(pid not in server.processes(), "the process that was killed is still there")
    gap = max(b - a for stream in streams for a, b in zip(stream.times, stream.times[1:]))
    return f"{len(streams)} streams of {args.long} tokens, at most {gap:.1f} s between two tokens"


async def stopped(server, args) -> str:
    were, start = server.processes(), [0.0]
    master = next(iter(were))

    def act() -> None:
        start[0] = time.perf_counter()
        os.kill(int(master), getattr(signal, f"SIG{args.stop}"))

    streams = await under_streams(server, args, act)
    left = list(were)
    while left and time.perf_counter() < start[0] + 60:
        left = [pid for pid in left if os.path.exists(f"/proc/{pid}")]
        await asyncio.sleep(0.02)
    seconds = time.perf_counter() - start[0]
    want(not left, f"after {seconds:.0f} s there are still {[were[pid] for pid in left]}")
    whole = sum(isinstance(stream, Answer) and stream.is_whole(args.long) for stream in streams)
    want(args.stop != "QUIT" or whole == len(streams), f"{whole} of {len(streams)} streams are whole")
    return f"{len(were)} processes ended within {seconds:.2f} s, {whole} of {len(streams)} streams whole"


async def run(args) -> int:
    server, bad = Server(args.port, f"build/nginx/{args.port}"), 0
    names = [*args.only.split(","), *(["stopped"] if args.stop else [])]
    for name in names:
        start = time.perf_counter()
        try:
            said = f"ok, {await globals()[name](server, args)}"
        except (Failed, OSError, asyncio.IncompleteReadError, asyncio.TimeoutError, KeyError, ValueError) as error:
            said, bad = f"FAILED, {type(error).__name__}: {error}", bad + 1
        print(f"served: {name}: {said} ({time.perf_counter() - start:.1f} s)", flush=True)
        if name == "ready" and bad:
            break
    print(f"served: {len(names) - bad} passed, {bad} failed")
    return 1 if bad else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--only", default=",".join(CHECKS), help="checks, separated by commas")
    parser.add_argument("--wait", type=int, default=300, help="seconds until the model must be there")
    parser.add_argument("--tokens", type=int, default=24, help="of an answer")
    parser.add_argument("--at-once", default="1,32", help="streams that run together, and a list of these")
    parser.add_argument("--answer", type=int, default=128, help="tokens of each of these")
    parser.add_argument("--words", type=int, default=200, help="of a chat's first message")
    parser.add_argument("--leave", type=int, default=8, help="streams that are cancelled, or are under way in a death")
    parser.add_argument("--long", type=int, default=400, help="tokens of each of the latter")
    parser.add_argument("--stop", choices=("QUIT", "TERM"))
    return asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
