//! `/v1/completions` and `/v1/chat/completions`.

use super::choices::Choices;
use super::error::{Failure, Result};
use super::fields::{Fields, short};
use super::render::{Frame, Shape};
use super::settings::Settings;
use super::stream;
use super::{App, Hosted, User, blocking, respond};
use crate::serve::{Engine, Request};
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

/// Tokens of a completion where no maximum is given, as OpenAI has it.
const TOKENS: u64 = 16;

type Body = Result<Bytes, BytesRejection>;

pub(super) async fn completions(
    State(app): State<App>,
    Extension(user): Extension<User>,
    body: Body,
) -> Result<Response> {
    let fields = Fields::read(body)?;
    let hosted = app.hosted(fields.string("model")?)?;
    let engine = hosted.engine()?.clone();
    let most = app.limits.top_logprobs;
    let logprobs = fields.integer("logprobs", 0, most)?.map(|count| count as usize);
    let vocab = hosted.model.config().vocab;
    let settings = Settings::read(&fields, TOKENS, app.limits.choices, vocab)?.with_logprobs(logprobs)?;
    fields.refuse(&[("tools", &["[]"]), ("tool_choice", &["\"none\"", "\"auto\""])])?;
    let prompts = prompts(&fields, app.limits.choices as usize / settings.choices)?;
    answer((Shape::Text, None), hosted, engine, prompts, settings, user).await
}

pub(super) async fn chat(State(app): State<App>, Extension(user): Extension<User>, body: Body) -> Result<Response> {
    let fields = Fields::read(body)?;
    let hosted = app.hosted(fields.string("model")?)?;
    let engine = hosted.engine()?.clone();
    let top = fields.integer("top_logprobs", 0, app.limits.top_logprobs)?;
    let logprobs = match (fields.boolean("logprobs")?, top) {
        (false, Some(1..)) => return Err(Failure::field("top_logprobs", "top_logprobs needs logprobs to be true")),
        (wanted, top) => wanted.then(|| top.unwrap_or(0) as usize),
    };
    let (context, vocab) = (engine.context().into(), hosted.model.config().vocab);
    let mut settings = Settings::read(&fields, context, app.limits.choices, vocab)?.with_logprobs(logprobs)?;
    let conversation = Conversation::read(&fields)?;
    let (model, options) = (hosted.model.clone(), settings.options.clone());
    let exchange = blocking(move || conversation.exchange(&model, &options)).await??;
    settings.options = exchange.options;
    let prompts = vec![Prompt::Ids(exchange.prompt)];
    answer((Shape::Chat, exchange.splitter), hosted, engine, prompts, settings, user).await
}

/// Queues the choices for each prompt and answers with all of them.
async fn answer(
    (shape, splitter): (Shape, Option<Splitter>),
    hosted: Arc<Hosted>,
    engine: Engine,
    prompts: Vec<Prompt>,
    settings: Settings,
    User(user): User,
) -> Result<Response> {
    let (stream, usage, logprobs) = (settings.stream, settings.usage, settings.logprobs.is_some());
    let submit = move || {
        let mut answers = Vec::new();
        for prompt in prompts {
            for index in 0..settings.choices {
                let request = Request::new(prompt.clone(), settings.choice(index)).user(user.clone());
                answers.push(engine.submit(request)?);
            }
        }
        Ok::<_, Failure>(answers)
    };
    let answers = blocking(submit).await??;
    let count = answers.len();
    let frame = Frame::new(shape, &hosted.name, hosted.model.clone(), logprobs, splitter);
    let choices = Choices::new(answers);
    match stream {
        true => Ok(stream::response(frame, choices, count, usage)),
        false => Ok(respond(&frame.whole(choices, count).await?)),
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

/// The messages of a chat, and what its template is given besides.
pub(super) struct Conversation {
    messages: Vec<Message>,
    inputs: Inputs,
    choice: ToolChoice,
}

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
        Ok(Self { messages, inputs, choice })
    }

    /// The conversation with what its answer begins with.
    fn exchange(&self, model: &crate::Model, options: &Generation) -> Result<Exchange> {
        Ok(Exchange::new(model, &self.messages, &self.inputs, &self.choice, options)?)
    }

    /// The tokens of the conversation, up to where the answer begins.
    pub(super) fn prompt(&self, model: &crate::Model) -> Result<Prompt> {
        let text = model.template()?.render_with(&self.messages, &self.inputs)?;
        Ok(Prompt::Ids(model.tokenizer()?.encode(&text, false)?))
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
