//! Gemma 3 270M on the executors: sliding layers, blocks of 256, a SentencePiece vocabulary.

#[path = "support/golden_model.rs"]
mod golden_model;
mod support;

use golden_model::{Case, Share};
use libtest_mimic::Failed;
use serde_json::Value;
use std::path::Path;
use support::ensure;

fn words(model: &Path, golden: &Value) -> Result<(), Failed> {
    let files = foveate::open(model)?;
    let tokenizer = files.tokenizer.ok_or("no tokenizer")?;
    ensure(tokenizer.vocab_size() == 262_144, || format!("{} tokens", tokenizer.vocab_size()))?;
    let special = (tokenizer.bos(), tokenizer.eos(), tokenizer.eot());
    ensure(special == (Some(2), Some(1), Some(106)), || format!("{special:?}"))?;
    golden_model::licence(&tokenizer, golden)
}

fn main() {
    golden_model::run(Case {
        model: support::model("gemma-3-270m-q4_k_m.gguf"),
        golden: "gemma3-270m.json",
        words,
        // 268 million weights are 1.07 GB in f32.
        peak: 500 << 20,
        some: Share { prompts: 1, tokens: 4, scored: 5 },
    });
}
