//! Tokens that end a text, by their names: models write some that their files forget to list.

use super::{Model, Tokenizer};

/// Tokens that end a turn or a text whatever the files say. Sources: the list of `llama-vocab.cpp` of llama.cpp,
/// and the `eos_token` and `eot_token` of models' own tokenizers.
const NAMES: [&str; 38] = [
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|eot|>",
    "<|eom|>",
    "<|EOT|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "</s>",
    "<eos>",
    "<|eos|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|calls|>",
    "<|flush|>",
    "<end_of_turn>",
    "<turn|>",
    "<|tool_response>",
    "<|end_of_turn|>",
    "<|endofturn|>",
    "[|endofturn|]",
    "<|END_OF_TURN_TOKEN|>",
    "<end_of_utterance>",
    "<|assistant_end|>",
    "<\u{ff5c}end\u{2581}of\u{2581}sentence\u{ff5c}>",
    "[e~[",
    // Code that goes on in another file.
    "<|fim_pad|>",
    "<fim_pad>",
    "<fim-pad>",
    "<|fim_repo|>",
    "<|repo_name|>",
    "<fim-repo>",
    "<|file_sep|>",
];

/// Names that end nothing in a vocabulary that has the other ones, too: `<|end|>` closes each message of gpt-oss, of
/// which one answer has several, and `</s>` is a tag of HTML for Gemma.
const EXCEPTIONS: [(&str, &[&str]); 2] = [("<|end|>", &["<|return|>", "<|call|>"]), ("</s>", &["<|tool_response>"])];

impl Tokenizer {
    /// Returns the tokens that end a text as far as the tokenizer knows, sorted: those with that role in its files, and
    /// those whose names are known. [`Model::end_tokens`](crate::model::Model::end_tokens) adds those that the
    /// model's own files list.
    pub fn end_tokens(&self) -> Vec<u32> {
        let named = NAMES.iter().filter_map(|name| self.id(name).filter(|id| self.is_apart(name, *id)));
        let inferred = named.chain(self.special.eot).filter(|id| !self.is_exception(*id));
        let mut ends: Vec<u32> = inferred.chain(self.special.eos).chain(self.ends.iter().copied()).collect();
        ends.sort_unstable();
        ends.dedup();
        ends
    }

    /// True if the token is a control token, which has no text.
    pub(crate) fn is_control(&self, id: u32) -> bool {
        match &self.model {
            Model::Library(library) => {
                library.get_added_vocabulary().get_added_tokens_decoder().get(&id).is_some_and(|token| token.special)
            }
            Model::SentencePiece(model) => model.is_control(id),
            Model::World(model) => model.is_control(id),
        }
    }

    /// True if a token of a known name is no piece of a text. Its file may not call it a control token: `tokenizer.json` says
    /// `"special": false` of `<|fim_pad|>` (Qwen3) and `<|EOT|>` (DeepSeek-V3.1), which are control tokens in GGUF files of the
    /// same models, and GGUF files of Gemma 4 say "user-defined" of `<|tool_response>`. `</s>` may be a tag of HTML.
    fn is_apart(&self, name: &str, id: u32) -> bool {
        let marked = [("<|", "|>"), ("<\u{ff5c}", "\u{ff5c}>")];
        let marked = marked.iter().any(|(start, end)| name.starts_with(start) && name.ends_with(end));
        marked || self.is_control(id) || (name != "</s>" && self.is_cut_out(id))
    }

    /// True if the token is found in a text before the text is split, control token or not.
    fn is_cut_out(&self, id: u32) -> bool {
        match &self.model {
            Model::Library(library) => library.get_added_vocabulary().get_added_tokens_decoder().contains_key(&id),
            Model::SentencePiece(model) => model.is_cut_out(id),
            Model::World(model) => model.is_control(id),
        }
    }

    fn is_exception(&self, id: u32) -> bool {
        EXCEPTIONS.iter().any(|(name, beside)| {
            self.id(name) == Some(id) && beside.iter().all(|other| self.id(other).is_some()) //
        })
    }
}
