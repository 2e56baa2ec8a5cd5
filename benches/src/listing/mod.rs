//! What a real GPU compiler makes of every shader, on a machine without that GPU.
//!
//! Mesa's RADV compiles for a family of devices that the environment names. Of each variant it tells registers, spills and
//! workgroup memory; of the disassembly, [`loops`] counts what is issued in the loop that most multiply-adds are in.

pub mod loops;
pub mod radv;
pub mod spirv;
pub mod table;
pub mod variants;

use loops::Counts;
use serde::{Deserialize, Serialize};
use std::error::Error;

/// What is listed of a variant, on one family of devices.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    pub family: String,
    pub name: String,
    /// See [`variants::Variant`].
    pub timed: bool,
    pub vgprs: u64,
    /// Waves of 32 lanes that a SIMD unit holds; one of 64 lanes counts as two.
    pub waves: u64,
    /// Registers, of both kinds, that were moved to memory or to other registers.
    pub spills: u64,
    /// Bytes of scratch memory a wave.
    pub scratch: u64,
    /// Bytes of workgroup memory that the driver allocates, and that the shader declares.
    pub lds: u64,
    pub declared: u64,
    pub instructions: u64,
    /// The compiler's estimate of cycles, for one wave alone and for many.
    pub latency: u64,
    pub inverse_throughput: u64,
    /// One turn of the hottest loop; nothing for code without loops.
    pub hot: Counts,
    pub assembly: Option<String>,
}

impl Row {
    /// What is wrong with the variant, if anything.
    pub fn fault(&self) -> Option<String> {
        // The driver allocates workgroup memory in pieces of 1 KiB.
        let most = self.declared.next_multiple_of(1024);
        let name = format!("{} on {}", self.name, self.family);
        match self {
            Row { spills: 1.., .. } => Some(format!("{name} spills {} registers", self.spills)),
            Row { scratch: 1.., .. } => Some(format!("{name} uses {} bytes of scratch", self.scratch)),
            _ if self.lds > most => Some(format!("{name} needs {} bytes of workgroup memory, not {most}", self.lds)),
            _ => None,
        }
    }
}

/// Compiles every variant whose name contains `filter`, for the family in the environment.
pub fn rows(family: &str, filter: &str, assembly: bool) -> Result<Vec<Row>, Box<dyn Error>> {
    let compiler = radv::Compiler::open()?;
    let mut rows = Vec::new();
    for variant in variants::variants().into_iter().filter(|v| v.name.contains(filter)) {
        let shader = &variant.pass.shader;
        let compiled = compiler.compile(&spirv::write(shader)?, variant.pass.bindings.len())?;
        let value = |name: &str| {
            compiled.statistics.get(name).copied().ok_or_else(|| format!("the driver does not tell \"{name}\""))
        };
        rows.push(Row {
            family: family.into(),
            timed: variant.timed,
            vgprs: value("VGPRs")?,
            waves: value("Subgroups per SIMD")?,
            spills: value("Spilled VGPRs")? + value("Spilled SGPRs")?,
            scratch: value("Scratch size")?,
            lds: value("LDS size")?,
            declared: shader.workgroup_bytes.into(),
            instructions: value("Instructions")?,
            latency: value("Latency")?,
            inverse_throughput: value("Inverse Throughput")?,
            hot: loops::hottest(&loops::loops(&compiled.assembly)).map_or(Counts::default(), |l| l.counts.clone()),
            assembly: assembly.then_some(compiled.assembly),
            name: variant.name,
        });
    }
    Ok(rows)
}
