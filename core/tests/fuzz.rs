//! The bodies of the fuzz targets on bytes of a seeded generator: sound files that were changed somewhere, and noise.
//! `scripts/test fuzz` runs the same bodies under libFuzzer.

#[expect(unreachable_pub, reason = "a library of another workspace")]
#[path = "../../fuzz/src/lib.rs"]
mod targets;

use foveate_core::cache::{Kind, Saved};
use foveate_core::tokenizer::Tokenizer;
use foveate_core::weights::{Checkpoint, Memory};
use foveate_kernels::dtype::DType;
use foveate_kernels::embed;
use foveate_kernels::ops::Kernel;
use foveate_kernels::rng::Rng;
use std::path::{Path, PathBuf};

/// Runs `target` on changed copies of `seeds` and on noise, so many times.
fn run(target: fn(&[u8]), seeds: &[Vec<u8>], times: u64) {
    for seed in seeds {
        target(seed);
    }
    for number in 0..times {
        // A panic names the number, from which the bytes follow.
        let mut rng = Rng::new(number);
        let bytes = match seeds.get(number as usize % (seeds.len() + 1)) {
            Some(seed) => changed(seed, &mut rng),
            None => noise(&mut rng),
        };
        let caught = std::panic::catch_unwind(|| target(&bytes));
        assert!(caught.is_ok(), "the bytes of number {number} panic, see above");
    }
}

fn noise(rng: &mut Rng) -> Vec<u8> {
    let length = rng.below(400);
    (0..length).map(|_| rng.next_u64() as u8).collect()
}

/// Up to six changes, mostly near the beginning, where headers are: other bytes, extreme numbers, copies, and a cut.
fn changed(seed: &[u8], rng: &mut Rng) -> Vec<u8> {
    const EXTREMES: [u64; 8] = [0, 1, 0x7f, 0xffff_ffff, 0x8000_0000, 1 << 40, u64::MAX, i64::MAX as u64];
    let mut bytes = seed.to_vec();
    for _ in 0..=rng.below(6) {
        let end = if rng.below(3) > 0 { bytes.len().min(4096) } else { bytes.len() };
        let at = rng.below(end as u32) as usize;
        let here = bytes.len() - at;
        match rng.below(8) {
            0 => {
                let with = EXTREMES[rng.below(8) as usize].to_le_bytes();
                let size = [4, 8][rng.below(2) as usize].min(here);
                bytes[at..at + size].copy_from_slice(&with[..size]);
            }
            1 => {
                let size = (rng.below(40) as usize).min(here);
                let copy = bytes[at..at + size].to_vec();
                let to = rng.up_to(bytes.len() as u32) as usize;
                bytes.splice(to..to, copy);
            }
            2 => drop(bytes.drain(at..at + (rng.below(40) as usize).min(here))),
            3 if rng.below(4) == 0 => bytes.truncate(at),
            _ => bytes[at] = if rng.below(2) == 0 { rng.next_u64() as u8 } else { bytes[at] ^ (1 << rng.below(8)) },
        }
        if bytes.is_empty() {
            break;
        }
    }
    bytes
}

/// Golden files of these names; where there are none, noise is what there is.
fn golden(paths: &[&str]) -> Vec<Vec<u8>> {
    let beside = || Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/golden")).into();
    let folder = std::env::var_os("FOVEATE_GOLDEN").map_or_else(beside, PathBuf::from);
    let seeds: Vec<_> = paths.iter().filter_map(|path| std::fs::read(folder.join(path)).ok()).collect();
    let required = std::env::var("REQUIRE_GOLDEN").is_ok_and(|v| v == "1");
    assert!(seeds.len() == paths.len() || !required, "golden files are missing below {}", folder.display());
    seeds
}

/// The files that libFuzzer begins with, in the order of their names.
fn small(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/seeds")).join(target);
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("seeds").map(|entry| entry.expect("a seed").path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("a seed")).collect()
}

#[test]
fn gguf_target_holds_on_changed_files() {
    run(targets::gguf, &golden(&["reports/gguf-eog/qwen.gguf", "reports/gguf-spm-no-bos/model.gguf"]), 600);
    run(targets::gguf, &small("gguf"), 3000);
}

#[test]
fn gguf_seeds_have_tokenizers_of_every_kind() {
    for seed in small("gguf") {
        let checkpoint =
            pollster::block_on(Checkpoint::gguf(Box::new(Memory::new("seed", seed)))).expect("a sound file");
        let metadata = checkpoint.gguf_metadata().expect("metadata");
        let kind = metadata.str("tokenizer.ggml.model");
        assert!(Tokenizer::from_gguf(metadata).is_ok(), "{kind:?}: {:?}", Tokenizer::from_gguf(metadata));
    }
}

#[test]
fn safetensors_target_holds_on_changed_files() {
    run(targets::safetensors, &golden(&["models/llama/golden.safetensors", "reports/nan/hf/model.safetensors"]), 2000);
    run(targets::safetensors, &small("safetensors"), 3000);
}

#[test]
fn tokenizer_json_target_holds_on_changed_files() {
    run(targets::tokenizer_json, &golden(&["reports/nan/hf/tokenizer.json"]), 600);
    run(targets::tokenizer_json, &small("tokenizer_json"), 3000);
}

#[test]
fn saved_cache_target_holds_on_changed_files() {
    let saved = Saved {
        model: "0123".into(),
        kv: "f32".into(),
        rope: "half".into(),
        tokens: vec![3, 1, 4],
        segments: vec![(Kind::Text, 2, 0), (Kind::Text, 1, 7)],
        layers: vec![(vec![1; 12], vec![2; 12])],
        states: vec![vec![3; 8]],
    };
    let bytes = saved.write().expect("a consistent cache");
    assert!(pollster::block_on(Saved::read(bytes.clone())).is_ok());
    assert_eq!(small("saved_cache")[0], bytes, "the seed is that cache");
    run(targets::saved_cache, &[bytes], 5000);
}

#[test]
fn chat_template_target_holds_on_changed_templates() {
    run(targets::chat_template, &small("chat_template"), 4000);
}

#[test]
fn ops_target_holds_on_random_specs() {
    for seed in 0..1500 {
        let mut rng = Rng::new(seed);
        let bytes: Vec<u8> = (0..400).map(|_| rng.next_u64() as u8).collect();
        let caught = std::panic::catch_unwind(|| targets::ops(&bytes));
        assert!(caught.is_ok(), "the bytes of seed {seed} panic, see above");
    }
}

#[test]
fn inputs_of_the_largest_vocabulary_do_not_overflow() {
    let (scale, accumulate, format) = (1.0, false, DType::F32);
    let spec = embed::Spec::new(3, u32::MAX, 0, format).with_scale(scale).with_accumulate(accumulate);
    spec.validate().expect("a table without elements");
    assert_eq!(spec.inputs(&mut Rng::new(1))[0].len(), 12);
}
