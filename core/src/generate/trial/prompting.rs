//! Inference-time dynamic prompting by perplexity.
//!
//! 2310.00867 keeps several trained soft prompts and chooses one for each input by the attention that the input pays them.
//! Here the prompts are texts, and the one is chosen under which the model finds the input least surprising.

use super::least;
use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::evaluate::continuation;
use crate::session::Session;

/// The prompt that was chosen, and the perplexities that decided it.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct PromptScore {
    /// The index of the prompt with the least perplexity.
    pub chosen: usize,
    /// The perplexity of the input behind each prompt.
    pub perplexities: Vec<f64>,
}

/// Chooses the prompt behind which `input` has the lowest perplexity, the first of equals. The cost is a prefill of each
/// prompt and of the input behind it; what prompts have in common at their beginnings is read once.
///
/// # Errors
/// `Setting` for no prompts; as [`continuation`].
pub async fn likeliest_prompt<B: Backend>(
    session: &mut Session<B>,
    prompts: &[&str],
    input: &str,
) -> Result<PromptScore> {
    if prompts.is_empty() {
        return Err(Error::Setting { reason: "there is no prompt to choose from".into() });
    }
    let mut perplexities = Vec::new();
    for prompt in prompts {
        let found = continuation(session, prompt, input).await?;
        perplexities.push((-found.sum / found.tokens as f64).exp());
    }
    Ok(PromptScore { chosen: least(&perplexities), perplexities })
}
