//! The tables of ops' settings and arguments against the ops themselves.

use foveate_kernels::cpu::{Args, SingleThread, View};
use foveate_kernels::dtype::DType;
use foveate_kernels::ops::settings::{
    Defaults, Known, Range, Request, SettingError, Source, Table, Type, Value, evaluate, reference, typescript,
    value_of,
};
use foveate_kernels::ops::{Op, settings};
use foveate_kernels::plan::shape::GLOSSARY;
use foveate_kernels::plan::{Access, Arg};
use foveate_kernels::rng::Rng;
use foveate_kernels::testing::{Drawn, Entropy, Tolerance, compare, strategy};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// One setting in place of its default.
struct One(&'static str, Value);

impl Source for One {
    fn value(&mut self, request: &Request<'_>) -> Result<Option<Value>, SettingError> {
        Ok((request.field.name == self.0).then_some(self.1))
    }
}

struct Random(Rng);

impl Entropy for Random {
    fn up_to(&mut self, most: u32) -> u32 {
        (self.0.next_u64() % (u64::from(most) + 1)) as u32
    }
}

#[test]
fn every_op_is_valid_by_default() {
    assert_eq!(Op::TABLES.iter().map(|table| table.op).collect::<Vec<_>>(), Op::NAMES);
    for table in Op::TABLES {
        let (op, known) = table.read(&mut Defaults).expect("defaults have their types");
        assert_eq!(op.name(), table.op);
        op.kernel().validate().unwrap_or_else(|error| panic!("{error}"));
        let names: Vec<_> = known.iter().map(|(field, _)| field.name).collect();
        assert_eq!(names, table.fields.iter().map(|field| field.name).collect::<Vec<_>>());
        assert!(!table.summary.trim().is_empty() && table.fields.iter().all(|field| !field.doc().is_empty()));
    }
}

#[test]
fn no_two_settings_of_an_op_go_by_one_name() {
    for table in Op::TABLES {
        let mut seen = BTreeSet::new();
        let names = table.fields.iter().flat_map(|field| field.letter.into_iter().chain([field.name]));
        let twice: Vec<_> = names.filter(|name| !seen.insert(*name)).collect();
        assert!(twice.is_empty(), "{}: {twice:?}", table.op);
    }
}

/// The values just outside of a range, of a field that has `value`.
fn outside(table: &Table, known: &[Known], name: &str) -> Vec<Value> {
    let field = table.field(name).expect("a field");
    let count = |name| match value_of(known, name) {
        Some(Value::Count(n)) => n,
        _ => 0,
    };
    let counts = |all: &[u32]| all.iter().copied().map(Value::Count).collect();
    match field.range {
        Range::Any => Vec::new(),
        Range::Counts(least, most) => {
            [least.checked_sub(1), most.checked_add(1)].into_iter().flatten().map(Value::Count).collect()
        }
        Range::PowerOfTwo => counts(&[0, 3, 6]),
        Range::EvenUpTo(other) => counts(&[1, count(other) + 2]),
        Range::Divides(other) => counts(&[0, count(other) + 1]),
        Range::MultipleOf(other) => counts(&[0, count(other) + 1]),
        Range::FromDefault => counts(&[count(name).saturating_sub(1)]),
        Range::Numbers(least, most) => [least - 1e-3, most * 1.001, f32::NAN, f32::INFINITY]
            .map(Value::Number)
            .into_iter()
            // A bound that rounds away is none.
            .filter(|value| *value != Value::Number(least) && *value != Value::Number(most))
            .collect(),
        Range::Positive => [0.0, -1.0, f32::NAN, f32::INFINITY].map(Value::Number).to_vec(),
        Range::Words(words) => {
            let all = match field.kind {
                Type::Word(all) => all.to_vec(),
                _ => vec!["f32", "f16", "bf16", "q8_0", "q4_0", "q6_k"],
            };
            all.into_iter().filter(|word| !words.contains(word)).map(Value::Word).collect()
        }
        other => panic!("values outside of {other:?} are not known here"),
    }
}

/// Two sources, the second behind the first.
struct Both(One, One);

impl Source for Both {
    fn value(&mut self, request: &Request<'_>) -> Result<Option<Value>, SettingError> {
        Ok(self.0.value(request)?.or(self.1.value(request)?))
    }
}

#[test]
fn values_outside_of_their_range_are_refused() {
    // Settings that count only with another.
    let with = |table: &Table, name: &str| match (table.op, name) {
        ("norm", "gate_kind" | "gate_stride") => One("gated", Value::Flag(true)),
        ("sample", "top_p" | "min_p" | "uniform") => One("temperature", Value::Number(1.0)),
        ("attention" | "selected_attention", "width" | "pages") => One("page", Value::Count(64)),
        ("append", "heads" | "tail_width" | "tail_stride") => One("tail", Value::Flag(true)),
        (_, "own_logit") => One("shared", Value::Flag(true)),
        _ => One("", Value::None),
    };
    let mut refused = 0;
    for table in Op::TABLES.iter().filter(|table| !table.op.ends_with("_backward")) {
        for field in table.fields {
            let (_, known) = table.read(&mut with(table, field.name)).expect("its types");
            for value in outside(table, &known, field.name) {
                let mut source = Both(One(field.name, value), with(table, field.name));
                if table.op.starts_with("selected") && ["page", "width", "pages", "key_tokens"].contains(&field.name) {
                    // Pages are of separate keys: two settings at once.
                    continue;
                }
                let (op, _) = table.read(&mut source).expect("its types");
                assert!(op.kernel().validate().is_err(), "{}: {} of {value}: {op:?}", table.op, field.name);
                refused += 1;
            }
        }
    }
    assert!(refused > 100, "{refused}");
}

/// Every size that the tables tell is that of the op's own arguments.
#[test]
fn arguments_are_those_of_the_tables() {
    let mut seen = BTreeSet::new();
    for (i, table) in Op::TABLES.iter().enumerate() {
        let mut valid = 0;
        let mut entropy = Random(Rng::new(i as u64));
        for _ in 0..6000 {
            let (op, known) = table.read(&mut Drawn { entropy: &mut entropy }).expect("its types");
            if op.kernel().validate().is_err() {
                continue;
            }
            valid += 1;
            let value = |name: &str| value_of(&known, name);
            for arg in op.kernel().args() {
                seen.insert((table.op, arg.name));
                let gradient = table.gradients.iter().find(|(_, name)| *name == arg.name);
                let name = gradient.map_or(arg.name, |(of, _)| of);
                let found = table.arguments.iter().find(|argument| argument.name == name);
                let found = found.unwrap_or_else(|| panic!("{} has no argument {name}", table.op));
                let fits = found.forms.iter().any(|form| {
                    let same = |(size, got): (&&str, &u32)| evaluate(size, &value).is_none_or(|n| n == u64::from(*got));
                    let set = form
                        .when
                        .is_none_or(|flag| known.iter().any(|(field, v)| field.name == flag && field.is_set(*v)));
                    // Gradients read the outputs that the forward pass saves, whatever the settings say.
                    let set = set || table.op.ends_with("_backward");
                    set && form.sizes.len() == arg.shape.len() && form.sizes.iter().zip(&arg.shape).all(same)
                });
                assert!(fits, "{}: {} is {:?} in {op:?}, not {:?}", table.op, arg.name, arg.shape, found.forms);
                let stored = value(found.dtype).map_or(found.dtype.into(), |value| value.to_string());
                assert!(
                    gradient.is_some() || stored == arg.dtype.name(),
                    "{}: {} is {}",
                    table.op,
                    arg.name,
                    arg.dtype
                );
                if gradient.is_none() && !table.op.ends_with("_backward") {
                    let may = found.access == Access::ReadWrite || found.access == arg.access;
                    assert!(may, "{}: {} is {:?}", table.op, arg.name, arg.access);
                }
            }
        }
        assert!(valid > 40, "{}: {valid}", table.op);
    }
    for table in Op::TABLES.iter().filter(|table| !table.op.ends_with("_backward")) {
        for argument in table.arguments {
            assert!(seen.contains(&(table.op, argument.name)), "{} never has {}", table.op, argument.name);
        }
    }
}

#[test]
fn letters_are_those_of_the_glossary() {
    let glossary: BTreeSet<&str> = GLOSSARY.iter().map(|(letter, _)| *letter).collect();
    assert_eq!(glossary.len(), GLOSSARY.len(), "a letter stands twice");
    let used: BTreeSet<&str> =
        Op::TABLES.iter().flat_map(|table| table.fields).filter_map(|field| field.letter).collect();
    assert_eq!(used, glossary);
}

#[test]
fn docs_list_every_setting() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/ops.md");
    let wanted = reference();
    if std::env::var_os("FOVEATE_WRITE_DOCS").is_some() {
        std::fs::write(path, &wanted).expect("a writable docs/ops.md");
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(found == wanted, "docs/ops.md is not of these tables: set FOVEATE_WRITE_DOCS=1 and run this test again");
}

#[test]
fn typescript_has_an_interface_for_every_op() {
    let types = typescript();
    for line in [
        "export interface SelectedAttentionSettings {",
        "  readonly kv_heads?: number | undefined;",
        "  readonly G?: number | undefined;",
        "  readonly window?: number | null | undefined;",
        "  readonly gate?: \"none\" | \"head\" | \"channel\" | \"erase_write\" | \"write\" | \"rank_one\" | undefined;",
        "  delta_backward: DeltaBackwardSettings;",
        "export type OpName = keyof OpSettings;",
    ] {
        assert!(types.lines().any(|other| other == line), "{line} is missing");
    }
    assert_eq!(types.matches("Settings {").count(), Op::TABLES.len() + 1);
}

#[test]
fn help_has_a_line_for_every_setting() {
    for table in Op::TABLES {
        assert_eq!(settings::help(table).lines().count(), table.fields.len(), "{}", table.op);
    }
    let attention = settings::help(settings::table("attention").expect("an op"));
    let line = attention.lines().find(|line| line.contains("kv_heads")).expect("a line");
    for word in ["G|kv_heads", "heads", "Heads of keys and values.", "divides heads"] {
        assert!(line.contains(word), "{line}");
    }
}

/// The bytes of every argument after a run of the fast host form, or of the definition.
fn ran(op: &Op, inputs: &[Vec<u8>], definition: bool) -> Vec<Vec<u8>> {
    let args = op.kernel().args();
    let words = |bytes: &Vec<u8>| -> Vec<u32> {
        bytes
            .chunks(4)
            .map(|word| {
                let mut whole = [0; 4];
                whole[..word.len()].copy_from_slice(word);
                u32::from_le_bytes(whole)
            })
            .collect()
    };
    let mut memory: Vec<Vec<u32>> = inputs.iter().map(words).collect();
    let views = memory.iter_mut().zip(&args).map(|(words, arg)| {
        let bytes = &mut bytemuck::cast_slice_mut::<u32, u8>(words)[..arg.bytes() as usize];
        if arg.access == Access::Read { View::In(bytes) } else { View::Out(bytes) }
    });
    let mut views = Args::new(&args, views.collect());
    if definition {
        op.kernel().reference(&mut views)
    } else {
        op.kernel().cpu(&SingleThread, &mut views)
    }
    let bytes = |(words, arg): (&Vec<u32>, &Arg)| bytemuck::cast_slice(words)[..arg.bytes() as usize].to_vec();
    memory.iter().zip(&args).map(bytes).collect()
}

proptest! {
    // The seed is fixed, so that each run draws the same specs; the fuzz target draws others.
    #![proptest_config(ProptestConfig {
        rng_seed: proptest::test_runner::RngSeed::Fixed(1),
        ..ProptestConfig::with_cases(16)
    })]

    #[test]
    fn strategies_draw_valid_specs_of_every_op(
        ops in Op::NAMES.iter().map(|name| strategy(name)).collect::<Vec<_>>(),
    ) {
        for (op, name) in ops.iter().zip(Op::NAMES) {
            prop_assert_eq!(op.name(), *name);
            prop_assert!(op.kernel().validate().is_ok());
        }
    }
    /// What the fuzz target asks, of specs that shrink.
    #[test]
    fn executors_agree_with_the_definitions_on_specs_of_the_strategies(
        ops in Op::NAMES.iter().map(|name| strategy(name)).collect::<Vec<_>>(),
        seed in any::<u64>(),
    ) {
        for op in ops {
            let inputs = op.kernel().inputs(&mut Rng::new(seed));
            let (got, want) = (ran(&op, &inputs, false), ran(&op, &inputs, true));
            for ((arg, got), want) in op.kernel().args().iter().zip(&got).zip(&want) {
                if arg.dtype != DType::F32 {
                    prop_assert!(got == want, "{} of {op:?}", arg.name);
                    continue;
                }
                let [got, want]: [Vec<f32>; 2] = [got, want].map(|bytes| bytemuck::pod_collect_to_vec(bytes));
                let gradient = op.name().ends_with("_backward");
                let tolerance = if gradient { Tolerance::EXECUTOR_GRADIENT } else { Tolerance::EXECUTOR };
                // If few numbers are left, one that cancels can be all: only the elementwise bound means something.
                let few = want.iter().filter(|x| **x != 0.0).count() < 64;
                let relative_rms = if few { f64::INFINITY } else { tolerance.relative_rms };
                let found = compare(&got, &want, Tolerance { relative_rms, ..tolerance });
                prop_assert!(found.within, "{} of {op:?}: {found}", arg.name);
            }
        }
    }
}
