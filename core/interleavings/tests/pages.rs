//! Counts of pages under every order of threads that the memory model allows.
//!
//! The file under test is compiled a second time, here, with the model checker's locks in the place of the system's. Each
//! page's contents are a cell that tells of two threads in it at once.

mod sync {
    pub(crate) use loom::sync::{Arc, Mutex, MutexGuard};
}

#[allow(dead_code, unreachable_pub)]
#[path = "../../src/cache/pages.rs"]
mod pages;

use loom::cell::UnsafeCell;
use loom::sync::{Arc, Mutex};
use loom::thread;
use pages::{Pages, Table};

struct Memory(Vec<UnsafeCell<u32>>);

// SAFETY: what the tests are about; the cells themselves tell of a race.
unsafe impl Sync for Memory {}

impl Memory {
    fn new(pages: &Pages) -> Arc<Self> {
        Arc::new(Self((0..pages.count()).map(|_| UnsafeCell::new(0)).collect()))
    }

    fn read(&self, page: u32) -> u32 {
        // SAFETY: the cell checks that nobody writes.
        self.0[page as usize].with(|value| unsafe { *value })
    }

    fn write(&self, page: u32, to: u32) {
        // SAFETY: the cell checks that nobody else is there.
        self.0[page as usize].with_mut(|value| unsafe { *value = to });
    }
}

/// Adds to the last page of a table, which takes a copy where others hold it.
fn append(table: &mut Table, memory: &Memory, more: u32) {
    let last = table.pages().len() - 1;
    let (replaced, _) = table.grow(0, Some(last), &[]).expect("a free page");
    if let Some(old) = &replaced {
        memory.write(table.pages()[last], memory.read(old.pages()[0]));
    }
    let page = table.pages()[last];
    memory.write(page, memory.read(page) + more);
}

fn one_page(pages: &Pages, memory: &Memory) -> Table {
    let mut table = Table::new(pages);
    table.grow(1, None, &[]).expect("a free page");
    memory.write(table.pages()[0], 1);
    table
}

#[test]
fn a_snapshot_is_read_while_its_sequence_appends() {
    loom::model(|| {
        let pages = Pages::new(2, 4);
        let memory = Memory::new(&pages);
        let mut table = one_page(&pages, &memory);
        let (snapshot, seen) = (table.clone(), memory.clone());
        let reader = thread::spawn(move || {
            assert_eq!(seen.read(snapshot.pages()[0]), 1);
            drop(snapshot);
        });
        append(&mut table, &memory, 10);
        assert_eq!(memory.read(table.pages()[0]), 11);
        reader.join().expect("no panic");
        drop(table);
        assert_eq!(pages.free(), 2);
    });
}

#[test]
fn a_fork_is_made_while_another_is_dropped() {
    loom::model(|| {
        let pages = Pages::new(3, 4);
        let memory = Memory::new(&pages);
        let table = one_page(&pages, &memory);
        let (one, other, seen) = (table.clone(), table, memory.clone());
        let dropping = thread::spawn(move || drop(other));
        let forking = thread::spawn(move || {
            let mut fork = one.clone();
            append(&mut fork, &seen, 5);
            assert_eq!((seen.read(one.pages()[0]), seen.read(fork.pages()[0])), (1, 6));
        });
        dropping.join().expect("no panic");
        forking.join().expect("no panic");
        assert_eq!(pages.free(), 3);
    });
}

#[test]
fn latents_arrive_while_the_sequence_decodes() {
    loom::model(|| {
        let pages = Pages::new(3, 4);
        let memory = Memory::new(&pages);
        let mut table = one_page(&pages, &memory);
        let answer = Arc::new(Mutex::new(None));
        let (snapshot, seen, to) = (table.clone(), memory.clone(), answer.clone());
        let coprocessor = thread::spawn(move || {
            // Its own rows go behind the snapshot's, on a page of its own.
            let mut reading = snapshot;
            append(&mut reading, &seen, 2);
            *to.lock().expect("no panic") = Some(seen.read(reading.pages()[0]));
        });
        append(&mut table, &memory, 10);
        let latents = answer.lock().expect("no panic").take();
        if let Some(latents) = latents {
            assert_eq!(latents, 3);
            append(&mut table, &memory, 100);
        }
        assert_eq!(memory.read(table.pages()[0]), if latents.is_some() { 111 } else { 11 });
        coprocessor.join().expect("no panic");
        drop(table);
        assert_eq!(pages.free(), 3);
    });
}

#[test]
fn a_checkpoint_is_given_up_while_a_snapshot_of_it_is_read() {
    loom::model(|| {
        let pages = Pages::new(2, 4);
        let memory = Memory::new(&pages);
        let (checkpoint, mut table) = (one_page(&pages, &memory), one_page(&pages, &memory));
        let (snapshot, seen) = (checkpoint.clone(), memory.clone());
        let reader = thread::spawn(move || {
            assert_eq!(seen.read(snapshot.pages()[0]), 1);
            drop(snapshot);
        });
        // Its page is taken over if the reader is gone, and stays as it is otherwise.
        match table.grow(1, None, &[checkpoint.pages()]) {
            Ok((replaced, given)) => {
                assert_eq!((replaced.is_none(), given), (true, 1));
                drop(checkpoint);
                memory.write(table.pages()[1], 7);
                assert_eq!(pages.free(), 0);
            }
            Err(exhausted) => {
                assert_eq!((exhausted.needs, exhausted.free), (1, 0));
                assert_eq!(memory.read(checkpoint.pages()[0]), 1);
                drop(checkpoint);
            }
        }
        reader.join().expect("no panic");
        drop(table);
        assert_eq!(pages.free(), 2);
    });
}
