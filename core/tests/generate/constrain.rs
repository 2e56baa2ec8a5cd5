//! Constraints: masks against their definition, random walks, generations, and what is refused.

use super::schemas::schema;
use super::{drawn, model, start, tiny};
use foveate_core::Error;
use foveate_core::constrain::{Constraint, Matcher};
use foveate_core::generate::{Finish, Generation, Generator};
use foveate_core::kernels::dtype::DType;
use foveate_core::kernels::rng::Rng;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn matcher(constraint: &Constraint) -> Matcher {
    Matcher::new(constraint, &model().vocabulary().expect("a vocabulary")).expect("a constraint")
}

/// Writes random allowed tokens, ends as soon as it may behind `most` of them, and returns the text if it ended.
fn walk(constraint: &Constraint, seed: u64, most: usize) -> Option<String> {
    let (mut matcher, mut rng, mut ids) = (matcher(constraint), Rng::new(seed), Vec::new());
    let ends = model().end_tokens().to_vec();
    while !matcher.is_complete() {
        let mask = matcher.mask().expect("something may follow");
        assert_eq!(ends.iter().any(|id| mask.allows(*id)), matcher.may_end());
        if ids.len() >= most && matcher.may_end() {
            break;
        }
        if ids.len() > 20 * most {
            return None;
        }
        let allowed: Vec<u32> =
            (0..model().config().vocab).filter(|id| mask.allows(*id) && !ends.contains(id)).collect();
        assert_eq!(allowed.len() as u32 + u32::from(matcher.may_end()), mask.count());
        if allowed.is_empty() {
            break;
        }
        let id = &allowed[rng.below(allowed.len() as u32) as usize];
        matcher.accept(*id).expect("the mask allows it");
        ids.push(*id);
    }
    Some(model().tokenizer().expect("a tokenizer").decode(&ids, true).expect("text"))
}

#[test]
fn mask_is_what_some_completion_begins_with() {
    // All texts of the grammar, and so all beginnings.
    let texts = ["the", "then", "and", "anding", "é"];
    let constraint = Constraint::choices(texts).expect("choices");
    let model = model();
    let (tokenizer, vocab) = (model.tokenizer().expect("a tokenizer"), model.config().vocab);
    let bytes = |ids: &[u32]| {
        let byte = |c: char| (0..=255u8).find(|b| tiny::spelling(*b) == c).expect("a byte");
        ids.iter().flat_map(|id| tokenizer.token(*id).expect("a token").chars().map(byte).collect::<Vec<_>>()).collect()
    };
    let mut waiting: Vec<(Vec<u32>, Matcher)> = vec![(Vec::new(), matcher(&constraint))];
    let mut seen = 0;
    while let Some((ids, mut matcher)) = waiting.pop() {
        let text: Vec<u8> = bytes(&ids);
        let ends = texts.iter().any(|whole| whole.as_bytes() == text);
        assert_eq!(matcher.may_end(), ends, "{text:?}");
        let mask = matcher.mask().expect("something may follow");
        // Behind the special tokens.
        for id in 4..vocab {
            let next: Vec<u8> = bytes(&[&ids[..], &[id]].concat());
            let expected = texts.iter().any(|whole| whole.as_bytes().starts_with(&next));
            // A single way to go on may be forced, in the tokens of the tokenizer.
            assert!(mask.allows(id) <= expected && (mask.count() == 1 || mask.allows(id) == expected), "{text:?} {id}");
            if mask.allows(id) {
                let mut other = matcher.clone();
                other.accept(id).expect("it is allowed");
                waiting.push(([&ids[..], &[id]].concat(), other));
            }
        }
        assert!([0, 2, 3].iter().all(|id| !mask.allows(*id)), "a control token in {text:?}");
        assert_eq!(mask.allows(1), ends, "{text:?}");
        seen += 1;
    }
    assert!(seen > 10, "{seen}");
}

#[test]
fn rollback_restores_the_mask() {
    let constraint =
        Constraint::json_schema(json!({"type": "array", "items": {"enum": ["the", 12, null]}})).expect("a schema");
    let (mut matcher, mut rng, mut masks, mut ids) = (matcher(&constraint), Rng::new(5), Vec::new(), Vec::new());
    for _ in 0..12 {
        let mask = matcher.mask().expect("something may follow");
        let allowed: Vec<u32> = (2..model().config().vocab).filter(|id| mask.allows(*id)).collect();
        if allowed.is_empty() {
            break;
        }
        let id = &allowed[rng.below(allowed.len() as u32) as usize];
        masks.push(mask);
        ids.push(*id);
        matcher.accept(*id).expect("it is allowed");
    }
    for back in 1..=ids.len().min(6) {
        matcher.rollback(back).expect("it was that long");
        assert_eq!(matcher.mask().as_ref(), Ok(&masks[ids.len() - back]), "{back} back");
        ids[ids.len() - back..].iter().for_each(|id| matcher.accept(*id).expect("as before"));
    }
}

#[test]
fn two_hundred_schemas_hold_on_random_walks() {
    let mut finished = 0;
    for seed in 0..200 {
        let schema = schema(seed);
        let constraint = Constraint::json_schema(schema.clone()).expect("a schema");
        let Some(text) = walk(&constraint, seed, 60) else { continue };
        let value: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text} by {schema}"));
        let validator = jsonschema::options().should_validate_formats(true).build(&schema).expect("a valid schema");
        assert!(validator.is_valid(&value), "{value} by {schema}");
        finished += 1;
    }
    assert!(finished >= 180, "{finished} of 200 have finished");
}

#[test]
fn grammars_of_every_kind_hold() {
    let json_gbnf = r#"
        root   ::= object
        value  ::= object | array | string | number | ("true" | "false" | "null") ws
        object ::= "{" ws ( string ":" ws value ("," ws string ":" ws value)* )? "}" ws
        array  ::= "[" ws ( value ("," ws value)* )? "]" ws
        string ::= "\"" ( [^"\\\x7F\x00-\x1F] | "\\" ["\\bfnrt] )* "\"" ws
        number ::= "-"? ([0-9] | [1-9] [0-9]{0,15}) ("." [0-9]+)? ws
        ws ::= | " " | "\n" [ \t]{0,4}
    "#;
    let lark = "start: \"sum \" sum\nsum: NUMBER (\"+\" sum)?\nNUMBER: /[1-9][0-9]{0,3}/\n";
    let is_json = |text: &str| serde_json::from_str::<Value>(text).is_ok_and(|value| value.is_object());
    let is_sum = |text: &str| {
        let number = |n: &str| n.parse::<u32>().is_ok_and(|n| (1..10_000).contains(&n));
        text.strip_prefix("sum ").is_some_and(|sum| sum.split('+').all(number))
    };
    let is_date = |text: &str| text.len() == 10 && text.split('-').map(str::len).collect::<Vec<_>>() == [4, 2, 2];
    let is_short = |text: &str| matches!(text.chars().count(), 2..=4) && text.chars().all(|c| "aé".contains(c));
    type Holds<'a> = &'a dyn Fn(&str) -> bool;
    let all: [(Constraint, Holds<'_>); 6] = [
        (Constraint::grammar(json_gbnf).expect("GBNF"), &is_json),
        (Constraint::grammar(lark).expect("Lark"), &is_sum),
        (Constraint::json(), &is_json),
        (Constraint::regex(r"[0-9]{4}-[01][0-9]-[0-3][0-9]").expect("an expression"), &is_date),
        (Constraint::grammar("root ::= [aé]{2} [aé]? [aé]?").expect("GBNF"), &is_short),
        (Constraint::choices(["yes", "no"]).expect("choices"), &|text| text == "yes" || text == "no"),
    ];
    for (constraint, holds) in &all {
        let texts: Vec<String> = (0..20).filter_map(|seed| walk(constraint, seed, 40)).collect();
        assert!(texts.len() >= 10, "{} of 20 {constraint:?}", texts.len());
        texts.iter().for_each(|text| assert!(holds(text), "{text:?} by {constraint:?}"));
    }
}

fn finished(mut generator: Generator<foveate_core::Any>) -> (String, Vec<u32>, Finish) {
    let (mut text, mut ids) = (String::new(), Vec::new());
    for piece in generator.by_ref() {
        let piece = piece.expect("it runs");
        text.push_str(&piece.text);
        ids.extend(piece.token.map(|token| token.id));
    }
    (text, ids, generator.finish().expect("it ended").clone())
}

#[test]
fn generation_follows_its_constraint() {
    let schema = json!({"type": "object", "properties": {"the": {"enum": ["and", "thing"]}, "n": {"type": "boolean"}},
        "required": ["the", "n"], "additionalProperties": false});
    for seed in 0..8 {
        let options =
            drawn().seed(seed).max_tokens(400).constraint(Constraint::json_schema(schema.clone()).expect("a schema"));
        let (text, ids, finish) = finished(start("the king", &options));
        assert_eq!(finish, Finish::Complete, "{text}");
        assert!(jsonschema::is_valid(&schema, &serde_json::from_str(&text).expect("JSON")), "{text}");
        // Going on from any token gives the same text, with the same draws.
        let half = options.clone().replay(ids[..ids.len() / 2].to_vec());
        let (rest, ..) = finished(start("the king", &half));
        assert!(text.ends_with(&rest) && !rest.is_empty(), "{rest:?} of {text:?}");
        // Asked for probabilities, it tells those of the model.
        let told: Vec<_> =
            start("the king", &options.clone().logprobs(1)).map(|piece| piece.expect("it runs")).collect();
        assert_eq!(told.iter().map(|piece| piece.text.as_str()).collect::<String>(), text);
        assert!(told.iter().filter_map(|piece| piece.token.as_ref()).all(|token| token.likelihood.is_some()));
    }
    // A text that may end, and may go on, ends by the model's choice or at the maximum.
    let options =
        drawn().ignore_eos(false).max_tokens(5).constraint(Constraint::regex("[a-z ]*").expect("an expression"));
    let (text, _, finish) = finished(start("the king", &options));
    assert!(text.chars().all(|c| c == ' ' || c.is_ascii_lowercase()), "{text:?}");
    assert!(matches!(finish, Finish::MaxTokens | Finish::EndOfText { .. }), "{finish:?}");
}

#[test]
fn forced_tokens_are_those_of_the_tokenizer() {
    let words = "the thing and the anding in the end";
    let (text, ids, finish) =
        finished(start("a", &drawn().constraint(Constraint::choices([words]).expect("a choice"))));
    assert_eq!((text.as_str(), finish), (words, Finish::Complete));
    assert_eq!(ids, model().tokenizer().expect("a tokenizer").encode(words, false).expect("ids"));
}

#[test]
fn constraint_begins_behind_its_mark() {
    // The model writes freely until it has written an e; then nothing but digits follows.
    let digits = Constraint::regex("[0-9]{3}").expect("an expression");
    let (text, _, finish) = finished(start("the king", &drawn().max_tokens(400).constraint(digits.clone().after("e"))));
    let (free, behind) = text.split_once('e').expect("an e in 400 tokens");
    assert!(behind.len() == 3 && behind.bytes().all(|b| b.is_ascii_digit()), "{text:?} {finish:?}");
    assert_eq!(finish, Finish::Complete);
    let plain: Vec<_> = start("the king", &drawn().max_tokens(400)).map(|piece| piece.expect("it runs").text).collect();
    assert!(plain.concat().starts_with(free), "the mask changed what was free");
    let (text, _, finish) = finished(start("the king", &drawn().max_tokens(400).constraint(digits.after_each("e"))));
    assert_eq!(finish, Finish::MaxTokens);
    let parts: Vec<&str> = text.split('e').skip(1).collect();
    assert!(parts.len() > 2, "{text}");
    for part in &parts[..parts.len() - 1] {
        assert!(part.len() >= 3 && part.bytes().take(3).all(|b| b.is_ascii_digit()), "{part:?} in {text:?}");
    }
}

#[test]
fn hostile_constraints_end_in_bounded_time() {
    let deep = |open: &str, close: &str, count: usize| format!("{}1{}", open.repeat(count), close.repeat(count));
    let schema = |schema: Value| Constraint::json_schema(schema);
    let mut wide = json!({});
    for i in 0..2000 {
        wide[format!("k{i}")] = json!({"type": "string", "pattern": format!("^(a|b){{1,{}}}$", 50 + i % 50)});
    }
    let mut nested = json!(1);
    for _ in 0..2000 {
        nested = Value::Array(vec![nested]);
    }
    let hostile: Vec<(&str, Result<Constraint, Error>)> = vec![
        ("repeats of repeats", Constraint::regex("((a{1,1000}){1,1000}){1,1000}")),
        (
            "alternatives",
            Constraint::regex(format!("({})*x", (0..3000).map(|i| format!("a.*{i}")).collect::<Vec<_>>().join("|"))),
        ),
        ("brackets", Constraint::regex("(".repeat(60_000))),
        ("a long expression", Constraint::regex("a".repeat(100_000))),
        ("not UTF-8", Constraint::regex(r"(?-u)\xFF")),
        ("look-around", Constraint::regex("(?=a)b")),
        ("a reference to itself", schema(json!({"$ref": "#"}))),
        ("all of itself", schema(json!({"allOf": [{"$ref": "#"}, {"type": "object"}]}))),
        ("no end", schema(json!({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}))),
        ("nothing", schema(json!({"type": "string", "minLength": 5, "maxLength": 2}))),
        ("false", schema(json!(false))),
        ("no schema", schema(json!([1]))),
        ("a key that is unknown here", schema(json!({"type": "object", "dependentSchemas": {"a": {}}}))),
        ("a file elsewhere", schema(json!({"$ref": "http://localhost/x.json"}))),
        ("long arrays", schema(json!({"type": "array", "minItems": 1_000_000_000, "items": {"type": "string"}}))),
        ("long strings", schema(json!({"type": "string", "maxLength": 4_000_000_000u64}))),
        ("many patterns", schema(json!({"type": "object", "properties": wide}))),
        ("deep", schema(nested)),
        ("deep Lark", Constraint::grammar(format!("start: {}", deep("(", ")", 100_000)))),
        ("deep GBNF", Constraint::grammar(format!("root ::= {}", deep("(", ")", 100_000)))),
        ("recursion", Constraint::grammar("start: start | start start | \"\"")),
        ("ambiguity", Constraint::grammar("start: a a a a a a a a\na: (\"x\" a | a \"x\" | \"x\")*")),
        (
            "a bomb",
            Constraint::grammar(
                (0..40).map(|i| format!("r{i}: r{} r{}\n", i + 1, i + 1)).collect::<String>()
                    + "r40: \"x\"\nstart: r0\n",
            ),
        ),
        ("no Lark", Constraint::grammar("start: ???")),
        ("no rule", Constraint::grammar("start: missing")),
        ("long", Constraint::grammar("#".repeat(2 << 20))),
        ("empty", Constraint::grammar("")),
        ("no choices", Constraint::choices::<String>([])),
        ("long choices", Constraint::choices((0..20_000).map(|i| format!("choice number {i}")))),
    ];
    for (what, constraint) in hostile {
        let began = Instant::now();
        let done = constraint.and_then(|constraint| {
            let mut matcher = Matcher::new(&constraint, &model().vocabulary()?)?;
            for _ in 0..20 {
                if matcher.is_complete() {
                    break;
                }
                let mask = matcher.mask()?;
                let Some(id) = (2..model().config().vocab).find(|id| mask.allows(*id)) else { break };
                matcher.accept(id)?;
            }
            Ok(())
        });
        let taken = began.elapsed();
        println!("{what}: {taken:?}: {done:?}");
        assert!(taken < Duration::from_secs(30), "{what} took {taken:?}");
        assert!(matches!(done, Ok(()) | Err(Error::Constraint { .. })), "{what}: {done:?}");
    }
}

#[test]
fn constraint_that_is_wrong_names_its_kind() {
    let of = |constraint: Result<Constraint, Error>| {
        let options = Generation::new().constraint(constraint.expect("it is read later"));
        let ids = foveate_core::generate::Prompt::from("a");
        match Generator::start(model(), ids, tiny::CONTEXT, DType::F32, &options).err() {
            Some(Error::Constraint { what, reason }) => (what, reason),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(of(Constraint::regex("(")).0, "regex");
    assert_eq!(of(Constraint::grammar("start: missing")).0, "grammar");
    let (what, reason) = of(Constraint::grammar("root ::= missing"));
    assert!(what == "grammar" && reason.contains("rule missing"), "{reason}");
    let (what, reason) = of(Constraint::json_schema(json!({"type": "object", "unevaluatedProperties": false})));
    assert!(what == "json-schema" && reason.contains("unevaluatedProperties"), "{reason}");
}
