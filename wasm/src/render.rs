//! Conversations as a model's template writes them.

use foveate_core::chat::{DateTime, Inputs, Message, Template};
use foveate_core::{Error, Result};

/// The time of day here.
fn now() -> Option<DateTime> {
    let now = js_sys::Date::new_0();
    let day = DateTime::new(now.get_full_year() as i32, now.get_month() as u8 + 1, now.get_date() as u8)?;
    day.at(now.get_hours() as u8, now.get_minutes() as u8, now.get_seconds() as u8)
}

/// Writes a conversation, JSON of `[{role, content, ..}]`, by a template. `inputs` is JSON of [`Inputs`].
pub(crate) fn render(template: &Template, messages: &str, inputs: &str) -> Result<String> {
    let wrong = |e| Error::Template { reason: format!("messages: {e}") };
    let messages: Vec<Message> = serde_json::from_str(messages).map_err(wrong)?;
    let inputs = Inputs::from_json(inputs)?;
    let template = match now() {
        Some(now) => template.clone().with_now(now),
        None => template.clone(),
    };
    template.render_with(&messages, &inputs)
}
