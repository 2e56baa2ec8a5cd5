//! Limits and features of a device.

use crate::error::{Error, Result};

/// Limits and features that plans are chosen by.
///
/// Start at [`Caps::WEBGPU`] and say what the device has beyond it:
///
/// ```
/// use foveate_kernels::plan::Caps;
///
/// let caps = Caps::WEBGPU.with_f16(true).with_subgroups(32, 32).with_workgroup_bytes(32768);
/// assert_eq!(caps.binding_bytes, Caps::WEBGPU.binding_bytes);
/// ```
///
/// For a wgpu device, `foveate_core::gpu::caps` reads them from its limits and features.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct Caps {
    /// True if shaders may use `f16`.
    pub shader_f16: bool,
    /// True if shaders may use subgroup operations.
    pub subgroups: bool,
    /// Smallest subgroup that the device may run a shader with; 0 without `subgroups`.
    pub subgroup_min: u32,
    /// Largest subgroup that the device may run a shader with; 0 without `subgroups`.
    pub subgroup_max: u32,
    /// Bytes of workgroup memory.
    pub workgroup_bytes: u32,
    /// Invocations of a workgroup, also along its first dimension.
    pub invocations: u32,
    /// Storage buffers that one pass can bind.
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
    /// The capabilities of every WebGPU device: the default limits of the specification, no optional feature.
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

    /// Sets the smallest and the largest subgroup; `0, 0` for a device without subgroup operations.
    pub const fn with_subgroups(mut self, min: u32, max: u32) -> Self {
        self.subgroups = max > 0;
        self.subgroup_min = min;
        self.subgroup_max = max;
        self
    }

    /// Sets whether shaders may use `f16`.
    pub const fn with_f16(mut self, shader_f16: bool) -> Self {
        self.shader_f16 = shader_f16;
        self
    }

    /// Sets the bytes of workgroup memory.
    pub const fn with_workgroup_bytes(mut self, workgroup_bytes: u32) -> Self {
        self.workgroup_bytes = workgroup_bytes;
        self
    }

    /// Sets the invocations of a workgroup.
    pub const fn with_invocations(mut self, invocations: u32) -> Self {
        self.invocations = invocations;
        self
    }

    /// Sets the storage buffers that one pass can bind.
    pub const fn with_storage_buffers(mut self, storage_buffers: u32) -> Self {
        self.storage_buffers = storage_buffers;
        self
    }

    /// Sets the bytes that one binding can span.
    pub const fn with_binding_bytes(mut self, binding_bytes: u64) -> Self {
        self.binding_bytes = binding_bytes;
        self
    }

    /// Sets the bytes of one buffer.
    pub const fn with_buffer_bytes(mut self, buffer_bytes: u64) -> Self {
        self.buffer_bytes = buffer_bytes;
        self
    }

    /// Sets the workgroups in each dimension of a dispatch.
    pub const fn with_workgroups(mut self, workgroups: u32) -> Self {
        self.workgroups = workgroups;
        self
    }

    /// Sets the alignment of a storage binding's offset: bytes, a power of two.
    pub const fn with_alignment(mut self, alignment: u32) -> Self {
        self.alignment = alignment;
        self
    }

    /// Sets whether the driver runs on the host's processor.
    pub const fn with_software(mut self, software: bool) -> Self {
        self.software = software;
        self
    }

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
