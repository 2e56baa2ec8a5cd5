//! `foveate serve` and `foveate batch` as a user meets them.

use super::{Check, adapter, ensure, foveate, refused, run, shown, tiny};
use libtest_mimic::Failed;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::Stdio;

/// A folder with the small model and inputs of a batch: rows of all kinds, two of which are bad.
fn folder() -> Result<tempfile::TempDir, Failed> {
    let folder = tempfile::tempdir()?;
    std::fs::create_dir(folder.path().join("model"))?;
    for (name, bytes) in tiny::files() {
        std::fs::write(folder.path().join("model").join(name), bytes)?;
    }
    let rows = [
        r#"{"id": 1, "prompt": "the king"}"#,
        r#"{"id": "two", "messages": [{"role": "user", "content": "and"}]}"#,
        "",
        r#"{"id": 3}"#,
        r#"{"custom_id": "four", "url": "/v1/completions", "body": {"prompt": "an", "max_tokens": 3, "temperature": 0}}"#,
        "no JSON",
        r#"{"id": 6, "prompt": "ing"}"#,
    ];
    std::fs::write(folder.path().join("rows.jsonl"), rows.join("\n"))?;
    Ok(folder)
}

fn batch(folder: &Path, more: &[&str]) -> std::process::Command {
    let mut command = foveate(&["batch", "rows.jsonl", "--out", "out", "--model", "model", "--device", "cpu"]);
    command.args(["--threads", "1", "--max-tokens", "8", "--shard-rows", "2"]).args(more).current_dir(folder);
    command
}

/// The rows of a file of results.
fn rows(folder: &Path, name: &str) -> Result<Vec<Value>, Failed> {
    let text = std::fs::read_to_string(folder.join("out").join(name))?;
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

pub(super) fn batch_answers_every_row_once() -> Check {
    let folder = folder()?;
    let folder = folder.path();
    let output = batch(folder, &[]).output()?;
    ensure(output.status.success(), || shown(&output))?;
    let names = ["000-rows-000000.jsonl", "000-rows-000001.jsonl", "000-rows-000002.jsonl"];
    let all = || names.iter().map(|name| rows(folder, name)).collect::<Result<Vec<_>, Failed>>();
    let first = all()?;
    let found = first.concat();
    let ids: Vec<String> = found.iter().map(|row| row.get("id").unwrap_or(&row["custom_id"]).to_string()).collect();
    ensure(ids == ["1", "\"two\"", "\"four\"", "6"], || format!("{found:?}"))?;
    ensure(found[0]["text"].is_string() && found[2]["response"]["status_code"] == 200, || format!("{found:?}"))?;
    let wrong = [rows(folder, "000-rows-000001.errors.jsonl")?, rows(folder, "000-rows-000002.errors.jsonl")?].concat();
    let wrong: Vec<(&Value, &Value)> = wrong.iter().map(|row| (&row["id"], &row["line"])).collect();
    ensure(wrong == [(&3.into(), &4.into()), (&Value::Null, &6.into())], || format!("{wrong:?}"))?;

    // As a kill leaves it: a shard that the manifest does not name, and another one half written.
    let path = folder.join("out/manifest.json");
    let mut manifest: Value = serde_json::from_str(&std::fs::read_to_string(&path)?)?;
    let named = manifest["shards"].as_object_mut().ok_or("no shards")?;
    ensure(named.len() == 3, || format!("{named:?}"))?;
    named.remove("000-rows-000001");
    named.remove("000-rows-000002");
    std::fs::write(&path, manifest.to_string())?;
    std::fs::remove_file(folder.join("out").join(names[2]))?;
    std::fs::write(folder.join("out").join(format!("{}.tmp", names[2])), "{\"id\"")?;
    let output = batch(folder, &[]).output()?;
    ensure(output.status.success() && !shown(&output).contains("000-rows-000000"), || shown(&output))?;
    let second = all()?;
    // OpenAI's rows carry names of their own.
    let texts = |all: &[Vec<Value>]| all.concat().iter().map(|row| row["text"].clone()).collect::<Vec<_>>();
    ensure(texts(&first) == texts(&second), || format!("{first:?} and {second:?}"))?;
    ensure(!folder.join("out").join(format!("{}.tmp", names[2])).exists(), || "half a shard was left".into())?;
    refused(&batch(folder, &["--seed", "1"]).output()?, &["other settings", "--out"])?;

    // Two runs would write the same files.
    let lock = std::fs::File::open(folder.join("out/.lock"))?;
    lock.lock()?;
    refused(&batch(folder, &[]).output()?, &["another run", "--out"])?;
    drop(lock);
    // The last shard would not have the new row.
    let mut input = std::fs::OpenOptions::new().append(true).open(folder.join("rows.jsonl"))?;
    input.write_all(b"\n{\"id\": 7, \"prompt\": \"a\"}\n")?;
    refused(&batch(folder, &[]).output()?, &["other settings", "--out"])
}

/// Rows of a table have the answers of the same rows as JSON lines.
pub(super) fn batch_reads_and_writes_parquet() -> Check {
    let folder = folder()?;
    let folder = folder.path();
    let done = |input: &str, out: &str, more: &[&str]| -> Result<Vec<Value>, Failed> {
        let mut command = foveate(&["batch", input, "--out", out, "--model", "model", "--device", "cpu"]);
        command.args(["--threads", "1", "--max-tokens", "8", "--task", "generate"]).args(more).current_dir(folder);
        let output = command.output()?;
        ensure(output.status.success(), || shown(&output))?;
        let mut files =
            std::fs::read_dir(folder.join(out))?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, Failed>>()?;
        files.sort();
        let mut found = Vec::new();
        for path in files.iter().filter(|path| path.extension().is_some_and(|extension| extension == "jsonl")) {
            for line in std::fs::read_to_string(path)?.lines() {
                found.push(serde_json::from_str(line)?);
            }
        }
        Ok(found)
    };
    let wrong = done("rows.jsonl", "table", &["--format", "parquet"])?;
    let reasons = wrong.iter().map(|row| row["error"]["message"].as_str().unwrap_or_default()).collect::<Vec<_>>();
    ensure(wrong.len() == 4 && reasons[2].contains("--format jsonl"), || format!("{wrong:?}"))?;
    let from_table = done("table/000-rows-000000.parquet", "a", &["--format", "jsonl", "--shard-rows", "1"])?;

    let lines = done("rows.jsonl", "lines", &[])?;
    let lines = lines.iter().filter(|row| row["text"].is_string()).map(Value::to_string).collect::<Vec<_>>();
    std::fs::write(folder.join("again.jsonl"), lines.join("\n"))?;
    let from_lines = done("again.jsonl", "b", &[])?;
    let texts = |rows: &[Value]| rows.iter().map(|row| row["text"].clone()).collect::<Vec<_>>();
    ensure(texts(&from_table) == texts(&from_lines), || format!("{from_table:?} and {from_lines:?}"))?;
    let ids = from_table.iter().map(|row| row["id"].to_string()).collect::<Vec<_>>();
    // A column has one type: ids of lines are texts in it.
    ensure(ids == ["\"1\"", "\"6\""], || format!("{ids:?}"))
}

pub(super) fn batch_embeds_and_scores() -> Check {
    let folder = folder()?;
    for (task, key) in [("embed", "vector"), ("score", "mean_nll")] {
        let out = folder.path().join("out");
        let output = batch(folder.path(), &["--task", task]).output()?;
        ensure(output.status.success(), || shown(&output))?;
        let found = rows(folder.path(), "000-rows-000000.jsonl")?;
        ensure(found.len() == 1 && !found[0][key].is_null(), || format!("{task}: {found:?}"))?;
        std::fs::remove_dir_all(out)?;
    }
    Ok(())
}

/// It tells its address, answers, and ends with status 0 when it is asked to.
#[cfg(unix)]
pub(super) fn serve_answers_until_it_is_stopped() -> Check {
    let folder = folder()?;
    let model = folder.path().join("model");
    let model = model.to_str().ok_or("UTF-8")?;
    let config = folder.path().join("serve.toml");
    std::fs::write(
        &config,
        format!(
            "model = [{model:?}]\nlora = [\"tuned={}\"]\nport = 1\nthreads = 1\nlog = 'requests'\nsteered_logprobs = 0\n",
            adapter::write(&folder.path().join("adapter"), &adapter::config()).escape_default()
        ),
    )?;
    let config = config.to_str().ok_or("UTF-8")?;
    let mut server = foveate(&["serve", "--config", config, "--port", "0", "--device", "cpu"]);
    let mut server = server.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut out = BufReader::new(server.stdout.take().ok_or("no standard output")?);
    let mut line = String::new();
    out.read_line(&mut line)?;
    let address = line.trim().strip_prefix("listening on http://").ok_or_else(|| line.clone())?;
    let mut stream = std::net::TcpStream::connect(address)?;
    stream.write_all(b"GET /v1/models HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let has = |text: &str| answer.contains(text);
    let listed = has("\"id\":\"model\"") && has("\"id\":\"tuned\"") && has("\"parent\":\"model\"");
    ensure(answer.starts_with("HTTP/1.0 200") && listed, || answer.clone())?;
    let killed = std::process::Command::new("kill").arg(server.id().to_string()).status()?;
    ensure(killed.success(), || "no signal was sent".into())?;
    let status = server.wait()?;
    ensure(status.success(), || format!("{status}"))?;
    let mut log = String::new();
    server.stderr.take().ok_or("no standard error")?.read_to_string(&mut log)?;
    let line = log.lines().find(|line| line.starts_with('{')).ok_or_else(|| log.clone())?;
    let line: Value = serde_json::from_str(line).map_err(|error| format!("{error}: {line}"))?;
    ensure(line["path"] == "/v1/models" && line["status"] == 200, || line.to_string())?;
    std::fs::write(config, "port = 'many'\n")?;
    refused(&run(&["serve", "--config", config])?, &["serve.toml", "--port"])?;
    let with =
        |lora: &[&str]| run(&[&["serve", "--port", "0", "--device", "cpu", "--model", model][..], lora].concat());
    refused(&with(&["--lora", "tuned"])?, &["--lora must be NAME=PATH", "\"tuned\""])?;
    refused(&with(&["--lora", "model=elsewhere"])?, &["--lora", "another model \"model\""])?;
    refused(&with(&["--lora", "tuned=no-such-adapter"])?, &["no-such-adapter"])?;
    refused(&with(&["--model", model, "--lora", "tuned=elsewhere"])?, &["--lora needs a single --model"])?;
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let port = taken.local_addr()?.port().to_string();
    refused(&run(&["serve", "--model", model, "--port", &port])?, &["cannot listen on 127.0.0.1", &port])
}

pub(super) fn batch_refuses_inputs_without_rows() -> Check {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("rows.jsonl"), "\n\n")?;
    refused(&batch(folder.path(), &[]).output()?, &["no rows"])?;
    std::fs::remove_file(folder.path().join("rows.jsonl"))?;
    refused(&batch(folder.path(), &[]).output()?, &["rows.jsonl"])?;
    refused(&batch(folder.path(), &["--temperature", "nan"]).output()?, &["--temperature must be 0 to 2, got NaN"])
}
