//! `foveate run`

use super::chat::{self, Settings};
use super::interrupt::{self, Answering};
use super::{DeviceArguments, LoraArguments, code, print};
use clap::Args;
use foveate::generate::Generator;
use foveate::session::{Buffered, Session};
use foveate::{Any, Error, Finish, Generation, Prompt, Result, catalogue, wait};
use std::ffi::OsStr;
use std::io::IsTerminal;
use std::process::ExitCode;

#[derive(Args)]
pub(super) struct Arguments {
    /// A .gguf file, a folder with config.json and safetensors, a hub id (org/repo), or a name that `pull` knows
    /// [default: smollm2-135m]. A single argument that is none of these is the prompt.
    #[arg(value_name = "MODEL")]
    first: Option<String>,
    /// The prompt. Without one, standard input is the prompt; on a terminal, a conversation begins.
    #[arg(value_name = "PROMPT")]
    second: Option<String>,
    /// The model; the only argument is then the prompt.
    #[arg(long, value_name = "PATH|NAME", conflicts_with = "second")]
    model: Option<String>,
    #[command(flatten)]
    lora: LoraArguments,
    #[command(flatten)]
    device: DeviceArguments,
    #[command(flatten)]
    settings: Settings,
}

impl Arguments {
    /// The model, and the prompt if there is one.
    fn model_and_prompt(&self) -> (&str, Option<&str>) {
        let first = self.first.as_deref();
        match (&self.model, first, &self.second) {
            (Some(model), prompt, _) => (model, prompt),
            (None, Some(model), Some(prompt)) => (model, Some(prompt)),
            (None, Some(model), None) if foveate::is_model(model) => (model, None),
            (None, prompt, _) => (catalogue::DEFAULT, prompt),
        }
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let options = arguments.settings.options()?;
    arguments.settings.inputs()?;
    let (name, given) = arguments.model_and_prompt();
    if given == Some("") {
        let reason = "the prompt is empty: give a text in quotes, or none at all for a conversation".into();
        return Err(Error::Usage { reason });
    }
    let prompt = match given {
        Some(prompt) => Some(prompt.to_owned()),
        None if std::io::stdin().is_terminal() => None,
        None => Some(super::piped()?),
    };
    let model = super::load_for(&options, OsStr::new(name), &arguments.lora, arguments.device)?;
    if prompt.as_deref() == Some("") {
        let reason = "standard input is empty: give a prompt in quotes, or start a conversation in a terminal".into();
        return Err(Error::Usage { reason });
    }
    let settings = &arguments.settings;
    let path = OsStr::new(name);
    match prompt {
        None => {
            let (chat, options) = settings.chat(&model, path, options)?;
            chat::converse(chat, settings, &options)?;
            Ok(ExitCode::SUCCESS)
        }
        Some(prompt) if model.template().is_ok() => {
            let (mut chat, options) = settings.chat(&model, path, options)?;
            interrupt::watch();
            let (finish, _) = chat::turn(&mut chat, vec![prompt.into()], settings, &options)?;
            Ok(code(&finish))
        }
        Some(prompt) => {
            eprintln!("note: the model has no chat template; the prompt is continued as a text");
            let (session, options) = settings.session(&model, path, options)?;
            continue_text(session, prompt, settings, &options)
        }
    }
}

/// Continues a text with a model that was not made for conversations.
fn continue_text(session: Session<Any>, prompt: String, settings: &Settings, options: &Generation) -> Result<ExitCode> {
    let mut text = Buffered::new(session);
    let ids = Prompt::Text(prompt).ids(text.session().model())?;
    text.append(&ids)?;
    interrupt::watch();
    let _answering = Answering::begin(&options.cancel);
    let mut generator = Generator::new(text, options)?;
    let (mut ids, mut text) = (Vec::new(), String::new());
    while let Some(piece) = wait(generator.step())? {
        ids.extend(piece.token.map(|token| token.id));
        if !settings.json() {
            print(&piece.text)?;
        }
        text.push_str(&piece.text);
    }
    let finish = generator.finish().cloned().unwrap_or(Finish::MaxTokens);
    print(&match settings.json() {
        true => format!("{}\n", serde_json::json!({"text": text, "ids": ids, "stop": finish.name()})),
        false => "\n".into(),
    })?;
    Ok(code(&finish))
}

#[cfg(test)]
mod tests {
    use crate::cli::{Cli, Command};
    use clap::Parser;

    #[track_caller]
    fn understood(arguments: &[&str], model: &str, prompt: Option<&str>) {
        let cli = Cli::try_parse_from([&["foveate", "run"], arguments].concat()).expect("arguments");
        let Command::Run(arguments) = cli.command else { panic!("another command") };
        assert_eq!(arguments.model_and_prompt(), (model, prompt));
    }

    #[test]
    fn one_argument_is_the_model_if_it_names_one() {
        understood(&[], "smollm2-135m", None);
        understood(&["What is the capital of France?"], "smollm2-135m", Some("What is the capital of France?"));
        understood(&["gemma3-270m"], "gemma3-270m", None);
        understood(&["Qwen/Qwen3-0.6B"], "Qwen/Qwen3-0.6B", None);
        understood(&["Cargo.toml"], "Cargo.toml", None);
        understood(&["missing.GGUF"], "missing.GGUF", None);
        understood(&["./missing"], "./missing", None);
        understood(&["What is missing.gguf"], "smollm2-135m", Some("What is missing.gguf"));
        understood(&["no-such-model", "x"], "no-such-model", Some("x"));
        understood(&["and/or", "--model", "gemma3-270m"], "gemma3-270m", Some("and/or"));
    }
}
