#!/usr/bin/env python3
"""Writes rendered.json and expressions.json: the expected values are transformers' own.

    pip install jinja2==3.1.6 transformers==5.24.0
    TZ=UTC python3 core/tests/data/templates/render.py

The templates have the shapes of those of popular models, with their tools, thinking and parts of messages. The clock
stands at CLOCK. What transformers refuses is written as null.
"""

import datetime
import json
import pathlib

import transformers.utils.chat_template_utils as utils

HERE = pathlib.Path(__file__).parent
CLOCK = (2026, 3, 9, 7, 5, 2)


class Clock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(*CLOCK)


utils.datetime = Clock

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Tells the weather <now>.",
            "parameters": {
                "type": "object",
                "properties": {
                    "place": {"type": "string", "description": "A city, e.g. Zürich"},
                    "days": {"type": "integer", "default": 3},
                    "unit": {"type": "string", "enum": ["celsius", "kelvin"]},
                    "tags": {"type": "array", "items": {"type": "string"}},
                },
                "required": ["place"],
            },
        },
    },
    {
        "type": "function",
        "function": {"name": "now", "description": "", "parameters": {"type": "object", "properties": {}}},
    },
]
CALL = {
    "type": "function",
    "id": "abcdefghi",
    "function": {"name": "get_weather", "arguments": {"place": "Zürich", "days": 2, "deep": {"a": [1.5, None, True]}}},
}
PLAIN = [{"role": "user", "content": " Hi, \"you\" & <b>! "}]
TURNS = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "What is 2 + 2?"},
    {"role": "assistant", "content": "<think>\nEasy.\n</think>\n\nFour."},
    {"role": "user", "content": "And 3 + 3? 你好 🙂"},
]
CALLS = [
    {"role": "system", "content": "Use tools."},
    {"role": "user", "content": "Weather in Zürich?"},
    {"role": "assistant", "content": None, "reasoning_content": "I should look.", "tool_calls": [CALL]},
    {"role": "tool", "name": "get_weather", "tool_call_id": "abcdefghi", "content": "{\"sun\": true}"},
    {"role": "assistant", "content": "Sunny.", "reasoning": "It said so."},
]
CASES = {
    "plain": (PLAIN, {"add_generation_prompt": True}),
    "turns": (TURNS, {"add_generation_prompt": True}),
    "answered": (TURNS[:3], {}),
    "no_thinking": (TURNS, {"add_generation_prompt": True, "enable_thinking": False, "thinking": False}),
    "tools": (PLAIN, {"add_generation_prompt": True, "tools": TOOLS}),
    "calls": (CALLS, {"tools": TOOLS}),
    "calls_prompt": (CALLS[1:4], {"add_generation_prompt": True, "tools": TOOLS, "reasoning_effort": "high"}),
    "parts": (
        [
            {"role": "user", "name": "ann", "content": [{"type": "text", "text": " one "}, {"type": "image"}, {"type": "text", "text": "two"}]},
        ],
        {"add_generation_prompt": True},
    ),
    "documents": (
        PLAIN,
        {"add_generation_prompt": True, "documents": [{"title": "A", "text": "first\nline"}, {"doc_id": 7, "text": "second"}]},
    ),
    "continued": (TURNS[:3], {"continue_final_message": True}),
}
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}


def render(source, messages, options):
    try:
        chat = utils._normalize_chat_messages(messages)
        texts, _ = utils.render_jinja_template([chat], chat_template=source, **{**TOKENS, **options})
        return texts[0]
    except Exception as error:
        print(f"  refused: {type(error).__name__}: {error}"[:140])
        return None


def write(name, value):
    (HERE / name).write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf8")


def main():
    rendered = {"clock": CLOCK, "tokens": TOKENS, "cases": {}, "expected": {}}
    for case, (messages, options) in CASES.items():
        known = {key: options[key] for key in ("add_generation_prompt", "continue_final_message", "tools", "documents") if key in options}
        variables = {key: value for key, value in options.items() if key not in known}
        rendered["cases"][case] = {"messages": messages, "inputs": {**known, "variables": variables}}
    for path in sorted(HERE.glob("*.jinja")):
        source = path.read_bytes().decode("utf8")
        print(path.stem)
        rendered["expected"][path.stem] = {case: render(source, *CASES[case]) for case in CASES}
    write("rendered.json", rendered)

    context = json.loads((HERE / "context.json").read_text(encoding="utf8"))
    expressions = []
    for source in json.loads((HERE / "sources.json").read_text(encoding="utf8")):
        try:
            expected = utils._compile_jinja_template(source).render(**context)
        except Exception:
            expected = None
        expressions.append([source, expected])
    write("expressions.json", expressions)


main()
