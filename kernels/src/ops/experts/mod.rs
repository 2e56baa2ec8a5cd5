//! Mixtures of experts: the choice of a router, the products with the chosen experts' weights, and their weighted sum.

pub mod clamped_swiglu;
pub mod expert_choice;
pub mod expert_linear;
pub mod expert_sum;
