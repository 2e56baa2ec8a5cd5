use super::{drawn, files, model, tiny};
use foveate_core::chat::{Inputs, Message, Template};
use foveate_core::constrain::Constraint;
use foveate_core::coprocessor::Cancel;
use foveate_core::generate::{Chat, DraftModel, Finish, Generation, Speculation};
use foveate_core::host::HostBackend;
use foveate_core::model::{Files, Model};
use foveate_core::parts::ToolChoice;
use foveate_core::session::Session;
use foveate_core::{Any, Error};
use serde_json::json;
use std::sync::Arc;

fn chat(context: u32) -> Chat<Any> {
    Chat::new(Session::new(model(), context).expect("room")).expect("a template")
}

#[test]
fn chat_reads_only_what_is_new() {
    let mut chat = chat(800);
    chat.set_messages([Message::new("system", "be brief")]);
    let mut first = chat.send("the king and the thing", &drawn()).expect("room");
    let said = pollster::block_on(first.text()).expect("it runs");
    let usage = first.usage();
    assert_eq!((usage.cached_tokens, first.finish()), (0, Some(&Finish::MaxTokens)));
    drop(first);
    assert_eq!(chat.messages().last(), Some(&Message::new("assistant", said)));
    let second = chat.send("and?", &drawn()).expect("room");
    // The first turn stands in the cache.
    assert!(second.usage().cached_tokens >= usage.prompt_tokens, "{:?}", second.usage());
    drop(second);
    assert_eq!(chat.messages().len(), 3);
}

#[test]
fn chat_is_what_a_new_session_says_to_the_same_messages() {
    let mut talk = chat(800);
    for question in ["the king", "and?"] {
        pollster::block_on(talk.send(question, &drawn()).expect("room").text()).expect("it runs");
    }
    let mut fresh = chat(800);
    fresh.set_messages(&talk.messages()[..2]);
    let again = pollster::block_on(fresh.send("and?", &drawn()).expect("room").text()).expect("it runs");
    assert_eq!(talk.messages()[3], Message::new("assistant", again));
}

#[test]
fn turn_that_does_not_end_leaves_the_conversation_as_it_was() {
    let mut chat = chat(400);
    pollster::block_on(chat.send("the king", &drawn().max_tokens(4)).expect("room").text()).expect("it runs");
    let before = chat.messages().to_vec();
    // Dropped.
    let mut reply = chat.send("and?", &drawn()).expect("room");
    assert!(reply.next().is_some_and(|piece| piece.is_ok()));
    drop(reply);
    assert_eq!(chat.messages(), before);
    // Cancelled.
    let cancel = Cancel::default();
    let mut reply = chat.send("and?", &drawn().cancel(cancel.clone())).expect("room");
    assert!(reply.next().is_some());
    cancel.cancel();
    assert!(reply.by_ref().all(|piece| piece.is_ok()) && reply.finish() == Some(&Finish::Cancelled));
    drop(reply);
    assert_eq!(chat.messages(), before);
    // Too long, even alone.
    let long = chat.send("x".repeat(500), &drawn()).err();
    assert!(matches!(long, Some(Error::ContextFull { context: 400, .. })), "{long:?}");
    assert_eq!(chat.messages(), before);
    // And it goes on.
    pollster::block_on(chat.send("and?", &drawn().max_tokens(4)).expect("room").text()).expect("it runs");
    assert_eq!(chat.messages().len(), 4);
}

#[test]
fn chat_forgets_its_oldest_turns() {
    let mut chat = chat(200);
    chat.set_messages([Message::new("system", "be brief")]);
    let mut forgotten = 0;
    for turn in 0..8 {
        let question = format!("{turn} {}", "q".repeat(40));
        let mut reply = chat.send(question.as_str(), &drawn().max_tokens(8)).expect("room for the last turn");
        forgotten += reply.forgotten();
        pollster::block_on(reply.text()).expect("it runs");
    }
    assert!(forgotten > 0);
    assert_eq!(chat.messages()[0], Message::new("system", "be brief"));
    assert_eq!(chat.messages().len(), 1 + 2 * (8 - forgotten));
    assert!(chat.messages().last().is_some_and(|m| m.role() == "assistant"));
}

/// A conversation of the same model in another form.
fn chat_by(template: &str) -> Chat<Any> {
    let template = Template::from_source(template, None, Some("</s>")).expect("a template");
    let files = Files { template: Some(template), ..files() };
    let mut report = |_| Ok(());
    let model = Model::load(Any::Host(HostBackend::cpu(1)), files, &mut report);
    let model = Arc::new(pollster::block_on(model).expect("it loads"));
    Chat::new(Session::new(model, 1500).expect("room")).expect("a template")
}

#[test]
fn chat_calls_the_tool_that_it_must_call_and_takes_the_result() {
    let mut chat = chat_by(
        "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}{% for call in message.tool_calls or [] %}\
         <tool_call>{{ call.function | tojson }}</tool_call>{% endfor %}{{ eos_token }}{% endfor %}<|assistant|>",
    );
    let parameters = json!({"type": "object", "properties": {"a": {"enum": ["the", "and"]}}, "required": ["a"],
        "additionalProperties": false});
    let tool = |name: &str| json!({"type": "function", "function": {"name": name, "parameters": parameters}});
    chat.set_inputs(Inputs::prompt().tools(Some(vec![tool("f"), tool("g")])));
    chat.set_tool_choice(ToolChoice::Named("missing".into()));
    let error = chat.send("the king", &drawn()).err();
    assert!(
        matches!(&error, Some(Error::Constraint { what: "tools", reason }) if reason.contains("f, g")),
        "{error:?}"
    );
    chat.set_tool_choice(ToolChoice::Named("g".into()));
    let mut reply = chat.send("the king", &drawn().max_tokens(370)).expect("room");
    assert_eq!(pollster::block_on(reply.text()).as_deref(), Ok(""));
    assert_eq!(reply.finish(), Some(&Finish::Complete), "{:?}", reply.answer());
    let [call] = &reply.answer().calls[..] else { panic!("{:?}", reply.answer()) };
    assert!(call.name == "g" && jsonschema::is_valid(&parameters, &call.value()), "{call:?}");
    let result = call.result("sunny");
    drop(reply);
    let said = chat.messages().last().and_then(|message| message.get("tool_calls")).expect("calls");
    assert_eq!(said[0]["function"]["name"], "g");
    chat.set_tool_choice(ToolChoice::None);
    pollster::block_on(chat.answer([result], &drawn().max_tokens(4)).expect("room").text()).expect("it runs");
    assert_eq!(
        chat.messages().iter().map(Message::role).collect::<Vec<_>>(),
        ["user", "assistant", "tool", "assistant"]
    );
}

/// A template whose answers begin within reasoning.
const THINKING: &str = "{% set end = '</think>' %}{% for message in messages %}<|{{ message.role }}|>{{ message.content }}\
                        {{ eos_token }}{% endfor %}<|assistant|><think>\n";

#[test]
fn drafts_leave_the_end_of_reasoning_where_it_is() {
    let constraint = Constraint::regex("[a-z ]{8,20}").expect("a pattern");
    let options = drawn().max_tokens(40).reasoning_budget(6);
    for options in [options.clone().constraint(constraint), options] {
        let said = |options: &Generation| {
            let mut chat = chat_by(THINKING);
            let mut reply = chat.send("the king", options).expect("room");
            pollster::block_on(reply.text()).expect("it runs");
            (reply.answer().text.clone(), reply.answer().reasoning.clone(), reply.finish().cloned())
        };
        let session = Session::new(model(), tiny::CONTEXT).expect("room");
        let own = DraftModel::new(session, &model()).expect("one vocabulary");
        assert_eq!(said(&options.clone().speculate(Speculation::with(own))), said(&options));
    }
}

#[test]
fn reasoning_ends_at_its_budget_and_the_constraint_follows() {
    let mut chat = chat_by(THINKING);
    let constraint = Constraint::choices(["yes", "no"]).expect("choices");
    let options = drawn().max_tokens(100).reasoning_budget(5).constraint(constraint);
    let mut reply = chat.send("the king", &options).expect("room");
    let text = pollster::block_on(reply.text()).expect("it runs");
    assert!(text == "yes" || text == "no", "{text}");
    assert_eq!(reply.finish(), Some(&Finish::Complete));
    let reasoning = reply.answer().reasoning.clone();
    assert!((1..=5 * 4).contains(&reasoning.chars().count()), "{reasoning:?}");
    drop(reply);
    let last = chat.messages().last().expect("an answer");
    assert_eq!(last.get("reasoning_content"), Some(&json!(reasoning)));
    // Without a constraint, the answer goes on behind the mark.
    let mut reply = chat.send("and?", &drawn().max_tokens(40).reasoning_budget(5)).expect("room");
    pollster::block_on(reply.text()).expect("it runs");
    assert!(!reply.answer().text.is_empty() && !reply.answer().reasoning.contains("think"), "{:?}", reply.answer());
}
