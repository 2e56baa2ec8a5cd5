//! Errors of specs, found before anything runs.

use alloc::string::String;

/// A spec that cannot run. Nothing was dispatched and nothing written when one of these is returned.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Error {
    /// An argument or option has a value that the op does not define.
    Shape {
        /// The op.
        op: &'static str,
        /// The argument or option.
        arg: &'static str,
        /// The values that the op defines.
        expected: String,
        /// The value that it has.
        got: String,
    },
    /// The op needs more of something than the device has.
    Limit {
        /// The op.
        op: &'static str,
        /// The resource that the device has too little of.
        what: &'static str,
        /// How much of the resource the op needs.
        needs: u64,
        /// How much of the resource the device has.
        has: u64,
    },
    /// A valid request that this executor has no form for.
    Unsupported {
        /// The op.
        op: &'static str,
        /// The option or the combination of options.
        what: String,
    },
    /// An operand that the op does not take, takes once only, or needs.
    Operand {
        /// The op.
        op: &'static str,
        /// The operand.
        name: String,
        /// Why the op refuses the operand.
        problem: &'static str,
        /// The arguments that the op takes.
        takes: String,
    },
}

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = core::result::Result<T, E>;

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Error::Shape { op, arg, expected, got } => write!(f, "{op}: {arg} must be {expected}, got {got}"),
            Error::Limit { op, what, needs, has } => write!(f, "{op}: needs {needs} of {what}, the device has {has}"),
            Error::Unsupported { op, what } => write!(f, "{op}: {what} is not supported"),
            Error::Operand { op, name, problem, takes } => {
                write!(f, "{op}: operand {name:?} {problem}; the op takes {takes}")
            }
        }
    }
}

impl core::error::Error for Error {}

impl Error {
    /// The same of another op: of gradients, whose spec is that of what ran.
    pub(crate) fn of(self, op: &'static str) -> Self {
        match self {
            Error::Shape { arg, expected, got, .. } => Error::Shape { op, arg, expected, got },
            Error::Limit { what, needs, has, .. } => Error::Limit { op, what, needs, has },
            Error::Unsupported { what, .. } => Error::Unsupported { op, what },
            Error::Operand { name, problem, takes, .. } => Error::Operand { op, name, problem, takes },
        }
    }
}
