use crate::engine::spec::Spec;
pub const COMMANDS: &[Spec] = &[];
