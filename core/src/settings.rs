//! Ops from settings as text: any shape, in the words of the specs and in the letters of their shapes.

use crate::error::{Error, Result};
use foveate_kernels::ops::Op;
use foveate_kernels::ops::settings::{SettingError, Sizes, Text, table};

/// Returns the op of this name with these settings, `T=1024,heads=8`; what is not named has a default, and strides are dense.
///
/// # Errors
/// `Config` for a name that is no op or no setting of it, or a value that can't be read; the op's own error for a spec that
/// is not valid.
pub fn op(name: &str, settings: &str) -> Result<Op> {
    fitted(name, settings, &[])
}

/// Returns the same, with the sizes that `settings` leaves out read off the shapes of the arguments that `shapes` names, as
/// far as they show there.
///
/// # Errors
/// As [`op`]. [`Op::check`] compares the shapes of all arguments afterwards.
pub fn fitted(name: &str, settings: &str, shapes: &[(String, Vec<u32>)]) -> Result<Op> {
    let table = table(name)?;
    let mut text = Text::new(table, settings)?;
    let (op, _) = table.read(&mut Sizes { source: &mut text, shapes })?;
    op.kernel().validate()?;
    Ok(op)
}

impl From<SettingError> for Error {
    fn from(error: SettingError) -> Self {
        Error::Config { reason: error.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use foveate_kernels::attention::Pages;
    use foveate_kernels::dtype::DType;
    use foveate_kernels::{activation, attention, linear};

    #[test]
    fn every_op_can_be_set() {
        for name in Op::NAMES {
            let op = op(name, "").unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(op.name(), *name);
        }
    }

    #[test]
    fn settings_reach_the_spec_and_dense_strides_follow() {
        let wanted = attention::Spec::causal(2, 1024, 1024, 8, 4, 80).with_causal(false);
        assert_eq!(
            op("attention", "B=2,queries=1024, H=8,kv_heads=4,dim=80,causal=false").expect("valid"),
            wanted.into()
        );
        let wanted = linear::Spec::new(1, 64, 128, DType::Q4_1);
        assert_eq!(op("linear", "T=1,K=64,N=128,format=q4_1").expect("valid"), wanted.into());
        let Op::Attention(paged) = op("attention", "T=1,S=100,page=64").expect("valid") else { panic!("another op") };
        assert_eq!(paged.paged, Some(Pages { pages: 2, page: 64, width: 2 }));
    }

    #[test]
    fn sizes_are_read_off_the_shapes_of_tensors() {
        let shapes = |named: &[(&str, &[u32])]| -> Vec<_> {
            named.iter().map(|(name, shape)| ((*name).to_owned(), shape.to_vec())).collect()
        };
        let qkv = shapes(&[("q", &[2, 5, 6, 80]), ("k", &[2, 9, 3, 80]), ("v", &[2, 9, 3, 40])]);
        let wanted = attention::Spec::causal(2, 5, 9, 6, 3, 80).with_value_dim(40).with_softcap(Some(2.0));
        assert_eq!(fitted("attention", "softcap=2", &qkv).expect("valid"), wanted.into());
        let grouped = shapes(&[("q", &[1, 7, 3, 16]), ("v", &[1, 7, 6, 8])]);
        let Op::Delta(delta) = fitted("delta", "", &grouped).expect("valid") else { panic!("another op") };
        assert_eq!((delta.tokens, delta.heads, delta.value_heads, delta.key_dim, delta.value_dim), (7, 3, 6, 16, 8));
        let weight = shapes(&[("x", &[3, 64]), ("weight", &[128, 64])]);
        assert_eq!(fitted("linear", "", &weight).expect("valid"), linear::Spec::new(3, 64, 128, DType::F32).into());
        let gated = shapes(&[("x", &[3, 64])]);
        let Op::Activation(activation) = fitted("activation", "", &gated).expect("valid") else { panic!("another op") };
        assert_eq!((activation.rows, activation.dim, activation.stride), (3, 32, 64));
        assert_eq!(activation.kind, activation::Kind::Silu);
        let paged =
            shapes(&[("q", &[2, 5, 6, 80]), ("k", &[9, 16, 3, 80]), ("v", &[9, 16, 3, 40]), ("table", &[2, 4])]);
        let Op::Attention(spec) = fitted("attention", "S=60,page=16", &paged).expect("valid") else {
            panic!("another op")
        };
        assert_eq!((spec.kv_heads, spec.paged), (3, Some(Pages { pages: 9, page: 16, width: 4 })));
        let packed = shapes(&[("q", &[7, 6, 80]), ("k", &[9, 3, 80]), ("v", &[9, 3, 40]), ("cu_q", &[4])]);
        let Op::Attention(spec) = fitted("attention", "T=4,S=9,packed=true", &packed).expect("valid") else {
            panic!("another op")
        };
        assert_eq!((spec.batch, spec.packed), (3, Some(attention::Packed { queries: 7, keys: 9 })));
        // Given settings stay; sizes that no shape shows have their defaults.
        let Op::Linear(given) = fitted("linear", "K=32", &weight).expect("valid") else { panic!("another op") };
        assert_eq!((given.tokens, given.inputs, given.outputs), (3, 32, 128));
    }

    #[test]
    fn wrong_settings_are_refused_before_anything_is_made() {
        for (name, settings, words) in [
            ("convolution", "", "there is no op convolution; there are embed, linear, fused_linear"),
            ("atention", "", "there is no op atention (did you mean attention?); there are embed"),
            ("attention", "widow=4", "attention has no setting widow (did you mean window?); it has B|batch"),
            ("attention", "t=4", "did you mean T?"),
            ("attention", "T", "must be NAME=VALUE, got T"),
            ("attention", "T=-1", "attention: T must be a whole number below 2^32, got -1"),
            ("attention", "T=99999999999", "below 2^32, got 99999999999"),
            ("attention", "tokens=4", "attention has no setting tokens; it has B|batch, T|queries"),
            ("attention", "T=4,queries=4", "T must be given once"),
            ("attention", "causal=yes", "true or false, got yes"),
            ("attention", "H=3,G=2", "attention: heads must be a multiple of kv_heads"),
            ("attention", "page=0", "attention: page must be a power of two"),
            ("linear", "format=q9", "or q8_f or f8 or nf4, got q9"),
            ("linear", "T=4294967295,K=4294967295", "at most 4294967295 elements"),
            ("norm", "eps=nan", "norm: eps must be finite"),
        ] {
            let error = op(name, settings).expect_err(settings).to_string();
            assert!(error.contains(words), "{name} {settings}: {error}");
        }
    }
}
