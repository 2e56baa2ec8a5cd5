"""Tries to read a model's last matrix out of answers, as Carlini et al. (2024) and "Clone What You Can't Steal" (2025) do.

A row of log-probabilities is a hidden state times the last matrix, so rows over all tokens have the rank of the model's
width. Whoever has as many logits of as many texts as the model is wide knows that width and the matrix up to a rotation.
The script asks for as many as it can get by every way that the interface offers, and compares that with what it needs. A
server without limits shows that the script works: from it, the same requests give the width of the model.

usage: leak.py MODEL.gguf WIDTH
"""

import json
import pathlib
import sys
import urllib.error
import urllib.request

import numpy
from servers import Server


def ask(server, path, body):
    request = urllib.request.Request(server.url + path, json.dumps(body).encode(), {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        return json.load(error)


def chosen(server, prompt, token):
    """The log-probability of any token behind a prompt: the token is forced, and its probability is told."""
    body = {"prompt": prompt, "max_tokens": 1, "temperature": 0, "logprobs": 0, "logit_bias": {str(token): 100}}
    answer = ask(server, "/v1/completions", body)
    return answer["choices"][0]["logprobs"]["token_logprobs"][0] if "choices" in answer else answer["error"]["code"]


def rows(server, texts, tokens):
    """Log-probabilities of the same tokens behind many texts, up to the first refusal."""
    found = []
    for text in range(texts):
        found.append([])
        for token in range(100, 100 + tokens):
            logprob = chosen(server, [7 + text, 19 + 3 * text, 31], token)
            if not isinstance(logprob, float):
                return found, logprob
            found[-1].append(logprob)
    return found, None


def main(model, width):
    needed = width * width
    with Server("--model", model, "--context", 256) as server:
        refused = ask(server, "/v1/completions", {"prompt": "a", "logprobs": 6})["error"]
        assert refused["param"] == "logprobs", refused
        most = ask(server, "/v1/completions", {"prompt": "a", "logprobs": 5, "max_tokens": 1})
        assert len(most["choices"][0]["logprobs"]["top_logprobs"][0]) == 5
        echoed = ask(server, "/v1/completions", {"prompt": "a b", "logprobs": 5, "echo": True, "max_tokens": 1})
        assert echoed["error"]["param"] == "echo", echoed
        found, reason = rows(server, 40, 40)
        steered = sum(map(len, found))
        assert reason == "steered_logprobs_exceeded" and steered <= 1100, (steered, reason)
        # Constraints force tokens as well, and so do choices of tools.
        forced = {"prompt": "a", "max_tokens": 1, "logprobs": 0, "guided_regex": "q"}
        assert ask(server, "/v1/completions", forced)["error"]["code"] == "steered_logprobs_exceeded"
        kwargs = {"messages": [{"role": "user", "content": "a"}], "logprobs": True, "max_tokens": 5}
        kwargs["response_format"] = {"type": "json_object"}
        assert ask(server, "/v1/chat/completions", kwargs)["error"]["code"] == "steered_logprobs_exceeded"
        # Each text adds `width` unknowns, and without steering five equations.
        plain = ask(server, "/v1/completions", {"prompt": "a", "logprobs": 5, "max_tokens": 8})
        entries = max(len(row) for row in plain["choices"][0]["logprobs"]["top_logprobs"])
        assert entries == 5 < width
        digits = [logprob for row in found for logprob in row]
        assert all(round(logprob, 4) == logprob for logprob in digits)
    print(f"default: {steered} chosen logits a day of the {needed} that a model of width {width} needs, and {entries} a text")
    # The control: without the limit, the rank of the rows shows what the texts have in common.
    with Server("--model", model, "--context", 256, "--steered-logprobs", 2**31) as server:
        found, reason = rows(server, 12, 40)
        assert reason is None and all(len(row) == 40 for row in found)
        matrix = numpy.array(found)
        matrix -= matrix.mean(axis=1, keepdims=True)
        values = numpy.linalg.svd(matrix, compute_uv=False)
        # As many directions as texts: every answer told something new of the matrix.
        assert values[10] / values[0] > 1e-4, values
    print("without the limit, every logit that was asked for was told")


main(pathlib.Path(sys.argv[1]), int(sys.argv[2]))
