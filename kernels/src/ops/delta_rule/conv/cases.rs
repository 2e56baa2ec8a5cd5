use super::{Activation, Part, Spec};
use crate::ops::case::Case;
use alloc::{format, string::String, vec::Vec};

pub(crate) fn cases() -> Vec<Case> {
    let mut all: Vec<(String, Spec)> = Vec::new();
    for (activation, batch, tokens, channels, window) in [
        (Activation::Silu, 2, 37, 96, 4),
        (Activation::None, 1, 5, 13, 3),
        (Activation::Relu, 3, 1, 64, 4),
        (Activation::EluPlusOne, 1, 2, 33, 5),
        (Activation::Silu, 1, 130, 1, 2),
        (Activation::Silu, 2, 9, 7, 16),
    ] {
        let plain = Spec::new(batch, tokens, channels, window, activation);
        let id = format!("{activation:?}_b{batch}_t{tokens}_c{channels}_w{window}").to_lowercase();
        let strided = Spec { stride: channels + 5, bias: true, ..plain };
        all.push((format!("{id}_states"), Spec { initial: true, last: true, ..strided }));
        all.push((format!("{id}_pool"), Spec { pool: Some(batch + 1), ..strided }));
        all.push((format!("{id}_packed"), Spec { batch: 1, packed: Some(5), initial: true, last: true, ..plain }));
        all.push((format!("{id}_packed_pool"), Spec { batch: 1, packed: Some(4), pool: Some(3), ..strided }));
        all.push((format!("{id}_last"), Spec { last: true, ..plain }));
        all.push((id, plain));
    }
    let part = |channels, activation| Part { channels, activation };
    let parts = [part(16, Activation::Silu), part(16, Activation::None), part(40, Activation::Relu)];
    let spec = Spec { parts, stride: 80, pool: Some(2), ..Spec::new(2, 11, 72, 4, Activation::None) };
    all.push(("parts".into(), spec));
    all.push(("parts_step".into(), Spec { tokens: 1, ..spec }));
    let empty = Spec { parts: [parts[0], part(0, Activation::Silu), parts[2]], stride: 56, ..spec };
    all.push(("parts_one_empty".into(), empty));
    all.push(("window_1".into(), Spec::new(2, 3, 8, 1, Activation::Silu)));
    let spec = Spec { initial: true, last: true, ..Spec::new(1, 0, 8, 4, Activation::Silu) };
    all.push(("no_tokens".into(), spec));
    all.push(("no_tokens_from_nothing".into(), Spec { initial: false, ..spec }));
    all.push(("no_sequences".into(), Spec { tokens: 3, packed: Some(0), ..spec }));
    all.push(("no_channels".into(), Spec::new(1, 3, 0, 4, Activation::Silu)));
    all.into_iter().map(|(id, spec)| Case::new(format!("conv_{id}"), spec)).collect()
}
