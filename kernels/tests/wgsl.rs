//! Every shader variant that the cases reach, on devices of several kinds: it parses and validates with exactly the
//! capabilities that it declares, its bindings and parameters are those of the Rust side, and its workgroup memory is what
//! it claims.

use foveate_kernels::ceiling::Load;
use foveate_kernels::error::Error;
use foveate_kernels::plan::shader::{Shader, code};
use foveate_kernels::plan::{Caps, Memory, Pass};
use foveate_kernels::testing;
use std::collections::{HashMap, HashSet};

/// WebGPU's defaults, a small phone-like device, and devices with everything.
fn devices() -> Vec<Caps> {
    let large = Caps::WEBGPU
        .with_workgroup_bytes(32768)
        .with_invocations(1024)
        .with_binding_bytes(1 << 30)
        .with_buffer_bytes(1 << 30);
    let subgroups = |min, max| large.with_subgroups(min, max);
    vec![
        Caps::WEBGPU,
        Caps::WEBGPU.with_software(true),
        // Bindings so small that weights are cut.
        Caps::WEBGPU.with_binding_bytes(16 << 10).with_buffer_bytes(16 << 10).with_alignment(32),
        large,
        subgroups(4, 4),
        subgroups(8, 128),
        subgroups(32, 32).with_f16(true),
        subgroups(8, 8).with_f16(true).with_software(true),
    ]
}

/// One pass for every different shader, from every case on every device.
fn passes() -> Vec<Pass> {
    let mut seen = HashSet::new();
    let mut all = Vec::new();
    for caps in devices() {
        for case in testing::cases() {
            let kernel = case.op.kernel();
            kernel.validate().unwrap_or_else(|e| panic!("{}: {e}", case.id));
            let plan = match kernel.plan(&caps) {
                Ok(plan) => plan,
                // Only the device with tiny bindings may be too small.
                Err(Error::Limit { .. }) if caps.binding_bytes < (1 << 20) => continue,
                Err(e) => panic!("{}: {e}", case.id),
            };
            for pass in plan.passes {
                pass.check(case.op.name(), &caps).unwrap_or_else(|e| panic!("{}: {e}", case.id));
                for binding in &pass.bindings {
                    assert_eq!(
                        binding.offset % u64::from(caps.alignment),
                        0,
                        "{}: offset of {}",
                        case.id,
                        binding.name
                    );
                    assert!(binding.bytes > 0, "{}: {} binds nothing", case.id, binding.name);
                    if let Memory::Scratch(i) = binding.memory {
                        assert!(binding.offset + binding.bytes <= plan.scratch[i], "{}: {}", case.id, binding.name);
                    }
                }
                if seen.insert(pass.shader.clone()) {
                    all.push(pass);
                }
            }
        }
    }
    for load in [Load::Copy { vectors: 1 }, Load::Multiply { invocations: 1, rounds: 1 }] {
        all.extend(load.plan(&Caps::WEBGPU).expect("it fits every device").passes);
    }
    assert!(all.len() > 20, "the cases reach only {} shaders", all.len());
    all
}

fn parse(shader: &Shader) -> naga::Module {
    let linked = shader.link();
    naga::front::wgsl::parse_str(&linked.source).unwrap_or_else(|e| {
        let line = e.location(&linked.source).map_or(0, |l| l.line_number);
        panic!("{} at {:?}: {}", shader.name, linked.origin(line), e.emit_to_string(&linked.source))
    })
}

/// What browsers download in place of the text.
#[test]
fn code_of_every_part_is_its_text_without_comments_line_for_line() {
    let passes = passes();
    let parts: HashMap<&str, &str> =
        passes.iter().flat_map(|pass| &pass.shader.parts).map(|part| (part.name, part.source)).collect();
    for (name, text) in parts {
        let (bytes, len) = code::<{ 1 << 16 }>(text);
        let want = text.lines().map(|line| line.split("//").next().unwrap_or_default().trim());
        assert!(std::str::from_utf8(&bytes[..len]).unwrap().lines().eq(want), "{name}");
    }
}

#[test]
fn shaders_validate_with_exactly_what_they_declare() {
    use naga::valid::{Capabilities, ShaderStages, SubgroupOperationSet, ValidationFlags, Validator};
    for pass in passes() {
        let shader = &pass.shader;
        let module = parse(shader);
        // `unpack2x16float` is in WebGPU's core; naga names it because some GL devices lack it.
        let mut capabilities = Capabilities::SHADER_FLOAT16_IN_FLOAT32;
        capabilities.set(Capabilities::SHADER_FLOAT16, shader.features.f16);
        capabilities.set(Capabilities::SUBGROUP, shader.features.subgroups);
        let mut validator = Validator::new(ValidationFlags::all(), capabilities);
        if shader.features.subgroups {
            validator.subgroup_stages(ShaderStages::COMPUTE).subgroup_operations(SubgroupOperationSet::all());
        }
        if let Err(e) = validator.validate(&module) {
            panic!("{}: {}", shader.name, e.emit_to_string(&shader.link().source));
        }
    }
}

#[test]
fn shaders_bind_what_the_plan_binds() {
    for pass in passes() {
        let shader = &pass.shader;
        let module = parse(shader);
        let globals: HashMap<(u32, u32), &naga::GlobalVariable> =
            module.global_variables.iter().filter_map(|(_, v)| v.binding.map(|b| ((b.group, b.binding), v))).collect();
        assert_eq!(globals.len(), pass.bindings.len() + 1, "{}: bindings", shader.name);
        for (i, binding) in pass.bindings.iter().enumerate() {
            let var = globals.get(&(0, i as u32)).unwrap_or_else(|| panic!("{}: no binding {i}", shader.name));
            // A module may bind an argument under a second name where two element types read the same words.
            let name = var.name.as_deref().unwrap_or_default();
            assert_eq!(name, binding.name, "{}: binding {i}", shader.name);
            let naga::AddressSpace::Storage { access } = var.space else {
                panic!("{}: {name} is no storage", shader.name)
            };
            let writes = access.contains(naga::StorageAccess::STORE);
            assert_eq!(writes, binding.access.writes(), "{}: access of {name}", shader.name);
        }
        let params = globals.get(&(1, 0)).unwrap_or_else(|| panic!("{}: no params", shader.name));
        assert_eq!(params.space, naga::AddressSpace::Uniform, "{}", shader.name);
        let naga::TypeInner::Struct { members, .. } = &module.types[params.ty].inner else {
            panic!("{}: params are no struct", shader.name)
        };
        let names: Vec<_> = members.iter().map(|m| m.name.clone().unwrap_or_default()).collect();
        let wanted: Vec<_> = pass.params.iter().map(|p| p.name.to_string()).collect();
        assert_eq!(names, wanted, "{}: params", shader.name);
        for (i, (member, param)) in members.iter().zip(&pass.params).enumerate() {
            assert_eq!(member.offset, 4 * i as u32, "{}: {}", shader.name, param.name);
            let kind = module.types[member.ty].inner.scalar_kind();
            let wanted = match param.value {
                foveate_kernels::plan::Value::F32(_) => naga::ScalarKind::Float,
                _ => naga::ScalarKind::Uint,
            };
            assert_eq!(kind, Some(wanted), "{}: type of {}", shader.name, param.name);
        }
    }
}

#[test]
fn shaders_use_the_workgroup_memory_they_claim() {
    for pass in passes() {
        let module = parse(&pass.shader);
        let mut layouter = naga::proc::Layouter::default();
        layouter.update(module.to_ctx()).expect("a validated module has layouts");
        let bytes: u32 = module
            .global_variables
            .iter()
            .filter(|(_, v)| v.space == naga::AddressSpace::WorkGroup)
            .map(|(_, v)| layouter[v.ty].size.next_multiple_of(16))
            .sum();
        let claimed = pass.shader.workgroup_bytes;
        assert!(bytes <= claimed && claimed <= bytes + 64, "{} uses {bytes}, claims {claimed}", pass.shader.name);
        let size: u32 = module.entry_points[0].workgroup_size.iter().product();
        assert!(size <= 256 || pass.shader.name.contains("large"), "{}: {size} invocations", pass.shader.name);
        assert_eq!(module.entry_points[0].name, "main", "{}", pass.shader.name);
    }
}

/// A part that no variant links is dead, or its variant untested.
#[test]
fn every_wgsl_file_is_linked_by_some_variant() {
    let used: HashSet<String> =
        passes().iter().flat_map(|p| p.shader.parts.iter().map(|p| p.name.to_string())).collect();
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("the crate's sources").map(|e| e.expect("an entry").path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.extension().is_some_and(|e| e == "wgsl") {
                files += 1;
                let name = entry.strip_prefix(&root).expect("below src").to_string_lossy().replace('\\', "/");
                assert!(used.contains(&name), "no variant links {name}");
            }
        }
    }
    assert!(files > 0);
}
