//! The steps of a download, as a caller is told of them.

/// A step of a download, as [`open_with`](crate::open_with) and `pull` report it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// One line for the user.
    Note(&'a str),
    /// A file begins, of this many bytes if that is known.
    Begin {
        /// The name of the file.
        what: &'a str,
        /// The size of the file, if it is known.
        bytes: Option<u64>,
    },
    /// This many bytes of it are here.
    At(u64),
    /// The file is done, or its download failed.
    End,
}

/// A caller's function that is told of every step.
pub type Report<'a> = &'a mut dyn FnMut(Event<'_>);
