//! Parts of answers, from outputs of models as their templates and vendors give them.

use foveate_core::parts::{Answer, Format, Part, Reasoning, Splitter, Tools};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const THINK: Option<Reasoning> = Some(Reasoning { begin: "<think>", end: "</think>" });

/// An answer, and what it is: text, reasoning, and calls with their arguments.
type Recorded = (Format, &'static str, (&'static str, &'static str, &'static [(&'static str, &'static str)]));

const RECORDED: &[Recorded] = &[
    (
        Format::Hermes,
        "<think>\nParis, then.\n</think>\n\nLet me look.\n<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"a \
         \\\"</tool_call>\\\"\\n é\", \"days\": 2}}\n</tool_call>\n<tool_call>\n{\"arguments\": {}, \"name\": \"now\"}\n</tool_call>",
        (
            "Let me look.\n",
            "Paris, then.",
            &[("get_weather", r#"{"city": "a \"</tool_call>\"\n é", "days": 2}"#), ("now", "{}")],
        ),
    ),
    (Format::Llama3, "{\"name\": \"f\", \"parameters\": {\"a\": 1.50}}", ("", "", &[("f", r#"{"a": 1.50}"#)])),
    (
        Format::Llama3,
        "<|python_tag|>{\"type\": \"function\", \"name\": \"f\", \"parameters\": {\"a\": [1, {}]}}",
        ("", "", &[("f", r#"{"a": [1, {}]}"#)]),
    ),
    (
        Format::Llama3,
        "<|python_tag|>brave_search.call(query=\"a (b), 'c'\")",
        ("", "", &[("brave_search", r#"{"query":"a (b), 'c'"}"#)]),
    ),
    (
        Format::Llama3,
        "[f(a='it\\'s', b=[1, None], c={'d': True}), g()]",
        ("", "", &[("f", r#"{"a":"it's","b":[1,null],"c":{"d":true}}"#), ("g", "{}")]),
    ),
    (Format::Llama3, "{\"answer\": [1]} is JSON", ("{\"answer\": [1]} is JSON", "", &[])),
    (Format::Llama3, "[1] is a list", ("[1] is a list", "", &[])),
    (
        Format::Mistral,
        "[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {\"a\": \"]\"}, \"id\": \"abcDEF123\"}, {\"name\": \"g\", \
         \"arguments\": {}}]",
        ("", "", &[("f", r#"{"a": "]"}"#), ("g", "{}")]),
    ),
    (
        Format::Mistral,
        "Sure.[TOOL_CALLS]f[CALL_ID]abcDEF123[ARGS]{\"a\": 1}[TOOL_CALLS]g[ARGS]{}",
        ("Sure.", "", &[("f", r#"{"a": 1}"#), ("g", "{}")]),
    ),
    (
        Format::FunctionGemma,
        "<start_function_call>call:f{city:<escape>a, {b}<escape>,n:3}<end_function_call><start_function_response>",
        ("", "", &[("f", r#"{"city":"a, {b}","n":3}"#)]),
    ),
    (
        Format::Gemma4,
        "<|tool_call>call:f{b:true,l:[1,<|\"|>x<|\"|>],o:{k:<|\"|><tool_call|><|\"|>}}<tool_call|>done",
        ("done", "", &[("f", r#"{"b":true,"l":[1,"x"],"o":{"k":"<tool_call|>"}}"#)]),
    ),
    (
        Format::Harmony,
        "<|channel|>analysis<|message|>Think first.<|end|><|start|>assistant<|channel|>commentary to=functions.f \
         <|constrain|>json<|message|>{\"a\": \"x\"}<|call|>",
        ("", "Think first.", &[("f", r#"{"a": "x"}"#)]),
    ),
    (Format::Harmony, " to=functions.f<|channel|>commentary<|message|>{}<|call|>", ("", "", &[("f", "{}")])),
    (
        Format::Harmony,
        "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Yes.<|return|>",
        ("Yes.", "Hm.", &[]),
    ),
    (
        Format::DeepSeek,
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{\"a\": \"`\"}\n```<｜tool▁call▁end｜>\n\
         <｜tool▁call▁begin｜>function<｜tool▁sep｜>g\n```json\n{}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        ("", "", &[("f", r#"{"a": "`"}"#), ("g", "{}")]),
    ),
    (
        Format::DeepSeek,
        "Look:<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{\"a\": 1}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        ("Look:", "", &[("f", r#"{"a": 1}"#)]),
    ),
    (
        Format::Dsml,
        "<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"f\">\n<｜DSML｜parameter name=\"a\" string=\"true\">1 < \"2\"\
         </｜DSML｜parameter>\n<｜DSML｜parameter name=\"b\" string=\"false\">[1]</｜DSML｜parameter>\n</｜DSML｜invoke>\n\
         </｜DSML｜function_calls>",
        ("", "", &[("f", r#"{"a": "1 < \"2\"", "b": [1]}"#)]),
    ),
    (
        Format::Coder,
        "<tool_call>\n<function=typed>\n<parameter=text>\n12\n</parameter>\n<parameter=code>\nif a:\n  print(\"</parameter>\")\n\
         </parameter>\n<parameter=n>\n12\n</parameter>\n</function>\n</tool_call>",
        ("", "", &[("typed", r#"{"text": "12", "code": "if a:\n  print(\"</parameter>\")", "n": 12}"#)]),
    ),
    (
        Format::Coder,
        "<function=f>\n<parameter=a>\n{\"b\": 1}\n</parameter>\n</function>",
        ("", "", &[("f", r#"{"a": {"b": 1}}"#)]),
    ),
    (
        Format::Glm,
        "<tool_call>typed\n<arg_key>text</arg_key>\n<arg_value>12</arg_value>\n<arg_key>n</arg_key>\n<arg_value>12</arg_value>\n\
         </tool_call>",
        ("", "", &[("typed", r#"{"text": "12", "n": 12}"#)]),
    ),
    (
        Format::Kimi,
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{\"a\": 1}<|tool_call_end|>\
         <|tool_calls_section_end|>",
        ("", "", &[("f", r#"{"a": 1}"#)]),
    ),
    (
        Format::Phi4,
        "<|tool_call|>[{\"name\": \"f\", \"arguments\": {\"a\": 1}}]<|/tool_call|>",
        ("", "", &[("f", r#"{"a": 1}"#)]),
    ),
    (
        Format::Function,
        "<function=f>{\"a\": \"</function>\"}</function>",
        ("", "", &[("f", r#"{"a": "</function>"}"#)]),
    ),
    (
        Format::Functionary,
        ">>>all\nI look.\n>>>f\n{\"a\": 1}>>>g\n{}",
        ("I look.\n", "", &[("f", r#"{"a": 1}"#), ("g", "{}")]),
    ),
];

fn splitter(format: Format) -> Splitter {
    let typed = json!({"type": "function", "function": {"name": "typed", "parameters": {"type": "object", "properties": {
        "text": {"type": "string"}, "code": {"type": "string"}, "n": {"type": "integer"}}}}});
    Splitter::new(Some(format), THINK, Tools::new(vec![typed]))
}

fn split<'a>(splitter: &mut Splitter, pieces: impl IntoIterator<Item = &'a str>) -> Vec<Part> {
    let mut parts: Vec<Part> = pieces.into_iter().flat_map(|piece| splitter.push(piece)).collect();
    parts.extend(splitter.finish());
    parts
}

/// The pieces of a text, of so many characters each.
fn pieces(text: &str, count: usize) -> Vec<&str> {
    let starts: Vec<usize> = text.char_indices().map(|(at, _)| at).step_by(count).chain([text.len()]).collect();
    starts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect()
}

#[test]
fn recorded_calls_are_read_in_any_pieces() {
    for (format, text, (said, thought, calls)) in RECORDED {
        for count in [1, 2, 7, usize::MAX] {
            let parts = split(&mut splitter(*format), pieces(text, count));
            let answer: Answer = parts.iter().collect();
            let found: Vec<(&str, &str)> =
                answer.calls.iter().map(|call| (call.name.as_str(), call.arguments.as_str())).collect();
            assert_eq!(
                (&*answer.text, &*answer.reasoning, &found[..]),
                (*said, *thought, *calls),
                "{format:?} {count}"
            );
            assert_eq!(answer.broken, Vec::<String>::new(), "{format:?}");
            assert!(answer.calls.iter().all(|call| call.value().is_object()), "{format:?}");
        }
    }
}

#[test]
fn arguments_come_in_pieces() {
    let text = "<tool_call>{\"name\": \"f\", \"arguments\": {\"text\": \"one two three four\"}}</tool_call>";
    let parts = split(&mut splitter(Format::Hermes), pieces(text, 5));
    let count = parts.iter().filter(|part| matches!(part, Part::Arguments(_))).count();
    assert!(count >= 5, "{parts:?}");
}

#[test]
fn ids_are_the_models_or_nine_signs() {
    let text = "[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {}, \"id\": \"x\"}, {\"id\": \"y\", \"name\": \"f\", \"arguments\": {}}]";
    let answer: Answer = split(&mut splitter(Format::Mistral), [text]).iter().collect();
    // An id behind the arguments comes too late: they were given out.
    assert_eq!(answer.calls[1].id, "y");
    assert!(answer.calls[0].id.len() == 9 && answer.calls[0].id.chars().all(|c| c.is_ascii_alphanumeric()));
    let message = answer.message();
    assert_eq!(
        message.get("tool_calls").and_then(|calls| calls[1]["function"]["arguments"].as_object()).map(|a| a.len()),
        Some(0)
    );
    let result = answer.calls[1].result("sunny");
    assert_eq!((result.role(), result.get("tool_call_id")), ("tool", Some(&Value::from("y"))));
}

#[test]
fn reasoning_that_began_in_the_prompt_is_reasoning() {
    let mut inside = splitter(Format::Hermes);
    inside.begin_behind("<|im_start|>assistant\n<think>\n");
    assert!(inside.is_reasoning());
    let answer: Answer = split(&mut inside, ["So", ".\n</think>\n\nYes"]).iter().collect();
    assert_eq!((&*answer.reasoning, &*answer.text), ("So.", "Yes"));
    // Without an end, all of it is.
    let mut inside = splitter(Format::Hermes);
    inside.begin_behind("<think>");
    let answer: Answer = split(&mut inside, ["So", " <tool_call>"]).iter().collect();
    assert_eq!((&*answer.reasoning, &*answer.text), ("So <tool_call>", ""));
    let mut outside = splitter(Format::Hermes);
    outside.begin_behind("<think>\n\n</think>\n\n");
    assert!(!outside.is_reasoning());
}

#[test]
fn calls_that_are_none_are_text_with_a_reason() {
    for (format, text) in [
        (Format::Hermes, "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": }}\n</tool_call>"),
        (Format::Hermes, "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\""),
        (Format::Hermes, "<tool_call>\n{\"arguments\": {}}</tool_call>"),
        (Format::Hermes, "<tool_call>no JSON</tool_call>"),
        (Format::Coder, "<tool_call>\n<function=f>\n<parameter=a>1</tool_call>"),
        (Format::Gemma4, "<|tool_call>call:f{a:[1<tool_call|>"),
        (Format::DeepSeek, "<｜tool▁call▁begin｜>f{}"),
        (Format::Mistral, "[TOOL_CALLS]f[ARGS]"),
        (Format::Mistral, "[TOOL_CALLS]f[ARGS]{\"a\": 1"),
    ] {
        let whole: Answer = split(&mut splitter(format), [text]).iter().collect();
        assert_eq!(whole.broken.len(), 1, "{format:?} {text:?}: {whole:?}");
        let streamed: Answer = split(&mut splitter(format), pieces(text, 1)).iter().collect();
        assert_eq!(whole, streamed, "{format:?}");
    }
}

#[test]
fn hostile_answers_end_in_bounded_time() {
    let (many, deep) = (200_000, "[{\"a\":".repeat(50_000));
    let hostile = [
        "<tool_call>".repeat(many / 10),
        format!("<tool_call>{{\"name\": \"f\", \"arguments\": {deep}"),
        format!("<tool_call>{{\"name\": {deep}"),
        format!("<tool_call>\n<function=f>{}", "<parameter=a></parameter>x".repeat(many / 20)),
        format!("<tool_call>{}", "</tool_call>".repeat(many / 10)),
        format!("<|tool_call>call:f{{a:{deep}"),
        format!("[f(a={}", "[".repeat(many)),
        format!("[TOOL_CALLS]{}", "[ARGS]".repeat(many / 6)),
        "<|channel|>".repeat(many / 10),
        format!("{{\"name\": \"{}", "\\\"".repeat(many)),
        "<think></think>".repeat(many / 15),
    ];
    let formats: Vec<Format> = RECORDED.iter().map(|(format, ..)| *format).collect();
    for text in &hostile {
        for format in &formats {
            let began = Instant::now();
            let parts = split(&mut splitter(*format), pieces(text, 16));
            let taken = began.elapsed();
            assert!(taken < Duration::from_secs(10), "{format:?} took {taken:?}: {:.40}", text);
            assert!(parts.len() <= text.len() + 1);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// Whatever the text is, it does not matter how it was cut, but for how arguments and text are cut in turn.
    #[test]
    fn parts_do_not_depend_on_pieces(
        words in prop::collection::vec(prop::sample::select(vec![
            "<tool_call>", "</tool_call>", "{\"name\": \"f\", \"arguments\": {\"a\": 1}}", "\n", " ", "x", "é", "<", "{", "}", "[",
            "]", "\"", "<think>", "</think>", "<function=", "f>", "<parameter=a>", "</parameter>", "</function>", "[TOOL_CALLS]",
            "[ARGS]", "f", "(", ")", "<|channel|>", "final", "<|message|>", "<|end|>", "to=functions.f", ",", "`", ">>>",
        ]), 0..16),
        at in 0..RECORDED.len(),
        count in 1usize..9,
    ) {
        let (text, format) = (words.concat(), RECORDED[at].0);
        let whole: Answer = split(&mut splitter(format), [text.as_str()]).iter().collect();
        let cut: Answer = split(&mut splitter(format), pieces(&text, count)).iter().collect();
        prop_assert_eq!(whole, cut);
    }
}
