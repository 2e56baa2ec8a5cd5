use foveate_core::Error;
use foveate_core::chat::{DateTime, Inputs, Message, Template};
use foveate_core::weights::gguf::{Array, Metadata, Strings, Value};
use serde_json::json;

fn conversation() -> [Message; 2] {
    [Message::new("user", " hi <b> & \"you\" "), Message::new("assistant", "na\u{ef}ve")]
}

fn render(source: &str) -> Result<String, Error> {
    Template::from_source(source, Some("<s>"), Some("</s>"))?.render(&conversation(), true)
}

fn refused(source: &str) -> String {
    match render(source) {
        Err(Error::Template { reason }) => reason,
        other => panic!("{source} gave {other:?}"),
    }
}

#[test]
fn template_has_what_hugging_face_gives_it() {
    for (source, expected) in [
        ("{{ bos_token }}{{ eos_token }}", "<s></s>"),
        ("{% if add_generation_prompt %}go{% endif %}\n", "go"),
        ("  {% if true %}\nx\n  {% endif %}\ny", "x\ny"),
        ("{{ messages[0]['content'].strip() }}", "hi <b> & \"you\""),
        ("{{ messages[0].content | trim | length }}", "14"),
        ("{{ messages[0]['role'].startswith('us') }}", "True"),
        ("{{ 'a</think>b'.split('</think>')[-1] }}", "b"),
        ("{{ messages[1]['role'].upper() }}", "ASSISTANT"),
        ("{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}{{ m.role }}{% endfor %}", "assistant"),
        ("{% for m in messages[::-1] %}{{ m.role }}{% break %}{% endfor %}", "assistant"),
        ("{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}", "2"),
        ("{{ tools is none }}{{ messages[0].tool_calls is defined }}", "TrueFalse"),
        ("{{ strftime_now is defined }}", "False"),
        ("{{ messages[0] | tojson }}", r#"{"role": "user", "content": " hi <b> & \"you\" "}"#),
        ("{{ messages[1] | tojson(indent=2) }}", "{\n  \"role\": \"assistant\",\n  \"content\": \"na\u{ef}ve\"\n}"),
        ("{{ {'z': [1, none, true], 'a': 1.5} | tojson }}", r#"{"z": [1, null, true], "a": 1.5}"#),
        ("{%- macro f(x) -%}[{{ x }}]{%- endmacro -%}{{ f('a') }}", "[a]"),
    ] {
        assert_eq!(render(source).unwrap(), expected, "{source}");
    }
    let template = Template::from_source("{{ bos_token }}x", None, None).unwrap();
    assert_eq!(template.render(&[], false).unwrap(), "x");
}

#[test]
fn template_knows_the_time_it_is_given() {
    let source = "{{ strftime_now('%d %b %Y, %-m') if strftime_now is defined else 'no date' }}";
    let template = Template::from_source(source, None, None).unwrap();
    assert_eq!(template.render(&[], false).unwrap(), "no date");
    let day = DateTime::new(2026, 3, 9).unwrap();
    assert_eq!(template.with_now(day).render(&[], false).unwrap(), "09 Mar 2026, 3");
    for (year, month, day) in [(2026, 0, 1), (2026, 13, 1), (2026, 1, 0), (2026, 1, 32), (2026, 2, 29), (0, 1, 1)] {
        assert_eq!(DateTime::new(year, month, day), None, "{year}-{month}-{day}");
    }
    assert!(DateTime::new(2024, 2, 29).is_some() && DateTime::new(1900, 2, 29).is_none());
    assert!(day.at(24, 0, 0).is_none() && day.at(0, 60, 0).is_none() && day.at(23, 59, 60).is_some());
}

#[test]
fn strftime_knows_weeks_at_the_edges_of_years() {
    let template = Template::from_source("{{ strftime_now('%G-W%V-%u %U %W %j %a') }}", None, None).unwrap();
    // Of Python's `datetime.strftime`.
    for ((year, month, day), expected) in [
        ((2021, 1, 1), "2020-W53-5 00 00 001 Fri"),
        ((2023, 1, 1), "2022-W52-7 01 00 001 Sun"),
        ((2024, 12, 30), "2025-W01-1 52 53 365 Mon"),
        ((2026, 12, 31), "2026-W53-4 52 52 365 Thu"),
        ((2000, 2, 29), "2000-W09-2 09 09 060 Tue"),
    ] {
        let now = DateTime::new(year, month, day).unwrap();
        assert_eq!(template.clone().with_now(now).render(&[], false).unwrap(), expected);
    }
}

#[test]
fn template_that_does_not_compile_is_kept_with_its_error() {
    let broken = Template::from_named([("default", "{% if %}"), ("tool_use", "tools")], []).unwrap();
    assert!(matches!(broken.check(), Err(Error::Template { reason }) if reason.contains("syntax error")));
    assert!(broken.render(&[], false).is_err());
    let inputs = Inputs::default().tools(Some(Vec::new()));
    assert_eq!(broken.render_with(&[], &inputs).unwrap(), "tools");
}

#[test]
fn template_is_chosen_by_name_and_by_tools() {
    let named = Template::from_named([("default", "d"), ("tool_use", "t"), ("rag", "r")], []).unwrap();
    let with = |inputs: Inputs| named.render_with(&[], &inputs);
    assert_eq!(with(Inputs::default()).unwrap(), "d");
    assert_eq!(with(Inputs::default().tools(Some(Vec::new()))).unwrap(), "t");
    assert_eq!(with(Inputs::default().template(Some("rag".into()))).unwrap(), "r");
    let missing = with(Inputs::default().template(Some("x".into())));
    assert!(matches!(missing, Err(Error::Template { reason }) if reason.contains("default, tool_use, rag")));
    assert!(Template::from_named([("a", "a"), ("b", "b")], []).unwrap().check().is_err());

    let text = |text: &str| Value::String(text.into());
    let names = Value::Array(Array::String(Strings::from_iter(["tool_use"])));
    let entries = [
        ("tokenizer.chat_template", text("d{{ bos_token }}")),
        ("tokenizer.chat_templates", names),
        ("tokenizer.chat_template.tool_use", text("t{{ pad_token }}")),
        ("tokenizer.ggml.tokens", Value::Array(Array::String(Strings::from_iter(["<pad>", "<s>"])))),
        ("tokenizer.ggml.bos_token_id", Value::U32(1)),
        ("tokenizer.ggml.padding_token_id", Value::U32(0)),
    ];
    let template = Template::from_gguf(&Metadata::from_iter(entries)).unwrap();
    assert_eq!(template.render(&[], false).unwrap(), "d<s>");
    let tools = Inputs::default().tools(Some(Vec::new()));
    assert_eq!(template.render_with(&[], &tools).unwrap(), "t<pad>");
}

#[test]
fn variables_are_json_or_strings() {
    let mut inputs = Inputs::prompt();
    for assignment in ["a=false", "b=text=more", "c={\"d\": [1]}", "e="] {
        inputs.set(assignment).unwrap();
    }
    assert!(inputs.set("nothing").is_err() && inputs.set("=x").is_err());
    let source = "{{ a }} {{ b }} {{ c.d[0] }} {{ e == '' }} {{ add_generation_prompt }}";
    let template = Template::from_source(source, None, None).unwrap();
    assert_eq!(template.render_with(&[], &inputs).unwrap(), "False text=more 1 True True");
}

#[test]
fn message_is_an_object_with_a_role() {
    let message: Message = serde_json::from_value(json!({
        "content": [{"type": "text", "text": "hi"}], "role": "user", "name": "ann", "tool_calls": null,
    }))
    .unwrap();
    assert_eq!((message.role(), message.get("name")), ("user", Some(&json!("ann"))));
    // Keys keep their order, and those that are null are none, as transformers has it.
    let template = Template::from_source("{{ messages[0] | tojson }}", None, None).unwrap();
    let rendered = template.render(std::slice::from_ref(&message), false).unwrap();
    assert_eq!(rendered, r#"{"content": [{"type": "text", "text": "hi"}], "role": "user", "name": "ann"}"#);
    for wrong in [json!({"content": "x"}), json!({"role": 1}), json!("user"), json!([])] {
        assert!(Message::from_json(wrong.clone()).is_err(), "{wrong}");
    }
    let built = Message::new("tool", "4").with("tool_call_id", "c1").with("role", 1);
    assert_eq!((built.role(), built.get("tool_call_id")), ("tool", Some(&json!("c1"))));
}

#[test]
fn last_message_is_continued_where_it_ends() {
    let source = "{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}<end>{% endfor %}";
    let template = Template::from_source(source, None, None).unwrap();
    let on = Inputs::default().continue_final_message(true);
    let messages = [Message::new("user", "hi"), Message::new("assistant", "I am ")];
    assert_eq!(template.render_with(&messages, &on).unwrap(), "<user>hi<end><assistant>I am");
    assert!(template.render_with(&[], &on).is_err());
    let both = on.clone().add_generation_prompt(true);
    assert!(template.render_with(&messages, &both).is_err());
    let drops = Template::from_source("{{ messages[0].content }}", None, None).unwrap();
    assert!(drops.render_with(&messages, &on).is_err());
}

#[test]
fn template_refuses_with_a_reason() {
    assert!(refused("{{ raise_exception('roles must alternate') }}").contains("roles must alternate"));
    assert!(refused("{% if %}").contains("syntax error"));
    assert!(refused("{{ messages | nothing }}").contains("nothing"));
    assert!(refused("{% include 'passwords' %}").contains("include"));
    assert!(refused("{{ messages[7].content.strip() }}").contains("undefined"));
    assert!(matches!(Template::from_gguf(&Metadata::default()), Err(Error::Template { .. })));
}

#[test]
fn template_that_does_not_end_is_ended() {
    for source in [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}",
        "{% set ns = namespace(x='x') %}{% for i in range(90) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
        "{% for i in range(99999) %}{{ 'x' * 100000 }}{% endfor %}",
        "{{ 'x' * 100000000000 }}",
        "{% set l = [1, 2] * 100000 %}{% for a in l %}{% for b in l %}{{ l | length }}{% endfor %}{% endfor %}",
    ] {
        refused(source);
    }
    let nested = format!("{{{{ {}1{} }}}}", "(".repeat(10_000), ")".repeat(10_000));
    refused(&nested);
    refused(&"{% if true %}".repeat(10_000));
}

#[test]
fn template_takes_long_conversations() {
    let messages: Vec<Message> =
        (0..2000).map(|i| Message::new(if i % 2 == 0 { "user" } else { "assistant" }, "word ".repeat(1000))).collect();
    let source = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'].strip() | trim }}\n{% endfor %}";
    let text = Template::from_source(source, None, None).unwrap().render(&messages, false).unwrap();
    assert!(text.len() > 2000 * 4999);
}
