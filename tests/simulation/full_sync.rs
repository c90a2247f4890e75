//! Snapshots for replicas: what `tasks/full_sync` and its sink of sockets do, over the network in memory.
//!
//! The picture is held for a while before it is walked, so that writes go on beside it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use async_std::channel::{Receiver, Sender, bounded};
use bytes::Bytes;
use sluice::clients::ClientId;
use sluice::random::Random;
use sluice::replication::feed::{SnapshotId, Target};
use sluice::replication::feeds::SnapshotPlan;
use sluice::replication::payload::{Framing, Mark};
use sluice::snapshot::Snapshot;

use crate::network::Socket;
use crate::node::{Node, walk};

/// Where riders and walks meet.
#[derive(Clone, Default)]
pub struct Transfers(Rc<RefCell<HashMap<SnapshotId, Transfer>>>);

#[derive(Default)]
struct Transfer {
    boarded: Vec<Boarded>,
    departed: bool,
    cancelled: bool,
    file: Option<Bytes>,
}

struct Boarded {
    id: u64,
    socket: Socket,
    fate: Sender<Fate>,
}

/// What became of a rider's socket.
pub enum Fate {
    Done(Socket),
    Dropped,
}

const BOARDING: Duration = Duration::from_secs(10);
const BOARDING_POLL: Duration = Duration::from_millis(2);

/// How often a rider is looked at whom nothing wakes.
const RIDER_POLL: Duration = Duration::from_millis(100);

impl Transfers {
    pub fn board(&self, snapshot: SnapshotId, id: u64, socket: Socket) -> Receiver<Fate> {
        let (fate, receiver) = bounded(1);
        let mut all = self.0.borrow_mut();
        let transfer = all.entry(snapshot).or_default();
        if !transfer.departed && !transfer.cancelled {
            transfer.boarded.push(Boarded { id, socket, fate });
        }
        receiver
    }

    pub fn file(&self, snapshot: SnapshotId) -> Option<Bytes> {
        self.with(snapshot, |transfer| transfer.file.clone())
    }

    pub fn cancel(&self, snapshot: SnapshotId) {
        let boarded = self.with(snapshot, |transfer| {
            transfer.cancelled = true;
            std::mem::take(&mut transfer.boarded)
        });
        drop(boarded);
    }

    fn with<R>(&self, snapshot: SnapshotId, work: impl FnOnce(&mut Transfer) -> R) -> R {
        work(self.0.borrow_mut().entry(snapshot).or_default())
    }
}

pub fn start(node: &Rc<Node>, plan: SnapshotPlan, mut snapshot: Snapshot) {
    snapshot.used_memory_bytes = 0;
    if let Some(position) = snapshot.position {
        let picture = &snapshot.picture;
        node.oracle
            .borrow_mut()
            .note_picture(node, position, picture);
    }
    let node = node.clone();
    node.clone().spawn("full sync", async move {
        node.note(|| format!("takes a snapshot for {} replicas", plan.riders.len()));
        let outcome = match plan.target {
            Target::Sockets => to_sockets(&node, &plan, snapshot).await,
            Target::Disk => to_file(&node, &plan, snapshot).await,
        };
        match outcome {
            Ok(()) if plan.target == Target::Disk => {}
            Ok(()) => {
                node.lock(|engine| engine.snapshot_ended(plan.snapshot, None))
                    .await;
            }
            Err(reason) => {
                node.note(|| format!("gives a snapshot up: {reason}"));
                node.lock(|engine| engine.snapshot_ended(plan.snapshot, Some(&reason)))
                    .await;
            }
        }
    });
}

async fn to_sockets(
    node: &Rc<Node>,
    plan: &SnapshotPlan,
    snapshot: Snapshot,
) -> Result<(), String> {
    let sim = &node.sim;
    let boarded = board(node, plan).await?;
    let mark = Mark::random(&mut Random::from_seed(sim.next_u64()));
    sim.sleep(sim.millis_below(200)).await;
    let body = walk(snapshot, &node.config.borrow()).concat();
    let framed = [&Framing::Marked(mark).header()[..], &body, &mark.trailer()].concat();
    let framed = Bytes::from(framed);
    let silence_max = node.with(|engine| engine.config.repl_timeout);
    let silence_max = Duration::from_secs(silence_max.into());
    let left = Rc::new(RefCell::new(boarded.len()));
    let done = Rc::new(RefCell::new(0));
    for rider in boarded {
        let (node, framed, snapshot) = (node.clone(), framed.clone(), plan.snapshot);
        let (left, done) = (left.clone(), done.clone());
        node.clone().spawn("rider", async move {
            let Boarded { id, socket, fate } = rider;
            node.note_to(socket.peer(), || {
                format!("a snapshot of {} bytes", framed.len())
            });
            let outcome = ride(&node, snapshot, socket, &framed, silence_max).await;
            if matches!(outcome, Fate::Done(_)) {
                *done.borrow_mut() += 1;
            } else {
                node.note(|| format!("client {id}: its full sync has ended"));
            }
            // The task may be gone with its client.
            let _ = fate.try_send(outcome);
            *left.borrow_mut() -= 1;
        });
    }
    while *left.borrow() > 0 {
        sim.sleep(Duration::from_millis(5)).await;
    }
    match *done.borrow() {
        0 => Err("no rider is left".into()),
        _ => Ok(()),
    }
}

/// Sends all of it to one rider, who must not be silent for too long.
async fn ride(
    node: &Rc<Node>,
    snapshot: SnapshotId,
    socket: Socket,
    framed: &[u8],
    silence_max: Duration,
) -> Fate {
    let (sim, transfers) = (&node.sim, node.transfers());
    let (mut sent, mut took_last) = (0, sim.now());
    while sent < framed.len() {
        if socket.is_ended() || transfers.with(snapshot, |transfer| transfer.cancelled) {
            return Fate::Dropped;
        }
        match socket.try_write(&framed[sent..]) {
            Ok(count) => {
                sent += count;
                took_last = sim.now();
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if sim.now() > took_last + silence_max {
                    return Fate::Dropped;
                }
                let look_again = sim.now() + RIDER_POLL;
                let mut is_set = false;
                poll_fn(|context| {
                    if !std::mem::replace(&mut is_set, true) {
                        sim.wake_at(look_again, context.waker());
                        return socket.poll_writable(context);
                    }
                    Poll::Ready(())
                })
                .await;
            }
            Err(_) => return Fate::Dropped,
        }
    }
    Fate::Done(socket)
}

async fn board(node: &Rc<Node>, plan: &SnapshotPlan) -> Result<Vec<Boarded>, String> {
    let transfers = node.transfers();
    let deadline = node.sim.now() + BOARDING;
    loop {
        let missing = node
            .lock(|engine| {
                let is_here = |rider: u64| engine.clients.key_of(ClientId(rider)).is_some();
                plan.riders.iter().filter(|rider| is_here(rider.0)).count()
            })
            .await;
        let now = node.sim.now();
        let boarded = transfers.with(plan.snapshot, |transfer| {
            let complete = transfer.boarded.len() >= missing || now > deadline;
            if transfer.cancelled {
                return Some(Err("nobody waits for it any more".to_owned()));
            }
            complete.then(|| {
                transfer.departed = true;
                Ok(std::mem::take(&mut transfer.boarded))
            })
        });
        match boarded {
            Some(Ok(boarded)) if boarded.is_empty() => return Err("no replica is left".into()),
            Some(outcome) => return outcome,
            None => node.sim.sleep(BOARDING_POLL).await,
        }
    }
}

async fn to_file(node: &Rc<Node>, plan: &SnapshotPlan, snapshot: Snapshot) -> Result<(), String> {
    let sim = &node.sim;
    sim.sleep(sim.millis_below(300)).await;
    if sim.once_in(20) {
        return Err("the disk is full".into());
    }
    let file = Bytes::from(walk(snapshot, &node.config.borrow()).concat());
    let length = file.len() as u64;
    *node.disk.borrow_mut() = Some(file.clone());
    node.transfers()
        .with(plan.snapshot, |transfer| transfer.file = Some(file));
    node.lock(|engine| engine.snapshot_file_ready(plan.snapshot, length))
        .await;
    Ok(())
}
