//! Copy-on-write structures: a clone in O(1), a node copied when it is first touched after that.
//!
//! Every node and every element carries a reference count. Cloning a structure adds one to the count of its root and
//! nothing else. Whoever changes a structure walks down from the root and makes each node on the way its own: a node with
//! a count of one is changed in place, any other is copied, its children counted once more, and the copy takes its place.
//! So a clone costs its owner one copy per node that is touched afterwards, and costs a reader nothing at all; when the
//! last structure that needs a node is gone, the node frees itself, on the thread that let go of it.
//!
//! ```text
//! clone            live table       after a write by the live table
//!   root (2) <------- root            root (1)      root' (1)
//!   /    \                            /    \        /   \
//! leaf  leaf                       leaf(1)  leaf(2)     leaf'(1)   leaf' was copied, its 30 elements now count 2
//! ```
//!
//! Counts are ordered as `std::sync::Arc` orders them, so a clone may be read, walked and dropped on any thread while the
//! owner goes on. Nothing here knows what a key or a value means, nor where time, sockets or files are.
//!
//! Unsafe code is confined to this folder's files, each of which says why; their public interfaces are safe, except
//! for the contract of [`element::Element`], which whoever brings an own element signs.

pub mod element;
pub mod shared;

pub mod blob;

mod leaf;
mod node;

mod reshape;
mod way;

pub mod table;
pub mod tree;
pub mod walk;
