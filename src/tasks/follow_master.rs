//! The replica's end: the socket to a master, and the load of what it sends.
//!
//! Started by boot, on async-std; woken by its socket, by deadlines and by the engine (REPLICAOF, CLIENT KILL); ends with
//! the process. All decisions are the link's (`engine/following`): this task asks for the next step and reports back.

use std::future::{Future, poll_fn};
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::task::{Poll, Waker};
use std::time::Duration;

use async_io::Async;
use async_std::channel::{Receiver, Sender, bounded};
use bytes::{Bytes, BytesMut};

use crate::aof::candidate::Candidate;
use crate::aof::names::BaseFormat;
use crate::engine::following::{LinkStep, LoadWay};
use crate::io::atomic_file::{AtomicFile, FileError};
use crate::io::socket::{self, Socket};
use crate::replication::link::{Event, LoadId};
use crate::replication::payload::Framing;
use crate::snapshot::loading::{Loaded, Loader};

use super::base_file::BaseFile;
use super::engine_lock::EngineLock;
use super::load;

/// Bytes taken from the socket at once.
const READ_BYTES: usize = 256 * 1024;

/// Pieces of a payload that may wait for the loader.
const LOAD_QUEUE: usize = 64;

/// A link looks at itself at least this often.
const WAIT_MAX: Duration = Duration::from_secs(1);

pub async fn run(lock: EngineLock) {
    let mut task = Task {
        lock,
        socket: None,
        load: None,
        buffer: BytesMut::new(),
    };
    let waker = poll_fn(|context| Poll::Ready(context.waker().clone())).await;
    loop {
        task.step(&waker).await;
    }
}

struct Task {
    lock: EngineLock,
    socket: Option<Async<Socket>>,
    load: Option<Load>,
    buffer: BytesMut,
}

/// A payload on its way into a fresh keyspace, on a thread of its own.
struct Load {
    id: LoadId,
    pieces: Sender<Bytes>,
    outcome: Receiver<Outcome>,
}

/// What has been loaded, and the file that it came through if that is to become a base, or why there is nothing.
type Outcome = Result<(Box<Loaded>, Option<Candidate>), String>;

impl Task {
    async fn step(&mut self, waker: &Waker) {
        match self.lock.with(|engine| engine.next_link_step(waker)) {
            LinkStep::Connect { host, port } => {
                let lock = self.lock.clone();
                match while_wanted(&lock, self.connect(&host, port)).await {
                    Some(Ok(())) => self.report(Event::Connected),
                    Some(Err(error)) => self.report(Event::ConnectFailed(error.to_string())),
                    None => {}
                }
            }
            LinkStep::Send(bytes) => {
                let lock = self.lock.clone();
                if let Some(Err(_)) = while_wanted(&lock, self.send(&bytes)).await {
                    self.hang_up();
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
            LinkStep::Close => self.socket = None,
            LinkStep::Again => async_std::task::yield_now().await,
            LinkStep::Wait {
                deadline,
                wants_bytes,
            } => self.wait(deadline, wants_bytes).await,
        }
    }

    fn report(&self, event: Event) {
        self.lock.with(|engine| engine.link_event(event));
    }

    fn hang_up(&mut self) {
        if self.socket.take().is_some() {
            self.report(Event::Closed);
        }
    }

    async fn connect(&mut self, host: &str, port: u16) -> io::Result<()> {
        let (source, timeout, keepalive) = self.lock.with(|engine| {
            let config = &engine.config;
            (
                config.bind_source_addr.clone(),
                config.repl_timeout,
                config.tcp_keepalive,
            )
        });
        let source: Option<IpAddr> = source.parse().ok();
        let addresses = socket::resolve(host, port).await?;
        let socket =
            socket::connect(&addresses, source, Duration::from_secs(timeout.into())).await?;
        // A peer that has gone already makes these fail; the first read will tell.
        let _ = socket.set_nodelay(true);
        let _ =
            socket.set_keepalive((keepalive > 0).then(|| Duration::from_secs(keepalive.into())));
        self.socket = Some(Async::new_nonblocking(socket)?);
        log::info!("MASTER <-> REPLICA sync started");
        Ok(())
    }

    async fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let Some(socket) = &self.socket else {
            return Ok(());
        };
        while !bytes.is_empty() {
            match socket.get_ref().try_write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    socket.writable().await?
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Waits for bytes, for the end of a load, for the deadline, or to be woken.
    async fn wait(&mut self, deadline: Option<Duration>, wants_bytes: bool) {
        let now = self.lock.with(|engine| engine.monotonic);
        let pause = deadline
            .map_or(WAIT_MAX, |at| at.saturating_sub(now))
            .min(WAIT_MAX);
        let mut timer = pin!(async_std::task::sleep(pause.max(Duration::from_millis(1))));
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
            Happened::Woken => self.lock.with(|engine| engine.link_deadline()),
            Happened::Readable => self.read(),
            Happened::Loaded(outcome) => self.finish_load(outcome),
        }
    }

    fn read(&mut self) {
        let Some(socket) = &self.socket else { return };
        self.buffer.resize(READ_BYTES, 0);
        match socket.get_ref().try_read(&mut self.buffer) {
            Ok(0) => self.hang_up(),
            Ok(count) => {
                let bytes = self.buffer.split_to(count).freeze();
                self.lock.with(|engine| {
                    engine.stats.net_repl_input_bytes += count as u64;
                    engine.link_event(Event::Bytes(bytes));
                });
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.hang_up(),
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
        let lock = self.lock.clone();
        let started = std::thread::Builder::new()
            .name("load".into())
            .spawn(move || {
                // The receiver is gone if the load was given up.
                let _ = report.try_send(receive(&lock, framing, way, &incoming));
            });
        if let Err(error) = started {
            self.load = None;
            self.report(Event::LoadFailed {
                load: id,
                reason: format!("no thread to load with: {error}"),
            });
        }
    }

    async fn feed(&mut self, bytes: Bytes) {
        let Some(load) = &self.load else { return };
        if load.pieces.send(bytes).await.is_err() {
            // The loader has stopped before the payload did: it knows why.
            let outcome = load.outcome.recv().await.ok();
            self.finish_load(outcome);
        }
    }

    fn finish_load(&mut self, outcome: Option<Outcome>) {
        let Some(load) = self.load.take() else { return };
        let outcome = outcome.unwrap_or_else(|| Err("the loader ended without a word".into()));
        self.lock.with(|engine| match outcome {
            Ok((loaded, base)) => {
                let stream_db = loaded
                    .about
                    .position
                    .and_then(|position| position.stream_db);
                engine.link_loaded(load.id, loaded.keyspace, stream_db, base);
            }
            Err(reason) => {
                engine.persistence.loading = None;
                engine.link_event(Event::LoadFailed {
                    load: load.id,
                    reason,
                });
            }
        });
    }
}

/// What `work` on the socket comes to; none if the link gives the socket up meanwhile: a peer that does not answer, or takes
/// nothing, must not delay REPLICAOF.
async fn while_wanted<T>(lock: &EngineLock, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|context| {
        if let Poll::Ready(outcome) = work.as_mut().poll(context) {
            return Poll::Ready(Some(outcome));
        }
        match lock.with(|engine| engine.is_socket_wanted(context.waker())) {
            true => Poll::Pending,
            false => Poll::Ready(None),
        }
    })
    .await
}

enum Happened {
    Woken,
    Readable,
    Loaded(Option<Outcome>),
}

/// Loads a payload as it comes in, and keeps it in the RDB file if so wished, and for the AOF: a file counts only once the
/// payload has proved whole and sound.
fn receive(
    lock: &EngineLock,
    framing: Framing,
    way: LoadWay,
    incoming: &Receiver<Bytes>,
) -> Outcome {
    let payload_bytes = match framing {
        Framing::Sized(bytes) => Some(bytes),
        Framing::Marked(_) => None,
    };
    let (options, path, set, incremental) = lock.with(|engine| {
        let config = &engine.config;
        let path = config.dir.join(&config.dbfilename);
        (
            load::options(engine, payload_bytes),
            path,
            engine.aof_directory(),
            config.rdb_save_incremental_fsync,
        )
    });
    let mut loader = Loader::new(options).map_err(|error| error.to_string())?;
    let mut file = match way.to_file {
        true => Some(AtomicFile::create(&path, incremental).map_err(|error| error.to_string())?),
        false => None,
    };
    let mut base = BaseKept::new(way.to_base.then(|| BaseFile::create(&set, incremental)));
    let mut reported = 0;
    while let Ok(bytes) = async_std::task::block_on(incoming.recv()) {
        base.write(&bytes);
        if let Some(file) = &mut file {
            file.write(&bytes).map_err(|error| error.to_string())?;
        }
        loader.feed(&bytes).map_err(|error| error.to_string())?;
        let counts = loader.counts();
        if counts.bytes - reported >= load::REPORT_BYTES {
            reported = counts.bytes;
            lock.with(|engine| engine.persistence.count_load(counts));
        }
    }
    let loaded = loader.finish().map_err(|error| error.to_string())?;
    lock.with(|engine| engine.persistence.count_load(loaded.counts));
    if !loaded.rest.is_empty() {
        return Err(format!(
            "{} bytes behind the end of the snapshot",
            loaded.rest.len()
        ));
    }
    if let Some(file) = file {
        file.publish().map_err(|error| error.to_string())?;
    }
    if way.removes_file {
        // `rdb-del-sync-files`: the dataset that this file holds is not ours any more. Mostly there is none.
        let _ = std::fs::remove_file(&path);
    }
    Ok((Box::new(loaded), base.seal()))
}

/// A copy of the payload for the AOF. The sync goes on without it: then a snapshot has to make the base afterwards.
struct BaseKept(Option<BaseFile>);

impl BaseKept {
    fn new(file: Option<Result<BaseFile, FileError>>) -> Self {
        let mut kept = BaseKept(None);
        kept.0 = file.and_then(|created| kept.unless_failed(created));
        kept
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(file) = &mut self.0 {
            let written = file.write(bytes);
            if self.unless_failed(written).is_none() {
                self.0 = None;
            }
        }
    }

    fn seal(mut self) -> Option<Candidate> {
        let sealed = self.0.take()?.seal(BaseFormat::Rdb);
        self.unless_failed(sealed)
    }

    fn unless_failed<T>(&self, outcome: Result<T, FileError>) -> Option<T> {
        outcome
            .inspect_err(|error| {
                log::warn!("AOF: the master's snapshot is not kept as a base: {error}");
            })
            .ok()
    }
}
