//! Several texts in one step: `batch [MODEL]`. A product reads its weights once for all of them.

use foveate::cache::Pool;
use foveate::kernels::dtype::DType;
use foveate::session::Turn;
use foveate::{Model, Prompt, Sampler, Sampling, Session, wait};
use std::sync::Arc;

const PROMPTS: [&str; 3] = ["The capital of France is", "Once upon a time", "Water boils at"];
const TOKENS: u32 = 16;

pub(crate) fn run(model: &str) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let model = Model::open(model)?;
    // Sessions over one pool of pages share it: here 128 tokens for each.
    let pool = Pool::new(model.backend(), model.config(), DType::F32, 128 * PROMPTS.len() as u32)?;
    let pool = Arc::new(pool);
    let (mut sessions, mut next) = (Vec::new(), Vec::new());
    let mut samplers = vec![Sampler::new(Sampling::default())?; PROMPTS.len()];
    for (prompt, sampler) in PROMPTS.iter().zip(&mut samplers) {
        let mut session = Session::in_pool(model.shared().clone(), pool.clone(), 128)?;
        let ids = Prompt::from(*prompt).ids(&model)?;
        next.push(wait(session.next(&ids, sampler))?);
        sessions.push(session);
    }
    let mut batch = sessions[0].batch(PROMPTS.len() as u32)?;
    let mut made: Vec<Vec<u32>> = next.iter().map(|id| vec![*id]).collect();
    for _ in 1..TOKENS {
        let parts = sessions.iter_mut().zip(&mut samplers).zip(&next);
        let mut turns: Vec<_> = parts.map(|((session, sampler), &token)| Turn { session, token, sampler }).collect();
        // One submission for all sequences, whatever their lengths.
        next = wait(batch.next(&mut turns))?;
        made.iter_mut().zip(&next).for_each(|(made, id)| made.push(*id));
    }
    let tokenizer = model.tokenizer()?;
    let texts = made.iter().map(|ids| tokenizer.decode(ids, true)).collect::<Result<Vec<_>, _>>()?;
    for (prompt, text) in PROMPTS.iter().zip(&texts) {
        println!("{prompt}{text}");
    }
    Ok(texts)
}

#[allow(dead_code)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    run(&std::env::args().nth(1).unwrap_or("smollm2-135m".into())).map(drop)
}
