//! Errors of the core as errors of JavaScript.

use foveate_core::{Error, kernels};
use js_sys::Reflect;
use wasm_bindgen::prelude::*;

/// The word by which a program tells errors apart; `FoveateErrorCode` in web/src/error.ts lists them.
fn code(error: &Error) -> &'static str {
    match error {
        Error::Kernel(kernels::error::Error::Limit { .. }) => "limit",
        Error::Kernel(kernels::error::Error::Unsupported { .. }) => "unsupported",
        Error::Kernel(_)
        | Error::Config { .. }
        | Error::OutOfRange { .. }
        | Error::Setting { .. }
        | Error::Constraint { .. } => "config",
        Error::Read { .. } => "read",
        Error::Format { .. } => "format",
        Error::MissingTensor { .. } => "missing-tensor",
        Error::UnusedTensors { .. } => "unused-tensors",
        Error::TensorShape { .. } => "tensor-shape",
        Error::UnsupportedTensorType { .. } => "unsupported-tensor-type",
        Error::UnsupportedArchitecture { .. } => "unsupported-architecture",
        Error::Tokenizer { .. } => "tokenizer",
        Error::Template { .. } => "template",
        Error::Device { .. } => "device",
        Error::OutOfMemory { .. } | Error::OutOfPages { .. } => "out-of-memory",
        Error::ContextFull { .. } => "context-full",
        Error::NotFinite { .. } => "not-finite",
        Error::EmptyPrompt => "empty-prompt",
        Error::Rollback { .. } | Error::NoSuchVersion { .. } => "rollback",
        Error::WrongBase { .. } | Error::CacheMismatch { .. } => "mismatch",
        Error::Cancelled => "cancelled",
        _ => "failed",
    }
}

/// The message of an error: settings go by their names in JavaScript, `topP` for `top-p`.
fn told(error: &Error) -> String {
    let text = error.to_string();
    let Error::OutOfRange { setting, .. } = error else { return text };
    let mut words = setting.split('-');
    let mut name = words.next().unwrap_or_default().to_owned();
    for word in words {
        let (first, rest) = word.split_at(word.len().min(1));
        name += &first.to_ascii_uppercase();
        name += rest;
    }
    name + &text[setting.len()..]
}

/// An `Error` with its message, and a `code`.
pub(crate) fn thrown(error: Error) -> JsValue {
    let value = JsValue::from(js_sys::Error::new(&told(&error)));
    // Setting a property of an object that was made just now cannot fail.
    let _ = Reflect::set(&value, &"code".into(), &code(&error).into());
    value
}

/// Converts a value that JavaScript threw while it read a file.
pub(crate) fn caught(what: &str, value: &JsValue) -> Error {
    let property = |name: &str| Reflect::get(value, &name.into()).ok().and_then(|v| v.as_string());
    let cancelled =
        property("code").as_deref() == Some("cancelled") || property("name").as_deref() == Some("AbortError");
    if cancelled {
        return Error::Cancelled;
    }
    Error::Read { what: what.into(), reason: message(value) }
}

/// The message of a value that JavaScript threw.
pub(crate) fn message(value: &JsValue) -> String {
    let property = Reflect::get(value, &"message".into()).ok().and_then(|v| v.as_string());
    property.or_else(|| value.as_string()).unwrap_or_else(|| "it gave no reason".into())
}
