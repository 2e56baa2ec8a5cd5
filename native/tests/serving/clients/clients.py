"""OpenAI's Python client against a server: calls with their expected results.

usage: clients.py MODEL.gguf, with the program in $FOVEATE and a folder for files in $CLIENTS
"""

import base64
import json
import os
import pathlib
import struct
import subprocess
import sys
import threading
import urllib.error
import urllib.request

import openai
from openai import OpenAI
from pydantic import BaseModel
from servers import Server, with_template

FOLDER = pathlib.Path(os.environ.get("CLIENTS", "."))
FRANCE = [{"role": "user", "content": "What is the capital of France?"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"place": {"enum": ["Paris", "Rome"]}},
            "required": ["place"],
            "additionalProperties": False,
        },
    },
}
calls = 0


class Place(BaseModel):
    country: str
    large: bool


def counted(function):
    """Counts the calls of a client's function."""

    def call(*arguments, **named):
        global calls
        calls += 1
        return function(*arguments, **named)

    return call


def refused(kind, function, **named):
    try:
        function(**named)
    except kind as error:
        return error
    raise AssertionError(f"not refused: {named}")


def chats(client, model):
    chat = counted(client.chat.completions.create)
    greedy = dict(model=model, messages=FRANCE, temperature=0, max_tokens=16)
    whole = chat(**greedy)
    text = whole.choices[0].message.content
    assert "Paris" in text, text
    assert whole.object == "chat.completion" and whole.model == model and whole.id.startswith("chatcmpl-")
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    assert whole.choices[0].finish_reason in ("stop", "length") and whole._request_id.startswith("req_")
    assert chat(**greedy).choices[0].message.content == text

    chunks = list(chat(**greedy, stream=True, stream_options={"include_usage": True}))
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == text
    assert chunks[0].choices[0].delta.role == "assistant" and chunks[-2].choices[0].finish_reason
    # The second and later requests find the prompt in the cache only if it has a block of 128 tokens.
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert len({chunk.id for chunk in chunks}) == 1

    assert chat(**{**greedy, "max_tokens": 1}).choices[0].finish_reason == "length"
    assert chat(**{**greedy, "max_tokens": None}, max_completion_tokens=3).usage.completion_tokens == 3
    stopped = chat(**greedy, stop=["Paris"])
    assert stopped.choices[0].message.content == text.split("Paris")[0]
    assert stopped.choices[0].finish_reason == "stop"
    assert chat(**greedy, stop=["of", "France"]).choices[0].message.content == text.split("of")[0].split("France")[0]

    drawn = dict(model=model, messages=FRANCE, temperature=1.5, max_tokens=12, n=3, seed=11)
    three = [choice.message.content for choice in chat(**drawn).choices]
    assert len(set(three)) > 1 and [choice.message.content for choice in chat(**drawn).choices] == three
    assert [choice.message.content for choice in chat(**{**drawn, "seed": 12}).choices] != three
    streamed = {}
    for chunk in chat(**drawn, stream=True):
        for choice in chunk.choices:
            streamed[choice.index] = streamed.get(choice.index, "") + (choice.delta.content or "")
    assert [streamed[index] for index in range(3)] == three

    told = chat(**greedy, logprobs=True, top_logprobs=5).choices[0].logprobs.content
    assert all(len(t.top_logprobs) == 5 and t.top_logprobs[0].token == t.token for t in told)
    assert b"".join(bytes(t.bytes or []) for t in told).decode().startswith(text)
    assert all(t.logprob <= 0 for t in told)
    error = refused(openai.BadRequestError, chat, **greedy, logprobs=True, top_logprobs=6)
    assert error.param == "top_logprobs", error

    paris = chat(**greedy, logprobs=True).choices[0].logprobs.content
    token = next(t.token for t in paris if "Paris" in t.token)
    ids = json.loads(post(client, "/tokenize", {"model": model, "prompt": token, "add_special_tokens": False}))["tokens"]
    assert len(ids) == 1
    assert "Paris" not in chat(**greedy, logit_bias={str(ids[0]): -100}).choices[0].message.content

    parts = [{"role": "user", "content": [{"type": "text", "text": FRANCE[0]["content"]}]}]
    assert chat(**{**greedy, "messages": parts}).choices[0].message.content == text
    system = [{"role": "developer", "content": "You answer briefly."}, *FRANCE]
    assert chat(**{**greedy, "messages": system}).usage.prompt_tokens > 10
    assert chat(**greedy, frequency_penalty=1.0, presence_penalty=1.0, user="u", metadata={"a": "b"}, store=False)
    assert chat(**greedy, extra_body={"top_k": 1, "min_p": 0.1, "repetition_penalty": 1.0}).choices[0].message.content == text

    long = [{"role": "system", "content": "Be brief. " * 200}, *FRANCE]
    chat(**{**greedy, "messages": long, "max_tokens": 1})
    usage = chat(**{**greedy, "messages": long, "max_tokens": 1}).usage
    assert usage.prompt_tokens_details.cached_tokens >= usage.prompt_tokens // 128 * 128 - 128 > 0, usage


def formats(client, model):
    parse = counted(client.chat.completions.parse)
    chat = counted(client.chat.completions.create)
    asked = dict(model=model, messages=FRANCE, max_tokens=120, temperature=0)
    place = parse(**asked, response_format=Place).choices[0].message.parsed
    assert isinstance(place, Place), place
    text = chat(**asked, response_format={"type": "json_object"}).choices[0].message.content
    assert text.lstrip()[:1] in "{[", text
    colour = chat(**asked, extra_body={"guided_regex": "(red|green)"}).choices[0].message.content
    assert colour in ("red", "green")
    error = refused(openai.BadRequestError, chat, **asked, response_format={"type": "xml"})
    assert error.param == "response_format"


def tools(client, model):
    chat = counted(client.chat.completions.create)
    asked = dict(model=model, messages=FRANCE, max_tokens=80, temperature=0, tools=[WEATHER])
    choice = chat(**asked, tool_choice="required").choices[0]
    call = choice.message.tool_calls[0]
    # It may call several times, and the last call may be cut off.
    assert choice.finish_reason in ("tool_calls", "length") and call.function.name == "weather", choice
    assert json.loads(call.function.arguments)["place"] in ("Paris", "Rome")
    named = {"type": "function", "function": {"name": "weather"}}
    choice = chat(**asked, tool_choice=named).choices[0]
    assert choice.finish_reason == "tool_calls" and choice.message.tool_calls[0].function.name == "weather", choice
    pieces = [c.choices[0].delta.tool_calls for c in chat(**asked, tool_choice="required", stream=True) if c.choices]
    text = "".join(piece[0].function.arguments or "" for piece in pieces if piece and piece[0].index == 0)
    assert json.loads(text) == json.loads(call.function.arguments)
    messages = [
        *FRANCE,
        {"role": "assistant", "content": None, "tool_calls": [call.model_dump()]},
        {"role": "tool", "tool_call_id": call.id, "content": "sunny"},
    ]
    assert chat(**{**asked, "messages": messages}, tool_choice="none").choices[0].message.tool_calls is None
    assert refused(openai.BadRequestError, chat, **asked, tool_choice="sometimes").param == "tool_choice"

    thought = chat(model=model, messages=FRANCE, max_tokens=10, temperature=0, reasoning_effort="low")
    message = thought.choices[0].message
    assert message.reasoning_content and not message.content, message
    assert thought.usage.completion_tokens_details.reasoning_tokens > 5, thought.usage
    plain = chat(model=model, messages=FRANCE, max_tokens=10, temperature=0, reasoning_effort="none")
    assert plain.choices[0].message.content and plain.usage.completion_tokens_details.reasoning_tokens == 0
    assert refused(openai.BadRequestError, chat, **asked, reasoning_effort="vast").param == "reasoning_effort"


def completions(client, model):
    complete = counted(client.completions.create)
    asked = dict(model=model, prompt="The capital of France is", max_tokens=5, temperature=0)
    text = complete(**asked).choices[0].text
    assert "Paris" in text, text
    assert "".join(chunk.choices[0].text for chunk in complete(**asked, stream=True)) == text
    assert complete(**asked, echo=True).choices[0].text == asked["prompt"] + text
    echoed = "".join(chunk.choices[0].text for chunk in complete(**asked, stream=True, echo=True))
    assert echoed == asked["prompt"] + text
    assert complete(**{**asked, "max_tokens": None}).usage.completion_tokens <= 16
    two = complete(**{**asked, "prompt": ["The capital of France is", "One, two,"]})
    assert [choice.index for choice in two.choices] == [0, 1] and two.choices[0].text == text
    ids = json.loads(post(client, "/tokenize", {"model": model, "prompt": asked["prompt"]}))["tokens"]
    assert complete(**{**asked, "prompt": ids}).choices[0].text == text
    drawn = dict(**{**asked, "temperature": 1.0}, seed=3)
    best = complete(**drawn, best_of=4)
    assert len(best.choices) == 1 and best.usage.prompt_tokens == len(ids)
    assert 4 <= best.usage.completion_tokens <= 20
    four = complete(**drawn, n=4, logprobs=0)
    mean = lambda choice: sum(choice.logprobs.token_logprobs) / len(choice.logprobs.token_logprobs)
    assert max(four.choices, key=mean).text == best.choices[0].text
    told = complete(**asked, logprobs=2).choices[0].logprobs
    assert len(told.tokens) == len(told.token_logprobs) == len(told.top_logprobs) == len(told.text_offset)
    for field, value in [("suffix", "!"), ("best_of", 99), ("n", 0), ("temperature", 9)]:
        assert refused(openai.BadRequestError, complete, **{**asked, field: value}).param == field
    assert refused(openai.BadRequestError, complete, **asked, echo=True, logprobs=1).param == "echo"


def responses(client, model, tooled):
    respond = counted(client.responses.create)
    asked = dict(model=model, input="What is the capital of France?", temperature=0, max_output_tokens=16)
    whole = respond(**asked)
    assert "Paris" in whole.output_text and whole.object == "response" and whole.status in ("completed", "incomplete")
    assert whole.usage.output_tokens_details.reasoning_tokens == 0 and whole.usage.input_tokens > 5
    events = list(respond(**asked, stream=True))
    assert [events[0].type, events[1].type] == ["response.created", "response.in_progress"]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == whole.output_text == events[-1].response.output_text
    with client.responses.stream(**asked) as stream:
        assert stream.get_final_response().output_text == text
    brief = respond(**{**asked, "max_output_tokens": 1})
    assert brief.status == "incomplete" and brief.incomplete_details.reason == "max_output_tokens"
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": "What is the capital of France?"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]},
        {"role": "user", "content": "And of Italy?"},
    ]
    assert respond(**{**asked, "input": items}, instructions="Answer briefly.").usage.input_tokens > 30
    place = counted(client.responses.parse)(**{**asked, "max_output_tokens": 120}, text_format=Place)
    assert isinstance(place.output_parsed, Place)
    told = respond(**asked, include=["message.output_text.logprobs"], top_logprobs=2).output[0].content[0].logprobs
    assert len(told) > 3 and all(len(token.top_logprobs) == 2 for token in told)
    tool = {"type": "function", "strict": True, **WEATHER["function"]}
    asked = {**asked, "model": tooled, "max_output_tokens": 80, "tools": [tool], "tool_choice": "required"}
    call = respond(**asked).output[0]
    assert call.type == "function_call" and json.loads(call.arguments)["place"] in ("Paris", "Rome")
    asked["tool_choice"] = {"type": "function", "name": "weather"}
    assert respond(**asked).output[0].arguments == call.arguments
    events = list(respond(**asked, stream=True))
    done = [event for event in events if event.type == "response.function_call_arguments.done"]
    assert done[0].arguments == call.arguments and events[-1].response.output[0].name == "weather"
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    items = [{"role": "user", "content": "How is it?"}, call.model_dump(), result]
    assert respond(**{**asked, "input": items, "tool_choice": "none"}).output[0].type == "message"
    thought = respond(model=tooled, input="Why?", max_output_tokens=8, temperature=0, reasoning={"effort": "low"})
    assert thought.output[0].type == "reasoning" and thought.usage.output_tokens_details.reasoning_tokens > 3
    for field, value in [("previous_response_id", "resp_1"), ("background", True), ("include", ["x"]), ("input", [])]:
        assert refused(openai.BadRequestError, respond, **{**asked, field: value}).param == field


def vectors(client, model):
    embed = counted(client.embeddings.create)
    floats = embed(model=model, input="the king", encoding_format="float").data[0].embedding
    default = embed(model=model, input=["the king", "the queen"])
    assert len(default.data) == 2 and all(abs(a - b) < 1e-6 for a, b in zip(floats, default.data[0].embedding))
    raw = json.loads(post(client, "/v1/embeddings", {"model": model, "input": "the king", "encoding_format": "base64"}))
    packed = base64.b64decode(raw["data"][0]["embedding"])
    assert struct.unpack(f"<{len(floats)}f", packed)[0] == floats[0] or abs(struct.unpack("<f", packed[:4])[0] - floats[0]) < 1e-6
    assert len(embed(model=model, input="the king", dimensions=8).data[0].embedding) == 8
    assert refused(openai.BadRequestError, embed, model=model, input="").param == "input"


def post(client, path, body=None):
    """A request besides the client's own, as its body."""
    global calls
    calls += 1
    base = str(client.base_url).removesuffix("v1/").rstrip("/")
    headers = {"content-type": "application/json", "authorization": f"Bearer {client.api_key}"}
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(base + path, data, headers)) as response:
        return response.read().decode()


def pages(client, model):
    assert {found.id for found in counted(client.models.list)()} >= {model}
    assert counted(client.models.retrieve)(model).id == model
    assert refused(openai.NotFoundError, counted(client.models.retrieve), model="gpt").code == "model_not_found"
    assert post(client, "/health") == "ok" and post(client, "/ready") == "ready"
    tokens = json.loads(post(client, "/tokenize", {"model": model, "messages": FRANCE}))
    assert tokens["count"] == len(tokens["tokens"]) > 5
    assert "France" in json.loads(post(client, "/detokenize", {"model": model, "tokens": tokens["tokens"]}))["prompt"]
    metrics = post(client, "/metrics")
    names = [
        "requests_waiting", "requests_running", "batch_sequences", "generated_tokens_total", "prompt_tokens_total",
        "time_to_first_token_seconds", "time_between_tokens_seconds", "pages_used", "prefix_cache_hits_total",
        "requests_rejected_total", "rate_limited_total", "http_responses_total", "steered_logprobs_total",
    ]  # fmt: skip
    assert all(f"# TYPE foveate_{name} " in metrics for name in names), metrics
    assert f'foveate_requests_total{{model="{model}"}}' in metrics


def users(server, client, model):
    stranger = OpenAI(base_url=f"{server.url}/v1", api_key="wrong", max_retries=0)
    error = refused(openai.AuthenticationError, counted(stranger.models.list))
    assert error.code == "invalid_api_key"
    missing = refused(openai.NotFoundError, counted(client.chat.completions.create), model="gpt", messages=FRANCE)
    assert "there are" in str(missing)
    long = [{"role": "user", "content": "word " * 20000}]
    error = refused(openai.BadRequestError, counted(client.chat.completions.create), model=model, messages=long)
    assert error.code == "context_length_exceeded"
    answers = {}

    def ask(number):
        messages = [{"role": "user", "content": f"Count to {number}."}]
        answer = client.chat.completions.create(model=model, messages=messages, temperature=0, max_tokens=12)
        answers.setdefault(number, []).append(answer.choices[0].message.content)

    for number in range(2, 8):
        ask(number)
    threads = [threading.Thread(target=ask, args=[number]) for number in range(2, 8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert all(len(set(texts)) == 1 and len(texts) == 2 for texts in answers.values()), answers
    # A client that leaves.
    stream = client.chat.completions.create(model=model, messages=FRANCE, stream=True, extra_body={"ignore_eos": True})
    next(iter(stream))
    stream.close()
    lines = [json.loads(line) for line in server.errors().splitlines() if line.startswith("{")]
    answered = [line for line in lines if line.get("status") == 200 and line["path"] == "/v1/chat/completions"]
    assert answered and all(line["prompt_tokens"] > 0 and line["user"] == "0" for line in answered)
    assert "France" not in server.errors()


def limits(model):
    with Server("--model", model, "--requests-per-minute", 3, "--cors", "https://example.org") as server:
        client = OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)
        name = next(iter(client.models.list())).id
        ask = lambda: counted(client.completions.create)(model=name, prompt="a", max_tokens=1)
        [ask() for _ in range(3)]
        error = refused(openai.RateLimitError, ask)
        assert error.code == "rate_limit_exceeded" and int(error.response.headers["retry-after"]) >= 1
        asked = urllib.request.Request(f"{server.url}/v1/chat/completions", method="OPTIONS")
        asked.add_header("Origin", "https://example.org")
        asked.add_header("Access-Control-Request-Method", "POST")
        asked.add_header("Access-Control-Request-Headers", "authorization,content-type")
        with urllib.request.urlopen(asked) as response:
            assert response.headers["access-control-allow-origin"] == "https://example.org"


def described(model):
    """Requests that schemathesis makes of the server's own description: none is the server's fault."""
    # Short answers: the requests are what is tested.
    with Server("--model", model, "--context", 48) as server:
        command = [
            "schemathesis", "run", f"{server.url}/openapi.json", "--no-color", "--seed", "7", "--workers", "8",
            "--checks", "not_a_server_error,response_schema_conformance,content_type_conformance,status_code_conformance",
            "--phases", "examples,coverage,fuzzing", "--max-examples", "10", "--request-timeout", "60",
        ]  # fmt: skip
        result = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout[-6000:] + result.stderr
        print(f"ok schemathesis: {result.stdout.strip().splitlines()[-1]}")


def main(model):
    tooled = with_template(model, FOLDER / "tools.gguf")
    keys = FOLDER / "keys"
    keys.write_text("# users\nfirst\nsecond\n")
    flags = ["--model", model, tooled, "--api-keys", keys, "--log", "requests", "--context", 2048]
    with Server(*flags) as server:
        client = OpenAI(base_url=f"{server.url}/v1", api_key="first", max_retries=0)
        name = model.stem
        for test in (chats, formats, completions, pages):
            test(client, name)
            print(f"ok {test.__name__}")
        tools(client, "tools")
        print("ok tools")
        responses(client, name, "tools")
        print("ok responses")
        vectors(client, name)
        print("ok vectors")
        users(server, client, name)
        print("ok users")
        subprocess.run(["node", FOLDER / "clients.mjs", server.url, name, "tools", "second"], check=True)
    described(model)
    limits(model)
    print(f"ok limits\n{calls} calls of the Python client had their results")


main(pathlib.Path(sys.argv[1]))
