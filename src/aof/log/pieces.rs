//! Which of the log's files hold the journal without a gap up to its end: what replicas can be fed from.

use crate::aof::archive::Piece;
use crate::aof::manifest::FileLine;
use crate::aof::names::Name;

use super::Log;

impl Log {
    /// The segments that follow each other up to the one that is written to, in the order of their offsets.
    pub fn pieces(&self) -> Vec<Piece> {
        let is_segment =
            |line: &&FileLine| matches!(self.names.parse(&line.name), Some(Name::Segment { .. }));
        let mut lines: Vec<&FileLine> = match &self.beginning {
            Some(beginning) => beginning.lines.iter().collect(),
            None => {
                let history = self.manifest.history.iter().filter(is_segment);
                history.chain(&self.manifest.segments).collect()
            }
        };
        lines.sort_by_key(|line| line.seq);
        let mut pieces: Vec<Piece> = Vec::new();
        for (index, line) in lines.iter().enumerate().rev() {
            let facts = &line.facts;
            let (Some(id), Some(start)) = (facts.id, facts.start) else {
                break;
            };
            let is_last = index + 1 == lines.len();
            let follows = match pieces.last() {
                None => is_last,
                Some(later) => facts.end == Some(later.start),
            };
            if !follows {
                break;
            }
            if !is_last && facts.end == Some(start) {
                // Nothing is in it, and two that begin at one place could not be told apart.
                continue;
            }
            let begun = self.beginning.as_ref();
            let is_temp = begun.is_some_and(|begun| index == 0 && begun.first_is_temp);
            pieces.push(Piece {
                path: match is_temp {
                    true => self.names.path(&self.names.temp_segment()),
                    false => self.names.path(&line.name),
                },
                id,
                start,
                end: if is_last { None } else { facts.end },
                prelude_bytes: facts.prelude_bytes,
                annotated: facts.annotated,
            });
        }
        pieces.reverse();
        pieces
    }
}
