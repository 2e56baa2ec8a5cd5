use foveate_core::Error;
use foveate_core::chat::{Date, Message, Template};
use foveate_core::weights::gguf::Metadata;

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
fn template_knows_the_date_it_is_given() {
    let source = "{{ strftime_now('%d %b %Y, %-m') if strftime_now is defined else 'no date' }}";
    let template = Template::from_source(source, None, None).unwrap();
    assert_eq!(template.render(&[], false).unwrap(), "no date");
    let date = Date::new(2026, 3, 9).unwrap();
    assert!(template.with_date(date).render(&[], false).is_err());
    let template = Template::from_source("{{ strftime_now('%d %b %Y %B %F %%') }}", None, None).unwrap();
    assert_eq!(template.with_date(date).render(&[], false).unwrap(), "09 Mar 2026 March 2026-03-09 %");
    for (year, month, day) in [(2026, 0, 1), (2026, 13, 1), (2026, 1, 0), (2026, 1, 32), (-1, 1, 1)] {
        assert_eq!(Date::new(year, month, day), None);
    }
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
