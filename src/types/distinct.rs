//! Whether elements that claim to be different are: the check of what comes from outside as a whole.

use std::collections::HashSet;

use smallvec::SmallVec;

use crate::compact::Element;
use crate::cow::element;
use crate::number::Digits;

/// Whether no two of the elements have the same text. Allocates nothing for up to 128 of them.
pub fn all_distinct<'e>(mut elements: impl Iterator<Item = Element<'e>> + Clone) -> bool {
    let mut digits = Digits::new();
    let mut hashes: SmallVec<[u64; 128]> = elements
        .clone()
        .map(|element| element::hash(element.text(&mut digits)))
        .collect();
    hashes.sort_unstable();
    if hashes.windows(2).all(|pair| pair[0] != pair[1]) {
        return true;
    }
    // Equal hashes of different texts are possible, if hardly.
    let mut seen = HashSet::new();
    elements.all(|element| seen.insert(element.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_found_in_any_spelling() {
        let check = |elements: &[Element]| all_distinct(elements.iter().copied());
        assert!(check(&[]));
        assert!(check(&[
            Element::Int(1),
            Element::Str(b"01"),
            Element::Int(-1)
        ]));
        assert!(!check(&[
            Element::Int(12),
            Element::Str(b"x"),
            Element::Str(b"12")
        ]));
        let many: Vec<Vec<u8>> = (0..1000).map(|n| format!("n{n}").into_bytes()).collect();
        let mut elements: Vec<Element> = many.iter().map(Element::from).collect();
        assert!(check(&elements));
        elements.push(Element::Str(b"n500"));
        assert!(!check(&elements));
    }
}
