use std::sync::Arc;
use std::sync::Mutex;

use foveate_core::weights::gguf::{Array, Strings};
use foveate_core::weights::{Checkpoint, Memory, Source, Stored};
use foveate_core::{Error, Result};
use foveate_kernels::dtype::DType;
use proptest::prelude::*;

use crate::files::{Gguf, Watched, array_value, assert_sound, open_gguf, string, string_value, u32_value};

fn damage(spoil: impl FnOnce(&mut Gguf)) -> String {
    let mut file = Gguf::small();
    spoil(&mut file);
    match open_gguf(file.bytes()) {
        Err(Error::Format { what, reason }) => {
            assert_eq!(what, "test.gguf");
            assert!(!reason.contains('\n'), "{reason}");
            reason
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn gguf_lists_its_tensors_and_metadata() {
    for version in [2, 3] {
        let checkpoint = open_gguf(Gguf { version, ..Gguf::small() }.bytes()).unwrap();
        assert_sound(&checkpoint);
        assert_eq!(checkpoint.names().collect::<Vec<_>>(), ["a.weight", "b.weight", "c.weight"]);
        let tensor = checkpoint.require("a.weight", &[2, 3]).unwrap();
        assert_eq!(tensor.stored, Stored::Known(DType::F32));
        let bytes = pollster::block_on(checkpoint.read(tensor, 4, 8)).unwrap();
        assert_eq!(bytes, [4, 5, 6, 7, 8, 9, 10, 11]);
        assert_eq!(checkpoint.require("b.weight", &[1, 32]).unwrap().bytes, 18);

        let metadata = checkpoint.gguf_metadata().unwrap();
        assert_eq!(metadata.str("general.architecture"), Some("llama"));
        assert_eq!(metadata.strings("tokenizer.ggml.tokens").unwrap(), &Strings::from_iter(["a", "", "\u{e9}"]));
        assert_eq!(metadata.array("nested"), Some(&Array::Array(vec![Array::I32(vec![1])])));
        assert_eq!(metadata.iter().len(), 3);
        assert_eq!((metadata.u64("nested"), metadata.bool("x")), (None, None));
    }
}

#[test]
fn gguf_requires_name_shape_and_type() {
    let mut file = Gguf::small();
    file.tensors[2].ggml_type = 40;
    let checkpoint = open_gguf(file.bytes()).unwrap();
    let error = |name: &str, shape: &[u64]| checkpoint.require(name, shape).unwrap_err();
    assert_eq!(error("x", &[1]), Error::MissingTensor { name: "x".into(), shape: vec![1] });
    let got = Error::TensorShape { name: "a.weight".into(), expected: vec![3, 2], got: vec![2, 3] };
    assert_eq!(error("a.weight", &[3, 2]), got);
    let unknown = Error::UnsupportedTensorType { tensor: "c.weight".into(), dtype: "NVFP4".into() };
    assert_eq!(error("c.weight", &[256]), unknown);
}

#[test]
fn gguf_types_without_kernels_become_others() {
    for (ggml_type, bytes, dtype) in [(10, 84, DType::Q2K), (34, 54, DType::Q2K), (35, 66, DType::Q2K)] {
        let mut file = Gguf::small();
        file.tensors[2].ggml_type = ggml_type;
        file.data.truncate(64 + bytes);
        let checkpoint = open_gguf(file.bytes()).unwrap();
        assert_sound(&checkpoint);
        let tensor = checkpoint.require("c.weight", &[256]).unwrap();
        assert_eq!((tensor.dtype().unwrap(), tensor.bytes), (dtype, 84));
        // The fingerprint is that of the bytes in the file.
        let read = || pollster::block_on(checkpoint.fingerprint()).unwrap();
        let before = read();
        file.data[64] ^= 1;
        assert_ne!(before, pollster::block_on(open_gguf(file.bytes()).unwrap().fingerprint()).unwrap());
        assert_eq!(before, read());
    }
}

#[test]
fn gguf_keeps_tensors_of_types_nobody_heard_of() {
    let mut file = Gguf::small();
    file.tensors[1].ggml_type = 12_345;
    let checkpoint = open_gguf(file.bytes()).unwrap();
    assert_sound(&checkpoint);
    let tensor = checkpoint.get("b.weight").unwrap();
    assert_eq!((tensor.stored.to_string(), tensor.bytes), ("ggml type 12345".into(), 32));
}

#[test]
fn gguf_metadata_has_every_type() {
    let mut file = Gguf::small();
    let values: [(u32, &[u8]); 11] = [
        (0, &[255]),
        (1, &[255]),
        (2, &[255, 255]),
        (3, &[255, 255]),
        (4, &[255; 4]),
        (5, &[255; 4]),
        (6, &1.5f32.to_le_bytes()),
        (7, &[1]),
        (10, &[255; 8]),
        (11, &[255; 8]),
        (12, &1.5f64.to_le_bytes()),
    ];
    for (kind, bytes) in values {
        let value = [&kind.to_le_bytes(), bytes].concat();
        file.entries.push((format!("one.{kind}").into(), value));
        file.entries.push((format!("many.{kind}").into(), array_value(kind, &[bytes.to_vec(), bytes.to_vec()])));
    }
    let checkpoint = open_gguf(file.bytes()).unwrap();
    let metadata = checkpoint.gguf_metadata().unwrap();
    let integer = |key: &str| metadata.get(key).unwrap().as_i64();
    let unsigned = [255, -1, 65_535, -1, 0xffff_ffff, -1].map(Some);
    for (kind, expected) in unsigned.into_iter().enumerate() {
        assert_eq!(integer(&format!("one.{kind}")), expected);
        let many = metadata.array(&format!("many.{kind}")).unwrap();
        assert_eq!((many.len(), many.integer(1), many.integer(2)), (2, expected, None));
    }
    assert_eq!((integer("one.10"), metadata.u64("one.10")), (None, Some(u64::MAX)));
    assert_eq!((integer("one.11"), metadata.u64("one.11")), (Some(-1), None));
    assert_eq!((metadata.f64("one.6"), metadata.f64("one.12")), (Some(1.5), Some(1.5)));
    assert_eq!(metadata.bool("one.7"), Some(true));
    assert_eq!(metadata.array("many.7"), Some(&Array::Bool(vec![true; 2])));
}

#[test]
fn gguf_aligns_as_the_file_says() {
    let mut file = Gguf::small();
    file.entries.push(("general.alignment".into(), u32_value(64)));
    file.alignment = 64;
    assert!(damage_of(&file).contains("not aligned to 64"));
    file.tensors.iter_mut().for_each(|tensor| tensor.offset *= 2);
    file.data = vec![0; 128 + 84];
    assert_sound(&open_gguf(file.bytes()).unwrap());
    for wrong in [0, 3, 48] {
        file.entries.last_mut().unwrap().1 = u32_value(wrong);
        assert!(damage_of(&file).contains("power of two"));
    }
    file.entries.last_mut().unwrap().1 = string_value("32");
    assert!(damage_of(&file).contains("power of two"));
}

fn damage_of(file: &Gguf) -> String {
    damage(|spoiled| *spoiled = file.clone())
}

#[test]
fn gguf_refuses_damage_by_name() {
    assert!(damage(|file| file.magic = *b"GGML").contains("does not begin with GGUF"));
    assert!(damage(|file| file.version = 1).contains("version 1"));
    assert!(damage(|file| file.version = 3u32.swap_bytes()).contains("big endian"));
    assert!(damage(|file| file.counts = Some((1 << 60, 3))).contains("tensors"));
    assert!(damage(|file| file.counts = Some((3, 1 << 60))).contains("metadata entries"));
    assert!(damage(|file| file.counts = Some((3, u64::MAX))).contains("metadata entries"));
    assert!(damage(|file| file.tensors[1].name = b"a.weight".into()).contains("occurs twice"));
    assert!(damage(|file| file.tensors[1].name = vec![0xff]).contains("UTF-8"));
    assert!(damage(|file| file.entries[0].0 = b"nested".into()).contains("occurs twice"));
    assert!(damage(|file| file.entries[0].1 = vec![99, 0, 0, 0]).contains("type 99"));
    assert!(damage(|file| file.entries[0].1 = vec![7, 0, 0, 0, 2]).contains("truth value"));
    assert!(damage(|file| file.tensors[0].offset = 1 << 40).contains("behind the end of the file"));
    assert!(damage(|file| file.tensors[0].offset = u64::MAX - 31).contains("behind the end of the file"));
    assert!(damage(|file| file.tensors[2].offset = 65).contains("aligned"));
    assert!(damage(|file| file.tensors[0].offset = 32).contains("overlaps"));
    assert!(damage(|file| file.tensors[0].dims = vec![9, 1]).contains("overlaps"));
    assert!(damage(|file| file.tensors[0].dims = vec![3, 0]).contains("dimension of 0"));
    assert!(damage(|file| file.tensors[0].dims = vec![1 << 40, 1 << 40]).contains("overflows"));
    assert!(damage(|file| file.tensors[0].dims = vec![1 << 62]).contains("overflows"));
    assert!(damage(|file| file.tensors[0].dims = vec![1; 9]).contains("9 dimensions"));
    assert!(damage(|file| file.tensors[1].dims = vec![16, 2]).contains("whole blocks"));
    assert!(damage(|file| file.data.truncate(140)).contains("behind the end of the file"));
}

#[test]
fn gguf_refuses_counts_that_cannot_be_there() {
    for kind in 0..13 {
        let mut array = array_value(kind, &[]);
        let at = array.len() - 8;
        for count in [1u64 << 60, u64::MAX, 1 << 28] {
            array[at..].copy_from_slice(&count.to_le_bytes());
            let reason = damage(|file| file.entries.push(("x".into(), array.clone())));
            assert!(reason.contains("announces"), "{kind}: {reason}");
        }
    }
    let long = [&8u32.to_le_bytes()[..], &(1u64 << 60).to_le_bytes()].concat();
    assert!(damage(|file| file.entries.push(("x".into(), long))).contains("header ends"));
}

#[test]
fn gguf_refuses_deep_nesting() {
    let nested = |depth: usize| {
        // The type of the elements and their count: arrays of one array, the innermost of no bytes.
        let outer = [&9u32.to_le_bytes()[..], &1u64.to_le_bytes()].concat().repeat(depth - 1);
        let inner = [outer, vec![0; 12]].concat();
        ("deep".into(), [&9u32.to_le_bytes()[..], &inner].concat())
    };
    assert!(damage(|file| file.entries.push(nested(100_000))).contains("nested"));
    assert!(damage(|file| file.entries.push(nested(5))).contains("nested"));
    let mut file = Gguf::small();
    file.entries.push(nested(4));
    assert!(open_gguf(file.bytes()).is_ok());
}

#[test]
fn gguf_opens_a_million_tensors() {
    let mut file = Gguf::small();
    let tensor = file.tensors[0].clone();
    file.tensors = (0..1_000_000u64)
        .map(|i| crate::files::Tensor { name: format!("t{i}").into(), dims: vec![8], offset: 32 * i, ..tensor.clone() })
        .collect();
    file.data = vec![0; 32_000_000];
    assert_eq!(open_gguf(file.bytes()).unwrap().names().len(), 1_000_000);
}

#[test]
fn gguf_reads_the_header_in_growing_windows() {
    let mut file = Gguf::small();
    file.entries.push(("long".into(), array_value(8, &vec![string("x".repeat(100)); 30_000])));
    file.data = vec![0; 20 << 20];
    let bytes = file.bytes();
    let header = bytes.len() as u64 - file.data.len() as u64;
    let reads = Arc::new(Mutex::new(Vec::new()));
    let source = Watched { file: Memory::new("watched", bytes), reads: reads.clone() };
    let checkpoint = pollster::block_on(Checkpoint::gguf(Box::new(source))).unwrap();
    let read: u64 = reads.lock().expect("nothing panics").iter().map(|(_, len)| len).sum();
    assert!(read >= header && read <= 2 * header, "{read} bytes for a header of {header}");
    assert!(reads.lock().expect("nothing panics").len() <= 4, "{reads:?}");
    assert_eq!(checkpoint.gguf_metadata().unwrap().strings("long").unwrap().len(), 30_000);
}

fn open_if_sound(bytes: Vec<u8>) -> Result<()> {
    open_gguf(bytes).map(|checkpoint| assert_sound(&checkpoint))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn gguf_truncated_anywhere_is_refused(cut in 0usize..1000) {
        let bytes = Gguf::small().bytes();
        let cut = cut % bytes.len();
        prop_assert!(open_if_sound(bytes[..cut].to_vec()).is_err());
    }

    #[test]
    fn gguf_mutated_anywhere_is_refused_or_sound(edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = Gguf::small().bytes();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = open_if_sound(bytes);
    }

    #[test]
    fn gguf_with_huge_numbers_is_refused_or_sound(at in any::<prop::sample::Index>(), shift in 0u32..64, less in 0u64..3) {
        let mut bytes = Gguf::small().bytes();
        let at = at.index(bytes.len() - 8);
        bytes[at..at + 8].copy_from_slice(&(1u64 << shift).wrapping_sub(less).to_le_bytes());
        let _ = open_if_sound(bytes);
    }

    #[test]
    fn gguf_of_noise_is_refused(noise in prop::collection::vec(any::<u8>(), 0..300)) {
        let bytes = [&b"GGUF\x03\0\0\0"[..], &noise].concat();
        let _ = open_if_sound(bytes);
    }
}

/// Part `number` of `count`, with one tensor of its own.
fn part(number: u32, count: u32, tensors: u32) -> Box<dyn Source> {
    let mut file = Gguf::small();
    file.tensors.truncate(1);
    file.tensors[0].name = format!("t{number}").into();
    file.data.truncate(32);
    for (key, value) in [("split.no", number), ("split.count", count), ("split.tensors.count", tensors)] {
        file.entries.push((key.into(), u32_value(value)));
    }
    file.entries[1].0 = format!("only.in.{number}").into();
    Box::new(Memory::new(format!("m-{number}.gguf"), file.bytes()))
}

#[test]
fn gguf_parts_are_one_model_in_any_order() {
    let open = |parts: Vec<Box<dyn Source>>| pollster::block_on(Checkpoint::gguf_parts(parts));
    let whole = open(vec![part(2, 3, 3), part(0, 3, 3), part(1, 3, 3)]).unwrap();
    assert_eq!(whole.names().collect::<Vec<_>>(), ["t0", "t1", "t2"]);
    assert!(whole.gguf_metadata().unwrap().get("only.in.0").is_some());
    assert_sound(&whole);
    let said = |parts| open(parts).unwrap_err().to_string();
    let missing = said(vec![part(0, 3, 3), part(2, 3, 3)]);
    assert!(missing.contains("part 2 is missing") && missing.contains("one of 3 parts"), "{missing}");
    assert!(said(vec![part(1, 2, 2)]).contains("part 1 is missing"));
    assert!(said(vec![part(0, 2, 2), part(0, 2, 2)]).contains("so is m-0.gguf"));
    assert!(said(vec![part(0, 2, 2), part(1, 3, 2)]).contains("split.count is 3"));
    assert!(said(vec![part(0, 2, 5), part(1, 2, 2)]).contains("split.tensors.count is 5"));
    assert!(said(vec![part(7, 2, 2)]).contains("split.no is 7"));
    assert!(said(vec![part(4_000_000_000, 4_100_000_000, 2)]).contains("no model has so many"));
    assert!(said(Vec::new()).contains("no files"));
}
