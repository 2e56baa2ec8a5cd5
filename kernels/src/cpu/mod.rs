//! Support for the host forms of ops: typed views of buffers, and the `Host` trait through which a caller provides
//! threads and matrix products.

mod matrix;
pub mod simd;

pub use crate::cpu::simd::{Bytes, Simd, Tiles};
pub use matrix::{Matrix, Tile};

use crate::plan::{Access, Arg};
use alloc::vec::Vec;
use core::ops::Range;

/// Memory of one argument.
pub enum View<'a> {
    /// An argument that the op reads.
    In(&'a [u8]),
    /// An argument that the op writes.
    Out(&'a mut [u8]),
}

/// Memory of an op's arguments, by name. Every view is aligned to 4 bytes.
///
/// An input can be taken any number of times, an output once.
pub struct Args<'a> {
    names: Vec<&'static str>,
    views: Vec<Option<View<'a>>>,
}

impl<'a> Args<'a> {
    /// Takes views in the order of `args` and cuts each to the bytes of its argument.
    ///
    /// # Panics
    /// If a view is shorter than its argument, or read-only where the op writes. [`Op::check`](crate::ops::Op::check)
    /// reports both as errors beforehand.
    pub fn new(args: &[Arg], views: Vec<View<'a>>) -> Self {
        let cut = |(arg, view): (&Arg, View<'a>)| {
            let bytes = arg.bytes() as usize;
            Some(match (view, arg.access) {
                (View::In(v), Access::Read) => View::In(&v[..bytes]),
                (View::Out(v), _) => View::Out(&mut v[..bytes]),
                (View::In(_), _) => panic!("{} is written", arg.name),
            })
        };
        Self { names: args.iter().map(|a| a.name).collect(), views: args.iter().zip(views).map(cut).collect() }
    }

    fn position(&self, name: &str) -> usize {
        self.names.iter().position(|n| *n == name).expect("an op names its own arguments")
    }

    /// Returns the bytes of an input.
    pub fn bytes(&self, name: &str) -> &'a [u8] {
        match self.views[self.position(name)] {
            Some(View::In(v)) => v,
            _ => panic!("{name} is not an input"),
        }
    }

    /// Returns the elements of an f32 input.
    pub fn f32(&self, name: &str) -> &'a [f32] {
        bytemuck::cast_slice(self.bytes(name))
    }

    /// Returns the elements of a u32 input.
    pub fn u32(&self, name: &str) -> &'a [u32] {
        bytemuck::cast_slice(self.bytes(name))
    }

    /// Returns an input that the spec may omit.
    pub fn optional(&self, name: &str) -> Option<&'a [f32]> {
        self.names.contains(&name).then(|| self.f32(name))
    }

    /// Returns the [`u32`](Self::u32) of an input that the spec may omit.
    pub fn optional_u32(&self, name: &str) -> Option<&'a [u32]> {
        self.names.contains(&name).then(|| self.u32(name))
    }

    /// Takes the bytes of an output; a second call for the same output panics.
    pub fn out_bytes(&mut self, name: &str) -> &'a mut [u8] {
        let index = self.position(name);
        match self.views[index].take() {
            Some(View::Out(v)) => v,
            _ => panic!("{name} is not an output, or was taken before"),
        }
    }

    /// Takes the elements of an f32 output; a second call for the same output panics.
    pub fn out(&mut self, name: &str) -> &'a mut [f32] {
        bytemuck::cast_slice_mut(self.out_bytes(name))
    }

    /// Takes the elements of a u32 output; a second call for the same output panics.
    pub fn out_u32(&mut self, name: &str) -> &'a mut [u32] {
        bytemuck::cast_slice_mut(self.out_bytes(name))
    }

    /// Takes an output that the spec may omit.
    pub fn optional_out(&mut self, name: &str) -> Option<&'a mut [f32]> {
        if self.names.contains(&name) { Some(self.out(name)) } else { None }
    }
}

/// Threads, matrix products and vector units that the CPU executor provides to the host forms.
pub trait Host: Sync {
    /// Returns the number of threads that [`parallel`](Host::parallel) may use.
    fn threads(&self) -> usize;

    /// Calls `body` with every number below `tasks`, in any order and on any thread. Returns once all calls are done.
    fn parallel(&self, tasks: usize, body: &(dyn Fn(usize) + Sync));

    /// Computes dense `c = a b`, or `c += a b` with `add`, on the calling thread.
    fn matmul(&self, a: Matrix<'_>, b: Matrix<'_>, c: &mut Tile<'_>, add: bool) {
        matrix::product(self.simd(), a, b, c, add);
    }

    /// Returns the vector unit that the host forms use.
    fn simd(&self) -> Simd {
        Simd::detect()
    }

    /// Returns the byte product instruction used for quantised weights. If `None`, products round nothing but f32.
    fn bytes(&self) -> Option<Bytes> {
        None
    }

    /// Returns the tile unit used for large products, with each f32 split
    /// into two bfloat16. If `None`, products round nothing but f32.
    fn tiles(&self) -> Option<Tiles> {
        None
    }

    /// Returns up to how many tokens a product has the same bits for each token as a product of that token alone.
    /// Products of more tokens may add in another order, which is faster.
    fn alike(&self) -> usize {
        0
    }
}

/// Calls `body` with ranges that cover `0..items`. Each range has at least `least` items unless `items` is smaller.
pub fn split(host: &dyn Host, items: usize, least: usize, body: &(dyn Fn(Range<usize>) + Sync)) {
    // Four ranges per thread balance the load when one thread is delayed.
    let most = if host.threads() > 1 { 4 * host.threads() } else { 1 };
    let tasks = (items / least.max(1)).clamp(1, most);
    match tasks {
        1 => body(0..items),
        _ => host.parallel(tasks, &|i| body(items * i / tasks..items * (i + 1) / tasks)),
    }
}

/// A host with one thread and no libraries, for tests and for callers without an executor.
pub struct SingleThread;

impl Host for SingleThread {
    fn threads(&self) -> usize {
        1
    }

    fn parallel(&self, tasks: usize, body: &(dyn Fn(usize) + Sync)) {
        (0..tasks).for_each(body);
    }
}

/// A slice whose disjoint parts are written by concurrent tasks.
pub struct Shared<'a, T> {
    data: *mut T,
    len: usize,
    _owner: core::marker::PhantomData<&'a mut [T]>,
}

// SAFETY: parts are handed out through `part` and `tile`, whose callers promise that concurrent parts do not overlap.
unsafe impl<T: Send> Sync for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    /// Wraps a slice.
    pub fn new(slice: &'a mut [T]) -> Self {
        Self { data: slice.as_mut_ptr(), len: slice.len(), _owner: core::marker::PhantomData }
    }

    /// Returns the elements of `range`.
    ///
    /// # Safety
    /// No two parts that live at the same time overlap.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn part(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.len, "part outside of the slice");
        // SAFETY: inside of the slice by the assertion, disjoint by the caller's promise.
        unsafe { core::slice::from_raw_parts_mut(self.data.add(range.start), range.end - range.start) }
    }
}

impl Shared<'_, f32> {
    /// Returns a matrix inside of the slice that begins at element `start` and has row stride `stride`.
    ///
    /// # Safety
    /// No two parts or tiles that live at the same time share an element.
    pub unsafe fn tile(&self, start: usize, shape: [usize; 2], stride: usize) -> Tile<'_> {
        // SAFETY: pointer and length are those of the slice; the caller promises disjoint elements.
        unsafe { Tile::from_raw(self.data, self.len, start, shape, stride) }
    }
}
