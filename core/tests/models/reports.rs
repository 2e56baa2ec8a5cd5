//! GGUF files made after public reports on other programs, with the losses and tokens that transformers and llama.cpp give.

use super::{golden, source};
use foveate_core::Any;
use foveate_core::model::{Files, Model};
use foveate_core::sample::{Sampler, Sampling};
use foveate_core::session::Session;
use foveate_core::weights::Checkpoint;
use libtest_mimic::Failed;
use std::sync::Arc;

/// A file and what is expected of it.
pub(crate) struct Report {
    /// Within the folder of reports; of a split model the first part.
    pub(crate) file: &'static str,
    /// How many parts it has.
    parts: u32,
    /// The mean loss of the text beside it, in nats.
    loss: Option<f64>,
    /// Greedy tokens after these bytes of that text, or after a prompt where there is none.
    greedy: (usize, &'static [u32]),
}

pub(crate) const ALL: &[Report] = &[
    Report {
        file: "gguf-llama-bias/attention.gguf",
        parts: 1,
        loss: Some(6.027265),
        greedy: (usize::MAX, &[104, 67, 22, 104, 137, 104, 67, 22]),
    },
    Report {
        file: "gguf-rope-freqs/model.gguf",
        parts: 1,
        loss: Some(5.858555),
        greedy: (200, &[212, 99, 99, 99, 99, 99, 99, 99]),
    },
    Report {
        file: "gguf-scale-linear/no-type.gguf",
        parts: 1,
        loss: Some(6.236337),
        greedy: (usize::MAX, &[193, 209, 91, 17, 91, 17, 91, 209]),
    },
    Report { file: "gguf-yarn/model.gguf", parts: 1, loss: Some(6.249474), greedy: (0, &[]) },
    Report { file: "gguf-split/m-00001-of-00003.gguf", parts: 3, loss: None, greedy: (0, &[242, 40, 83, 40]) },
];

pub(crate) fn run(backend: Any, report: &Report) -> Result<(), Failed> {
    let path = golden().join("reports").join(report.file);
    let part = |part: u32| source(&path.with_file_name(format!("m-{:05}-of-{:05}.gguf", part + 1, report.parts)));
    let parts = match report.parts {
        1 => vec![source(&path)?],
        // The last one first: their order does not matter.
        parts => (0..parts).rev().map(part).collect::<Result<_, _>>()?,
    };
    let files = Files::from_gguf(pollster::block_on(Checkpoint::gguf_parts(parts))?)?;
    let model = Arc::new(pollster::block_on(Model::load(backend, files, &mut |_| Ok(())))?);
    let text =
        if report.loss.is_some() { std::fs::read_to_string(path.with_file_name("text.txt"))? } else { "hi".into() };
    let encode = |text: &str| model.tokenizer()?.encode(text, true);
    if let Some(wanted) = report.loss {
        let ids = encode(&text)?;
        let losses = pollster::block_on(Session::new(model.clone(), ids.len() as u32)?.score(&ids))?;
        let mean = losses.iter().sum::<f64>() / losses.len() as f64;
        if (mean - wanted).abs() > 2e-6 {
            return Err(format!("a mean loss of {mean}, not {wanted}").into());
        }
    }
    let (bytes, wanted) = report.greedy;
    let prompt = if report.loss.is_some() { &text[..bytes.min(text.len())] } else { &text };
    if wanted.is_empty() {
        return Ok(());
    }
    let mut next = encode(prompt)?;
    let mut session = Session::new(model.clone(), (next.len() + wanted.len()) as u32)?;
    let (mut sampler, mut got) = (Sampler::new(Sampling::default())?, Vec::new());
    while got.len() < wanted.len() {
        let id = pollster::block_on(session.next(&next, &mut sampler))?;
        got.push(id);
        next = vec![id];
    }
    if got == wanted { Ok(()) } else { Err(format!("{got:?}, not {wanted:?}").into()) }
}
