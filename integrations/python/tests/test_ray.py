"""`foveate.Engine` and `foveate.Generate` by themselves, and in Ray Data."""

import os
import signal
import threading
import time

import foveate
import pytest
from common import FLAGS, MODEL

ROWS = 2000


def test_engine_answers_and_refuses():
    engine = foveate.Engine(MODEL, **FLAGS)
    answer = engine.ask("/v1/completions", {"prompt": "The capital of France is", "max_tokens": 4, "temperature": 0})
    assert "Paris" in answer["choices"][0]["text"]
    with pytest.raises(foveate.EngineError, match="temperature"):
        engine.ask("/v1/completions", {"prompt": "a", "temperature": 9})
    engine.close()
    with pytest.raises(foveate.EngineError, match="ended"):
        engine.ask("/v1/completions", {"prompt": "a"})


def test_rows_that_are_refused_say_why():
    generate = foveate.Generate(MODEL, options={"max_tokens": 2}, flags=FLAGS)
    found = generate({"prompt": ["One,", "word " * 1000]})
    assert found["text"][0] and found["text"][1] is None
    assert found["error"][0] == "" and "do not fit" in found["error"][1]


def workers():
    """Processes of Ray that hold an engine."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline") as file:
                line = file.read()
            with open(f"/proc/{pid}/stat") as file:
                parent = int(file.read().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
        if "\0serve\0" in line and str(MODEL) in line and parent != os.getpid():
            found.append(parent)
    return found


def test_every_row_once_though_a_worker_is_killed():
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": dict(os.environ)})
    killed = []

    def kill():
        until = time.time() + 120
        while time.time() < until and not killed:
            found = workers()
            if len(found) == 2:
                time.sleep(3)
                os.kill(found[0], signal.SIGKILL)
                killed.append(found[0])
            time.sleep(0.1)

    killer = threading.Thread(target=kill)
    killer.start()
    rows = ray.data.from_items([{"id": n, "prompt": f"{n} and"} for n in range(ROWS)], override_num_blocks=40)
    options = {"options": {"max_tokens": 3}, "flags": FLAGS}
    answered = rows.map_batches(
        foveate.Generate, fn_constructor_args=[MODEL], fn_constructor_kwargs=options, concurrency=2, batch_size=50
    ).take_all()
    killer.join()
    assert killed, "no worker was killed"
    assert sorted(row["id"] for row in answered) == list(range(ROWS))
    assert all(row["text"] and not row["error"] for row in answered)
    ray.shutdown()
