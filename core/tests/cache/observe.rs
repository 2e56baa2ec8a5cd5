//! Observers see what the layers leave, and change no bit.

use super::numeric::{logits, roomy};
use super::support::{everywhere, recursion_everywhere, routing_everywhere};
use foveate_core::backend::Copy;
use foveate_core::kernels::dtype::DType;
use foveate_core::model::Model;
use foveate_core::session::{Input, Observed, Observer};
use foveate_core::{Any, Backend, Operand};
use pollster::block_on;
use std::sync::{Arc, Mutex};

type Buffer = <Any as Backend>::Buffer;

/// Layer, first token, tokens and a copy of their rows.
type Seen = Arc<Mutex<Vec<(usize, u32, u32, Buffer)>>>;

struct Copies {
    layers: Vec<usize>,
    dim: u32,
    seen: Seen,
}

impl Observer<Any> for Copies {
    fn layers(&self) -> &[usize] {
        &self.layers
    }

    fn observe(&mut self, backend: &Any, seen: Observed<'_, Any>) {
        let bytes = u64::from(seen.tokens) * u64::from(self.dim) * 4;
        let copy = backend.alloc("observed", bytes).expect("memory");
        backend.copy(&[Copy { from: Operand::new(seen.rows), to: Operand::new(&copy), bytes }]).expect("they fit");
        self.seen.lock().expect("nobody panics").push((seen.layer, seen.first, seen.tokens, copy));
    }
}

/// What the final norm makes of rows, in f64: it is a root-mean-square norm in each of these models.
fn normed(rows: &[f32], hidden: &[f32], dim: usize) -> f64 {
    // The weight is the same in every row: of two rows, what it multiplies must be in the same proportion.
    let root = |row: &[f32]| (row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / dim as f64 + 1e-6).sqrt();
    let unit: Vec<f64> = rows.chunks(dim).flat_map(|row| row.iter().map(|x| f64::from(*x) / root(row))).collect();
    let mut worst = 0f64;
    for i in 0..dim {
        let (mut dot, mut square) = (0.0, 0.0);
        for (unit, hidden) in unit.chunks(dim).zip(hidden.chunks(dim)) {
            dot += unit[i] * f64::from(hidden[i]);
            square += unit[i] * unit[i];
        }
        for (unit, hidden) in unit.chunks(dim).zip(hidden.chunks(dim)) {
            worst = worst.max((dot / square * unit[i] - f64::from(hidden[i])).abs());
        }
    }
    worst
}

fn tokens(model: &Model<Any>) -> Vec<u32> {
    (0..30).map(|i| (i * 37 + 11) % model.config().vocab).collect()
}

#[test]
fn observers_see_what_layers_leave_and_change_no_bit() {
    let known = ["llama", "gemma3", "qwen3_5"].map(everywhere).concat();
    let models = [known, routing_everywhere(), recursion_everywhere()].concat();
    for model in models {
        let (all, dim) = (tokens(&model), model.config().dim);
        let last = model.config().layers.len() - 1;
        let (prompt, next) = (Input::Tokens(&all[..29]), Input::Tokens(&all[29..]));
        let mut plain = roomy(&model, DType::F32).expect("room");
        let wanted = [logits(&mut plain, prompt), logits(&mut plain, next)];

        let seen = Seen::default();
        let mut session = roomy(&model, DType::F32).expect("room");
        let layers = vec![0, last, 1000];
        session.observe(Some(Box::new(Copies { layers, dim, seen: seen.clone() })));
        assert!([logits(&mut session, prompt), logits(&mut session, next)] == wanted, "other logits");
        let mut hidden = Vec::new();
        let mut again = roomy(&model, DType::F32).expect("room");
        block_on(again.hidden(Input::Tokens(&all), |rows| hidden.extend_from_slice(rows))).expect("it reads");

        let mut rows = vec![vec![0f32; all.len() * dim as usize]; 2];
        for (layer, first, tokens, copy) in seen.lock().expect("nobody panics").drain(..) {
            let which = [0, last].iter().position(|l| *l == layer).expect("a layer that was asked for");
            let bytes = block_on(model.backend().download(&copy, 0, u64::from(tokens * dim) * 4)).expect("it is there");
            let at = (first * dim) as usize;
            rows[which][at..at + (tokens * dim) as usize].copy_from_slice(bytemuck::cast_slice(&bytes));
        }
        assert!(rows.iter().flatten().all(|x| *x != 0.0), "rows that nobody saw");
        let worst = normed(&rows[1], &hidden, dim as usize);
        assert!(worst < 1e-3, "the last layer's rows are {worst} from what the final norm read");
        assert!(rows[0] != rows[1]);
        session.observe(None);
        assert!(logits(&mut session, Input::Tokens(&all[..1])).len() > 1);
        assert!(seen.lock().expect("nobody panics").is_empty());
    }
}
