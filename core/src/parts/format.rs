//! How families of models write calls and reasoning, as data.
//!
//! Sources: the chat templates of the models, and the vendors' descriptions of them.

use super::calls::Tools;
use super::head;
use super::{gemma, python, xml};

/// How a family of models writes the calls of tools.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Format {
    /// gpt-oss: messages in channels.
    Harmony,
    /// DeepSeek R1, V3 and V3.1.
    DeepSeek,
    /// DeepSeek V3.2: tags in DSML.
    Dsml,
    /// Gemma 4.
    Gemma4,
    /// FunctionGemma.
    FunctionGemma,
    /// Qwen3-Coder and Qwen3.5: a tag for each argument.
    Coder,
    /// GLM 4.5: keys and values in tags.
    Glm,
    /// Hermes, Qwen 2.5 and 3, and many others: JSON in `<tool_call>`.
    Hermes,
    /// Mistral and Ministral.
    Mistral,
    /// Kimi K2.
    Kimi,
    /// Phi-4-mini.
    Phi4,
    /// Functionary 3.2: `>>>name`, then JSON.
    Functionary,
    /// Functionary 3.1 and prompted Llama: `<function=name>`, then JSON.
    Function,
    /// Llama 3: bare JSON, `<|python_tag|>`, or a list of calls in Python.
    Llama3,
}

/// Marks around reasoning.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reasoning {
    /// The text in front of reasoning.
    pub begin: &'static str,
    /// The text behind reasoning.
    pub end: &'static str,
}

/// The mark that begins a call, and the notation that follows.
#[derive(Clone, Copy)]
pub(super) struct Opening {
    pub(super) text: &'static str,
    pub(super) body: Body,
    /// The mark that ends the call; empty if the call itself shows where it ends.
    pub(super) end: &'static str,
}

/// How a call goes on.
#[derive(Clone, Copy)]
pub(super) enum Body {
    /// Objects of JSON with a name and arguments, or lists of them. Something else is a head with the name, and then the
    /// arguments as an object; or calls in Python where there is no head.
    Calls(Option<Head>),
    /// A text that is read as a whole once its end is there.
    Whole(Convert),
    /// A head up to `<|message|>` that tells what follows.
    Message,
}

/// Reads the name of a call, and its id, out of what stands in front of the arguments.
pub(super) type Head = fn(&str) -> Option<(String, Option<String>)>;

/// Reads the names and arguments of calls.
pub(super) type Convert = fn(&str, &Tools) -> Option<Vec<(String, String)>>;

const fn opening(text: &'static str, body: Body, end: &'static str) -> Opening {
    Opening { text, body, end }
}

impl Format {
    /// Returns the marks that begin calls.
    pub(super) fn openings(self) -> &'static [Opening] {
        use Body::{Calls, Message, Whole};
        match self {
            Format::Harmony => const { &[opening("<|channel|>", Message, ""), opening("<|start|>", Message, "")] },
            Format::DeepSeek => {
                const { &[opening("<｜tool▁call▁begin｜>", Calls(Some(head::deepseek)), "<｜tool▁call▁end｜>")] }
            }
            Format::Dsml => {
                const {
                    &[
                        opening("<｜DSML｜function_calls>", Whole(xml::dsml), "</｜DSML｜function_calls>"),
                        opening("<｜DSML｜tool_calls>", Whole(xml::dsml), "</｜DSML｜tool_calls>"),
                    ]
                }
            }
            Format::Gemma4 => const { &[opening("<|tool_call>", Whole(gemma::gemma4), "<tool_call|>")] },
            Format::FunctionGemma => {
                const { &[opening("<start_function_call>", Whole(gemma::function_gemma), "<end_function_call>")] }
            }
            Format::Coder => {
                const {
                    &[
                        opening("<tool_call>", Whole(xml::coder), "</tool_call>"),
                        opening("<function=", Whole(xml::bare_coder), "</function>"),
                    ]
                }
            }
            Format::Glm => const { &[opening("<tool_call>", Whole(xml::glm), "</tool_call>")] },
            Format::Hermes => const { &[opening("<tool_call>", Calls(None), "</tool_call>")] },
            Format::Mistral => const { &[opening("[TOOL_CALLS]", Calls(Some(head::mistral)), "")] },
            Format::Kimi => const { &[opening("<|tool_call_begin|>", Calls(Some(head::kimi)), "<|tool_call_end|>")] },
            Format::Phi4 => const { &[opening("<|tool_call|>", Calls(None), "<|/tool_call|>")] },
            Format::Functionary => const { &[opening(">>>", Calls(Some(head::line)), "")] },
            Format::Function => const { &[opening("<function=", Calls(Some(head::angle)), "</function>")] },
            Format::Llama3 => {
                const {
                    &[
                        opening("<|python_tag|>", Calls(None), ""),
                        opening("<function=", Calls(Some(head::angle)), "</function>"),
                    ]
                }
            }
        }
    }

    /// Marks around and between calls that say nothing.
    pub(super) fn dropped(self) -> &'static [&'static str] {
        match self {
            Format::Harmony => &["<|end|>", "<|return|>", "<|call|>"],
            Format::DeepSeek => &["<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"],
            Format::Gemma4 => &["<|tool_response>"],
            Format::FunctionGemma => &["<start_function_response>"],
            Format::Kimi => &["<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"],
            Format::Functionary => &[">>>all\n"],
            _ => &[],
        }
    }

    /// Other marks within calls, which a stream of text must not leave out where they are control tokens.
    fn inner(self) -> &'static [&'static str] {
        match self {
            Format::Harmony => &["<|message|>", "<|constrain|>"],
            Format::DeepSeek => &["<｜tool▁sep｜>"],
            Format::Gemma4 => &["<|\"|>"],
            Format::FunctionGemma => &["<escape>"],
            Format::Mistral => &["[CALL_ID]", "[ARGS]"],
            Format::Kimi => &["<|tool_call_argument_begin|>"],
            _ => &[],
        }
    }

    /// The calls of an answer that begins with one, without a mark.
    pub(super) fn bare(self) -> Option<Body> {
        (self == Format::Llama3).then_some(Body::Calls(None))
    }

    /// Every mark of the format.
    pub(super) fn marks(self) -> impl Iterator<Item = &'static str> {
        let ends = self.openings().iter().flat_map(|opening| [opening.text, opening.end]);
        let inner = self.dropped().iter().chain(self.inner()).copied();
        ends.chain(inner).filter(|mark| !mark.is_empty())
    }

    /// Returns the mark of an answer that is neither reasoning nor a call, in a format that has one.
    pub fn answer(self) -> Option<&'static str> {
        (self == Format::Harmony).then_some("<|channel|>final<|message|>")
    }

    /// Finds the format that a chat template writes, or else one whose tokens `has` knows: the vocabulary.
    pub fn find(template: &str, has: impl Fn(&str) -> bool) -> Option<Self> {
        let all = |marks: &[&str]| marks.iter().all(|mark| template.contains(mark));
        let by_template = [
            (Format::Harmony, &["<|channel|>", "<|message|>"][..]),
            (Format::Dsml, &["<｜DSML｜"]),
            (Format::DeepSeek, &["<｜tool▁calls▁begin｜>"]),
            (Format::Gemma4, &["<|tool_call>"]),
            (Format::FunctionGemma, &["<start_function_call>"]),
            (Format::Coder, &["<function=", "<parameter="]),
            (Format::Glm, &["<arg_key>"]),
            (Format::Hermes, &["<tool_call>"]),
            (Format::Mistral, &["[TOOL_CALLS]"]),
            (Format::Kimi, &["<|tool_call_begin|>"]),
            (Format::Phi4, &["<|tool_call|>"]),
            (Format::Functionary, &[">>>all"]),
            (Format::Functionary, &["'>>>'", "tool_calls"]),
            (Format::Function, &["<function="]),
            (Format::Llama3, &["<|python_tag|>"]),
            (Format::Llama3, &["Environment: ipython"]),
            (Format::Llama3, &["\"parameters\": "]),
        ];
        let by_template = by_template.into_iter().find(|(_, marks)| all(marks));
        let by_token = [
            (Format::Mistral, "[TOOL_CALLS]"),
            (Format::Gemma4, "<|tool_call>"),
            (Format::FunctionGemma, "<start_function_call>"),
            (Format::Hermes, "<tool_call>"),
            (Format::Llama3, "<|python_tag|>"),
        ];
        let by_token = || by_token.into_iter().find(|(_, token)| has(token)).map(|(format, _)| format);
        by_template.map(|(format, _)| format).or_else(by_token)
    }
}

impl Reasoning {
    const KNOWN: [Reasoning; 3] = [
        Reasoning { begin: "<|channel>thought", end: "<channel|>" },
        Reasoning { begin: "[THINK]", end: "[/THINK]" },
        Reasoning { begin: "<think>", end: "</think>" },
    ];

    /// Finds the marks that a chat template writes, or else those whose tokens `has` knows: the vocabulary.
    pub fn find(template: &str, has: impl Fn(&str) -> bool) -> Option<Self> {
        let by_template = Self::KNOWN.into_iter().find(|known| template.contains(known.end));
        by_template.or_else(|| Self::KNOWN.into_iter().find(|known| has(known.end) && has(known.begin)))
    }
}

/// Calls in Python, as [`Convert`].
pub(super) const PYTHON: Convert = python::calls;
