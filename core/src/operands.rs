//! Operands by name, and one op over bytes of the host.

use crate::backend::{Backend, Operand};
use crate::error::Result;
use foveate_kernels::ops::Op;
use foveate_kernels::plan::{Arg, Tensors, order};

/// Named operands of an op, in any order: `operands![q, k, v, out]` takes buffers from variables of the arguments' names,
/// `operands![q = &queries, k = &keys, v, out]` from any expression that is a reference to a buffer.
///
/// ```
/// use foveate_core::{Backend, host::HostBackend, kernels::attention, operands};
///
/// # fn main() -> Result<(), foveate_core::Error> {
/// let backend = HostBackend::reference();
/// let spec = attention::Spec::causal(1, 2, 2, 1, 1, 4); // batch, queries, keys, heads, key heads, dimension
/// let buffer = || backend.alloc("example", 2 * 4 * 4);
/// let (q, k, v, out) = (buffer()?, buffer()?, buffer()?, buffer()?);
/// backend.run(&spec.into(), &operands![out, v, k, q])?;
///
/// let error = backend.run(&spec.into(), &operands![q, keys = &k, v, out]).unwrap_err();
/// assert!(error.to_string().contains("\"keys\" is none of its arguments"), "{error}");
/// # Ok(())
/// # }
/// ```
#[macro_export]
macro_rules! operands {
    ($($name:ident $(= $buffer:expr)?),* $(,)?) => {
        [$($crate::operand!($name $(= $buffer)?)),*]
    };
}

/// One operand of [`operands!`].
#[doc(hidden)]
#[macro_export]
macro_rules! operand {
    ($name:ident) => {
        $crate::Operand::named(stringify!($name), &$name)
    };
    ($name:ident = $buffer:expr) => {
        $crate::Operand::named(stringify!($name), $buffer)
    };
}

/// Runs one op over bytes of the host, named in any order, and returns what it wrote. Arguments that are only written may be
/// left out: they hold NaN bits before the run.
///
/// ```
/// use foveate_core::{host::HostBackend, kernels::attention, run_on};
///
/// # fn main() -> Result<(), foveate_core::Error> {
/// let spec = attention::Spec::causal(1, 1, 1, 1, 1, 4); // batch, queries, keys, heads, key heads, dimension
/// let bytes = |x: [f32; 4]| x.map(f32::to_le_bytes).concat();
/// let (q, k, v) = (bytes([1.0; 4]), bytes([0.5; 4]), bytes([0.0, 1.0, 2.0, 3.0]));
/// let backend = HostBackend::reference();
/// let outputs = pollster::block_on(run_on(&backend, &spec.into(), &[("v", &v), ("q", &q), ("k", &k)]))?;
/// assert_eq!(outputs.f32("out"), Some(vec![0.0, 1.0, 2.0, 3.0])); // of one key, attention is its value
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// `Kernel` for a spec, a name or a length that does not fit; `OutOfMemory`; whatever the device refuses.
pub async fn run_on<B: Backend>(backend: &B, op: &Op, inputs: &[(&str, &[u8])]) -> Result<Tensors> {
    op.kernel().validate()?;
    let args = op.kernel().args();
    let names: Vec<&str> = inputs.iter().map(|(name, _)| *name).collect();
    let places = order(op.name(), &args, &names)?;
    let bytes = |(arg, place): (&Arg, Option<usize>)| match place {
        Some(place) => inputs[place].1.to_vec(),
        None => vec![0xff; arg.bytes() as usize],
    };
    let memory: Vec<Vec<u8>> = args.iter().zip(places).map(bytes).collect();
    op.check(&memory.iter().map(|bytes| bytes.len() as u64).collect::<Vec<_>>())?;
    run_args(backend, op, &args, &memory).await
}

/// Runs an op over bytes for every argument, in their order, and returns what it wrote.
pub(crate) async fn run_args<B: Backend>(backend: &B, op: &Op, args: &[Arg], memory: &[Vec<u8>]) -> Result<Tensors> {
    let buffers = load_args(backend, args, memory)?;
    backend.run_positional(op, &buffers.iter().map(Operand::new).collect::<Vec<_>>())?;
    let mut outputs = Tensors::default();
    for (arg, buffer) in args.iter().zip(&buffers).filter(|(arg, _)| arg.access.writes()) {
        outputs.push(arg, backend.download(buffer, 0, arg.bytes()).await?);
    }
    Ok(outputs)
}

/// Allocates a buffer for each argument and uploads its bytes: an op that runs many times, as in a benchmark, is loaded once.
///
/// # Errors
/// `OutOfMemory`, and whatever the device refuses.
pub fn load_args<B: Backend>(backend: &B, args: &[Arg], memory: &[Vec<u8>]) -> Result<Vec<B::Buffer>> {
    let load = |(arg, bytes): (&Arg, &Vec<u8>)| {
        let Some((rows, row_bytes)) = arg.rows else {
            // Executors allocate whole words.
            let mut bytes = bytes.clone();
            bytes.resize(bytes.len().next_multiple_of(4).max(4), 0);
            let buffer = backend.alloc(arg.name, bytes.len() as u64)?;
            backend.upload(&buffer, 0, &bytes)?;
            return Ok(buffer);
        };
        let buffer = backend.alloc_rows(arg.name, rows.into(), row_bytes)?;
        backend.upload(&buffer, 0, &bytes[..arg.bytes() as usize])?;
        Ok(buffer)
    };
    args.iter().zip(memory).map(load).collect()
}
