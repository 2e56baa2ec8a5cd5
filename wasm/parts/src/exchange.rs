//! One answer of a conversation, split into text, reasoning and calls in the format of its model.

use crate::constraint;
use crate::error::thrown;
use crate::lexicon::JsLexicon;
use foveate_core::chat::Inputs;
use foveate_core::constrain::Constraint;
use foveate_core::generate::{Generation, Marks};
use foveate_core::parts::{Answer, Part, Splitter, ToolCall, ToolChoice};
use foveate_core::{Error, Result};
use serde_json::{Value, json};
use wasm_bindgen::prelude::*;

/// The answer to a conversation, which is split as it arrives.
#[wasm_bindgen]
pub struct Exchange {
    shown: Vec<u32>,
    /// `None` for a model that writes neither reasoning nor calls.
    splitter: Option<Splitter>,
    answer: Answer,
    pub(crate) constraint: Option<Constraint>,
}

/// Reads `auto`, `strict`, `none`, `required`, or the name of a function behind `name:`.
fn read_choice(choice: &str) -> Result<ToolChoice> {
    Ok(match (choice, choice.strip_prefix("name:")) {
        (_, Some(name)) => ToolChoice::Named(name.into()),
        ("auto", _) => ToolChoice::Auto,
        ("strict", _) => ToolChoice::Strict,
        ("none", _) => ToolChoice::None,
        ("required", _) => ToolChoice::Required,
        _ => {
            let reason = format!("toolChoice must be auto, strict, none, required or {{ name }}, got {choice:?}");
            return Err(Error::Setting { reason });
        }
    })
}

/// The inputs of a template under a choice of tools; both are JSON of [`Inputs`].
#[wasm_bindgen(js_name = templateInputs)]
pub fn template_inputs(inputs: &str, choice: &str) -> Result<String, JsValue> {
    let inputs = Inputs::from_json(inputs).and_then(|inputs| Ok(Marks::inputs(&inputs, &read_choice(choice)?)));
    inputs.map(|inputs| json!(inputs).to_string()).map_err(thrown)
}

#[wasm_bindgen]
impl Exchange {
    /// Detects from the template how a model writes reasoning and calls. `inputs` are those of [`template_inputs`];
    /// `prompt` is the conversation in tokens, up to where the answer begins.
    #[wasm_bindgen(constructor)]
    pub fn new(
        lexicon: &JsLexicon,
        inputs: &str,
        choice: &str,
        constraint: Option<String>,
        prompt: &[u32],
    ) -> Result<Exchange, JsValue> {
        Self::begin(lexicon, inputs, choice, constraint, prompt).map_err(thrown)
    }

    /// Control tokens whose spelling belongs to the text.
    #[wasm_bindgen(getter)]
    pub fn shown(&self) -> Vec<u32> {
        self.shown.clone()
    }

    /// True if a constraint is on the answer: its own, or that of a choice of tools.
    #[wasm_bindgen(getter, js_name = isConstrained)]
    pub fn is_constrained(&self) -> bool {
        self.constraint.is_some()
    }

    /// True within reasoning.
    #[wasm_bindgen(getter, js_name = isReasoning)]
    pub fn is_reasoning(&self) -> bool {
        self.splitter.as_ref().is_some_and(Splitter::is_reasoning)
    }

    /// The mark that ends reasoning, as the model would write it.
    #[wasm_bindgen(getter, js_name = endOfReasoning)]
    pub fn end_of_reasoning(&self) -> Option<String> {
        let end = self.splitter.as_ref()?.end_of_reasoning()?;
        // A constraint is on what follows the mark.
        Some(if self.is_constrained() { end.trim_end().into() } else { end })
    }

    /// Takes a piece of the answer. Returns the parts that are certain with it, as JSON of `AnswerPart` in
    /// web/src/methods.ts.
    pub fn push(&mut self, text: &str) -> String {
        let parts = match &mut self.splitter {
            Some(splitter) => splitter.push(text),
            None if text.is_empty() => Vec::new(),
            None => vec![Part::Text(text.into())],
        };
        self.add(&parts)
    }

    /// Returns the parts that were held back, where the answer ends, in the same form.
    pub fn finish(&mut self) -> String {
        let parts = self.splitter.as_mut().map(Splitter::finish).unwrap_or_default();
        self.add(&parts)
    }

    /// The answer so far as a message for the template, as JSON.
    pub fn message(&self) -> String {
        json!(self.answer.message()).to_string()
    }

    /// The calls so far, as JSON of `[{id, name, arguments}]`.
    pub fn calls(&self) -> String {
        let call = |call: &ToolCall| json!({"id": call.id, "name": call.name, "arguments": call.arguments});
        self.answer.calls.iter().map(call).collect::<Value>().to_string()
    }
}

impl Exchange {
    fn begin(
        lexicon: &JsLexicon,
        inputs: &str,
        choice: &str,
        constraint: Option<String>,
        prompt: &[u32],
    ) -> Result<Self> {
        let (inputs, choice) = (Inputs::from_json(inputs)?, read_choice(choice)?);
        let marks = Marks::find(lexicon, &inputs)?;
        if inputs.tools.is_some() && !marks.has_calls() {
            let reason = "the model's template does not say how tools are called: leave tools out".into();
            return Err(Error::Template { reason });
        }
        let splitter = marks.splitter(lexicon, &inputs, prompt)?;
        let options = Generation::new().constraint(constraint.as_deref().map(constraint::read).transpose()?);
        let options = marks.options(lexicon, &options, &inputs, &choice, splitter.as_ref())?;
        Ok(Self { shown: options.shown, splitter, answer: Answer::default(), constraint: options.constraint })
    }

    fn add(&mut self, parts: &[Part]) -> String {
        let parts = parts.iter().map(|part| {
            self.answer.add(part);
            match part {
                Part::Text(text) => json!({"type": "text", "text": text}),
                Part::Reasoning(text) => json!({"type": "reasoning", "text": text}),
                Part::Call { name, .. } => {
                    let id = self.answer.calls.last().map(|call| call.id.as_str());
                    json!({"type": "tool-call", "index": self.last_call(), "id": id, "name": name})
                }
                Part::Arguments(text) => json!({"type": "tool-arguments", "index": self.last_call(), "text": text}),
                Part::Broken { text, reason } => json!({"type": "broken", "text": text, "reason": reason}),
                _ => Value::Null,
            }
        });
        parts.filter(|part| !part.is_null()).collect::<Value>().to_string()
    }

    fn last_call(&self) -> usize {
        self.answer.calls.len().saturating_sub(1)
    }
}
