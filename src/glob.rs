//! Glob patterns as KEYS and PSUBSCRIBE understand them.
