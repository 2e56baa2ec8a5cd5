//! A family that is defined outside of the crate computes what third-party code computed.

use foveate_core::config::{Attention, Config, DepthRouter, Layer, Mixer, Mlp, Norm, Recursion, Temperature};
use foveate_core::host::HostBackend;
use foveate_core::kernels::activation;
use foveate_core::model::{Family, Place, Role};
use foveate_core::weights::{Checkpoint, Memory};
use foveate_core::{Error, check};
use foveate_kernels::testing::Tolerance;
use pollster::block_on;
use std::path::{Path, PathBuf};

#[path = "../examples/custom_family.rs"]
mod custom_family;

#[test]
fn custom_family_computes_the_golden_logits() {
    let beside = || Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/golden")).into();
    let golden = std::env::var_os("FOVEATE_GOLDEN").map_or_else(beside, PathBuf::from);
    let folder = golden.join("models").join("llama");
    if !folder.exists() {
        assert!(std::env::var_os("REQUIRE_GOLDEN").is_none(), "{} is missing", folder.display());
        return println!("ignored: {} is missing", folder.display());
    }
    let files = custom_family::open(&folder).expect("the example opens the folder");
    let golden = Memory::new("golden", std::fs::read(folder.join("golden.safetensors")).expect("a readable file"));
    let golden = block_on(Checkpoint::safetensors(vec![Box::new(golden)])).expect("a case");
    let found = block_on(check::model(HostBackend::reference(), files, &golden, Tolerance::MODEL_REFERENCE));
    let found = found.expect("the model runs");
    assert!(!found.is_empty());
    for finding in found {
        assert!(finding.passed, "{}: {}", finding.name, finding.detail);
    }
}

#[test]
fn family_refuses_a_config_of_impossible_sizes() {
    let refused = |attention: Attention, inner| {
        let layer = Layer::new(Norm::rms(1e-6), Mixer::Attention(attention), Mlp::gated(inner, activation::Kind::Silu));
        match Family::new(Config::new("mine", 320, 64, 256, vec![layer]), Place::llama) {
            Err(Error::Config { reason }) => reason,
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("the config is accepted"),
        }
    };
    assert_eq!(refused(Attention::new(4, 2, 16), 0), "layer 0: mlp.inner must be 1 to 16777216, got 0");
    assert!(refused(Attention::new(4, 3, 16), 96).contains("multiple of kv_heads 3, got 4"));
    assert!(refused(Attention::new(4, 0, 16), 96).contains("attention.kv_heads must be 1 to"));
    assert!(refused(Attention::new(1 << 24, 1, 1 << 24), 96).contains("too large"));
    let with = |change: &dyn Fn(&mut Attention)| {
        let mut attention = Attention::new(4, 2, 16);
        change(&mut attention);
        refused(attention, 96)
    };
    assert!(with(&|a| a.alibi = Some([0.5].into())).contains("a slope for each head"));
    let warm = Temperature { beta: 0.1, original: 8.0, ahead: 0 };
    assert!(with(&|a| a.temperature = Some(warm)).contains("a rotation of whole heads"));
    assert!(with(&|a| a.clip = Some(0.0)).contains("attention.clip"));
}

#[test]
fn family_refuses_settings_that_do_not_go_together() {
    let layer = || {
        let mixer = Mixer::Attention(Attention::new(4, 2, 16));
        Layer::new(Norm::rms(1e-6), mixer, Mlp::gated(96, activation::Kind::Silu))
    };
    let refused = |change: &dyn Fn(&mut Config)| {
        let mut config = Config::new("mine", 320, 64, 256, vec![layer()]);
        assert!(Family::new(config.clone(), Place::llama).is_ok());
        change(&mut config);
        Family::new(config, Place::llama).err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert!(refused(&|config| config.branch_scale = 0.0).contains("branch_scale"));
    assert!(refused(&|config| config.logit_cap = Some(f32::NAN)).contains("logit_cap"));
    assert!(refused(&|config| (config.final_norm, config.logit_scale) = (None, 0.5)).contains("needs a final_norm"));
    assert!(refused(&|config| config.embed_dim = Some(65)).contains("embed_dim"));
    let both = refused(&|config| {
        config.branch_scale = 0.5;
        config.embed_norm = Some(Norm::rms(1e-6));
    });
    assert!(both.contains("norms of sums or of embeddings"), "{both}");
}

#[test]
fn family_names_tensors_by_data_of_its_caller() {
    let layer =
        Layer::new(Norm::rms(1e-6), Mixer::Attention(Attention::new(4, 2, 16)), Mlp::gated(96, activation::Kind::Silu));
    // A prefix that is known only at run time.
    let prefix = format!("{}.blocks", "mine");
    let family = Family::new(Config::new("mine", 320, 64, 256, vec![layer]), move |_, role, layer, kind| {
        Place::plain(format!("{prefix}.{layer}.{role:?}.{kind}"))
    });
    let family = family.expect("the config is accepted");
    assert_eq!(family.weight(Role::Down, 2).name, "mine.blocks.2.Down.weight");
    assert_eq!(family.bias(Role::Up, 0).name, "mine.blocks.0.Up.bias");
}

#[test]
fn family_refuses_a_recursion_of_other_layers() {
    let recursion =
        Recursion { first: 0, depth: 1, steps: 2, router: DepthRouter::EachTanh, scale: 0.1, temperature: 1.0 };
    let with = |recursion, change: &dyn Fn(&mut Config)| {
        let attention = Mixer::Attention(Attention::new(4, 2, 16));
        let layer = Layer::new(Norm::rms(1e-6), attention, Mlp::gated(96, activation::Kind::Silu));
        let mut config = Config::new("mine", 320, 64, 256, vec![layer; 3]);
        config.recursion = recursion;
        if let Mixer::Attention(attention) = &mut config.layers[1].mixer {
            attention.shared = Some(0);
        }
        change(&mut config);
        Family::new(config, Place::llama).map(drop).map_err(|error| error.to_string())
    };
    let attention = |config: &mut Config, layer: usize, change: &dyn Fn(&mut Attention)| {
        if let Mixer::Attention(attention) = &mut config.layers[layer].mixer {
            change(attention);
        }
    };
    assert_eq!(with(Some(recursion), &|_| ()), Ok(()));
    let marked = |config: &mut Config| {
        for layer in 0..2 {
            attention(config, layer, &|a| (a.shared, a.marked) = (None, true));
        }
    };
    assert_eq!(with(Some(recursion), &marked), Ok(()));
    let refused = |recursion, change: &dyn Fn(&mut Config)| with(recursion, change).expect_err("it has no meaning");
    let three = Some(Recursion { steps: 4, ..recursion });
    assert!(refused(three, &|_| ()).contains("4 steps of 1 layers from layer 0 on are not in 3 layers"));
    let infinite = Some(Recursion { scale: f32::INFINITY, ..recursion });
    assert!(refused(infinite, &|_| ()).contains("scale inf"));
    let all = Some(Recursion { steps: 3, ..recursion });
    assert!(refused(all, &|_| ()).contains("layer 2 must read the keys of layer 0"));
    let recursion = Some(recursion);
    assert!(refused(recursion, &|config| config.layers[1].parallel = true).contains("layer 1 must be as layer 0"));
    assert!(refused(recursion, &|config| config.layers[0].mixer = Mixer::None).contains("layer 0 is not one of"));
    assert!(refused(recursion, &|config| config.branch_scale = 0.5).contains("branch_scale"));
    assert!(refused(recursion, &|c| attention(c, 0, &|a| a.gated = true)).contains("latents or gates"));
    assert!(refused(recursion, &|c| attention(c, 2, &|a| a.marked = true)).contains("a recursion that has the layer"));
    assert!(refused(recursion, &|c| attention(c, 1, &|a| a.marked = true)).contains("keys of another layer"));
    let capped = |config: &mut Config| {
        marked(config);
        (0..2).for_each(|layer| attention(config, layer, &|a| a.softcap = Some(3.0)));
    };
    assert!(refused(recursion, &capped).contains("softcap"));
}
