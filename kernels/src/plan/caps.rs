//! Limits and features of a device.

use crate::error::{Error, Result};

/// Limits and features that plans are chosen by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Caps {
    pub shader_f16: bool,
    pub subgroups: bool,
    /// Smallest and largest subgroup that the device may run a shader with; 0 without `subgroups`.
    pub subgroup_min: u32,
    pub subgroup_max: u32,
    /// Bytes of workgroup memory.
    pub workgroup_bytes: u32,
    pub invocations: u32,
    pub storage_buffers: u32,
    /// Bytes that one binding can span.
    pub binding_bytes: u64,
    /// Bytes of one buffer.
    pub buffer_bytes: u64,
    /// Workgroups in each dimension of a dispatch.
    pub workgroups: u32,
    /// Bytes to which the offset of a storage binding is aligned.
    pub alignment: u32,
    /// A driver that runs on the host's processor.
    pub software: bool,
}

impl Caps {
    /// What every WebGPU device has: the defaults of the specification, no optional feature.
    pub const WEBGPU: Caps = Caps {
        shader_f16: false,
        subgroups: false,
        subgroup_min: 0,
        subgroup_max: 0,
        workgroup_bytes: 16384,
        invocations: 256,
        storage_buffers: 8,
        binding_bytes: 128 << 20,
        buffer_bytes: 256 << 20,
        workgroups: 65535,
        alignment: 256,
        software: false,
    };

    /// Rows of `row_bytes` that one binding holds such that the next rows begin at an aligned offset, at least one.
    ///
    /// Tensors above [`binding_bytes`](Caps::binding_bytes) are cut at multiples of this, on the device and in plans.
    pub fn rows_per_binding(&self, op: &'static str, row_bytes: u64) -> Result<u32> {
        let align = self.alignment as u64;
        // The fewest rows whose bytes are a multiple of the alignment (a power of two).
        let step = align >> row_bytes.trailing_zeros().min(align.trailing_zeros());
        let room = self.binding_bytes.min(self.buffer_bytes);
        match (room / row_bytes.max(1)) / step * step {
            0 => Err(Error::Limit { op, what: "bytes in a binding", needs: row_bytes * step, has: room }),
            rows => Ok(rows.min(u32::MAX as u64) as u32),
        }
    }

    /// A grid of at least `n` workgroups in two dimensions; kernels take `y * num_workgroups.x + x` and return beyond `n`.
    pub fn grid(&self, op: &'static str, n: u64) -> Result<[u32; 3]> {
        let max = self.workgroups as u64;
        let y = n.div_ceil(max).max(1);
        if y > max {
            return Err(Error::Limit { op, what: "workgroups in a dispatch", needs: n, has: max * max });
        }
        Ok([n.div_ceil(y) as u32, y as u32, 1])
    }
}
