use super::{Activation, Norm, Spec};
use crate::dtype::DType;
use crate::ops::case::Case;
use crate::ops::dense::activation::Kind;
use crate::ops::dense::linear;
use alloc::{format, vec::Vec};

pub(crate) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    let norm = Some(Norm { eps: 1e-5, one_plus: false });
    let gate = |kind| Some(Activation { kind, gated: true });
    for format in DType::WEIGHTS {
        let whole_blocks = |inputs: u32| inputs.next_multiple_of(format.block_len());
        let inputs = whole_blocks(64);
        let plain: Spec = linear::Spec::new(1, inputs, 37, format).into();
        let whole = Spec { norm, activation: gate(Kind::Silu), residual: true, ..plain };
        let mut case = |name: &str, spec: Spec| all.push(Case::new(format!("fused_linear_{format}_{name}"), spec));
        // One token and a few; numbers of outputs that are and are not multiples of a group.
        case("all_t3_n5", Spec { tokens: 3, outputs: 5, y_stride: 5, bias: true, ..whole });
        if format.is_variant() {
            continue;
        }
        case("norm_t1", Spec { norm, ..plain });
        case("gated_t1", Spec { norm, activation: gate(Kind::Silu), ..plain });
        case("residual_t1", Spec { residual: true, ..plain });
        let longer = whole_blocks(576);
        case("all_t2_k576", Spec { tokens: 2, inputs: longer, x_stride: longer, ..whole });
        let one_plus = Some(Norm { eps: 0.0, one_plus: true });
        let strides = Spec { tokens: 4, x_stride: inputs + 7, y_stride: 40, bias: true, ..whole };
        case("all_t4_bias_strides", Spec { norm: one_plus, ..strides });
        // A weight split over several bindings, on devices with small ones.
        case("cut", Spec { outputs: 300, y_stride: 300, tokens: 2, bias: true, ..whole });
    }
    for format in [DType::F32, DType::F16] {
        let plain: Spec = linear::Spec::new(3, 13, 19, format).into();
        let mut case = |name: &str, spec: Spec| all.push(Case::new(format!("fused_linear_{format}_{name}"), spec));
        case("ragged", Spec { norm, activation: gate(Kind::GeluTanh), residual: true, ..plain });
        case("ragged_k4100", Spec { inputs: 4100, x_stride: 4100, norm, ..plain });
    }
    for kind in [Kind::Gelu, Kind::GeluTanh, Kind::Relu, Kind::Sigmoid, Kind::Relu2] {
        for gated in [false, true] {
            let plain: Spec = linear::Spec::new(2, 32, 6, DType::F32).into();
            let id = format!("fused_linear_{kind:?}{}", if gated { "_gated" } else { "" }).to_lowercase();
            all.push(Case::new(id, Spec { activation: Some(Activation { kind, gated }), ..plain }));
        }
    }
    let empty: Spec = linear::Spec::new(0, 8, 8, DType::F32).into();
    all.push(Case::new("fused_linear_no_tokens", Spec { norm, ..empty }));
    all.push(Case::new("fused_linear_no_outputs", Spec { tokens: 2, outputs: 0, y_stride: 0, norm, ..empty }));
    all
}
