"""Servers under test: `foveate serve` on a free port, and models for it."""

import os
import pathlib
import signal
import subprocess

# Writes calls as Hermes and Qwen do, and thinks where it is asked to.
TEMPLATE = """{% for message in messages %}<|im_start|>{{ message.role }}
{{ message.content }}{% for call in message.tool_calls or [] %}<tool_call>
{{ call.function | tojson }}
</tool_call>{% endfor %}<|im_end|>
{% endfor %}{% if tools %}<|im_start|>system
Tools: {{ tools | tojson }}<|im_end|>
{% endif %}{% if add_generation_prompt %}<|im_start|>assistant
{% if enable_thinking %}<think>
{% endif %}{% endif %}{% if false %}</think>{% endif %}"""


def with_template(model, path):
    """Writes a copy of a GGUF file with the template above."""
    if not path.exists():
        half = path.with_suffix(".half.gguf")
        command = ["gguf-new-metadata", "--force", "--chat-template", TEMPLATE, str(model), str(half)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        half.rename(path)
    return path


class Server:
    """A server, which ends with the block that it is used in."""

    def __init__(self, *flags, env=None):
        program = os.environ.get("FOVEATE", "target/debug/foveate")
        command = [program, "serve", "--port", "0", "--device", "cpu", *map(str, flags)]
        environment = {**os.environ, **(env or {})}
        self.log = open(pathlib.Path(os.environ.get("CLIENTS", ".")) / "server.log", "w+")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, text=True, env=environment)
        line = self.process.stdout.readline()
        assert line.startswith("listening on "), (line, self.errors())
        self.url = line.split()[-1]

    def errors(self):
        """What it has written on standard error."""
        self.log.flush()
        return pathlib.Path(self.log.name).read_text()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            assert self.process.wait(60) == 0, self.errors()
        finally:
            self.process.kill()
            self.log.close()
