"""Rows that Spark and pyarrow write and read have the answers of `foveate batch`."""

import json
import random
import subprocess
import sys

import foveate
import pyarrow
import pyarrow.parquet
import pytest
from common import FLAGS, MODEL, PROGRAM

TOKENS = 4


def command(source, out, *flags):
    words = [PROGRAM, "batch", source, "--out", out, "--model", MODEL, "--max-tokens", TOKENS, "--device", "cpu"]
    return list(map(str, [*words, "--threads", 1, "--context", 256, *flags]))


def batch(source, out, *flags):
    """Runs `foveate batch`; returns the files of results."""
    subprocess.run(command(source, out, *flags), check=True, stderr=subprocess.DEVNULL)
    return sorted(path for path in out.iterdir() if path.suffix in (".jsonl", ".parquet"))


@pytest.fixture(scope="module")
def answered(tmp_path_factory):
    """A table of prompts as JSON lines and as Parquet, and its rows with the answers of `foveate batch`."""
    folder = tmp_path_factory.mktemp("rows")
    rows = [{"id": n, "prompt": f"{n} and"} for n in range(40)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "rows.parquet")
    [results] = batch(folder / "rows.jsonl", folder / "lines")
    found = [json.loads(line) for line in results.read_text().splitlines()]
    assert [row["id"] for row in found] == list(range(40))
    return folder, found


def test_batch_reads_and_writes_what_pyarrow_does(answered):
    folder, expected = answered
    [results] = batch(folder / "rows.parquet", folder / "tables")
    found = pyarrow.parquet.read_table(results)
    assert found.schema.field("id").type == pyarrow.int64() and found.schema.field("text").type == pyarrow.string()
    assert found.column("id").to_pylist() == [row["id"] for row in expected]
    assert found.column("text").to_pylist() == [row["text"] for row in expected]
    assert found.column("completion_tokens").to_pylist() == [row["usage"]["completion_tokens"] for row in expected]


@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "lz4"])
def test_batch_reads_chats_of_every_compression(answered, tmp_path, compression):
    rows = [{"id": "a", "messages": [{"role": "user", "content": "Hello"}]}, {"id": "b", "messages": None}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "rows.parquet", compression=compression)
    errors, results = batch(tmp_path / "rows.parquet", tmp_path / "out")
    found = pyarrow.parquet.read_table(results).to_pylist()
    assert [row["id"] for row in found] == ["a"] and found[0]["text"]
    [error] = [json.loads(line) for line in errors.read_text().splitlines()]
    assert error["id"] == "b" and error["row"] == 2 and "messages" in error["error"]["message"]


def test_vectors_and_scores_are_columns(answered, tmp_path):
    folder, _ = answered
    [results] = batch(folder / "rows.parquet", tmp_path / "vectors", "--task", "embed")
    vectors = pyarrow.parquet.read_table(results)
    assert {len(vector) for vector in vectors.column("vector").to_pylist()} == {576} and vectors.num_rows == 40
    [results] = batch(folder / "rows.parquet", tmp_path / "scores", "--task", "score")
    scores = pyarrow.parquet.read_table(results).to_pylist()
    assert [row["id"] for row in scores] == list(range(40)) and all(row["perplexity"] > 1 for row in scores)


def test_tables_go_on_behind_kills(answered, tmp_path):
    folder, expected = answered
    generator, kills = random.Random(11), 0
    for _ in range(10):
        run = subprocess.Popen(command(folder / "rows.parquet", tmp_path, "--shard-rows", 2), stderr=subprocess.DEVNULL)
        try:
            assert run.wait(generator.uniform(0.3, 1.5)) == 0
            break
        except subprocess.TimeoutExpired:
            run.kill()
            run.wait()
            kills += 1
    results = batch(folder / "rows.parquet", tmp_path, "--shard-rows", 2)
    found = [row for path in results for row in pyarrow.parquet.read_table(path).to_pylist()]
    assert kills > 0, "the rows were done before the first kill"
    assert [(row["id"], row["text"]) for row in found] == [(row["id"], row["text"]) for row in expected]


def test_spark_gives_the_rows_of_batch(answered, tmp_path, monkeypatch):
    """The recipe of README.md."""
    import pandas
    from pyspark.sql import SparkSession

    def answers(frames):
        generate = foveate.Generate(MODEL, options={"max_tokens": TOKENS}, flags=FLAGS)
        for frame in frames:
            yield pandas.DataFrame(generate(frame))

    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    folder, expected = answered
    spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
    try:
        rows = spark.read.parquet(str(folder / "rows.parquet")).repartition(2)
        found = rows.mapInPandas(answers, "id long, prompt string, text string, error string")
        found.write.parquet(str(tmp_path / "answers"))
        found = spark.read.parquet(str(tmp_path / "answers")).orderBy("id").collect()
        assert all(row.error == "" for row in found)
        assert [(row.id, row.text) for row in found] == [(row["id"], row["text"]) for row in expected]
        # `foveate batch` reads what Spark writes, and the other way round.
        rows.coalesce(1).write.parquet(str(tmp_path / "rows"))
        [written] = (tmp_path / "rows").glob("*.parquet")
        [results] = batch(written, tmp_path / "out")
        found = spark.read.parquet(str(results)).orderBy("id").collect()
        assert [(row.id, row.text) for row in found] == [(row["id"], row["text"]) for row in expected]
    finally:
        spark.stop()
