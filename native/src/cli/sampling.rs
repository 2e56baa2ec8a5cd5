//! Flags of `generate`, `chat` and `run` that choose tokens.

use super::progress;
use clap::Args;
use foveate::generate::{DraftModel, PredictorDraft, Speculation};
use foveate::model::Model;
use foveate::sampling::{Samplers, Sampling};
use foveate::session::Session;
use foveate::{Any, Error, Generation, Result, RuntimeError, wait};
use std::ffi::OsStr;
use std::sync::Arc;

/// Samplers run on the processor: with any of those below `--seed`, logits come back from the device in every step.
#[derive(Args)]
pub(super) struct SamplingArguments {
    /// Sampling temperature; 0 takes the likeliest token [default: 0; in conversations, this and the four below are what the
    /// model's generation_config.json says].
    #[arg(long, value_name = "X")]
    temperature: Option<f32>,
    /// Sample among the N likeliest tokens; 0 sets no limit [default: 0].
    #[arg(long, value_name = "N")]
    top_k: Option<u32>,
    /// Sample among the likeliest tokens whose probabilities sum up to this [default: 1].
    #[arg(long, value_name = "X")]
    top_p: Option<f32>,
    /// Exclude tokens below this share of the likeliest token's probability [default: 0].
    #[arg(long, value_name = "X")]
    min_p: Option<f32>,
    /// Divide the logits of earlier tokens by this; 1 changes nothing [default: 1].
    #[arg(long, value_name = "X")]
    repetition_penalty: Option<f32>,
    /// Seed of the sampling; the same seed gives the same text.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Keep the surprise of the text at a target, by Mirostat of this version; its temperature is 1 unless set.
    #[arg(long, value_name = "1|2", value_parser = clap::value_parser!(u32).range(1..=2))]
    mirostat: Option<u32>,
    /// Mirostat's target surprise, in bits a token.
    #[arg(long, value_name = "X", default_value_t = 5.0, requires = "mirostat")]
    mirostat_tau: f32,
    /// Mirostat's learning rate.
    #[arg(long, value_name = "X", default_value_t = 0.1, requires = "mirostat")]
    mirostat_eta: f32,
    /// Set another sampler; --help lists them. Repeatable.
    #[arg(long, value_name = "NAME=VALUE", long_help = named_samplers())]
    sampler: Vec<String>,
    /// Add X to the logit of a token; -inf excludes it. Repeatable.
    #[arg(long, value_name = "ID=X")]
    logit_bias: Vec<String>,
    /// Minimum number of tokens of an answer: before, it does not end.
    #[arg(long, value_name = "N", default_value_t = 0)]
    min_tokens: u64,
    /// Draft tokens and check several in one step, which leaves the text as it is: `lookup` drafts from the text itself,
    /// MODEL is a smaller model with the same vocabulary (a path or a name), `mtp` the model's own prediction heads.
    #[arg(long, value_name = "lookup|MODEL|mtp")]
    speculate: Option<String>,
}

/// The help of `--sampler`.
fn named_samplers() -> String {
    let names = Samplers::names().iter().map(|(name, value)| format!("\n  {name}: {value}"));
    let intro = "Set another sampler. Repeatable. Samplers that filter need a --temperature above 0.";
    [intro.to_owned()].into_iter().chain(names).collect()
}

/// Samplers that choose among several tokens, or how likely they are.
const FILTERS: [&str; 10] = [
    "dynamic-temperature",
    "epsilon",
    "eta",
    "order",
    "tail-free",
    "top-h",
    "top-n-sigma",
    "typical",
    "xtc-probability",
    "xtc-threshold",
];

impl SamplingArguments {
    /// The options with these settings, if they are within their ranges.
    pub(super) fn apply(&self, options: Generation) -> Result<Generation> {
        if self.speculate.as_deref() == Some("") {
            let reason = "--speculate must be lookup, mtp, or the path or name of a model, got \"\"".into();
            return Err(Error::Usage { reason });
        }
        let options = options.sampling(self.sampling(Sampling::default())).samplers(self.samplers()?);
        options.validate()?;
        Ok(options)
    }

    /// The settings that were given, and for the rest those of `others`.
    fn sampling(&self, others: Sampling) -> Sampling {
        Sampling::default()
            .temperature(self.temperature.unwrap_or(others.temperature))
            .top_k(self.top_k.unwrap_or(others.top_k))
            .top_p(self.top_p.unwrap_or(others.top_p))
            .min_p(self.min_p.unwrap_or(others.min_p))
            .repetition_penalty(self.repetition_penalty.unwrap_or(others.repetition_penalty))
            .seed(self.seed)
    }

    /// The options with what the model's makers say of settings that were not given.
    pub(super) fn of_model(&self, options: Generation, model: &Model<Any>) -> Generation {
        match model.sampling() {
            Some(sampling) => options.sampling(self.sampling(sampling)),
            None => options,
        }
    }

    /// Says which filters change nothing because the likeliest token is taken.
    pub(super) fn note_unused(&self, options: &Generation) {
        if options.sampling.temperature > 0.0 || options.samplers.mirostat.is_some() {
            return;
        }
        let flags = [
            ("--top-k", self.top_k.is_some_and(|k| k > 0)),
            ("--top-p", self.top_p.is_some_and(|p| p < 1.0)),
            ("--min-p", self.min_p.is_some_and(|p| p > 0.0)),
        ];
        let flags = flags.into_iter().filter(|(_, given)| *given).map(|(flag, _)| flag.to_owned());
        let named = self.sampler.iter().filter_map(|setting| setting.split_once('='));
        let named = named.filter(|(name, _)| FILTERS.contains(&name.trim()));
        for filter in flags.chain(named.map(|(name, _)| format!("--sampler {}", name.trim()))) {
            eprintln!("note: {filter} changes nothing at temperature 0: set --temperature");
        }
    }

    fn samplers(&self) -> Result<Samplers> {
        let mut samplers = Samplers::default();
        for setting in &self.sampler {
            let wrong = || Error::Usage { reason: format!("--sampler must be NAME=VALUE, got {setting:?}") };
            let (name, value) = setting.split_once('=').ok_or_else(wrong)?;
            samplers.set(name.trim(), value)?;
        }
        if let Some(version) = self.mirostat {
            let set = samplers.mirostat.unwrap_or_default();
            samplers.mirostat = Some(set.version(version).tau(self.mirostat_tau).eta(self.mirostat_eta));
        }
        for bias in &self.logit_bias {
            samplers.set("logit-bias", bias)?;
        }
        if self.min_tokens > 0 {
            samplers.min_tokens = self.min_tokens;
        }
        Ok(samplers)
    }

    /// The number of likeliest tokens, if it was given.
    pub(super) fn top_k(&self) -> Option<u32> {
        self.top_k
    }

    /// Whether tokens are drafted.
    pub(super) fn speculates(&self) -> bool {
        self.speculate.is_some()
    }

    /// Adds the way to draft tokens for texts in `session`, whose model is at `path`. A draft model is loaded where the model
    /// is; a prediction head observes the session from now on.
    pub(super) fn drafting(&self, options: Generation, session: &mut Session<Any>, path: &OsStr) -> Result<Generation> {
        let Some(name) = &self.speculate else { return Ok(options) };
        let model = session.model().clone();
        Ok(options.speculate(match name.as_str() {
            "lookup" => Speculation::lookup(),
            "mtp" => {
                let files = foveate::open_with(path, &mut progress::Bars::default().report())?;
                let predictor = wait(model.load_predictor(files, &mut |_| Ok(()))).map_err(|error| match error {
                    RuntimeError::Config { reason } => Error::Usage { reason: format!("--speculate mtp: {reason}") },
                    error => error.into(),
                })?;
                Speculation::with(PredictorDraft::new(predictor, session)?)
            }
            name => {
                let files = foveate::open_with(name, &mut progress::Bars::default().report());
                let files = files.map_err(|error| {
                    let reason = format!("--speculate must be lookup, mtp, or the path or name of a model: {error}");
                    Error::Usage { reason }
                })?;
                let drafter = Arc::new(wait(model.load_on_same_backend(files, &mut |_| Ok(())))?);
                let context = session.context().min(drafter.config().context);
                Speculation::with(DraftModel::new(Session::new(drafter, context)?, &model)?)
            }
        }))
    }

    /// Refuses several answers whose tokens a prediction head drafts: it observes one session.
    pub(super) fn admit_answers(&self, n: u64) -> Result<()> {
        match n > 1 && self.speculate.as_deref() == Some("mtp") {
            true => {
                Err(Error::Usage { reason: "--n and --speculate mtp do not combine: leave one of them out".into() })
            }
            false => Ok(()),
        }
    }
}
