//! Reading what others wrote: weights, vocabularies, chat templates. Whole, damaged and hostile.
//!
//! Tests against real models take the folder of the models from `FOVEATE_MODELS` and the expected values from
//! `FOVEATE_GOLDEN` or `shared/golden` beside the repository. Without them they print `ignored:` and pass;
//! `REQUIRE_GOLDEN=1` makes the lack of expected values a failure.

mod chat;
mod ends;
mod files;
mod folder;
mod gguf;
mod golden;
mod pieces;
mod safetensors;
mod sentencepiece;
mod tokenizer;
mod transformers;
mod world;
