//! All state behind one lock; no await, no I/O.
