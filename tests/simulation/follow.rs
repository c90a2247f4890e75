//! The replica's end: what `tasks/follow_master` does, over the network in memory. The loader has no thread here but takes its
//! time all the same.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use async_std::channel::{Receiver, Sender, bounded};
use bytes::Bytes;
use futures::future::{Either, select};
use sluice::engine::following::{LinkStep, LoadWay};
use sluice::replication::link::{Event, LoadId};
use sluice::replication::payload::Framing;
use sluice::snapshot::loading::{Expired, Loaded, Loader};

use crate::network::Socket;
use crate::node::{Node, Sabotage, node_at};
use crate::trace;

const READ_BYTES: usize = 256 * 1024;

/// Fewer than in production, so that queues do fill.
const LOAD_QUEUE: usize = 4;

const WAIT_MAX: Duration = Duration::from_secs(1);

pub async fn run(node: Rc<Node>) {
    let mut task = Task {
        node,
        socket: None,
        load: None,
        stream_bytes: 0,
    };
    let waker = poll_fn(|context| Poll::Ready(context.waker().clone())).await;
    loop {
        task.step(&waker).await;
    }
}

struct Task {
    node: Rc<Node>,
    socket: Option<Socket>,
    load: Option<Load>,
    /// Read since the link is up: where sabotage strikes.
    stream_bytes: usize,
}

struct Load {
    id: LoadId,
    pieces: Sender<Bytes>,
    outcome: Receiver<Result<Box<Loaded>, String>>,
}

impl Task {
    async fn step(&mut self, waker: &Waker) {
        let step = self.node.lock(|engine| engine.next_link_step(waker)).await;
        self.node.oracle.borrow_mut().note_reached(&self.node);
        match step {
            LinkStep::Connect { host, port } => {
                let node = self.node.clone();
                match while_wanted(&node, self.connect(&host, port)).await {
                    Some(Ok(())) => self.report(Event::Connected).await,
                    Some(Err(error)) => self.report(Event::ConnectFailed(error.to_string())).await,
                    None => {}
                }
            }
            LinkStep::Send(bytes) => {
                let node = self.node.clone();
                if let Some(Err(_)) = while_wanted(&node, self.send(&bytes)).await {
                    self.hang_up().await;
                }
            }
            LinkStep::BeginLoad { load, framing, way } => self.begin_load(load, framing, way),
            LinkStep::Load(bytes) => self.feed(bytes).await,
            LinkStep::EndLoad => {
                if let Some(load) = &self.load {
                    load.pieces.close();
                }
            }
            LinkStep::AbortLoad => self.load = None,
            LinkStep::Close => {
                if self.socket.take().is_some() {
                    self.node.note(|| "closes its link".into());
                }
            }
            LinkStep::Again => self.node.sim.yield_now().await,
            LinkStep::Wait {
                deadline,
                wants_bytes,
            } => self.wait(deadline, wants_bytes).await,
        }
    }

    async fn report(&self, event: Event) {
        self.node.lock(|engine| engine.link_event(event)).await;
    }

    async fn hang_up(&mut self) {
        if self.socket.take().is_some() {
            self.node.note(|| "has lost its link".into());
            self.report(Event::Closed).await;
        }
    }

    async fn connect(&mut self, _host: &str, port: u16) -> io::Result<()> {
        let timeout = self.node.with(|engine| engine.config.repl_timeout);
        self.stream_bytes = 0;
        self.socket = None;
        let (node, sim) = (&self.node, &self.node.sim);
        let peer = node_at(port);
        let (weather, is_apart) = {
            let network = node.network.borrow();
            (network.weather, network.is_apart(node.index, peer))
        };
        if is_apart && weather.is_mute {
            sim.sleep(Duration::from_secs(timeout.into())).await;
            return Err(io::ErrorKind::TimedOut.into());
        }
        sim.sleep(sim.millis_below(weather.latency_ms_max + 1))
            .await;
        let server = node.oracle.borrow().node(peer);
        if is_apart || sim.once_in(weather.connect_failure_in) || !server.is_running() {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (ours, theirs) = node.network.borrow_mut().connect(sim, node.index, peer);
        server.accept(theirs);
        self.socket = Some(ours);
        Ok(())
    }

    async fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let Some(socket) = &self.socket else {
            return Ok(());
        };
        self.node.note_to(socket.peer(), || trace::shown(bytes));
        let forged;
        if self.node.sabotage.get() == Sabotage::LieInAck
            && let Some(place) = bytes.windows(3).position(|word| word == b"ACK")
            && self.node.sim.once_in(2)
        {
            let tail = b"ACK\r\n$9\r\n999999999\r\n";
            forged = [&bytes[..place], tail].concat();
            bytes = &forged;
        }
        while !bytes.is_empty() {
            match socket.try_write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    socket.writable().await;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Waits for bytes, for the end of a load, for the deadline, or to be woken.
    async fn wait(&mut self, deadline: Option<Duration>, wants_bytes: bool) {
        let now = self.node.with(|engine| engine.monotonic);
        let pause = deadline
            .map_or(WAIT_MAX, |at| at.saturating_sub(now))
            .min(WAIT_MAX);
        let sim = self.node.sim.clone();
        let mut timer = pin!(sim.sleep(pause.max(Duration::from_millis(1))));
        // A loader may end before the payload does: it has found something wrong.
        let finishing = self.load.as_ref().map(|load| load.outcome.clone());
        let mut outcome = pin!(async {
            match finishing {
                Some(outcome) => outcome.recv().await.ok(),
                None => std::future::pending().await,
            }
        });
        let mut polled = false;
        let happened = poll_fn(|context| {
            if let Poll::Ready(outcome) = outcome.as_mut().poll(context) {
                return Poll::Ready(Happened::Loaded(outcome));
            }
            if wants_bytes
                && let Some(socket) = &self.socket
                && socket.poll_readable(context).is_ready()
            {
                return Poll::Ready(Happened::Readable);
            }
            if timer.as_mut().poll(context).is_ready() || std::mem::replace(&mut polled, true) {
                return Poll::Ready(Happened::Woken);
            }
            Poll::Pending
        })
        .await;
        match happened {
            Happened::Woken => self.node.lock(|engine| engine.link_deadline()).await,
            Happened::Readable => self.read().await,
            Happened::Loaded(outcome) => self.finish_load(outcome).await,
        }
    }

    async fn read(&mut self) {
        let Some(socket) = &self.socket else { return };
        match socket.try_read(READ_BYTES) {
            Ok(None) => self.hang_up().await,
            Ok(Some(bytes)) => {
                let bytes = self.spoil(bytes);
                self.node
                    .lock(|engine| engine.link_event(Event::Bytes(bytes)))
                    .await;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.hang_up().await,
        }
    }

    /// Does to the stream what sabotage wants.
    fn spoil(&mut self, bytes: Bytes) -> Bytes {
        let sabotage = self.node.sabotage.get();
        if sabotage == Sabotage::None || !self.node.with(|engine| engine.link_is_up()) {
            return bytes;
        }
        self.stream_bytes += bytes.len();
        if self.stream_bytes < 400 || !self.node.sim.once_in(3) {
            return bytes;
        }
        self.stream_bytes = 0;
        match sabotage {
            Sabotage::DropByte => bytes.slice(..bytes.len() - 1),
            Sabotage::Repeat => Bytes::from([&bytes[..], &bytes[..]].concat()),
            _ => bytes,
        }
    }

    fn begin_load(&mut self, id: LoadId, framing: Framing, way: LoadWay) {
        let (pieces, incoming) = bounded::<Bytes>(LOAD_QUEUE);
        let (report, outcome) = bounded(1);
        self.load = Some(Load {
            id,
            pieces,
            outcome,
        });
        let node = self.node.clone();
        self.node.spawn("load", async move {
            let loaded = receive(&node, framing, way, &incoming).await;
            let loaded = loaded.map(Box::new);
            // The receiver is gone if the load was given up.
            let _ = report.try_send(loaded);
        });
    }

    async fn feed(&mut self, bytes: Bytes) {
        let Some(load) = &self.load else { return };
        if load.pieces.send(bytes).await.is_err() {
            let outcome = load.outcome.recv().await.ok();
            self.finish_load(outcome).await;
        }
    }

    async fn finish_load(&mut self, outcome: Option<Result<Box<Loaded>, String>>) {
        let Some(load) = self.load.take() else { return };
        let outcome = outcome.unwrap_or_else(|| Err("the loader ended without a word".into()));
        let node = self.node.clone();
        node.lock(|engine| match outcome {
            Ok(loaded) => {
                node.restarts.set(node.restarts.get() + 1);
                node.full_syncs.set(node.full_syncs.get() + 1);
                let stream_db = loaded
                    .about
                    .position
                    .and_then(|position| position.stream_db);
                engine.link_loaded(load.id, loaded.keyspace, stream_db, None);
            }
            Err(reason) => {
                engine.persistence.loading = None;
                engine.link_event(Event::LoadFailed {
                    load: load.id,
                    reason,
                });
            }
        })
        .await;
    }
}

async fn while_wanted<T>(node: &Rc<Node>, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|context| {
        if let Poll::Ready(outcome) = work.as_mut().poll(context) {
            return Poll::Ready(Some(outcome));
        }
        match node.with(|engine| engine.is_socket_wanted(context.waker())) {
            true => Poll::Pending,
            false => Poll::Ready(None),
        }
    })
    .await
}

enum Happened {
    Woken,
    Readable,
    Loaded(Option<Result<Box<Loaded>, String>>),
}

async fn receive(
    node: &Rc<Node>,
    framing: Framing,
    way: LoadWay,
    incoming: &Receiver<Bytes>,
) -> Result<Loaded, String> {
    let payload_bytes = match framing {
        Framing::Sized(bytes) => Some(bytes),
        Framing::Marked(_) => None,
    };
    let options = node
        .lock(|engine| engine.load_options(Expired::Keep, payload_bytes))
        .await;
    let mut loader = Loader::new(options).map_err(|error| error.to_string())?;
    let mut file = Vec::new();
    loop {
        // A loader without a client for its outcome is one that was given up.
        let next = {
            let next = pin!(incoming.recv());
            let nap = pin!(node.sim.sleep(Duration::from_secs(60)));
            match select(next, nap).await {
                Either::Left((bytes, _)) => bytes.ok(),
                Either::Right(_) => continue,
            }
        };
        let Some(bytes) = next else { break };
        node.sim.sleep(node.sim.millis_below(4)).await;
        file.extend_from_slice(&bytes);
        loader.feed(&bytes).map_err(|error| error.to_string())?;
    }
    if node.sabotage.get() == Sabotage::HalfSnapshot && node.sim.once_in(2) {
        let mut loaded = loader.finish().map_err(|error| error.to_string())?;
        let half = loaded.keyspace.db(0).table().iter().next();
        let key = half.map(|entry| entry.key().to_vec());
        if let Some(key) = key {
            let key = sluice::keyspace::Key::new(&key);
            loaded.keyspace.db_mut(0).remove(key);
        }
        return Ok(loaded);
    }
    node.sim.sleep(node.sim.millis_below(50)).await;
    let loaded = loader.finish().map_err(|error| error.to_string())?;
    if !loaded.rest.is_empty() {
        let count = loaded.rest.len();
        return Err(format!("{count} bytes behind the end of the snapshot"));
    }
    if way.to_file {
        *node.disk.borrow_mut() = Some(Bytes::from(file));
    }
    Ok(loaded)
}
