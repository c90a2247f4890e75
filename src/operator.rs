//! `sluice`: the operator's tool.

fn main() {}
