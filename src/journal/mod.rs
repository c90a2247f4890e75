//! The journal: the effect of every write, once, at one offset.
