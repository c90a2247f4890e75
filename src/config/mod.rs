//! Settings: typed values, one table.
