//! Operands and results by the names of an op's arguments.

use super::{Access, Arg};
use crate::dtype::DType;
use crate::error::{Error, Result};
use alloc::{string::String, vec, vec::Vec};

/// For each of `args`, the place of its name in `names`; `None` for one that is only written and was not named.
///
/// # Errors
/// `Operand` for a name that the op has no argument of, one that is given twice, and an argument that is read and missing.
pub fn order(op: &'static str, args: &[Arg], names: &[&str]) -> Result<Vec<Option<usize>>> {
    let wrong = |name: &str, problem| {
        let takes = args.iter().map(|arg| arg.name).collect::<Vec<_>>().join(", ");
        Err(Error::Operand { op, name: String::from(name), problem, takes })
    };
    let mut places = vec![None; args.len()];
    for (place, &name) in names.iter().enumerate() {
        match args.iter().position(|arg| arg.name == name) {
            None => return wrong(name, "is none of its arguments"),
            Some(i) if places[i].is_some() => return wrong(name, "is given twice"),
            Some(i) => places[i] = Some(place),
        }
    }
    let missing = |(arg, place): &(&Arg, &Option<usize>)| place.is_none() && arg.access != Access::Write;
    match args.iter().zip(&places).find(missing) {
        Some((arg, _)) => wrong(arg.name, "is missing"),
        None => Ok(places),
    }
}

/// The error for an argument that every op needs a buffer for, also where it is only written.
pub fn missing(op: &'static str, args: &[Arg], name: &str) -> Error {
    let takes = args.iter().map(|arg| arg.name).collect::<Vec<_>>().join(", ");
    Error::Operand { op, name: String::from(name), problem: "is missing", takes }
}

/// Bytes of tensors by name: what an op has written, or inputs that were drawn for it.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Tensors(Vec<(&'static str, DType, Vec<u8>)>);

impl Tensors {
    /// Adds the bytes of an argument.
    pub fn push(&mut self, arg: &Arg, bytes: Vec<u8>) {
        self.0.push((arg.name, arg.dtype, bytes));
    }

    /// The names and bytes of all, in the order of the op's arguments: the inputs of another run.
    pub fn views(&self) -> Vec<(&str, &[u8])> {
        self.iter().collect()
    }

    /// The names and bytes of all, in the order of the op's arguments.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        self.0.iter().map(|(name, _, bytes)| (*name, bytes.as_slice()))
    }

    /// The bytes of one tensor.
    pub fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|(named, _)| *named == name).map(|(_, bytes)| bytes)
    }

    /// The elements of one tensor of f32; `None` also for one of another type.
    pub fn f32(&self, name: &str) -> Option<Vec<f32>> {
        self.words(name, |dtype| dtype == DType::F32)
    }

    /// The elements of one tensor of u32, such as ids; `None` also for one of another type.
    pub fn u32(&self, name: &str) -> Option<Vec<u32>> {
        self.words(name, |dtype| dtype == DType::U32)
    }

    fn words<T: bytemuck::AnyBitPattern>(&self, name: &str, is: impl Fn(DType) -> bool) -> Option<Vec<T>> {
        let (_, _, bytes) = self.0.iter().find(|(named, dtype, _)| *named == name && is(*dtype))?;
        Some(bytes.chunks_exact(4).map(bytemuck::pod_read_unaligned).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_finds_names_and_refuses_unknown_missing_and_repeated_ones() {
        let arg = |name, access| Arg::new(name, DType::F32, &[1], access);
        let args = [arg("q", Access::Read), arg("k", Access::Read), arg("out", Access::Write)];
        assert_eq!(order("attend", &args, &["out", "k", "q"]), Ok(vec![Some(2), Some(1), Some(0)]));
        assert_eq!(order("attend", &args, &["k", "q"]), Ok(vec![Some(1), Some(0), None]));
        let message = |names: &[&str]| alloc::format!("{}", order("attend", &args, names).unwrap_err());
        assert_eq!(message(&["q", "key"]), "attend: operand \"key\" is none of its arguments; the op takes q, k, out");
        assert_eq!(message(&["q"]), "attend: operand \"k\" is missing; the op takes q, k, out");
        assert_eq!(message(&["q", "k", "q"]), "attend: operand \"q\" is given twice; the op takes q, k, out");
    }
}
