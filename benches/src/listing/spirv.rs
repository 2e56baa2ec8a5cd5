//! WGSL to SPIR-V, as wgpu does it for the trusted shaders of `core/src/gpu/pipeline.rs`.

use foveate_kernels::plan::shader::Shader;
use naga::back::spv;
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, ShaderStages, SubgroupOperationSet, ValidationFlags, Validator};

/// The words of a shader's module for Vulkan 1.3.
///
/// # Errors
/// What naga says of a shader that it refuses.
pub fn write(shader: &Shader) -> Result<Vec<u32>, String> {
    let source = shader.link().source;
    let refuse = |e: String| format!("{}: {e}", shader.name);
    let module = naga::front::wgsl::parse_str(&source).map_err(|e| refuse(e.emit_to_string(&source)))?;
    let mut validator = Validator::new(ValidationFlags::all(), Capabilities::all());
    validator.subgroup_stages(ShaderStages::COMPUTE).subgroup_operations(SubgroupOperationSet::all());
    let info = validator.validate(&module).map_err(|e| refuse(e.emit_to_string(&source)))?;
    let unchecked = BoundsCheckPolicy::Unchecked;
    let options = spv::Options {
        lang_version: (1, 6),
        flags: spv::WriterFlags::empty(),
        fake_missing_bindings: false,
        bounds_check_policies: BoundsCheckPolicies {
            index: unchecked,
            buffer: unchecked,
            image_load: unchecked,
            binding_array: unchecked,
        },
        zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
        force_loop_bounding: false,
        emit_int_div_checks: false,
        ..Default::default()
    };
    let bindings = (module.global_variables.iter())
        .filter_map(|(_, v)| v.binding)
        .map(|b| {
            let info = spv::BindingInfo { descriptor_set: b.group, binding: b.binding, binding_array_size: None };
            (b, info)
        })
        .collect();
    let options = spv::Options { binding_map: bindings, ..options };
    let entry = spv::PipelineOptions { shader_stage: naga::ShaderStage::Compute, entry_point: "main".into() };
    spv::write_vec(&module, &info, &options, Some(&entry)).map_err(|e| refuse(e.to_string()))
}
