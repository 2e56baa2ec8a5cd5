//! Chat templates, and when a text ends, as the command line meets them: files of reports, with the values of
//! transformers and llama.cpp.

// Models are for other tests.
#[allow(dead_code)]
mod support;

use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use support::ensure;

type Check = Result<(), Failed>;

fn run(arguments: &[&str], input: &str) -> Result<Output, Failed> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_foveate"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    // A program that refuses its arguments does not read.
    let _ = child.stdin.take().ok_or("no standard input")?.write_all(input.as_bytes());
    Ok(child.wait_with_output()?)
}

fn json(output: &Output) -> Result<Value, Failed> {
    let text = String::from_utf8_lossy(&output.stdout);
    ensure(output.status.success(), || format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr)))?;
    Ok(serde_json::from_str(text.trim())?)
}

/// Ends with status 1 and an error that says `words`.
fn refused(output: &Output, words: &[&str]) -> Check {
    let text = String::from_utf8_lossy(&output.stderr);
    ensure(output.status.code() == Some(1) && words.iter().all(|word| text.contains(word)), || {
        format!("expected an error with {words:?}: {} {text}", output.status)
    })
}

fn reports() -> Result<PathBuf, Failed> {
    Ok(support::golden().ok_or("no golden cases")?.join("reports"))
}

/// A copy of the small model of the reports, with a template.
fn model(template: &str) -> Result<tempfile::TempDir, Failed> {
    let folder = tempfile::tempdir()?;
    for entry in std::fs::read_dir(reports()?.join("chat-templates/hf"))? {
        let entry = entry?;
        std::fs::copy(entry.path(), folder.path().join(entry.file_name()))?;
    }
    std::fs::write(folder.path().join("chat_template.jinja"), template)?;
    Ok(folder)
}

fn chat(model: &Path, more: &[&str]) -> Result<Output, Failed> {
    let model = model.to_string_lossy();
    run(&[&["chat", "--model", &model, "--device", "cpu", "--json", "--max-tokens", "1"], more].concat(), "hi\u{e9}\n")
}

fn templates_of_reports_make_as_many_tokens_as_in_transformers() -> Check {
    let cases = reports()?.join("chat-templates");
    let mut compared = 0;
    for entry in std::fs::read_dir(cases.join("templates"))? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|name| name.to_str()).ok_or("a name")?.to_owned();
        // They write the day on which they run; core compares them with a clock that stands.
        if name.starts_with("strftime") {
            continue;
        }
        let folder = model(&std::fs::read_to_string(&path)?)?;
        let expected: u64 = std::fs::read_to_string(cases.join(format!("expected/{name}.count")))?.trim().parse()?;
        let report = json(&chat(folder.path(), &[])?)?;
        ensure(report["read"] == expected, || format!("{name}: expected {expected} tokens, got {report}"))?;
        compared += 1;
    }
    ensure(compared >= 8, || format!("only {compared} templates"))
}

fn chat_shows_why_a_template_does_not_compile() -> Check {
    refused(&chat(model("{% if %}")?.path(), &[])?, &["chat template", "syntax error"])
}

fn chat_gives_variables_and_tools_to_the_template() -> Check {
    let folder = model("{{ 'x' * n }}{{ tools[0].name }}{{ enable_thinking }}{{ word }}")?;
    let tools = folder.path().join("tools.json");
    std::fs::write(&tools, r#"[{"name": "f"}]"#)?;
    let tools = tools.to_string_lossy();
    let variables = ["--template-var", "n=3", "--template-var", "enable_thinking=false", "--template-var", "word=ab"];
    let report = json(&chat(folder.path(), &[&variables[..], &["--tools", &tools]].concat())?)?;
    // `xxxfFalseab`, a token a byte.
    ensure(report["read"] == 11, || report.to_string())?;
    refused(&chat(folder.path(), &["--template-var", "n"])?, &["--template-var", "NAME=VALUE"])?;
    refused(&chat(folder.path(), &["--tools", "/no/such"])?, &["/no/such"])
}

fn texts_end_at_control_tokens_that_the_file_does_not_list() -> Check {
    let file = reports()?.join("gguf-eog/qwen.gguf");
    let file = file.to_string_lossy();
    let output = run(&["generate", "a", "--model", &file, "--device", "cpu", "--max-tokens", "12", "--json"], "")?;
    let report = json(&output)?;
    ensure(report["ids"] == serde_json::json!([98, 257]) && report["stop"] == "eos", || report.to_string())
}

fn sentencepiece_without_bos_takes_the_usual_one() -> Check {
    let file = reports()?.join("gguf-spm-no-bos/model.gguf");
    let file = file.to_string_lossy();
    let output = run(&["generate", "hi", "--model", &file, "--device", "cpu", "--max-tokens", "4", "--json"], "")?;
    let report = json(&output)?;
    ensure(report["ids"] == serde_json::json!([236, 150, 36, 67]), || report.to_string())
}

fn folder_without_tokenizer_json_says_what_to_do() -> Check {
    let folder = model("x")?;
    std::fs::remove_file(folder.path().join("tokenizer.json"))?;
    std::fs::write(folder.path().join("tokenizer.model"), "x")?;
    refused(&chat(folder.path(), &[])?, &["no tokenizer.json", "tokenizer.model", "save_pretrained"])
}

fn main() {
    let arguments = Arguments::from_args();
    let golden = support::golden().is_some_and(|golden| golden.join("reports").exists());
    let given = |name: &str, test: fn() -> Check| Trial::test(name, test).with_ignored_flag(!golden);
    let trials = vec![
        given("templates_of_reports_make_as_many_tokens", templates_of_reports_make_as_many_tokens_as_in_transformers),
        given("chat_shows_why_a_template_does_not_compile", chat_shows_why_a_template_does_not_compile),
        given("chat_gives_variables_and_tools_to_the_template", chat_gives_variables_and_tools_to_the_template),
        given("texts_end_at_control_tokens", texts_end_at_control_tokens_that_the_file_does_not_list),
        given("sentencepiece_without_bos_takes_the_usual_one", sentencepiece_without_bos_takes_the_usual_one),
        given("folder_without_tokenizer_json_says_what_to_do", folder_without_tokenizer_json_says_what_to_do),
    ];
    libtest_mimic::run(&arguments, trials).exit();
}
