//! Conversations.

use super::admit::{REPLAY, admit};
use super::decode::Decode;
use super::marks::Marks;
use super::options::Generation;
use super::prompt::answer_ids;
use super::results::{Finish, Piece, Timing, Usage};
use crate::backend::Backend;
use crate::chat::{Inputs, Message};
use crate::error::Result;
use crate::parts::{Answer, Splitter, ToolChoice};
use crate::session::{Buffered, Session};

/// A conversation, in the form that the model was trained on, and the session that has read it.
///
/// Each turn reads only what the session has not read yet. Where the context is full, the oldest turns are forgotten. A turn
/// that fails, is cancelled or is dropped half-way leaves the conversation as it was.
pub struct Chat<B: Backend> {
    messages: Vec<Message>,
    inputs: Inputs,
    choice: ToolChoice,
    text: Buffered<B>,
}

/// The answer to a message, in pieces.
pub struct Reply<'a, B: Backend> {
    chat: &'a mut Chat<B>,
    decode: Decode,
    /// The conversation without this turn; `None` once the turn is a part of it.
    before: Option<Vec<Message>>,
    /// `None` for a model that writes neither reasoning nor calls.
    splitter: Option<Splitter>,
    answer: Answer,
    /// Tokens of reasoning that are left, if they are bounded.
    budget: Option<u64>,
    forgotten: usize,
}

impl From<&str> for Message {
    /// A message of the user.
    fn from(text: &str) -> Self {
        Message::new("user", text)
    }
}

impl From<String> for Message {
    /// A message of the user.
    fn from(text: String) -> Self {
        Message::new("user", text)
    }
}

impl<B: Backend> Chat<B> {
    /// Begins a conversation in a session.
    ///
    /// # Errors
    /// `Template` or `Tokenizer` if the model has none.
    pub fn new(session: Session<B>) -> Result<Self> {
        session.model().template()?;
        session.model().tokenizer()?;
        Ok(Self {
            messages: Vec::new(),
            inputs: Inputs::prompt(),
            choice: ToolChoice::Auto,
            text: Buffered::new(session),
        })
    }

    /// Takes `messages` in the place of the conversation: a system message, or turns of an earlier one.
    pub fn set_messages(&mut self, messages: impl Into<Vec<Message>>) {
        self.messages = messages.into();
    }

    /// Sets what the template gets besides the messages: its variables, and functions that the model may call.
    pub fn set_inputs(&mut self, inputs: Inputs) {
        self.inputs = inputs;
    }

    /// Sets what the model may and must do with the tools of its [inputs](Self::set_inputs).
    pub fn set_tool_choice(&mut self, choice: ToolChoice) {
        self.choice = choice;
    }

    /// The turns so far.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// The session, which has read what it has read of the conversation.
    pub fn session(&self) -> &Buffered<B> {
        &self.text
    }

    /// Begins to answer a message: a user's text, or a [`Message`] of any role.
    ///
    /// # Errors
    /// As [`answer`](Self::answer).
    pub fn send(&mut self, message: impl Into<Message>, options: &Generation) -> Result<Reply<'_, B>> {
        self.answer([message.into()], options)
    }

    /// Begins to answer several messages, such as the results of tools.
    ///
    /// # Errors
    /// `ContextFull` for messages that do not fit even by themselves; `Constraint` for a choice of tools that can't be met;
    /// as [`Decode::new`]. Then the conversation is as it was.
    pub fn answer(
        &mut self,
        messages: impl IntoIterator<Item = Message>,
        options: &Generation,
    ) -> Result<Reply<'_, B>> {
        let before = self.messages.clone();
        self.messages.extend(messages);
        match self.begin(options) {
            Ok((decode, splitter, forgotten)) => {
                let (answer, budget) = (Answer::default(), options.reasoning_budget);
                Ok(Reply { chat: self, decode, before: Some(before), splitter, answer, budget, forgotten })
            }
            Err(error) => {
                self.messages = before;
                Err(error)
            }
        }
    }

    fn begin(&mut self, options: &Generation) -> Result<(Decode, Option<Splitter>, usize)> {
        admit("a conversation", options, &[REPLAY])?;
        let context = self.text.session().context();
        // An answer gets a quarter of the context, or what was asked if that is less.
        let room = u64::from(context / 4).min(options.max_tokens);
        let inputs = Marks::inputs(&self.inputs, &self.choice);
        let (mut ids, mut forgotten) = (self.ids(&inputs)?, 0);
        while ids.len() as u64 + room > context.into() && self.forget_oldest() {
            forgotten += 1;
            ids = self.ids(&inputs)?;
        }
        let model = &**self.text.session().model();
        let marks = Marks::find(model, &inputs)?;
        let splitter = marks.splitter(model, &inputs, &ids)?;
        let options = marks.options(model, options, &inputs, &self.choice, splitter.as_ref())?;
        self.text.set_tokens(&ids)?;
        Ok((Decode::new(&mut self.text, &options)?, splitter, forgotten))
    }

    fn ids(&self, inputs: &Inputs) -> Result<Vec<u32>> {
        answer_ids(self.text.session().model(), &self.messages, inputs)
    }

    /// Forgets the oldest turn, from one message of the user to the next, if there are two. What the model was told before
    /// the conversation stays.
    fn forget_oldest(&mut self) -> bool {
        let told = self.messages.iter().take_while(|m| m.role() == "system" || m.role() == "developer").count();
        let next = self.messages.iter().skip(told + 1).position(|m| m.role() == "user");
        if let Some(next) = next {
            self.messages.drain(told..told + 1 + next);
        }
        next.is_some()
    }
}

impl<B: Backend> Reply<'_, B> {
    /// Generates the next piece; `None` behind the end. See [`Decode::step`]. Its text is that of the answer alone: reasoning
    /// and calls are among its parts.
    ///
    /// # Errors
    /// As [`Decode::step`].
    pub async fn step(&mut self) -> Result<Option<Piece>> {
        let reasons = self.splitter.as_ref().is_some_and(Splitter::is_reasoning);
        // A constraint can't go back behind the tokens of a draft, which may itself begin to reason.
        self.decode.set_horizon(self.budget.filter(|_| reasons || self.decode.is_constrained()));
        let piece = self.decode.step(&mut self.chat.text).await?;
        let piece = self.parted(piece)?;
        let ended = self.decode.finish().is_some_and(|finish| *finish != Finish::Cancelled);
        if ended && self.before.take().is_some() {
            // States that were kept here make the next turn's rollback exact.
            self.chat.text.session_mut().checkpoint();
            self.chat.messages.push(self.answer.message());
        }
        Ok(piece)
    }

    /// A piece with its parts.
    fn parted(&mut self, piece: Option<Piece>) -> Result<Option<Piece>> {
        let Some(splitter) = &mut self.splitter else {
            if let Some(piece) = &piece {
                self.answer.text.push_str(&piece.text);
            }
            return Ok(piece);
        };
        let (text, token) = piece.map(|piece| (piece.text, piece.token)).unwrap_or_default();
        let mut parts = splitter.push(&text);
        if self.decode.finish().is_some() {
            parts.extend(splitter.finish());
        } else if splitter.is_reasoning()
            && token.is_some()
            && let Some(left) = &mut self.budget
        {
            *left = left.saturating_sub(1);
            if *left == 0
                && let Some(end) = splitter.end_of_reasoning()
            {
                self.budget = None;
                // A constraint is on what follows the mark.
                let end = if self.decode.is_constrained() { end.trim_end() } else { &end };
                let ids = self.chat.text.session().model().tokenizer()?.encode(end, false)?;
                self.decode.force(&mut self.chat.text, &ids)?;
            }
        }
        let said: Answer = parts.iter().collect();
        parts.iter().for_each(|part| self.answer.add(part));
        let nothing = token.is_none() && parts.is_empty();
        Ok((!nothing).then_some(Piece { text: said.text, token, parts }))
    }

    /// Generates to the end and returns the whole reply.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub async fn text(&mut self) -> Result<String> {
        while self.step().await?.is_some() {}
        Ok(self.answer.text.clone())
    }

    /// The answer so far: text, reasoning and calls.
    pub fn answer(&self) -> &Answer {
        &self.answer
    }

    /// Why the reply ended, once it has.
    pub fn finish(&self) -> Option<&Finish> {
        self.decode.finish()
    }

    /// Tokens so far. Those of the prompt are the whole conversation.
    pub fn usage(&self) -> Usage {
        self.decode.usage()
    }

    /// The times up to now.
    pub fn timing(&self) -> Timing {
        self.decode.timing()
    }

    /// Number of the oldest turns that no longer fit.
    pub fn forgotten(&self) -> usize {
        self.forgotten
    }
}

impl<B: Backend> Drop for Reply<'_, B> {
    fn drop(&mut self) {
        if let Some(before) = self.before.take() {
            self.chat.messages = before;
        }
    }
}

/// Generates piece by piece and blocks this thread meanwhile.
#[cfg(not(target_arch = "wasm32"))]
impl<B: Backend> Iterator for Reply<'_, B> {
    type Item = Result<Piece>;

    fn next(&mut self) -> Option<Self::Item> {
        pollster::block_on(self.step()).transpose()
    }
}
