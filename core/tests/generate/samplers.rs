//! Samplers against their definitions in f64, written here without regard to cost.

use foveate_core::Error;
use foveate_core::host::HostBackend;
use foveate_core::kernels::rng::Rng;
use foveate_core::kernels::sample::{Draw, Spec};
use foveate_core::run_on;
use foveate_core::sample::{Chain, Draws, Filter, Past, Sampler, Samplers, Sampling};

const NOTHING: Past<'_> = Past { tokens: &[], generated: 0 };

/// A token with its probability; always in the order of falling probability, ties by id.
type Law = Vec<(u32, f64)>;

fn softmax(logits: &[f32], temperature: f64) -> Law {
    let all: Vec<f64> = logits.iter().map(|z| f64::from(*z) / temperature).collect();
    let max = all.iter().copied().fold(f64::MIN, f64::max);
    let sum: f64 = all.iter().map(|z| (z - max).exp()).sum();
    let mut law: Law = (0..).zip(all.iter().map(|z| (z - max).exp() / sum)).collect();
    law.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    law
}

fn renormalised(law: Law) -> Law {
    let sum: f64 = law.iter().map(|(_, p)| p).sum();
    law.into_iter().map(|(id, p)| (id, p / sum)).collect()
}

fn entropy(law: &Law) -> f64 {
    law.iter().filter(|(_, p)| *p > 0.0).map(|(_, p)| -p * p.ln()).sum()
}

/// The tokens that pass, or the first one.
fn passing(law: &Law, pass: impl Fn(f64) -> bool) -> Law {
    let kept: Law = law.iter().copied().filter(|(_, p)| pass(*p)).collect();
    if kept.is_empty() { law[..1].to_vec() } else { kept }
}

/// The shortest beginning whose probabilities reach `mass`.
fn reaching(law: Law, mass: f64) -> Law {
    let mut sum = 0.0;
    let mut kept = Law::new();
    for token in law {
        if !kept.is_empty() && sum >= mass {
            break;
        }
        sum += token.1;
        kept.push(token);
    }
    kept
}

fn top_n_sigma(logits: &[f32], n: f64) -> Law {
    let count = logits.len() as f64;
    let mean: f64 = logits.iter().map(|z| f64::from(*z)).sum::<f64>() / count;
    let variance: f64 = logits.iter().map(|z| (f64::from(*z) - mean).powi(2)).sum::<f64>() / count;
    let max = logits.iter().copied().fold(f32::MIN, f32::max);
    let kept = |id: u32| f64::from(logits[id as usize]) >= f64::from(max) - n * variance.sqrt();
    softmax(logits, 1.0).into_iter().filter(|(id, _)| kept(*id)).collect()
}

fn typical(law: &Law, mass: f64) -> Law {
    let h = entropy(law);
    let mut near: Vec<(f64, (u32, f64))> =
        law.iter().filter(|(_, p)| *p > 0.0).map(|t| ((-t.1.ln() - h).abs(), *t)).collect();
    near.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.0.cmp(&b.1.0)));
    reaching(near.into_iter().map(|(_, token)| token).collect(), mass)
}

fn top_h(law: &Law, share: f64) -> Law {
    let first = renormalised(law[..law.len().min(100)].to_vec());
    let most = share * entropy(&first);
    let sums = first.iter().scan(0.0, |sum, (_, p)| {
        *sum -= p * p.ln();
        Some(*sum)
    });
    let count = sums.take_while(|sum| *sum <= most).count().max(1);
    first[..count].to_vec()
}

fn tail_free(law: &Law, z: f64) -> Law {
    let first: Vec<f64> = law.windows(2).map(|w| w[1].1 - w[0].1).collect();
    let second: Vec<f64> = first.windows(2).map(|w| (w[1] - w[0]).abs()).collect();
    let sum: f64 = second.iter().sum();
    if second.is_empty() || sum == 0.0 {
        return law.clone();
    }
    let mut kept = vec![law[0]];
    let mut running = 0.0;
    for (token, weight) in law[1..].iter().zip(second) {
        running += weight / sum;
        if running > z {
            break;
        }
        kept.push(*token);
    }
    kept
}

fn xtc(law: &Law, threshold: f64) -> Law {
    let above = law.iter().filter(|(_, p)| *p >= threshold).count();
    law[above.max(1) - 1..].to_vec()
}

/// Logits of a random distribution of 1 to 60 tokens, flat to steep, some of them with ties.
fn random(rng: &mut Rng) -> Vec<f32> {
    let (count, scale) = (1 + rng.below(60) as usize, [0.01, 1.0, 3.0, 8.0][rng.below(4) as usize]);
    let mut logits = rng.normals(count, scale);
    if rng.below(5) == 0 {
        // Zeros of one sign: ties are by id.
        logits.iter_mut().for_each(|z| *z = z.round() + 0.0);
    }
    logits
}

fn settings(samplers: Samplers, temperature: f32) -> Chain {
    Chain::new(Sampling::default().temperature(temperature), samplers, &[], None).expect("in range")
}

fn law_of(chain: &Chain, logits: &[f32]) -> Law {
    chain.distribution(&mut logits.to_vec(), NOTHING, None).expect("tokens are left")
}

/// Distributions that each sampler is compared on.
const DISTRIBUTIONS: usize = 10_000;

/// Compares a sampler with its definition. A sum may reach a bound in another rounding: then the supports may differ by
/// tokens at the border, which at most one in a thousand distributions does.
#[track_caller]
fn same_as(name: &str, value: &str, expected: impl Fn(&[f32], &Law) -> Law) {
    let mut samplers = Samplers::default();
    samplers.set(name, value).expect("a name");
    let (chain, mut rng, mut border) = (settings(samplers, 1.0), Rng::new(name.len() as u64), 0);
    for _ in 0..DISTRIBUTIONS {
        let logits = random(&mut rng);
        let mut want = renormalised(expected(&logits, &softmax(&logits, 1.0)));
        want.sort_by_key(|(id, _)| *id);
        let got = law_of(&chain, &logits);
        let ids = |law: &Law| law.iter().map(|(id, _)| *id).collect::<Vec<_>>();
        if ids(&got) != ids(&want) {
            border += 1;
            continue;
        }
        let far = got.iter().zip(&want).any(|(a, b)| (a.1 - b.1).abs() > 1e-9);
        assert!(!far, "{name}={value} of {logits:?}: {got:?} instead of {want:?}");
    }
    assert!(border <= DISTRIBUTIONS / 1000, "{name}={value}: {border} supports differ");
}

#[test]
fn samplers_equal_their_definitions_on_random_distributions() {
    for n in [0.5, 1.0, 2.0] {
        same_as("top-n-sigma", &n.to_string(), |logits, _| top_n_sigma(logits, n));
    }
    // Settings are f32; sums compare with what that is in f64.
    let exact = |value: f32| f64::from(value);
    for mass in [0.2f32, 0.5, 0.95] {
        same_as("typical", &mass.to_string(), |_, law| typical(law, exact(mass)));
    }
    for share in [0.3f32, 0.7] {
        same_as("top-h", &share.to_string(), |_, law| top_h(law, exact(share)));
    }
    for z in [0.5f32, 0.95] {
        same_as("tail-free", &z.to_string(), |_, law| tail_free(law, exact(z)));
    }
    for epsilon in [9e-4f32, 0.05] {
        same_as("epsilon", &epsilon.to_string(), |_, law| passing(law, |p| p >= exact(epsilon)));
        let least = |law: &Law| exact(epsilon).min(exact(epsilon).sqrt() * (-entropy(law)).exp());
        same_as("eta", &epsilon.to_string(), |_, law| passing(law, |p| p >= least(law)));
    }
    same_as("xtc-probability", "1", |_, law| xtc(law, exact(0.1)));
}

#[test]
fn dynamic_temperature_follows_the_entropy() {
    let mut samplers = Samplers::default();
    samplers.set("dynamic-temperature", "0.5:2").expect("a name");
    let (chain, mut rng) = (settings(samplers, 1.0), Rng::new(5));
    for _ in 0..DISTRIBUTIONS {
        let logits = random(&mut rng);
        let count = logits.len() as f64;
        let share = if count > 1.0 { entropy(&softmax(&logits, 1.0)) / count.ln() } else { 0.0 };
        let temperature = if count > 1.0 { 0.5 + share.min(1.0).powi(2) } else { 1.0 };
        let mut want = softmax(&logits, temperature);
        want.sort_by_key(|(id, _)| *id);
        let got = law_of(&chain, &logits);
        assert!(got.iter().zip(&want).all(|(a, b)| a.0 == b.0 && (a.1 - b.1).abs() < 1e-9), "{logits:?}");
    }
    // A flat distribution gets the highest temperature, which leaves it flat.
    assert!(law_of(&chain, &[0.0; 4]).iter().all(|(_, p)| (p - 0.25).abs() < 1e-12));
}

#[test]
fn worked_examples_of_the_filters_hold() {
    let logits = |p: &[f32]| p.iter().map(|p| p.ln()).collect::<Vec<f32>>();
    let kept = |name: &str, value: &str, p: &[f32]| {
        let mut samplers = Samplers::default();
        samplers.set(name, value).expect("a name");
        law_of(&settings(samplers, 1.0), &logits(p)).into_iter().map(|(id, _)| id).collect::<Vec<_>>()
    };
    assert_eq!(kept("tail-free", "0.95", &[0.4, 0.3, 0.15, 0.1, 0.05]), [0, 1]);
    assert_eq!(kept("xtc-probability", "1", &[0.4, 0.25, 0.15, 0.12, 0.05, 0.03]), [3, 4, 5]);
    // The order can be told: min-p in front of a temperature of 2 and behind it.
    let ordered = |order: &str| {
        let mut samplers = Samplers::default();
        samplers.set("order", order).expect("filters");
        let sampling = Sampling::default().temperature(2.0).min_p(0.2);
        let chain = Chain::new(sampling, samplers, &[], None).expect("in range");
        law_of(&chain, &logits(&[0.5, 0.3, 0.12, 0.05, 0.03])).len()
    };
    assert_eq!((ordered("min-p,temperature"), ordered("temperature,min-p")), (3, 5));
}

#[test]
fn chain_chooses_what_the_op_chooses() {
    let mut rng = Rng::new(11);
    for case in 0..2000u64 {
        let logits = random(&mut rng);
        let sampling = Sampling::default()
            .temperature([0.0, 0.7, 1.0, 1.5][rng.below(4) as usize])
            .top_k(rng.below(6))
            .top_p([1.0, 0.5, 0.9][rng.below(3) as usize])
            .min_p([0.0, 0.1][rng.below(2) as usize])
            .repetition_penalty([1.0, 1.3][rng.below(2) as usize])
            .seed(case);
        let seen: Vec<u32> = (0..rng.below(8)).map(|_| rng.below(logits.len() as u32)).collect();
        let spec: Spec = Sampler::new(sampling).expect("in range").next(logits.len() as u32);
        let mut bits = vec![0u32; logits.len().div_ceil(32)];
        seen.iter().for_each(|id| bits[*id as usize / 32] |= 1 << (id % 32));
        let bytes = |words: Vec<u32>| words.into_iter().flat_map(u32::to_le_bytes).collect::<Vec<u8>>();
        let (row, bits) = (bytes(logits.iter().map(|z| z.to_bits()).collect()), bytes(bits));
        let mut inputs: Vec<(&str, &[u8])> = vec![("logits", &row)];
        inputs.extend((spec.penalty != 1.0).then_some(("seen", &bits[..])));
        let output = pollster::block_on(run_on(&HostBackend::cpu(1), &spec.into(), &inputs)).expect("it runs");
        let want = output.u32("token").expect("a token")[0];
        let mut chain = Chain::new(sampling, Samplers::default(), &[], None).expect("in range");
        let past = Past { tokens: &seen, generated: 0 };
        let got = chain.choose(&mut logits.clone(), past, None).expect("a token");
        assert_eq!(got.id, want, "{sampling:?} of {logits:?}, seen {seen:?}");
    }
}

/// The statistic of draws against a law, and what a chi-squared variable stays below with a chance of 1 - 1e-6: by the
/// approximation of Wilson and Hilferty.
fn chi_squared(counts: &[u32], law: &[f64]) -> (f64, f64) {
    let total: f64 = counts.iter().map(|c| f64::from(*c)).sum();
    let statistic = counts.iter().zip(law).map(|(c, p)| (f64::from(*c) - p * total).powi(2) / (p * total)).sum();
    let free = (law.len() - 1) as f64;
    let spread = 2.0 / (9.0 * free);
    (statistic, free * (1.0 - spread + 4.753 * spread.sqrt()).powi(3))
}

#[test]
fn draws_follow_the_filtered_distribution() {
    let logits: Vec<f32> = vec![1.0, 0.4, 2.0, -0.5, 0.0, 1.4];
    for (name, value) in [
        ("typical", "0.8"),
        ("top-n-sigma", "2"),
        ("eta", "0.01"),
        ("xtc-probability", "1"),
        ("top-h", "0.95"),
        ("tail-free", "0.9"),
        ("epsilon", "0.05"),
        ("dynamic-temperature", "0.5:1"),
    ] {
        let mut samplers = Samplers::default();
        samplers.set(name, value).expect("a name");
        let mut chain = settings(samplers, 1.2);
        let law = law_of(&chain, &logits);
        let mut counts = vec![0u32; law.len()];
        for generated in 0..40_000 {
            let past = Past { tokens: &[], generated };
            let id = chain.choose(&mut logits.clone(), past, None).expect("a token").id;
            counts[law.iter().position(|(kept, _)| *kept == id).expect("inside of the support")] += 1;
        }
        let (statistic, most) = chi_squared(&counts, &law.iter().map(|(_, p)| *p).collect::<Vec<_>>());
        assert!(statistic < most, "{name}: {statistic} is not below {most}");
    }
}

#[test]
fn mirostat_keeps_the_surprise_at_its_target() {
    // Zipf's law with exponent 1.1 over 10,000 tokens.
    let logits: Vec<f32> = (1..=10_000).map(|rank| -1.1 * (rank as f32).ln()).collect();
    for (version, tau) in [(1, 3.0), (1, 5.0), (2, 3.0), (2, 5.0)] {
        let sampling = Sampling::default().temperature(1.0).seed(9);
        let samplers = foveate_core::generate::Generation::new().mirostat(version, tau, 0.1).samplers;
        let mut chain = Chain::new(sampling, samplers, &[], None).expect("in range");
        let mut bits = 0.0;
        for generated in 0..2000 {
            let past = Past { tokens: &[], generated };
            bits += chain.choose(&mut logits.clone(), past, None).expect("a token").surprise.expect("measured");
        }
        let mean = bits / 2000.0;
        assert!((mean - f64::from(tau)).abs() < 0.1, "mirostat {version}: {mean} bits instead of {tau}");
    }
}

/// A row that has changed by the edits in front of the filters.
fn edited(samplers: Samplers, logits: &[f32], past: Past<'_>) -> Vec<f32> {
    let mut row = logits.to_vec();
    settings(samplers, 1.0).distribution(&mut row, past, None).expect("tokens are left");
    row
}

#[test]
fn dry_penalises_by_the_longest_repetition() {
    let mut rng = Rng::new(21);
    let samplers = || {
        let mut samplers = Samplers::default();
        for (name, value) in [("dry-multiplier", "0.8"), ("dry-base", "1.75"), ("dry-allowed-length", "2")] {
            samplers.set(name, value).expect("a name");
        }
        samplers
    };
    for _ in 0..2000 {
        let text: Vec<u32> = (0..rng.below(40)).map(|_| rng.below(3)).collect();
        let row = edited(samplers(), &[0.0; 4], Past { tokens: &text, generated: 0 });
        for id in 0..4u32 {
            // The longest end of the text that stands in front of an earlier place of the token.
            let longest = (0..text.len())
                .filter(|at| text[*at] == id)
                .map(|at| (0..=at).take_while(|n| text[at - n..at] == text[text.len() - n..]).last().unwrap_or(0))
                .max();
            let penalty = longest.filter(|n| *n >= 2).map_or(0.0, |n| 0.8 * 1.75f32.powi(n as i32 - 2));
            assert!((row[id as usize] + penalty).abs() <= 1e-5 * penalty, "token {id} after {text:?}: {row:?}");
        }
    }
}

#[test]
fn penalties_count_in_their_windows() {
    let tokens = [3, 1, 1, 2];
    let past = Past { tokens: &tokens, generated: 2 };
    let with = |set: &[(&str, &str)]| {
        let mut samplers = Samplers::default();
        set.iter().for_each(|(name, value)| samplers.set(name, value).expect("a name"));
        edited(samplers, &[0.0; 4], past)
    };
    // Without a window, of the answer: 1 and 2.
    assert_eq!(with(&[("frequency-penalty", "0.5"), ("presence-penalty", "1")]), [0.0, -1.5, -1.5, 0.0]);
    assert_eq!(with(&[("frequency-penalty", "0.5"), ("penalty-window", "3")]), [0.0, -1.0, -0.5, 0.0]);
    let window = Samplers::default().penalty_window(Some(1));
    let sampling = Sampling::default().temperature(1.0).repetition_penalty(2.0);
    let mut row = [1.0, 1.0, 1.0, -1.0];
    let chain = Chain::new(sampling, window, &[], None).expect("in range");
    chain.distribution(&mut row, past, None).expect("tokens are left");
    assert_eq!(row, [1.0, 1.0, 0.5, -1.0]);
}

#[test]
fn ngrams_bans_biases_and_masks_exclude_tokens() {
    let excluded =
        |row: &[f32]| (0..).zip(row).filter(|(_, z)| **z == f32::NEG_INFINITY).map(|t| t.0).collect::<Vec<u32>>();
    let with = |n: u32, tokens: &[u32]| {
        let samplers = Samplers::default().no_repeat_ngram(n);
        excluded(&edited(samplers, &[0.0; 5], Past { tokens, generated: 0 }))
    };
    assert_eq!(with(2, &[1, 2, 3, 1, 4, 1]), [2, 4]);
    assert_eq!(with(3, &[1, 2, 3, 1, 2]), [3]);
    assert_eq!(with(1, &[1, 3]), [1, 3]);
    assert!(with(4, &[1, 2]).is_empty());
    // The end of a text waits for the minimum.
    let samplers = Samplers::default().min_tokens(2).logit_bias(vec![(0, f32::NEG_INFINITY), (9, 1.0)]);
    let mut chain = Chain::new(Sampling::default(), samplers, &[2], None).expect("in range");
    let mut at = |generated, allowed: Option<&[u32]>| {
        chain.choose(&mut [5.0, 0.0, 3.0, 1.0], Past { tokens: &[], generated }, allowed).map(|choice| choice.id)
    };
    assert_eq!((at(1, None), at(2, None)), (Ok(3), Ok(2)));
    assert_eq!(at(2, Some(&[0b0010])), Ok(1));
    assert_eq!(at(1, Some(&[0b0101])), Err(Error::NoToken { position: 0 }));
    let overflows = Samplers::default().logit_bias(vec![(0, f32::MAX)]);
    let mut chain = Chain::new(Sampling::default(), overflows, &[], None).expect("in range");
    assert_eq!(chain.choose(&mut [f32::MAX, 0.0], NOTHING, None), Err(Error::NotFinite { position: 0 }));
    let nan = [f32::NAN, 0.0];
    let mut chain = Chain::new(Sampling::default(), Samplers::default(), &[], None).expect("in range");
    assert_eq!(chain.choose(&mut nan.clone(), NOTHING, None), Err(Error::NotFinite { position: 0 }));
}

#[test]
fn off_values_leave_a_distribution_as_it_is() {
    let mut samplers = Samplers::default();
    for (name, value) in
        [("typical", "1"), ("top-h", "0"), ("tail-free", "1"), ("epsilon", "0"), ("dry-multiplier", "0")]
    {
        samplers.set(name, value).expect("a name");
    }
    let chain = settings(samplers, 1.0);
    assert!(chain.is_plain(0));
    let logits = [0.5, 1.0, -2.0];
    let mut want = softmax(&logits, 1.0);
    want.sort_by_key(|(id, _)| *id);
    assert!(law_of(&chain, &logits).iter().zip(&want).all(|(a, b)| a.0 == b.0 && (a.1 - b.1).abs() < 1e-12));
    for (name, value) in [("typical", "2"), ("tail-free", "-1"), ("xtc-threshold", "NaN"), ("dry-base", "0.5")] {
        let mut samplers = Samplers::default();
        samplers.set(name, value).expect("a name");
        let refused = Chain::new(Sampling::default(), samplers, &[], None).expect_err("out of range");
        assert!(refused.to_string().contains(name), "{refused}");
    }
    assert_eq!(Filter::ORDER.to_vec(), Samplers::default().order);
    let spec = |draws: Draws| {
        let sampling = Sampling::default().temperature(1.0);
        Sampler::new(sampling).expect("in range").with_draws(draws).next(4).draw.map(|draw: Draw| draw.uniform)
    };
    assert_eq!(spec(Draws::new(0)), Some(Draws::new(0).choice(0)));
}
