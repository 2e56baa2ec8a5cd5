use super::Method;
use crate::error::Error;
use crate::weights::{Checkpoint, Memory};
use foveate_kernels::dtype::DType;
use pollster::block_on;
use serde_json::{Map, json};

/// A tensor of a file: name, type, shape, and bytes, of which zeros are added up to its size.
type Tensor<'a> = (&'a str, &'a str, &'a [u64], &'a [u8]);

fn file(tensors: &[Tensor<'_>]) -> Checkpoint {
    let (mut header, mut data) = (Map::new(), Vec::new());
    for (name, dtype, shape, bytes) in tensors {
        let size = match *dtype {
            "I64" => 8,
            "F32" | "I32" => 4,
            "F16" | "BF16" => 2,
            _ => 1,
        };
        let start = data.len();
        data.extend_from_slice(bytes);
        data.resize(start + (shape.iter().product::<u64>() * size) as usize, 0);
        header.insert((*name).into(), json!({"dtype": dtype, "shape": shape, "data_offsets": [start, data.len()]}));
    }
    let header = serde_json::Value::Object(header).to_string();
    let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat();
    block_on(Checkpoint::safetensors(vec![Box::new(Memory::new("model.safetensors", bytes))])).expect("a file")
}

const GPTQ: Method = Method::Gptq { bits: 4, size: Some(32), symmetric: true, less: 1 };
const STATE: &[u8] = br#"{"blocksize": 64, "shape": [2, 64], "quant_type": "nf4"}        "#;

/// A method, the tensors of a matrix `a.weight [outputs, inputs]`, and what it becomes.
fn t(name: &'static str, dtype: &'static str, shape: &'static [u64], bytes: &'static [u8]) -> Tensor<'static> {
    (name, dtype, shape, bytes)
}

fn methods() -> Vec<(Method, Vec<Tensor<'static>>, [u64; 2], DType)> {
    let one: &[u8] = &[0, 0, 0x80, 0x3f];
    vec![
        (
            GPTQ,
            vec![
                t("a.qweight", "I32", &[8, 8], &[]),
                t("a.scales", "F16", &[2, 8], &[]),
                t("a.qzeros", "I32", &[2, 1], &[0x77; 8]),
                t("a.g_idx", "I32", &[64], &[0; 128]),
            ],
            [8, 64],
            // All inputs are said to be of the first group.
            DType::F32,
        ),
        (
            GPTQ,
            vec![
                t("a.qweight", "I32", &[8, 8], &[]),
                t("a.scales", "F16", &[2, 8], &[]),
                t("a.qzeros", "I32", &[2, 1], &[0x77; 8]),
            ],
            [8, 64],
            DType::Q4_0,
        ),
        (
            Method::Awq { size: None },
            vec![
                t("a.qweight", "I32", &[64, 2], &[]),
                t("a.scales", "F16", &[1, 16], &[]),
                t("a.qzeros", "I32", &[1, 2], &[]),
            ],
            [16, 64],
            DType::Q5_0,
        ),
        (
            Method::Packed { bits: 4, size: Some(32), symmetric: true },
            vec![
                t("a.weight_packed", "I32", &[3, 8], &[]),
                t("a.weight_scale", "BF16", &[3, 2], &[]),
                t("a.weight_shape", "I64", &[2], &[3, 0, 0, 0, 0, 0, 0, 0, 64]),
            ],
            [3, 64],
            DType::Q8F,
        ),
        (
            Method::Bytes { block: [2, 32] },
            vec![t("a.weight", "F8_E4M3", &[3, 64], &[]), t("a.weight_scale_inv", "F32", &[2, 2], &[])],
            [3, 64],
            DType::F8,
        ),
        (
            Method::Bitsandbytes,
            vec![
                t("a.weight", "U8", &[64, 1], &[]),
                t("a.weight.absmax", "F32", &[2], &[]),
                t("a.weight.quant_map", "F32", &[16], &[]),
                t("a.weight.quant_state.bitsandbytes__nf4", "U8", &[64], STATE),
            ],
            [2, 64],
            // A table of zeros is not that of NF4.
            DType::F32,
        ),
        (
            Method::Bitsandbytes,
            vec![t("a.weight", "I8", &[2, 32], &[]), t("a.SCB", "F32", &[2], &[])],
            [2, 32],
            DType::Q8F,
        ),
        (
            Method::BitNet { divide: true },
            vec![t("a.weight", "U8", &[2, 256], &[]), t("a.weight_scale", "F32", &[1], one)],
            [8, 256],
            DType::Q2K,
        ),
        (
            Method::Mxfp4,
            vec![t("a.weight_blocks", "U8", &[2, 4, 16], &[]), t("a.weight_scales", "U8", &[2, 4], &[])],
            [2, 128],
            DType::MXFP4,
        ),
    ]
}

#[test]
fn matrices_stand_under_their_own_names() {
    for (method, tensors, shape, format) in methods() {
        let plain = file(&tensors);
        let before = block_on(plain.fingerprint()).expect("it is in memory");
        let hollow = block_on(plain.hollow_quantized(Some(method))).expect("a method");
        let files = block_on(plain.quantized(Some(method))).unwrap_or_else(|error| panic!("{method:?}: {error}"));
        assert_eq!(files.names().collect::<Vec<_>>(), ["a.weight"], "{method:?}");
        let tensor = files.require("a.weight", &shape).expect("the matrix");
        assert_eq!(tensor.dtype(), Ok(format), "{method:?}");
        let read = |from: u64| block_on(files.read(tensor, from, tensor.bytes - from));
        let all = read(0).unwrap_or_else(|error| panic!("{method:?}: {error}"));
        assert_eq!(Some(all.len() as u64), format.bytes(shape[0] * shape[1]));
        assert_eq!(read(5).expect("its end"), all[5..]);
        // The fingerprint is that of the files, and headers are enough to know the result.
        assert_eq!(block_on(files.fingerprint()), Ok(before));
        assert_eq!(hollow.get("a.weight").map(|t| (t.dtype(), t.bytes)), Some((Ok(format), tensor.bytes)));
    }
}

#[test]
fn tensors_that_are_missing_or_odd_are_named() {
    for (method, tensors, ..) in methods() {
        for (at, (name, ..)) in tensors.iter().enumerate() {
            // What may be absent, and what tells of a matrix that is not there then.
            let optional = ["g_idx", "qzeros", "qweight", "weight_packed", "absmax", "SCB", "blocks"];
            let mut less = tensors.clone();
            less.remove(at);
            let result = block_on(file(&less).quantized(Some(method)));
            let needed = !optional.iter().any(|end| name.ends_with(end));
            assert!(!needed || result.is_err(), "{method:?} without {name}");
            // The packed rows of BitNet may be any number.
            if method == (Method::BitNet { divide: true }) && *name == "a.weight" {
                continue;
            }
            let mut odd = tensors.clone();
            odd[at].2 = &[7, 3];
            odd[at].3 = &[];
            let refused = block_on(file(&odd).quantized(Some(method)));
            let refused = refused.map(|files| files.names().map(String::from).collect::<Vec<_>>());
            assert!(refused.is_err(), "{method:?}: {name} of another shape gives {refused:?}");
        }
    }
}

#[test]
fn a_method_without_matrices_is_refused() {
    let plain = || file(&[t("a.weight", "F32", &[2, 2], &[])]);
    assert!(block_on(plain().quantized(None)).is_ok());
    match block_on(plain().quantized(Some(GPTQ))) {
        Err(Error::Config { reason }) => assert!(reason.contains("gptq"), "{reason}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_matrix_that_is_there_twice_is_refused() {
    let mut tensors = methods()[1].1.clone();
    tensors.push(t("a.weight", "F32", &[8, 64], &[]));
    let refused = block_on(file(&tensors).quantized(Some(GPTQ))).expect_err("two matrices of one name");
    assert!(refused.to_string().contains("a.weight"), "{refused}");
}
