//! Every case of every op on every executor and every adapter, against the definition.
//!
//! Every plan of a case runs once: those of a GPU with WebGPU's defaults, of a software driver with all that it has, and of
//! a GPU with all that. A plan that two drivers share runs on the first one; a quarter of the cases runs on the others, too,
//! and all of them where `EVERY_DRIVER` is set. Outputs hold NaN before the run. Every operand stands in the middle of a larger
//! buffer, and the bytes around it must survive.

use foveate_core::gpu::{self, Gpu};
use foveate_core::host::HostBackend;
use foveate_core::{Backend, Operand};
use foveate_kernels::dtype::DType;
use foveate_kernels::ops::Op;
use foveate_kernels::plan::Arg;
use foveate_kernels::rng::Rng;
use foveate_kernels::testing;
use foveate_kernels::testing::Case;
use foveate_kernels::testing::{Tolerance, compare};
use foveate_kernels::{attention, embed, linear, quant};
use libtest_mimic::{Arguments, Failed, Trial};
use std::sync::{Arc, Mutex};

/// Bytes in front of every operand: a multiple of 16, of no device's alignment.
const FRONT: usize = 48;
/// Bytes behind.
const BEHIND: usize = 64;
const GUARD: u8 = 0xa5;

/// Runs `case` and returns the bytes of all its arguments afterwards.
fn run<B: Backend>(backend: &B, case: &Case, args: &[Arg], inputs: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, Failed> {
    let buffers: Vec<B::Buffer> = args
        .iter()
        .zip(inputs)
        .map(|(arg, bytes)| {
            // A tensor that may be cut begins at the beginning of its buffer.
            let front = if arg.rows.is_some() { 0 } else { FRONT };
            let mut all = vec![GUARD; front];
            all.extend(bytes);
            all.resize(all.len().next_multiple_of(4), GUARD);
            let whole = all.len();
            if arg.rows.is_none() {
                all.resize(whole + BEHIND, GUARD);
            }
            let buffer = match arg.rows {
                Some((rows, row_bytes)) => backend.alloc_rows(arg.name, rows.into(), row_bytes)?,
                None => backend.alloc(arg.name, all.len() as u64)?,
            };
            backend.upload(&buffer, 0, if arg.rows.is_some() { bytes } else { &all })?;
            Ok::<_, foveate_core::Error>(buffer)
        })
        .collect::<Result<_, _>>()?;
    let operands: Vec<Operand<'_, B>> = args
        .iter()
        .zip(&buffers)
        .map(|(arg, buffer)| Operand::at(buffer, if arg.rows.is_some() { 0 } else { FRONT as u64 }))
        .collect();
    backend.run_positional(&case.op, &operands)?;
    let mut results = Vec::new();
    for ((arg, buffer), input) in args.iter().zip(&buffers).zip(inputs) {
        if !arg.access.writes() {
            results.push(input.clone());
            continue;
        }
        let whole = FRONT + input.len().next_multiple_of(4);
        let all = pollster::block_on(backend.download(buffer, 0, (whole + BEHIND) as u64))?;
        let (front, rest) = all.split_at(FRONT);
        if front.iter().chain(&rest[input.len()..]).any(|b| *b != GUARD) {
            return Err(format!("{} was written outside of its bounds", arg.name).into());
        }
        results.push(rest[..input.len()].to_vec());
    }
    Ok(results)
}

fn words<T: bytemuck::Pod>(bytes: &[u8]) -> Vec<T> {
    bytemuck::pod_collect_to_vec(bytes)
}

fn check<B: Backend>(backend: &B, case: &Case) -> Result<(), Failed> {
    let mut rng = Rng::new(0x5eed);
    let inputs = case.op.kernel().inputs(&mut rng);
    let lengths: Vec<u64> = inputs.iter().map(|b| b.len() as u64).collect();
    let args = case.op.check(&lengths)?;
    let wanted = run(&HostBackend::reference(), case, &args, &inputs)?;
    let got = run(backend, case, &args, &inputs)?;
    for ((arg, got), wanted) in args.iter().zip(&got).zip(&wanted) {
        if arg.dtype != DType::F32 {
            if got != wanted {
                let (got, wanted) = (words::<u32>(got), words::<u32>(wanted));
                let i = got.iter().zip(&wanted).position(|(g, w)| g != w).unwrap_or(0);
                return Err(format!("{}[{i}] is {}, not {}", arg.name, got[i], wanted[i]).into());
            }
        } else if arg.access.writes() {
            let exact = case.tolerance == Tolerance::EXACT;
            let found = compare(&words::<f32>(got), &words::<f32>(wanted), case.tolerance);
            if !found.within || (exact && got != wanted) {
                return Err(format!("{}: {found}", arg.name).into());
            }
        }
    }
    Ok(())
}

/// Keys and values in f16 cost at most twice the error that the definition has with all three operands rounded so.
fn check_halves<B: Backend>(backend: &B, spec: attention::Spec) -> Result<(), Failed> {
    type Run<'a> = &'a dyn Fn(&Case, &[Arg], &[Vec<u8>]) -> Result<Vec<Vec<u8>>, Failed>;
    let reference = HostBackend::reference();
    let attend = |backend: Run<'_>, kv, qkv: &[Vec<u8>; 3]| {
        let case = Case::new("halves", spec.with_kv(kv));
        let args = case.op.kernel().args();
        let out = vec![0xff; args[3].bytes() as usize];
        let results = backend(&case, &args, &[&qkv[..], &[out]].concat())?;
        Ok::<_, Failed>(words::<f32>(&results[3]))
    };
    let inputs = Op::from(spec.with_kv(DType::F32)).kernel().inputs(&mut Rng::new(7));
    let [q, k, v] = [0, 1, 2].map(|i| inputs[i].clone());
    let rounded = |x: &[u8]| {
        let mut halves = vec![0; x.len() / 2];
        quant::encode(DType::F16, &words::<f32>(x), &mut halves);
        halves
    };
    let mut same = vec![0.0; q.len() / 4];
    quant::decode(DType::F16, &rounded(&q), &mut same);
    let definition = |case: &Case, args: &[Arg], inputs: &[Vec<u8>]| run(&reference, case, args, inputs);
    let form = |case: &Case, args: &[Arg], inputs: &[Vec<u8>]| run(backend, case, args, inputs);
    let exact = attend(&definition, DType::F32, &[q.clone(), k.clone(), v.clone()])?;
    let halves = [rounded(&k), rounded(&v)];
    let allowed =
        attend(&definition, DType::F16, &[bytemuck::cast_slice(&same).to_vec(), halves[0].clone(), halves[1].clone()])?;
    let [k, v] = halves;
    let got = attend(&form, DType::F16, &[q, k, v])?;
    let [allowed, got] = [&allowed, &got].map(|x| compare(x, &exact, Tolerance::EXACT));
    let within = got.not_finite.is_none() && got.largest <= 2.0 * allowed.largest;
    if within && got.relative_rms <= 2.0 * allowed.relative_rms {
        Ok(())
    } else {
        Err(format!("{got}, allowed {allowed}").into())
    }
}

/// Weights of 129 MiB, which WebGPU's default bindings can't span.
fn cut() -> Vec<Case> {
    let (vocab, dim, format) = (33_000, 1024, DType::F32);
    let linear = |tokens| Case::new(format!("linear_cut_t{tokens}"), linear::Spec::new(tokens, dim, vocab, format));
    let embed = embed::Spec::new(9, vocab, dim, format);
    vec![linear(1), linear(5), Case::new("embed_cut", embed)]
}

fn main() {
    let arguments = Arguments::from_args();
    // Every device's trials in their order.
    let mut trials: Vec<Vec<Trial>> = Vec::new();
    let cpu = Arc::new(HostBackend::exact_cpu(2));
    let on_cpu = testing::cases().into_iter().map(|case| {
        let (cpu, name) = (cpu.clone(), format!("cpu::{}", case.id));
        Trial::test(name, move || check(&*cpu, &case))
    });
    trials.push(on_cpu.collect());
    let adapters = pollster::block_on(gpu::adapters());
    let everywhere = std::env::var_os("EVERY_DRIVER").is_some();
    // The plans of every case that run already, on any driver.
    let mut taken: Vec<Vec<_>> = vec![Vec::new(); testing::cases().len()];
    for (at, adapter) in adapters.iter().enumerate() {
        for kind in ["baseline", "full", "gpu"] {
            let options = gpu::Options::default().baseline(kind == "baseline").software(true);
            let adapter_name = adapter.get_info().name.split_whitespace().next().unwrap_or("gpu").to_lowercase();
            let device = pollster::block_on(Gpu::from_adapter(adapter, options)).expect("the adapter gives a device");
            let device = if kind == "full" { device } else { device.as_gpu() };
            let caps = *device.caps();
            let device = Arc::new(Mutex::new(device));
            let mut of_device = Vec::new();
            for (name, queries) in [("prefill", 70), ("decode", 1)] {
                let (device, name) = (device.clone(), format!("gpu::{adapter_name}::{kind}::attention_halves_{name}"));
                let spec = attention::Spec::causal(1, queries, 200, 4, 2, 64).with_kv(DType::F16);
                of_device.push(Trial::test(name, move || {
                    check_halves(&*device.lock().unwrap_or_else(|p| p.into_inner()), spec)
                }));
            }
            let mut cases = if kind == "baseline" && at == 0 { cut() } else { Vec::new() };
            for (i, (case, taken)) in testing::cases().into_iter().zip(&mut taken).enumerate() {
                let plan = case.op.kernel().plan(&caps);
                let again = taken.contains(&plan);
                if !again {
                    taken.push(plan);
                }
                if everywhere || !again || at > 0 && kind == "full" && i % 4 == 0 {
                    cases.push(case);
                }
            }
            for case in cases {
                let device = device.clone();
                of_device.push(Trial::test(format!("gpu::{adapter_name}::{kind}::{}", case.id), move || {
                    let device = device.lock().unwrap_or_else(|p| p.into_inner());
                    check(&*device, &case)
                }));
            }
            trials.push(of_device);
        }
    }
    if adapters.is_empty() {
        let required = std::env::var("REQUIRE_GPU").is_ok_and(|v| v == "1");
        let missing = Trial::test("gpu", || Err("no adapter was found, and REQUIRE_GPU is set".into()));
        trials.push(vec![missing.with_ignored_flag(!required)]);
    }
    // A trial of each device in turn: threads that wait for the same device do nothing else.
    let mut devices: Vec<_> = trials.into_iter().map(Vec::into_iter).collect();
    let longest = devices.iter().map(ExactSizeIterator::len).max().unwrap_or(0);
    let trials = (0..longest).flat_map(|_| devices.iter_mut().filter_map(Iterator::next).collect::<Vec<_>>()).collect();
    libtest_mimic::run(&arguments, trials).exit();
}
