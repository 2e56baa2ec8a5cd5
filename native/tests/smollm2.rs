//! SmolLM2-135M on the executors, with its conversation.

#[path = "support/golden_model.rs"]
mod golden_model;
mod support;

use foveate::chat::Message;
use golden_model::{Case, Share, ids};
use libtest_mimic::Failed;
use serde_json::Value;
use std::path::Path;
use support::ensure;

fn words(model: &Path, golden: &Value) -> Result<(), Failed> {
    let files = foveate::open(model)?;
    let (tokenizer, template) = (files.tokenizer.ok_or("no tokenizer")?, files.template.ok_or("no template")?);
    let rendered = template.render(&[Message::new("user", "Name three fruits.")], true)?;
    ensure(Some(rendered.as_str()) == golden["chat"]["rendered"].as_str(), || format!("rendered: {rendered:?}"))?;
    let chat = tokenizer.encode(&rendered, false)?;
    ensure(chat == ids(&golden["chat"]["ids"]), || format!("ids of the conversation: {chat:?}"))?;
    golden_model::licence(&tokenizer, golden)
}

fn main() {
    golden_model::run(Case {
        model: support::model("SmolLM2-135M-Instruct.Q4_1.gguf"),
        golden: "smollm2.json",
        words,
        // 135 million weights are 540 MB in f32.
        peak: 400 << 20,
        some: Share { prompts: 1, tokens: 8, scored: 9 },
    });
}
