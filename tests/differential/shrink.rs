//! The shortest failing list that can be found by leaving steps out: delta debugging.

/// Drops ever smaller pieces of `steps` as long as `fails` says that the rest still fails. Bounded by `tries_max` runs.
pub fn shrink<T: Clone>(
    steps: &[T],
    tries_max: usize,
    mut fails: impl FnMut(&[T]) -> bool,
) -> Vec<T> {
    let mut shortest = steps.to_vec();
    let mut tries = 0;
    let mut piece = shortest.len().div_ceil(2).max(1);
    loop {
        let mut start = 0;
        let mut dropped_any = false;
        while start < shortest.len() && tries < tries_max {
            let end = (start + piece).min(shortest.len());
            let rest = [&shortest[..start], &shortest[end..]].concat();
            tries += 1;
            if !rest.is_empty() && fails(&rest) {
                shortest = rest;
                dropped_any = true;
            } else {
                start = end;
            }
        }
        if tries >= tries_max || (piece == 1 && !dropped_any) {
            return shortest;
        }
        piece = piece.div_ceil(2).max(1);
    }
}

#[test]
fn shrinking_keeps_only_what_the_failure_needs() {
    let steps: Vec<u32> = (0..500).collect();
    let shortest = shrink(&steps, 1000, |steps| {
        steps.contains(&17) && steps.contains(&400)
    });
    assert_eq!(shortest, [17, 400]);
}
