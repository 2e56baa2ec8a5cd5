//! No part of a file is without effect: each key and each tensor is changed, taken away and renamed, and the model then
//! says something else, or an error names what is wrong.

mod convolved;
mod experts;
mod folder;
mod gguf;
#[path = "../gguf_file/mod.rs"]
mod gguf_file;
#[path = "../golden_folder/mod.rs"]
mod golden_folder;
#[expect(dead_code, reason = "another test uses more")]
#[path = "../hybrid/folder.rs"]
mod made;
mod mor;
mod options;
mod rwkv;

use foveate_core::Any;
use foveate_core::embedding::{Embedder, Options, Recipe};
use foveate_core::host::HostBackend;
use foveate_core::model::{Files, Model};
use foveate_core::session::{Input, Session};
use std::sync::Arc;

/// Longer than windows and original lengths of the models here.
const TOKENS: u32 = 24;

/// Everything that a file decides: logits, the context, and tokens that end a text.
type Outcome = (Vec<f32>, u32, Vec<u32>);

/// Runs the model of some files.
fn outcome(files: Result<Files, foveate_core::Error>) -> Result<Outcome, String> {
    let run = async {
        let backend = Any::Host(HostBackend::exact_cpu(1));
        let model = Arc::new(Model::load(backend, files?, &mut |_| Ok(())).await?);
        let (context, stops) = (model.config().context, model.config().stops.clone());
        let ids: Vec<u32> = (0..TOKENS).map(|i| (7 * i + i * i) % 32).collect();
        let mut logits = Vec::new();
        let mut session = Session::new(model.clone(), TOKENS)?;
        match session.logits(&ids, |rows| logits.extend_from_slice(rows)).await {
            // Some files hold none: hidden states, and the vector that they become.
            Err(error) if error.to_string().contains("no output product") => {
                session.hidden(Input::Tokens(&ids), |rows| logits.extend_from_slice(rows)).await?;
                let mut embedder = Embedder::new(model.clone(), Arc::new(Recipe::of(None, &model)))?;
                logits.extend(embedder.embed_tokens(&ids, 0, &Options::new()).await?);
            }
            other => other?,
        }
        Ok::<_, foveate_core::Error>((logits, context, stops))
    };
    pollster::block_on(run).map_err(|error| error.to_string())
}

/// What was done to a key or tensor.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Change {
    Changed,
    Removed,
    Renamed,
}

const CHANGES: [Change; 3] = [Change::Changed, Change::Removed, Change::Renamed];

/// What of a file had no effect, of which nothing may be left.
#[derive(Default)]
struct Findings(Vec<String>);

impl Findings {
    /// Notes a change without effect. A name that nobody knows is to be in the error, and so is a value that is refused by
    /// itself; a dimension may be refused by the name of a tensor that no longer fits.
    fn judge(&mut self, model: &str, key: &str, change: Change, base: &Outcome, got: Result<Outcome, String>) {
        let last = key.rsplit('.').next().unwrap_or(key);
        match got {
            Ok(got) if got == *base => self.0.push(format!("{model}: {key} {change:?}: nothing happens")),
            Ok(_) => {}
            Err(message) => {
                // The length of keys is the one that values must have; without its type a rotation has no use for factors.
                // What a flag does not speak of any more is left over.
                let told = ["attention.value_length", "rope_factors_long", "tensors have no place"]
                    .iter()
                    .any(|word| message.contains(word));
                let named = message.contains(last) || message.contains("tensor ") || told;
                if !named && change != Change::Changed {
                    self.0.push(format!("{model}: {key} {change:?}: {message}"));
                }
                assert!(!message.is_empty() && !message.contains('\n'), "{model}: {key}: {message:?}");
            }
        }
    }

    fn done(self) {
        assert!(self.0.is_empty(), "{}", self.0.join("\n"));
    }
}
