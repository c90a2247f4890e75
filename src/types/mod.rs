//! The closed list of value types.
