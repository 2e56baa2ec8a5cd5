//! A conversation of two turns: `chat [MODEL]`.

use foveate::{Chat, Generation, Message, Model};
use std::io::Write;

/// Asks, and prints the reply as it comes.
fn ask(chat: &mut Chat, question: &str) -> foveate::Result<()> {
    println!("> {question}");
    let options = Generation::new().max_tokens(64).temperature(0.7).top_p(0.95).seed(1);
    let mut reply = chat.send(question, &options)?;
    for piece in reply.by_ref() {
        print!("{}", piece?);
        std::io::stdout().flush().map_err(foveate::Error::Output)?;
    }
    let (usage, finish) = (reply.usage(), reply.finish());
    println!("\n({} of {} prompt tokens cached; {finish:?})", usage.cached_tokens, usage.prompt_tokens);
    Ok(())
}

pub(crate) fn run(model: &str) -> foveate::Result<()> {
    let model = Model::open(model)?;
    let mut chat = model.chat()?;
    chat.set_messages([Message::new("system", "You answer in one sentence.")]);
    ask(&mut chat, "Who was Ada Lovelace?")?;
    // Reads only what is new: the first turn stands in the cache.
    ask(&mut chat, "When was she born?")
}

#[allow(dead_code)]
fn main() -> foveate::Result<()> {
    run(&std::env::args().nth(1).unwrap_or("smollm2-135m".into()))
}
