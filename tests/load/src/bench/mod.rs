//! Measures.

pub mod api;
pub mod density;
pub mod floor;
pub mod stop;
pub mod turn;
