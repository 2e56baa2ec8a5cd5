//! The self-test of a device: finds kernel variants that the device computes wrong.
//!
//! Drivers have returned wrong numbers without an error. The variants that a model will run are known from the headers
//! of its files ([`outline`](super::outline)). They run on small cases against the definition, and are compiled, while
//! the weights stream in. If a variant fails, its op is planned again with reduced capabilities.
//!
//! The test has a device of its own, because a shader that a driver rejects can leave a device unusable.

use crate::any::Any;
use crate::check::{self, Finding};
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use foveate_kernels::ops::Op;
use foveate_kernels::plan::Caps;
use foveate_kernels::plan::shader::{Const, Shader};
use foveate_kernels::testing;
use foveate_kernels::testing::Case;
use std::cmp::Reverse;

/// Operations and bytes of a case at most.
const SMALL: u64 = 1 << 24;

/// The result of a device's self-test.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Trial {
    /// The names of the cases that ran.
    pub tried: Vec<String>,
    /// Ops that do without something.
    pub fallbacks: Vec<Fallback>,
    /// The shaders of forms that no case is small enough for.
    pub untried: Vec<&'static str>,
}

/// An op that does without something of the device.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Fallback {
    /// The op.
    pub op: &'static str,
    /// The feature or the limits that it does without.
    pub without: &'static str,
    /// The failure that led to the fallback.
    pub detail: String,
    caps: Caps,
}

/// The shaders that ops take, each once.
fn shaders<'a>(ops: impl IntoIterator<Item = &'a Op>, caps: &Caps) -> Result<Vec<Shader>> {
    let mut all = Vec::new();
    for op in ops {
        for shader in op.kernel().plan(caps)?.passes.into_iter().map(|pass| pass.shader) {
            if !all.contains(&shader) {
                all.push(shader);
            }
        }
    }
    Ok(all)
}

/// True if two shaders differ only in their constants.
fn alike(a: &Shader, b: &Shader) -> bool {
    a.name == b.name && a.features == b.features && a.parts == b.parts
}

/// The sum of a shader's constants: larger ones unroll more, and compile for longer.
fn size(shader: &Shader) -> u64 {
    shader.consts.iter().map(|(_, value)| if let Const::U32(n) = value { u64::from(*n) } else { 0 }).sum()
}

/// Returns the fallbacks of an op, from the least restricted to the most. Buffer limits stay, since buffers have been
/// allocated.
fn narrower(caps: &Caps) -> [(&'static str, Caps); 5] {
    let subgroups = caps.with_subgroups(0, 0);
    let least = subgroups
        .with_f16(false)
        .with_workgroup_bytes(caps.workgroup_bytes.min(Caps::WEBGPU.workgroup_bytes))
        .with_invocations(caps.invocations.min(Caps::WEBGPU.invocations));
    [
        ("subgroups", subgroups),
        ("shader-f16", caps.with_f16(false)),
        ("subgroups and shader-f16", subgroups.with_f16(false)),
        ("more than every device has", least),
        ("what devices of its kind have", least.with_software(!caps.software)),
    ]
}

/// Chooses for each shader the case that tries it, if there is one.
///
/// Among the cases that reach the shader with the smallest constants, the trial takes the one with the most work that is still
/// [`SMALL`]: a fault of a driver may show only with several tiles.
fn choose<'a>(shaders: &[Shader], cases: &'a [Case], caps: &Caps) -> Vec<Option<&'a Case>> {
    // The sum of constants, the cost, and the case.
    type Best<'a> = Option<(u64, Reverse<u64>, &'a Case)>;
    let mut chosen: Vec<Best<'a>> = vec![None; shaders.len()];
    for case in cases {
        let cost = case.op.kernel().flop().saturating_add(case.op.bytes());
        let Ok(reached) = self::shaders([&case.op], caps) else { continue };
        for (shader, best) in shaders.iter().zip(&mut chosen).filter(|_| cost <= SMALL) {
            let Some(other) = reached.iter().find(|other| alike(other, shader)) else { continue };
            let key = (size(other), Reverse(cost));
            if best.is_none_or(|(size, cost, _)| key < (size, cost)) {
                *best = Some((key.0, key.1, case));
            }
        }
    }
    chosen.into_iter().map(|best| best.map(|(.., case)| case)).collect()
}

impl Trial {
    /// Tries the forms that `ops` take with `caps`; `judge` runs a case with caps of its own.
    ///
    /// # Errors
    /// `Device` if an op has no form that passes.
    async fn of(ops: &[Op], caps: &Caps, mut judge: impl AsyncFnMut(&Case, &Caps) -> Result<Finding>) -> Result<Self> {
        let mut trial = Self::default();
        let mut all = testing::cases();
        for name in Op::NAMES {
            let own: Vec<&Op> = ops.iter().filter(|op| op.name() == *name).collect();
            if own.is_empty() {
                continue;
            }
            let cases: Vec<Case> = all.extract_if(.., |case| case.op.name() == *name).collect();
            let (mut wrong, mut before, mut settled) = (None, Vec::new(), false);
            for (without, caps) in [("", *caps)].into_iter().chain(narrower(caps)) {
                let Ok(shaders) = shaders(own.iter().copied(), &caps) else { continue };
                if settled || shaders == before {
                    continue;
                }
                let chosen = choose(&shaders, &cases, &caps);
                match trial.failing(&chosen, &caps, &mut judge).await {
                    Some(detail) => (wrong, before) = (wrong.or(Some(detail)), shaders),
                    None => {
                        let untried = shaders.iter().zip(&chosen).filter(|(_, case)| case.is_none());
                        trial.untried.extend(untried.map(|(shader, _)| shader.name));
                        trial.fallbacks.extend(wrong.take().map(|detail| Fallback { op: name, without, detail, caps }));
                        settled = true;
                    }
                }
            }
            if let Some(detail) = wrong {
                return Err(Error::device(format!("{name} is wrong here in every form: {detail}")));
            }
        }
        Ok(trial)
    }

    /// Runs cases until one is wrong, and says what is.
    async fn failing(
        &mut self,
        cases: &[Option<&Case>],
        caps: &Caps,
        judge: &mut impl AsyncFnMut(&Case, &Caps) -> Result<Finding>,
    ) -> Option<String> {
        for (i, case) in cases.iter().enumerate().filter_map(|(i, case)| case.map(|case| (i, case))) {
            // Several shaders may be tried on one case.
            if cases[..i].iter().flatten().any(|other| other.id == case.id) {
                continue;
            }
            self.tried.push(case.id.clone());
            match judge(case, caps).await {
                Ok(found) if found.passed => {}
                Ok(found) => return Some(format!("{}: {}", case.id, found.detail)),
                Err(error) => return Some(format!("{}: {error}", case.id)),
            }
        }
        None
    }

    /// Tries the forms that `ops` take on a device that `open` opens: one of the trial's own, since what a driver does not
    /// take leaves a device that does nothing more.
    ///
    /// # Errors
    /// `Device` if an op has no form that computes right, and what keeps a device from opening.
    pub async fn run(ops: &[Op], open: impl AsyncFn() -> Result<Gpu>) -> Result<Self> {
        let gpu = open().await?;
        let caps = *gpu.caps();
        let mut device = Any::Gpu(gpu);
        Self::of(ops, &caps, async |case, caps| {
            if let Any::Gpu(gpu) = &device {
                gpu.narrow(case.op.name(), *caps);
            }
            let found = check::case(&device, case).await;
            if found.is_err() {
                device = Any::Gpu(open().await?);
            }
            found
        })
        .await
    }
}

impl Gpu {
    /// Plans ops as a trial has found them right.
    pub fn follow(&self, trial: &Trial) {
        for fallback in &trial.fallbacks {
            self.narrow(fallback.op, fallback.caps);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use foveate_kernels::{activation, norm};

    fn finding(passed: bool) -> Result<Finding> {
        Ok(Finding { name: "a case".into(), passed, detail: "as it is".into() })
    }

    fn ops() -> Vec<Op> {
        let kind = activation::Kind::Silu;
        let activation = activation::Spec::new(3, 64, kind).with_gated(true).with_stride(128);
        vec![norm::Spec::rms(1, 576, 1e-5).into(), norm::Spec::rms(256, 576, 1e-5).into(), activation.into()]
    }

    const FULL: Caps = Caps::WEBGPU.with_f16(true).with_subgroups(32, 32);

    fn uses_subgroups(case: &Case, caps: &Caps) -> bool {
        shaders([&case.op], caps).unwrap().iter().any(|shader| shader.features.subgroups)
    }

    #[test]
    fn trial_of_a_good_device_changes_nothing() {
        let trial = pollster::block_on(Trial::of(&ops(), &FULL, async |_, _| finding(true))).unwrap();
        assert!(trial.fallbacks.is_empty() && trial.untried.is_empty(), "{trial:?}");
        assert_eq!(trial.tried.len(), 2, "{trial:?}");
    }

    #[test]
    fn trial_takes_from_an_op_what_it_computes_wrong_with() {
        let judge = async |case: &Case, caps: &Caps| finding(!uses_subgroups(case, caps));
        let trial = pollster::block_on(Trial::of(&ops(), &FULL, judge)).unwrap();
        let told: Vec<_> = trial.fallbacks.iter().map(|f| (f.op, f.without)).collect();
        assert_eq!(told, [(norm::NAME, "subgroups")]);
        assert!(trial.fallbacks[0].detail.ends_with("as it is") && !trial.fallbacks[0].caps.subgroups);
    }

    #[test]
    fn trial_of_a_shader_that_breaks_the_device_is_a_wrong_one() {
        let judge = async |case: &Case, caps: &Caps| match uses_subgroups(case, caps) {
            true => Err(Error::device("lost")),
            false => finding(true),
        };
        let trial = pollster::block_on(Trial::of(&ops(), &FULL, judge)).unwrap();
        assert_eq!(trial.fallbacks.len(), 1, "{trial:?}");
    }

    #[test]
    fn trial_without_a_right_form_is_an_error_that_names_the_op() {
        let judge = async |case: &Case, _: &Caps| finding(case.op.name() != norm::NAME);
        let error = pollster::block_on(Trial::of(&ops(), &FULL, judge)).unwrap_err();
        assert!(error.to_string().contains("norm is wrong here in every form"), "{error}");
    }
}
