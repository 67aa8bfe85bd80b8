//! Measures.

pub mod api;
pub mod density;
pub mod floor;
pub mod policy;
pub mod stop;
pub mod turn;
