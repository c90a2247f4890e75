//! Copy-on-write structures: a clone in O(1), a node copied when it is first touched after that.

pub mod tree;
