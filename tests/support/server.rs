//! A server as a child process: its own directory, its own loopback port, ended when dropped.
//!
//! Only pids that were started here are ever signalled. A server that does not come up panics with the tail of its log;
//! so does a test that fails while its servers live, because that is what one wants to read then.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::client::Client;
use crate::support::value::Value;
use crate::support::wait;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// The program under test.
    Sluice,
    /// The reference.
    Redis,
}

/// What to start; finished by [`Setup::start`].
#[derive(Clone)]
pub struct Setup {
    program: Program,
    binary: PathBuf,
    home: Option<PathBuf>,
    port: Option<u16>,
    conf: Option<String>,
    words: Vec<String>,
    wait_for_load: bool,
}

pub struct Server {
    setup: Setup,
    port: u16,
    home: PathBuf,
    owns_home: bool,
    child: Option<Child>,
    /// Where the log of the present run begins.
    log_start: usize,
}

/// How a server ended that was not meant to stay.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub log: String,
}

/// The program under test.
pub fn sluice() -> Setup {
    Setup::new(Program::Sluice, sluice_binary())
}

/// The reference, or nothing where it is missing; says so loudly, or fails if `SLUICE_REQUIRE_REDIS=1`.
pub fn redis() -> Option<Setup> {
    match redis_binary("redis-server") {
        Some(binary) => Some(Setup::new(Program::Redis, binary)),
        None => {
            assert!(
                !reference_is_required(),
                "SLUICE_REQUIRE_REDIS=1, but there is no redis-server"
            );
            eprintln!("SKIPPED: no redis-server in PATH nor in REDIS_SERVER; nothing was compared");
            None
        }
    }
}

/// Whether a missing reference, or a missing client of it, is a failure: `SLUICE_REQUIRE_REDIS=1`.
pub fn reference_is_required() -> bool {
    std::env::var("SLUICE_REQUIRE_REDIS").is_ok_and(|value| value == "1")
}

/// True if the program under test is the reference itself: how these tests are tested. Tests of what only Sluice does
/// start with `if stands_in_for_sluice("why") { return; }`.
pub fn stands_in_for_sluice(why: &str) -> bool {
    static REFERENCE: OnceLock<bool> = OnceLock::new();
    let stands_in = *REFERENCE.get_or_init(|| {
        let output = Command::new(sluice_binary()).arg("--version").output();
        output.is_ok_and(|output| output.stdout.starts_with(b"Redis server v="))
    });
    if stands_in {
        eprintln!("skipped under the reference: {why}");
    }
    stands_in
}

pub fn sluice_binary() -> PathBuf {
    match std::env::var_os("SLUICE_SERVER") {
        Some(path) => path.into(),
        None => env!("CARGO_BIN_EXE_sluice-server").into(),
    }
}

/// One of the reference's programs: beside `REDIS_SERVER`, else in PATH.
pub fn redis_binary(name: &str) -> Option<PathBuf> {
    if let Some(server) = std::env::var_os("REDIS_SERVER") {
        let server = PathBuf::from(server);
        let beside = match name {
            "redis-server" => server,
            other => server.with_file_name(other),
        };
        return beside.is_file().then_some(beside);
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
}

impl Setup {
    fn new(program: Program, binary: PathBuf) -> Setup {
        Setup {
            program,
            binary,
            home: None,
            port: None,
            conf: None,
            words: Vec::new(),
            wait_for_load: true,
        }
        .set("save", "")
        .set("enable-debug-command", "yes")
    }

    /// `--name value`; the last one given wins. A value of several words is passed as several words.
    pub fn set(mut self, name: &str, value: &str) -> Setup {
        self.words.push(format!("--{name}"));
        match value {
            "" => self.words.push(String::new()),
            value => self
                .words
                .extend(value.split_whitespace().map(str::to_string)),
        }
        self
    }

    /// `--name "several words"`, as one word of the command line.
    pub fn set_as_one_word(mut self, name: &str, value: &str) -> Setup {
        self.words.push(format!("--{name}"));
        self.words.push(value.to_string());
        self
    }

    /// A config file with this text, given as the first argument.
    pub fn conf(mut self, text: &str) -> Setup {
        self.conf = Some(text.to_string());
        self
    }

    /// The default settings of these tests taken back, so that only `conf` and later words speak.
    pub fn bare(mut self) -> Setup {
        self.words.clear();
        self
    }

    /// Runs in an existing directory, which is not removed at the end.
    pub fn home(mut self, home: &Path) -> Setup {
        self.home = Some(home.to_path_buf());
        self
    }

    /// Started by a script that takes the same words.
    pub fn started_by(mut self, script: &Path) -> Setup {
        self.binary = script.to_path_buf();
        self
    }

    pub fn port(mut self, port: u16) -> Setup {
        self.port = Some(port);
        self
    }

    /// Returns from `start` as soon as the server answers at all, `-LOADING` included.
    pub fn while_loading(mut self) -> Setup {
        self.wait_for_load = false;
        self
    }

    #[track_caller]
    pub fn start(self) -> Server {
        self.try_start()
            .unwrap_or_else(|ended| panic!("the server ended at once, {ended}"))
    }

    /// A server that answers, or how it ended instead.
    #[track_caller]
    pub fn try_start(self) -> Result<Server, Ended> {
        let mut server = self.prepared();
        loop {
            server.port = server.setup.port.unwrap_or_else(free_port);
            match server.launch() {
                Ok(()) => return Ok(server),
                // Another process took the free port first: try the next.
                Err(ended)
                    if server.setup.port.is_none() && ended.log.contains("already in use") => {}
                Err(ended) => return Err(ended),
            }
        }
    }

    fn prepared(self) -> Server {
        Server {
            port: 0,
            home: self.home.clone().unwrap_or_else(fresh_directory),
            owns_home: self.home.is_none(),
            child: None,
            log_start: 0,
            setup: self,
        }
    }

    /// Runs a server that is expected to end by itself; panics if it does not within 20 seconds.
    #[track_caller]
    pub fn run_to_end(self) -> Ended {
        let mut server = self.prepared();
        server.port = server.setup.port.unwrap_or_else(free_port);
        server.spawn();
        let status = server.await_exit();
        Ended {
            status,
            log: server.log(),
        }
    }
}

impl Server {
    fn launch(&mut self) -> Result<(), Ended> {
        self.spawn();
        self.await_answer()
    }

    fn spawn(&mut self) {
        let log = self.home.join("server.log");
        self.log_start = self.log().len();
        let out = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap_or_else(|error| panic!("{}: {error}", log.display()));
        let mut command = Command::new(&self.setup.binary);
        if let Some(text) = &self.setup.conf {
            let path = self.conf_path();
            if !path.exists() {
                fs::write(&path, text).expect("the directory is ours");
            }
            command.arg(path);
        }
        command
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"])
            .arg("--dir")
            .arg(&self.home)
            .args(&self.setup.words)
            .current_dir(&self.home)
            .stdin(Stdio::null())
            .stdout(out.try_clone().expect("a file handle can be cloned"))
            .stderr(out);
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("start {}: {error}", self.setup.binary.display()));
        self.child = Some(child);
    }

    fn await_answer(&mut self) -> Result<(), Ended> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.exit_status() {
                self.child = None;
                return Err(Ended {
                    status,
                    log: self.log(),
                });
            }
            // Whoever answers before this line is in the log is another server on the same port.
            let is_ours = self.log()[self.log_start..].contains("Server initialized");
            if is_ours && let Ok(mut client) = Client::try_connect(self.port) {
                match client.try_command(&["PING"]) {
                    Ok(Value::Error(text)) if text.starts_with("LOADING") => {
                        if !self.setup.wait_for_load {
                            return Ok(());
                        }
                    }
                    Ok(_) => return Ok(()),
                    Err(_) => {}
                }
            }
            assert!(
                start.elapsed() < Duration::from_secs(60),
                "the server did not answer within 60 seconds\n{}",
                self.log_tail()
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn program(&self) -> Program {
        self.setup.program
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn home(&self) -> &Path {
        &self.home
    }

    pub fn conf_path(&self) -> PathBuf {
        self.home.join("test.conf")
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the server runs").id()
    }

    #[track_caller]
    pub fn client(&self) -> Client {
        Client::connect(self.port)
    }

    /// One command on a connection of its own.
    #[track_caller]
    pub fn call(&self, line: &str) -> Value {
        self.client().call(line)
    }

    #[track_caller]
    pub fn must(&self, line: &str) -> Value {
        self.client().must(line)
    }

    /// A field of INFO, or "" where it is not there.
    #[track_caller]
    pub fn info(&self, field: &str) -> String {
        info_field(&self.call("INFO everything").text(), field)
    }

    #[track_caller]
    pub fn info_number(&self, field: &str) -> i64 {
        let text = self.info(field);
        text.parse()
            .unwrap_or_else(|_| panic!("INFO {field} should be a number, found {text:?}"))
    }

    /// Sends REPLICAOF and waits until the link is up.
    #[track_caller]
    pub fn follow(&self, master: &Server) {
        self.follow_port(master.port);
        self.await_link();
    }

    #[track_caller]
    pub fn follow_port(&self, port: u16) {
        self.must(&format!("REPLICAOF 127.0.0.1 {port}"));
    }

    #[track_caller]
    pub fn await_link(&self) {
        wait::until("the replica's link is up", || {
            self.try_info("master_link_status") == "up"
        });
    }

    /// The lines of INFO that begin so.
    pub fn info_lines(&self, prefix: &str) -> Vec<String> {
        let text = self.call("INFO everything").text();
        let lines = text.lines().filter(|line| line.starts_with(prefix));
        lines.map(str::to_owned).collect()
    }

    /// As [`Server::info`], but "" also while the server does not answer.
    pub fn try_info(&self, field: &str) -> String {
        info_field(&self.try_info_text(), field)
    }

    /// All of INFO, or "" while the server does not answer.
    pub fn try_info_text(&self) -> String {
        let Ok(mut client) = Client::try_connect(self.port) else {
            return String::new();
        };
        match client.try_command(&["INFO", "everything"]) {
            Ok(reply) if !reply.is_error() => reply.text(),
            _ => String::new(),
        }
    }

    /// All that the server has logged.
    pub fn log(&self) -> String {
        let bytes = fs::read(self.home.join("server.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let tail = &lines[lines.len().saturating_sub(40)..];
        format!(
            "--- log of {:?} on port {} ---\n{}\n---",
            self.setup.program,
            self.port,
            tail.join("\n")
        )
    }

    #[track_caller]
    pub fn await_log(&self, text: &str) {
        wait::until(&format!("the log says {text:?}"), || {
            self.log().contains(text)
        });
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid() as i32).expect("a child's pid is positive");
        kill_process(pid, signal).expect("a child that was not waited for can be signalled");
    }

    /// SIGSTOP: it keeps its connections and says nothing.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// SIGTERM, then how it ended.
    #[track_caller]
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.await_exit()
    }

    #[track_caller]
    pub fn interrupt(&mut self) -> ExitStatus {
        self.signal(Signal::INT);
        self.await_exit()
    }

    /// SIGKILL: no farewell.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself; there is nothing left to do then.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    #[track_caller]
    pub fn await_exit(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.exit_status() {
                self.child = None;
                return status;
            }
            assert!(
                start.elapsed() < Duration::from_secs(30),
                "the server did not end within 30 seconds\n{}",
                self.log_tail()
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn is_running(&mut self) -> bool {
        self.child.is_some() && self.exit_status().is_none()
    }

    fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child
            .as_mut()
            .and_then(|child| child.try_wait().expect("a child can be waited for"))
    }

    /// Starts again on the same directory and port, with the same words, after it has ended.
    #[track_caller]
    pub fn start_again(&mut self) {
        self.start_again_with(&[]);
    }

    /// As [`Server::start_again`], with further settings, which stay.
    #[track_caller]
    pub fn start_again_with(&mut self, settings: &[(&str, &str)]) {
        if let Err(ended) = self.try_start_again_with(settings) {
            panic!("the server ended at once, {ended}");
        }
    }

    pub fn try_start_again_with(&mut self, settings: &[(&str, &str)]) -> Result<(), Ended> {
        assert!(self.child.is_none(), "it runs already");
        for (name, value) in settings {
            self.setup = self.setup.clone().set(name, value);
        }
        self.launch()
    }

    /// Bytes of memory that the process holds (RSS).
    pub fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
            .map_or(0, |kibibytes| kibibytes * 1024)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            eprintln!("{}", self.log_tail());
        }
        if self.owns_home && std::env::var_os("SLUICE_KEEP").is_none() {
            // A directory that cannot be removed is a nuisance, not a failed test.
            let _ = fs::remove_dir_all(&self.home);
        }
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}; it logged:\n{}", self.status, self.log)
    }
}

/// The value of one line `field:value` of INFO.
pub fn info_field(info: &str, field: &str) -> String {
    info.lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
        .unwrap_or("")
        .to_string()
}

/// A new directory below the system's temporary one.
pub fn fresh_directory() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("sluice-test-{}-{number}", std::process::id()));
    // A directory of an earlier process with the same pid is stale.
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap_or_else(|error| panic!("create {}: {error}", path.display()));
    path
}

/// A loopback port that nobody listens on: below the range from which outgoing connections take theirs.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let span = (PORTS.end - PORTS.start) as u32;
    let start = std::process::id().wrapping_mul(67);
    for _ in 0..span {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = PORTS.start + (start.wrapping_add(step) % span) as u16;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port in {PORTS:?}");
}

const PORTS: std::ops::Range<u16> = 21600..22000;
