"""Tries to read a model's last matrix out of answers, as Carlini et al. (2024) and "Clone What You Can't Steal" (2025) do.

A row of logits is a hidden state times the last matrix `W`. A matrix of logits, one row a text and one column a token, then
has the rank of the model's width, and its right singular vectors span the columns of `W`. The logits are chosen by
`logit_bias`, which forces a token and has its log-probability told.

The attack runs on the given model with the default configuration, then on a small random model of which `W` is known: once
with the default configuration, where it must fail, and once as the control with `--steered-logprobs` so high that it never
refuses, where the same function must find the width and the columns of `W`.

usage: leak.py MODEL.gguf WIDTH, with the program in $FOVEATE and a folder for files in $CLIENTS
"""

import json
import os
import pathlib
import sys
import urllib.error
import urllib.request

import numpy
from gguf import GGUFReader, GGUFWriter
from servers import Server

# The small model's width, and the texts and tokens that the attack asks for: more than the width, so that the rank shows.
SMALL, ASKED = 64, 80
# Prompts of one request; the server takes 16. The allowance of a day then covers at least one group of texts.
TOGETHER = 8


def ask(server, path, body):
    request = urllib.request.Request(server.url + path, json.dumps(body).encode(), {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        return json.load(error)


def chosen(server, prompts, token):
    """The log-probabilities of one token behind some prompts, or the code of the refusal."""
    body = {"prompt": prompts, "max_tokens": 1, "temperature": 0, "logprobs": 0, "logit_bias": {str(token): 100}}
    answer = ask(server, "/v1/completions", body)
    if "choices" not in answer:
        return answer["error"]["code"]
    return [choice["logprobs"]["token_logprobs"][0] for choice in answer["choices"]]


def logits(server, texts, tokens):
    """Log-probabilities `[texts, tokens]` as far as they are told, how many these are, and the code of the first refusal.

    Texts of which a token was refused are left out."""
    whole, told = [], 0
    for first in range(0, texts, TOGETHER):
        prompts = [[7 + text, 19 + 3 * text, 31] for text in range(first, min(first + TOGETHER, texts))]
        columns = []
        for token in range(100, 100 + tokens):
            column = chosen(server, prompts, token)
            if isinstance(column, str):
                return numpy.array(whole), told, column
            columns.append(column)
            told += len(column)
        whole += numpy.array(columns).T.tolist()
    return numpy.array(whole), told, None


def reconstruct(matrix, true):
    """The width that log-probabilities show, or None, and the share of `true`, `[tokens, width]`, that their directions miss.

    A row lacks a constant, the logarithm of its sum, so rows and columns of both are taken about their means."""
    matrix = matrix - matrix.mean(axis=1, keepdims=True)
    true = true - true.mean(axis=0)
    _, values, directions = numpy.linalg.svd(matrix, full_matrices=False)
    drops = values[:-1] / numpy.maximum(values[1:], 1e-12)
    # The last value is zero, since rows are taken about their means.
    width = int(drops[:-2].argmax()) + 1 if len(drops) > 2 else None
    width = width if width and drops[width - 1] > 10 else None
    basis = directions[: width or len(values)]
    missed = numpy.linalg.norm(true - basis.T @ (basis @ true)) / numpy.linalg.norm(true)
    return width, missed


def small(model, path):
    """Writes a random model of width SMALL with the tokenizer of another; returns its last matrix, `[vocabulary, width]`."""
    fields = {key: field for key, field in GGUFReader(model).fields.items() if key.startswith("tokenizer.")}
    writer, random = GGUFWriter(path, "llama"), numpy.random.default_rng(3)
    vocab = len(fields["tokenizer.ggml.tokens"].data)
    writer.add_block_count(1)
    writer.add_context_length(256)
    writer.add_embedding_length(SMALL)
    writer.add_feed_forward_length(2 * SMALL)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_rope_dimension_count(SMALL // 2)
    writer.add_layer_norm_rms_eps(1e-5)
    for key, field in fields.items():
        writer.add_key_value(key, field.contents(), field.types[0], field.types[-1] if len(field.types) > 1 else None)
    values = lambda *shape: random.normal(0, 0.2, shape).astype(numpy.float32)
    shapes = {"attn_q": (SMALL, SMALL), "attn_k": (SMALL, SMALL), "attn_v": (SMALL, SMALL), "attn_output": (SMALL, SMALL)}
    shapes |= {"ffn_gate": (2 * SMALL, SMALL), "ffn_up": (2 * SMALL, SMALL), "ffn_down": (SMALL, 2 * SMALL)}
    for name, shape in shapes.items():
        writer.add_tensor(f"blk.0.{name}.weight", values(*shape))
    for name in ("blk.0.attn_norm", "blk.0.ffn_norm", "output_norm"):
        writer.add_tensor(f"{name}.weight", numpy.ones(SMALL, numpy.float32))
    last = values(vocab, SMALL)
    writer.add_tensor("token_embd.weight", values(vocab, SMALL))
    writer.add_tensor("output.weight", last)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return last


def limits(model, width):
    """What the default configuration refuses, by every way that the interface offers."""
    needed = width * width
    with Server("--model", model, "--context", 256) as server:
        refused = ask(server, "/v1/completions", {"prompt": "a", "logprobs": 6})["error"]
        assert refused["param"] == "logprobs", refused
        most = ask(server, "/v1/completions", {"prompt": "a", "logprobs": 5, "max_tokens": 1})
        assert len(most["choices"][0]["logprobs"]["top_logprobs"][0]) == 5
        echoed = ask(server, "/v1/completions", {"prompt": "a b", "logprobs": 5, "echo": True, "max_tokens": 1})
        assert echoed["error"]["param"] == "echo", echoed
        _, told, reason = logits(server, TOGETHER, 200)
        assert reason == "steered_logprobs_exceeded" and told <= 1100, (told, reason)
        # The allowance refills through the day: what it has left since the refusal is less than a batch of prompts.
        while isinstance(chosen(server, [[7, 19, 31]], 100), list):
            told += 1
        assert told <= 1100, told
        # Constraints force tokens as well, and so do choices of tools.
        forced = {"prompt": "a", "max_tokens": 1, "logprobs": 0, "guided_regex": "q"}
        assert ask(server, "/v1/completions", forced)["error"]["code"] == "steered_logprobs_exceeded"
        kwargs = {"messages": [{"role": "user", "content": "a"}], "logprobs": True, "max_tokens": 5}
        kwargs["response_format"] = {"type": "json_object"}
        assert ask(server, "/v1/chat/completions", kwargs)["error"]["code"] == "steered_logprobs_exceeded"
        # Each text adds `width` unknowns, and without steering five equations.
        plain = ask(server, "/v1/completions", {"prompt": "a", "logprobs": 5, "max_tokens": 8})
        told_of = plain["choices"][0]["logprobs"]
        entries = max(len(row) for row in told_of["top_logprobs"])
        assert entries == 5 < width
        assert all(round(logprob, 4) == logprob for logprob in told_of["token_logprobs"])
    print(f"default: {told} chosen logits a day of the {needed} that a model of width {width} needs, and {entries} a text")


def attack(model, true, *flags):
    """Attacks the small model; returns what was told, the width that it shows, and the share of the matrix missed."""
    with Server("--model", model, "--context", 64, "--threads", 1, *flags) as server:
        found, told, reason = logits(server, ASKED, ASKED)
    width, missed = reconstruct(found, true) if len(found) else (None, 1.0)
    return told, reason, width, missed


def main(model, width):
    limits(model, width)
    path = pathlib.Path(os.environ.get("CLIENTS", ".")) / "small.gguf"
    true = small(model, path)[100 : 100 + ASKED]
    told, reason, width, missed = attack(path, true)
    assert reason == "steered_logprobs_exceeded" and told < SMALL * SMALL, (told, reason)
    assert width is None and missed > 0.5, (width, missed)
    print(f"default, width {SMALL}: {told} logits; the width does not show, {missed:.0%} of the last matrix is missed")
    told, reason, width, missed = attack(path, true, "--steered-logprobs", 2**31)
    assert reason is None and told == ASKED * ASKED, (told, reason)
    assert width == SMALL and missed < 0.01, (width, missed)
    print(f"control, no limit: {told} logits; they show width {width}, {missed:.2%} of the last matrix is missed")


main(pathlib.Path(sys.argv[1]), int(sys.argv[2]))
