//! Linking a shader from whole WGSL parts.
//!
//! A shader is a generated header of `const` and `alias` lines followed by [`Part`]s in order. Variants differ by which
//! parts are linked (two parts may define the same functions) and by constants; the text of a part is never edited.

use alloc::{string::String, vec::Vec};
use core::fmt::Write;

/// One WGSL file, which its name tells from all others.
#[derive(Clone, Copy, Eq, Debug)]
pub struct Part {
    /// Path below `kernels/src`.
    pub name: &'static str,
    /// The text of the file.
    pub source: &'static str,
}

impl PartialEq for Part {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl core::hash::Hash for Part {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

/// A [`Part`] from a file next to the caller: `part!("linear/matvec.wgsl")` is relative to `kernels/src`.
#[macro_export]
#[doc(hidden)]
macro_rules! part {
    ($path:literal) => {{
        const FILE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/", $path));
        $crate::plan::shader::Part { name: $path, source: $crate::code!(FILE) }
    }};
}

/// The text that is linked: natively as it was written.
#[cfg(not(target_arch = "wasm32"))]
#[macro_export]
#[doc(hidden)]
macro_rules! code {
    ($file:ident) => {
        $file
    };
}

/// The text that is linked: what browsers download has no comments and no indentation, a third of the whole.
#[cfg(target_arch = "wasm32")]
#[macro_export]
#[doc(hidden)]
macro_rules! code {
    ($file:ident) => {{
        const CODE: [u8; $crate::plan::shader::code::<0>($file).1] = $crate::plan::shader::code($file).0;
        const TEXT: &str = match core::str::from_utf8(&CODE) {
            Ok(text) => text,
            Err(_) => panic!("comments and spaces are whole characters"),
        };
        TEXT
    }};
}

/// The first `N` bytes of a WGSL text without its comments (`//` alone is used), indentation and spaces at line ends,
/// and the number of all of them. Lines keep their numbers.
#[doc(hidden)]
pub const fn code<const N: usize>(text: &str) -> ([u8; N], usize) {
    let text = text.as_bytes();
    let (mut out, mut len) = ([0; N], 0);
    // Spaces are written once something follows them in their line.
    let (mut at, mut spaces, mut line_start) = (0, 0, true);
    while at < text.len() {
        if text[at] == b' ' {
            spaces += 1;
        } else if text[at] == b'/' && at + 1 < text.len() && text[at + 1] == b'/' {
            while at + 1 < text.len() && text[at + 1] != b'\n' {
                at += 1;
            }
        } else {
            let newline = text[at] == b'\n';
            while !newline && !line_start && spaces > 0 {
                if len < N {
                    out[len] = b' ';
                }
                (len, spaces) = (len + 1, spaces - 1);
            }
            if len < N {
                out[len] = text[at];
            }
            (len, spaces, line_start) = (len + 1, 0, newline);
        }
        at += 1;
    }
    (out, len)
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

/// The optional WebGPU features that a shader needs; each is an `enable` line of the header.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub struct Features {
    /// Half precision, `shader-f16`.
    pub f16: bool,
    /// Operations between the invocations of a subgroup, `subgroups`.
    pub subgroups: bool,
}

/// A variant of a kernel: its identity is all of these fields, and pipelines are cached by it. The entry point is `main`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct Shader {
    /// `op` or `op.form`, for labels and reports.
    pub name: &'static str,
    /// Files whose declarations are put together, in order.
    pub parts: Vec<Part>,
    /// Constants that the parts name.
    pub consts: Vec<(&'static str, Const)>,
    /// Features that the device must have.
    pub features: Features,
    /// Bytes of workgroup memory, counted as WGSL lays variables out; a test holds it against the linked module.
    pub workgroup_bytes: u32,
}

/// A linked shader: its text, and where each part begins in it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Linked {
    /// The WGSL text.
    pub source: String,
    /// `(first line of the part in source, counted from 1; name)`, ascending.
    pub origins: Vec<(u32, &'static str)>,
}

/// The WGSL compiler that a shader is linked for: they differ in the `enable` lines that they demand or refuse.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Compiler {
    /// naga, as wgpu uses it natively. It knows subgroup functions without an `enable` line, and refuses the line.
    Naga,
    /// A compiler that follows the WGSL specification, as browsers and Dawn have it: `enable subgroups;` is demanded.
    Standard,
}

impl Compiler {
    /// The compiler of this build's target: browsers for wasm32, naga elsewhere.
    pub const TARGET: Compiler = if cfg!(target_arch = "wasm32") { Compiler::Standard } else { Compiler::Naga };
}

impl Shader {
    /// Joins header and parts, for [`Compiler::TARGET`].
    pub fn link(&self) -> Linked {
        self.link_for(Compiler::TARGET)
    }

    /// Joins header and parts for a compiler of the caller's choice.
    pub fn link_for(&self, compiler: Compiler) -> Linked {
        let mut source = String::new();
        let subgroups = self.features.subgroups && compiler == Compiler::Standard;
        for (on, name) in [(self.features.f16, "f16"), (subgroups, "subgroups")] {
            if on {
                writeln!(source, "enable {name};").expect("a String takes every write");
            }
        }
        if subgroups {
            // Whole workgroups take every branch around a reduction together, but as numbers from memory say, which a
            // browser takes for different in each invocation.
            source.push_str("diagnostic(off, subgroup_uniformity);\n");
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

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn link_writes_enable_lines_as_the_compiler_demands() {
        let features = Features { f16: true, subgroups: true };
        let shader = Shader { name: "none", parts: vec![], consts: vec![], features, workgroup_bytes: 0 };
        assert_eq!(shader.link_for(Compiler::Naga).source, "enable f16;\n");
        let standard = shader.link_for(Compiler::Standard).source;
        assert!(standard.starts_with("enable f16;\nenable subgroups;\n"), "{standard}");
    }

    #[test]
    fn code_is_a_text_without_comments_and_indentation_line_for_line() {
        const TEXT: &str = "// Two lines \u{3c0}.\n\nfn f() {  // why\n    let a = b / c;  \n}\n// end";
        const LEN: usize = code::<0>(TEXT).1;
        let (bytes, len) = code::<LEN>(TEXT);
        assert_eq!(core::str::from_utf8(&bytes), Ok("\n\nfn f() {\nlet a = b / c;\n}\n"));
        assert_eq!(len, LEN);
    }
}
