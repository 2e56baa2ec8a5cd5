//! How a folder's weights are quantised: `quantization_config`.

use super::json::Json;
use crate::error::{Error, Result, one_line};
use crate::weights::Method;

/// Returns how weights are quantised, from the model's configuration.
///
/// # Errors
/// `Config` for a method or an option that is not read, naming it.
pub(super) fn method(json: &Json) -> Result<Option<Method>> {
    for key in ["quantization_config", "compression_config"] {
        let Some(settings) = json.object(key)? else { continue };
        let given = settings.str("quant_method")?.or(settings.str("quantization_method")?);
        let by_bits = ["load_in_4bit", "load_in_8bit"].into_iter().any(|key| settings.has(key));
        let method = given.unwrap_or(if by_bits { "bitsandbytes" } else { "without a name" });
        let of = Of { settings: &settings, key, method };
        return match method {
            "mxfp4" => Ok(Some(Method::Mxfp4)),
            "fp8" | "fbgemm_fp8" => of.fp8(),
            "gptq" => of.gptq(),
            "awq" => of.awq(),
            "bitsandbytes" => Ok(Some(Method::Bitsandbytes)),
            "bitnet" => of.bitnet(),
            "compressed-tensors" => of.compressed(),
            _ => {
                let reason = format!(
                    "{key}: weights quantised with {} are not supported; open a folder in float32, float16 or bfloat16, or \
                     one quantised with awq, bitnet, bitsandbytes, compressed-tensors, fp8, gptq or mxfp4, or a GGUF file",
                    one_line(method)
                );
                Err(Error::Config { reason })
            }
        };
    }
    Ok(None)
}

/// The options of a method.
struct Of<'a> {
    settings: &'a Json,
    key: &'a str,
    method: &'a str,
}

impl Of<'_> {
    fn refused(&self, option: &str, expected: &str, got: impl std::fmt::Display) -> Error {
        let got = one_line(&got.to_string());
        let reason = format!("{}.{option} of {} must be {expected}, got {got}", self.key, self.method);
        Error::Config { reason }
    }

    /// The inputs of a group; -1 is all.
    fn group_size(&self, settings: &Json, option: &str) -> Result<Option<u64>> {
        let missing = || self.refused(option, "a number of inputs or -1", "none");
        match settings.get(option).map(|value| value.as_i64()) {
            Some(Some(-1)) => Ok(None),
            Some(Some(size @ 1..=0x100_0000)) => Ok(Some(size as u64)),
            Some(_) => Err(self.refused(option, "a number of inputs or -1", "another value")),
            None => Err(missing()),
        }
    }

    fn bits(&self, settings: &Json, option: &str, allowed: &[u32]) -> Result<u32> {
        let bits = settings.u32(option)?.unwrap_or(0);
        match allowed.contains(&bits) {
            true => Ok(bits),
            false => Err(self.refused(option, &format!("one of {allowed:?}"), bits)),
        }
    }

    /// Refuses an option with another value than the one that is read.
    fn only(&self, option: &str, expected: &[&str]) -> Result<()> {
        match self.settings.str(option)? {
            Some(got) if !expected.iter().any(|word| word.eq_ignore_ascii_case(got)) => {
                Err(self.refused(option, &expected.join(" or "), got))
            }
            _ => Ok(()),
        }
    }

    /// Refuses options that change what the numbers mean.
    fn without(&self, options: &[&str]) -> Result<()> {
        for option in options {
            let value = self.settings.get(option);
            let empty = |v: &serde_json::Value| {
                v == &serde_json::Value::Bool(false)
                    || v.as_object().is_some_and(|o| o.is_empty())
                    || v.as_array().is_some_and(|a| a.is_empty())
            };
            if let Some(value) = value.filter(|value| !empty(value)) {
                return Err(self.refused(option, "absent", value));
            }
        }
        Ok(())
    }

    fn fp8(&self) -> Result<Option<Method>> {
        self.only("fmt", &["e4m3", "float8_e4m3fn"])?;
        let block = match self.settings.numbers("weight_block_size")?.as_deref() {
            None => [128, 128],
            Some(&[rows, columns]) if rows > 0 && columns > 0 => [rows.into(), columns.into()],
            Some(_) => return Err(self.refused("weight_block_size", "two numbers", "others")),
        };
        Ok(Some(Method::Bytes { block }))
    }

    fn gptq(&self) -> Result<Option<Method>> {
        self.without(&["dynamic", "is_marlin_format", "rotation"])?;
        let bits = self.bits(self.settings, "bits", &[2, 3, 4, 8])?;
        let size = self.group_size(self.settings, "group_size")?;
        let mut less = 1;
        for option in ["checkpoint_format", "format"] {
            self.only(option, &["gptq", "gptq_v2"])?;
            if self.settings.str(option)? == Some("gptq_v2") {
                less = 0;
            }
        }
        let symmetric = self.settings.bool("sym")? == Some(true);
        Ok(Some(Method::Gptq { bits, size, symmetric, less }))
    }

    fn awq(&self) -> Result<Option<Method>> {
        self.only("version", &["gemm"])?;
        self.only("backend", &["autoawq", "auto", "gemm"])?;
        let option = if self.settings.has("bits") { "bits" } else { "w_bit" };
        self.bits(self.settings, option, &[4])?;
        if self.settings.bool("zero_point")? == Some(false) {
            return Err(self.refused("zero_point", "true", "false"));
        }
        let option = if self.settings.has("group_size") { "group_size" } else { "q_group_size" };
        Ok(Some(Method::Awq { size: self.group_size(self.settings, option)? }))
    }

    fn bitnet(&self) -> Result<Option<Method>> {
        self.only("quantization_mode", &["offline"])?;
        self.only("linear_class", &["bitlinear", "autobitlinear"])?;
        Ok(Some(Method::BitNet { divide: self.settings.str("linear_class")? != Some("autobitlinear") }))
    }

    fn compressed(&self) -> Result<Option<Method>> {
        self.without(&["sparsity_config", "transform_config"])?;
        let Some(groups) = self.settings.object("config_groups")? else {
            return Err(self.refused("config_groups", "an object", "none"));
        };
        let names: Vec<&str> = groups.keys().collect();
        let [name] = names[..] else {
            return Err(self.refused("config_groups", "one group", format!("{} of them", names.len())));
        };
        let group = groups.object(name)?;
        let weights = group.as_ref().map(|group| group.object("weights")).transpose()?.flatten();
        let Some(weights) = weights else { return Err(self.refused("config_groups", "a group with weights", "none")) };
        let format = self.settings.str("format")?.unwrap_or("none");
        match format {
            "float-quantized" | "int-quantized" | "naive-quantized" => {
                let block = match weights.numbers("block_structure")?.as_deref() {
                    Some(&[rows, columns]) if rows > 0 && columns > 0 => [rows.into(), columns.into()],
                    Some(_) => return Err(self.refused("block_structure", "two numbers", "others")),
                    // Groups of inputs of one output.
                    None => match weights.u32("group_size")? {
                        Some(size @ 1..) => [1, size.into()],
                        _ => [128, 128],
                    },
                };
                Ok(Some(Method::Bytes { block }))
            }
            "pack-quantized" => {
                let bits = self.bits(&weights, "num_bits", &[2, 3, 4, 8])?;
                let size = match weights.has("group_size") && weights.get("group_size").is_some() {
                    true => self.group_size(&weights, "group_size")?,
                    false => None,
                };
                let symmetric = weights.bool("symmetric")? != Some(false);
                Ok(Some(Method::Packed { bits, size, symmetric }))
            }
            other => {
                Err(self.refused("format", "pack-quantized, float-quantized, int-quantized or naive-quantized", other))
            }
        }
    }
}
