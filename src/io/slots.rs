//! A table of things named by small keys that are never confused with those of earlier tenants.
//!
//! Keys travel through the kernel (as epoll's user data) and through other threads' queues, and may come back after
//! their thing is gone: the generation in the upper half then no longer fits, and the lookup finds nothing.

/// A slab with generations. A key is `generation << 32 | index`.
pub struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Slots<T> {
    pub const fn new() -> Self {
        Slots {
            slots: Vec::new(),
            free: Vec::new(),
        }
    }

    /// Stores what `make` builds from its own key.
    pub fn insert_with(&mut self, make: impl FnOnce(u64) -> T) -> u64 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot {
                generation: 0,
                value: None,
            });
            (self.slots.len() - 1) as u32
        });
        let slot = &mut self.slots[index as usize];
        let key = u64::from(slot.generation) << 32 | u64::from(index);
        slot.value = Some(make(key));
        key
    }

    pub fn get(&self, key: u64) -> Option<&T> {
        let slot = self.slots.get(index(key))?;
        if slot.generation == generation(key) {
            slot.value.as_ref()
        } else {
            None
        }
    }

    pub fn remove(&mut self, key: u64) -> Option<T> {
        let slot = self.slots.get_mut(index(key))?;
        if slot.generation != generation(key) {
            return None;
        }
        let value = slot.value.take()?;
        // The last generation is left out: a key of all ones stays free for the reactor's own use.
        slot.generation = (slot.generation + 1) % u32::MAX;
        self.free.push(index(key) as u32);
        Some(value)
    }

    /// All things left; their keys find nothing any more.
    pub fn take_all(&mut self) -> Vec<T> {
        let mut taken = Vec::new();
        for index in 0..self.slots.len() {
            let key = u64::from(self.slots[index].generation) << 32 | index as u64;
            taken.extend(self.remove(key));
        }
        taken
    }
}

fn index(key: u64) -> usize {
    key as u32 as usize
}

fn generation(key: u64) -> u32 {
    (key >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_an_earlier_tenant_finds_nothing() {
        let mut slots = Slots::new();
        let old = slots.insert_with(|_| 'a');
        assert_eq!(slots.remove(old), Some('a'));
        let new = slots.insert_with(|_| 'b');
        assert_eq!(old as u32, new as u32);
        assert_eq!(slots.get(old), None);
        assert_eq!(slots.remove(old), None);
        assert_eq!(slots.get(new), Some(&'b'));
        assert_eq!(slots.take_all(), ['b']);
        assert_eq!(slots.get(new), None);
        assert!(slots.take_all().is_empty());
    }
}
