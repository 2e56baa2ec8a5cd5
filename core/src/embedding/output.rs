//! Vectors as files that others read.

use crate::error::{Error, Result};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

/// The common length of vectors.
fn dim(vectors: &[Vec<f32>]) -> Result<usize> {
    let dim = vectors.first().map_or(0, Vec::len);
    match vectors.iter().position(|vector| vector.len() != dim) {
        None => Ok(dim),
        Some(at) => {
            let reason = format!("vector {at} has {} elements, the first has {dim}", vectors[at].len());
            Err(Error::Embeddings { reason })
        }
    }
}

fn bytes(vectors: &[Vec<f32>]) -> Vec<u8> {
    vectors.iter().flatten().flat_map(|x| x.to_le_bytes()).collect()
}

/// Returns an array `[vectors, elements]` of f32 as NumPy's `.npy`, version 1.0.
///
/// # Errors
/// `Embeddings` for vectors of different lengths.
pub fn npy(vectors: &[Vec<f32>]) -> Result<Vec<u8>> {
    let shape = format!("({}, {})", vectors.len(), dim(vectors)?);
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
    // Magic, version and length are 10 bytes; the data begins at a multiple of 64.
    let padded = (10 + header.len() + 1).next_multiple_of(64) - 10;
    header.extend(std::iter::repeat_n(' ', padded - header.len() - 1));
    header.push('\n');
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.as_bytes());
    file.extend(bytes(vectors));
    Ok(file)
}

/// Returns a safetensors file with one tensor, `embeddings` `[vectors, elements]` in f32.
///
/// # Errors
/// `Embeddings` for vectors of different lengths.
pub fn safetensors(vectors: &[Vec<f32>]) -> Result<Vec<u8>> {
    let (dim, data) = (dim(vectors)?, bytes(vectors));
    let refused = |error: safetensors::SafeTensorError| Error::Embeddings { reason: error.to_string() };
    let view = TensorView::new(Dtype::F32, vec![vectors.len(), dim], &data).map_err(refused)?;
    safetensors::serialize([("embeddings", view)], None).map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn npy_begins_its_data_at_a_multiple_of_64() {
        let file = npy(&[vec![1.0, 2.0], vec![3.0, 4.0]]).expect("two vectors");
        assert_eq!(&file[..8], b"\x93NUMPY\x01\x00");
        let header = usize::from(u16::from_le_bytes([file[8], file[9]]));
        assert_eq!((10 + header) % 64, 0);
        let text = std::str::from_utf8(&file[10..10 + header]).expect("a header in ASCII");
        assert!(text.contains("'shape': (2, 2)") && text.ends_with('\n'), "{text}");
        assert_eq!(file[10 + header..], [1.0f32, 2.0, 3.0, 4.0].map(f32::to_le_bytes).concat());
    }

    #[test]
    fn vectors_of_different_lengths_are_refused() {
        for file in [npy, safetensors] {
            let error = file(&[vec![1.0], vec![1.0, 2.0]]).expect_err("two lengths").to_string();
            assert!(error.contains("vector 1 has 2 elements"), "{error}");
        }
    }
}
