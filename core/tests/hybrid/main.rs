//! Models with states and with recursions: what flash-linear-attention saves, against its layers written out, and hybrids
//! that are continued, read in pieces and rolled back.

mod folder;
#[path = "../gguf_file/mod.rs"]
mod gguf_file;
mod layers;
mod predictor;
mod recursion;
mod routed;
mod routing;
mod rwkv;
mod rwkv_gguf;

use folder::Folder;
use foveate_core::generate::{Draft, Drafting, Generation, Generator, Speculation};
use foveate_core::gpu::{self, Gpu};
use foveate_core::host::HostBackend;
use foveate_core::model::Model;
use foveate_core::sample::{Sampler, Sampling};
use foveate_core::session::Session;
use foveate_core::{Any, Error};
use foveate_kernels::dtype::DType;
use foveate_kernels::testing::{Tolerance, compare};
use std::sync::Arc;

const IDS: [u32; 21] = [5, 1, 17, 17, 3, 40, 2, 9, 33, 8, 21, 0, 46, 12, 12, 7, 30, 25, 4, 19, 38];

fn model(folder: &Folder, backend: Any) -> Arc<Model<Any>> {
    let mut report = |_| Ok(());
    let load = Model::load(backend, folder.files().expect("a known family"), &mut report);
    Arc::new(pollster::block_on(load).expect("the model loads"))
}

fn cpu() -> Any {
    Any::Host(HostBackend::exact_cpu(2))
}

fn read(session: &mut Session<Any>, ids: &[u32]) -> Vec<f32> {
    let mut all = Vec::new();
    pollster::block_on(session.logits(ids, |rows| all.extend_from_slice(rows))).expect("logits");
    all
}

fn logits(folder: &Folder, backend: Any) -> Vec<f32> {
    read(&mut Session::new(model(folder, backend), IDS.len() as u32).expect("room"), &IDS)
}

/// Every option of the layers that has a form here.
fn fla() -> Vec<Folder> {
    vec![
        Folder::delta_net(r#""qk_activation":"silu","qk_norm":"l2""#),
        Folder::delta_net(r#""use_gate":true,"allow_neg_eigval":true,"qk_activation":"relu","expand_v":2"#),
        Folder::delta_net(r#""qk_activation":"elu","expand_k":0.5,"tie_word_embeddings":true"#),
        Folder::delta_net(r#""qk_activation":"identity","use_short_conv":false"#),
        Folder::gated_deltanet(r#""num_v_heads":4,"allow_neg_eigval":true"#),
        Folder::gated_deltanet(r#""use_gate":false,"expand_v":1.5,"conv_size":3"#),
    ]
}

#[test]
fn fla_models_are_their_layers_written_out() {
    written_out(fla(), layers::logits);
}

/// Compares the reference executor's logits with those of a definition in f64.
fn written_out(folders: Vec<Folder>, definition: impl Fn(&Folder, &[u32]) -> Vec<f32>) {
    for folder in folders {
        let wanted = definition(&folder, &IDS);
        let got = logits(&folder, Any::Host(HostBackend::reference()));
        let found = compare(&got, &wanted, Tolerance::MODEL_REFERENCE);
        assert!(found.within, "{}: {found}", folder.config);
    }
}

/// RWKV-7 as it is, and with each option.
fn rwkv7() -> Vec<Folder> {
    ["", r#""value_dim":64"#, r#""norm_bias":false,"num_heads":2"#].map(Folder::rwkv7).into()
}

#[test]
fn rwkv7_is_its_layers_written_out() {
    written_out(rwkv7(), rwkv::logits);
}

#[test]
fn rwkv7_of_a_gguf_file_is_its_layers_written_out() {
    for gated in [true, false] {
        let mut folder = Folder::rwkv7("");
        let file = rwkv_gguf::converted(&folder, gated);
        if !gated {
            folder.tensors.retain(|name, _| !name.contains("g_lora"));
        }
        let mut report = |_| Ok(());
        let load = Model::load(cpu(), rwkv::files(&file).expect("a known architecture"), &mut report);
        let model = Arc::new(pollster::block_on(load).expect("the model loads"));
        let got = read(&mut Session::new(model, IDS.len() as u32).expect("room"), &IDS);
        let found = compare(&got, &rwkv::logits(&folder, &IDS), Tolerance::MODEL_EXECUTOR);
        assert!(found.within, "gated {gated}: {found}");
    }
}

#[test]
fn executors_agree_with_the_reference() {
    // On GPUs one of each family, with most of the options.
    let mut folders = fla();
    let chosen = [1, 4, folders.len(), folders.len() + 1, folders.len() + 2, folders.len() + 3, folders.len() + 4];
    folders.push(Folder::qwen3_5());
    folders.extend([Folder::lfm2(), Folder::falcon_h1(), Folder::rwkv7(r#""value_dim":64"#)]);
    folders.push(Folder::routing(&routing::ALL, ""));
    folders.push(Folder::routing(&["local", "routing"], r#""routing_selection":"nearest","num_routing_heads":3"#));
    let adapters = pollster::block_on(gpu::adapters());
    let required = std::env::var("REQUIRE_GPU").is_ok_and(|v| v == "1");
    assert!(!adapters.is_empty() || !required, "no adapter was found");
    for (i, folder) in folders.iter().enumerate() {
        let wanted = logits(folder, Any::Host(HostBackend::reference()));
        let agree = |backend: Any| {
            let name = foveate_core::Backend::describe(&backend);
            let found = compare(&logits(folder, backend), &wanted, Tolerance::MODEL_EXECUTOR);
            assert!(found.within, "{} on {name}: {found}", folder.config);
        };
        agree(cpu());
        for adapter in adapters.iter().filter(|_| chosen.contains(&i)) {
            let options = gpu::Options::default().baseline(true).software(true);
            agree(Any::Gpu(pollster::block_on(Gpu::from_adapter(adapter, options)).expect("a device")));
        }
    }
}

/// Models with states of every kind, and one whose layers run several times.
fn continued() -> [Folder; 9] {
    let nearest = Folder::routing(&["routing"], r#""routing_selection":"nearest""#);
    let routing = Folder::routing(&routing::ALL, "");
    let [hybrid, delta] = [Folder::qwen3_5(), Folder::gated_deltanet("")];
    let new = || Folder::mor(1, 3, recursion::EXPERT);
    let [recursion, own_keys] = [new(), new().by_recursion()];
    let scans = [Folder::lfm2(), Folder::falcon_h1(), Folder::rwkv7("")];
    let [lfm2, falcon_h1, rwkv7] = scans;
    [hybrid, delta, routing, nearest, lfm2, falcon_h1, rwkv7, recursion, own_keys]
}

#[test]
fn pieces_of_any_length_are_the_whole() {
    for folder in continued() {
        let whole = logits(&folder, cpu());
        let model = model(&folder, cpu());
        for pieces in [&[1; 21][..], &[2, 1, 5, 13], &[20, 1]] {
            let mut session = Session::new(model.clone(), IDS.len() as u32).expect("room");
            let (mut got, mut at) = (Vec::new(), 0);
            for &n in pieces {
                got.extend(read(&mut session, &IDS[at..at + n]));
                at += n;
            }
            let found = compare(&got, &whole, Tolerance::MODEL_EXECUTOR);
            assert!(found.within, "{pieces:?}: {found}");
        }
    }
}

#[test]
fn a_session_that_went_back_is_one_that_never_went_there() {
    for folder in continued() {
        let model = model(&folder, cpu());
        let session = || Session::new(model.clone(), 64).expect("room");
        let mut fresh = session();
        read(&mut fresh, &IDS[..9]);
        let wanted = read(&mut fresh, &[1, 2, 3]);

        let mut back = session();
        read(&mut back, &IDS);
        back.rewind(9).expect("it was that long");
        assert_eq!(back.tokens(), &IDS[..9]);
        assert_eq!(read(&mut back, &[1, 2, 3]), wanted);
        // Twice without reading between, and to the beginning.
        back.rewind(10).expect("it was that long");
        back.rewind(9).expect("it was that long");
        assert_eq!(read(&mut back, &[1, 2, 3]), wanted);
        back.rewind(0).expect("it was that long");
        read(&mut back, &IDS[..9]);
        assert_eq!(read(&mut back, &[1, 2, 3]), wanted);
    }
}

#[test]
fn a_refused_prompt_leaves_a_hybrid_as_it_was() {
    let model = model(&Folder::qwen3_5(), cpu());
    let (mut one, mut other) = (Session::new(model.clone(), 24).expect("room"), Session::new(model, 24).expect("room"));
    let mut sampler = Sampler::new(Sampling::default()).expect("greedy");
    let mut next = |session: &mut Session<Any>, ids: &[u32]| pollster::block_on(session.next(ids, &mut sampler));
    next(&mut one, &IDS).expect("a token");
    let full = next(&mut one, &IDS);
    assert!(matches!(full, Err(Error::ContextFull { .. })), "{full:?}");
    next(&mut other, &IDS).expect("a token");
    assert_eq!(next(&mut one, &[4]).expect("a token"), next(&mut other, &[4]).expect("a token"));
}

#[test]
fn tensors_of_parts_that_see_or_draft_are_ignored() {
    assert_eq!(Folder::qwen3_5().files().expect("a known family").ignored(), 2);
    assert_eq!(Folder::delta_net("").files().expect("a known family").ignored(), 0);
}

#[test]
fn what_has_no_form_here_is_refused() {
    for option in [
        r#""qk_norm":"sum""#,
        r#""qk_activation":"tanh""#,
        r#""attn":{"layers":[1]}"#,
        r#""use_beta":false"#,
        r#""expand_v":100"#,
        r#""num_heads":3"#,
        r#""conv_size":17"#,
    ] {
        let refused = Folder::delta_net(option).files().err();
        assert!(matches!(refused, Some(Error::Config { .. })), "{option}: {refused:?}");
    }
}

/// Drafts what plain decoding chose, with every third token wrong.
struct Rehearsed(Vec<u32>);

impl Draft for Rehearsed {
    fn draft<'a>(&'a mut self, tokens: &'a [u32], most: usize, _: Sampler) -> Drafting<'a> {
        let known = self.0.iter().enumerate().skip(tokens.len()).take(most);
        let draft = known.map(|(at, id)| if at % 3 == 0 { (id + 1) % 40 } else { *id }).collect();
        Box::pin(std::future::ready(Ok(draft)))
    }
}

#[test]
fn speculation_leaves_the_texts_of_models_with_states_as_they_are() {
    let folders = [
        Folder::qwen3_5(),
        Folder::lfm2(),
        Folder::falcon_h1(),
        Folder::gated_deltanet(""),
        Folder::rwkv7(""),
        Folder::mor(1, 3, recursion::EXPERT),
    ];
    for folder in &folders {
        let model = model(folder, Any::Host(HostBackend::reference()));
        let generate = |options: Generation| {
            let options = options.max_tokens(40).temperature(0.9).seed(4).ignore_eos(true);
            let mut generator = Generator::start(model.clone(), &IDS[..], 64, DType::F32, &options).expect("room");
            let pieces: Vec<_> = generator.by_ref().collect::<Result<_, _>>().expect("it runs");
            let ids: Vec<u32> = pieces.iter().filter_map(|piece| piece.token.as_ref()).map(|t| t.id).collect();
            (ids, generator.drafts(), generator.session().tokens())
        };
        let (plain, _, tokens) = generate(Generation::new());
        let (ids, drafts, read) = generate(Generation::new().speculate(Speculation::with(Rehearsed(tokens.clone()))));
        assert_eq!((ids, read), (plain, tokens), "{}", folder.config);
        assert!(drafts.accepted > 8 && drafts.drafted > drafts.accepted, "{drafts:?}");
    }
}
