//! A family that is defined outside of the crate computes what third-party code computed.

use foveate_core::config::{Attention, Config, Layer, Mixer, Mlp, Norm, Temperature};
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
