use std::cell::RefCell;
use std::rc::Rc;

use foveate_core::Error;
use foveate_core::weights::{Checkpoint, Memory, Stored, shard_names};
use foveate_kernels::dtype::DType;
use proptest::prelude::*;

use crate::files::{Watched, assert_sound, open_safetensors, safetensors};

const SMALL: &str = concat!(
    r#"{"__metadata__":{"format":"pt"},"b":{"dtype":"BF16","shape":[2,3],"data_offsets":[24,36]},"#,
    r#""a":{"dtype":"F32","shape":[6],"data_offsets":[0,24]},"#,
    r#""empty":{"dtype":"F16","shape":[0,5],"data_offsets":[24,24]},"#,
    r#""scalar":{"dtype":"I64","shape":[],"data_offsets":[36,44]},"#,
    r#""new":{"dtype":"F9_E9M0","shape":[7],"data_offsets":[44,51]}}"#
);
const SMALL_DATA: usize = 51;

fn damage(header: &str, data: usize) -> String {
    match open_safetensors(vec![safetensors(header, data)]) {
        Err(Error::Format { what, reason }) => {
            assert_eq!(what, "0.safetensors");
            reason
        }
        other => panic!("{header} gave {other:?}"),
    }
}

#[test]
fn safetensors_lists_its_tensors() {
    let checkpoint = open_safetensors(vec![safetensors(SMALL, SMALL_DATA)]).unwrap();
    assert_sound(&checkpoint);
    assert_eq!(checkpoint.names().collect::<Vec<_>>(), ["a", "b", "empty", "new", "scalar"]);
    let tensor = checkpoint.require("b", &[2, 3]).unwrap();
    assert_eq!(tensor.stored, Stored::Known(DType::BF16));
    assert_eq!(pollster::block_on(checkpoint.read(tensor, 2, 4)).unwrap(), [26, 27, 28, 29]);
    assert_eq!(checkpoint.require("empty", &[0, 5]).unwrap().bytes, 0);
    assert!(checkpoint.gguf_metadata().is_none());
    for (name, shape, dtype) in [("scalar", &[][..], "I64"), ("new", &[7], "F9_E9M0")] {
        let expected = Error::UnsupportedTensorType { tensor: name.into(), dtype: dtype.into() };
        assert_eq!(checkpoint.require(name, shape).unwrap_err(), expected);
    }
}

#[test]
fn safetensors_reads_what_the_library_writes() {
    let data: Vec<u8> = (0..24).collect();
    let view = ::safetensors::tensor::TensorView::new(::safetensors::Dtype::F32, vec![2, 3], &data).unwrap();
    let bytes = ::safetensors::serialize([("w", view)], None).unwrap();
    let checkpoint = open_safetensors(vec![bytes]).unwrap();
    let tensor = checkpoint.require("w", &[2, 3]).unwrap();
    assert_eq!(pollster::block_on(checkpoint.read(tensor, 0, 24)).unwrap(), data);
}

#[test]
fn safetensors_shards_are_one_model() {
    let shard =
        |name: &str| safetensors(&format!(r#"{{"{name}":{{"dtype":"U32","shape":[1],"data_offsets":[0,4]}}}}"#), 4);
    let checkpoint = open_safetensors(vec![shard("y"), shard("x")]).unwrap();
    assert_sound(&checkpoint);
    assert_eq!(checkpoint.get("x").unwrap().file, 1);
    let error = open_safetensors(vec![shard("x"), shard("x")]).unwrap_err();
    assert!(error.to_string().contains("tensor x occurs twice"), "{error}");
}

#[test]
fn safetensors_reads_the_header_only() {
    let reads = Rc::new(RefCell::new(Vec::new()));
    let source = Watched { file: Memory::new("watched", safetensors(SMALL, SMALL_DATA)), reads: reads.clone() };
    pollster::block_on(Checkpoint::safetensors(vec![Box::new(source)])).unwrap();
    assert_eq!(*reads.borrow(), [(0, 8), (8, SMALL.len() as u64)]);
}

#[test]
fn safetensors_refuses_damage_by_name() {
    let one = |fields: &str| format!(r#"{{"t":{{{fields}}}}}"#);
    let f32_at = |shape: &str, range: &str| one(&format!(r#""dtype":"F32","shape":{shape},"data_offsets":{range}"#));
    assert!(damage(&f32_at("[2]", "[0,8]"), 9).contains("the file has 9"));
    assert!(damage(&f32_at("[2]", "[0,8]"), 7).contains("the file has 7"));
    assert!(damage(&f32_at("[2]", "[4,12]"), 12).contains("leaves a gap"));
    assert!(damage(&f32_at("[2]", "[8,0]"), 8).contains("leaves a gap"));
    assert!(damage(&f32_at("[2]", "[0,4]"), 4).contains("another size"));
    assert!(damage(&f32_at("[4294967296,4294967296]", "[0,4]"), 4).contains("overflows"));
    assert!(damage(&f32_at("[4611686018427387904]", "[0,0]"), 0).contains("another size"));
    assert!(damage(&f32_at("[-1]", "[0,4]"), 4).contains("invalid value"));
    assert!(damage(&f32_at("[18446744073709551616]", "[0,4]"), 4).contains("invalid type"));
    assert!(damage(&f32_at("[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]", "[0,4]"), 4).contains("at most 16"));
    assert!(damage(&one(r#""dtype":"F32","shape":[1]"#), 4).contains("data_offsets"));
    assert!(damage(&"[".repeat(100_000), 0).contains("one entry for each tensor"));
    let nested = damage(&format!(r#"{{"__metadata__":{}"#, "[".repeat(100_000)), 0);
    assert!(nested.contains("expected a map"), "{nested}");
    assert!(damage("{}x", 0).contains("trailing"));
    let twice = r#""t":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}"#;
    assert!(damage(&format!("{{{twice},{twice}}}"), 0).contains("occurs twice"));
    let overlap = concat!(
        r#"{"s":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"#,
        r#""t":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}}"#
    );
    assert!(damage(overlap, 6).contains("overlaps"));
}

#[test]
fn safetensors_bounds_the_header() {
    for length in [1u64 << 60, u64::MAX, 100_000_001, 300] {
        let mut bytes = safetensors(SMALL, 0);
        bytes[..8].copy_from_slice(&length.to_le_bytes());
        bytes.truncate(200);
        assert!(matches!(open_safetensors(vec![bytes]), Err(Error::Format { .. })), "{length}");
    }
    for short in 1..8 {
        assert!(matches!(open_safetensors(vec![vec![0; short]]), Err(Error::Format { .. })));
    }
}

#[test]
fn files_of_another_kind_are_named() {
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 10\n".to_vec();
    let page = b"<!DOCTYPE html><html><head></head></html>".to_vec();
    for (bytes, word) in
        [(vec![], "empty"), (pointer, "git lfs pull"), (page, "web page"), (b"GGUF\x03\0\0\0\0".to_vec(), "GGUF")]
    {
        let said = |error: Option<Error>| match error {
            Some(Error::Read { reason, .. }) => reason,
            other => panic!("{other:?}"),
        };
        let reason = said(open_safetensors(vec![bytes.clone()]).err());
        assert!(reason.contains(word), "{reason}");
        if word != "GGUF" {
            let reason = said(crate::files::open_gguf(bytes).err());
            assert!(reason.contains(word), "{reason}");
        }
    }
}

#[test]
fn shard_names_are_file_names() {
    let index = |names: &[&str]| {
        let map: Vec<String> =
            names.iter().enumerate().map(|(i, name)| format!("{:?}:{name:?}", format!("t{i}"))).collect();
        format!(r#"{{"metadata":{{"total_size":1}},"weight_map":{{{}}}}}"#, map.join(","))
    };
    let names = shard_names(index(&["model-2.safetensors", "model-1.safetensors", "model-2.safetensors"]).as_bytes());
    assert_eq!(names.unwrap(), ["model-1.safetensors", "model-2.safetensors"]);
    for name in ["../x", "a/b", "a\\\\b", "/etc/passwd", "..", ".", "", "C:x", "x\\u0000y", "a..\\\\b", "~"] {
        let json = format!(r#"{{"weight_map":{{"t":"{name}"}}}}"#);
        assert!(shard_names(json.as_bytes()).is_err(), "{name}");
    }
    for json in ["", "{}", "[]", r#"{"weight_map":{}}"#, r#"{"weight_map":{"t":1}}"#, r#"{"weight_map":{"t":"x"}}}"#] {
        assert!(shard_names(json.as_bytes()).is_err(), "{json}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn safetensors_truncated_anywhere_is_refused(cut in any::<prop::sample::Index>()) {
        let bytes = safetensors(SMALL, SMALL_DATA);
        let cut = cut.index(bytes.len());
        prop_assert!(open_safetensors(vec![bytes[..cut].to_vec()]).is_err());
    }

    #[test]
    fn safetensors_mutated_anywhere_is_refused_or_sound(edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = safetensors(SMALL, SMALL_DATA);
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(checkpoint) = open_safetensors(vec![bytes]) {
            assert_sound(&checkpoint);
        }
    }

    #[test]
    fn safetensors_with_other_numbers_is_refused_or_sound(which in 0usize..20, number in any::<u64>(), small in any::<bool>()) {
        let number = if small { number % 64 } else { number };
        // The header with its `which`-th number exchanged.
        let mut header = String::new();
        let mut seen = 0;
        let mut rest = SMALL;
        while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
            let digits = rest[at..].chars().take_while(char::is_ascii_digit).count();
            header.push_str(&rest[..at]);
            let old = &rest[at..at + digits];
            header.push_str(&if seen == which { number.to_string() } else { old.to_owned() });
            seen += 1;
            rest = &rest[at + digits..];
        }
        header.push_str(rest);
        if let Ok(checkpoint) = open_safetensors(vec![safetensors(&header, SMALL_DATA)]) {
            assert_sound(&checkpoint);
        }
    }
}
