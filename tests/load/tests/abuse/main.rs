//! What dishonest and broken clients do, while an honest one beside them must not notice.

mod cut;
mod garbage;
mod many;
mod slow;
mod stand;
