//! Chat templates against transformers' own rendering: see `core/tests/data/templates/render.py`.

use std::path::{Path, PathBuf};

use foveate_core::chat::{DateTime, Inputs, Message, Template};
use serde_json::Value;

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/templates")
}

fn json(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(data().join(name)).unwrap()).unwrap()
}

/// Where the clock of `render.py` stands.
fn clock() -> DateTime {
    DateTime::new(2026, 3, 9).unwrap().at(7, 5, 2).unwrap()
}

/// What differs from an expected text, or from an expected refusal, which is null.
fn difference(name: &str, got: foveate_core::Result<String>, expected: &Value) -> Option<String> {
    match (got, expected.as_str()) {
        (Ok(got), Some(expected)) if got == expected => None,
        (Err(_), None) => None,
        (got, expected) => Some(format!("{name}\nexpected {expected:?}\ngot      {got:?}\n")),
    }
}

#[test]
fn templates_of_popular_models_render_as_in_transformers() {
    let rendered = json("rendered.json");
    let (mut wrong, mut texts) = (Vec::new(), 0);
    let templates = rendered["expected"].as_object().unwrap();
    assert!(templates.len() >= 20);
    for (name, cases) in templates {
        let source = std::fs::read_to_string(data().join(format!("{name}.jinja"))).unwrap();
        let token = |role: &str| rendered["tokens"][role].as_str();
        let template =
            Template::from_source(&source, token("bos_token"), token("eos_token")).unwrap().with_now(clock());
        for (case, expected) in cases.as_object().unwrap() {
            let given = &rendered["cases"][case];
            let messages: Vec<Message> = serde_json::from_value(given["messages"].clone()).unwrap();
            let inputs: Inputs = serde_json::from_value(given["inputs"].clone()).unwrap();
            texts += usize::from(expected.is_string());
            wrong.extend(difference(&format!("{name}, {case}"), template.render_with(&messages, &inputs), expected));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(texts > 150, "only {texts} texts were compared");
}

#[test]
fn expressions_come_out_as_in_transformers() {
    let mut variables = json("context.json").as_object().unwrap().clone();
    let mut take = |name: &str| variables.remove(name).unwrap();
    let messages: Vec<Message> = serde_json::from_value(take("messages")).unwrap();
    let tools = serde_json::from_value(take("tools")).unwrap();
    assert_eq!(take("add_generation_prompt"), true);
    let inputs = Inputs::prompt().tools(tools).variables(variables);
    let mut wrong = Vec::new();
    let all = json("expressions.json");
    let all = all.as_array().unwrap();
    assert!(all.len() > 200);
    for pair in all {
        let source = pair[0].as_str().unwrap();
        let got = Template::from_source(source, None, None);
        let got = got.and_then(|template| template.with_now(clock()).render_with(&messages, &inputs));
        wrong.extend(difference(source, got, &pair[1]));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn templates_of_reports_render_as_in_transformers() {
    let Some(folder) = crate::golden::cases("reports/chat-templates") else { return };
    let messages: Vec<Message> = serde_json::from_slice(&std::fs::read(folder.join("messages.json")).unwrap()).unwrap();
    let mut compared = 0;
    for entry in std::fs::read_dir(folder.join("templates")).unwrap() {
        let path = entry.unwrap().path();
        let source = std::fs::read_to_string(&path).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let expected = std::fs::read_to_string(folder.join(format!("expected/{name}.txt"))).unwrap();
        let now = DateTime::new(2026, 11, 28).unwrap();
        let template = Template::from_source(&source, None, Some("<|im_end|>")).unwrap().with_now(now);
        assert_eq!(template.render(&messages, true).unwrap(), expected, "{name}");
        compared += 1;
    }
    assert!(compared >= 10, "only {compared} templates");
}
