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
        self.start([program, "serve", "--port", "0", "--device", "cpu", *map(str, flags)], env, "server.log")

    def start(self, command, env, log):
        """Starts a program that prints its address when it is ready. $UNDER is put in front, such as `chrt -r 10`."""
        command = [*os.environ.get("UNDER", "").split(), *command]
        environment = {**os.environ, **(env or {})}
        self.log = open(pathlib.Path(os.environ.get("CLIENTS", ".")) / log, "w+")
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


class Peer(Server):
    """llama.cpp from npm, as peer.mjs serves it; $PEERS is the node_modules that has node-llama-cpp."""

    def __init__(self, model, sequences, context):
        script = pathlib.Path(__file__).with_name("peer.mjs")
        command = ["node", script, os.environ["PEERS"], model, sequences, context]
        self.start(list(map(str, command)), None, "peer.log")
