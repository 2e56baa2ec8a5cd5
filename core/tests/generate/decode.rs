use super::{drawn, model, start, tiny};
use foveate_core::coprocessor::Cancel;
use foveate_core::generate::{Finish, Generation, Generator, Piece, Prompt};
use foveate_core::kernels::dtype::DType;
use foveate_core::session::{Buffered, Observed, Observer, Session};
use foveate_core::{Any, Error};
use std::sync::atomic::{AtomicU32, Ordering};

fn all(mut generator: Generator<Any>) -> (Vec<Piece>, Finish) {
    let pieces: Vec<Piece> = generator.by_ref().collect::<Result<_, _>>().expect("it runs");
    (pieces, generator.finish().expect("it ended").clone())
}

fn text(pieces: &[Piece]) -> String {
    pieces.iter().map(|piece| piece.text.as_str()).collect()
}

fn ids(pieces: &[Piece]) -> Vec<u32> {
    pieces.iter().filter_map(|piece| piece.token.as_ref()).map(|token| token.id).collect()
}

#[test]
fn generation_gives_whole_characters_of_its_tokens() {
    let (pieces, finish) = all(start("the king", &drawn()));
    assert_eq!(finish, Finish::MaxTokens);
    let ids = ids(&pieces);
    assert_eq!(ids.len(), 60);
    let whole = model().tokenizer().expect("a tokenizer").decode(&ids, true).expect("text");
    assert_eq!(text(&pieces), whole);
}

#[test]
fn generation_is_what_a_session_chooses_step_by_step() {
    let (pieces, _) = all(start("and then", &Generation::new().max_tokens(20).ignore_eos(true)));
    let mut session = Session::new(model(), 64).expect("room");
    let mut sampler = foveate_core::sample::Sampler::new(Default::default()).expect("in range");
    let mut next = Prompt::from("and then").ids(&model()).expect("ids");
    let mut plain: Vec<u32> = Vec::new();
    for _ in 0..20 {
        next = vec![pollster::block_on(session.next(&next, &mut sampler)).expect("a token")];
        plain.extend(&next);
    }
    assert_eq!(ids(&pieces), plain);
}

#[test]
fn stop_string_ends_the_text_before_it_wherever_tokens_end() {
    let (pieces, _) = all(start("the king", &drawn()));
    let whole = text(&pieces);
    let characters: Vec<char> = whole.chars().collect();
    let mut over_borders = 0;
    for start_at in 0..characters.len() - 4 {
        for len in 1..=4 {
            let stop: String = characters[start_at..start_at + len].iter().collect();
            // A character that is broken in the whole text may be whole in a shorter one.
            if stop.contains(char::REPLACEMENT_CHARACTER) {
                continue;
            }
            let (stopped, finish) = all(start("the king", &drawn().stop([stop.as_str()])));
            let at = whole.find(&stop).expect("a part of the text");
            assert_eq!(text(&stopped), whole[..at], "before {stop:?}");
            assert_eq!(finish, Finish::StopString(stop.clone()));
            // As many tokens as it takes, and no more.
            over_borders += u32::from(stopped.last().is_some_and(|p| !stop.starts_with(&p.text) || p.text.is_empty()));
            assert!(ids(&stopped).len() <= pieces.len(), "after {stop:?}");
        }
    }
    assert!(over_borders > 0, "no stop string spans tokens");
}

#[test]
fn generation_tells_why_it_ended() {
    let finish = |prompt: &str, options: &Generation| all(start(prompt, options)).1;
    assert_eq!(finish("a", &drawn().max_tokens(0)), Finish::MaxTokens);
    // Some draw chooses the token that ends a text.
    let ends = (0..200).find_map(|seed| match finish("a", &drawn().seed(seed).ignore_eos(false)) {
        Finish::EndOfText { token } => Some(token),
        _ => None,
    });
    assert_eq!(ends, Some(1));
    let prompt = Prompt::Ids(vec![10; 20]);
    let generator = Generator::start(model(), prompt, 24, DType::F32, &drawn()).expect("room");
    let (pieces, finish) = all(generator);
    // The last one has no room to be read.
    assert_eq!((finish, ids(&pieces).len()), (Finish::Context, 5));
    let long = Generator::start(model(), vec![10u32; 25], 24, DType::F32, &drawn()).err();
    assert_eq!(long, Some(Error::ContextFull { tokens: 25, context: 24 }));
    let none = Generator::start(model(), Vec::<u32>::new(), 24, DType::F32, &drawn()).err();
    assert_eq!(none, Some(Error::EmptyPrompt));
}

#[test]
fn end_of_text_gives_no_text_and_leaves_no_token() {
    let seed = (0..200).find(|seed| {
        let mut generator = start("a", &drawn().seed(*seed).ignore_eos(false));
        pollster::block_on(generator.text()).expect("it runs");
        matches!(generator.finish(), Some(Finish::EndOfText { .. }))
    });
    let mut generator = start("a", &drawn().seed(seed.expect("an end")).ignore_eos(false));
    let text = pollster::block_on(generator.text()).expect("it runs");
    assert!(!text.contains("</s>"));
    assert!(!generator.session().tokens().contains(&1));
    let mut shown = start("a", &drawn().seed(seed.expect("an end")).show_special(true));
    assert!(pollster::block_on(shown.text()).expect("it runs").contains("</s>"));
}

/// Cancels as the first tokens are read.
struct CancelsAtOnce(Cancel);

impl Observer<Any> for CancelsAtOnce {
    fn layers(&self) -> &[usize] {
        &[0]
    }

    fn observe(&mut self, _: &Any, _: Observed<'_, Any>) {
        self.0.cancel();
    }
}

#[test]
fn cancel_works_inside_of_a_long_prompt() {
    let cancel = Cancel::default();
    let mut generator = start(vec![10u32; 1500], &drawn().cancel(cancel.clone()));
    let observer = Box::new(CancelsAtOnce(cancel));
    generator.session_mut().session_mut().observe(Some(observer));
    assert_eq!(pollster::block_on(generator.text()), Ok(String::new()));
    assert_eq!(generator.finish(), Some(&Finish::Cancelled));
    let read = generator.session().session().tokens().len();
    assert_eq!(read, 512);
    generator.session_mut().session_mut().observe(None);
    // What was read stays, and the generation can begin again.
    let mut again = Generator::new(generator.into_session(), &drawn().max_tokens(1)).expect("a prompt");
    assert_eq!(again.usage().cached_tokens as usize, read);
    assert_eq!(again.by_ref().count(), 1);
}

#[test]
fn cancelled_between_two_tokens_it_keeps_what_there_is() {
    let cancel = Cancel::default();
    let mut generator = start("the", &drawn().cancel(cancel.clone()));
    let first: Vec<_> = generator.by_ref().take(5).collect();
    cancel.cancel();
    assert_eq!(first.len(), 5);
    assert!(generator.all(|piece| piece.expect("no error").token.is_none()));
    assert_eq!(generator.finish(), Some(&Finish::Cancelled));
    assert_eq!(generator.usage().generated_tokens, 5);
}

#[test]
fn usage_and_timing_are_figures_of_the_loop() {
    static TICKS: AtomicU32 = AtomicU32::new(0);
    fn clock() -> f64 {
        f64::from(TICKS.fetch_add(1, Ordering::Relaxed))
    }
    let mut generator = start(vec![10u32; 30], &drawn().max_tokens(5).clock(clock));
    let pieces = generator.by_ref().filter(|piece| piece.as_ref().is_ok_and(|p| p.token.is_some())).count();
    assert_eq!(pieces, 5);
    let usage = generator.usage();
    assert_eq!((usage.prompt_tokens, usage.cached_tokens, usage.generated_tokens), (30, 0, 5));
    let timing = generator.timing();
    // One tick as it begins, and one behind each token.
    assert_eq!((timing.first_token, timing.prompt_rate, timing.decode_rate), (Some(1.0), Some(30.0), Some(1.0)));
}

#[test]
fn logprobs_tell_of_the_token_that_is_chosen_without_them() {
    let options = Generation::new().max_tokens(12).ignore_eos(true).repetition_penalty(1.3);
    let (plain, _) = all(start("the king", &options));
    let (told, _) = all(start("the king", &options.clone().logprobs(3)));
    assert_eq!(ids(&plain), ids(&told));
    for token in told.iter().filter_map(|piece| piece.token.as_ref()) {
        let likelihood = token.likelihood.expect("it was asked for");
        assert!(likelihood.logprob < 0.0 && likelihood.entropy > 0.0, "{token:?}");
        assert_eq!(token.likeliest.len(), 3);
        assert!(token.likeliest.is_sorted_by(|a, b| a.1 >= b.1), "{token:?}");
        if likelihood.rank < 3 {
            let (id, logprob) = token.likeliest[likelihood.rank as usize];
            assert!(id == token.id && (logprob - likelihood.logprob).abs() < 1e-9, "{token:?}");
        }
    }
}

#[test]
fn replayed_tokens_are_as_if_they_had_been_chosen() {
    let (pieces, _) = all(start("the king", &drawn()));
    let (whole, ids) = (text(&pieces), ids(&pieces));
    for count in [0, 1, 17, 59] {
        let (rest, _) = all(start("the king", &drawn().replay(ids[..count].to_vec())));
        assert_eq!(self::ids(&rest), ids[count..], "behind {count} tokens");
        assert!(whole.ends_with(&text(&rest)), "behind {count} tokens");
    }
}

#[test]
fn options_out_of_range_are_refused_by_name() {
    let refused = |options: Generation| Generator::start(model(), "a", tiny::CONTEXT, DType::F32, &options).err();
    let message = |options| refused(options).map(|error: Error| error.to_string()).unwrap_or_default();
    let none = "must be a text of at least one character, got \"\"";
    assert_eq!(message(drawn().stop([""])), format!("stop {none}"));
    assert_eq!(message(drawn().temperature(-1.0)), "temperature must be a finite number, 0 or more, got -1");
    assert_eq!(message(drawn().temperature(f32::INFINITY)), "temperature must be a finite number, 0 or more, got inf");
    assert_eq!(message(drawn().top_p(7.0)), "top-p must be 0 to 1, got 7");
    assert_eq!(message(drawn().min_p(f32::NAN)), "min-p must be 0 to 1, got NaN");
    let penalty = "repetition-penalty must be a finite number above 0, got 0";
    assert_eq!(message(drawn().repetition_penalty(0.0)), penalty);
    let vocab = model().config().vocab;
    for (name, value, expected) in [
        ("frequency-penalty", "nan", "a finite number, got NaN"),
        ("ban", "", none.trim_start_matches("must be ")),
        ("typical", "2", "0 to 1, got 2"),
        ("mirostat", "3", "1 or 2, got 3"),
        ("logit-bias", "7=inf", "ID=X with a finite number X, or -inf, which excludes the token, got 7=inf"),
        (
            "logit-bias",
            &format!("{vocab}=1"),
            &format!("ID=X with an ID below {vocab}, the size of the vocabulary, got {vocab}=1"),
        ),
    ] {
        let mut options = drawn();
        options.samplers.set(name, value).expect("a sampler");
        assert_eq!(message(options), format!("{name} must be {expected}"));
    }
}

#[test]
fn buffered_tokens_can_be_appended_and_rolled_back() {
    let mut text = Buffered::new(Session::new(model(), 100).expect("room"));
    text.append(&[5, 6, 7, 8]).expect("room");
    assert!(text.read(2).expect("it reads") && text.pending() == [7, 8]);
    assert!(!text.read(9).expect("it reads") && text.pending() == [8]);
    text.rollback(2).expect("it was that long");
    assert_eq!((text.tokens(), text.pending()), (vec![5, 6], &[6][..]));
    assert_eq!(text.set_tokens(&[5, 6, 9, 10]).expect("room"), 1);
    assert_eq!(text.tokens(), [5, 6, 9, 10]);
    let kept = text.snapshot();
    text.rollback(0).expect("it was empty");
    assert!(text.is_empty() && text.spans().is_empty());
    text.rollback_to(&kept).expect("the same pool");
    assert_eq!((text.len(), kept.len(), text.spans()[0].len), (4, 4, 4));
    assert!(text.append(&[5; 97]).is_err_and(|e| e == Error::ContextFull { tokens: 101, context: 100 }));
    assert!(text.append(&[100_000]).is_err());
    assert_eq!(text.len(), 4);
}
