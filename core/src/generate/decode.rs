//! The generation loop, one step at a time.

use super::drafted::Drafted;
use super::guard::{Guide, guard};
use super::options::Generation;
use super::results::{Finish, Piece, Timing, Usage};
use super::speculate::Drafts;
use super::stop::StopStrings;
use super::token::Token;
use crate::backend::Backend;
use crate::constrain::Mask;
use crate::error::{Error, Result};
use crate::sample::{Chain, Draws, Past, Sampler, likeliest, likelihood};
use crate::session::Buffered;
use crate::tokenizer::Stream;
use std::collections::VecDeque;

/// The state of a generation, apart from its session: whoever shares a session lends it to each
/// [`step`](Self::step). Everyone else uses a [`Generator`](super::Generator).
pub struct Decode {
    options: Generation,
    sampler: Sampler,
    /// Chooses on the host where the sampler alone would not do.
    chain: Chain,
    /// None without a tokenizer, and behind the end.
    stream: Option<Stream>,
    stops: StopStrings,
    ends: Vec<u32>,
    guard: Option<Box<dyn Guide>>,
    /// Tokens that follow without being chosen.
    forced: VecDeque<u32>,
    left: u64,
    finish: Option<Finish>,
    usage: Usage,
    drafted: Drafted,
    /// Tokens that drafts may reach.
    horizon: Option<u64>,
    /// The sum of the surprise of tokens, in bits, and their number.
    surprise: (f64, u64),
    /// When the first step began, when the first token was there, and when the last one.
    times: [Option<f64>; 3],
}

impl Decode {
    /// Begins a generation behind the tokens of `text`.
    ///
    /// # Errors
    /// `EmptyPrompt` if there are none, or none behind embeddings; `OutOfRange` for options out of their range;
    /// `Tokenizer` for stop strings without a tokenizer.
    pub fn new<B: Backend>(text: &mut Buffered<B>, options: &Generation) -> Result<Self> {
        let draws = Draws::of_sequence(options.sampling.seed, options.sequence);
        let mut sampler = Sampler::new(options.sampling)?.with_draws(draws);
        let stops = StopStrings::new(&options.stop)?;
        text.hold_last()?;
        if text.pending().is_empty() {
            return Err(Error::EmptyPrompt);
        }
        let model = text.session().model();
        let mut stream = match model.tokenizer() {
            Ok(tokenizer) => Some(tokenizer.stream(!options.show_special && options.shown.is_empty())),
            Err(error) if !options.stop.is_empty() => return Err(error),
            Err(_) => None,
        };
        let mut chain = options.chain(model)?.with_draws(draws);
        if options.surprise {
            chain = chain.with_surprise();
        }
        let (replayed, mut stops) = (options.replay.len() as u64, stops);
        sampler.set_position(replayed);
        for &id in &options.replay {
            if let Some(piece) = stream.as_mut().and_then(|stream| stream.push(id)) {
                stops.push(&piece);
            }
        }
        let (tokens, read) = (u64::from(text.len()), text.session().tokens().len() as u64);
        let prompt_tokens = tokens.saturating_sub(replayed);
        let usage = Usage { prompt_tokens, cached_tokens: read.min(prompt_tokens), generated_tokens: replayed };
        let guard = guard(model, options)?.map(|guard| Box::new(guard) as Box<dyn Guide>);
        Ok(Self {
            options: options.clone(),
            sampler,
            chain,
            stream,
            stops,
            ends: if options.ignore_eos { Vec::new() } else { model.end_tokens().to_vec() },
            guard,
            forced: VecDeque::new(),
            left: options.max_tokens.saturating_sub(replayed),
            finish: None,
            usage,
            drafted: Drafted::new(options),
            horizon: None,
            surprise: (0.0, 0),
            times: [None; 3],
        })
    }

    /// Restricts the tokens by `guide`, which has taken those of [`replay`](Generation::replay), in the place of a constraint.
    pub fn with_guide(mut self, guide: Box<dyn Guide>) -> Self {
        let guide = self.guard.insert(guide);
        // Tokens that the guide forces behind the replayed ones were lost with the generation that these are from.
        if self.usage.generated_tokens > 0 && self.options.appends_forced() {
            self.forced.extend(guide.forced());
        }
        self
    }

    /// Generates a token, or what there is to tell at the end; `None` behind the end. `text` is the session that the
    /// generation began in.
    ///
    /// Natively the future blocks the thread that polls it while the device works. If it is dropped before it ends, or ends
    /// with an error, the session holds what it held before, but for what was read of the prompt.
    ///
    /// # Errors
    /// Errors of reading the prompt and of the device.
    pub async fn step<B: Backend>(&mut self, text: &mut Buffered<B>) -> Result<Option<Piece>> {
        if self.finish.is_some() {
            return Ok(None);
        }
        self.begin();
        if let Some(finish) = self.bound(text)? {
            self.drafted.settle(text)?;
            return Ok(self.end(finish));
        }
        let one_step = text.session().step_tokens() as usize;
        let token = match self.drafted.accepted() {
            Some(token) => token,
            None if !self.read_prompt(text, one_step).await? => return Ok(self.end(Finish::Cancelled)),
            None => self.choose(text).await?,
        };
        self.accept(text, token)
    }

    /// Notes when the first step begins.
    pub(super) fn begin(&mut self) {
        self.times[0] = self.times[0].or_else(|| self.now());
    }

    /// Takes in the token that was chosen, which waits in `text`.
    pub(super) fn accept<B: Backend>(&mut self, text: &mut Buffered<B>, token: Token) -> Result<Option<Piece>> {
        let id = token.id;
        self.times[2] = self.now();
        self.times[1] = self.times[1].or(self.times[2]);
        self.usage.generated_tokens += 1;
        if let Some(bits) = token.surprise {
            self.surprise = (self.surprise.0 + bits, self.surprise.1 + 1);
        }
        self.left -= 1;
        if self.ends.contains(&id) {
            text.drop_held();
            return Ok(self.end(Finish::EndOfText { token: id }));
        }
        let shows = self.shows(text, id);
        let fresh = self.stream.as_mut().filter(|_| shows).and_then(|stream| stream.push(id)).unwrap_or_default();
        let (fresh, stop) = self.stops.push(&fresh);
        if let Some(stop) = stop {
            self.drafted.settle(text)?;
            self.finish = Some(Finish::StopString(stop));
        }
        Ok(Some(Piece { text: fresh, token: Some(token), parts: Vec::new() }))
    }

    /// Why there is no further token, if there is none.
    pub(super) fn bound<B: Backend>(&self, text: &mut Buffered<B>) -> Result<Option<Finish>> {
        if self.options.cancel.is_cancelled() {
            return Ok(Some(Finish::Cancelled));
        }
        // The constraint has taken the tokens of an accepted draft already.
        if self.drafted.waits() {
            return Ok(None);
        }
        if self.guard.as_ref().is_some_and(|guard| guard.is_complete()) {
            return Ok(Some(Finish::Complete));
        }
        if self.left == 0 {
            return Ok(Some(Finish::MaxTokens));
        }
        text.hold_last()?;
        Ok((text.pending().len() > text.session().room() as usize).then_some(Finish::Context))
    }

    /// Reads tokens that wait, until no more than `left` do, of which there is at least one. Returns `false` if the caller
    /// cancelled the generation in between.
    pub(super) async fn read_prompt<B: Backend>(&self, text: &mut Buffered<B>, left: usize) -> Result<bool> {
        let most = text.session().step_tokens() as usize;
        while text.pending().len() > left {
            text.read(most)?;
            // A device that only records would take in the whole prompt before anyone could cancel it.
            text.session().wait().await?;
            if self.options.cancel.is_cancelled() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Makes tokens follow in any case, before others are chosen. Accepted drafts are given up.
    ///
    /// # Errors
    /// As [`Buffered::rollback`].
    pub fn force<B: Backend>(&mut self, text: &mut Buffered<B>, ids: &[u32]) -> Result<()> {
        self.drafted.settle(text)?;
        self.forced.extend(ids);
        Ok(())
    }

    /// Keeps drafts from going further than the next `tokens` tokens, behind which the caller may
    /// [force](Self::force) others; `None` lifts the bound.
    pub(super) fn set_horizon(&mut self, tokens: Option<u64>) {
        self.horizon = tokens;
    }

    /// Returns whether there is a constraint.
    pub(super) fn is_constrained(&self) -> bool {
        self.guard.is_some()
    }

    /// False for a control token whose spelling is not asked for.
    fn shows<B: Backend>(&self, text: &Buffered<B>, id: u32) -> bool {
        let shown = &self.options.shown;
        let control = || text.session().model().tokenizer().is_ok_and(|tokenizer| tokenizer.is_control(id));
        self.options.show_special || shown.is_empty() || shown.contains(&id) || !control()
    }

    /// Lets the constraint take a token that was chosen, if there is one.
    fn guarded(&mut self, token: Token) -> Result<Token> {
        if let Some(guard) = &mut self.guard {
            guard.accept(token.id)?;
            if self.forced.is_empty() && self.options.appends_forced() {
                self.forced.extend(guard.forced());
            }
        }
        Ok(token)
    }

    /// As [`guarded`](Self::guarded), of a token that waits in `text`: one that is refused was not chosen.
    fn guarded_in<B: Backend>(&mut self, text: &mut Buffered<B>, token: Token) -> Result<Token> {
        self.guarded(token).inspect_err(|_| text.drop_held())
    }

    /// Returns the next token, which the constraint has taken if there is one.
    async fn choose<B: Backend>(&mut self, text: &mut Buffered<B>) -> Result<Token> {
        if let Some(id) = self.forced.pop_front() {
            text.hold(id);
            return self.guarded_in(text, Token::bare(id));
        }
        let generated = self.usage.generated_tokens;
        // Times are of use to drafts alone.
        let clock = self.options.clock.filter(|_| self.drafted.is_on());
        let began = clock.map(|clock| clock());
        self.sampler.set_position(generated);
        let left = self.horizon.map_or(self.left, |horizon| horizon.clamp(1, self.left));
        let draft = self.drafted.draft(text, &self.sampler, left).await?;
        let alone = text.pending().len() == 1;
        let tokens = if draft.is_empty() {
            let token = self.choose_one(text).await?;
            vec![self.guarded_in(text, token)?]
        } else {
            self.check(text, &draft).await?
        };
        let seconds = began.zip(clock).map(|(from, clock)| clock() - from);
        let none = || Error::device("the choice of a token came to nothing");
        self.drafted.keep(draft.len(), tokens, seconds.filter(|_| alone)).ok_or_else(none)
    }

    /// Returns whether the device chooses by itself.
    fn on_device(&self, generated: u64) -> bool {
        self.options.logprobs.is_none() && self.chain.is_plain(generated)
    }

    async fn choose_one<B: Backend>(&mut self, text: &mut Buffered<B>) -> Result<Token> {
        let generated = self.usage.generated_tokens;
        let mask = self.mask()?;
        if mask.is_none() && self.on_device(generated) {
            return Ok(Token::bare(text.next(&mut self.sampler).await?));
        }
        let row = text.logits().await?;
        self.weigh_masked(text, row, mask.as_ref().map(Mask::words))
    }

    /// Takes the next token from the logits after all tokens of `text`; the token then waits there.
    pub(super) fn weigh_one<B: Backend>(&mut self, text: &mut Buffered<B>, row: Vec<f32>) -> Result<Token> {
        let token = match self.forced.pop_front() {
            Some(id) => {
                text.hold(id);
                Token::bare(id)
            }
            None => {
                let mask = self.mask()?;
                self.weigh_masked(text, row, mask.as_ref().map(Mask::words))?
            }
        };
        self.guarded_in(text, token)
    }

    /// Returns the tokens that the constraint allows; `None` for all.
    fn mask(&mut self) -> Result<Option<Mask>> {
        Ok(self.guard.as_mut().map(|guard| guard.mask()).transpose()?.flatten())
    }

    fn weigh_masked<B: Backend>(
        &mut self,
        text: &mut Buffered<B>,
        row: Vec<f32>,
        allowed: Option<&[u32]>,
    ) -> Result<Token> {
        let past = Past { tokens: text.session().tokens(), generated: self.usage.generated_tokens };
        let token = self.weigh(row, past, allowed);
        match &token {
            Ok(token) => text.hold(token.id),
            Err(_) => text.hold_last()?,
        }
        token
    }

    /// Returns whether the host chooses the next token, from a row of logits.
    pub(super) fn weighs(&self) -> bool {
        self.guard.is_some() || !self.forced.is_empty() || !self.on_device(self.usage.generated_tokens)
    }

    /// Returns the sampler that chooses the next token on the device.
    pub(super) fn sampler(&mut self) -> &mut Sampler {
        self.sampler.set_position(self.usage.generated_tokens);
        &mut self.sampler
    }

    /// Returns whether tokens are drafted.
    pub(super) fn speculates(&self) -> bool {
        self.drafted.is_on()
    }

    /// Chooses the tokens behind the one that waits and behind each of the draft, up to where the two differ or a text ends.
    async fn check<B: Backend>(&mut self, text: &mut Buffered<B>, draft: &[u32]) -> Result<Vec<Token>> {
        let generated = self.usage.generated_tokens;
        if self.guard.is_none() && self.on_device(generated) {
            let ids = text.next_drafted(draft, &self.ends, &mut self.sampler).await?;
            return Ok(ids.into_iter().map(Token::bare).collect());
        }
        let (before, rows) = (text.session().tokens().len(), text.logits_drafted(draft).await?);
        let vocab = text.session().model().config().vocab as usize;
        let mut tokens: Vec<Token> = Vec::new();
        for (at, row) in rows.chunks_exact(vocab).enumerate() {
            let past = Past { tokens: &text.session().tokens()[..=before + at], generated: generated + at as u64 };
            match self.weigh_drafted(row, past) {
                Ok(token) => tokens.push(token),
                // The tokens in front of it are good; the next step meets the error again.
                Err(_) if at > 0 => break,
                Err(error) => {
                    text.rollback(before as u32 + 1)?;
                    return Err(error);
                }
            }
            let id = tokens[at].id;
            let complete = self.guard.as_ref().is_some_and(|guard| guard.is_complete());
            if draft.get(at) != Some(&id) || self.ends.contains(&id) || complete {
                break;
            }
        }
        let ids: Vec<u32> = tokens.iter().map(|token| token.id).collect();
        text.keep_drafted(before, &ids)?;
        Ok(tokens)
    }

    /// Takes the token behind a place of a draft: the one that the constraint forces, or one of those that it allows.
    fn weigh_drafted(&mut self, row: &[f32], past: Past<'_>) -> Result<Token> {
        let token = match self.forced.pop_front() {
            Some(id) => Token::bare(id),
            None => {
                let mask = self.mask()?;
                self.weigh(row.to_vec(), past, mask.as_ref().map(Mask::words))?
            }
        };
        self.guarded(token)
    }

    /// Chooses on the host from a row of logits, among the tokens whose bits are set if there is a mask.
    fn weigh(&mut self, mut row: Vec<f32>, past: Past<'_>, allowed: Option<&[u32]>) -> Result<Token> {
        // Probabilities are told of logits as the model gave them.
        let told = self.options.logprobs.map(|count| (count, row.clone()));
        let choice = self.chain.choose(&mut row, past, allowed)?;
        let mut token = Token { surprise: choice.surprise, ..Token::bare(choice.id) };
        if let Some((count, row)) = told {
            (token.likelihood, token.likeliest) = (Some(likelihood(&row, choice.id)), likeliest(&row, count));
        }
        Ok(token)
    }

    /// Ends the generation with the text that was held back, if there is any.
    pub(super) fn end(&mut self, finish: Finish) -> Option<Piece> {
        let rest = self.stream.take().and_then(Stream::finish).unwrap_or_default();
        let (mut text, stop) = self.stops.push(&rest);
        self.finish = Some(match stop {
            Some(stop) => Finish::StopString(stop),
            None => finish,
        });
        text.push_str(&self.stops.finish());
        if text.is_empty() { None } else { Some(Piece { text, token: None, parts: Vec::new() }) }
    }

    fn now(&self) -> Option<f64> {
        self.options.clock.map(|clock| clock())
    }

    /// Why the generation ended, once it has.
    pub fn finish(&self) -> Option<&Finish> {
        self.finish.as_ref()
    }

    /// Tokens so far.
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// Tokens that were drafted, and how many of them were accepted.
    pub fn drafts(&self) -> Drafts {
        self.drafted.counts
    }

    /// The mean of `-log2 p` of the tokens so far, under the distribution before truncation; `None` unless it is
    /// [asked for](Generation::surprise).
    pub fn surprise_bits(&self) -> Option<f64> {
        let (bits, tokens) = self.surprise;
        (tokens > 0).then(|| bits / tokens as f64)
    }

    /// The times up to now.
    pub fn timing(&self) -> Timing {
        let [began, first, last] = self.times;
        let between = |from: Option<f64>, to: Option<f64>| from.zip(to).map(|(from, to)| to - from);
        let rate = |tokens: u64, seconds: Option<f64>| {
            seconds.filter(|seconds| tokens > 0 && *seconds > 0.0).map(|seconds| tokens as f64 / seconds)
        };
        let Usage { prompt_tokens, cached_tokens, generated_tokens } = self.usage;
        let first_token = between(began, first);
        Timing {
            first_token,
            prompt_rate: rate(prompt_tokens - cached_tokens, first_token),
            decode_rate: rate(generated_tokens.saturating_sub(1), between(first, last)),
        }
    }
}
