//! `foveate chat`

use super::generate::{Answer, Rules, Stop, answer};
use super::{Kv, ModelArguments, SamplingArguments, interrupt, print, progress};
use clap::Args;
use foveate::core::Any;
use foveate::core::chat::{Inputs, Message};
use foveate::core::model::Model;
use foveate::core::sample::Sampler;
use foveate::core::session::{Session, To};
use foveate::{Error, Result};
use std::io::{BufRead, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// Tokens of a conversation where none are asked for: its cache is allocated at once.
const CONTEXT: u32 = 4096;

#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// What the model is told before the conversation.
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// A variable of the model's chat template, such as enable_thinking=false: JSON, or else a string. Repeatable.
    #[arg(long, value_name = "NAME=VALUE")]
    template_var: Vec<String>,
    /// A file with a JSON list of functions that the model may call, for its chat template.
    #[arg(long, value_name = "FILE")]
    tools: Option<PathBuf>,
    /// Tokens of an answer at most.
    #[arg(long, value_name = "N", default_value_t = 1024)]
    max_tokens: u64,
    #[command(flatten)]
    sampling: SamplingArguments,
    /// Tokens of the conversation; beyond them its oldest turns are forgotten [default: 4096, or what the model was
    /// made for].
    #[arg(long, value_name = "N")]
    context: Option<u32>,
    /// How keys and values are kept.
    #[arg(long, value_enum, default_value = "f32")]
    kv: Kv,
    /// Print one JSON object for each answer.
    #[arg(long)]
    json: bool,
}

/// The turns so far and the session that has read them.
struct Conversation {
    messages: Vec<Message>,
    inputs: Inputs,
    session: Session<Any>,
    sampler: Sampler,
    rules: Rules,
}

/// What a turn cost.
struct Turn {
    answer: Answer,
    /// Tokens of the conversation that the session had in its cache, and that it had to read.
    reused: usize,
    read: usize,
    /// Turns that no longer fit.
    forgotten: usize,
}

impl Conversation {
    fn new(model: &Arc<Model<Any>>, arguments: &Arguments) -> Result<Self> {
        model.template()?;
        let most = model.config().context;
        let context = arguments.context.unwrap_or(most.min(CONTEXT));
        if !(1..=most).contains(&context) {
            return Err(Error::Usage {
                reason: format!("--context must be 1 to {most} for this model, got {context}"),
            });
        }
        let system = arguments.system.iter().map(|text| Message::new("system", text.clone()));
        Ok(Self {
            messages: system.collect(),
            inputs: inputs(arguments)?,
            session: Session::stored(model.clone(), context, arguments.kv.format())?,
            sampler: arguments.sampling.sampler()?,
            rules: Rules { max_tokens: arguments.max_tokens, stops: model.end_tokens().to_vec(), show_special: false },
        })
    }

    /// The conversation as the model expects it.
    fn ids(&self) -> Result<Vec<u32>> {
        let model = self.session.model();
        let text = model.template()?.render_with(&self.messages, &self.inputs)?;
        Ok(model.tokenizer()?.encode(&text, false)?)
    }

    /// Answers `question`. A turn that fails is as if it had not been asked.
    fn turn(&mut self, question: &str, show: &mut dyn FnMut(&str) -> Result<()>) -> Result<Turn> {
        let before = self.messages.clone();
        let turn = self.ask(question, show);
        if turn.is_err() {
            self.messages = before;
        }
        turn
    }

    fn ask(&mut self, question: &str, show: &mut dyn FnMut(&str) -> Result<()>) -> Result<Turn> {
        self.messages.push(Message::new("user", question));
        let mut ids = self.ids()?;
        // An answer gets a quarter of the context, or what was asked if that is less.
        let context = self.session.context();
        let room = (context / 4).min(u32::try_from(self.rules.max_tokens).unwrap_or(u32::MAX));
        let mut forgotten = 0;
        while ids.len() as u64 + u64::from(room) > context.into() {
            let system = usize::from(self.messages.first().is_some_and(|m| m.role() == "system"));
            if self.messages.len() < system + 3 {
                break;
            }
            self.messages.drain(system..system + 2);
            forgotten += 1;
            ids = self.ids()?;
        }
        // What stands there already need not be read again, but for the last token: the next one follows from it.
        let reused = self.session.best_prefix(&ids[..ids.len().saturating_sub(1)]).len;
        self.session.rollback(To::Len(reused))?;
        let reused = reused as usize;
        let answer = answer(&mut self.session, &ids[reused..], &mut self.sampler, &self.rules, None, show)?;
        self.session.checkpoint();
        self.messages.push(Message::new("assistant", answer.text.clone()));
        Ok(Turn { answer, reused, read: ids.len() - reused, forgotten })
    }
}

/// What the template gets besides the messages.
fn inputs(arguments: &Arguments) -> Result<Inputs> {
    let mut inputs = Inputs::prompt();
    for variable in &arguments.template_var {
        inputs
            .set(variable)
            .map_err(|_| Error::Usage { reason: format!("--template-var must be NAME=VALUE, got {variable:?}") })?;
    }
    if let Some(path) = &arguments.tools {
        let wrong = |reason: String| Error::File { path: path.display().to_string(), reason };
        let bytes = std::fs::read(path).map_err(|e| wrong(e.to_string()))?;
        let tools = serde_json::from_slice(&bytes);
        inputs.tools = Some(tools.map_err(|e| wrong(format!("--tools must name a JSON list of functions: {e}")))?);
    }
    Ok(inputs)
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    arguments.sampling.sampler()?;
    inputs(arguments)?;
    let model = arguments.model.load()?;
    let mut conversation = Conversation::new(&model, arguments)?;
    progress::prepare(&conversation.session)?;
    interrupt::watch();
    let asks = std::io::stdin().is_terminal();
    if asks {
        eprintln!("Ctrl-C stops an answer; /exit, or Ctrl-C here, ends the conversation.");
    }
    let mut lines = std::io::stdin().lock().lines();
    loop {
        if asks {
            print("> ")?;
        }
        let Some(line) = lines.next() else { break };
        let line = line.map_err(|e| Error::File { path: "standard input".into(), reason: e.to_string() })?;
        match line.trim() {
            "" => continue,
            "/exit" => break,
            question => turn(&mut conversation, question, arguments.json, asks)?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn turn(conversation: &mut Conversation, question: &str, json: bool, asks: bool) -> Result<()> {
    let mut show = |piece: &str| if json { Ok(()) } else { print(piece) };
    let turn = match conversation.turn(question, &mut show) {
        // The next question may fit where this one did not.
        Err(error @ Error::Core(foveate::core::Error::ContextFull { .. })) if asks => {
            eprintln!("error: {error}");
            return Ok(());
        }
        turn => turn?,
    };
    if turn.forgotten > 0 {
        eprintln!("({} of the oldest turns no longer fit the context and were forgotten)", turn.forgotten);
    }
    if json {
        let json = serde_json::json!({
            "text": turn.answer.text, "ids": turn.answer.ids, "stop": turn.answer.stop.name(),
            "reused": turn.reused, "read": turn.read,
        });
        return print(&format!("{json}\n"));
    }
    print(if turn.answer.stop == Stop::Interrupted { " ...\n" } else { "\n" })
}
