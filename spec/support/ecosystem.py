# Calls a server at argv[1] with the clients of OpenAI's API as they are. Prints a JSON object a line, { name, value }.
import json
import os
import re
import sys

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # nothing is fetched
os.environ.pop("OPENAI_BASE_URL", None)
os.environ["OPENAI_API_KEY"] = "any"
os.environ["no_proxy"] = os.environ["NO_PROXY"] = "127.0.0.1"

url, what = sys.argv[1] + "/v1", sys.argv[2]
HELLO = [{"role": "user", "content": "hello"}]
MODEL = "examples.tiny_model"


def say(name, value):
    print(json.dumps({"name": name, "value": value}), flush=True)


def refusal(call):
    try:
        call()
    except Exception as problem:
        body = getattr(problem, "body", None) or {}
        return [type(problem).__name__, getattr(problem, "status_code", None), body.get("param"), body.get("code")]
    return "not refused"


def run_openai():
    import openai
    client = openai.OpenAI(base_url=url, max_retries=0, timeout=30)
    completions, chat = client.completions, client.chat.completions

    answer = completions.create(model=MODEL, prompt="hello", max_tokens=12)
    say("completion", [answer.choices[0].text, answer.choices[0].finish_reason, answer.usage.total_tokens])
    answer = completions.create(model=MODEL, prompt=["hello"], n=1, best_of=1, echo=False, logprobs=None, stop=None,
                                suffix=None, top_p=1, presence_penalty=0, frequency_penalty=0, logit_bias={}, user="ada")
    say("neutral completion", answer.choices[0].text)
    chunks = list(completions.create(model=MODEL, prompt="hello", max_tokens=12, stream=True,
                                     stream_options={"include_usage": True}))
    say("completion stream", ["".join(c.choices[0].text for c in chunks if c.choices), chunks[-1].usage.completion_tokens])

    answer = chat.create(model=MODEL, messages=HELLO, max_tokens=12)
    say("chat", [answer.choices[0].message.content, answer.choices[0].message.role, answer.choices[0].finish_reason,
                 answer.object, answer.model])
    answer = chat.create(model=MODEL, messages=HELLO, max_completion_tokens=12, n=1, temperature=0, top_p=1, seed=1,
                         stop=None, logprobs=False, tools=[], response_format={"type": "text"}, user="ada", store=False,
                         metadata={"a": "b"}, service_tier="auto", parallel_tool_calls=True, tool_choice="none")
    say("neutral chat", answer.choices[0].message.content)
    chunks = list(chat.create(model=MODEL, messages=HELLO, max_tokens=12, stream=True,
                              stream_options={"include_usage": True}))
    say("chat stream", ["".join(c.choices[0].delta.content or "" for c in chunks if c.choices),
                        chunks[-1].usage.completion_tokens])
    stop = answer.choices[0].message.content[8:10]
    with chat.stream(model=MODEL, messages=HELLO, stop=stop) as stream:
        texts = [event.delta for event in stream if event.type == "content.delta"]
        final = stream.get_final_completion().choices[0]
    say("stream helper", ["".join(texts), final.message.content, final.finish_reason])
    again = chat.create(model=MODEL, max_tokens=5, messages=HELLO + [answer.choices[0].message, *HELLO])
    say("answer sent back", again.usage.completion_tokens)
    parts = [{"role": "developer", "content": "Be brief."},
             {"role": "user", "content": [{"type": "text", "text": "hel"}, {"type": "text", "text": "lo"}]}]
    say("parts", chat.create(model=MODEL, max_tokens=5, messages=parts).choices[0].message.content)

    def sampled(seed):
        return chat.create(model=MODEL, messages=HELLO, max_tokens=12, temperature=1, seed=seed).choices[0].message.content
    say("sampled", [sampled(1), sampled(1), sampled(2)])
    text = completions.create(model=MODEL, prompt="hello", max_tokens=40).choices[0].text
    cut = completions.create(model=MODEL, prompt="hello", max_tokens=40, stop=[text[20:23], "\u00e9"])
    say("stop", [text, text[20:23], cut.choices[0].text, cut.choices[0].finish_reason])
    say("models", [[m.id for m in client.models.list()], client.models.retrieve(MODEL).id])
    say("refusals", {
        "n": refusal(lambda: chat.create(model=MODEL, messages=HELLO, n=2)),
        "tools": refusal(lambda: chat.create(model=MODEL, messages=HELLO, tools=[
            {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}])),
        "logprobs": refusal(lambda: completions.create(model=MODEL, prompt="a", logprobs=1)),
        "unknown": refusal(lambda: completions.create(model=MODEL, prompt="a", extra_body={"mirostat": 1})),
        "long": refusal(lambda: completions.create(model=MODEL, prompt="a" * 9000)),
        "model": refusal(lambda: client.models.retrieve("none")),
    })


def run_waiting():
    import threading
    import openai
    completions = openai.OpenAI(base_url=url, max_retries=0, timeout=30).completions
    first = completions.create(model=MODEL, prompt="long", max_tokens=90000, stream=True)
    next(iter(first))
    threading.Timer(1.5, first.close).start()  # until then the second hears comments alone
    second = completions.create(model=MODEL, prompt="hello", max_tokens=12, stream=True)
    say("text", "".join(chunk.choices[0].text for chunk in second))


def run_langchain():
    from langchain_openai import ChatOpenAI, OpenAI
    chat, llm = ChatOpenAI(base_url=url, model=MODEL, max_retries=0), OpenAI(base_url=url, model=MODEL, max_retries=0)
    say("chat", len(chat.invoke("hello").content))
    say("chat stream", len("".join(chunk.content for chunk in chat.stream("hello"))))
    say("llm", len(llm.invoke("hello")))
    say("llm stream", len("".join(llm.stream("hello"))))
    greedy = ChatOpenAI(base_url=url, model=MODEL, max_retries=0, temperature=0, max_tokens=12)
    say("greedy", greedy.invoke([("user", "hello")]).content)


def run_litellm():
    import litellm
    litellm.telemetry = False
    options = {"api_base": url, "max_retries": 0}
    answer = litellm.completion(model="openai/" + MODEL, messages=HELLO, max_tokens=12, **options)
    say("chat", answer.choices[0].message.content)
    chunks = litellm.completion(model="openai/" + MODEL, messages=HELLO, max_tokens=12, stream=True, **options)
    say("chat stream", "".join(chunk.choices[0].delta.content or "" for chunk in chunks))
    answer = litellm.text_completion(model="text-completion-openai/" + MODEL, prompt="hello", max_tokens=12, **options)
    say("completion", answer.choices[0].text)
    say("plain", litellm.completion(model="openai/" + MODEL, messages=HELLO, **options).usage.completion_tokens)


def run_model():
    """A model with a tokenizer: what it says is told as it is."""
    import threading
    import openai
    client = openai.OpenAI(base_url=url, max_retries=0, timeout=120)
    completions, chat = client.completions, client.chat.completions
    name = client.models.list().data[0].id
    say("name", name)

    def streamed(prompt, tokens, **options):
        chunks = list(completions.create(model=name, prompt=prompt, max_tokens=tokens, stream=True,
                                         stream_options={"include_usage": True}, **options))
        return ["".join(c.choices[0].text for c in chunks if c.choices), chunks[-1].usage.completion_tokens]

    whole = completions.create(model=name, prompt="Once upon a time", max_tokens=24)
    say("completion", [whole.choices[0].text, whole.usage.completion_tokens, whole.usage.prompt_tokens])
    say("stream", streamed("Once upon a time", 24))
    say("sampled", [streamed("Once", 16, temperature=1, seed=1)[0] for _ in range(2)])
    cut = re.findall("[!-~]{2}", whole.choices[0].text)[-1]  # what is no UTF-8 comes as another character
    say("stop", [cut, completions.create(model=name, prompt="Once upon a time", max_tokens=24, stop=[cut]).choices[0].text])
    messages = [{"role": "system", "content": "Be brief, and never say more than is asked for."}, *HELLO]
    first = chat.create(model=name, messages=messages, max_tokens=8)
    messages += [first.choices[0].message, {"role": "user", "content": "and then?"}]
    second = chat.create(model=name, messages=messages, max_tokens=8)
    say("turns", [first.usage.prompt_tokens, second.usage.prompt_tokens,
                  second.usage.prompt_tokens_details.cached_tokens])
    say("refusal", refusal(lambda: completions.create(model=name, prompt=[1, 2, 999999])))

    def together():
        texts = [None] * 8

        def one(n):
            texts[n] = streamed(f"request {n} of many", 60)[0]

        threads = [threading.Thread(target=one, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return texts

    say("quiet", together())
    say("begun", True)
    say("killed", together())  # the worker is killed meanwhile


{"openai": run_openai, "model": run_model, "waiting": run_waiting, "langchain": run_langchain, "litellm": run_litellm}[what]()
