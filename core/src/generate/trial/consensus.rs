//! Answers that several drawn texts agree on: self-consistency (2203.11171), perplexity consistency and reasoning pruning
//! (2502.00511, 2510.15444).

use super::walk::Draw;
use super::weibull::Mixture;
use std::collections::BTreeSet;

/// The weight of a text in the vote for its answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Weights {
    /// Each text weighs 1: self-consistency.
    #[default]
    Count,
    /// Each different text weighs its probability, once: perplexity consistency.
    Probability,
    /// As [`Probability`](Self::Probability), without texts of the improbable part of a mixture: reasoning pruning.
    Pruned,
}

/// The probability of a text.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum TextProbability {
    /// `exp(mean ln p)` of its tokens, 1 over its perplexity, as in the authors' code.
    #[default]
    Mean,
    /// The product over its tokens, as in the papers' theory.
    Product,
}

/// An answer and its share of the vote.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Vote {
    /// The answer.
    pub answer: String,
    /// The share of all weight.
    pub weight: f64,
    /// Texts that give it and were counted.
    pub texts: usize,
}

/// The answers of texts, the one of the highest weight first; ties in the order of the texts.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Consensus {
    /// The answers, with the largest share first.
    pub votes: Vec<Vote>,
    /// For each text, whether it was counted: it gives an answer, is no repetition where each text counts once, and was not
    /// pruned.
    pub counted: Vec<bool>,
}

/// Finds the answer that texts agree on. `answer` gives the answer of a text, `None` if it has none; equal answers are equal
/// strings.
pub fn consensus(
    draws: &[Draw],
    answer: impl Fn(&str) -> Option<String>,
    weights: Weights,
    probability: TextProbability,
) -> Consensus {
    let logs = draws.iter().map(|draw| match probability {
        TextProbability::Mean => draw.mean_logprob(),
        TextProbability::Product => draw.logprob,
    });
    let texts: Vec<(&str, Option<String>, f64)> =
        draws.iter().zip(logs).map(|(draw, log)| (draw.text.as_str(), answer(&draw.text), log)).collect();
    of_texts(&texts, weights)
}

/// As [`consensus`], of texts with their answers and the logarithms of their probabilities.
fn of_texts(texts: &[(&str, Option<String>, f64)], weights: Weights) -> Consensus {
    let mut known = BTreeSet::new();
    let distinct = weights != Weights::Count;
    let mut counted: Vec<bool> =
        texts.iter().map(|(text, answer, _)| (!distinct || known.insert(*text)) && answer.is_some()).collect();
    // Products underflow: everything is relative to the likeliest text.
    let logs = || texts.iter().zip(&counted).filter(|(_, counted)| **counted).map(|((_, _, log), _)| *log);
    let max = logs().fold(f64::NEG_INFINITY, f64::max);
    let probability = |log: f64| if max.is_finite() { (log - max).exp() } else { 1.0 };
    if weights == Weights::Pruned {
        let kept = kept(&logs().collect::<Vec<f64>>());
        let mut kept = kept.into_iter();
        counted.iter_mut().filter(|counted| **counted).for_each(|counted| *counted = kept.next().unwrap_or(true));
    }
    let mut votes: Vec<Vote> = Vec::new();
    for ((_, answer, log), _) in texts.iter().zip(&counted).filter(|(_, counted)| **counted) {
        let Some(answer) = answer else { continue };
        let weight = if distinct { probability(*log) } else { 1.0 };
        match votes.iter_mut().find(|vote| vote.answer == *answer) {
            Some(vote) => (vote.weight, vote.texts) = (vote.weight + weight, vote.texts + 1),
            None => votes.push(Vote { answer: answer.clone(), weight, texts: 1 }),
        }
    }
    let sum: f64 = votes.iter().map(|vote| vote.weight).sum();
    votes.iter_mut().for_each(|vote| vote.weight /= sum);
    votes.sort_by(|a, b| b.weight.total_cmp(&a.weight));
    Consensus { votes, counted }
}

/// Different probabilities that a mixture of two distributions is fitted to, at least.
const FEWEST: usize = 5;

/// Reasoning pruning: which texts of these logarithms of probabilities are kept. A text is pruned if it belongs to the lower
/// component of a mixture of two Weibull distributions and its probability is below the mean.
fn kept(logs: &[f64]) -> Vec<bool> {
    let max = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    // Mean probabilities as they are; products are scaled, which moves the mixture's scales alone.
    let least = logs.iter().copied().fold(f64::INFINITY, f64::min);
    let shift = if least < -600.0 { max } else { 0.0 };
    let all: Vec<f64> = logs.iter().map(|log| (log - shift).exp()).collect();
    let different: BTreeSet<u64> = all.iter().map(|p| p.to_bits()).collect();
    let usable = all.iter().all(|p| *p > 0.0 && p.is_finite());
    if different.len() < FEWEST || !usable {
        return vec![true; logs.len()];
    }
    let (mixture, mean) = (Mixture::fit(&all), all.iter().sum::<f64>() / all.len() as f64);
    all.iter().map(|p| mixture.high(*p) >= 0.5 || *p >= mean).collect()
}

/// The last number of a text, without separators of thousands and zeros at its end, so that equal numbers are equal strings.
pub fn last_number(text: &str) -> Option<String> {
    let is_part = |c: char| c.is_ascii_digit() || c == ',' || c == '.';
    let end = text.rfind(|c: char| c.is_ascii_digit())? + 1;
    let begin = text[..end]
        .rfind(|c: char| !is_part(c))
        .map_or(0, |at| at + text[at..].chars().next().map_or(1, char::len_utf8));
    let digits: String = text[begin..end].trim_start_matches([',', '.']).chars().filter(|c| *c != ',').collect();
    let number = match digits.split_once('.') {
        Some((whole, part)) if !part.contains('.') => {
            let part = part.trim_end_matches('0');
            let whole = if whole.trim_start_matches('0').is_empty() { "0" } else { whole.trim_start_matches('0') };
            if part.is_empty() { whole.to_owned() } else { format!("{whole}.{part}") }
        }
        // Versions and dates stay what they are.
        Some(_) => digits,
        None if digits.trim_start_matches('0').is_empty() => "0".into(),
        None => digits.trim_start_matches('0').into(),
    };
    let before = text[..begin].chars().rev();
    let mut before = before.skip_while(|c| *c == '$');
    let negative = before.next() == Some('-') && before.next().is_none_or(|c| !c.is_alphanumeric() && c != ')');
    Some(if negative && number != "0" { format!("-{number}") } else { number })
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: [(f64, &str); 10] = [
        (0.92, "A"),
        (0.90, "A"),
        (0.88, "B"),
        (0.86, "B"),
        (0.60, "C"),
        (0.55, "C"),
        (0.52, "C"),
        (0.50, "C"),
        (0.48, "D"),
        (0.45, "C"),
    ];

    fn example(order: impl Iterator<Item = usize>, weights: Weights) -> Consensus {
        const NAMES: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
        let texts: Vec<(&str, Option<String>, f64)> =
            order.map(|i| (NAMES[i], Some(EXAMPLE[i].1.to_owned()), EXAMPLE[i].0.ln())).collect();
        of_texts(&texts, weights)
    }

    fn weight(consensus: &Consensus, answer: &str) -> f64 {
        consensus.votes.iter().find(|vote| vote.answer == answer).map_or(0.0, |vote| vote.weight)
    }

    #[test]
    fn worked_example_of_reasoning_pruning_holds() {
        let voted = example(0..10, Weights::Count);
        assert_eq!((voted.votes[0].answer.as_str(), voted.votes[0].texts), ("C", 5));
        let weighed = example(0..10, Weights::Probability);
        for (answer, expected) in [("C", 0.393), ("A", 0.273), ("B", 0.261), ("D", 0.072)] {
            assert!((weight(&weighed, answer) - expected).abs() < 5e-4, "{weighed:?}");
        }
        let pruned = example(0..10, Weights::Pruned);
        assert_eq!(pruned.counted, [true, true, true, true, false, false, false, false, false, false]);
        assert_eq!(pruned.votes[0].answer, "A");
        assert!((weight(&pruned, "A") - 0.511).abs() < 5e-4 && (weight(&pruned, "B") - 0.489).abs() < 5e-4);
    }

    #[test]
    fn consensus_does_not_depend_on_the_order_or_on_repetitions() {
        let (one, other) = (example(0..10, Weights::Pruned), example((0..10).rev(), Weights::Pruned));
        assert_eq!(one.votes[0].answer, other.votes[0].answer);
        assert!((one.votes[0].weight - other.votes[0].weight).abs() < 1e-12);
        let twice = example((0..10).chain(4..10), Weights::Pruned);
        assert_eq!(one.votes, twice.votes);
        // Of equal probabilities none is pruned, and the weights are those of votes.
        let equal: Vec<(&str, Option<String>, f64)> =
            ["a", "b", "c", "d", "e", "f"].map(|t| (t, Some((t < "c").to_string()), -1.0)).to_vec();
        assert_eq!(of_texts(&equal, Weights::Pruned), of_texts(&equal, Weights::Probability));
        let counts = of_texts(&equal, Weights::Count);
        assert!((counts.votes[0].weight - 4.0 / 6.0).abs() < 1e-12);
        // A text without an answer votes for nothing; nothing comes of none.
        assert_eq!(of_texts(&[("a", None, -1.0), ("b", Some("x".into()), -9.0)], Weights::Probability).votes.len(), 1);
        assert!(of_texts(&[], Weights::Pruned).votes.is_empty());
        // Products of long texts do not underflow.
        let long = [("a", Some("x".to_owned()), -9000.0), ("b", Some("y".to_owned()), -9001.0)];
        assert!((weight(&of_texts(&long, Weights::Probability), "x") - 1.0 / (1.0 + (-1f64).exp())).abs() < 1e-12);
    }

    #[test]
    fn last_number_is_spelled_one_way() {
        for (text, expected) in [
            ("It is 1,200.50 dollars.", Some("1200.5")),
            ("so 3 + 4 = 7.", Some("7")),
            ("x = -12", Some("-12")),
            ("5-3 = 2, or 5-3", Some("3")),
            ("007", Some("7")),
            ("0.0", Some("0")),
            ("größer als 4.0", Some("4")),
            ("none", None),
        ] {
            assert_eq!(last_number(text).as_deref(), expected, "{text}");
        }
    }
}
