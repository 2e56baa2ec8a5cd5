//! Mixture-of-Recursions: against its layers written out in f64, with routers that choose given tokens.

use crate::folder::Folder;
use crate::layers::{Rows, add, norm};
use crate::routing::backends;
use crate::{IDS, cpu, logits, model, read};
use foveate_core::host::HostBackend;
use foveate_core::lora::Adapter;
use foveate_core::model::Model;
use foveate_core::session::Session;
use foveate_core::weights::{Checkpoint, Memory, Source};
use foveate_core::{Any, Error};
use foveate_kernels::rng::Rng;
use foveate_kernels::testing::{Tolerance, compare};
use pollster::block_on;
use std::sync::Arc;

/// Elements of a head.
const HEAD: usize = 8;
/// Query heads that share one of keys.
const SHARE: usize = 2;

pub(crate) const EXPERT: &str = r#""type":"expert","expert":{"alpha":0.8}"#;
const TOKEN: &str = r#""type":"token""#;

/// Both routers with both functions, in both kinds of stacks.
fn folders() -> Vec<Folder> {
    vec![
        Folder::mor(1, 3, EXPERT),
        Folder::mor(0, 2, r#""type":"expert","temp":0.5,"expert":{"router_func":"tanh","alpha":0.7}"#),
        Folder::mor(1, 3, TOKEN),
        Folder::mor(0, 2, r#""type":"token","temp":1.5,"token":{"router_func":"sigmoid","alpha":1.3}"#),
        Folder::mor(1, 1, EXPERT),
        Folder::mor(1, 3, EXPERT).by_recursion(),
        Folder::mor(0, 2, r#""type":"expert","expert":{"router_func":"tanh","alpha":0.7}"#).by_recursion(),
        Folder::mor(1, 3, TOKEN).by_recursion(),
    ]
}

/// What a model computes of a text.
struct Run {
    logits: Vec<f32>,
    /// The stream in front of each step.
    entries: Vec<Rows>,
    /// For each token how many steps count.
    depths: Vec<usize>,
    /// The router's logit that is nearest to another choice.
    margin: f64,
}

fn run(folder: &Folder, ids: &[u32]) -> Run {
    let embedding = folder.matrix("model.embed_tokens.weight");
    let mut x: Rows = ids.iter().map(|&id| embedding[id as usize].clone()).collect();
    let ends = usize::from(folder.config.contains("middle_cycle"));
    let steps = folder.number("num_recursion", 0.0) as usize;
    let last = folder.number("num_hidden_layers", 0.0) as usize - 1;
    let all: Vec<usize> = (0..x.len()).collect();
    if ends > 0 {
        x = layer(folder, 0, &x, &all, &mut None);
    }
    let shared = folder.flag("enable", true);
    // The keys and values of the first step, which all steps read, or those of one step.
    let mut first = vec![None, None];
    let mut f = |x: &Rows, going: &[usize]| {
        let (mut x, mut own) = (x.clone(), vec![None, None]);
        let (keys, going) = if shared { (&mut first, &all[..]) } else { (&mut own, going) };
        for (at, keys) in keys.iter_mut().enumerate() {
            x = layer(folder, ends + at, &x, going, keys);
        }
        x
    };
    let token = folder.config.contains(r#""type":"token""#);
    let alpha = folder.number("alpha", if token { 1.0 } else { 0.1 });
    let route = |step: usize, x: &Rows| -> Rows {
        let logits = folder.product(&format!("model.routers.{step}.weight"), x);
        logits.iter().map(|row| row.iter().map(|x| x / folder.number("temp", 1.0)).collect()).collect()
    };
    let (mut depths, mut entries, mut margin) = (vec![0; ids.len()], Vec::new(), f64::MAX);
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    if token {
        let l = route(0, &x);
        let mut h = x.clone();
        for (depth, l) in depths.iter_mut().zip(&l) {
            *depth = 1 + (0..steps).fold(0, |best, r| if l[r] > l[best] { r } else { best });
            let others = (0..steps).filter(|r| r + 1 != *depth).map(|r| l[*depth - 1] - l[r]);
            margin = others.fold(margin, f64::min);
        }
        for step in 1..=steps {
            entries.push(h.clone());
            let going: Vec<usize> = (0..h.len()).filter(|&t| depths[t] >= step).collect();
            let out = f(&h, &going);
            going.into_iter().for_each(|t| h[t] = out[t].clone());
        }
        for t in 0..x.len() {
            let chosen = l[t][depths[t] - 1];
            let weight = match folder.config.contains(r#""router_func":"sigmoid""#) {
                true => sigmoid(chosen),
                false => 1.0 / l[t].iter().map(|l| (l - chosen).exp()).sum::<f64>(),
            };
            x[t].iter_mut().zip(&h[t]).for_each(|(x, h)| *x += alpha * weight * h);
        }
    } else {
        for step in 0..steps {
            entries.push(x.clone());
            let l = route(step, &x).concat();
            margin = l.iter().map(|l| l.abs()).fold(margin, f64::min);
            let going: Vec<usize> = (0..x.len()).filter(|&t| depths[t] == step && l[t] >= 0.0).collect();
            let out = f(&x, &going);
            for t in going {
                let l = l[t];
                depths[t] += 1;
                let tanh = folder.config.contains(r#""router_func":"tanh""#);
                let weight = alpha * if tanh { l.tanh() } else { sigmoid(l) };
                x[t].iter_mut().zip(&out[t]).for_each(|(x, f)| *x += weight * f);
            }
        }
    }
    if ends > 0 {
        x = layer(folder, last, &x, &all, &mut None);
    }
    let x = norm(&x, &folder.vector("model.norm.weight"));
    let logits = folder.product("model.embed_tokens.weight", &x).concat().into_iter().map(|x| x as f32).collect();
    Run { logits, entries, depths, margin }
}

/// Rotated keys, and values.
type Keys = Option<(Rows, Rows)>;

/// A layer over the tokens of a text that are in `going`, which see each other, with its own keys and values unless some
/// are there. Other rows mean nothing behind it.
fn layer(folder: &Folder, index: usize, x: &Rows, going: &[usize], keys: &mut Keys) -> Rows {
    let name = |inside: &str| format!("model.layers.{index}.{inside}.weight");
    let product = |part: &str, x: &Rows| folder.product(&name(&format!("self_attn.{part}_proj")), x);
    let mut x = x.clone();
    let input = norm(&x, &folder.vector(&name("input_layernorm")));
    let q = turned(folder, product("q", &input));
    let (k, v) = &*keys.get_or_insert_with(|| (turned(folder, product("k", &input)), product("v", &input)));
    let mut mixed = vec![Vec::new(); x.len()];
    for (t, mixed) in mixed.iter_mut().enumerate() {
        let seen: Vec<usize> = going.iter().copied().filter(|&j| j <= t).collect();
        for (h, q) in q[t].chunks_exact(HEAD).enumerate() {
            let of = |row: &Vec<f64>| row[h / SHARE * HEAD..][..HEAD].to_vec();
            let score = |j: usize| of(&k[j]).iter().zip(q).map(|(k, q)| k * q).sum::<f64>() / (HEAD as f64).sqrt();
            let scores: Vec<f64> = seen.iter().map(|&j| score(j)).collect();
            let most = scores.iter().copied().fold(f64::MIN, f64::max);
            let sum: f64 = scores.iter().map(|z| (z - most).exp()).sum();
            let weigh = |d: usize| {
                seen.iter().zip(&scores).map(move |(&j, z)| (z - most).exp() / sum * v[j][h / SHARE * HEAD + d])
            };
            mixed.extend((0..HEAD).map(|d| weigh(d).sum::<f64>()));
        }
    }
    add(&mut x, &product("o", &mixed));
    let input = norm(&x, &folder.vector(&name("post_attention_layernorm")));
    add(&mut x, &folder.mlp(index, &input));
    x
}

/// Heads rotated by the positions of their tokens.
fn turned(folder: &Folder, mut rows: Rows) -> Rows {
    let theta = folder.number("rope_theta", 0.0);
    for (t, row) in rows.iter_mut().enumerate() {
        for head in row.chunks_exact_mut(HEAD) {
            for i in 0..HEAD / 2 {
                let (sin, cos) = (t as f64 * theta.powf(-2.0 * i as f64 / HEAD as f64)).sin_cos();
                let (a, b) = (head[i], head[i + HEAD / 2]);
                (head[i], head[i + HEAD / 2]) = (a * cos - b * sin, b * cos + a * sin);
            }
        }
    }
    rows
}

/// Lets the router of a step choose exactly some tokens of [`IDS`]: a perceptron on the stream in front of the step, whose
/// rows are independent.
fn choose(folder: &mut Folder, step: usize, chosen: &[usize]) {
    let rows = run(folder, &IDS).entries.swap_remove(step);
    let mut router = vec![0.0; rows[0].len()];
    let wanted = |t: usize| if chosen.contains(&t) { 1.0 } else { -1.0 };
    let score = |router: &[f64], t: usize| router.iter().zip(&rows[t]).map(|(a, b)| a * b).sum::<f64>() * wanted(t);
    // A margin, so that executors make the same choice.
    while let Some(t) = (0..rows.len()).find(|&t| score(&router, t) < 0.05) {
        router.iter_mut().zip(&rows[t]).for_each(|(r, x)| *r += 0.1 * wanted(t) * x);
    }
    let tensor = folder.tensors.get_mut(&format!("model.routers.{step}.weight")).expect("a router");
    tensor.1 = router.into_iter().map(|x| x as f32).collect();
}

/// Checks the logits of every executor, in one piece and token by token; on software drivers the first few.
fn everywhere(folder: &Folder, wanted: &[f32]) {
    // The first is the reference.
    for (at, backend) in backends().into_iter().enumerate() {
        let name = foveate_core::Backend::describe(&backend);
        let tolerance = if at == 0 { Tolerance::MODEL_REFERENCE } else { Tolerance::MODEL_EXECUTOR };
        let model = model(folder, backend);
        let session = || Session::new(model.clone(), IDS.len() as u32).expect("room");
        let whole = read(&mut session(), &IDS);
        let mut stepped = session();
        let count = if matches!(model.backend(), Any::Gpu(_)) { 4 } else { IDS.len() };
        let steps: Vec<f32> = IDS[..count].iter().flat_map(|id| read(&mut stepped, &[*id])).collect();
        for (how, got) in [("at once", whole), ("token by token", steps)] {
            let found = compare(&got, &wanted[..got.len()], tolerance);
            assert!(found.within, "{} on {name}, {how}: {found}", folder.config);
        }
    }
}

#[test]
fn recursions_are_their_layers_written_out() {
    for folder in folders() {
        let wanted = run(&folder, &IDS);
        let steps = folder.number("num_recursion", 0.0) as usize;
        let least = usize::from(folder.config.contains(r#""type":"token""#));
        assert!(wanted.margin > 1e-3, "{}: a choice within {}", folder.config, wanted.margin);
        for depth in [least, steps] {
            assert!(wanted.depths.contains(&depth), "{}: {:?}", folder.config, wanted.depths);
        }
        everywhere(&folder, &wanted.logits);
    }
}

#[test]
fn any_tokens_may_go_on() {
    let all: Vec<usize> = (0..IDS.len()).collect();
    let some: &[usize] = &[0, 3, 4, 8, 9, 15, 20];
    for (steps, depths) in [
        // All go on everywhere; ever fewer down to one; the last alone; nobody at the end; nobody at all.
        ([&all[..], &all, &all], [21, 21, 21]),
        ([&all, some, &[8]], [21, 7, 1]),
        ([&all, &[20], &[20]], [21, 1, 1]),
        ([some, &all, &[]], [7, 7, 0]),
        ([&[], &all, &all], [0, 0, 0]),
    ] {
        let mut all = Vec::new();
        for mut folder in [Folder::mor(1, 3, EXPERT), Folder::mor(1, 3, EXPERT).by_recursion()] {
            for (step, chosen) in steps.into_iter().enumerate() {
                choose(&mut folder, step, chosen);
            }
            let wanted = run(&folder, &IDS);
            let going = |step: usize| wanted.depths.iter().filter(|depth| **depth > step).count();
            assert_eq!([going(0), going(1), going(2)], depths);
            everywhere(&folder, &wanted.logits);
            all.push(wanted.logits);
        }
        let differs = all[0].iter().zip(&all[1]).any(|(a, b)| (a - b).abs() > 1e-2);
        assert_eq!(differs, depths[0] > 0, "keys of the first step count where there are others");
    }
}

/// Routers of zeros choose all tokens with a sigmoid of a half, and the first of equal depths.
#[test]
fn a_recursion_of_weight_1_is_the_unrolled_stack() {
    for ends in [0, 1] {
        let zeros = |mor: &str| {
            let mut folder = Folder::mor(ends, 3, mor);
            let routers = folder.tensors.iter_mut().filter(|(name, _)| name.contains("routers"));
            routers.for_each(|(_, (_, values))| values.fill(0.0));
            folder
        };
        let all: Vec<usize> = (0..IDS.len()).collect();
        let stack = |steps: usize, shared: bool| {
            let folder = zeros(EXPERT);
            let embedding = folder.matrix("model.embed_tokens.weight");
            let mut x: Rows = IDS.iter().map(|&id| embedding[id as usize].clone()).collect();
            if ends > 0 {
                x = layer(&folder, 0, &x, &all, &mut None);
            }
            let mut keys = [None, None];
            for _ in 0..steps {
                let before = x.clone();
                if !shared {
                    keys = [None, None];
                }
                for (at, keys) in keys.iter_mut().enumerate() {
                    x = layer(&folder, ends + at, &x, &all, keys);
                }
                add(&mut x, &before);
            }
            if ends > 0 {
                x = layer(&folder, 7, &x, &all, &mut None);
            }
            let x = norm(&x, &folder.vector("model.norm.weight"));
            folder.product("model.embed_tokens.weight", &x).concat().into_iter().map(|x| x as f32).collect::<Vec<_>>()
        };
        let [expert, token] = [r#""type":"expert","expert":{"alpha":2}"#, r#""type":"token","token":{"alpha":3}"#];
        everywhere(&zeros(expert), &stack(3, true));
        everywhere(&zeros(expert).by_recursion(), &stack(3, false));
        everywhere(&zeros(token), &stack(1, true));
    }
}

#[test]
fn later_steps_take_no_memory_for_weights_or_keys() {
    let sizes = |steps| {
        let folder = Folder::mor(1, steps, EXPERT);
        let model = model(&folder, cpu());
        let config = model.config();
        let keys = foveate_core::cache::Pool::<Any>::page_bytes(config, foveate_kernels::dtype::DType::F32);
        (folder.weights().len(), keys.expect("a format of keys"))
    };
    let ((one, keys), (four, same)) = (sizes(1), sizes(4));
    assert_eq!(keys, same);
    // Three routers, with their names.
    assert!(four - one < 3 * (4 * 32 + 100), "{}", four - one);
}

#[test]
fn recursions_that_mean_nothing_are_refused() {
    let config = Folder::mor(1, 3, EXPERT).config;
    for (from, to, word) in [
        (r#""num_hidden_layers":8"#, r#""num_hidden_layers":9"#, "recursive: 9 layers"),
        (r#""num_hidden_layers":8"#, r#""num_hidden_layers":2"#, "recursive: 2 layers"),
        (r#""recursive":{"num_recursion":3"#, r#""recursive":{"num_recursion":0"#, "num_recursion"),
        (r#""recursive":{"num_recursion":3"#, r#""recursive":{"num_recursion":2"#, "num_recursion"),
        (
            r#""recursive":{"num_recursion":3,"sharing":"middle_"#,
            r#""recursive":{"num_recursion":3,"sharing":"middle_sequence_"#,
            "middle_sequence_cycle",
        ),
        (r#""recursive":"#, r#""recursive_":"#, "recursive is missing"),
        (r#""mor":{"#, r#""mor_":{"#, "mor is missing"),
        (r#""kv_sharing":{"#, r#""kv_sharing":{"update_cache":true,"#, "update_cache"),
        (r#""type":"expert""#, r#""type":"depth""#, "mor.type depth"),
        (r#""alpha":0.8"#, r#""router_func":"softmax""#, "mor.expert.router_func softmax"),
        (r#""alpha":0.8"#, r#""sampling":"aux_router""#, "aux_router"),
        (r#""alpha":0.8"#, r#""gating":"none""#, "gating"),
        (r#""alpha":0.8"#, r#""alpha":1e300"#, "scale"),
        (r#""type":"expert""#, r#""type":"expert","temp":0"#, "temperature"),
        (r#""type":"expert""#, r#""type":"expert","router_type":"mlp""#, "router_type"),
        (r#""type":"expert""#, r#""type":"expert","rand_router":true"#, "rand_router"),
        (r#""type":"expert""#, r#""type":"expert","token":{"alpha":1}"#, "mor.token"),
    ] {
        assert!(config.contains(from), "{from}");
        let folder = Folder { config: config.replace(from, to), tensors: Default::default() };
        match folder.files().err() {
            Some(Error::Config { reason }) => assert!(reason.contains(word), "{to}: {reason}"),
            other => panic!("{to}: {other:?}"),
        }
    }
    let mut folder = Folder::mor(1, 3, EXPERT);
    folder.tensors.get_mut("model.routers.1.weight").expect("a router").1[3] = f32::NAN;
    let mut report = |_| Ok(());
    let load = Model::load(cpu(), folder.files().expect("a known family"), &mut report);
    let refused = block_on(load).err();
    assert!(matches!(refused, Some(Error::Format { .. })), "{refused:?}");
}

#[test]
fn settings_of_training_change_nothing() {
    let folder = Folder::mor(1, 3, EXPERT);
    let wanted = logits(&folder, Any::Host(HostBackend::reference()));
    let config = folder.config.replace(
        r#""type":"expert","expert":{"#,
        r#""type":"expert","enable":true,"capacity":"1.0,0.7,0.3","z_loss":true,"z_coeff":0.001,"rand_router":false,
        "expert":{"sampling":"aux_loss","coeff":0.001,"cap_warmup_step":100,"gating":"weighted","router_func":"sigmoid","#,
    );
    let config = config
        .replace(r#""recursive":{"#, r#""recursive":{"enable":true,"ln_share":true,"initialization":"stepwise","#);
    assert!(config.len() > folder.config.len() + 250);
    let folder = Folder { config, ..folder };
    assert_eq!(logits(&folder, Any::Host(HostBackend::reference())), wanted);
}

#[test]
fn adapters_of_a_layer_are_those_of_all_its_steps() {
    const RANK: usize = 3;
    let mut rng = Rng::new(31);
    for mut folder in [Folder::mor(1, 3, EXPERT), Folder::mor(1, 3, EXPERT).by_recursion()] {
        let mut files = folder.files().expect("a known family");
        let mut adapter = Folder { config: String::new(), tensors: Default::default() };
        for part in ["self_attn.q_proj", "self_attn.k_proj", "self_attn.o_proj", "mlp.up_proj", "mlp.down_proj"] {
            let name = format!("model.layers.1.{part}");
            let (shape, weight) = folder.tensors.get_mut(&format!("{name}.weight")).expect("a matrix");
            let (rows, cols) = (shape[0], shape[1]);
            let (a, b) = (rng.normals(RANK * cols, 0.3), rng.normals(rows * RANK, 0.3));
            for (at, x) in weight.iter_mut().enumerate() {
                *x += (0..RANK).map(|k| b[at / cols * RANK + k] * a[k * cols + at % cols]).sum::<f32>();
            }
            for (side, shape, values) in [("A", vec![RANK, cols], a), ("B", vec![rows, RANK], b)] {
                adapter.tensors.insert(format!("base_model.model.{name}.lora_{side}.weight"), (shape, values));
            }
        }
        let source: Box<dyn Source> = Box::new(Memory::new("adapter_model.safetensors", adapter.weights()));
        let weights = block_on(Checkpoint::safetensors(vec![source])).expect("a whole file");
        let config = format!(r#"{{"peft_type":"LORA","r":{RANK},"lora_alpha":{RANK},"bias":"none"}}"#);
        let adapter = block_on(Adapter::from_peft(config.as_bytes(), &weights)).expect("an adapter");
        files = files.with_adapter(adapter, 1.0).expect("rows in order");
        let model = Arc::new(block_on(Model::load(cpu(), files, &mut |_| Ok(()))).expect("the model loads"));
        let mut session = Session::new(model, IDS.len() as u32).expect("room");
        let wanted = run(&folder, &IDS);
        assert!(wanted.margin > 1e-3, "a choice within {}", wanted.margin);
        let found = compare(&read(&mut session, &IDS), &wanted.logits, Tolerance::MODEL_EXECUTOR);
        assert!(found.within, "{}: {found}", folder.config);
    }
}
