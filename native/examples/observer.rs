//! The residual stream behind a layer, read along while a model reads a text: `observer [MODEL]`.

use foveate::backend::Copy;
use foveate::session::{Input, Observed, Observer};
use foveate::{Any, Backend, Model, Operand, Prompt, wait};
use std::sync::{Arc, Mutex};

/// Where the rows behind the layer are kept, and how many there are.
type Kept = Arc<Mutex<Vec<(<Any as Backend>::Buffer, u64)>>>;

/// Copies the rows behind one layer, on the device.
struct Keep {
    layers: [usize; 1],
    width: u64,
    kept: Kept,
}

impl Observer<Any> for Keep {
    fn layers(&self) -> &[usize] {
        &self.layers
    }

    fn observe(&mut self, backend: &Any, seen: Observed<'_, Any>) {
        let bytes = u64::from(seen.tokens) * self.width * 4;
        let copied = backend.alloc("observed", bytes).and_then(|buffer| {
            let (from, to) = (Operand::new(seen.rows), Operand::new(&buffer));
            backend.copy(&[Copy { from, to, bytes }]).map(|()| buffer)
        });
        if let (Ok(buffer), Ok(mut kept)) = (copied, self.kept.lock()) {
            kept.push((buffer, bytes));
        }
    }
}

pub(crate) fn run(model: &str) -> Result<Vec<f32>, Box<dyn std::error::Error>> {
    let model = Model::open(model)?;
    let ids = Prompt::from("The capital of France is").ids(&model)?;
    let mut session = model.session(64)?;
    let (kept, width) = (Kept::default(), u64::from(model.config().dim));
    session.observe(Some(Box::new(Keep { layers: [0], width, kept: kept.clone() })));
    session.read(Input::Tokens(&ids))?;
    let mut norms = Vec::new();
    for (buffer, bytes) in kept.lock().map_err(|_| "a step panicked")?.iter() {
        let rows = wait(model.backend().download(buffer, 0, *bytes))?;
        let values: Vec<f32> = rows.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        norms.extend(values.chunks(width as usize).map(|row| row.iter().map(|x| x * x).sum::<f32>().sqrt()));
    }
    for (id, norm) in ids.iter().zip(&norms) {
        println!("{:>16} {norm:.3}", model.tokenizer()?.token(*id).unwrap_or_default());
    }
    Ok(norms)
}

#[allow(dead_code)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    run(&std::env::args().nth(1).unwrap_or("smollm2-135m".into())).map(drop)
}
