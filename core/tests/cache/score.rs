//! Scores of long texts, against the published recipe for strided perplexity.

use super::numeric::roomy;
use super::support::everywhere;
use foveate_core::model::Model;
use foveate_core::session::Session;
use foveate_core::session::Windows;
use foveate_core::{Any, Error};
use foveate_kernels::dtype::DType;
use pollster::block_on;
use std::sync::Arc;

/// `sum` and number of the losses by transformers' "Perplexity of fixed-length models": targets of a window's tokens before
/// the last `target` ones are left out, and so is the window's first token, which nothing predicts. With BOS, windows are
/// one token shorter and BOS stands before each.
fn recipe(model: &Arc<Model<Any>>, text: &[u32], windows: Windows) -> (f64, usize) {
    let (vocab, bos) = (model.config().vocab as usize, windows.bos.as_slice());
    let length = windows.length as usize - bos.len();
    let stride = windows.stride.map_or(length, |stride| stride as usize);
    let (mut sum, mut count, mut previous_end) = (0.0, 0, 0);
    for begin in (0..text.len()).step_by(stride) {
        let end = text.len().min(begin + length);
        let target = end - previous_end;
        let window = [bos, &text[begin..end]].concat();
        let mut logits = Vec::new();
        let mut session: Session<Any> = roomy(model, DType::F32).expect("room");
        block_on(session.logits(&window, |rows| logits.extend_from_slice(rows))).expect("a whole window");
        for at in (window.len() - target).max(1)..window.len() {
            let row = &logits[(at - 1) * vocab..at * vocab];
            let all: f64 = row.iter().map(|&z| f64::from(z).exp()).sum();
            sum += all.ln() - f64::from(row[window[at] as usize]);
            count += 1;
        }
        previous_end = end;
        if end == text.len() {
            break;
        }
    }
    (sum, count)
}

fn text(model: &Model<Any>, tokens: u32) -> Vec<u32> {
    (0..tokens).map(|i| (i * i * 31 + 5 * i + 2) % model.config().vocab).collect()
}

#[test]
fn score_windows_follow_the_published_recipe() {
    for model in [everywhere("llama"), everywhere("gpt2")].concat() {
        let mut session = roomy(&model, DType::F32).expect("room");
        for tokens in [2, 17, 41] {
            let text = text(&model, tokens);
            for (length, bos) in [(16, None), (16, Some(1)), (80, Some(1))] {
                for stride in [None, Some(5), Some(15), Some(16)] {
                    let windows = Windows::new(length).stride(stride).bos(bos);
                    if stride.is_some_and(|stride| stride > length - u32::from(bos.is_some())) {
                        let refused = block_on(session.score_windows(&text, windows));
                        assert!(matches!(refused, Err(Error::Config { .. })), "{refused:?}");
                        continue;
                    }
                    let (sum, count) = recipe(&model, &text, windows);
                    let losses = block_on(session.score_windows(&text, windows)).expect("a score");
                    let got: f64 = losses.iter().sum();
                    assert_eq!(losses.len(), count, "{windows:?} of {tokens}");
                    assert!((got - sum).abs() <= 1e-4 * sum.max(1.0), "{windows:?} of {tokens}: {got}, not {sum}");
                    // A BOS that stands there already is not read twice.
                    let led: Vec<u32> = bos.into_iter().chain(text.iter().copied()).collect();
                    let again = block_on(session.score_windows(&led, windows)).expect("a score");
                    assert_eq!(again, losses, "{windows:?} of {tokens}");
                }
            }
        }
    }
}

#[test]
fn score_refuses_windows_that_predict_nothing() {
    for model in everywhere("llama") {
        let mut session = roomy(&model, DType::F32).expect("room");
        for (length, stride) in [(0, None), (1, None), (8, Some(0)), (8, Some(9)), (8, Some(u32::MAX))] {
            let refused = block_on(session.score_windows(&[1, 2, 3], Windows::new(length).stride(stride)));
            assert!(matches!(refused, Err(Error::Config { .. })), "{length} {stride:?}: {refused:?}");
        }
    }
}
