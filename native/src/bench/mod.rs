//! Speeds of ops and models, compared with the peak of the machine.

mod ceiling;
mod loaded;
mod memory;
mod model;
mod ops;
mod spec;
mod statistics;
mod sweep;

pub use ceiling::Ceiling;
pub use loaded::{Clock, Loaded};
pub use memory::Counting;
pub use model::{At, Case, ModelReport, OpTime, model};
pub use ops::{PlanCost, Row, row, runs};
pub use spec::op;
pub use statistics::{Effort, Fit, Spread};
pub use sweep::{Point, Range, Sweep, sweep};
