"""A server under load and under faults: what is lost, how long answers take, and how fast tokens come.

usage: load.py MODEL.gguf [load] [speed] [prefix] [faults] [batch]     all of them without a name; $FOVEATE is the program

`speed` runs llama.cpp in turn with ours if $PEERS is a folder of npm packages with node-llama-cpp. On a machine that does
other work, UNDER="chrt -r 10" puts the servers in front of it.
"""

import asyncio
import contextlib
import json
import os
import pathlib
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from servers import Peer, Server

HELD, QUEUED, TOGETHER = 1000, 200, 32
TOKENS, RUNS = 64, 3


def head(address, path, body, more=""):
    return f"POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode() + body


async def connect(server):
    host, port = server.url.removeprefix("http://").rsplit(":", 1)
    return await asyncio.open_connection(host, int(port), limit=1 << 20)


async def get(server, path):
    reader, writer = await connect(server)
    writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
    answer = (await reader.read()).decode()
    writer.close()
    return answer.split("\r\n\r\n", 1)[1]


async def metric(server, name):
    lines = (await get(server, "/metrics")).splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(f"foveate_{name}"))


async def streamed(server, body):
    """Status, text, times of the chunks since the request, and whether the stream was whole."""
    reader, writer = await connect(server)
    data = json.dumps({**body, "stream": True}).encode()
    began, times, text, done, ids = time.perf_counter(), [], "", False, set()
    writer.write(head("a", "/v1/completions", data, "Connection: close\r\n"))
    status = int((await reader.readline()).split()[1])
    async for line in reader:
        line = line.strip()
        if line == b"data: [DONE]":
            done = True
        elif line.startswith(b"data: "):
            chunk = json.loads(line[6:])
            ids.add(chunk["id"])
            if chunk["choices"][0]["finish_reason"] is None:
                times.append(time.perf_counter() - began)
            text += chunk["choices"][0]["text"]
    writer.close()
    return status, text, times, done, ids


def prompt(number):
    generator = random.Random(number)
    return [generator.randrange(100, 40000) for _ in range(24)]


def percent(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def memory(server):
    status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


async def load(model):
    flags = ["--sequences", TOGETHER, "--queue", QUEUED, "--context", 512, "--cache-tokens", 16384, "--prefixes", 0]
    with Server("--model", model, *flags) as server:
        body = lambda number: {"prompt": prompt(number), "max_tokens": 8, "temperature": 0, "ignore_eos": True}
        alone = [await streamed(server, body(number)) for number in range(8)]
        before = memory(server)
        held = [await connect(server) for _ in range(HELD)]
        for reader, writer in held:
            writer.write(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
        assert all([(await reader.readline()).startswith(b"HTTP/1.1 200") for reader, _ in held])
        counted = await metric(server, "requests_total")
        began = time.perf_counter()
        answers = await asyncio.gather(*[streamed(server, body(number)) for number in range(QUEUED)])
        seconds = time.perf_counter() - began
        assert all(status == 200 and done and len(ids) == 1 for status, _, _, done, ids in answers), "an answer is not whole"
        assert len(set.union(*[ids for *_, ids in answers])) == QUEUED, "an answer was given twice"
        assert await metric(server, "requests_total") - counted == QUEUED, "a request ran twice"
        assert [text for _, text, *_ in answers[:8]] == [text for _, text, *_ in alone], "answers depend on others"
        firsts = [times[0] for _, _, times, *_ in answers]
        betweens = [b - a for _, _, times, *_ in answers for a, b in zip(times, times[1:])]
        print(f"{HELD} connections held, {QUEUED} requests at once, {TOGETHER} decoding: none lost, none twice; {seconds:.1f} s")
        print(f"first token: p50 {percent(firsts, 0.5):.2f} s, p99 {percent(firsts, 0.99):.2f} s")
        print(f"between tokens: p50 {percent(betweens, 0.5) * 1e3:.0f} ms, p99 {percent(betweens, 0.99) * 1e3:.0f} ms")
        print(f"memory: {before:.0f} MiB before, {memory(server):.0f} MiB after")
        [writer.close() for _, writer in held]


async def rate(server, together, tokens):
    body = lambda number: {"prompt": prompt(1000 + number), "max_tokens": tokens, "temperature": 0, "ignore_eos": True}
    began = time.perf_counter()
    answers = await asyncio.gather(*[streamed(server, body(number)) for number in range(together)])
    assert all(status == 200 and done for status, _, _, done, _ in answers)
    return together * tokens / (time.perf_counter() - began)


async def speed(model):
    """Tokens per second at 1, 8 and 32 requests, of all servers in turn: the prompts of 24 tokens are in the time."""
    flags = ["--model", model, "--sequences", 32, "--context", 512, "--cache-tokens", 16384, "--prefixes", 0]
    begun = {"ours": lambda: Server(*flags), "ours, --no-batch-invariance": lambda: Server(*flags, "--no-batch-invariance")}
    if "PEERS" in os.environ:
        begun["llama.cpp"] = lambda: Peer(model, 32, 512)
    with contextlib.ExitStack() as stack:
        servers = {name: stack.enter_context(begin()) for name, begin in begun.items()}
        for server in servers.values():
            await rate(server, 1, 8)
        for together in (1, 8, 32):
            runs = [{name: await rate(server, together, TOKENS) for name, server in servers.items()} for _ in range(RUNS)]
            for name in servers:
                ours = [run[name] for run in runs]
                text = f"{together} requests, {name}: {statistics.median(ours):.1f} tokens per second"
                print(f"{text} ({min(ours):.1f} to {max(ours):.1f} of {RUNS} runs of {TOKENS} tokens)", flush=True)


async def prefix(model):
    """A chat behind a long system prompt: the time to its first token."""
    with Server("--model", model, "--context", 4096) as server:
        system = {"role": "system", "content": "You know many things. " * 400}
        times = []
        for question in ("Who are you?", "What is a tree?"):
            body = {"messages": [system, {"role": "user", "content": question}], "max_tokens": 1, "temperature": 0}
            began = time.perf_counter()
            reader, writer = await connect(server)
            writer.write(head("a", "/v1/chat/completions", json.dumps(body).encode(), "Connection: close\r\n"))
            answer = json.loads((await reader.read()).split(b"\r\n\r\n", 1)[1])
            times.append(time.perf_counter() - began)
        usage = answer["usage"]
        cached = usage["prompt_tokens_details"]["cached_tokens"]
        print(f"{usage['prompt_tokens']} tokens of prompt, {cached} cached: {times[0] * 1e3:.0f} ms, then {times[1] * 1e3:.0f} ms")
        assert times[1] < times[0] / 10, times


async def faults(model):
    with Server("--model", model, "--context", 512, "--sequences", 8) as server:
        # Connections that say nothing, half a head, half a body.
        silent = [await connect(server) for _ in range(200)]
        for (_, writer), text in zip(silent, [b"", b"POST /v1/chat", b"POST /v1/completions HTTP/1.1\r\nContent-Length: 90\r\n\r\n{"] * 70):
            writer.write(text)
        generator, statuses = random.Random(5), {}
        good = json.dumps({"prompt": "a", "max_tokens": 1}).encode()
        paths = ["/v1/completions", "/v1/chat/completions", "/v1/responses", "/v1/embeddings", "/tokenize", "/detokenize"]

        async def bad(number):
            data = bytearray(good if number % 3 else generator.randbytes(generator.randrange(300)))
            for _ in range(generator.randrange(1, 4)):
                if data:
                    data[generator.randrange(len(data))] = generator.randrange(256)
            reader, writer = await connect(server)
            writer.write(head("a", generator.choice(paths), bytes(data), "Connection: close\r\n"))
            status = int((await reader.readline()).split()[1])
            writer.close()
            statuses[status] = statuses.get(status, 0) + 1

        for first in range(0, 10_000, 50):
            await asyncio.gather(*[bad(number) for number in range(first, first + 50)])
        assert not any(status >= 500 for status in statuses), statuses
        assert "panicked" not in server.errors(), server.errors()
        # Clients that leave in the midst.
        for number in range(50):
            reader, writer = await connect(server)
            body = {"prompt": prompt(number), "max_tokens": 400, "stream": True, "ignore_eos": True}
            writer.write(head("a", "/v1/completions", json.dumps(body).encode()))
            await reader.readline()
            writer.transport.abort()
        began = time.perf_counter()
        while await metric(server, "requests_running") or await metric(server, "requests_waiting"):
            assert time.perf_counter() - began < 30, "requests of clients that left go on"
        status, text, *_ = await streamed(server, {"prompt": "The capital of France is", "max_tokens": 4, "temperature": 0})
        assert status == 200 and "Paris" in text, text
        print(f"10,000 bad requests: {dict(sorted(statuses.items()))}; 200 half-open connections; 50 clients left; it answers")
        [writer.close() for _, writer in silent]


def rows(folder):
    found = []
    for path in sorted(folder.glob("*.jsonl")):
        assert ".errors." not in path.name, path.read_text()
        found += [json.loads(line)["id"] for line in path.read_text().splitlines()]
    return found


def batch(model):
    """Killed at random, on a full disk: every row is there once."""
    program = os.environ.get("FOVEATE", "target/debug/foveate")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        source, out = folder / "rows.jsonl", folder / "out"
        source.write_text("".join(json.dumps({"id": n, "prompt": f"{n} and"}) + "\n" for n in range(600)))
        flags = ["--model", model, "--max-tokens", "2", "--shard-rows", "20", "--context", "64", "--device", "cpu"]
        command = [program, "batch", source, "--out", out, *flags]
        kills, generator = 0, random.Random(7)
        while kills < 50:
            process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
            try:
                assert process.wait(generator.uniform(0.2, 1.2)) == 0
                break
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                kills += 1
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        assert rows(out) == list(range(600)), "rows are lost or there twice"
        print(f"batch: killed {kills} times, 600 rows, each once")
        small = folder / "small"
        small.mkdir()
        mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", small], capture_output=True)
        if mount.returncode != 0:
            return print("batch: a full disk was not tried, since no small file system can be mounted")
        try:
            (small / "filler").write_bytes(bytes(48 * 1024))
            command = [program, "batch", source, "--out", small / "out", *flags]
            full = subprocess.run(command, capture_output=True, text=True)
            assert full.returncode != 0 and "No space left" in full.stderr and "panicked" not in full.stderr, full
            (small / "filler").unlink()
            subprocess.run(["mount", "-o", "remount,size=4m", small], check=True)
            subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
            assert rows(small / "out") == list(range(600))
            print(f"batch: a full disk ended it with {full.stderr.splitlines()[-1]!r}; with room it went on, each row once")
        finally:
            subprocess.run(["umount", small], check=True)


def main(model, *names):
    for name in names or ("load", "speed", "prefix", "faults", "batch"):
        if name == "batch":
            batch(model)
        else:
            asyncio.run({"load": load, "speed": speed, "prefix": prefix, "faults": faults}[name](model))


main(pathlib.Path(sys.argv[1]), *sys.argv[2:])
