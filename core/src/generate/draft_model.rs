//! Drafts of a second, smaller model.

use super::draft::{Draft, Drafting};
use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::sample::Sampler;
use crate::session::{Buffered, Session};
use crate::tokenizer::Tokenizer;

/// A model that drafts for another one with the same vocabulary. It draws with the other one's draws, so that equal
/// distributions give equal tokens.
pub struct DraftModel<B: Backend> {
    text: Buffered<B>,
}

impl<B: Backend> DraftModel<B> {
    /// Drafts with the model of an empty session, whose context bounds the texts that it drafts for.
    ///
    /// # Errors
    /// `Tokenizer` if the two models spell a token differently, or end texts by other tokens.
    pub fn new<T: Backend>(session: Session<B>, target: &Model<T>) -> Result<Self> {
        let drafter = session.model();
        same_vocabulary(drafter.tokenizer()?, target.tokenizer()?)?;
        Ok(Self { text: Buffered::new(session) })
    }

    async fn propose(&mut self, tokens: &[u32], most: usize, mut sampler: Sampler) -> Result<Vec<u32>> {
        let room = (self.text.session().context() as usize).saturating_sub(tokens.len());
        let vocab = self.text.session().model().config().vocab;
        let mut draft = Vec::new();
        if most.min(room) == 0 || tokens.iter().any(|id| *id >= vocab) {
            return Ok(draft);
        }
        self.text.set_tokens(tokens)?;
        while draft.len() < most.min(room) {
            let id = self.text.next(&mut sampler).await?;
            draft.push(id);
            if self.text.session().model().end_tokens().contains(&id) {
                break;
            }
        }
        Ok(draft)
    }
}

impl<B: Backend> Draft for DraftModel<B> {
    fn draft<'a>(&'a mut self, tokens: &'a [u32], most: usize, sampler: Sampler) -> Drafting<'a> {
        Box::pin(self.propose(tokens, most, sampler))
    }
}

/// Two vocabularies are the same if each id has the same spelling in both.
fn same_vocabulary(drafter: &Tokenizer, target: &Tokenizer) -> Result<()> {
    let refused =
        |reason: String| Err(Error::tokenizer(format!("the draft model's vocabulary is another one: {reason}")));
    let (draft, full) = (drafter.vocab_size(), target.vocab_size());
    if draft != full {
        return refused(format!("it has {draft} tokens, the model {full}; choose a draft model of the same family"));
    }
    match (0..draft as u32).find(|id| drafter.token(*id) != target.token(*id)) {
        Some(id) => {
            let spelled = |tokenizer: &Tokenizer| tokenizer.token(id).unwrap_or_default();
            refused(format!("token {id} is {:?}, in the model {:?}", spelled(drafter), spelled(target)))
        }
        None => Ok(()),
    }
}
