//! How many tokens are drafted.

/// Tokens of a draft at first, and at most.
const LENGTH: usize = 4;
const MOST: usize = 16;
/// Steps without a draft, after drafts that did not pay: at first, and at most.
const PAUSE: u32 = 8;
const LONGEST_PAUSE: u32 = 256;
/// The share of drafted tokens that must be accepted where no clock tells what a step takes.
const SHARE: f64 = 0.3;
/// Weight of the newest step in a mean.
const NEWEST: f64 = 0.25;

/// Decides how many tokens are drafted: more while drafts are accepted, none for a while where they do not pay. It changes
/// the speed of a generation, never its text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    length: usize,
    pause: u32,
    next_pause: u32,
    /// Mean share of accepted tokens.
    share: f64,
    /// Mean seconds of a token, in plain steps and in those with a draft.
    plain: Option<f64>,
    drafted: Option<f64>,
}

fn mean(before: Option<f64>, newest: f64) -> f64 {
    before.map_or(newest, |before| before + NEWEST * (newest - before))
}

impl Pace {
    pub(super) fn new() -> Self {
        Self { length: LENGTH, pause: 0, next_pause: PAUSE, share: 1.0, plain: None, drafted: None }
    }

    /// Tokens to draft for the next step.
    pub(super) fn length(&mut self) -> usize {
        if self.pause > 0 {
            self.pause -= 1;
            return 0;
        }
        self.length
    }

    /// A step of one token without a draft took so long.
    pub(super) fn plain(&mut self, seconds: Option<f64>) {
        self.plain = seconds.map(|seconds| mean(self.plain, seconds)).or(self.plain);
    }

    /// A step with a draft took so long, the drafting included.
    pub(super) fn drafted(&mut self, drafted: usize, accepted: usize, seconds: Option<f64>) {
        self.length = if accepted == drafted { (self.length + 2).min(MOST) } else { (accepted + 1).clamp(2, MOST) };
        self.share = mean(Some(self.share), accepted as f64 / drafted.max(1) as f64);
        let of_token = seconds.map(|seconds| seconds / (accepted + 1) as f64);
        self.drafted = of_token.map(|seconds| mean(self.drafted, seconds)).or(self.drafted);
        let pays = match (self.plain, self.drafted) {
            (Some(plain), Some(drafted)) => drafted < plain,
            _ => self.share >= SHARE,
        };
        if pays {
            self.next_pause = PAUSE;
        } else {
            self.pause = self.next_pause;
            self.next_pause = (2 * self.next_pause).min(LONGEST_PAUSE);
            (self.share, self.drafted) = (1.0, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pace_pauses_drafts_that_do_not_pay_and_tries_again() {
        let mut pace = Pace::new();
        pace.plain(Some(1.0));
        // Four tokens in the time of two.
        pace.drafted(4, 3, Some(2.0));
        assert_eq!(pace.length(), 4);
        pace.drafted(4, 4, Some(2.0));
        assert_eq!(pace.length(), 6);
        let paused = |pace: &mut Pace| (0..1000).take_while(|_| pace.length() == 0).count();
        let mut pauses = Vec::new();
        for _ in 0..8 {
            while pace.pause == 0 {
                pace.drafted(4, 0, Some(2.0));
            }
            pauses.push(paused(&mut pace));
        }
        assert_eq!(pauses, [8, 16, 32, 64, 128, 256, 256, 256]);
        let mut timeless = Pace::new();
        while timeless.length() > 0 {
            timeless.drafted(4, 0, None);
        }
        assert_eq!(paused(&mut timeless), PAUSE as usize - 1);
    }
}
