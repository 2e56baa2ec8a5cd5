//! Random verbs over sessions of a model that routes: whatever a session went through, its centroids have what they have
//! of its tokens read at once.

use super::folder::Folder;
use super::support::{adapter, cpu, load};
use foveate_core::cache::{PAGE, Pool, Saved};
use foveate_core::host::HostBackend;
use foveate_core::kernels::dtype::DType;
use foveate_core::kernels::rng::Rng;
use foveate_core::model::Model;
use foveate_core::session::{Input, RollbackTarget, Session};
use foveate_core::{Any, Error};
use pollster::block_on;
use std::sync::Arc;

/// Tokens that a session has room for.
const CONTEXT: u32 = 90;

fn saved(session: &Session<Any>) -> (Vec<u8>, Saved) {
    let bytes = block_on(session.save()).expect("it is whole");
    let saved = block_on(Saved::read(bytes.clone())).expect("it was just written");
    (bytes, saved)
}

/// The positions that the centroids of every head have, layer by layer.
fn members(session: &Session<Any>) -> Vec<Vec<u32>> {
    let centroids = |layer: &Vec<u8>| {
        let words: Vec<u32> = bytemuck::pod_collect_to_vec(layer);
        // Two heads of three centroids.
        let each = words.len() / 6;
        words.chunks_exact(each).map(|words| words[1..1 + words[0] as usize].to_vec()).collect::<Vec<_>>()
    };
    saved(session).1.states.iter().flat_map(centroids).collect()
}

fn check(model: &Arc<Model<Any>>, session: &Session<Any>) {
    let mut whole = Session::new(model.clone(), CONTEXT).expect("room");
    if !session.tokens().is_empty() {
        whole.read(Input::Tokens(session.tokens())).expect("it reads");
    }
    assert_eq!(members(session), members(&whole), "{} tokens", session.tokens().len());
}

fn play(selection: &str, seed: u64) {
    let folder = Folder::routing(&["routing", "routing"], &format!(r#""routing_selection":"{selection}""#));
    // The definitions: what they route is the same in pieces of any length.
    let model = load(Any::Host(HostBackend::reference()), folder.files().expect("a known family"));
    let pool = Arc::new(Pool::new(model.backend(), model.config(), DType::F32, 12 * PAGE).expect("memory"));
    let session = || Session::in_pool(model.clone(), pool.clone(), CONTEXT).expect("room");
    let (mut rng, mut all) = (Rng::new(seed), vec![session()]);
    for _ in 0..40 {
        let at = rng.below(all.len() as u32) as usize;
        let len = all[at].tokens().len() as u32;
        match rng.below(8) {
            0..3 => {
                let tokens: Vec<u32> = (0..1 + rng.below(12)).map(|_| rng.below(48)).collect();
                if len + tokens.len() as u32 <= CONTEXT {
                    all[at].read(Input::Tokens(&tokens)).expect("it reads");
                }
            }
            3 if all.len() < 4 => {
                let fork = all[at].fork().expect("a fork");
                all.push(fork);
            }
            4 => all[at].checkpoint(),
            5 => {
                let to = rng.below(len + 1);
                // Exact where a checkpoint is, and read again from there elsewhere.
                if all[at].rollback(RollbackTarget::Len(to)).is_err() {
                    all[at].rewind(to).expect("it was that long");
                }
                assert_eq!(all[at].tokens().len() as u32, to);
            }
            6 if len > 0 => {
                let (bytes, _) = saved(&all[at]);
                all[at] = session();
                block_on(all[at].restore(bytes)).expect("it fits");
            }
            _ if all.len() > 1 => drop(all.swap_remove(at)),
            _ => {}
        }
        all.iter().for_each(|session| check(&model, session));
    }
    drop(all);
    assert_eq!(pool.state_slots().free(), pool.state_slots().count(), "slots that nobody holds are not free");
    assert_eq!(pool.pages().free(), pool.pages().count(), "pages that nobody holds are not free");
}

#[test]
fn centroids_have_what_they_have_of_the_whole_prefix_through_any_verbs() {
    for seed in 0..6 {
        println!("seed {seed}");
        play(if seed % 2 == 0 { "prefix" } else { "nearest" }, seed);
    }
}

#[test]
fn members_that_a_file_makes_up_lead_to_numbers_inside_of_the_tensors() {
    let folder = Folder::routing(&["routing", "routing"], "");
    for backend in [Some(cpu()), adapter()].into_iter().flatten() {
        let model = load(backend, folder.files().expect("a known family"));
        let session = || Session::new(model.clone(), CONTEXT).expect("room");
        let mut whole = session();
        whole.read(Input::Tokens(&[1, 2, 3, 4, 5, 6, 7])).expect("it reads");
        let (_, saved) = saved(&whole);
        let mut rng = Rng::new(9);
        let fills: [&mut dyn FnMut() -> u32; 4] =
            [&mut || u32::MAX, &mut || 4, &mut || 0x7fc0_0000, &mut || rng.below(9)];
        for fill in fills {
            let mut made_up = saved.clone();
            for layer in &mut made_up.states {
                let words: Vec<u32> = (0..layer.len() / 4).map(|_| fill()).collect();
                layer.copy_from_slice(bytemuck::cast_slice(&words));
            }
            let mut session = session();
            block_on(session.restore(made_up.write().expect("a file"))).expect("a cache of this model");
            for ids in [&[1][..], &[2, 3, 4, 5, 6, 7]] {
                let mut all = 0;
                let rows = |rows: &[f32]| all += rows.iter().filter(|x| x.is_finite()).count();
                block_on(session.logits(ids, rows)).expect("it reads");
                assert_eq!(all, ids.len() * 48);
            }
        }
        // Of another number of words it is refused.
        let mut short = saved.clone();
        short.states[1].truncate(8);
        let short = short.write().expect("a file");
        assert!(matches!(block_on(session().restore(short)), Err(Error::Format { .. })));
    }
}
