//! Heads that judge a whole text, and rerankers: a pair of texts is read together.

mod golden_folder;

use foveate_core::Any;
use foveate_core::Error;
use foveate_core::host::HostBackend;
use foveate_core::kernels::rng::Rng;
use foveate_core::model::{Family, Files, Model};
use foveate_core::rerank::{Options, Reranker, classify};
use foveate_core::session::{Input, Session};
use foveate_core::tokenizer::Tokenizer;
use foveate_core::weights::{Checkpoint, Memory};
use golden_folder::golden_folder;
use pollster::block_on;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

const DIM: usize = 64;
const IDS: [u32; 7] = [9, 200, 31, 4, 5, 90, 12];

/// A golden model whose configuration and tensors are changed.
struct Changed {
    config: Value,
    tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
}

impl Changed {
    /// A golden model, or `None` where this machine has not got them.
    fn open(name: &str, class: &str) -> Option<Self> {
        let folder = golden_folder(&format!("families/{name}"))?;
        let read = |file: &str| std::fs::read(folder.join(file)).expect("a file of a golden model");
        let mut config: Value = serde_json::from_slice(&read("config.json")).expect("a configuration");
        config["architectures"] = json!([class]);
        config["num_labels"] = json!(1);
        let weights = read("model.safetensors");
        let file = SafeTensors::deserialize(&weights).expect("weights");
        let floats = |view: &TensorView<'_>| bytemuck::pod_collect_to_vec(view.data());
        let tensors =
            file.tensors().iter().map(|(name, view)| (name.clone(), (view.shape().to_vec(), floats(view)))).collect();
        Some(Self { config, tensors })
    }

    /// Adds random tensors.
    fn with(mut self, added: &[(&str, &[usize])]) -> Self {
        for (seed, (name, shape)) in (1..).zip(added) {
            let values = Rng::new(seed).normals(shape.iter().product(), 0.3);
            self.tensors.insert((*name).into(), (shape.to_vec(), values));
        }
        self
    }

    /// Takes away what begins with these words.
    fn without(mut self, words: &[&str]) -> Self {
        self.tensors.retain(|name, _| !words.iter().any(|word| name.starts_with(word)));
        self
    }

    fn values(&self, name: &str) -> &[f32] {
        &self.tensors[name].1
    }

    fn load(&self, tokenizer: Option<Tokenizer>) -> Result<Arc<Model<Any>>, Error> {
        let bytes: Vec<_> = self
            .tensors
            .iter()
            .map(|(name, (shape, values))| (name, shape, bytemuck::cast_slice::<f32, u8>(values)))
            .collect();
        let views = bytes
            .iter()
            .map(|(name, shape, data)| (*name, TensorView::new(Dtype::F32, shape.to_vec(), data).expect("a tensor")));
        let weights = safetensors::serialize(views, None).expect("a file");
        let weights = Box::new(Memory::new("model.safetensors", weights));
        let files = Files {
            family: Family::from_json(self.config.to_string().as_bytes())?,
            weights: block_on(Checkpoint::safetensors(vec![weights]))?,
            tokenizer,
            template: None,
        };
        let model = block_on(Model::load(Any::Host(HostBackend::exact_cpu(1)), files, &mut |_| Ok(())))?;
        Ok(Arc::new(model))
    }
}

/// Hidden states of a text, `[tokens, DIM]`.
fn hidden(model: &Arc<Model<Any>>, ids: &[u32]) -> Vec<f64> {
    let mut rows = Vec::new();
    let mut session = Session::new(model.clone(), 32).expect("a session");
    block_on(session.hidden(Input::Tokens(ids), |given| rows.extend_from_slice(given))).expect("hidden states");
    rows.into_iter().map(f64::from).collect()
}

fn product(weight: &[f32], bias: Option<&[f32]>, x: &[f64]) -> Vec<f64> {
    let row = |(at, row): (usize, &[f32])| {
        let sum: f64 = row.iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum();
        sum + bias.map_or(0.0, |bias| f64::from(bias[at]))
    };
    weight.chunks_exact(x.len()).enumerate().map(row).collect()
}

fn judged(model: &Arc<Model<Any>>, ids: &[u32], parts: &[u32]) -> Vec<f32> {
    let mut session = Session::new(model.clone(), 32).expect("a session");
    let first = block_on(classify(&mut session, ids, parts)).expect("a judgement");
    // A session judges one text after the other.
    block_on(classify(&mut session, &ids[..3], &parts[..3])).expect("another one");
    assert_eq!(block_on(classify(&mut session, ids, parts)).expect("the first one again"), first);
    first
}

#[track_caller]
fn close(got: &[f32], wanted: &[f64]) {
    assert_eq!(got.len(), wanted.len());
    assert!(got.iter().zip(wanted).all(|(got, want)| (f64::from(*got) - want).abs() < 1e-5), "{got:?} {wanted:?}");
}

#[test]
fn a_head_is_what_its_class_computes() {
    let square: &[usize] = &[DIM, DIM];
    let (dense, one): (&[usize], &[usize]) = (&[DIM], &[1]);
    type Head = (&'static str, &'static str, [&'static str; 2], fn(f64) -> f64, &'static [&'static str]);
    let heads: [Head; 3] = [
        ("bert", "BertForSequenceClassification", ["bert.pooler.dense", "classifier"], f64::tanh, &["cls."]),
        (
            "xlm_roberta",
            "XLMRobertaForSequenceClassification",
            ["classifier.dense", "classifier.out_proj"],
            f64::tanh,
            &["lm_head."],
        ),
        (
            "distilbert",
            "DistilBertForSequenceClassification",
            ["pre_classifier", "classifier"],
            |x| x.max(0.0),
            &["vocab_"],
        ),
    ];
    for (name, class, [pooler, output], f, left) in heads {
        let Some(changed) = Changed::open(name, class) else { return };
        let names = [pooler, output].map(|of| ["weight", "bias"].map(|kind| format!("{of}.{kind}")));
        let [[pw, pb], [ow, ob]] = &names;
        let added: [(&str, &[usize]); 4] = [(pw, square), (pb, dense), (ow, &[1, DIM]), (ob, one)];
        let changed = changed.without(left).with(&added);
        let model = changed.load(None).expect(name);
        let rows = hidden(&model, &IDS);
        let pooled = product(changed.values(pw), Some(changed.values(pb)), &rows[..DIM]);
        let pooled: Vec<f64> = pooled.into_iter().map(f).collect();
        let wanted = product(changed.values(ow), Some(changed.values(ob)), &pooled);
        close(&judged(&model, &IDS, &[0; 7]), &wanted);
    }
}

#[test]
fn a_decoder_is_judged_by_its_last_token() {
    let Some(changed) = Changed::open("llama", "LlamaForSequenceClassification") else { return };
    let mut changed = changed.without(&["lm_head."]).with(&[("score.weight", &[3, DIM])]);
    changed.config["num_labels"] = Value::Null;
    changed.config["id2label"] = json!({"0": "no", "1": "perhaps", "2": "yes"});
    let model = changed.load(None).expect("Llama");
    let rows = hidden(&model, &IDS);
    let wanted = product(changed.values("score.weight"), None, &rows[rows.len() - DIM..]);
    close(&judged(&model, &IDS, &[0; 7]), &wanted);
    let refused = Reranker::new(model).err().expect("three labels").to_string();
    assert!(refused.contains("3 labels"), "{refused}");
}

#[test]
fn modernbert_pools_as_its_configuration_says() {
    for pooling in ["cls", "mean"] {
        let Some(changed) = Changed::open("modernbert", "ModernBertForSequenceClassification") else { return };
        let added: [(&str, &[usize]); 2] = [("classifier.weight", &[1, DIM]), ("classifier.bias", &[1])];
        let mut changed = changed.without(&["decoder."]).with(&added);
        changed.config["classifier_pooling"] = json!(pooling);
        let model = changed.load(None).expect("ModernBERT");
        let rows = hidden(&model, &IDS);
        let mean = |i: usize| rows.iter().skip(i).step_by(DIM).sum::<f64>() / IDS.len() as f64;
        let pooled = if pooling == "cls" { rows[..DIM].to_vec() } else { (0..DIM).map(mean).collect() };
        let gelu = |x: f64| 0.5 * x * (1.0 + libm::erf(x / std::f64::consts::SQRT_2));
        let dense: Vec<f64> =
            product(changed.values("head.dense.weight"), None, &pooled).into_iter().map(gelu).collect();
        let mean = dense.iter().sum::<f64>() / DIM as f64;
        let variance = dense.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / DIM as f64;
        let normed: Vec<f64> = dense
            .iter()
            .zip(changed.values("head.norm.weight"))
            .map(|(x, w)| (x - mean) / (variance + 1e-5).sqrt() * f64::from(*w))
            .collect();
        let bias = Some(changed.values("classifier.bias"));
        close(&judged(&model, &IDS, &[0; 7]), &product(changed.values("classifier.weight"), bias, &normed));
    }
}

/// BERT with a head of one label.
fn cross_encoder() -> Option<Changed> {
    let changed = Changed::open("bert", "BertForSequenceClassification")?.without(&["cls."]);
    Some(changed.with(&[
        ("bert.pooler.dense.weight", &[DIM, DIM]),
        ("bert.pooler.dense.bias", &[DIM]),
        ("classifier.weight", &[1, DIM]),
        ("classifier.bias", &[1]),
    ]))
}

#[test]
fn the_second_text_has_the_second_type() {
    let Some(mut changed) = cross_encoder() else { return };
    let model = changed.load(None).expect("BERT");
    let [first, second, both] = [[0; 7], [1; 7], [0, 0, 0, 0, 1, 1, 1]].map(|parts| judged(&model, &IDS, &parts));
    assert!(first != second && second != both && first != both);
    // Tokens of the second type alone are those of a model whose first type is the second.
    let types = "bert.embeddings.token_type_embeddings.weight";
    let (_, rows) = changed.tensors.get_mut(types).expect("types");
    rows.copy_within(DIM..2 * DIM, 0);
    assert_eq!(judged(&changed.load(None).expect("BERT"), &IDS, &[0; 7]), second);
    let mut session = Session::new(model, 32).expect("a session");
    let refused = block_on(classify(&mut session, &IDS, &[2; 7])).expect_err("a third type").to_string();
    assert!(refused.contains("token type"), "{refused}");
}

/// Words are tokens; two texts stand as BERT has them.
fn tokenizer(words: &[&str]) -> Tokenizer {
    let special = ["[UNK]", "[CLS]", "[SEP]"];
    let vocab: serde_json::Map<String, Value> =
        special.iter().chain(words).enumerate().map(|(id, word)| ((*word).to_owned(), json!(id))).collect();
    let token = |name: &str, part: u32| json!({"SpecialToken": {"id": name, "type_id": part}});
    let text = |name: &str, part: u32| json!({"Sequence": {"id": name, "type_id": part}});
    let ids = |name: &str, id: u32| json!({"id": name, "ids": [id], "tokens": [name]});
    let file = json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "decoder": null,
        "added_tokens": [],
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [token("[CLS]", 0), text("A", 0), token("[SEP]", 0)],
            "pair": [token("[CLS]", 0), text("A", 0), token("[SEP]", 0), text("B", 1), token("[SEP]", 1)],
            "special_tokens": {"[CLS]": ids("[CLS]", 1), "[SEP]": ids("[SEP]", 2)}
        },
        "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "[UNK]"}
    });
    Tokenizer::from_json(file.to_string().as_bytes()).expect("a tokenizer")
}

#[test]
fn a_cross_encoder_reads_a_pair_as_its_tokenizer_puts_it_together() {
    let Some(changed) = cross_encoder() else { return };
    let model = changed.load(Some(tokenizer(&["red", "blue", "green"]))).expect("BERT");
    let mut reranker = Reranker::new(model.clone()).expect("a reranker");
    let found = block_on(reranker.judge("red blue", "green", &Options::new())).expect("a judgement");
    let (ids, parts) = ([1, 3, 4, 2, 5, 2], [0, 0, 0, 0, 1, 1]);
    assert_eq!(found.logit, judged(&model, &ids, &parts)[0]);
    assert!((f64::from(found.score) - 1.0 / (1.0 + (-f64::from(found.logit)).exp())).abs() < 1e-7);
    // What is too long is refused, or cut at its end.
    let (most, long) = (model.config().context as usize, "green ".repeat(model.config().context as usize));
    let refused = block_on(reranker.judge("red", &long, &Options::new())).expect_err("too long");
    assert!(matches!(refused, Error::ContextFull { .. }), "{refused}");
    let cut = block_on(reranker.judge("red", &long, &Options::new().truncate(true))).expect("a cut document");
    let fits = "green ".repeat(most - 4);
    let whole = block_on(reranker.judge("red", &fits, &Options::new())).expect("a document that fits");
    assert_eq!(cut, whole);
}

#[test]
fn qwen3_answers_yes_or_no() {
    let Some(changed) = Changed::open("qwen3", "Qwen3ForCausalLM") else { return };
    let model = changed.load(Some(tokenizer(&["yes", "no", "red", "blue", "<Document>:", "<Query>:"]))).expect("Qwen3");
    let mut reranker = Reranker::new(model.clone()).expect("a reranker");
    let options = Options::new().instruction("red");
    let [first, second] = ["blue", "red red"].map(|text| {
        let found = block_on(reranker.judge("blue", text, &options)).expect("a judgement");
        let alone = block_on(Reranker::new(model.clone()).expect("another").judge("blue", text, &options));
        let alone = alone.expect("a judgement");
        // What a session holds changes nothing but the pieces that a prompt is read in.
        assert!((found.logit - alone.logit).abs() < 1e-5, "{found:?} {alone:?}");
        found.logit
    });
    assert_ne!(first, second);
    // The whole prompt, read at once.
    let text = format!(
        "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct \
         provided. Note that the answer can only be \"yes\" or \"no\".<|im_end|>\n<|im_start|>user\n<Instruct>: red\n\
         <Query>: blue\n<Document>: {}<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
        "red red"
    );
    let tokenizer = model.tokenizer().expect("a tokenizer");
    let parts: Vec<&str> = text.split_inclusive("<|im_start|>user\n").collect();
    let (user, behind) = parts[1].split_once("<|im_end|>").expect("an end");
    let ids = [parts[0], user, &format!("<|im_end|>{behind}")].map(|text| tokenizer.encode(text, false).expect("ids"));
    let mut last = Vec::new();
    let mut session = Session::new(model.clone(), 128).expect("a session");
    block_on(session.logits(&ids.concat(), |rows| last = rows[rows.len() - 256..].to_vec())).expect("logits");
    assert!((second - (last[3] - last[4])).abs() < 1e-4, "{second} {} {}", last[3], last[4]);
}

#[test]
fn models_that_judge_nothing_are_refused_by_name() {
    let Some(changed) = Changed::open("llama", "LlamaForCausalLM") else { return };
    let refused = Reranker::new(changed.load(None).expect("Llama")).err().expect("no head").to_string();
    assert!(refused.contains("llama") && refused.contains("ForSequenceClassification"), "{refused}");
    for (name, class) in
        [("eurobert", "EuroBertForSequenceClassification"), ("nomic_bert", "NomicBertForSequenceClassification")]
    {
        let Some(changed) = Changed::open(name, class) else { return };
        let refused = changed.load(None).err().expect(name).to_string();
        assert!(refused.contains("does not judge texts"), "{name}: {refused}");
    }
    // A head without its tensors.
    let Some(changed) = Changed::open("bert", "BertForSequenceClassification") else { return };
    let refused = changed.without(&["cls."]).load(None).err().expect("no head").to_string();
    assert!(refused.contains("pooler.dense"), "{refused}");
}
