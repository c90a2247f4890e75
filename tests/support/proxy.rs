//! A bad network on loopback: a TCP proxy that cuts, stalls, chops and refuses.
//!
//! "Down" is from the server behind the proxy to whoever connected, "up" the other way. A stalled direction keeps its
//! connection open and passes nothing, which is what a half-open link looks like from the other end.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Down,
    Up,
}

struct Shared {
    target: AtomicUsize,
    closing: AtomicBool,
    refusing: AtomicBool,
    stalled: [AtomicBool; 2],
    /// Bytes that may still pass down before every connection is cut; negative: no limit.
    budget_down: AtomicI64,
    piece_max: AtomicUsize,
    passed: [AtomicU64; 2],
    connections: AtomicU64,
    open: Mutex<Vec<(TcpStream, TcpStream)>>,
}

impl Proxy {
    pub fn to(port: u16) -> Proxy {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports");
        let own_port = listener.local_addr().expect("bound").port();
        let shared = Arc::new(Shared {
            target: AtomicUsize::new(port as usize),
            closing: AtomicBool::new(false),
            refusing: AtomicBool::new(false),
            stalled: [AtomicBool::new(false), AtomicBool::new(false)],
            budget_down: AtomicI64::new(-1),
            piece_max: AtomicUsize::new(1 << 16),
            passed: [AtomicU64::new(0), AtomicU64::new(0)],
            connections: AtomicU64::new(0),
            open: Mutex::new(Vec::new()),
        });
        let accepting = shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.closing.load(Ordering::SeqCst) {
                    break;
                }
                if let Ok(stream) = stream {
                    accepting.clone().join(stream);
                }
            }
        });
        Proxy {
            port: own_port,
            shared,
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Cuts all open connections; new ones pass.
    pub fn cut(&self) {
        self.shared.cut();
    }

    /// Cuts all connections once so many further bytes have passed down.
    pub fn cut_after_down(&self, bytes: u64) {
        self.shared
            .budget_down
            .store(bytes as i64, Ordering::SeqCst);
    }

    /// True once a budget given by [`Proxy::cut_after_down`] is used up.
    pub fn has_cut(&self) -> bool {
        self.shared.budget_down.load(Ordering::SeqCst) < 0
    }

    /// Closes whatever connects.
    pub fn refuse(&self, on: bool) {
        self.shared.refusing.store(on, Ordering::SeqCst);
    }

    pub fn stall(&self, direction: Direction, on: bool) {
        self.shared.stalled[direction as usize].store(on, Ordering::SeqCst);
    }

    /// Passes at most so many bytes with each write.
    pub fn pieces(&self, bytes_max: usize) {
        self.shared.piece_max.store(bytes_max, Ordering::SeqCst);
    }

    /// Leads new connections to another server.
    pub fn lead_to(&self, port: u16) {
        self.shared.target.store(port as usize, Ordering::SeqCst);
    }

    pub fn passed(&self, direction: Direction) -> u64 {
        self.shared.passed[direction as usize].load(Ordering::SeqCst)
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        self.shared.cut();
        // Wakes the accepting thread, which then ends; if that fails, the thread ends with the process.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

impl Shared {
    fn join(self: Arc<Self>, near: TcpStream) {
        let target = self.target.load(Ordering::SeqCst) as u16;
        if self.refusing.load(Ordering::SeqCst) {
            return;
        }
        let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)) else {
            return;
        };
        self.connections.fetch_add(1, Ordering::SeqCst);
        let pairs = [
            near.try_clone(),
            far.try_clone(),
            near.try_clone(),
            far.try_clone(),
        ];
        let [Ok(near_a), Ok(far_a), Ok(near_b), Ok(far_b)] = pairs else {
            return;
        };
        for stream in [&near, &far] {
            // Only speed is lost where the option is refused.
            let _ = stream.set_nodelay(true);
        }
        self.open
            .lock()
            .expect("no holder panics")
            .push((near, far));
        let (up, down) = (self.clone(), self);
        thread::spawn(move || up.pass(Direction::Up, near_a, far_a));
        thread::spawn(move || down.pass(Direction::Down, far_b, near_b));
    }

    fn pass(&self, direction: Direction, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = vec![0; 1 << 16];
        'reading: loop {
            let piece = self.piece_max.load(Ordering::SeqCst).clamp(1, 1 << 16);
            let count = match from.read(&mut buffer[..piece]) {
                Ok(0) | Err(_) => break,
                Ok(count) => count,
            };
            while self.stalled[direction as usize].load(Ordering::SeqCst) {
                if self.closing.load(Ordering::SeqCst) {
                    break 'reading;
                }
                thread::sleep(Duration::from_millis(2));
            }
            let allowed = match direction {
                Direction::Down => self.spend(count),
                Direction::Up => count,
            };
            if to.write_all(&buffer[..allowed]).is_err() {
                break;
            }
            self.passed[direction as usize].fetch_add(allowed as u64, Ordering::SeqCst);
            if allowed < count {
                self.cut();
                return;
            }
        }
        for stream in [&from, &to] {
            // Already closed is as good.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// How many of `count` bytes the budget allows; the one who uses it up lifts it.
    fn spend(&self, count: usize) -> usize {
        let before = self
            .budget_down
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| match left {
                left if left < 0 => None,
                left if left < count as i64 => Some(-1),
                left => Some(left - count as i64),
            });
        match before {
            Ok(left) if left < count as i64 => left as usize,
            _ => count,
        }
    }

    fn cut(&self) {
        for (near, far) in self.open.lock().expect("no holder panics").drain(..) {
            for stream in [near, far] {
                // Already closed is as good.
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }
}
