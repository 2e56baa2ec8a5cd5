//! Commands and flags around generating, with a small model that needs no download.

#[path = "support/adapter.rs"]
mod adapter;
#[allow(dead_code, reason = "of the data, models alone are needed")]
mod support;
#[path = "../../core/tests/tiny/mod.rs"]
mod tiny;

use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A folder with a small model in it, and the user's folders beside it.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let model = folder.path().join("model");
        std::fs::create_dir(&model).expect("a folder");
        for (name, bytes) in tiny::files() {
            std::fs::write(model.join(name), bytes).expect("a file");
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.path(name), text).expect("a file");
        self.path(name).to_string_lossy().into_owned()
    }

    fn run(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_foveate"));
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
            .env("FOVEATE_CACHE", self.path("cache"))
            .env("HF_HUB_CACHE", self.path("hub"))
            .env_remove("WGPU_ADAPTER_NAME");
        let mut child = command.spawn().expect("it starts");
        // A program that refuses its arguments does not read.
        let _ = child.stdin.take().expect("standard input").write_all(input.as_bytes());
        child.wait_with_output().expect("it ends")
    }

    fn generate(&self, more: &[&str]) -> Output {
        let model = self.path("model").to_string_lossy().into_owned();
        let first = ["generate", "the king and", "--model", &model, "--device", "cpu", "--max-tokens", "12"];
        self.run(&[&first[..], more].concat(), "")
    }

    #[track_caller]
    fn made(&self, more: &[&str]) -> Value {
        json_of(&self.generate(&[more, &["--json"]].concat()))
    }
}

#[track_caller]
fn json_of(output: &Output) -> Value {
    assert!(output.status.success(), "{}", shown(output));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", shown(output)))
}

fn shown(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    format!("{}\n{out}\n{err}", output.status)
}

#[track_caller]
fn refused(output: &Output, word: &str) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains(word) && !text.contains("panicked"), "{}", shown(output));
}

const DRAWN: [&str; 5] = ["--temperature", "1.2", "--seed", "4", "--ignore-eos"];

#[test]
fn generate_follows_beams() {
    let place = Place::new();
    let greedy = place.made(&["--ignore-eos"]);
    let one = place.made(&["--ignore-eos", "--num-beams", "1"]);
    assert_eq!((&one["ids"], &one["text"]), (&greedy["ids"], &greedy["text"]));
    let four = place.made(&["--ignore-eos", "--num-beams", "4", "--n", "3", "--length-penalty", "0.5"]);
    let answers = four["answers"].as_array().expect("answers");
    assert_eq!(answers.len(), 3);
    let scores: Vec<f64> = answers.iter().map(|answer| answer["score"].as_f64().expect("a score")).collect();
    assert!(scores.windows(2).all(|pair| pair[0] >= pair[1]), "{four}");
    assert_eq!(four["ids"], answers[0]["ids"]);
    assert!(four["cost"]["steps"].as_u64() <= Some(12), "{four}");
    let text = place.generate(&["--ignore-eos", "--num-beams", "4", "--length-penalty", "0.5"]);
    let printed = String::from_utf8_lossy(&text.stdout).into_owned();
    assert_eq!(printed, format!("{}\n", four["text"].as_str().expect("a text")));
    refused(&place.generate(&["--num-beams", "2", "--n", "3"]), "--n must be 1 to 2");
    refused(&place.generate(&["--num-beams", "2", "--temperature", "1"]), "temperature");
    refused(&place.generate(&["--num-beams", "2", "--best-of", "3"]), "cannot be used with");
    refused(&place.generate(&["--length-penalty", "2"]), "--num-beams");
    refused(
        &place.generate(&["--num-beams", "2", "--logprobs", "1", "--json"]),
        "a beam search and logprobs do not combine",
    );
}

#[test]
fn generate_searches_under_constraints() {
    let place = Place::new();
    for way in [
        &["--num-beams", "3"][..],
        &["--penalty-alpha", "0.6", "--top-k", "4"],
        &["--best-of", "3"],
        &["--cautious", "3"],
    ] {
        let found = place.made(&[way, &["--regex", "[a-c]{4}"]].concat());
        let text = found["text"].as_str().expect("a text");
        assert!(text.len() == 4 && text.bytes().all(|b| b"abc".contains(&b)), "{way:?}: {found}");
    }
}

#[test]
fn prediction_head_that_is_not_there_is_an_error() {
    let place = Place::new();
    refused(&place.generate(&["--speculate", "mtp"]), "--speculate mtp: the files have no head");
    refused(&place.generate(&["--speculate", "mtp", "--n", "2"]), "--n and --speculate mtp do not combine");
}

#[test]
fn generate_searches_and_guides() {
    let place = Place::new();
    let greedy = place.made(&["--ignore-eos"]);
    assert_eq!(place.made(&["--ignore-eos", "--penalty-alpha", "0"])["ids"], greedy["ids"]);
    let searched = place.made(&["--ignore-eos", "--penalty-alpha", "0.6", "--top-k", "5"]);
    assert_eq!(searched["cost"]["tokens"].as_u64(), Some(5 * 12), "{searched}");
    let plain = place.made(&DRAWN);
    assert_eq!(place.made(&[&DRAWN[..], &["--guidance", "1"]].concat())["ids"], plain["ids"]);
    let away = ["--guidance", "3", "--negative-prompt", "the thing"];
    let pushed = place.made(&[&DRAWN[..], &away].concat());
    assert_ne!(pushed["ids"], plain["ids"]);
    let printed = place.generate(&[&DRAWN[..], &away].concat());
    assert_eq!(String::from_utf8_lossy(&printed.stdout), format!("{}\n", pushed["text"].as_str().expect("a text")));
}

#[test]
fn generate_draws_trials() {
    let place = Place::new();
    let several = place.made(&[&DRAWN[..], &["--n", "4"]].concat());
    let best = place.made(&[&DRAWN[..], &["--best-of", "4", "--n", "4"]].concat());
    let ids = |report: &Value| {
        let answers = report["answers"].as_array().expect("answers").clone();
        let mut all: Vec<String> = answers.iter().map(|answer| answer["ids"].to_string()).collect();
        all.sort();
        all
    };
    assert_eq!(ids(&best), ids(&several), "the draws are those of --n");
    let means: Vec<f64> =
        best["answers"].as_array().expect("answers").iter().filter_map(|a| a["mean_logprob"].as_f64()).collect();
    assert!(means.len() == 4 && means.windows(2).all(|pair| pair[0] >= pair[1]), "{best}");
    assert_eq!(place.made(&[&DRAWN[..], &["--best-of", "4"]].concat())["ids"], best["ids"]);
    let cautious = place.made(&[&DRAWN[..], &["--cautious", "5"]].concat());
    assert!(cautious["trials"].as_array().is_some_and(|trials| !trials.is_empty()), "{cautious}");
    for weights in ["count", "probability", "pruned"] {
        let agreed = ["--consensus", "6", "--weights", weights, "--result", "text"];
        let agreed = place.made(&[&DRAWN[..], &agreed].concat());
        assert_eq!(agreed["text"].as_str().map(str::trim), agreed["result"].as_str(), "{agreed}");
        assert_eq!(agreed["counted"].as_array().map(Vec::len), Some(6));
    }
    let tried = place.made(&["--try-prompt", "and ", "--try-prompt", "thing\n"]);
    let chosen = tried["prompts"]["chosen"].as_u64().expect("a number") as usize;
    let perplexities = tried["prompts"]["perplexities"].as_array().expect("numbers");
    assert!(perplexities.iter().all(|p| p.as_f64() >= perplexities[chosen].as_f64()), "{tried}");
}

#[test]
fn generate_echoes_with_probabilities() {
    let place = Place::new();
    let report = place.made(&["--echo", "--logprobs", "2", "--ignore-eos"]);
    assert_eq!(report["prompt"], "the king and");
    let prompt = report["prompt_logprobs"].as_array().expect("tokens");
    assert_eq!(prompt.len(), report["prompt_ids"].as_array().expect("ids").len());
    assert!(prompt[0]["logprob"].is_null() && prompt[1]["logprob"].as_f64() < Some(0.0), "{report}");
    let answer = report["logprobs"].as_array().expect("tokens");
    assert_eq!(answer.len(), 12);
    let own = |token: &Value| token["logprob"].as_f64().zip(token["top"][0]["logprob"].as_f64());
    let likeliest = |token: &Value| token["rank"] == 0 && own(token).is_some_and(|(a, b)| (a - b).abs() < 1e-9);
    assert!(answer.iter().all(likeliest), "{report}");
    let printed = place.generate(&["--echo", "--ignore-eos"]);
    let whole = format!("the king and{}\n", report["text"].as_str().expect("a text"));
    assert_eq!(String::from_utf8_lossy(&printed.stdout), whole);
}

#[test]
fn generate_and_chat_take_adapters() {
    let place = Place::new();
    let path = adapter::write(&place.path("adapter"), &adapter::config());
    let plain = place.made(&DRAWN);
    let with = |more: &str| place.made(&[&DRAWN[..], &["--lora", more]].concat());
    assert_ne!(with(&path)["ids"], plain["ids"]);
    assert_eq!(with(&format!("{path}:0"))["ids"], plain["ids"]);
    assert_eq!(with(&format!("{path}:1.0"))["ids"], with(&path)["ids"]);
    assert_ne!(with(&path)["fingerprint"], plain["fingerprint"]);
    let model = place.path("model").to_string_lossy().into_owned();
    let chat = ["chat", "--model", &model, "--device", "cpu", "--json", "--max-tokens", "8", "--temperature", "1.2"];
    let answer = |more: &[&str]| json_of(&place.run(&[&chat[..], more].concat(), "the king\n"));
    assert_ne!(answer(&["--lora", &path])["ids"], answer(&[])["ids"]);
    refused(&place.generate(&["--lora", &format!("{path}:x")]), "--lora must be PATH");
    refused(&place.generate(&["--lora", "no-such-adapter"]), "no-such-adapter");
    refused(&place.generate(&["--lora", &model]), "adapter_config.json");
    let dora = json!({"peft_type": "LORA", "lora_alpha": 4, "use_dora": true});
    let dora = adapter::write(&place.path("dora"), &dora);
    refused(&place.generate(&["--lora", &dora]), "use_dora");
}

#[test]
fn conversations_follow_commands() {
    let place = Place::new();
    let model = place.path("model").to_string_lossy().into_owned();
    let notes = place.write("notes.txt", "the thing");
    let saved = place.path("saved.json").to_string_lossy().into_owned();
    let chat = ["chat", "--model", &model, "--device", "cpu", "--json", "--max-tokens", "6", "--temperature", "1"];
    let talk = |input: &str| {
        let output = place.run(&chat, input);
        assert!(output.status.success(), "{}", shown(&output));
        let lines = String::from_utf8_lossy(&output.stdout).into_owned();
        let answers: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        (answers, String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (first, _) = talk("the king\n");
    // Taken back, a message is answered as if nothing had been said before.
    let (answers, said) = talk("and then\n/undo\nthe king\n/clear\nthe king\n/help\n");
    assert_eq!((answers.len(), &answers[1]["text"], &answers[2]["text"]), (3, &first[0]["text"], &first[0]["text"]));
    assert!(said.contains("/undo") && said.contains("taken back"), "{said}");
    let (answers, _) = talk("the king\n/retry\n/set temperature=0\nthe king\n");
    assert_eq!(answers.len(), 3);
    assert_ne!(answers[1]["text"], answers[0]["text"], "other draws");
    let (answers, _) = talk(&format!("/system be brief\nthe king\n/save {saved}\n"));
    let messages: Value = serde_json::from_str(&std::fs::read_to_string(&saved).expect("a file")).expect("JSON");
    assert_eq!(messages[0], json!({"role": "system", "content": "be brief"}));
    assert_eq!((&messages[1]["content"], &messages[2]["content"]), (&json!("the king"), &answers[0]["text"]));
    let (loaded, _) = talk(&format!("/load {saved}\nand then\n"));
    let (whole, _) = talk("/system be brief\nthe king\nand then\n");
    assert_eq!(loaded[0]["text"], whole[1]["text"]);
    // A file, and a message of two lines.
    let (file, _) = talk(&format!("/file {notes} the king\n"));
    let (block, _) = talk("\"\"\"the king\n\nthe thing\"\"\"\n");
    assert_eq!(file[0]["text"], block[0]["text"]);
    assert_eq!(file[0]["read"], block[0]["read"]);
    // Elsewhere than on a terminal, a line that is no command is a message.
    assert_eq!(talk("/usr/bin is a folder\n/exit\nthe king\n").0.len(), 1);
    // Several answers to a message; the first one stays.
    let more =
        ["chat", "--model", &model, "--device", "cpu", "--json", "--max-tokens", "6", "--temperature", "1", "--n", "3"];
    let output = place.run(&more, "the king\nand then\n");
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let answers: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let (plain, _) = talk("the king\nand then\n");
    assert_eq!((answers.len(), &answers[0]["text"], &answers[3]["text"]), (6, &plain[0]["text"], &plain[1]["text"]));
    assert_ne!(answers[1]["text"], answers[0]["text"]);
    refused(&place.run(&chat, "/set temperature=hot\n"), "/set temperature needs a number");
    refused(&place.run(&chat, "/set typicl=1\n"), "did you mean typical");
    refused(&place.run(&chat, "/load nowhere.json\n"), "nowhere.json");
}

#[test]
fn models_are_described_listed_and_deleted() {
    let place = Place::new();
    let model = place.path("model").to_string_lossy().into_owned();
    let about = json_of(&place.run(&["info", &model, "--json"], ""));
    assert_eq!(
        (&about["architecture"], &about["layers"], &about["chat_template"]),
        (&json!("llama"), &json!(2), &json!(true))
    );
    let text = place.run(&["info", &model], "");
    assert!(String::from_utf8_lossy(&text.stdout).contains("architecture:"), "{}", shown(&text));
    let split = json_of(&place.run(&["tokenize", "the king", "--model", &model, "--json"], ""));
    assert_eq!(split["text"], "the king");
    let ids = split["ids"].to_string();
    let spelled = place.run(&["tokenize", "--decode", &ids, "--model", &model], "");
    assert_eq!(String::from_utf8_lossy(&spelled.stdout), "the king\n");
    refused(&place.run(&["tokenize", "--decode", "x", "--model", &model], ""), "--decode takes ids");
    // A model of the hub, as its cache keeps it.
    let folder = place.path("hub").join("models--some--model");
    let snapshot = folder.join("snapshots").join("abc");
    std::fs::create_dir_all(folder.join("refs")).expect("a folder");
    std::fs::write(folder.join("refs").join("main"), "abc").expect("a file");
    copy(Path::new(&model), &snapshot);
    let listed = json_of(&place.run(&["list", "--json"], ""));
    assert_eq!(listed["name"], "some/model");
    assert!(listed["bytes"].as_u64() > Some(10_000), "{listed}");
    refused(&place.run(&["rm", "some/other"], ""), "some/other");
    let gone = place.run(&["rm", "some/model"], "");
    assert!(gone.status.success() && !folder.exists(), "{}", shown(&gone));
    assert!(place.path("model").exists());
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder").flatten() {
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("a file");
    }
}

#[test]
fn shells_and_manuals_know_every_command() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = place.run(&["completions", shell], "");
        let text = String::from_utf8_lossy(&script.stdout).into_owned();
        assert!(script.status.success() && text.contains("tokenize") && text.contains("num-beams"), "{shell}");
    }
    let page = String::from_utf8_lossy(&place.run(&["man"], "").stdout).into_owned();
    for word in [".TH", "num\\-beams", "FOVEATE_CACHE", "tokenize"] {
        assert!(page.contains(word), "the manual has no {word}");
    }
    let help = String::from_utf8_lossy(&place.run(&["--help"], "").stdout).into_owned();
    assert!(help.contains("WGPU_ADAPTER_NAME") && !help.contains("completions"), "{help}");
}

#[test]
fn devices_have_numbers() {
    let place = Place::new();
    let model = place.path("model").to_string_lossy().into_owned();
    let on = |device: &str| place.run(&["generate", "the", "--model", &model, "--device", device], "");
    refused(&on("gpu:77"), "no GPU adapter 77");
    refused(&on("gpu:x"), "possible values");
    refused(&on("tpu"), "reference");
}

/// Log-likelihoods of the tasks in `data/tasks.jsonl` by lm-evaluation-harness 0.4.13 (`HFLM`, transformers 5.24, the GGUF
/// file decoded, the model in float64), with windows of 2048 and of 64 tokens.
#[test]
fn eval_gives_the_numbers_of_the_harness() {
    let place = Place::new();
    let tasks = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tasks.jsonl");
    let known: Value = serde_json::from_str(include_str!("data/harness.json")).expect("JSON");
    let Some(model) = support::model("SmolLM2-135M-Instruct.Q4_1.gguf") else {
        return println!("ignored: no model");
    };
    let model = model.to_string_lossy().into_owned();
    for window in ["2048", "64"] {
        let eval = ["eval", tasks, "--model", &model, "--device", "cpu", "--exact", "--context", window, "--json"];
        let report = json_of(&place.run(&eval, ""));
        let mut compared = 0;
        for (at, want) in known[window].as_array().expect("numbers").iter().enumerate() {
            let got = &report["results"][at];
            let near = |got: &Value, want: &Value| {
                let (got, want) = (got.as_f64().expect("a number"), want.as_f64().expect("a number"));
                assert!((got - want).abs() < 1e-3, "window {window}, task {at}: {got} instead of {want}");
            };
            match want.as_array() {
                None if want.is_null() => continue,
                None => near(&got["loglikelihood"], want),
                Some(pair) if pair.len() == 2 && pair[1].is_boolean() => {
                    near(&got["loglikelihood"], &pair[0]);
                    assert_eq!(got["greedy"], pair[1], "task {at}");
                }
                Some(all) => {
                    let got = got["loglikelihoods"].as_array().expect("numbers");
                    assert_eq!(got.len(), all.len());
                    got.iter().zip(all).for_each(|(got, want)| near(got, want));
                }
            }
            compared += 1;
        }
        assert_eq!(compared, if window == "2048" { 25 } else { 3 });
    }
}
