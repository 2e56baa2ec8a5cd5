//! `foveate chat`, and the conversation of `foveate run`

mod commands;
mod lines;

use super::constrain::ConstraintArguments;
use super::interrupt::{self, Answering};
use super::{Kv, ModelArguments, SamplingArguments, print, progress, summary};
use clap::{Args, ValueEnum};
use commands::Next;
use foveate::chat::{Inputs, Template};
use foveate::generate::{Chat, Reply};
use foveate::model::Model;
use foveate::parts::{Part, ToolCall, ToolChoice};
use foveate::session::Session;
use foveate::{Any, Cancel, Error, Finish, Generation, Message, Result, RuntimeError};
use lines::{Line, Lines};
use serde_json::Value;
use std::ffi::OsStr;
use std::io::IsTerminal;
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
    #[command(flatten)]
    template: TemplateArguments,
    /// What the model does with its tools: auto, strict (calls follow the tools' schemas), required, none, or the name of
    /// the one that it must call.
    #[arg(long, value_name = "CHOICE", default_value = "auto")]
    tool_choice: String,
    /// Maximum number of tokens of reasoning in an answer.
    #[arg(long, value_name = "N")]
    reasoning_budget: Option<u64>,
    #[command(flatten)]
    constraint: ConstraintArguments,
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
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    context: Option<u32>,
    /// Format of cached keys and values.
    #[arg(long, value_enum, default_value = "f32")]
    kv: Kv,
    /// Number of answers to each message, each with draws of its own; the conversation goes on with the first one.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = super::line::count::<u64>(1..=1024))]
    n: u64,
    /// Print one JSON object for each answer.
    #[arg(long)]
    json: bool,
}

/// Inputs of a chat template other than the messages.
#[derive(Args)]
pub(super) struct TemplateArguments {
    /// A variable of the model's chat template, such as enable_thinking=false: JSON, or else a string. Repeatable.
    #[arg(long, value_name = "NAME=VALUE")]
    template_var: Vec<String>,
    /// A file with a JSON list of functions that the model may call, for its chat template.
    #[arg(long, value_name = "FILE")]
    tools: Option<PathBuf>,
    /// Ask the model to think first, or not to, if its template knows of it.
    #[arg(long, value_enum)]
    thinking: Option<Switch>,
}

impl TemplateArguments {
    /// Returns whether any of them was given.
    pub(super) fn are_given(&self) -> bool {
        !self.template_var.is_empty() || self.tools.is_some() || self.thinking.is_some()
    }

    /// Returns the template's inputs other than the messages.
    pub(super) fn inputs(&self) -> Result<Inputs> {
        let mut inputs = Inputs::prompt();
        if let Some(thinking) = self.thinking {
            for name in THINKING {
                inputs.variables.insert(name.into(), (thinking == Switch::On).into());
            }
        }
        for variable in &self.template_var {
            let wrong = |_| Error::Usage { reason: format!("--template-var must be NAME=VALUE, got {variable:?}") };
            inputs.set(variable).map_err(wrong)?;
        }
        if let Some(path) = &self.tools {
            let text = super::read_of("--tools", path)?;
            let wrong = |why: String| {
                let reason = format!("--tools must name a file with a JSON list of functions: {why}");
                Error::File { path: path.display().to_string(), reason }
            };
            let tools: Value = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
            let Value::Array(tools) = tools else { return Err(wrong("it is no list".into())) };
            inputs.tools = Some(tools);
        }
        Ok(inputs)
    }

    /// Says which of the flags the template does not read.
    pub(super) fn note_unread(&self, template: &Template, inputs: &Inputs) {
        let reads = |name: &str| template.reads(name, inputs);
        if self.thinking.is_some() && !THINKING.iter().any(|name| reads(name)) {
            let [a, b] = THINKING;
            eprintln!("note: --thinking changes nothing: the model's chat template reads neither {a} nor {b}");
        }
        if self.tools.is_some() && !reads("tools") {
            eprintln!("note: --tools changes nothing in the prompt: the model's chat template reads no tools");
        }
        let names = self.template_var.iter().filter_map(|variable| variable.split_once('='));
        for (name, _) in names.filter(|(name, _)| !reads(name.trim())) {
            eprintln!(
                "note: --template-var {} changes nothing: the model's chat template does not read it",
                name.trim()
            );
        }
    }
}

/// Names by which templates know whether to think: each uses one of them.
const THINKING: [&str; 2] = ["enable_thinking", "thinking"];

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Switch {
    On,
    Off,
}

impl Settings {
    /// The options of each turn, if they are within their ranges.
    pub(super) fn options(&self) -> Result<Generation> {
        let options = Generation::new().max_tokens(self.max_tokens).stop(&self.stop);
        let options = options.constraint(self.constraint.constraint()?);
        let options = match self.reasoning_budget {
            Some(tokens) => options.reasoning_budget(tokens),
            None => options,
        };
        self.sampling.apply(options.ignore_eos(self.ignore_eos).show_special(self.ignore_eos))
    }

    /// Returns the template's inputs other than the messages.
    pub(super) fn inputs(&self) -> Result<Inputs> {
        self.template.inputs()
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

    fn tool_choice(&self) -> ToolChoice {
        match self.tool_choice.as_str() {
            "auto" => ToolChoice::Auto,
            "strict" => ToolChoice::Strict,
            "required" => ToolChoice::Required,
            "none" => ToolChoice::None,
            name => ToolChoice::Named(name.into()),
        }
    }

    pub(super) fn json(&self) -> bool {
        self.json
    }

    /// A session with room for a conversation, its kernels compiled, and the options of its turns: with the own settings of
    /// the model, which is at `path`, and with the way to draft tokens.
    pub(super) fn session(
        &self,
        model: &Arc<Model<Any>>,
        path: &OsStr,
        options: Generation,
    ) -> Result<(Session<Any>, Generation)> {
        let mut session = Session::with_format(model.clone(), self.tokens(model)?, self.kv.format())?;
        progress::prepare(&session)?;
        let options = self.sampling.of_model(options, model);
        self.sampling.note_unused(&options);
        let options = self.sampling.drafting(options, &mut session, path)?;
        Ok((session, options))
    }

    /// A conversation, and the options of its turns; see [`session`](Self::session).
    pub(super) fn chat(
        &self,
        model: &Arc<Model<Any>>,
        path: &OsStr,
        options: Generation,
    ) -> Result<(Chat<Any>, Generation)> {
        let inputs = self.inputs()?;
        self.template.note_unread(model.template()?, &inputs);
        let (session, options) = self.session(model, path, options)?;
        let mut chat = Chat::new(session)?;
        chat.set_inputs(inputs);
        chat.set_tool_choice(self.tool_choice());
        chat.set_messages(Vec::from_iter(self.system.iter().map(|text| Message::new("system", text.clone()))));
        Ok((chat, options))
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let options = arguments.settings.options()?;
    arguments.settings.inputs()?;
    let model = arguments.model.load_for(&options)?;
    let (chat, options) = arguments.settings.chat(&model, &arguments.model.model, options)?;
    converse(chat, &arguments.settings, &options)?;
    Ok(ExitCode::SUCCESS)
}

/// Answers line after line of standard input. Behind an answer that calls tools, the next lines are their results, one each.
pub(super) fn converse(mut chat: Chat<Any>, settings: &Settings, options: &Generation) -> Result<()> {
    interrupt::watch();
    let mut lines = Lines::open()?;
    let is_terminal = lines.is_terminal();
    if is_terminal {
        eprintln!("/help lists commands; Ctrl-C stops an answer, Ctrl-D ends the conversation.");
    }
    let mut options = options.clone();
    let (mut calls, mut results) = (Vec::<ToolCall>::new(), Vec::new());
    loop {
        let call = calls.get(results.len());
        let line = match lines.next(&call.map_or("> ".into(), |call| format!("result of {}> ", call.name)))? {
            Line::Text(line) => line,
            // Ctrl-C drops the results, and the next line is a message.
            Line::Interrupted if call.is_some() => {
                (calls, results) = (Vec::new(), Vec::new());
                continue;
            }
            Line::Interrupted => {
                eprintln!("(/exit or Ctrl-D ends the conversation)");
                continue;
            }
            Line::End => break,
        };
        let next = match call {
            Some(call) if line.trim() != "/exit" => {
                results.push(call.result(line.trim()));
                if results.len() < calls.len() {
                    continue;
                }
                Ok(Next::Answer(std::mem::take(&mut results)))
            }
            _ => commands::follow(&line, &mut chat, &mut options, is_terminal),
        };
        let messages = match next {
            Ok(Next::Exit) => break,
            Ok(Next::Message(text)) if text.is_empty() => continue,
            Ok(Next::Message(text)) => vec![Message::from(text)],
            Ok(Next::Answer(messages)) => messages,
            Ok(Next::Done(text)) => {
                eprint!("{text}");
                continue;
            }
            Err(error) if is_terminal => {
                eprintln!("error: {error}");
                continue;
            }
            Err(error) => return Err(error),
        };
        match turn(&mut chat, messages, settings, &options) {
            // The next question may fit where this one did not.
            Err(error @ Error::Core(RuntimeError::ContextFull { .. })) if is_terminal => eprintln!("error: {error}"),
            turn => calls = turn?.1,
        }
    }
    Ok(())
}

/// Answers messages `--n` times. Returns why the first answer ended, and the tools that it calls.
pub(super) fn turn(
    chat: &mut Chat<Any>,
    messages: Vec<Message>,
    settings: &Settings,
    options: &Generation,
) -> Result<(Finish, Vec<ToolCall>)> {
    if settings.n == 1 {
        return answer(chat, messages, settings.json, options);
    }
    let before = chat.messages().to_vec();
    let first = answer(chat, messages.clone(), settings.json, options)?;
    let after = chat.messages().to_vec();
    for sequence in 1..settings.n {
        chat.set_messages(before.clone());
        let (finish, _) = answer(chat, messages.clone(), settings.json, &options.clone().sequence(sequence))?;
        if finish == Finish::Cancelled {
            break;
        }
    }
    chat.set_messages(after);
    Ok(first)
}

fn answer(
    chat: &mut Chat<Any>,
    messages: Vec<Message>,
    json: bool,
    options: &Generation,
) -> Result<(Finish, Vec<ToolCall>)> {
    // A new one for each turn: the last one may be cancelled.
    let options = options.clone().cancel(Cancel::default());
    let _answering = Answering::begin(&options.cancel);
    let mut reply = chat.answer(messages, &options)?;
    if reply.forgotten() > 0 {
        eprintln!("({} of the oldest turns no longer fit the context and were forgotten)", reply.forgotten());
    }
    let thinks = !json && std::io::stderr().is_terminal();
    let mut ids = Vec::new();
    for piece in reply.by_ref() {
        let piece = piece?;
        ids.extend(piece.token.map(|token| token.id));
        for part in piece.parts.iter().filter(|_| thinks) {
            if let Part::Reasoning(text) = part {
                eprint!("{text}");
            }
        }
        if !json {
            print(&piece.text)?;
        }
    }
    tell(&reply, ids, json)
}

fn tell(reply: &Reply<'_, Any>, mut ids: Vec<u32>, json: bool) -> Result<(Finish, Vec<ToolCall>)> {
    let (usage, finish) = (reply.usage(), reply.finish().cloned().unwrap_or(Finish::MaxTokens));
    let answer = reply.answer();
    if let Finish::EndOfText { token } = finish {
        ids.push(token);
    }
    let calls = answer.calls.iter().map(|call| {
        serde_json::json!({"id": call.id, "name": call.name, "arguments": call.value()}) //
    });
    if json {
        let mut json = serde_json::json!({
            "text": answer.text, "ids": ids, "stop": finish.name(), "reused": usage.cached_tokens,
            "read": usage.prompt_tokens - usage.cached_tokens,
        });
        if !answer.reasoning.is_empty() {
            json["reasoning"] = answer.reasoning.as_str().into();
        }
        if !answer.calls.is_empty() {
            json["tool_calls"] = calls.collect();
        }
        print(&format!("{json}\n"))?;
    } else if finish == Finish::Cancelled {
        print(" ...\n")?;
        eprintln!("(stopped: the conversation goes on as if you had not asked)");
    } else {
        let mut lines: Vec<String> = calls.map(|call| call.to_string()).collect();
        if lines.is_empty() || !answer.text.is_empty() {
            lines.insert(0, String::new());
        }
        print(&format!("{}\n", lines.join("\n")))?;
        for reason in &answer.broken {
            eprintln!("note: {reason}");
        }
        if std::io::stderr().is_terminal() {
            eprintln!("{}", summary(usage, reply.timing(), &finish));
        }
    }
    Ok((finish, answer.calls.clone()))
}
