//! Channels and patterns.
