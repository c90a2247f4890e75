//! Databases of entries, cloned in O(1).
