//! Small models whose logits, losses or greedy tokens third-party code computed, on every executor and adapter.

mod adapters;
mod fused;
mod gguf;
mod gguf_encoders;
mod gguf_experts;
#[path = "../gguf_file/mod.rs"]
mod gguf_file;
mod gguf_gemma;
mod gguf_hybrid;
mod gguf_latent;
mod made;
mod outer;
mod reports;
mod table;
mod variants;

use foveate_core::cache::{Kind, Pool};
use foveate_core::gpu::{self, Gpu};
use foveate_core::host::HostBackend;
use foveate_core::kernels::dtype::DType;
use foveate_core::model::{Family, Files, Model};
use foveate_core::sample::{Sampler, Sampling};
use foveate_core::session::{Input, RollbackTarget, Session, Turn};
use foveate_core::weights::{Checkpoint, Memory, Source};
use foveate_core::{Any, check};
use foveate_kernels::testing::{Tolerance, compare};
use libtest_mimic::{Arguments, Failed, Trial};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Folders of golden models: of each family, its settings as they are and unusual ones.
const FAMILIES: &[&str] = &[
    "models/llama",
    "models/qwen2",
    "models/qwen3",
    "models/qwen3_5",
    "models/gemma3",
    "models/gpt2",
    "families/apertus",
    "families/arcee",
    "families/bamba",
    "families/bitnet",
    "families/bloom",
    "families/codegen",
    "families/cohere",
    "families/cohere2",
    "families/cwm",
    "families/deepseek_v2",
    "families/deepseek_v3",
    "families/ernie4_5",
    "families/ernie4_5_moe",
    "families/exaone",
    "families/exaone4",
    "families/falcon3",
    "families/falcon40b",
    "families/falcon7b",
    "families/falcon_h1",
    "families/falcon_rw",
    "families/gemma",
    "families/gemma2",
    "families/gemma3",
    "families/gemma3n",
    "families/gemma4",
    "families/gemma4_dense",
    "families/gemma4_moe",
    "families/glm",
    "families/glm4",
    "families/glm4_moe",
    "families/glm4_moe_lite",
    "families/gpt2",
    "families/gpt_bigcode",
    "families/gpt_neo",
    "families/gpt_neox",
    "families/gpt_oss",
    "families/gpt_oss_mxfp4",
    "families/gptj",
    "families/granite",
    "families/granite4_dense",
    "families/granite4_h_dense",
    "families/granitemoe",
    "families/granitemoehybrid",
    "families/granitemoeshared",
    "families/helium",
    "families/hunyuan_dense",
    "families/hunyuan_moe",
    "families/hy_v3",
    "families/internlm3",
    "families/kimi_linear",
    "families/lfm2",
    "families/lfm2_adjust",
    "families/lfm2_moe",
    "families/lfm3",
    "families/llama",
    "families/llama_dynamic",
    "families/llama_linear",
    "families/llama_llama3",
    "families/llama_longrope",
    "families/llama_longrope_short",
    "families/llama_yarn",
    "families/mamba2",
    "families/minicpm3",
    "families/ministral",
    "families/ministral3",
    "families/mistral",
    "families/mistral4",
    "families/mixtral",
    "families/mpt",
    "families/nanochat",
    "families/nemotron",
    "families/nemotron_h",
    "families/olmo2",
    "families/olmo3",
    "families/olmo_hybrid",
    "families/olmoe",
    "families/opt",
    "families/opt_350m",
    "families/phi",
    "families/phi3",
    "families/phi4_mini",
    "families/phi4_mini_short",
    "families/phimoe",
    "families/qwen2",
    "families/qwen2_moe",
    "families/qwen3",
    "families/qwen3_5",
    "families/qwen3_5_moe",
    "families/qwen3_moe",
    "families/qwen3_next",
    "families/seed_oss",
    "families/smollm3",
    "families/stablelm",
    "families/stablelm_parallel",
    "families/starcoder2",
    "families/u_gemma3_vlm_untied",
    "families/u_granite4_infinity",
    "families/u_llama_shards5",
    "families/u_llama_tied_head_differs",
    "families/u_qwen3_5_vlm",
    "families/u_qwen3_no_head_dim_key",
    "families/vlm_gemma4",
    "families/vlm_lfm2",
    "families/vlm_ministral3",
    "families/vlm_mistral3",
    "families/vlm_qwen2_5_vl",
    "families/vlm_qwen3_vl",
    "families/vlm_smolvlm",
    "families/bert",
    "families/distilbert",
    "families/embeddinggemma",
    "families/embeddinggemma_lm",
    "families/eurobert",
    "families/modernbert",
    "families/modernbert_decoder",
    "families/nomic_bert",
    "families/qwen3_embedding",
    "families/roberta",
    "families/xlm_roberta",
    "families/zamba2",
];

/// Models whose keys rotate by the length of the text, so that pieces give what shorter texts give.
const STRETCHED: &[&str] = &["families/llama_dynamic"];

/// Models that read a text in one step, or have no logits: a text is never continued.
const WHOLE: &[&str] = &[
    "families/bert",
    "families/distilbert",
    "families/embeddinggemma",
    "families/embeddinggemma_lm",
    "families/eurobert",
    "families/modernbert",
    "families/nomic_bert",
    "families/qwen3_embedding",
    "families/roberta",
    "families/xlm_roberta",
];

/// Folders that are refused, and what the error names.
const REFUSED: [(&str, &str); 1] = [("u_quant_gptq", "gptq")];

fn golden() -> PathBuf {
    let beside = || Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/golden")).into();
    std::env::var_os("FOVEATE_GOLDEN").map_or_else(beside, PathBuf::from)
}

fn source(path: &Path) -> Result<Box<dyn Source>, Failed> {
    Ok(Box::new(Memory::new(path.display().to_string(), std::fs::read(path)?)))
}

/// The files of a folder, all shards of its weights among them.
fn folder(path: &Path) -> Result<Files, Failed> {
    let mut shards = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.starts_with("model") && name.ends_with(".safetensors") {
            shards.push(source(&path.join(name))?);
        }
    }
    Ok(Files {
        family: Family::from_json(&std::fs::read(path.join("config.json"))?)?,
        weights: pollster::block_on(Checkpoint::safetensors(shards))?,
        tokenizer: None,
        template: None,
    })
}

fn run(backend: Any, family: &str, tolerance: Tolerance) -> Result<(), Failed> {
    let path = golden().join(family);
    judge(backend, folder(&path)?, &path, tolerance)
}

fn judge(backend: Any, files: Files, path: &Path, tolerance: Tolerance) -> Result<(), Failed> {
    let golden = pollster::block_on(Checkpoint::safetensors(vec![source(&path.join("golden.safetensors"))?]))?;
    let findings = pollster::block_on(check::model(backend, files, &golden, tolerance))?;
    match findings.iter().find(|f| !f.passed) {
        Some(failed) => Err(format!("{}: {}", failed.name, failed.detail).into()),
        None => Ok(()),
    }
}

/// The logits behind the last token, read at once and token by token.
fn judge_logits(
    backend: Any,
    files: Files,
    tokens: &[u32],
    wanted: &[f32],
    tolerance: Tolerance,
) -> Result<(), Failed> {
    let model = Arc::new(pollster::block_on(Model::load(backend, files, &mut |_| Ok(())))?);
    for piece in [tokens.len(), 1] {
        let (mut session, mut rows) = (Session::new(model.clone(), tokens.len() as u32)?, Vec::new());
        for part in tokens.chunks(piece) {
            pollster::block_on(session.logits(part, |more| rows.extend_from_slice(more)))?;
        }
        let difference = compare(&rows[rows.len() - wanted.len()..], wanted, tolerance);
        if !difference.within {
            return Err(format!("in pieces of {piece}: {difference}").into());
        }
    }
    Ok(())
}

/// Older files of SmolVLM call it by the name of the model that it began from.
fn idefics3() -> Result<(), Failed> {
    let path = golden().join("families/vlm_smolvlm");
    let config = std::fs::read_to_string(path.join("config.json"))?.replace("\"smolvlm\"", "\"idefics3\"");
    let files = Files { family: Family::from_json(config.as_bytes())?, ..folder(&path)? };
    judge(Any::Host(HostBackend::cpu(2)), files, &path, Tolerance::MODEL_EXECUTOR)
}

/// Gemma 3n inside of a model that also sees and hears, whose tokens are refused by name.
fn gemma3n_inside() -> Result<(), Failed> {
    let path = golden().join("families/gemma3n");
    let text = std::fs::read_to_string(path.join("config.json"))?;
    let around = |offset: u32| {
        format!(
            r#"{{"model_type": "gemma3n", "text_config": {text}, "vision_config": {{"vocab_offset": {offset}}},
            "audio_config": {{"vocab_offset": 99999}}, "tie_word_embeddings": true}}"#
        )
    };
    let files = Files { family: Family::from_json(around(256).as_bytes())?, ..folder(&path)? };
    judge(Any::Host(HostBackend::cpu(2)), files, &path, Tolerance::MODEL_EXECUTOR)?;
    let files = Files { family: Family::from_json(around(250).as_bytes())?, ..folder(&path)? };
    let model = pollster::block_on(Model::load(Any::Host(HostBackend::cpu(1)), files, &mut |_| Ok(())))?;
    let mut session = Session::new(Arc::new(model), 8)?;
    session.read(Input::Tokens(&[249]))?;
    match session.read(Input::Tokens(&[250])) {
        Err(error) if error.to_string().contains("token 250 stands for what is seen or heard") => Ok(()),
        other => Err(format!("a token of a picture: {other:?}").into()),
    }
}

/// The tokens of a family's case, and the logits behind each.
fn case(family: &str) -> Result<(Vec<u32>, Vec<f32>), Failed> {
    let file = golden().join(family).join("golden.safetensors");
    let golden = pollster::block_on(Checkpoint::safetensors(vec![source(&file)?]))?;
    let words = |name: &str| -> Result<Vec<u8>, Failed> {
        let tensor = golden.get(name).ok_or("a tensor of the case")?;
        Ok(pollster::block_on(golden.read(tensor, 0, tensor.bytes))?)
    };
    Ok((bytemuck::pod_collect_to_vec(&words("input_ids")?), bytemuck::pod_collect_to_vec(&words("want.logits")?)))
}

/// Where keys rotate by the length of the text, all that was read in pieces is read again for the whole, and for a shorter
/// text behind a rollback.
fn stretched() -> Result<(), Failed> {
    let (path, (ids, wanted)) = (golden().join("families/llama_dynamic"), case("families/llama_dynamic")?);
    let backend = Any::Host(HostBackend::cpu(2));
    let model = Arc::new(pollster::block_on(Model::load(backend, folder(&path)?, &mut |_| Ok(())))?);
    let vocab = model.config().vocab as usize;
    let logits = |session: &mut Session<Any>, ids: &[u32]| -> Result<Vec<f32>, Failed> {
        let mut rows = Vec::new();
        pollster::block_on(session.logits(ids, |given| rows.extend_from_slice(given)))?;
        Ok(rows)
    };
    let pool = Arc::new(Pool::new(model.backend(), model.config(), DType::F32, 1024)?);
    let mut session = Session::in_pool(model.clone(), pool, 128)?;
    for piece in ids[..90].chunks(11) {
        session.read(Input::Tokens(piece))?;
    }
    let mut fork = session.fork()?;
    fork.read(Input::Tokens(&[5, 6, 7]))?;
    let got = logits(&mut session, &ids[90..])?;
    let difference = compare(&got, &wanted[90 * vocab..], Tolerance::MODEL_EXECUTOR);
    if !difference.within {
        return Err(format!("in pieces: {difference}").into());
    }
    session.rollback(RollbackTarget::Len(50))?;
    let shorter = logits(&mut session, &ids[50..60])?;
    let whole = logits(&mut Session::new(model, 128)?, &ids[..60])?;
    let difference = compare(&shorter, &whole[50 * vocab..], Tolerance::MODEL_EXECUTOR);
    if !difference.within {
        return Err(format!("behind a rollback: {difference}").into());
    }
    let mut sampler = Sampler::new(Sampling::default())?;
    let turn = Turn { session: &mut fork, token: 1, sampler: &mut sampler };
    match pollster::block_on(session.batch(1)?.next(&mut [turn])) {
        Err(error) if error.to_string().contains("rope type dynamic") => {}
        other => return Err(format!("a long text in a batch: {other:?}").into()),
    }
    fork.rollback(RollbackTarget::Len(80))?;
    match fork.read(Input::Embeddings(Kind::Latent, &vec![0.1; fork.model().config().dim as usize])) {
        Ok(()) => {}
        Err(error) => return Err(format!("embeddings behind tokens: {error}").into()),
    }
    match fork.read(Input::Tokens(&[1])) {
        Err(error) if error.to_string().contains("rope type dynamic") => Ok(()),
        other => Err(format!("embeddings that would be read again: {other:?}").into()),
    }
}

/// A prompt in pieces, of which some are read again behind a rewind or in a fork, gives the logits of the whole.
fn pieces(family: &str) -> Result<(), Failed> {
    let (path, (ids, wanted)) = (golden().join(family), case(family)?);
    let backend = Any::Host(HostBackend::cpu(2));
    let model = Arc::new(pollster::block_on(Model::load(backend, folder(&path)?, &mut |_| Ok(())))?);
    let mut session = Session::new(model, ids.len() as u32)?;
    let (mut got, mut at) = (Vec::new(), 0);
    for (turn, size) in [1usize, 5, 13, 2, 9].into_iter().cycle().enumerate() {
        let piece = &ids[at..ids.len().min(at + size)];
        if turn % 3 == 1 {
            session.read(Input::Tokens(piece))?;
            session.rewind(at as u32)?;
        }
        if turn % 4 == 2 {
            session = session.fork()?;
        }
        pollster::block_on(session.logits(piece, |rows| got.extend_from_slice(rows)))?;
        at += piece.len();
        if at == ids.len() {
            break;
        }
    }
    let difference = compare(&got, &wanted, Tolerance::MODEL_EXECUTOR);
    if difference.within { Ok(()) } else { Err(difference.to_string().into()) }
}

/// Granite divides its stream and its logits by factors, which embeddings and hidden states do not have.
fn factors() -> Result<(), Failed> {
    let path = golden().join("families/granite");
    let backend = Any::Host(HostBackend::reference());
    let model = Arc::new(pollster::block_on(Model::load(backend, folder(&path)?, &mut |_| Ok(())))?);
    let ids: Vec<u32> = (3..19).collect();
    let (config, dim) = (model.config().clone(), model.config().dim as usize);
    let floats = |name: &str| -> Result<Vec<f32>, Failed> {
        let weights = folder(&path)?.weights;
        let tensor = weights.get(name).ok_or("a tensor")?;
        Ok(bytemuck::pod_collect_to_vec(&pollster::block_on(weights.read(tensor, 0, tensor.bytes))?))
    };
    let (table, head) = (floats("model.embed_tokens.weight")?, floats("lm_head.weight")?);
    let mut session = Session::new(model.clone(), 32)?;
    let rows = pollster::block_on(session.embeddings(&ids))?;
    let wanted = ids.iter().flat_map(|&id| table[id as usize * dim..][..dim].iter().map(|x| x * config.embed_scale));
    let close = |a: f32, b: f32| (a - b).abs() <= 1e-5 * (1.0 + b.abs());
    if !rows.iter().zip(wanted).all(|(a, b)| close(*a, b)) {
        return Err("embeddings are not the table's rows times the factor".into());
    }
    let (mut logits, mut hidden, mut again) = (Vec::new(), Vec::new(), Vec::new());
    pollster::block_on(session.logits(&ids, |rows| logits.extend_from_slice(rows)))?;
    let read = |input, to: &mut Vec<f32>| -> Result<(), Failed> {
        let mut session = Session::new(model.clone(), 32)?;
        Ok(pollster::block_on(session.hidden(input, |rows| to.extend_from_slice(rows)))?)
    };
    read(Input::Tokens(&ids), &mut hidden)?;
    read(Input::Embeddings(Kind::Latent, &rows), &mut again)?;
    if !hidden.iter().zip(&again).all(|(a, b)| close(*a, *b)) {
        return Err("reading embeddings is not reading their tokens".into());
    }
    for (row, given) in hidden.chunks(dim).zip(logits.chunks(config.vocab as usize)) {
        for (weights, given) in head.chunks(dim).zip(given) {
            let product: f64 = row.iter().zip(weights).map(|(a, b)| f64::from(a * b)).sum();
            if !close(*given, (product * f64::from(config.logit_scale)) as f32) {
                return Err(format!("a logit of {given}, and {product} of the hidden state").into());
            }
        }
    }
    Ok(())
}

fn refuses(family: &str, word: &str) -> Result<(), Failed> {
    let golden = golden().join("families").join(family);
    let message = match folder(&golden) {
        Ok(files) => {
            let case = vec![source(&golden.join("golden.safetensors"))?];
            let case = pollster::block_on(Checkpoint::safetensors(case))?;
            let backend = Any::Host(HostBackend::cpu(1));
            let findings = pollster::block_on(check::model(backend, files, &case, Tolerance::MODEL_EXECUTOR));
            findings.err().map(|error| error.to_string()).unwrap_or_default()
        }
        Err(error) => error.message().unwrap_or_default().to_owned(),
    };
    if message.contains(word) { Ok(()) } else { Err(format!("it says {message:?}, nothing of {word}").into()) }
}

fn main() {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    let missing = !golden().exists();
    let serial = Arc::new(Mutex::new(()));
    for family in FAMILIES {
        let reference = move || run(Any::Host(HostBackend::reference()), family, Tolerance::MODEL_REFERENCE);
        trials.push(Trial::test(format!("reference::{family}"), reference).with_ignored_flag(missing));
        // As `foveate check` runs folders.
        let cpu = move || run(Any::Host(HostBackend::exact_cpu(2)), family, Tolerance::MODEL_EXECUTOR);
        trials.push(Trial::test(format!("cpu::{family}"), cpu).with_ignored_flag(missing));
    }
    for name in made::names() {
        let (reference, cpu) = (format!("reference::made/{name}"), format!("cpu::made/{name}"));
        let case = name.clone();
        let run = move || made::run(Any::Host(HostBackend::reference()), &case, Tolerance::MODEL_REFERENCE);
        trials.push(Trial::test(reference, run));
        let run = move || made::run(Any::Host(HostBackend::cpu(2)), &name, Tolerance::MODEL_EXECUTOR);
        trials.push(Trial::test(cpu, run));
    }
    for family in FAMILIES
        .iter()
        .filter(|family| family.starts_with("families/") && !WHOLE.contains(family) && !STRETCHED.contains(family))
    {
        let trial = Trial::test(format!("cpu::{family} in pieces"), move || pieces(family));
        trials.push(trial.with_ignored_flag(missing));
    }
    for name in variants::ALL {
        let reference = || variants::run(Any::Host(HostBackend::reference()), name, Tolerance::MODEL_REFERENCE);
        trials.push(Trial::test(format!("reference::variants/{name}"), reference));
        let cpu = || variants::run(Any::Host(HostBackend::cpu(2)), name, Tolerance::MODEL_EXECUTOR);
        trials.push(Trial::test(format!("cpu::variants/{name}"), cpu));
    }
    trials.push(Trial::test("cpu::outer", outer::run).with_ignored_flag(missing));
    trials.push(Trial::test("settings_of_folders", variants::settings).with_ignored_flag(missing));
    for (family, word) in REFUSED {
        trials
            .push(Trial::test(format!("refused::{family}"), move || refuses(family, word)).with_ignored_flag(missing));
    }
    trials.push(Trial::test("table_of_families_is_the_registrys", table::agrees).with_ignored_flag(missing));
    trials.push(Trial::test("cpu::families/qwen3_5_moe with experts as one", fused::run).with_ignored_flag(missing));
    trials.push(Trial::test("cpu::families/vlm_smolvlm as idefics3", idefics3).with_ignored_flag(missing));
    trials.push(Trial::test("cpu::families/llama_dynamic, read again", stretched).with_ignored_flag(missing));
    trials.push(Trial::test("cpu::families/gemma3n inside", gemma3n_inside).with_ignored_flag(missing));
    trials.push(Trial::test("reference::families/granite, factors", factors).with_ignored_flag(missing));
    for conversion in gguf::ALL {
        let cpu = move || gguf::run(Any::Host(HostBackend::exact_cpu(2)), conversion);
        let name = format!("cpu::gguf/{}", conversion.family);
        trials.push(Trial::test(name, cpu).with_ignored_flag(missing));
    }
    trials.push(Trial::test("cpu::gguf, heads that judge texts", gguf_encoders::heads).with_ignored_flag(missing));
    for family in adapters::families() {
        let name = format!("cpu::adapters/{family}");
        let cpu = move || adapters::run(Any::Host(HostBackend::cpu(2)), &family);
        trials.push(Trial::test(name, cpu).with_ignored_flag(missing));
    }
    trials.push(Trial::test("cpu::adapters, several", adapters::several).with_ignored_flag(missing));
    trials.push(Trial::test("cpu::adapters, gguf", adapters::gguf_forms).with_ignored_flag(missing));
    trials.push(Trial::test("cpu::adapters, refused", adapters::refuses).with_ignored_flag(missing));
    for report in reports::ALL {
        let cpu = move || reports::run(Any::Host(HostBackend::exact_cpu(2)), report);
        trials.push(Trial::test(format!("cpu::reports/{}", report.file), cpu).with_ignored_flag(missing));
    }
    let adapters = pollster::block_on(gpu::adapters());
    for (at, adapter) in adapters.iter().enumerate() {
        // With all that it has; the same by the plans of a GPU, where it is a software driver; with WebGPU's defaults.
        for kind in ["full", "gpu", "baseline"] {
            let name = adapter.get_info().name.split_whitespace().next().unwrap_or("gpu").to_lowercase();
            let open = move |adapter: &wgpu::Adapter| -> Result<Any, Failed> {
                let options = gpu::Options::default().baseline(kind == "baseline").software(true);
                let gpu = pollster::block_on(Gpu::from_adapter(adapter, options))?;
                Ok(Any::Gpu(if kind == "full" { gpu } else { gpu.as_gpu() }))
            };
            // The unusual ones differ in what is read from files, not in kernels: one adapter runs them.
            let unusual = kind == "full" && at + 1 == adapters.len();
            let families = FAMILIES.iter().filter(|family| unusual || family.starts_with("models/"));
            for family in families {
                let (adapter, serial) = (adapter.clone(), serial.clone());
                let gpu = move || {
                    let _one = serial.lock().unwrap_or_else(|p| p.into_inner());
                    run(open(&adapter)?, family, Tolerance::MODEL_EXECUTOR)
                };
                let trial = Trial::test(format!("gpu::{name}::{kind}::{family}"), gpu);
                trials.push(trial.with_ignored_flag(missing));
            }
            for case in made::names().into_iter().filter(|_| unusual) {
                let (adapter, serial) = (adapter.clone(), serial.clone());
                let name = format!("gpu::{name}::{kind}::made/{case}");
                let gpu = move || {
                    let _one = serial.lock().unwrap_or_else(|p| p.into_inner());
                    made::run(open(&adapter)?, &case, Tolerance::MODEL_EXECUTOR)
                };
                trials.push(Trial::test(name, gpu));
            }
            for family in adapters::families() {
                let (adapter, serial) = (adapter.clone(), serial.clone());
                let name = format!("gpu::{name}::{kind}::adapters/{family}");
                let gpu = move || {
                    let _one = serial.lock().unwrap_or_else(|p| p.into_inner());
                    adapters::run(open(&adapter)?, &family)
                };
                trials.push(Trial::test(name, gpu).with_ignored_flag(missing));
            }
            for name in variants::ALL.into_iter().filter(|_| unusual) {
                let (adapter, serial) = (adapter.clone(), serial.clone());
                let gpu = move || {
                    let _one = serial.lock().unwrap_or_else(|p| p.into_inner());
                    variants::run(open(&adapter)?, name, Tolerance::MODEL_EXECUTOR)
                };
                trials.push(Trial::test(format!("gpu::variants/{name}"), gpu));
            }
            for report in reports::ALL.iter().filter(|_| kind == "full") {
                let (adapter, serial) = (adapter.clone(), serial.clone());
                let gpu = move || {
                    let _one = serial.lock().unwrap_or_else(|p| p.into_inner());
                    reports::run(open(&adapter)?, report)
                };
                let trial = Trial::test(format!("gpu::{name}::reports/{}", report.file), gpu);
                trials.push(trial.with_ignored_flag(missing));
            }
        }
    }
    if adapters.is_empty() {
        let required = std::env::var("REQUIRE_GPU").is_ok_and(|v| v == "1");
        let none = Trial::test("gpu", || Err("no adapter was found, and REQUIRE_GPU is set".into()));
        trials.push(none.with_ignored_flag(!required));
    }
    libtest_mimic::run(&arguments, trials).exit();
}
