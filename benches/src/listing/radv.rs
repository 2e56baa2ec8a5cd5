//! Mesa's RADV as a compiler for a GPU that is not there.
//!
//! With `RADV_FORCE_FAMILY` in the environment the driver offers one device without hardware; pipelines can be created on
//! it and, with `VK_KHR_pipeline_executable_properties`, be asked what became of them.

use ash::{khr, vk};
use std::collections::BTreeMap;
use std::error::Error;
use std::ffi::CStr;

/// What the driver says of a pipeline.
pub struct Compiled {
    /// The driver's statistics under its own names.
    pub statistics: BTreeMap<String, u64>,
    pub assembly: String,
}

pub struct Compiler {
    device: ash::Device,
    properties: khr::pipeline_executable_properties::Device,
    // Dropped after the device.
    _instance: ash::Instance,
    _entry: ash::Entry,
}

impl Compiler {
    /// Opens the only device of the driver that the environment names.
    pub fn open() -> Result<Self, Box<dyn Error>> {
        // SAFETY: the loader is the system's; create infos and what they point to live until their calls return. Nothing
        // is destroyed before the process ends.
        unsafe {
            let entry = ash::Entry::load()?;
            let app = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_3);
            let instance = entry.create_instance(&vk::InstanceCreateInfo::default().application_info(&app), None)?;
            let physical = instance.enumerate_physical_devices()?;
            let physical = *physical.first().ok_or("the driver offers no device")?;
            let names = [khr::pipeline_executable_properties::NAME.as_ptr()];
            let priorities = [1.0];
            let queues = [vk::DeviceQueueCreateInfo::default().queue_priorities(&priorities)];
            let mut executable =
                vk::PhysicalDevicePipelineExecutablePropertiesFeaturesKHR::default().pipeline_executable_info(true);
            // What wgpu enables of its own accord, or for the features that our shaders may ask for.
            let mut v11 = vk::PhysicalDeviceVulkan11Features::default().storage_buffer16_bit_access(true);
            let mut v12 = vk::PhysicalDeviceVulkan12Features::default()
                .shader_float16(true)
                .vulkan_memory_model(true)
                .shader_subgroup_extended_types(true);
            let mut v13 = vk::PhysicalDeviceVulkan13Features::default().maintenance4(true);
            let info = vk::DeviceCreateInfo::default()
                .queue_create_infos(&queues)
                .enabled_extension_names(&names)
                .push_next(&mut executable)
                .push_next(&mut v11)
                .push_next(&mut v12)
                .push_next(&mut v13);
            let device = instance.create_device(physical, &info, None)?;
            let properties = khr::pipeline_executable_properties::Device::new(&instance, &device);
            Ok(Self { device, properties, _instance: instance, _entry: entry })
        }
    }

    /// Compiles the entry point `main`, with `storage` buffers in group 0 and parameters in group 1.
    pub fn compile(&self, spirv: &[u32], storage: usize) -> Result<Compiled, Box<dyn Error>> {
        let binding = |binding, ty| {
            vk::DescriptorSetLayoutBinding::default()
                .binding(binding)
                .descriptor_type(ty)
                .descriptor_count(1)
                .stage_flags(vk::ShaderStageFlags::COMPUTE)
        };
        let buffers: Vec<_> = (0..storage as u32).map(|i| binding(i, vk::DescriptorType::STORAGE_BUFFER)).collect();
        let params = [binding(0, vk::DescriptorType::UNIFORM_BUFFER_DYNAMIC)];
        // SAFETY: as in `open`; naga has validated the module.
        unsafe {
            let set = |bindings: &[_]| {
                let info = vk::DescriptorSetLayoutCreateInfo::default().bindings(bindings);
                self.device.create_descriptor_set_layout(&info, None)
            };
            let sets = [set(&buffers)?, set(&params)?];
            let layout = vk::PipelineLayoutCreateInfo::default().set_layouts(&sets);
            let layout = self.device.create_pipeline_layout(&layout, None)?;
            let module = vk::ShaderModuleCreateInfo::default().code(spirv);
            let module = self.device.create_shader_module(&module, None)?;
            let stage = vk::PipelineShaderStageCreateInfo::default()
                .stage(vk::ShaderStageFlags::COMPUTE)
                .module(module)
                .name(c"main");
            let capture = vk::PipelineCreateFlags::CAPTURE_STATISTICS_KHR
                | vk::PipelineCreateFlags::CAPTURE_INTERNAL_REPRESENTATIONS_KHR;
            let info = vk::ComputePipelineCreateInfo::default().flags(capture).stage(stage).layout(layout);
            let pipeline =
                self.device.create_compute_pipelines(vk::PipelineCache::null(), &[info], None).map_err(|(_, e)| e)?[0];
            let compiled = self.describe(pipeline)?;
            self.device.destroy_pipeline(pipeline, None);
            self.device.destroy_shader_module(module, None);
            self.device.destroy_pipeline_layout(layout, None);
            for set in sets {
                self.device.destroy_descriptor_set_layout(set, None);
            }
            Ok(compiled)
        }
    }

    /// # Safety
    /// `pipeline` is one of this device, created with both capture flags.
    unsafe fn describe(&self, pipeline: vk::Pipeline) -> Result<Compiled, Box<dyn Error>> {
        let info = vk::PipelineExecutableInfoKHR::default().pipeline(pipeline);
        // SAFETY: a compute pipeline has executable 0; the union's member is the one that `format` names.
        unsafe {
            let statistics = self.properties.get_pipeline_executable_statistics(&info)?;
            let value = |s: &vk::PipelineExecutableStatisticKHR| match s.format {
                vk::PipelineExecutableStatisticFormatKHR::INT64 => s.value.i64 as u64,
                _ => s.value.u64,
            };
            let statistics = statistics.iter().map(|s| Ok((text(&s.name)?, value(s)))).collect::<Result<_, _>>();
            Ok(Compiled { statistics: statistics.map_err(|e: Box<dyn Error>| e)?, assembly: self.assembly(&info)? })
        }
    }

    /// # Safety
    /// As [`describe`](Self::describe).
    unsafe fn assembly(&self, info: &vk::PipelineExecutableInfoKHR<'_>) -> Result<String, Box<dyn Error>> {
        // SAFETY: the first call gives the sizes, and the second fills as many bytes.
        unsafe {
            let mut all = self.properties.get_pipeline_executable_internal_representations(info)?;
            let mut data: Vec<Vec<u8>> = all.iter().map(|r| vec![0; r.data_size]).collect();
            for (r, data) in all.iter_mut().zip(&mut data) {
                r.p_data = data.as_mut_ptr().cast();
            }
            let mut count = all.len() as u32;
            let get = self.properties.fp().get_pipeline_executable_internal_representations_khr;
            get(self.device.handle(), info, &mut count, all.as_mut_ptr()).result()?;
            let at = all.iter().position(|r| text(&r.name).is_ok_and(|n| n == "Assembly"));
            let bytes = &data[at.ok_or("the driver shows no assembly")?];
            Ok(CStr::from_bytes_until_nul(bytes)?.to_str()?.to_string())
        }
    }
}

/// A string of fixed room.
fn text(chars: &[std::ffi::c_char]) -> Result<String, Box<dyn Error>> {
    let bytes: Vec<u8> = chars.iter().map(|&c| c as u8).collect();
    Ok(CStr::from_bytes_until_nul(&bytes)?.to_str()?.to_string())
}
