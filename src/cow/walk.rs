//! Two ways through a whole table in the order of hashes: [`Iter`] borrows it, [`Walk`] consumes it.
//!
//! Both keep a short queue of leaves ahead of the one that is being read, so that its elements were fetched while the one
//! before was read, and its lines while the one before that was.
//!
//! A walk frees what it passes. It holds a count on every node between it and the root. If such a node turns out to be
//! nobody else's, which may happen at any moment, because the live table copies a shared node and lets go of it when it
//! writes there, then the walk takes the node's remaining children out of it, one by one, and each is freed as soon as it
//! was read. The children of a node that is still shared are only looked at; when all are read, the walk lets go of
//! the node as a whole, after the leaves that it has queued from it.
#![allow(
    unsafe_code,
    reason = "nodes are walked by links, with counts going from hand to hand"
)]

use std::collections::VecDeque;
use std::marker::PhantomData;

use smallvec::SmallVec;

use super::element::{Element, Ref};
use super::leaf::{Leaf, LeafIter};
use super::node::{self, Inner, InnerMut, Link};

/// An inner node on the way to the leaf that comes next.
#[derive(Clone, Copy)]
struct Step {
    link: Link,
    /// The place of the child that comes next.
    next: usize,
    /// Whether the walk holds a count on the node, rather than on one above it.
    counted: bool,
}

impl Step {
    fn inner(&self) -> Inner {
        // SAFETY: steps are only kept while their nodes are held, by a borrowed table or by a count.
        unsafe { self.link.inner() }
    }
}

/// The elements of a borrowed table.
pub struct Iter<'a, E: Element> {
    steps: SmallVec<[Step; 4]>,
    reading: Option<LeafIter>,
    /// The leaf to be read next, its elements fetched, and the one after it, its lines fetched.
    ahead: [Option<Leaf>; 2],
    borrowed: PhantomData<&'a E>,
}

impl<E: Element> Iter<'_, E> {
    /// # Safety
    /// The tree below `root` stays alive and unchanged for the iterator's lifetime.
    pub(super) unsafe fn new(root: Link, from: u64) -> Self {
        let mut iter = Iter {
            steps: SmallVec::new(),
            reading: None,
            ahead: [None; 2],
            borrowed: PhantomData,
        };
        iter.ahead[1] = iter.descend(root, Some(from));
        iter.advance();
        iter.advance();
        iter
    }

    /// The first leaf below a link, or the one that `from` leads to.
    fn descend(&mut self, mut link: Link, mut from: Option<u64>) -> Option<Leaf> {
        let mut depth = 0;
        while link.is_inner() {
            if link.is_second_hash() {
                from = None;
            }
            let mut step = Step {
                link,
                next: 0,
                counted: false,
            };
            let inner = step.inner();
            let index = from.map_or(0, |hash| inner.index(hash, depth));
            depth += inner.bits();
            link = inner.child(index);
            // From the first of the child's places, of which `index` may be any.
            step.next = (index & !(inner.span(link) - 1)) + inner.span(link);
            self.steps.push(step);
        }
        // SAFETY: the tree stays alive and unchanged for the iterator's lifetime.
        let leaf = unsafe { link.leaf() };
        leaf.or_else(|| self.next_leaf())
    }

    fn next_leaf(&mut self) -> Option<Leaf> {
        while let Some(step) = self.steps.last_mut() {
            let inner = step.inner();
            if step.next == inner.width() {
                self.steps.pop();
                continue;
            }
            let child = inner.child(step.next);
            step.next += inner.span(child);
            if child.is_inner() {
                self.steps.push(Step {
                    link: child,
                    next: 0,
                    counted: false,
                });
                continue;
            }
            // SAFETY: the tree stays alive and unchanged for the iterator's lifetime.
            if let Some(leaf) = unsafe { child.leaf() } {
                return Some(leaf);
            }
        }
        None
    }

    /// Moves the queue on by one leaf.
    fn advance(&mut self) {
        let [next, after] = self.ahead;
        self.reading = next.map(Leaf::iter);
        let last = self.next_leaf();
        if let Some(leaf) = last {
            leaf.prefetch();
        }
        if let Some(leaf) = after {
            leaf.prefetch_elements();
        }
        self.ahead = [after, last];
    }
}

impl<'a, E: Element> Iterator for Iter<'a, E> {
    type Item = Ref<'a, E>;

    #[inline]
    fn next(&mut self) -> Option<Ref<'a, E>> {
        loop {
            if let Some((_, raw)) = self.reading.as_mut()?.next() {
                // SAFETY: the table holds the element and is borrowed for `'a`.
                return Some(unsafe { Ref::new(raw) });
            }
            self.advance();
        }
    }
}

/// How many leaves a walk keeps queued behind the one that it reads.
const LEAVES_AHEAD: usize = 2;

/// A table on its way out: what it held is visited leaf by leaf and freed as far as nobody else needs it. Dropping a walk
/// frees the rest.
pub struct Walk<E: Element> {
    steps: SmallVec<[Step; 4]>,
    queue: VecDeque<Passed>,
    leaves_queued: usize,
    elements: PhantomData<E>,
}

/// What the walk has passed on its way down and has yet to read, or to let go of.
enum Passed {
    /// A leaf, and whether the walk holds a count on it, rather than on a node above it.
    Leaf { link: Link, counted: bool },
    /// A node all of whose leaves were queued before.
    Inner(Link),
}

// SAFETY: a walk owns counts on nodes, and elements may go to other threads.
unsafe impl<E: Element> Send for Walk<E> {}

impl<E: Element> Walk<E> {
    /// # Safety
    /// The caller's count on `root` goes over to the walk. `E` is what its leaves hold.
    pub(super) unsafe fn new(root: Link) -> Self {
        let mut walk = Walk {
            steps: SmallVec::new(),
            queue: VecDeque::new(),
            leaves_queued: 0,
            elements: PhantomData,
        };
        walk.pass(root, true);
        walk
    }

    /// Calls `visit` for the elements of the next leaf, about thirty of them, and lets go of them. False at the end.
    pub fn next_batch(&mut self, mut visit: impl FnMut(&E)) -> bool {
        self.next_leaf(|elements| elements.for_each(|element| visit(&element)))
    }

    /// As [`Walk::next_batch`], for who wants to go over the elements of a leaf more than once.
    pub fn next_leaf(&mut self, visit: impl FnOnce(Elements<'_, E>)) -> bool {
        while self.leaves_queued <= LEAVES_AHEAD && self.look_ahead() {}
        while let Some(passed) = self.queue.pop_front() {
            let Passed::Leaf { link, counted } = passed else {
                self.let_go(passed);
                continue;
            };
            self.leaves_queued -= 1;
            self.prefetch_next_elements();
            let _held = Held::<E> {
                link: counted.then_some(link),
                elements: PhantomData,
            };
            // SAFETY: the walk holds the leaf by its own count or by that of a node above it that comes later in the queue.
            if let Some(leaf) = unsafe { link.leaf() } {
                visit(Elements {
                    leaf: leaf.iter(),
                    held: PhantomData,
                });
            }
            return true;
        }
        false
    }

    /// Queues one more leaf, or lets go of one more node. False if all is queued.
    fn look_ahead(&mut self) -> bool {
        let Some(step) = self.steps.last_mut() else {
            return false;
        };
        let inner = step.inner();
        if step.next == inner.width() {
            let step = *step;
            self.steps.pop();
            if step.counted {
                self.queue.push_back(Passed::Inner(step.link));
            }
            return true;
        }
        let index = step.next;
        let child = inner.child(index);
        step.next += inner.span(child);
        // SAFETY: the walk holds the node.
        let taken = step.counted && unsafe { node::is_unique(step.link) };
        if taken {
            // SAFETY: the walk holds the only count on the node, so that nobody else can come to it any more.
            let inner = unsafe { InnerMut::new(inner) };
            inner.set(index, Link::EMPTY.with_depth(child.depth()));
        }
        self.pass(child, taken);
        true
    }

    /// Goes on to a child, with a count on it or without.
    fn pass(&mut self, link: Link, counted: bool) {
        if link.is_empty() {
            return;
        }
        node::prefetch(link);
        if link.is_inner() {
            self.steps.push(Step {
                link,
                next: 0,
                counted,
            });
        } else {
            self.queue.push_back(Passed::Leaf { link, counted });
            self.leaves_queued += 1;
        }
    }

    fn prefetch_next_elements(&self) {
        let next = self.queue.iter().find_map(|passed| match passed {
            Passed::Leaf { link, .. } => Some(*link),
            Passed::Inner(_) => None,
        });
        // SAFETY: the walk holds what it has queued.
        if let Some(leaf) = next.and_then(|link| unsafe { link.leaf() }) {
            leaf.prefetch_elements();
        }
    }

    fn let_go(&mut self, passed: Passed) {
        let link = match passed {
            Passed::Leaf {
                link,
                counted: true,
            }
            | Passed::Inner(link) => link,
            Passed::Leaf { counted: false, .. } => return,
        };
        // SAFETY: the walk's own count, given up once.
        unsafe { node::release::<E>(link) };
    }
}

impl<E: Element> Drop for Walk<E> {
    fn drop(&mut self) {
        while let Some(passed) = self.queue.pop_front() {
            self.let_go(passed);
        }
        while let Some(step) = self.steps.pop() {
            if step.counted {
                self.let_go(Passed::Inner(step.link));
            }
        }
    }
}

/// The elements of a leaf that a walk holds.
pub struct Elements<'a, E: Element> {
    leaf: LeafIter,
    held: PhantomData<&'a E>,
}

impl<E: Element> Clone for Elements<'_, E> {
    fn clone(&self) -> Self {
        Elements {
            leaf: self.leaf.clone(),
            held: PhantomData,
        }
    }
}

impl<'a, E: Element> Iterator for Elements<'a, E> {
    type Item = Ref<'a, E>;

    #[inline]
    fn next(&mut self) -> Option<Ref<'a, E>> {
        let (_, raw) = self.leaf.next()?;
        // SAFETY: the walk holds the leaf, and with it the element, for `'a`.
        Some(unsafe { Ref::new(raw) })
    }
}

/// A count on a leaf, given up when it was read, even if the reader panics.
struct Held<E: Element> {
    link: Option<Link>,
    elements: PhantomData<E>,
}

impl<E: Element> Drop for Held<E> {
    fn drop(&mut self) {
        if let Some(link) = self.link {
            // SAFETY: the walk's own count, given up once.
            unsafe { node::release::<E>(link) };
        }
    }
}
