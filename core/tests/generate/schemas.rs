//! Schemas out of building blocks, and answers of SmolLM2 that must be valid by them.

use foveate_core::Any;
use foveate_core::chat::Message;
use foveate_core::constrain::Constraint;
use foveate_core::generate::{Finish, Generation, Generator};
use foveate_core::host::HostBackend;
use foveate_core::kernels::dtype::DType;
use foveate_core::kernels::rng::Rng;
use foveate_core::model::{Files, Model};
use foveate_core::weights::{Checkpoint, Memory};
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

const NAMES: [&str; 8] = ["name", "age", "city", "tags", "price", "next", "is open", "größe"];
const WORDS: [&str; 6] = ["red", "green", "in \"quotes\"", "line\nbreak", "é", ""];

struct Blocks(Rng);

impl Blocks {
    fn below(&mut self, count: usize) -> usize {
        self.0.below(count as u32) as usize
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    fn string(&mut self) -> Value {
        let short = self.below(3);
        match self.below(5) {
            0 => json!({"type": "string", "maxLength": 12}),
            1 => json!({"type": "string", "minLength": short, "maxLength": short + 6}),
            2 => {
                json!({"type": "string", "pattern": self.one(&["^[A-Z][a-z]{1,7}$", "^(ab|c)+d?$", "^[0-9]{3}-[0-9]{4}$"])})
            }
            3 => json!({"type": "string", "format": self.one(&["ipv4", "uuid"])}),
            _ => json!({"enum": [self.one(&WORDS), "blue"]}),
        }
    }

    fn number(&mut self) -> Value {
        let low = self.below(40) as i64 - 20;
        match self.below(5) {
            0 => json!({"type": "integer", "minimum": low, "maximum": low + 15}),
            1 => json!({"type": "integer", "exclusiveMinimum": low, "exclusiveMaximum": low + 300}),
            2 => json!({"type": "number", "minimum": low, "maximum": low + 1}),
            3 => json!({"type": "integer", "minimum": 0, "maximum": 500, "multipleOf": self.one(&[2, 5, 25])}),
            _ => json!({"type": "number", "exclusiveMinimum": -0.5, "maximum": 99.5}),
        }
    }

    fn value(&mut self, level: usize) -> Value {
        match self.below(if level > 2 { 6 } else { 12 }) {
            0 | 1 => self.string(),
            2 | 3 => self.number(),
            4 => self
                .one(&[r#"{"type": "boolean"}"#, r#"{"type": "null"}"#, r#"{"type": ["boolean", "null"]}"#])
                .parse()
                .expect("JSON"),
            5 => json!({"const": self.one(&["fixed", "größer"])}),
            6 | 7 => self.object(level + 1),
            8 => {
                let least = self.below(2);
                json!({"type": "array", "items": self.value(level + 1), "minItems": least, "maxItems": least + 2})
            }
            9 => {
                json!({"type": "array", "prefixItems": [self.value(level + 1), self.number()], "items": false, "minItems": 2})
            }
            10 => json!({"anyOf": [self.string(), self.object(level + 1), {"type": "null"}]}),
            _ => json!({"$ref": self.one(&["#/$defs/leaf", "#/$defs/tree"])}),
        }
    }

    fn object(&mut self, level: usize) -> Value {
        let (mut properties, mut required) = (Map::new(), Vec::new());
        for _ in 0..=self.below(3) {
            let name = self.one(&NAMES);
            if properties.insert(name.into(), self.value(level)).is_none() && self.below(4) > 0 {
                required.push(name);
            }
        }
        let mut object = json!({"type": "object", "properties": properties, "required": required});
        match self.below(8) {
            0 => object["additionalProperties"] = json!({"type": "integer", "minimum": 0, "maximum": 9}),
            1 if required.is_empty() => object["patternProperties"] = json!({"^x_[a-z]{1,3}$": {"type": "boolean"}}),
            _ => {}
        }
        // Keys that a schema does not name may hold anything, at any length.
        if object.get("additionalProperties").is_none() {
            object["additionalProperties"] = false.into();
        }
        match self.below(8) {
            0 => json!({"allOf": [object, {"type": "object", "required": required}]}),
            _ => object,
        }
    }
}

/// The schema of this number, one of any number.
pub(crate) fn schema(seed: u64) -> Value {
    let mut blocks = Blocks(Rng::new(seed * 7919 + 13));
    let mut schema = match blocks.below(4) {
        0 => blocks.value(0),
        _ => blocks.object(0),
    };
    schema["$defs"] = json!({
        "leaf": {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1, "maximum": 6}}, "required": ["n"],
            "additionalProperties": false},
        "tree": {"type": "object", "properties": {"leaf": {"$ref": "#/$defs/leaf"}, "next": {"$ref": "#/$defs/tree"}},
            "required": ["leaf"], "additionalProperties": false},
    });
    schema
}

fn smollm2() -> Option<Arc<Model<Any>>> {
    let folder = std::env::var_os("FOVEATE_MODELS").map(PathBuf::from).unwrap_or_default();
    let Ok(bytes) = std::fs::read(folder.join("SmolLM2-135M-Instruct.Q4_1.gguf")) else {
        assert!(!std::env::var("REQUIRE_GOLDEN").is_ok_and(|v| v == "1"), "no model in FOVEATE_MODELS");
        println!("ignored: no model in FOVEATE_MODELS");
        return None;
    };
    let weights = pollster::block_on(Checkpoint::gguf(Box::new(Memory::new("smollm2", bytes)))).expect("a whole file");
    let files = Files::from_gguf(weights).expect("a known family");
    let mut report = |_| Ok(());
    let model = Model::load(Any::Host(HostBackend::cpu(0)), files, &mut report);
    Some(Arc::new(pollster::block_on(model).expect("it loads")))
}

/// Answers to `count` schemas: each that ends must be valid.
fn answers(count: u64, most: u64) {
    let Some(model) = smollm2() else { return };
    let (mut ended, mut tokens, mut taken) = (0, 0, Duration::ZERO);
    for seed in 0..count {
        let schema = schema(seed);
        let ask = "Answer with an example, as short as possible, of JSON.";
        let constraint = Constraint::json_schema(schema.clone()).expect("a schema");
        let options = Generation::new().max_tokens(most).temperature(0.7).seed(seed).constraint(constraint);
        let began = Instant::now();
        let prompt = vec![Message::new("user", ask)];
        let mut generator = Generator::start(model.clone(), prompt, 1024, DType::F32, &options).expect("a generation");
        let text = pollster::block_on(generator.text()).expect("it runs");
        (taken, tokens) = (taken + began.elapsed(), tokens + generator.usage().generated_tokens);
        if matches!(generator.finish(), Some(Finish::Complete | Finish::EndOfText { .. })) {
            let value: Value =
                serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text} by {schema}"));
            let validator = jsonschema::options().should_validate_formats(true).build(&schema).expect("a valid schema");
            assert!(validator.is_valid(&value), "{value} by {schema}");
            ended += 1;
        }
    }
    println!("{ended} of {count} answers have ended and are valid; {tokens} tokens in {taken:?}");
    assert!(ended * 2 >= count, "{ended} of {count} answers have ended");
}

#[test]
#[ignore = "takes the model: run by hand"]
fn smollm2_answers_by_schemas() {
    answers(10, 80);
}

#[test]
#[ignore = "minutes: run by hand"]
fn smollm2_answers_by_two_hundred_schemas() {
    answers(200, 400);
}

#[test]
#[ignore = "a measurement: run by hand"]
fn masks_cost_microseconds() {
    let Some(model) = smollm2() else { return };
    let vocabulary = Instant::now();
    model.vocabulary().expect("a vocabulary");
    println!("the vocabulary: {:?}", vocabulary.elapsed());
    let (mut masks, mut all) = (0u32, Vec::new());
    let mut compiling = Duration::ZERO;
    for seed in 0..50 {
        let constraint = Constraint::json_schema(schema(seed)).expect("a schema");
        let began = Instant::now();
        let vocabulary = model.vocabulary().expect("a vocabulary");
        let mut matcher = foveate_core::constrain::Matcher::new(&constraint, &vocabulary).expect("a constraint");
        compiling += began.elapsed();
        let mut rng = Rng::new(seed);
        for _ in 0..60 {
            if matcher.is_complete() {
                break;
            }
            let began = Instant::now();
            let mask = matcher.mask().expect("something may follow");
            all.push(began.elapsed());
            masks += 1;
            let allowed: Vec<u32> = (0..model.config().vocab).filter(|id| mask.allows(*id)).collect();
            let id = allowed[rng.below(allowed.len() as u32) as usize];
            if model.end_tokens().contains(&id) {
                break;
            }
            matcher.accept(id).expect("it is allowed");
        }
    }
    all.sort_unstable();
    let total: Duration = all.iter().sum();
    println!(
        "a constraint: {:?}; {masks} masks: mean {:?}, median {:?}, 99 % below {:?}",
        compiling / 50,
        total / masks,
        all[all.len() / 2],
        all[all.len() * 99 / 100]
    );
    assert!(total / masks < Duration::from_millis(2), "{:?}", total / masks);
}
