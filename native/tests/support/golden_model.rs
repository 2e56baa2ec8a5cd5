//! A real model on the executors: ids, greedy tokens and a loss that transformers computed in float32.
//!
//! The smallest gap between best and second best logit along the greedy paths is in the golden file: an executor in f32
//! reproduces them.

use crate::support::{self, ensure};
use foveate::gpu;
use foveate::model::Model;
use foveate::session::Session;
use foveate::tokenizer::Tokenizer;
use foveate::{Any, Backend};
use foveate::{Device, Options, Products, wait};
use foveate::{Sampler, Sampling};
use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// A model and what is expected of it.
pub(crate) struct Case {
    pub(crate) model: Option<PathBuf>,
    /// The file among the golden cases.
    pub(crate) golden: &'static str,
    /// What no executor touches.
    pub(crate) words: fn(&Path, &Value) -> Result<(), Failed>,
    /// Bytes of device memory that must do, on the processor and on a GPU.
    pub(crate) peak: u64,
    /// On a GPU, which may be a software driver.
    pub(crate) some: Share,
}

/// How much of it is run: a software driver takes minutes for what the processor does in seconds.
#[derive(Clone, Copy)]
pub(crate) struct Share {
    pub(crate) prompts: usize,
    pub(crate) tokens: usize,
    /// Tokens of the text whose loss is compared: with the golden mean if all, else with the first losses.
    pub(crate) scored: usize,
}

const ALL: Share = Share { prompts: usize::MAX, tokens: usize::MAX, scored: 513 };
/// Of the form in f32, which is slower: a prompt, and the first losses.
const EXACT: Share = Share { prompts: 1, tokens: usize::MAX, scored: 65 };

pub(crate) fn ids(value: &Value) -> Vec<u32> {
    value.as_array().into_iter().flatten().filter_map(|id| id.as_u64()).map(|id| id as u32).collect()
}

fn load(path: &Path, device: Device, exact: bool) -> Result<Arc<Model<Any>>, Failed> {
    let files = foveate::open(path)?;
    let products = if exact { Products::Exact } else { Products::Close };
    let device = foveate::device_with(device, Options::default().products(products))?;
    Ok(Arc::new(wait(Model::load(device, files, &mut |_| Ok(())))?))
}

fn greedy(model: &Arc<Model<Any>>, golden: &Value, share: Share) -> Result<(), Failed> {
    for prompt in golden["prompts"].as_array().ok_or("no prompts")?.iter().take(share.prompts) {
        let text = prompt["text"].as_str().ok_or("no text")?;
        let read = model.tokenizer()?.encode(text, true)?;
        ensure(read == ids(&prompt["ids"]), || format!("ids of {text:?}: {read:?}"))?;
        let wanted: Vec<u32> = ids(&prompt["greedy"]).into_iter().take(share.tokens).collect();
        let mut session = Session::new(model.clone(), (read.len() + wanted.len()) as u32)?;
        let mut sampler = Sampler::new(Sampling::default())?;
        let (mut next, mut got) = (read, Vec::new());
        while got.len() < wanted.len() {
            let id = wait(session.next(&next, &mut sampler))?;
            got.push(id);
            next = vec![id];
        }
        ensure(got == wanted, || format!("after {text:?}: {got:?}, not {wanted:?}"))?;
        if share.tokens == usize::MAX {
            let made = model.tokenizer()?.decode(&got, false)?;
            ensure(Some(made.as_str()) == prompt["greedy_text"].as_str(), || format!("text: {made:?}"))?;
        }
    }
    Ok(())
}

/// The losses of a text: each of the first, unless activations are rounded, and the mean if all are asked for.
fn loss(model: &Arc<Model<Any>>, golden: &Value, share: Share, each: bool) -> Result<(), Failed> {
    let all = ids(&golden["loss"]["ids"]);
    let read = &all[..share.scored.min(all.len())];
    let mut session = Session::new(model.clone(), read.len() as u32)?;
    let losses = wait(session.score(read))?;
    let first = golden["loss"]["first_nll"].as_array().ok_or("no losses")?;
    let first = first.iter().filter_map(Value::as_f64).take(if each { usize::MAX } else { 0 });
    for (i, (got, want)) in losses.iter().zip(first).enumerate() {
        ensure((got - want).abs() < 1e-3, || format!("loss of token {}: {got}, not {want}", i + 1))?;
    }
    if read.len() == all.len() {
        let mean = losses.iter().sum::<f64>() / losses.len() as f64;
        let want = golden["loss"]["mean_nll"].as_f64().ok_or("no mean")?;
        ensure((mean - want).abs() < 1e-3, || format!("mean loss {mean}, not {want}"))?;
    }
    Ok(())
}

/// The ids of a text that Debian ships, whose loss is compared.
pub(crate) fn licence(tokenizer: &Tokenizer, golden: &Value) -> Result<(), Failed> {
    let Ok(text) = std::fs::read_to_string("/usr/share/common-licenses/GPL-3") else { return Ok(()) };
    let wanted = ids(&golden["loss"]["ids"]);
    let got = tokenizer.encode(&text, true)?;
    ensure(got[..wanted.len()] == wanted, || "the ids of the licence differ".into())?;
    let read = tokenizer.decode(&got, true)?;
    ensure(read == text, || "the licence reads differently from its ids".into())
}

pub(crate) fn run(case: Case) {
    let arguments = Arguments::from_args();
    let golden = support::golden().and_then(|folder| std::fs::read(folder.join(case.golden)).ok());
    let missing = golden.is_none() || case.model.is_none();
    let golden: Arc<Value> = Arc::new(golden.map_or(Value::Null, |json| serde_json::from_slice(&json).expect("JSON")));
    let path: Arc<PathBuf> = Arc::new(case.model.unwrap_or_default());
    let mut trials = Vec::new();
    {
        let (golden, path) = (golden.clone(), path.clone());
        trials.push(Trial::test("words", move || (case.words)(&path, &golden)).with_ignored_flag(missing));
    }
    let serial = Arc::new(Mutex::new(()));
    let mut add = |name: &str, device: Device, exact: bool, share: Share, ignored: bool| {
        let (golden, path, serial) = (golden.clone(), path.clone(), serial.clone());
        let trial = move || {
            // Each uses every core.
            let _one = serial.lock().unwrap_or_else(|p| p.into_inner());
            let model = load(&path, device, exact)?;
            greedy(&model, &golden, share)?;
            loss(&model, &golden, share, exact || device != Device::Cpu)?;
            let peak = model.backend().stats().peak_bytes;
            // Weights must have stayed as they are stored.
            ensure(peak < case.peak, || format!("{peak} bytes of device memory"))
        };
        trials.push(Trial::test(name, trial).with_ignored_flag(ignored));
    };
    add("cpu", Device::Cpu, false, ALL, missing);
    add("cpu_exact", Device::Cpu, true, EXACT, missing);
    let no_gpu = wait(gpu::adapters()).is_empty();
    let required = std::env::var("REQUIRE_GPU").is_ok_and(|v| v == "1");
    add("gpu", Device::Gpu, false, case.some, missing || (no_gpu && !required));
    libtest_mimic::run(&arguments, trials).exit();
}
