use super::{drawn, model};
use foveate_core::chat::Message;
use foveate_core::coprocessor::Cancel;
use foveate_core::generate::{Chat, Finish};
use foveate_core::session::Session;
use foveate_core::{Any, Error};

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
