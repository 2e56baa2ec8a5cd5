//! Encoders: a text is read in one step, and its vectors follow from the hidden states of its tokens.

mod golden_folder;

use foveate_core::Any;
use foveate_core::Error;
use foveate_core::embedding::{Embedder, Options, Pooling, Prompt, Recipe};
use foveate_core::host::HostBackend;
use foveate_core::model::{Family, Files, Model};
use foveate_core::sample::{Sampler, Sampling};
use foveate_core::session::{Input, RollbackTarget, Session};
use foveate_core::weights::{Checkpoint, Memory};
use golden_folder::golden_folder;
use pollster::block_on;
use std::sync::Arc;

/// A golden model, or `None` where this machine has not got them.
fn model(name: &str) -> Option<Arc<Model<Any>>> {
    let folder = golden_folder(&format!("families/{name}"))?;
    let read = |file: &str| std::fs::read(folder.join(file)).expect("a file of a golden model");
    let weights = Box::new(Memory::new("model.safetensors", read("model.safetensors")));
    let files = Files {
        family: Family::from_json(&read("config.json")).expect("a configuration"),
        weights: block_on(Checkpoint::safetensors(vec![weights])).expect("weights"),
        tokenizer: None,
        template: None,
    };
    let backend = Any::Host(HostBackend::exact_cpu(1));
    Some(Arc::new(block_on(Model::load(backend, files, &mut |_| Ok(()))).expect("a model")))
}

const IDS: [u32; 9] = [7, 200, 31, 0, 5, 90, 0, 12, 250];

fn hidden(session: &mut Session<Any>, ids: &[u32]) -> Result<Vec<f32>, Error> {
    let mut rows = Vec::new();
    block_on(session.hidden(Input::Tokens(ids), |given| rows.extend_from_slice(given)))?;
    Ok(rows)
}

#[test]
fn nothing_goes_on_from_a_text_that_an_encoder_has_read() {
    let Some(model) = model("bert") else { return };
    let mut session = Session::new(model, 32).expect("a session");
    let first = hidden(&mut session, &IDS).expect("hidden states");
    let mut sampler = Sampler::new(Sampling::default()).expect("a sampler");
    for refused in [
        block_on(session.next(&[1], &mut sampler)).map(drop),
        session.read(Input::Tokens(&[1])),
        hidden(&mut session, &[1]).map(drop),
        session.batch(1).map(drop),
    ] {
        let message = refused.expect_err("an encoder").to_string();
        assert!(message.contains("one step"), "{message}");
    }
    assert_eq!(session.tokens(), IDS);
    session.rollback(RollbackTarget::Len(0)).expect("an empty session");
    assert_eq!(hidden(&mut session, &IDS).expect("hidden states"), first);
}

#[test]
fn every_token_sees_the_last_one_unless_it_is_behind_a_window() {
    for name in ["bert", "roberta", "distilbert", "nomic_bert", "modernbert", "eurobert", "embeddinggemma"] {
        let Some(model) = model(name) else { return };
        let dim = model.config().dim as usize;
        let mut other = IDS;
        other[8] = 3;
        let of = |ids: &[u32]| hidden(&mut Session::new(model.clone(), 16).expect("a session"), ids).expect("states");
        let (a, b) = (of(&IDS), of(&other));
        for (token, (a, b)) in a.chunks(dim).zip(b.chunks(dim)).enumerate() {
            assert_ne!(a, b, "{name}: token {token} does not see the last one");
        }
    }
}

#[test]
fn padding_has_no_position_of_its_own_in_roberta() {
    let Some(model) = model("roberta") else { return };
    assert_eq!((model.config().padding, model.config().context), (Some(0), 255));
    let mut session = Session::new(model.clone(), 32).expect("a session");
    // The golden case has padding tokens, too; here, the tokens around one swap their places and nothing else changes.
    let dim = model.config().dim as usize;
    let states = hidden(&mut session, &[0, 7, 9]).expect("states");
    session.rollback(RollbackTarget::Len(0)).expect("an empty session");
    let turned = hidden(&mut session, &[7, 0, 9]).expect("states");
    for (row, other) in [(0, 1), (1, 0), (2, 2)] {
        let (row, other) = (&states[row * dim..][..dim], &turned[other * dim..][..dim]);
        let far = row.iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(far < 1e-5, "{far}");
    }
}

#[test]
fn bare_models_give_hidden_states_and_no_logits() {
    let Some(model) = model("qwen3_embedding") else { return };
    let mut session = Session::new(model, 32).expect("a session");
    let message = block_on(session.logits(&IDS, |_| ())).expect_err("no head").to_string();
    assert!(message.contains("no output product") && session.tokens().is_empty(), "{message}");
    assert!(hidden(&mut session, &IDS).is_ok());
}

#[test]
fn vector_of_a_text_is_what_the_recipe_makes_of_its_hidden_states() {
    for name in ["bert", "embeddinggemma", "qwen3_embedding"] {
        let Some(model) = model(name) else { return };
        let dim = model.config().dim as usize;
        let states = hidden(&mut Session::new(model.clone(), 16).expect("a session"), &IDS).expect("states");
        let mean = |i: usize| states.iter().skip(i).step_by(dim).map(|x| f64::from(*x)).sum::<f64>() / IDS.len() as f64;
        let mut embedder = Embedder::new(model, Arc::default()).expect("an embedder");
        let mut vector = |options: &Options| block_on(embedder.embed_tokens(&IDS, 0, options));
        let whole = vector(&Options::new()).expect("a vector");
        assert_eq!(whole.len(), dim);
        whole.iter().enumerate().for_each(|(i, x)| assert!((f64::from(*x) - mean(i)).abs() < 1e-6, "{name}"));
        let cut = vector(&Options::new().dim(8).normalize(true)).expect("a vector");
        let length = whole[..8].iter().map(|x| x * x).sum::<f32>().sqrt();
        cut.iter().zip(&whole).for_each(|(cut, x)| assert!((cut - x / length).abs() < 1e-6, "{name}"));
        assert!(vector(&Options::new().dim(65)).expect_err("too many").to_string().contains("65 elements"));
    }
}

#[test]
fn texts_that_do_not_fit_are_refused_with_the_numbers() {
    let Some(model) = model("bert") else { return };
    let recipe = Recipe { max_tokens: Some(8), ..Recipe::default() };
    let mut embedder = Embedder::new(model.clone(), Arc::new(recipe)).expect("an embedder");
    let refused = block_on(embedder.embed_tokens(&IDS, 0, &Options::new()));
    assert_eq!(refused, Err(Error::ContextFull { tokens: 9, context: 8 }));
    assert_eq!(block_on(embedder.embed_tokens(&[], 0, &Options::new())), Err(Error::EmptyPrompt));
    let message = block_on(embedder.embed("a", &Options::new().prompt(Prompt::Named("query".into()))));
    assert!(message.expect_err("no such prompt").to_string().contains("query"));
    let pooling = Pooling { dim: Some(63), ..Pooling::default() };
    let message = Embedder::new(model, Arc::new(Recipe { pooling, ..Recipe::default() })).err().map(|e| e.to_string());
    assert!(message.is_some_and(|message| message.contains("63")));
}

/// A safetensors file of f32 tensors.
fn tensors(all: &[(&str, &[usize], &[f32])]) -> Vec<u8> {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, shape, values) in all {
        let begin = data.len();
        data.extend(values.iter().flat_map(|x| x.to_le_bytes()));
        let entry = serde_json::json!({"dtype": "F32", "shape": shape, "data_offsets": [begin, data.len()]});
        header.insert((*name).into(), entry);
    }
    let header = serde_json::Value::Object(header).to_string();
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat()
}

/// The files of a folder, with one of them replaced.
fn recipe(name: &str, bytes: Vec<u8>) -> Result<Option<Recipe>, Error> {
    let module = |at: u32, path: &str, kind: &str| serde_json::json!({"idx": at, "name": at.to_string(), "path": path, "type": kind});
    let modules = serde_json::json!([
        module(0, "", "sentence_transformers.models.Transformer"),
        module(1, "1_Pooling", "sentence_transformers.models.Pooling"),
        module(2, "2_Dense", "sentence_transformers.models.Dense"),
        module(3, "3_Normalize", "sentence_transformers.models.Normalize"),
    ]);
    let dense = r#"{"in_features": 2, "out_features": 3, "bias": true, "activation_function": "torch.nn.modules.activation.Tanh"}"#;
    let whole = r#"{"prompts": {"query": "query: ", "passage": ""}, "default_prompt_name": "query", "similarity_fn_name": "dot"}"#;
    let weights = tensors(&[
        ("linear.weight", &[3, 2], &[1.0, 0.0, 0.0, 1.0, 1.0, 1.0]),
        ("linear.bias", &[3], &[0.0, 0.5, 0.0]),
    ]);
    let files: Vec<(&str, Vec<u8>)> = vec![
        ("modules.json", modules.to_string().into()),
        ("1_Pooling/config.json", br#"{"word_embedding_dimension": 2, "pooling_mode_lasttoken": true}"#.into()),
        ("2_Dense/config.json", dense.into()),
        ("2_Dense/model.safetensors", weights),
        ("config_sentence_transformers.json", whole.into()),
        ("sentence_bert_config.json", br#"{"max_seq_length": 16, "do_lower_case": true}"#.into()),
    ];
    block_on(Recipe::read(|file: &str| match file == name {
        true if bytes.is_empty() => Ok(None),
        true => Ok(Some(bytes.clone())),
        false => Ok(files.iter().find(|(known, _)| *known == file).map(|(_, bytes)| bytes.clone())),
    }))
}

#[test]
fn recipe_holds_all_that_the_files_of_sentence_transformers_say() {
    let read = recipe("", Vec::new()).expect("whole files").expect("a recipe");
    assert_eq!((read.max_tokens, read.lower_case, read.steps.len()), (Some(16), true, 2));
    assert_eq!(read.default_prompt.as_deref(), Some("query"));
    assert_eq!(read.similarity.of(&[1.0, 2.0], &[3.0, 4.0]), 11.0);
    assert_eq!(recipe("modules.json", Vec::new()), Ok(None));
}

#[test]
fn recipe_refuses_files_by_name_and_key() {
    let modules = |kind: &str, path: &str| {
        format!(r#"[{{"type": "models.Transformer", "path": ""}}, {{"type": "models.{kind}", "path": "{path}"}}]"#)
    };
    for (file, text, words) in [
        ("modules.json", modules("CNN", "1_CNN"), &["modules.json", "CNN"][..]),
        ("modules.json", modules("Pooling", "../other"), &["../other", "out of the folder"]),
        ("modules.json", modules("Dropout", ""), &["modules.json", "Pooling"]),
        ("1_Pooling/config.json", String::new(), &["1_Pooling/config.json is missing"]),
        (
            "1_Pooling/config.json",
            r#"{"pooling_mode": "median"}"#.into(),
            &["1_Pooling/config.json", "pooling_mode", "median"],
        ),
        ("2_Dense/config.json", r#"{"in_features": 2}"#.into(), &["2_Dense/config.json", "out_features"]),
        (
            "2_Dense/config.json",
            r#"{"in_features": 2, "out_features": 3, "activation_function": "torch.nn.Softsign"}"#.into(),
            &["activation_function", "Softsign"],
        ),
        ("2_Dense/config.json", r#"{"in_features": 2, "out_features": 4, "bias": false}"#.into(), &["linear.weight"]),
        ("2_Dense/config.json", r#"{"in_features": 2, "out_features": 3, "bias": false}"#.into(), &["linear.bias"]),
        (
            "config_sentence_transformers.json",
            r#"{"default_prompt_name": "q"}"#.into(),
            &["default_prompt_name", "\"q\""],
        ),
        ("config_sentence_transformers.json", r#"{"similarity_fn_name": "l1"}"#.into(), &["similarity_fn_name", "l1"]),
        (
            "sentence_bert_config.json",
            r#"{"max_seq_length": 0}"#.into(),
            &["sentence_bert_config.json", "max_seq_length"],
        ),
    ] {
        let message = recipe(file, text.into_bytes()).expect_err("no such setting").to_string();
        assert!(words.iter().all(|word| message.contains(word)), "{file}: {message}");
    }
}

#[test]
fn norms_of_old_files_have_other_names() {
    let (Some(folder), Some(model)) = (golden_folder("families/bert"), model("bert")) else { return };
    let bytes = std::fs::read(folder.join("model.safetensors")).expect("weights");
    let end = 8 + u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
    let header = String::from_utf8(bytes[8..end].to_vec()).expect("a header");
    let header = header.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta");
    let old = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &bytes[end..]].concat();
    let files = Files {
        family: Family::from_json(&std::fs::read(folder.join("config.json")).expect("a configuration"))
            .expect("a family"),
        weights: block_on(Checkpoint::safetensors(vec![Box::new(Memory::new("model.safetensors", old))]))
            .expect("weights"),
        tokenizer: None,
        template: None,
    };
    let old = block_on(Model::load(Any::Host(HostBackend::exact_cpu(1)), files, &mut |_| Ok(()))).expect("a model");
    let of = |model: Arc<Model<Any>>| hidden(&mut Session::new(model, 16).expect("a session"), &IDS).expect("states");
    assert_eq!(of(Arc::new(old)), of(model));
}
