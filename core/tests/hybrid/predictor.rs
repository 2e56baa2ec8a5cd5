//! The prediction head against its formula in f64, and generations that it drafts for.

use super::folder::{DIM, Folder, VOCAB};
use super::{IDS, cpu, model, read};
use foveate_core::Any;
use foveate_core::generate::{Draft, Drafts, Generation, Generator, PredictorDraft, Speculation};
use foveate_core::host::HostBackend;
use foveate_core::kernels::rng::Rng;
use foveate_core::sample::{Sampler, Sampling};
use foveate_core::session::{Buffered, Input, Session};
use pollster::block_on;

const HEAD: usize = 16;
const CONTEXT: u32 = 96;

fn silu(x: f64) -> f64 {
    x / (1.0 + (-x).exp())
}

/// The head of a folder, written out over whole texts.
struct Definition<'a>(&'a Folder);

impl Definition<'_> {
    fn weight(&self, name: &str) -> &[f32] {
        &self.0.tensors[name].1
    }

    fn product(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let rows = self.weight(name).chunks(x.len());
        rows.map(|row| row.iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum()).collect()
    }

    fn norm(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let root = (x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64 + 1e-6).sqrt();
        x.iter().zip(self.weight(name)).map(|(x, w)| x / root * (1.0 + f64::from(*w))).collect()
    }

    /// The first half of a head turns by its position.
    fn turned(&self, name: &str, x: &[f64], position: usize) -> Vec<f64> {
        let mut x = self.norm(name, x);
        for i in 0..4 {
            let (sin, cos) = (position as f64 / 1000f64.powf(i as f64 / 4.0)).sin_cos();
            (x[i], x[i + 4]) = (x[i] * cos - x[i + 4] * sin, x[i] * sin + x[i + 4] * cos);
        }
        x
    }

    /// The head's hidden states of entries, each of an embedded token and a hidden state.
    fn hidden(&self, entries: &[(u32, Vec<f64>)]) -> Vec<Vec<f64>> {
        let embedding = self.weight("model.language_model.embed_tokens.weight");
        let stream: Vec<Vec<f64>> = entries
            .iter()
            .map(|(id, hidden)| {
                let row = &embedding[*id as usize * DIM..][..DIM];
                let row: Vec<f64> = row.iter().map(|x| f64::from(*x)).collect();
                let both = [
                    self.norm("mtp.pre_fc_norm_embedding.weight", &row),
                    self.norm("mtp.pre_fc_norm_hidden.weight", hidden),
                ];
                self.product("mtp.fc.weight", &both.concat())
            })
            .collect();
        let name = |inside: &str| format!("mtp.layers.0.{inside}.weight");
        let (mut keys, mut values, mut all) = (Vec::new(), Vec::new(), Vec::new());
        for (at, x) in stream.iter().enumerate() {
            let input = self.norm(&name("input_layernorm"), x);
            let queries = self.product(&name("self_attn.q_proj"), &input);
            keys.push(self.turned(&name("self_attn.k_norm"), &self.product(&name("self_attn.k_proj"), &input), at));
            values.push(self.product(&name("self_attn.v_proj"), &input));
            let mut mixed = Vec::new();
            for both in queries.chunks(2 * HEAD) {
                let query = self.turned(&name("self_attn.q_norm"), &both[..HEAD], at);
                let dot = |key: &Vec<f64>| key.iter().zip(&query).map(|(k, q)| k * q).sum::<f64>() / 4.0;
                let weights: Vec<f64> = keys.iter().map(|key| dot(key).exp()).collect();
                let sum: f64 = weights.iter().sum();
                for (i, gate) in both[HEAD..].iter().enumerate() {
                    let mean = weights.iter().zip(&values).map(|(w, value)| w / sum * value[i]).sum::<f64>();
                    mixed.push(mean / (1.0 + (-gate).exp()));
                }
            }
            let add = |x: &[f64], y: Vec<f64>| x.iter().zip(y).map(|(x, y)| x + y).collect::<Vec<f64>>();
            let x = add(x, self.product(&name("self_attn.o_proj"), &mixed));
            let input = self.norm(&name("post_attention_layernorm"), &x);
            let gates = self.product(&name("mlp.gate_proj"), &input).into_iter().map(silu);
            let inner: Vec<f64> =
                gates.zip(self.product(&name("mlp.up_proj"), &input)).map(|(gate, up)| gate * up).collect();
            let x = add(&x, self.product(&name("mlp.down_proj"), &inner));
            all.push(self.norm("mtp.norm.weight", &x));
        }
        all
    }

    /// The likeliest tokens behind a text with these hidden states of all tokens but the last, one after the other.
    fn draft(&self, text: &[u32], hidden: &[f32], count: usize) -> Vec<u32> {
        let states = hidden.chunks(DIM).map(|row| row.iter().map(|x| f64::from(*x)).collect());
        let mut entries: Vec<(u32, Vec<f64>)> = text[1..].iter().copied().zip(states).collect();
        let mut draft = Vec::new();
        for _ in 0..count {
            let last = self.hidden(&entries).pop().expect("an entry");
            let logits = self.product("lm_head.weight", &last);
            let id = (0..VOCAB).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).expect("a token") as u32;
            draft.push(id);
            entries.push((id, last));
        }
        draft
    }
}

/// A session, and the head that drafts for it.
fn session(folder: &Folder, backend: Any) -> (Session<Any>, PredictorDraft<Any>) {
    let model = model(folder, backend);
    let files = folder.files().expect("a known family");
    let predictor = block_on(model.load_predictor(files, &mut |_| Ok(()))).expect("a head");
    let mut session = Session::new(model, CONTEXT).expect("room");
    let draft = PredictorDraft::new(predictor, &mut session).expect("an empty session");
    (session, draft)
}

#[test]
fn prediction_head_is_its_formula() {
    let folder = Folder::qwen3_5().predicting();
    let sampler = || Sampler::new(Sampling::default()).expect("settings");
    for host in [HostBackend::reference(), HostBackend::exact_cpu(2)] {
        let (mut session, mut head) = session(&folder, Any::Host(host));
        let mut plain = Session::new(session.model().clone(), CONTEXT).expect("room");
        let mut hidden = Vec::new();
        block_on(plain.hidden(Input::Tokens(&IDS), |rows| hidden.extend_from_slice(rows))).expect("it reads");
        // The text grows, as if drafts were right, wrong, or not asked for.
        let mut begin = 0;
        for read in [1, 2, 3, 7, 8, 15, 20] {
            super::read(&mut session, &IDS[begin..read]);
            begin = read;
            let text = &IDS[..=read];
            let wanted = Definition(&folder).draft(text, &hidden[..read * DIM], 5);
            let got = block_on(head.draft(text, 5, sampler())).expect("it runs");
            assert_eq!(got, wanted, "behind {read} tokens");
        }
        // Another text with the same beginning.
        session.rollback(foveate_core::session::RollbackTarget::Len(0)).expect("nothing is always there");
        let other: Vec<u32> = IDS[..6].iter().chain(&[11, 13, 17]).copied().collect();
        super::read(&mut session, &other[..8]);
        let mut plain = Session::new(session.model().clone(), CONTEXT).expect("room");
        let mut hidden = Vec::new();
        block_on(plain.hidden(Input::Tokens(&other[..8]), |rows| hidden.extend_from_slice(rows))).expect("it reads");
        let got = block_on(head.draft(&other, 3, sampler())).expect("it runs");
        assert_eq!(got, Definition(&folder).draft(&other, &hidden, 3));
    }
}

/// Tokens without and with drafts of the head, and its counts.
fn same(folder: &Folder, options: &Generation, prompt: &[u32]) -> Drafts {
    let run = |session: Session<Any>, options: &Generation| {
        let mut text = Buffered::new(session);
        text.append(prompt).expect("room");
        let mut generator = Generator::new(text, options).expect("it begins");
        let ids: Vec<u32> =
            generator.by_ref().filter_map(|piece| piece.expect("it runs").token).map(|t| t.id).collect();
        (ids, generator.drafts())
    };
    let (plain, _) = run(Session::new(model(folder, cpu()), CONTEXT).expect("room"), options);
    let (begun, head) = session(folder, cpu());
    let (ids, drafts) = run(begun, &options.clone().speculate(Speculation::with(head)));
    assert_eq!(ids, plain);
    assert_eq!(ids.len() as u64, options.max_tokens);
    drafts
}

#[test]
fn drafts_of_the_head_leave_the_tokens_as_they_are() {
    let (folder, mut rng) = (Folder::qwen3_5().predicting(), Rng::new(2));
    let mut all = Drafts::default();
    for seed in 0..12 {
        let prompt: Vec<u32> = (0..1 + rng.below(20)).map(|_| rng.below(VOCAB as u32)).collect();
        let options = Generation::new().max_tokens(30).ignore_eos(true).seed(seed);
        let options = if seed % 3 == 2 { options.temperature(0.8) } else { options };
        let drafts = same(&folder, &options, &prompt);
        (all.drafted, all.accepted) = (all.drafted + drafts.drafted, all.accepted + drafts.accepted);
    }
    assert!(all.drafted > 50 && all.accepted < all.drafted, "{all:?}");
}

#[test]
fn head_that_says_what_the_model_says_is_always_right() {
    let mut folder = Folder::qwen3_5().predicting();
    // Without branches, what follows depends on the last token alone; the head sees the same token.
    for (name, (shape, values)) in &mut folder.tensors {
        if ["o_proj.weight", "out_proj.weight", "down_proj.weight"].iter().any(|end| name.ends_with(end)) {
            values.fill(0.0);
        }
        if name == "mtp.fc.weight" {
            (0..values.len()).for_each(|at| values[at] = f32::from(u8::from(at / shape[1] == at % shape[1])));
        }
        if name == "mtp.pre_fc_norm_embedding.weight" {
            values.fill(0.0);
        }
    }
    let norm = folder.tensors["model.language_model.norm.weight"].clone();
    folder.tensors.insert("mtp.norm.weight".into(), norm);
    let drafts = same(&folder, &Generation::new().max_tokens(60).ignore_eos(true), &IDS[..5]);
    assert!(drafts.accepted > 40 && drafts.accepted == drafts.drafted, "{drafts:?}");
}

#[test]
fn files_without_a_head_say_so() {
    let told = |folder: &Folder| {
        let (model, files) = (model(folder, cpu()), folder.files().expect("a known family"));
        block_on(model.load_predictor(files, &mut |_| Ok(()))).err().expect("there is no head").to_string()
    };
    assert!(told(&Folder::qwen3_5()).contains("no head for multi-token prediction"));
    let mut part = Folder::qwen3_5().predicting();
    part.tensors.remove("mtp.layers.0.self_attn.k_norm.weight");
    assert!(told(&part).contains("mtp.layers.0.self_attn.k_norm.weight"), "{}", told(&part));
    let mut deep = Folder::qwen3_5().predicting();
    let norm = deep.tensors["mtp.norm.weight"].clone();
    deep.tensors.insert("mtp.layers.1.input_layernorm.weight".into(), norm);
    assert!(told(&deep).contains("more than one layer"));
    let mut other = Folder::lfm2();
    for (name, tensor) in Folder::qwen3_5().predicting().tensors.iter().filter(|(name, _)| name.starts_with("mtp.")) {
        other.tensors.insert(name.clone(), tensor.clone());
    }
    assert!(told(&other).contains("not known"), "{}", told(&other));
    let (mut begun, _) = session(&Folder::qwen3_5().predicting(), cpu());
    read(&mut begun, &IDS[..3]);
    let files = Folder::qwen3_5().predicting().files().expect("a known family");
    let head = block_on(begun.model().load_predictor(files, &mut |_| Ok(()))).expect("a head");
    assert!(PredictorDraft::new(head, &mut begun).err().expect("refused").to_string().contains("empty session"));
}
