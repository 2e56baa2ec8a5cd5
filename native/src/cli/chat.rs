//! `foveate chat`, and the conversation of `foveate run`

use super::interrupt::{self, Answering};
use super::{Kv, ModelArguments, SamplingArguments, print, progress, summary};
use clap::Args;
use foveate::chat::Inputs;
use foveate::generate::{Chat, Reply};
use foveate::model::Model;
use foveate::session::Session;
use foveate::{Any, Cancel, Error, Finish, Generation, Message, Result, RuntimeError};
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
    #[command(flatten)]
    settings: Settings,
}

/// Settings of a conversation, of any model.
#[derive(Args)]
pub(super) struct Settings {
    /// The system message.
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// A variable of the model's chat template, such as enable_thinking=false: JSON, or else a string. Repeatable.
    #[arg(long, value_name = "NAME=VALUE")]
    template_var: Vec<String>,
    /// A file with a JSON list of functions that the model may call, for its chat template.
    #[arg(long, value_name = "FILE")]
    tools: Option<PathBuf>,
    /// Maximum number of tokens of an answer.
    #[arg(long, value_name = "N", default_value_t = 1024)]
    max_tokens: u64,
    #[command(flatten)]
    sampling: SamplingArguments,
    /// Stop before this text. Repeatable.
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
    /// Continue after tokens that end an answer, and print them.
    #[arg(long)]
    ignore_eos: bool,
    /// Context length in tokens; the oldest turns beyond it are dropped [default: 4096, or the model's maximum].
    #[arg(long, value_name = "N")]
    context: Option<u32>,
    /// Format of cached keys and values.
    #[arg(long, value_enum, default_value = "f32")]
    kv: Kv,
    /// Print one JSON object for each answer.
    #[arg(long)]
    json: bool,
}

impl Settings {
    /// The options of each turn, if they are within their ranges.
    pub(super) fn options(&self) -> Result<Generation> {
        let options = Generation::new().max_tokens(self.max_tokens).stop(&self.stop);
        self.sampling.apply(options.ignore_eos(self.ignore_eos).show_special(self.ignore_eos))
    }

    /// Returns the template's inputs other than the messages.
    pub(super) fn inputs(&self) -> Result<Inputs> {
        let mut inputs = Inputs::prompt();
        for variable in &self.template_var {
            let wrong = |_| Error::Usage { reason: format!("--template-var must be NAME=VALUE, got {variable:?}") };
            inputs.set(variable).map_err(wrong)?;
        }
        if let Some(path) = &self.tools {
            let wrong = |reason: String| Error::File { path: path.display().to_string(), reason };
            let bytes = std::fs::read(path).map_err(|e| wrong(e.to_string()))?;
            let tools = serde_json::from_slice(&bytes);
            inputs.tools = Some(tools.map_err(|e| wrong(format!("--tools must name a JSON list of functions: {e}")))?);
        }
        Ok(inputs)
    }

    /// The options with the model's own settings, and with the way to draft tokens.
    pub(super) fn of_model(&self, options: Generation, model: &Arc<Model<Any>>) -> Result<Generation> {
        self.sampling.drafting(self.sampling.of_model(options, model), model, self.tokens(model)?)
    }

    /// Tokens of a conversation at most.
    fn tokens(&self, model: &Model<Any>) -> Result<u32> {
        let most = model.config().context;
        let context = self.context.unwrap_or(most.min(CONTEXT));
        if (1..=most).contains(&context) {
            return Ok(context);
        }
        Err(Error::Usage { reason: format!("--context must be 1 to {most} for this model, got {context}") })
    }

    pub(super) fn json(&self) -> bool {
        self.json
    }

    /// A session with room for a conversation, its kernels compiled.
    pub(super) fn session(&self, model: &Arc<Model<Any>>) -> Result<Session<Any>> {
        let session = Session::with_format(model.clone(), self.tokens(model)?, self.kv.format())?;
        progress::prepare(&session)?;
        Ok(session)
    }

    pub(super) fn chat(&self, model: &Arc<Model<Any>>) -> Result<Chat<Any>> {
        model.template()?;
        let mut chat = Chat::new(self.session(model)?)?;
        chat.set_inputs(self.inputs()?);
        chat.set_messages(Vec::from_iter(self.system.iter().map(|text| Message::new("system", text.clone()))));
        Ok(chat)
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let options = arguments.settings.options()?;
    arguments.settings.inputs()?;
    let model = arguments.model.load()?;
    let options = arguments.settings.of_model(options, &model)?;
    converse(arguments.settings.chat(&model)?, &arguments.settings, &options)?;
    Ok(ExitCode::SUCCESS)
}

/// Answers line after line of standard input.
pub(super) fn converse(mut chat: Chat<Any>, settings: &Settings, options: &Generation) -> Result<()> {
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
        let question = match line.trim() {
            "" => continue,
            "/exit" => break,
            question => question,
        };
        match turn(&mut chat, question, settings.json, options) {
            // The next question may fit where this one did not.
            Err(error @ Error::Core(RuntimeError::ContextFull { .. })) if asks => eprintln!("error: {error}"),
            turn => drop(turn?),
        }
    }
    Ok(())
}

/// Answers one message and returns why the answer ended.
pub(super) fn turn(chat: &mut Chat<Any>, question: &str, json: bool, options: &Generation) -> Result<Finish> {
    // A new one for each turn: the last one may be cancelled.
    let options = options.clone().cancel(Cancel::default());
    let _answering = Answering::begin(&options.cancel);
    let mut reply = chat.send(question, &options)?;
    if reply.forgotten() > 0 {
        eprintln!("({} of the oldest turns no longer fit the context and were forgotten)", reply.forgotten());
    }
    let (mut ids, mut text) = (Vec::new(), String::new());
    for piece in reply.by_ref() {
        let piece = piece?;
        ids.extend(piece.token.map(|token| token.id));
        if !json {
            print(&piece.text)?;
        }
        text.push_str(&piece.text);
    }
    tell(&reply, ids, &text, json)
}

fn tell(reply: &Reply<'_, Any>, mut ids: Vec<u32>, text: &str, json: bool) -> Result<Finish> {
    let (usage, finish) = (reply.usage(), reply.finish().cloned().unwrap_or(Finish::MaxTokens));
    if let Finish::EndOfText { token } = finish {
        ids.push(token);
    }
    if json {
        let json = serde_json::json!({
            "text": text, "ids": ids, "stop": finish.name(), "reused": usage.cached_tokens,
            "read": usage.prompt_tokens - usage.cached_tokens,
        });
        print(&format!("{json}\n"))?;
    } else if finish == Finish::Cancelled {
        print(" ...\n")?;
        eprintln!("(stopped: the conversation goes on as if you had not asked)");
    } else {
        print("\n")?;
        if std::io::stderr().is_terminal() {
            eprintln!("{}", summary(usage, reply.timing(), &finish));
        }
    }
    Ok(finish)
}
