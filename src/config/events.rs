//! The letters of `notify-keyspace-events`, as a set of bits that the engine can ask in one step.

use super::values::Reason;

/// Which keyspace events are published. The letters are those of `notify-keyspace-events`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyspaceEvents(u16);

impl KeyspaceEvents {
    pub const GENERIC: Self = KeyspaceEvents(1 << 0);
    pub const STRING: Self = KeyspaceEvents(1 << 1);
    pub const LIST: Self = KeyspaceEvents(1 << 2);
    pub const SET: Self = KeyspaceEvents(1 << 3);
    pub const HASH: Self = KeyspaceEvents(1 << 4);
    pub const SORTED_SET: Self = KeyspaceEvents(1 << 5);
    pub const EXPIRED: Self = KeyspaceEvents(1 << 6);
    pub const EVICTED: Self = KeyspaceEvents(1 << 7);
    pub const STREAM: Self = KeyspaceEvents(1 << 8);
    pub const MODULE: Self = KeyspaceEvents(1 << 9);
    /// New keys; like misses, outside `A`.
    pub const NEW_KEY: Self = KeyspaceEvents(1 << 10);
    pub const KEY_MISS: Self = KeyspaceEvents(1 << 11);
    /// Publish on `__keyspace@<db>__:<key>`.
    pub const KEYSPACE_CHANNEL: Self = KeyspaceEvents(1 << 12);
    /// Publish on `__keyevent@<db>__:<event>`.
    pub const KEYEVENT_CHANNEL: Self = KeyspaceEvents(1 << 13);
    /// The letter `A`.
    pub const ALL: Self = KeyspaceEvents((1 << 10) - 1);

    pub fn contains(self, events: Self) -> bool {
        self.0 & events.0 == events.0
    }

    pub fn parse(text: &[u8]) -> Result<Self, Reason> {
        let mut bits = 0;
        for letter in text {
            let known = EVENT_LETTERS.iter().find(|(known, _)| known == letter);
            bits |= match (letter, known) {
                (b'A', _) => Self::ALL.0,
                (_, Some((_, event))) => event.0,
                _ => return Err("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.".into()),
            };
        }
        Ok(KeyspaceEvents(bits))
    }

    /// The letters in the order of Redis. With `A`, 7.0.15 forgets to print `n`; here it follows the `A`, so that what is
    /// printed reads back as the same set.
    pub fn letters(self) -> String {
        let whole = self.contains(Self::ALL);
        let letter = |&(letter, event): &(u8, Self)| {
            let hidden = whole && Self::ALL.contains(event);
            (self.contains(event) && !hidden).then_some(letter as char)
        };
        whole
            .then_some('A')
            .into_iter()
            .chain(EVENT_LETTERS.iter().filter_map(letter))
            .collect()
    }
}

const EVENT_LETTERS: [(u8, KeyspaceEvents); 14] = [
    (b'g', KeyspaceEvents::GENERIC),
    (b'$', KeyspaceEvents::STRING),
    (b'l', KeyspaceEvents::LIST),
    (b's', KeyspaceEvents::SET),
    (b'h', KeyspaceEvents::HASH),
    (b'z', KeyspaceEvents::SORTED_SET),
    (b'x', KeyspaceEvents::EXPIRED),
    (b'e', KeyspaceEvents::EVICTED),
    (b't', KeyspaceEvents::STREAM),
    (b'd', KeyspaceEvents::MODULE),
    (b'n', KeyspaceEvents::NEW_KEY),
    (b'K', KeyspaceEvents::KEYSPACE_CHANNEL),
    (b'E', KeyspaceEvents::KEYEVENT_CHANNEL),
    (b'm', KeyspaceEvents::KEY_MISS),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_print_what_they_were_given_in_the_order_of_redis() {
        for (given, printed) in [
            ("KEA", "AKE"),
            ("gK", "gK"),
            ("mK", "Km"),
            ("nK", "nK"),
            ("AEd", "AE"),
            ("Am", "Am"),
            ("g$lshzxetd", "A"),
            ("g$lshzxet", "g$lshzxet"),
            ("KEg$lshzxetdmn", "AnKEm"),
            ("", ""),
        ] {
            let events = KeyspaceEvents::parse(given.as_bytes()).unwrap();
            assert_eq!(events.letters(), printed);
            assert_eq!(KeyspaceEvents::parse(printed.as_bytes()).unwrap(), events);
        }
        assert!(KeyspaceEvents::parse(b"K E").is_err());
        let events = KeyspaceEvents::parse(b"Kx").unwrap();
        assert!(events.contains(KeyspaceEvents::EXPIRED));
        assert!(!events.contains(KeyspaceEvents::EVICTED));
    }
}
