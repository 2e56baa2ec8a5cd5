//! What is timed: every op of the registry in the shapes of SmolLM2-135M, decoding and reading a prompt.

pub mod listing;

use foveate_core::{Backend, Operand, Result};
use foveate_kernels::attention::Pages;
use foveate_kernels::cases::Rng;
use foveate_kernels::dtype::DType;
use foveate_kernels::op::Op;
use foveate_kernels::rope::Pairing;
use foveate_kernels::{activation, attention, cache, embed, linear, norm, rope, sample};

/// Named shapes of every op.
pub fn shapes() -> Vec<(String, Op)> {
    let mut all: Vec<(String, Op)> = Vec::new();
    for (phase, tokens) in [("decode", 1u32), ("prefill", 256)] {
        let mut add = |name: &str, op: Op| all.push((format!("{name}/{phase}"), op));
        add(
            "embed q8_0",
            embed::Spec { tokens, vocab: 49152, dim: 576, format: DType::Q8_0, scale: 1.0, accumulate: false }.into(),
        );
        for format in DType::WEIGHTS {
            add(&format!("linear {format} 576x1536"), linear::Spec::new(tokens, 576, 1536, format).into());
        }
        add("norm", norm::Spec { residual: true, ..norm::Spec::rms(tokens, 576, 1e-5) }.into());
        let (heads, dim, stride) = (12, 64, 960);
        let positions = 2048;
        add("rope", rope::Spec { tokens, heads, dim, rotary: 64, pairing: Pairing::Half, positions, stride }.into());
        let kind = activation::Kind::Silu;
        add("activation", activation::Spec { rows: tokens, dim: 1536, kind, gated: true, stride: 3072 }.into());
        let append = cache::Spec { tokens, pool: 2048, k_width: 192, v_width: 192, k_stride: 960, v_stride: 960 };
        add("append", append.into());
        let paged = Some(Pages { pages: 32, page: 64, width: 32 });
        let causal = attention::Spec::causal(1, tokens, 1024, 9, 3, 64);
        add("attention s1024", attention::Spec { paged, q_stride: 960, ..causal }.into());
    }
    all.push(("linear q8_0 576x49152/decode".into(), linear::Spec::new(1, 576, 49152, DType::Q8_0).into()));
    let greedy = sample::Spec { vocab: 49152, draw: None, penalty: 1.0 };
    all.push(("sample argmax/decode".into(), greedy.into()));
    let draw = sample::Draw { temperature: 0.8, top_k: 50, top_p: 0.95, min_p: 0.02, uniform: 0.37 };
    all.push(("sample draw/decode".into(), sample::Spec { draw: Some(draw), ..greedy }.into()));
    all
}

/// An op with its operands in an executor's memory.
pub struct Loaded<'a, B: Backend> {
    backend: &'a B,
    op: Op,
    buffers: Vec<B::Buffer>,
}

impl<'a, B: Backend> Loaded<'a, B> {
    pub fn new(backend: &'a B, op: Op) -> Result<Self> {
        op.kernel().validate()?;
        let inputs = op.kernel().inputs(&mut Rng::new(1));
        let buffer = |(arg, bytes): (foveate_kernels::op::Arg, &Vec<u8>)| {
            let buffer = match arg.rows {
                Some((rows, row_bytes)) => backend.alloc_rows(arg.name, rows.into(), row_bytes)?,
                None => backend.alloc(arg.name, bytes.len() as u64)?,
            };
            backend.upload(&buffer, 0, bytes)?;
            Ok(buffer)
        };
        let buffers = op.kernel().args().into_iter().zip(&inputs).map(buffer).collect::<Result<_>>()?;
        Ok(Self { backend, op, buffers })
    }

    /// Records the op `times` times and waits until all of them are done.
    pub fn run(&self, times: u64) -> Result<()> {
        let operands: Vec<Operand<'_, B>> = self.buffers.iter().map(Operand::new).collect();
        for _ in 0..times {
            self.backend.run(&self.op, &operands)?;
        }
        pollster::block_on(self.backend.download(&self.buffers[self.buffers.len() - 1], 0, 4))?;
        Ok(())
    }
}
