//! `/v1/completions` and `/v1/chat/completions`.

use super::choices::{Choices, Receipt};
use super::error::{Failure, Result};
use super::fields::{Fields, Unsupported, short};
use super::hosted::Loaded;
use super::render::{Frame, Shape};
use super::settings::{OF_TEMPLATES, Settings, UNSUPPORTED};
use super::stream::{self, Chunks};
use super::{App, User, blocking, respond};
use crate::serve::Request;
use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::Response;
use foveate_core::chat::{Inputs, Message};
use foveate_core::generate::{Exchange, Generation, Prompt};
use foveate_core::parts::{Splitter, ToolChoice};
use serde_json::Value;
use std::sync::Arc;
use std::time::Instant;

/// Tokens of a completion where no maximum is given, as OpenAI has it.
const TOKENS: u64 = 16;

type Body = Result<Bytes, BytesRejection>;

pub(super) async fn completions(
    State(app): State<App>,
    Extension(user): Extension<User>,
    body: Body,
) -> Result<Response> {
    let fields = Fields::read(body)?;
    let of_chats: Unsupported =
        &[("tools", &["[]"]), ("tool_choice", &["\"none\"", "\"auto\""]), ("reasoning_effort", &["\"none\""])];
    fields.check("Completion", &[UNSUPPORTED, of_chats])?;
    let loaded = app.loaded(fields.string("model")?).await?;
    loaded.engine()?;
    let logprobs = fields.integer("logprobs", 0, app.limits.top_logprobs)?.map(|count| count as usize);
    let vocab = loaded.model.config().vocab;
    let settings = Settings::read(&fields, TOKENS, app.limits.choices, vocab)?.with_logprobs(logprobs);
    let settings = settings.with_best_of(&fields, app.limits.choices)?;
    let prompts = prompts(&fields, app.limits.choices as usize / settings.candidates)?;
    let echo = match fields.boolean("echo")? {
        true if settings.logprobs.is_some() => {
            let message =
                "echo and logprobs exclude each other, since probabilities of prompts are not given: leave one out";
            return Err(Failure::field("echo", message));
        }
        true => prompts.iter().map(|prompt| spelled(&loaded, prompt)).collect::<Result<_>>()?,
        false => Vec::new(),
    };
    let choices = submit(&app, &user, &loaded, prompts, &settings).await?;
    let frame = Frame::new(Shape::Text, loaded, settings.logprobs.is_some(), None);
    answer(frame.with_prompts(settings.candidates, echo), choices, &settings).await
}

pub(super) async fn chat(State(app): State<App>, Extension(user): Extension<User>, body: Body) -> Result<Response> {
    let fields = Fields::read(body)?;
    fields.check("Chat", &[UNSUPPORTED, OF_TEMPLATES, &[("best_of", &["1"]), ("echo", &["false"])]])?;
    let Begun { loaded, settings, choices, splitter } = begin(&app, &user, &fields, app.limits.choices).await?;
    let frame = Frame::new(Shape::Chat, loaded, settings.logprobs.is_some(), splitter);
    answer(frame.with_prompts(settings.candidates, Vec::new()), choices, &settings).await
}

/// A chat whose answers are queued.
pub(super) struct Begun {
    pub(super) loaded: Arc<Loaded>,
    pub(super) settings: Settings,
    pub(super) choices: Choices,
    pub(super) splitter: Option<Splitter>,
}

/// Reads a chat's request and queues its answers, `most_choices` at most.
pub(super) async fn begin(app: &App, user: &User, fields: &Fields, most_choices: u64) -> Result<Begun> {
    let loaded = app.loaded(fields.string("model")?).await?;
    let logprobs = chat_logprobs(fields, app.limits.top_logprobs)?;
    let (context, vocab) = (loaded.engine()?.context().into(), loaded.model.config().vocab);
    let mut settings = Settings::read(fields, context, most_choices, vocab)?.with_logprobs(logprobs);
    let (prompt, splitter) = Conversation::read(fields)?.begin(&loaded, &mut settings).await?;
    let choices = submit(app, user, &loaded, vec![prompt], &settings).await?;
    Ok(Begun { loaded, settings, choices, splitter })
}

/// The number of likeliest tokens whose log-probabilities a chat gives; `None` if it gives no log-probabilities.
fn chat_logprobs(fields: &Fields, most: u64) -> Result<Option<usize>> {
    match (fields.boolean("logprobs")?, fields.integer("top_logprobs", 0, most)?) {
        (false, Some(1..)) => Err(Failure::field("top_logprobs", "top_logprobs needs logprobs to be true")),
        (wanted, top) => Ok(wanted.then(|| top.unwrap_or(0) as usize)),
    }
}

/// Queues the answers to each prompt.
async fn submit(app: &App, user: &User, loaded: &Loaded, prompts: Vec<Prompt>, settings: &Settings) -> Result<Choices> {
    user.entry.set("model", loaded.name.as_str());
    let told = settings.told(prompts.len());
    let steered = if settings.steers() { told } else { 0 };
    if steered > 0 {
        app.guard.steer(&user.name, steered, Instant::now())?;
    }
    let options: Vec<Generation> = (0..settings.candidates).map(|index| settings.choice(index)).collect();
    let (engine, name, deadline) = (loaded.engine()?.clone(), user.name.clone(), app.limits.deadline);
    let queue = move || {
        let mut answers = Vec::new();
        for prompt in prompts {
            // A text is split into tokens once for all its answers.
            let prompt = Prompt::Ids(prompt.ids(engine.model())?);
            for options in &options {
                let request = Request::new(prompt.clone(), options.clone()).user(name.clone());
                answers.push(engine.submit(match deadline {
                    Some(deadline) => request.timeout(deadline),
                    None => request,
                })?);
            }
        }
        Ok::<_, Failure>(answers)
    };
    let queued = blocking(queue).await.flatten();
    let answers = queued.inspect_err(|_| app.guard.give_back(&user.name, steered, Instant::now()))?;
    app.counts.logprobs.add(told);
    app.counts.steered_logprobs.add(steered);
    let receipt = Receipt { guard: app.guard.clone(), user: user.name.clone(), entry: user.entry.clone() };
    Ok(Choices::new(answers, settings.candidates, receipt))
}

async fn answer(frame: Frame, choices: Choices, settings: &Settings) -> Result<Response> {
    match settings.stream {
        true => {
            let chunks = Chunks::new(frame, &choices, settings.usage);
            Ok(stream::response(chunks, choices))
        }
        false => Ok(respond(&frame.whole(choices, settings.choices).await?)),
    }
}

/// The text of a prompt.
fn spelled(loaded: &Loaded, prompt: &Prompt) -> Result<String> {
    match prompt {
        Prompt::Text(text) => Ok(text.clone()),
        Prompt::Ids(ids) => Ok(loaded.model.tokenizer()?.decode(ids, false)?),
        _ => Ok(String::new()),
    }
}

/// The prompts of a completion: a text, ids, or a list of either.
fn prompts(fields: &Fields, most: usize) -> Result<Vec<Prompt>> {
    let wrong = |got: &str| {
        Failure::field(
            "prompt",
            format!("prompt must be a string, a list of tokens, or a list of at most {most} of these, got {got}"),
        )
    };
    let ids = |items: &[Value]| -> Option<Prompt> {
        let id = |item: &Value| item.as_u64().and_then(|id| u32::try_from(id).ok());
        items.iter().map(id).collect::<Option<Vec<u32>>>().map(Prompt::Ids)
    };
    let one = |value: &Value| match value {
        Value::String(text) => Some(Prompt::Text(text.clone())),
        Value::Array(items) => ids(items),
        _ => None,
    };
    let value = fields.get("prompt").ok_or_else(|| wrong("nothing"))?;
    if let Some(prompt) = one(value) {
        return Ok(vec![prompt]);
    }
    let several = value.as_array().filter(|items| items.len() <= most);
    let several = several.and_then(|items| items.iter().map(one).collect::<Option<Vec<Prompt>>>());
    several.filter(|prompts| !prompts.is_empty()).ok_or_else(|| wrong(&short(value)))
}

/// The messages of a chat, and the other inputs of its template.
pub(super) struct Conversation {
    messages: Vec<Message>,
    inputs: Inputs,
    choice: ToolChoice,
    /// The field `reasoning_effort`.
    effort: Option<String>,
}

/// Values of `reasoning_effort`.
const EFFORTS: [&str; 6] = ["none", "minimal", "low", "medium", "high", "xhigh"];

/// Variables by which templates turn reasoning on and off.
const THINKING: [&str; 2] = ["enable_thinking", "thinking"];

/// Roles that a template may be asked for.
const ROLES: [&str; 5] = ["system", "developer", "user", "assistant", "tool"];

impl Conversation {
    pub(super) fn read(fields: &Fields) -> Result<Self> {
        let wrong = |reason: String| Failure::field("messages", reason);
        let given = fields.list("messages")?.filter(|messages| !messages.is_empty());
        let given = given.ok_or_else(|| wrong("messages must be a list of at least one message".into()))?;
        let messages = given.iter().enumerate().map(|(at, message)| read(at, message)).collect::<Result<_>>()?;
        let mut inputs = Inputs::prompt();
        if let Some(variables) = fields.object("chat_template_kwargs")? {
            inputs.variables = variables.clone();
        }
        inputs.tools = tools(fields)?;
        let choice = choice(fields, inputs.tools.as_deref().unwrap_or_default())?;
        let effort = fields.string("reasoning_effort")?.map(str::to_owned);
        if effort.as_deref().is_some_and(|effort| !EFFORTS.contains(&effort)) {
            let message = format!("reasoning_effort must be one of {}", EFFORTS.join(", "));
            return Err(Failure::field("reasoning_effort", message));
        }
        Ok(Self { messages, inputs, choice, effort })
    }

    /// Renders the conversation, and adds the constraints of its tools to `settings`. Returns the prompt, and the splitter of
    /// the answer.
    pub(super) async fn begin(
        mut self,
        loaded: &Arc<Loaded>,
        settings: &mut Settings,
    ) -> Result<(Prompt, Option<Splitter>)> {
        let (loaded, given) = (loaded.clone(), settings.options.clone());
        let exchange = move || -> Result<Exchange> {
            self.set_effort(&loaded.model)?;
            Ok(Exchange::new(&loaded.model, &self.messages, &self.inputs, &self.choice, &given)?)
        };
        let Exchange { prompt, options, splitter } = blocking(exchange).await??;
        settings.options = options;
        Ok((Prompt::Ids(prompt), splitter))
    }

    /// Sets the template's variables of reasoning, except those that the request sets itself.
    fn set_effort(&mut self, model: &crate::Model) -> Result<()> {
        let Some(effort) = &self.effort else { return Ok(()) };
        let source = model.template()?.source(&self.inputs);
        let values = THINKING.map(|name| (name, Value::from(effort != "none")));
        let all = values.into_iter().chain([("reasoning_effort", Value::from(effort.as_str()))]);
        let known: Vec<_> = all.filter(|(name, _)| source.contains(name)).collect();
        if known.is_empty() && effort != "none" {
            let message = "reasoning_effort is not supported: the template of this model knows no reasoning";
            return Err(Failure::field("reasoning_effort", message).coded("unsupported_parameter"));
        }
        for (name, value) in known {
            self.inputs.variables.entry(name).or_insert(value);
        }
        Ok(())
    }

    /// The tokens of the conversation, up to where the answer begins: those that a chat of the same fields reads.
    pub(super) fn tokens(mut self, model: &crate::Model) -> Result<Vec<u32>> {
        self.set_effort(model)?;
        Ok(Exchange::new(model, &self.messages, &self.inputs, &self.choice, &Generation::new())?.prompt)
    }
}

/// The functions that the model may call; none for an empty list.
fn tools(fields: &Fields) -> Result<Option<Vec<Value>>> {
    let Some(tools) = fields.list("tools")?.filter(|tools| !tools.is_empty()) else { return Ok(None) };
    let named = |tool: &Value| {
        tool["type"] == "function" && tool["function"]["name"].as_str().is_some_and(|name| !name.is_empty())
    };
    match tools.iter().position(|tool| !named(tool)) {
        Some(at) => {
            let message = format!("tools[{at}] must have the type function, and a function with a name");
            Err(Failure::field("tools", message))
        }
        None => Ok(Some(tools.to_vec())),
    }
}

/// What the model may and must do with its tools. Calls follow the schemas if every tool says that it is strict.
fn choice(fields: &Fields, tools: &[Value]) -> Result<ToolChoice> {
    let strict = !tools.is_empty() && tools.iter().all(|tool| tool["function"]["strict"] == true);
    let wrong = || {
        let message = "tool_choice must be none, auto, required, or name a function of tools";
        Failure::field("tool_choice", message)
    };
    match fields.get("tool_choice") {
        None => Ok(if strict { ToolChoice::Strict } else { ToolChoice::Auto }),
        Some(Value::String(word)) => match word.as_str() {
            "auto" if strict => Ok(ToolChoice::Strict),
            "auto" => Ok(ToolChoice::Auto),
            "none" => Ok(ToolChoice::None),
            "required" if !tools.is_empty() => Ok(ToolChoice::Required),
            _ => Err(wrong()),
        },
        Some(named) => {
            let name = named["function"]["name"].as_str();
            let known = name.filter(|name| tools.iter().any(|tool| tool["function"]["name"] == *name));
            known.map(|name| ToolChoice::Named(name.into())).ok_or_else(wrong)
        }
    }
}

/// Arguments of earlier calls are text in OpenAI's form, and objects for templates.
fn read_calls(message: &mut Value) {
    for call in message.get_mut("tool_calls").and_then(Value::as_array_mut).into_iter().flatten() {
        let Some(arguments) = call.get_mut("function").and_then(|function| function.get_mut("arguments")) else {
            continue;
        };
        let object = arguments.as_str().and_then(|text| serde_json::from_str(text).ok()).filter(Value::is_object);
        if let Some(object) = object {
            *arguments = object;
        }
    }
}

/// A message, whose parts of text are joined: most templates know plain text only.
fn read(at: usize, message: &Value) -> Result<Message> {
    let wrong =
        |what: &str, got: &Value| Failure::field("messages", format!("messages[{at}]{what}, got {}", short(got)));
    let role = message.get("role").and_then(Value::as_str);
    if !role.is_some_and(|role| ROLES.contains(&role)) {
        return Err(wrong(&format!(" must have a role, one of {}", ROLES.join(", ")), message));
    }
    let mut message = message.clone();
    if role == Some("developer") {
        message["role"] = "system".into();
    }
    read_calls(&mut message);
    match message.get("content") {
        None | Some(Value::Null) if role == Some("assistant") => message["content"] = "".into(),
        Some(Value::String(_)) => {}
        Some(Value::Array(parts)) => {
            let text = |part: &Value| match part.get("type").and_then(Value::as_str) {
                Some("text" | "input_text" | "output_text") => {
                    part.get("text").and_then(Value::as_str).map(str::to_owned)
                }
                _ => None,
            };
            let texts = parts.iter().map(text).collect::<Option<Vec<String>>>();
            let texts = texts.ok_or_else(|| wrong(".content must consist of parts of text", &message["content"]))?;
            message["content"] = texts.concat().into();
        }
        _ => return Err(wrong(".content must be a string or a list of parts of text", &message)),
    }
    Ok(Message::from_json(message)?)
}
