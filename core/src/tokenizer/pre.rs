//! Pre-tokenization rules: how a text is split into words before byte pairs are merged. A rule has the name that GGUF
//! files give it.
//!
//! Sources: the table of `src/llama-vocab.cpp` of llama.cpp for the names, and the `tokenizer.json` of the models for
//! the expressions, which it adapts to its own engine. Each expression cuts the pieces of the one before it; what it
//! does not match stays a piece of its own.

use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{PreTokenizerWrapper, SplitDelimiterBehavior};

use crate::error::{Error, Result};

/// A splitting rule and what else its name implies.
#[derive(Clone, Copy)]
pub(super) struct Rule {
    cuts: &'static [Cut],
    /// Words of the vocabulary are taken whole, without asking the merges.
    pub(super) ignore_merges: bool,
    /// Texts begin with the beginning-of-text token unless the file says otherwise.
    pub(super) add_bos: bool,
    /// The text is brought to Unicode's form C before.
    pub(super) nfc: bool,
    /// Two tokens that end a text stand between two texts.
    pub(super) twice: bool,
}

#[derive(Clone, Copy)]
enum Cut {
    Expression(&'static str),
    /// Each digit alone.
    Digits,
    /// GPT-2's expression, which the byte-level step has built in.
    Gpt2,
}

const GPT2: &[Cut] = &[Cut::Gpt2];
const DIGITS_GPT2: &[Cut] = &[Cut::Digits, Cut::Gpt2];
const DEFAULT: &[Cut] = &[
    Cut::Expression(r"[\p{P}\$\+<=>\^~\|]+"),
    Cut::Expression(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"),
    Cut::Expression(r"\p{N}+"),
    Cut::Expression(r"[0-9][0-9][0-9]"),
];
const FALCON: &[Cut] = &[
    Cut::Expression(r"[\p{P}\$\+<=>\^~\|`]+"),
    Cut::Expression(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"),
    Cut::Expression(r"[0-9][0-9][0-9]"),
];
const LLAMA3: &[Cut] = &[Cut::Expression(concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
))];
const QWEN2: &[Cut] = &[Cut::Expression(concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
))];
const QWEN35: &[Cut] = &[Cut::Expression(concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}",
    r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
))];
const TEKKEN: &[Cut] = &[Cut::Expression(concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
))];
const GPT4O: &[Cut] = &[Cut::Expression(concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
))];
const DEEPSEEK3: &[Cut] = &[
    Cut::Expression(r"\p{N}{1,3}"),
    Cut::Expression("[\u{4e00}-\u{9fa5}\u{3040}-\u{309f}\u{30a0}-\u{30ff}]+"),
    Cut::Expression(concat!(
        r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"##,
        r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )),
];
const DEEPSEEK_CODER: &[Cut] = &[
    Cut::Expression(r"[\r\n]"),
    Cut::Expression(r"\s?\p{L}+"),
    Cut::Expression(r"\s?\p{P}+"),
    Cut::Expression("[\u{4e00}-\u{9fa5}\u{0800}-\u{4e00}\u{ac00}-\u{d7ff}]+"),
    Cut::Expression(r"\p{N}"),
];

const fn rule(cuts: &'static [Cut]) -> Rule {
    Rule { cuts, ignore_merges: false, add_bos: false, nfc: false, twice: false }
}

impl Rule {
    /// The rule that `tokenizer.ggml.pre` names; files from before that key have the default one.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] for a name that is not in the table: another rule would give other ids, silently.
    pub(super) fn named(name: Option<&str>) -> Result<Self> {
        Ok(match name.unwrap_or("default") {
            "" | "default" => rule(DEFAULT),
            "gpt-2" | "phi-2" | "jina-es" | "jina-de" | "jina-v2-es" | "jina-v2-de" | "gigachat" | "a.x-4.0"
            | "mellum" | "modern-bert" | "mpt" | "olmo" | "jais" | "exaone4" | "trillion" | "granite-docling" => {
                rule(GPT2)
            }
            "roberta-bpe" => Rule { twice: true, ..rule(GPT2) },
            "smollm" | "starcoder" | "refact" | "command-r" | "codeshell" | "exaone" | "minerva-7b" | "mellum2" => {
                rule(DIGITS_GPT2)
            }
            "llama3" | "llama-v3" | "llama-bpe" | "falcon3" | "falcon-h1" | "pixtral" | "midm-2.0" | "lfm2" => {
                Rule { ignore_merges: true, add_bos: true, ..rule(LLAMA3) }
            }
            "dbrx" | "smaug-bpe" | "glm4" | "chatglm-bpe" => rule(LLAMA3),
            "qwen2" | "deepseek-r1-qwen" | "megrez" => Rule { nfc: true, ..rule(QWEN2) },
            "stablelm2" | "hunyuan" | "solar-open" | "grok-2" => rule(QWEN2),
            "qwen35" => Rule { nfc: true, ..rule(QWEN35) },
            "tekken" => Rule { ignore_merges: true, add_bos: true, ..rule(TEKKEN) },
            "gpt-4o" | "llama4" | "kanana2" => rule(GPT4O),
            "falcon" => rule(FALCON),
            "deepseek-v3" | "hunyuan-dense" => rule(DEEPSEEK3),
            "deepseek-coder" => rule(DEEPSEEK_CODER),
            name => return Err(Error::tokenizer(format!("the splitting rule {name} is not supported"))),
        })
    }

    /// The steps of the rule; the last one spells bytes as printable characters.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if an expression does not compile.
    pub(super) fn steps(&self) -> Result<Sequence> {
        let mut steps: Vec<PreTokenizerWrapper> = Vec::new();
        let mut gpt2 = false;
        for cut in self.cuts {
            match cut {
                Cut::Expression(text) => {
                    let pattern = SplitPattern::Regex((*text).into());
                    let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false);
                    steps.push(split.map_err(Error::tokenizer)?.into());
                }
                Cut::Digits => steps.push(Digits::new(true).into()),
                Cut::Gpt2 => gpt2 = true,
            }
        }
        let (add_prefix_space, trim_offsets) = (false, true);
        steps.push(ByteLevel::new(add_prefix_space, trim_offsets, gpt2).into());
        Ok(Sequence::new(steps))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};

    fn words(rule: &str, text: &str) -> Vec<String> {
        let mut words = PreTokenizedString::from(text);
        Rule::named(Some(rule)).unwrap().steps().unwrap().pre_tokenize(&mut words).unwrap();
        let splits = words.get_splits(OffsetReferential::Original, OffsetType::Byte);
        splits.into_iter().map(|(_, (start, end), _)| text[start..end].to_owned()).collect()
    }

    #[test]
    fn rules_split_as_their_models_do() {
        let text = "It's 12345 o'CLOCK,\n\n  DON'T x";
        assert_eq!(
            words("gpt-2", text),
            ["It", "'s", " 12345", " o", "'", "CLOCK", ",", "\n\n ", " DON", "'", "T", " x"]
        );
        assert_eq!(
            words("smollm", text),
            ["It", "'s", " ", "1", "2", "3", "4", "5", " o", "'", "CLOCK", ",", "\n\n ", " DON", "'", "T", " x"]
        );
        assert_eq!(
            words("llama-bpe", text),
            ["It", "'s", " ", "123", "45", " o", "'CLOCK", ",\n\n", " ", " DON", "'T", " x"]
        );
        assert_eq!(
            words("qwen2", text),
            ["It", "'s", " ", "1", "2", "3", "4", "5", " o", "'CLOCK", ",\n\n", " ", " DON", "'T", " x"]
        );
        assert_eq!(words("gpt-4o", "helloWorld HELLOWorld"), ["hello", "World", " HELLOWorld"]);
    }

    #[test]
    fn rules_all_compile() {
        for name in
            ["default", "gpt-2", "smollm", "llama3", "qwen2", "qwen35", "tekken", "gpt-4o", "falcon", "deepseek-v3"]
                .into_iter()
                .chain(["deepseek-coder"])
        {
            assert_eq!(words(name, "a  b\u{e9}\u{4e2d} 1!\n").concat(), "a  b\u{e9}\u{4e2d} 1!\n", "{name}");
        }
        assert!(Rule::named(Some("unheard-of")).is_err());
    }
}
