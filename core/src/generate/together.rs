//! Generations that step together.

use super::decode::Decode;
use super::results::{Finish, Piece};
use super::token::Token;
use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::session::{Batch, Buffered, Turn};

/// Steps of several generations in one submission: a product reads its weights once for all of them.
///
/// A scheduler keeps a [`Decode`] and a [`Buffered`] session for each of its users, reads their prompts piece by piece and
/// lends them to [`step`](Self::step). Generations may come and go between two steps.
pub struct Together<B: Backend> {
    batch: Batch<B>,
    vocab: usize,
}

/// A generation and the session that it began in.
pub struct Member<'a, B: Backend> {
    /// The generation.
    pub decode: &'a mut Decode,
    /// Its session.
    pub text: &'a mut Buffered<B>,
}

/// The part of a member in a step.
enum Part {
    /// Its end was told before.
    Ended,
    /// There is no further token.
    Ends(Finish),
    Reads,
}

impl<B: Backend> Together<B> {
    /// Steps of as many as `members` generations over the pool and in the memory of `text`.
    ///
    /// # Errors
    /// As [`Session::batch`](crate::session::Session::batch).
    pub fn new(text: &Buffered<B>, members: u32) -> Result<Self> {
        let session = text.session();
        Ok(Self { batch: session.batch(members)?, vocab: session.model().config().vocab as usize })
    }

    /// Generates a token of each, as [`Decode::step`] does of one, and returns the pieces in the same order: `None` of those
    /// that have ended. One error may be a single member's: whoever gets it steps them one by one.
    ///
    /// # Errors
    /// `Setting` if a member speculates; `Config` if more than one of its tokens waits, or as [`Batch::next`]: then no
    /// generation has changed, and no session. `NotFinite` if the host chooses, from logits that are not finite: the results of
    /// the others stand.
    pub async fn step(&mut self, members: &mut [Member<'_, B>]) -> Result<Vec<Result<Option<Piece>>>> {
        let parts = members.iter_mut().map(part).collect::<Result<Vec<_>>>()?;
        let mut tokens = self.tokens(members, &parts).await?.into_iter();
        let mut pieces = Vec::new();
        for (member, part) in members.iter_mut().zip(parts) {
            pieces.push(match part {
                Part::Ended => Ok(None),
                Part::Ends(finish) => Ok(member.decode.end(finish)),
                Part::Reads => match tokens.next() {
                    Some(Chosen::Token(token)) => member.decode.accept(member.text, token),
                    Some(Chosen::Row(row)) => {
                        let token = member.decode.weigh_one(member.text, row);
                        token.and_then(|token| member.decode.accept(member.text, token))
                    }
                    None => Err(Error::device("a step gave fewer tokens than it read")),
                },
            });
        }
        Ok(pieces)
    }

    /// Reads the token that waits of each member that reads, and returns what follows: tokens, or rows of logits if any of
    /// them is chosen on the host.
    async fn tokens(&mut self, members: &mut [Member<'_, B>], parts: &[Part]) -> Result<Vec<Chosen>> {
        let mut reading: Vec<_> =
            members.iter_mut().zip(parts).filter(|(_, part)| matches!(part, Part::Reads)).map(|(m, _)| m).collect();
        if reading.is_empty() {
            return Ok(Vec::new());
        }
        let weighs = reading.iter().any(|member| member.decode.weighs());
        let mut turns: Vec<Turn<'_, B>> = Vec::new();
        for member in &mut reading {
            let token = *member.text.pending().last().ok_or(Error::EmptyPrompt)?;
            turns.push(Turn { session: member.text.session_mut(), token, sampler: member.decode.sampler() });
        }
        let chosen: Vec<Chosen> = match weighs {
            false => {
                let ids = self.batch.next(&mut turns).await?;
                ids.into_iter().map(|id| Chosen::Token(Token::bare(id))).collect()
            }
            true => {
                let rows = self.batch.logits(&mut turns).await?;
                rows.chunks_exact(self.vocab).map(|row| Chosen::Row(row.to_vec())).collect()
            }
        };
        drop(turns);
        for (member, chosen) in reading.into_iter().zip(&chosen) {
            member.text.take_pending();
            if let Chosen::Token(token) = chosen {
                member.text.hold(token.id);
            }
        }
        Ok(chosen)
    }
}

/// The result of a step for a member.
enum Chosen {
    Token(Token),
    Row(Vec<f32>),
}

fn part<B: Backend>(member: &mut Member<'_, B>) -> Result<Part> {
    if member.decode.finish().is_some() {
        return Ok(Part::Ended);
    }
    if member.decode.speculates() {
        let reason = "steps that generations share and speculation do not combine: leave speculation out".into();
        return Err(Error::Setting { reason });
    }
    if let Some(finish) = member.decode.bound(member.text)? {
        return Ok(Part::Ends(finish));
    }
    match member.text.pending().len() {
        1 => Ok(Part::Reads),
        waiting => Err(Error::Config {
            reason: format!("{waiting} tokens of a generation wait: read its prompt but for the last token first"),
        }),
    }
}
