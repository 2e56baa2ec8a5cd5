//! `routing_transformer`: against its layers written out, and its members against those of the whole prefix.

use crate::folder::Folder;
use crate::{IDS, cpu, logits, model, read, routed};
use foveate_core::cache::Saved;
use foveate_core::gpu::{self, Gpu};
use foveate_core::host::HostBackend;
use foveate_core::model::Model;
use foveate_core::session::Session;
use foveate_core::{Any, Error};
use foveate_kernels::testing::{Tolerance, compare};
use std::sync::Arc;

/// Layers of every kind in one model.
pub(crate) const ALL: [&str; 4] = ["linear", "routing", "full", "local"];

#[test]
fn routing_models_are_their_layers_written_out() {
    let kinds: &[(&[&str], &str)] = &[
        (&["routing", "routing"], ""),
        (&["local", "routing"], r#""routing_selection":"nearest","routing_scale":1"#),
        (&["routing"], r#""num_routing_heads":4,"routing_window":64"#),
        (&["full", "routing"], r#""num_routing_heads":1,"routing_window":1"#),
    ];
    for (kinds, options) in kinds {
        let folder = Folder::routing(kinds, options);
        let wanted = routed::logits(&folder, kinds, &IDS);
        let found = compare(&logits(&folder, Any::Host(HostBackend::reference())), &wanted, Tolerance::MODEL_REFERENCE);
        assert!(found.within, "{}: {found}", folder.config);
    }
}

/// The tokens that every centroid of every head has, in the order of time.
fn members(session: &Session<Any>, heads: usize, selection: &str) -> Vec<Vec<u32>> {
    let saved = pollster::block_on(session.save()).expect("it is whole");
    let saved = pollster::block_on(Saved::read(saved)).expect("it was just written");
    let words: Vec<u32> = bytemuck::pod_collect_to_vec(&saved.states[0]);
    let each = words.len() / (heads * 3);
    assert_eq!(each, if selection == "prefix" { 9 } else { 5 });
    words.chunks_exact(each).map(|words| words[1..1 + words[0] as usize].to_vec()).collect()
}

pub(crate) fn backends() -> Vec<Any> {
    let adapters = pollster::block_on(gpu::adapters());
    let required = std::env::var("REQUIRE_GPU").is_ok_and(|v| v == "1");
    assert!(!adapters.is_empty() || !required, "no adapter was found");
    let options = gpu::Options::default().baseline(true).software(true);
    let device = |adapter| Any::Gpu(pollster::block_on(Gpu::from_adapter(adapter, options)).expect("a device"));
    [Any::Host(HostBackend::reference()), cpu()].into_iter().chain(adapters.iter().map(device)).collect()
}

#[test]
fn decoding_has_the_members_of_the_whole_prefix_at_every_step() {
    for selection in ["prefix", "nearest"] {
        let folder = Folder::routing(&["routing", "full"], &format!(r#""routing_selection":"{selection}""#));
        for backend in backends() {
            let model = model(&folder, backend);
            let session = || Session::new(model.clone(), 32).expect("room");
            let mut stepped = session();
            for n in 1..=IDS.len() {
                read(&mut stepped, &IDS[n - 1..n]);
                // On software drivers now and then.
                if matches!(model.backend(), Any::Gpu(_)) && n % 10 != 1 {
                    continue;
                }
                // In one piece.
                let mut whole = session();
                read(&mut whole, &IDS[..n]);
                assert_eq!(members(&stepped, 2, selection), members(&whole, 2, selection), "after {n}");
            }
        }
    }
}

#[test]
fn configurations_that_mean_nothing_are_refused() {
    let config = Folder::routing(&["routing", "local"], "").config;
    for (from, to) in [
        ("}", r#","routing_selection":"balanced"}"#),
        ("}", r#","num_routing_heads":5}"#),
        ("}", r#","num_routing_heads":0}"#),
        ("}", r#","head_dim":512}"#),
        ("}", r#","head_dim":16777216}"#),
        ("}", r#","routing_scale":"much"}"#),
        ("routing_attention", "sparse_attention"),
        (r#""num_centroids":3"#, r#""num_centroids":0"#),
        (r#""num_centroids":3"#, r#""num_centroids":16777217"#),
        (r#""routing_window":4"#, r#""routing_window":0"#),
        (r#""local_window":5"#, r#""local_window":0"#),
        (r#""num_hidden_layers":2"#, r#""num_hidden_layers":3"#),
        (r#""layer_types""#, r#""num_routing_layers":3,"other""#),
    ] {
        assert!(config.contains(from));
        let folder = Folder { config: config.replace(from, to), tensors: Default::default() };
        let refused = folder.files().err();
        assert!(matches!(refused, Some(Error::Config { .. })), "{to}: {refused:?}");
    }
}

#[test]
fn centroids_that_are_no_numbers_or_too_few_are_refused() {
    let load = |change: &dyn Fn(&mut Folder)| {
        let mut folder = Folder::routing(&["routing"], "");
        change(&mut folder);
        pollster::block_on(Model::load(cpu(), folder.files().expect("a known family"), &mut |_| Ok(())))
            .map(Arc::new)
            .err()
    };
    let name = "model.layers.0.routing.centroids";
    let centroids = |folder: &mut Folder| folder.tensors.remove(name).expect("centroids");
    let nan = load(&|folder| folder.tensors.get_mut(name).expect("centroids").1[7] = f32::NAN);
    assert!(matches!(nan, Some(Error::Format { .. })), "{nan:?}");
    let few = load(&|folder| {
        let (_, values) = centroids(folder);
        folder.tensors.insert(name.into(), (vec![2, 2, 8], values[..32].to_vec()));
    });
    assert!(matches!(few, Some(Error::TensorShape { .. })), "{few:?}");
    let none = load(&|folder| drop(centroids(folder)));
    assert!(matches!(none, Some(Error::MissingTensor { .. })), "{none:?}");
}

#[test]
fn the_last_layers_route_where_no_types_are_given() {
    let mut folder = Folder::routing(&["local", "routing"], "");
    let wanted = logits(&folder, cpu());
    let types = r#""layer_types":["local_attention","routing_attention"]"#;
    folder.config = folder.config.replace(types, r#""num_routing_layers":1"#);
    assert_eq!(logits(&folder, cpu()), wanted);
}
