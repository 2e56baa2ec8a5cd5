//! Jobs and what becomes of them.

use super::numeric::{decode, logits};
use super::support::{adapter, checkpoint, cpu, everywhere, files, load, recursion_everywhere};
use foveate_core::cache::{Kind, NO_TOKEN, Snapshot};
use foveate_core::coprocessor::{Cancel, Coprocessor, Job, Policy, Splice, overlay};
use foveate_core::kernels::dtype::DType;
use foveate_core::model::{Files, Model};
use foveate_core::session::SoftTokens;
use foveate_core::session::{Input, RollbackTarget, Session};
use foveate_core::{Any, Error, Result};
use pollster::block_on;
use std::sync::Arc;

/// Gives what it holds.
struct Fixed(Result<Vec<f32>>);

impl Coprocessor<Any> for Fixed {
    async fn augment(&mut self, _: &Snapshot<Any>, _: u32, _: &Cancel) -> Result<Vec<f32>> {
        self.0.clone()
    }
}

struct Panics;

impl Coprocessor<Any> for Panics {
    async fn augment(&mut self, _: &Snapshot<Any>, _: u32, _: &Cancel) -> Result<Vec<f32>> {
        panic!("a coprocessor that is broken")
    }
}

fn ids(model: &Model<Any>, n: u32) -> Vec<u32> {
    (0..n).map(|i| (i * 29 + 5) % model.config().vocab).collect()
}

fn session(model: &Arc<Model<Any>>, text: &[u32]) -> Session<Any> {
    let mut session = super::numeric::roomy(model, DType::F32).expect("room");
    session.read(Input::Tokens(text)).expect("it reads");
    session
}

fn finished(session: &Session<Any>, coprocessor: &mut impl Coprocessor<Any>) -> Job<Any> {
    let (job, task) = Job::new(session.snapshot(), 4);
    block_on(task.run(coprocessor));
    job
}

fn dropped(splice: Splice) -> Error {
    match splice {
        Splice::Dropped(error) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_latents_decoding_is_as_without_a_coprocessor() {
    for model in everywhere("llama") {
        let (text, dim) = (ids(&model, 70), model.config().dim as usize);
        let wanted = decode(&mut session(&model, &text), &[3], 10);
        let failed = Error::Coprocessor { reason: "it is tired".into() };
        type Refusal = fn(&Error) -> bool;
        let outcomes: [(Result<Vec<f32>>, Refusal); 5] = [
            (Ok(Vec::new()), |e| *e == Error::EmptyPrompt),
            (Err(failed), |e| matches!(e, Error::Coprocessor { .. })),
            (Ok(vec![f32::NAN; dim]), |e| matches!(e, Error::Embeddings { .. })),
            (Ok(vec![0.0; dim + 1]), |e| matches!(e, Error::Embeddings { .. })),
            (Ok(vec![0.0; 5 * dim]), |e| matches!(e, Error::Embeddings { .. })),
        ];
        for (outcome, expected) in outcomes {
            let mut plain = session(&model, &text);
            let mut job = finished(&plain, &mut Fixed(outcome));
            let version = plain.version();
            let error = dropped(plain.splice(&mut job, Policy::AtTail));
            assert!(expected(&error), "{error:?}");
            assert_eq!(plain.version(), version);
            assert_eq!(decode(&mut plain, &[3], 10), wanted);
        }
        // One that never answers, one that is cancelled twice, and one that panics on its thread.
        let mut plain = session(&model, &text);
        let (mut waits, task) = Job::new(plain.snapshot(), 4);
        assert_eq!(plain.splice(&mut waits, Policy::AtTail), Splice::Pending);
        let (mut gone, late) = Job::new(plain.snapshot(), 4);
        gone.cancel();
        gone.cancel();
        block_on(late.run(&mut Fixed(Ok(vec![0.5; dim]))));
        assert_eq!(dropped(plain.splice(&mut gone, Policy::AtTail)), Error::Cancelled);
        let (mut broken, panics) = Job::new(plain.snapshot(), 4);
        let thread = std::thread::spawn(move || block_on(panics.run(&mut Panics)));
        assert!(thread.join().is_err());
        assert!(matches!(dropped(plain.splice(&mut broken, Policy::AtTail)), Error::Coprocessor { .. }));
        assert_eq!(decode(&mut plain, &[3], 10), wanted);
        drop(task);
    }
}

#[test]
fn latents_go_where_the_policy_says() {
    for model in [everywhere("llama"), recursion_everywhere()].concat() {
        let (text, dim) = (ids(&model, 100), model.config().dim as usize);
        let rows: Vec<f32> = (0..3 * dim).map(|i| (i as f32 * 0.37).sin()).collect();
        let latents = Input::Embeddings(Kind::Latent, &rows);
        let parts = |order: &[Input<'_>]| {
            let mut plain = Session::new(model.clone(), 200).expect("room");
            order.iter().for_each(|&input| plain.read(input).expect("it reads"));
            logits(&mut plain, Input::Tokens(&text[80..]))
        };
        let stale = |policy| {
            let mut session = session(&model, &text[..70]);
            let mut job = finished(&session, &mut Fixed(Ok(rows.clone())));
            session.read(Input::Tokens(&text[70..80])).expect("it reads");
            let splice = session.splice(&mut job, policy);
            assert_eq!(dropped(session.splice(&mut job, policy)), Error::Cancelled, "latents were given twice");
            (splice, session)
        };
        let (splice, mut tail) = stale(Policy::AtTail);
        assert!(matches!(splice, Splice::Spliced(id) if id == tail.segments()[1].id));
        let text_then = parts(&[Input::Tokens(&text[..70]), Input::Tokens(&text[70..80]), latents]);
        assert_eq!(logits(&mut tail, Input::Tokens(&text[80..])), text_then);
        let (splice, mut within) = stale(Policy::AtSnapshot);
        assert!(matches!(splice, Splice::Spliced(id) if id == within.segments()[1].id));
        assert_eq!(
            within.segments().iter().map(|s| (s.len, s.position)).collect::<Vec<_>>(),
            [(70, 0), (3, 70), (10, 73)]
        );
        let in_order = parts(&[Input::Tokens(&text[..70]), latents, Input::Tokens(&text[70..80])]);
        assert_eq!(logits(&mut within, Input::Tokens(&text[80..])), in_order);
        let (splice, mut same) = stale(Policy::DropIfStale);
        assert!(matches!(dropped(splice), Error::Stale { .. }));
        let plain = parts(&[Input::Tokens(&text[..70]), Input::Tokens(&text[70..80])]);
        assert_eq!(logits(&mut same, Input::Tokens(&text[80..])), plain);
        // A sequence that went back behind the snapshot has never had its version.
        let mut back = session(&model, &text[..70]);
        let mut job = finished(&back, &mut Fixed(Ok(rows.clone())));
        back.rollback(RollbackTarget::Len(60)).expect("it was that long");
        back.read(Input::Tokens(&text[60..75])).expect("it reads");
        assert!(matches!(dropped(back.splice(&mut job, Policy::AtSnapshot)), Error::Stale { .. }));
    }
}

#[test]
fn a_coprocessor_of_base_weights_gives_the_base_hidden_states() {
    for model in everywhere("llama") {
        let text = ids(&model, 80);
        let mut base = session(&model, &text[..70]);
        let soft = block_on(base.embeddings(&text[70..])).expect("they are embedded");
        let mut coprocessor = SoftTokens::new(model.clone(), soft).expect("rows of the width");
        let (mut job, task) = Job::new(base.snapshot(), 10);
        let pages = base.pool().pages().free();
        // On a thread of its own, as it is meant.
        let given = std::thread::spawn(move || {
            block_on(task.run(&mut coprocessor));
        });
        given.join().expect("no panic");
        assert_eq!(base.pool().pages().free(), pages, "the coprocessor kept pages");
        let mut wanted = Vec::new();
        let mut plain = base.fork().expect("a fork");
        block_on(plain.hidden(Input::Tokens(&text[70..]), |rows| wanted.extend_from_slice(rows))).expect("it reads");
        let mut by_hand = base.fork().expect("a fork");
        by_hand.read(Input::Embeddings(Kind::Latent, &wanted)).expect("it reads");
        assert!(matches!(base.splice(&mut job, Policy::DropIfStale), Splice::Spliced(_)));
        assert_eq!(base.tokens()[69..], [&text[69..70], &[NO_TOKEN; 10]].concat());
        assert_eq!(logits(&mut base, Input::Tokens(&[1, 2])), logits(&mut by_hand, Input::Tokens(&[1, 2])));
    }
}

/// A safetensors file.
fn file(tensors: &[(&str, &[usize], &[f32])], notes: &[(&str, &str)]) -> Vec<u8> {
    use safetensors::{Dtype, tensor::TensorView};
    let view = |(name, shape, values): &(&str, &[usize], &[f32])| {
        let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        (name.to_string(), shape.to_vec(), bytes)
    };
    let owned: Vec<_> = tensors.iter().map(view).collect();
    let views = owned.iter().map(|(name, shape, bytes)| {
        (name.clone(), TensorView::new(Dtype::F32, shape.clone(), bytes).expect("a whole tensor"))
    });
    let notes = notes.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    safetensors::serialize(views, Some(notes)).expect("a file")
}

#[test]
fn changes_of_a_model_need_their_base() {
    let Some(base) = files("llama") else { return };
    let name = "model.layers.0.self_attn.q_proj.weight";
    let fingerprint = block_on(base.weights.fingerprint()).expect("it is in memory");
    let shape = base.weights.get(name).expect("the tensor").shape.clone();
    let [out, inputs] = [shape[0] as usize, shape[1] as usize];
    let with = |bytes: Vec<u8>| {
        let Files { weights, family, .. } = files("llama").expect("it was there");
        let weights = block_on(overlay(weights, checkpoint("changes", bytes)))?;
        Ok::<_, Error>(load(cpu(), Files { weights, family, tokenizer: None, template: None }))
    };
    let first = |model: Arc<Model<Any>>| {
        let mut session = Session::new(model, 20).expect("room");
        logits(&mut session, Input::Tokens(&[1, 2, 3]))
    };
    let plain = first(load(cpu(), base));
    let note: &[(&str, &str)] = &[("base", &fingerprint), ("alpha", "4")];
    let (a, zero): (Vec<f32>, Vec<f32>) = ((0..2 * inputs).map(|i| (i as f32).sin()).collect(), vec![0.0; out * 2]);
    let b: Vec<f32> = (0..2 * out).map(|i| (i as f32).cos() * 0.05).collect();
    let (a_name, b_name) = (format!("{name}.lora_a"), format!("{name}.lora_b"));
    let lora = |b: &[f32]| file(&[(&a_name, &[2, inputs], &a), (&b_name, &[out, 2], b)], note);
    assert_eq!(first(with(lora(&zero)).expect("it fits")), plain, "B = 0 changes nothing");
    let low = first(with(lora(&b)).expect("it fits"));
    assert_ne!(low, plain);
    // The same as a whole tensor.
    let Files { weights, .. } = files("llama").expect("it was there");
    let tensor = weights.get(name).expect("the tensor").clone();
    let bytes = block_on(weights.read(&tensor, 0, tensor.bytes)).expect("it is whole");
    let mut whole: Vec<f32> = bytes.chunks_exact(4).map(|w| f32::from_le_bytes([w[0], w[1], w[2], w[3]])).collect();
    for (row, b) in whole.chunks_exact_mut(inputs).zip(b.chunks_exact(2)) {
        for (&b, a) in b.iter().zip(a.chunks_exact(inputs)) {
            row.iter_mut().zip(a).for_each(|(w, a)| *w += 2.0 * b * a);
        }
    }
    let full = file(&[(name, &[out, inputs], &whole)], note);
    assert_eq!(first(with(full).expect("it fits")), low);
    // Refusals.
    let refused = |bytes| with(bytes).map(|_| ()).expect_err("it must be refused");
    let other = file(&[(name, &[out, inputs], &whole)], &[("base", "0123456789abcdef")]);
    assert!(matches!(refused(other), Error::WrongBase { .. }));
    assert!(matches!(refused(file(&[(name, &[out, inputs], &whole)], &[])), Error::WrongBase { .. }));
    assert!(matches!(refused(file(&[("no.such", &[1], &[1.0])], note)), Error::MissingTensor { .. }));
    assert!(matches!(refused(file(&[(name, &[1], &[1.0])], note)), Error::TensorShape { .. }));
    assert!(matches!(refused(file(&[(&a_name, &[2, inputs], &a)], note)), Error::MissingTensor { .. }));
    let bad = file(&[], &[("base", &fingerprint), ("alpha", "NaN")]);
    assert!(matches!(refused(bad), Error::Format { .. }));
}

#[test]
fn decoding_beside_a_coprocessor_on_another_thread_is_undisturbed() {
    for backend in [Some(cpu()), adapter()].into_iter().flatten() {
        let Some(files) = files("llama") else { return };
        let model = load(backend, files);
        let text = ids(&model, 100);
        let wanted = decode(&mut session(&model, &text), &[3], 30);
        let mut decoding = session(&model, &text);
        let rows = vec![0.1; 64 * model.config().dim as usize];
        let mut coprocessor = SoftTokens::new(model.clone(), rows).expect("rows of the width");
        let (job, task) = Job::new(decoding.snapshot(), 64);
        std::thread::scope(|scope| {
            scope.spawn(move || block_on(task.run(&mut coprocessor)));
            assert_eq!(decode(&mut decoding, &[3], 30), wanted);
        });
        assert!(job.is_done());
        let pool = decoding.pool().clone();
        drop((decoding, job));
        assert_eq!(pool.pages().free(), pool.pages().count());
    }
}
