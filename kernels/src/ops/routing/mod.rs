//! Routing attention: centroids, the routing of tokens, attention over selected keys.

pub mod centroids;
pub mod route;
pub mod route_step;
pub mod selected_attention;
pub mod selected_attention_backward;
