"""Measures rows per second of Ray Data with one worker and with two, each with one engine of one thread, in turn.

usage: scale.py [ROWS] [RUNS]     $FOVEATE_MODEL and $FOVEATE as for the tests

Rows count between the moment at which the last worker answers its first row and the one at which the first worker has none
left, so starts of workers are not in the time.
"""

import os
import statistics
import sys
import time

import foveate
import ray
from common import FLAGS, MODEL


class Timed(foveate.Generate):
    """Adds to each row its worker, and when its batch was begun and answered."""

    def __call__(self, batch):
        if self._engine is None:
            super().__call__({name: column[:1] for name, column in batch.items()})
        began = time.time()
        answers = super().__call__(batch)
        rows = len(answers["id"])
        return {**answers, "worker": [os.getpid()] * rows, "began": [began] * rows, "ended": [time.time()] * rows}


def rate(workers, rows):
    """Rows per second while all workers are busy."""
    table = ray.data.from_items([{"id": n, "prompt": f"{n} and"} for n in range(rows)], override_num_blocks=rows // 20)
    named = {"options": {"max_tokens": 8}, "flags": FLAGS}
    answered = table.map_batches(
        Timed, fn_constructor_args=[MODEL], fn_constructor_kwargs=named, concurrency=workers, batch_size=20
    ).take_all()
    assert sorted(row["id"] for row in answered) == list(range(rows))
    pids = {row["worker"] for row in answered}
    assert len(pids) == workers, f"{len(pids)} of {workers} workers had rows: give more rows"
    of = lambda pid: [row for row in answered if row["worker"] == pid]
    began = max(min(row["began"] for row in of(pid)) for pid in pids)
    ended = min(max(row["ended"] for row in of(pid)) for pid in pids)
    # A batch that lies across an end counts by the share of its time.
    shares = [max(0, min(row["ended"], ended) - max(row["began"], began)) / (row["ended"] - row["began"]) for row in answered]
    return sum(shares) / (ended - began)


def main(rows=400, runs=3):
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": dict(os.environ)})
    found = [(rate(1, rows), rate(2, rows)) for _ in range(runs)]
    for one, two in found:
        print(f"one worker {one:.2f} rows/s, two workers {two:.2f}: {two / one:.2f}x")
    ratios = [two / one for one, two in found]
    print(f"median of {runs} runs: {statistics.median(ratios):.2f}x ({min(ratios):.2f} to {max(ratios):.2f})")


main(*map(int, sys.argv[1:]))
