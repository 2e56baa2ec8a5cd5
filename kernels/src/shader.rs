//! Linking a shader from whole WGSL parts.
//!
//! A shader is a generated header of `const` and `alias` lines followed by [`Part`]s in order. Variants differ by which
//! parts are linked (two parts may define the same functions) and by constants; the text of a part is never edited.

use alloc::{string::String, vec::Vec};
use core::fmt::Write;

/// One WGSL file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Part {
    /// Path below `kernels/src`, for messages.
    pub name: &'static str,
    pub source: &'static str,
}

/// A [`Part`] from a file next to the caller: `part!("linear/matvec.wgsl")` is relative to `kernels/src`.
#[macro_export]
#[doc(hidden)]
macro_rules! part {
    ($path:literal) => {
        $crate::shader::Part { name: $path, source: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/", $path)) }
    };
}

/// The value of a header line.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Const {
    /// `const NAME: u32 = ...u;`
    U32(u32),
    /// `const NAME: bool = ...;`
    Bool(bool),
    /// `alias NAME = ...;`
    Alias(&'static str),
}

/// What a shader needs of the device beyond WebGPU's core; each is an `enable` line of the header.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Features {
    pub f16: bool,
    pub subgroups: bool,
}

/// A variant of a kernel: its identity is all of these fields, and pipelines are cached by it. The entry point is `main`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Shader {
    /// `op` or `op.form`, for labels and reports.
    pub name: &'static str,
    pub parts: Vec<Part>,
    pub consts: Vec<(&'static str, Const)>,
    pub features: Features,
    /// Bytes of workgroup memory, counted as WGSL lays variables out; a test holds it against the linked module.
    pub workgroup_bytes: u32,
}

/// A linked shader: its text, and where each part begins in it.
#[derive(Clone, Debug)]
pub struct Linked {
    pub source: String,
    /// `(first line of the part in source, counted from 1; name)`, ascending.
    pub origins: Vec<(u32, &'static str)>,
}

impl Shader {
    /// Joins header and parts.
    pub fn link(&self) -> Linked {
        let mut source = String::new();
        // A browser demands the line for subgroups; naga knows the functions without it and refuses the line.
        let subgroups = self.features.subgroups && cfg!(target_arch = "wasm32");
        for (on, name) in [(self.features.f16, "f16"), (subgroups, "subgroups")] {
            if on {
                writeln!(source, "enable {name};").expect("a String takes every write");
            }
        }
        for &(name, value) in &self.consts {
            match value {
                Const::U32(v) => writeln!(source, "const {name}: u32 = {v}u;"),
                Const::Bool(v) => writeln!(source, "const {name}: bool = {v};"),
                Const::Alias(v) => writeln!(source, "alias {name} = {v};"),
            }
            .expect("a String takes every write");
        }
        let mut origins = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            origins.push((source.lines().count() as u32 + 1, part.name));
            source.push_str(part.source);
            if !part.source.ends_with('\n') {
                source.push('\n');
            }
        }
        Linked { source, origins }
    }
}

impl Linked {
    /// The part that line `line` of the linked text comes from, and its own line there (both counted from 1);
    /// `None` for the generated header.
    pub fn origin(&self, line: u32) -> Option<(&'static str, u32)> {
        let (first, name) = self.origins.iter().rev().find(|(first, _)| *first <= line)?;
        Some((name, line - first + 1))
    }
}
