//! A server with simulated hosts that is on the bus, by its own listener or through a NATS server; and who asks it.
//!
//! Ports are chosen here and stay what they are, so that all can be killed and started again where it was.

use std::{
    fs::File,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        atomic::{AtomicU16, Ordering},
        mpsc::{Receiver, channel},
    },
    thread,
    time::{Duration, Instant},
};

/// Where `.ci/install.sh` puts NATS' client for Python and its server.
const PROGRAMS: &str = "/opt/switchback-bus/bin";
/// A machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// How a client gets to the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// By the listener that it has itself.
    Listener,
    /// By a NATS server between.
    Nats,
}

/// The ways that there are here.
pub fn ways() -> Vec<Way> {
    let nats = is_there(&program("nats-server"), "clients through a NATS server");
    [Way::Listener].into_iter().chain(nats.then_some(Way::Nats)).collect()
}

/// A port that nobody listens on, and from which no connection goes out.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = 10_000 + (std::process::id() % 1000) as u16 * 20;
    for _ in 0..2000 {
        let port = base + NEXT.fetch_add(1, Ordering::Relaxed);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free");
}

/// The server and, on the way through it, a NATS server. Everything ends with it.
pub struct Site {
    way: Way,
    pub folder: tempfile::TempDir,
    /// Settings of the server, as its environment.
    settings: Vec<(&'static str, String)>,
    http: u16,
    bus: u16,
    server: Option<Child>,
    nats: Option<Child>,
}

impl Site {
    pub fn start(way: Way) -> Site {
        Site::with(way, vec![])
    }

    /// With settings besides.
    pub fn with(way: Way, settings: Vec<(&'static str, String)>) -> Site {
        let folder = tempfile::tempdir().unwrap();
        let (http, bus) = (free_port(), free_port());
        let mut site = Site { way, folder, settings, http, bus, server: None, nats: None };
        site.begin();
        site
    }

    /// Starts what is not there.
    pub fn begin(&mut self) {
        let bus = format!("127.0.0.1:{}", self.bus);
        let on_the_bus = match self.way {
            Way::Listener => vec!["--bus".to_string(), bus],
            Way::Nats => {
                let mut nats = Command::new(program("nats-server"));
                nats.args(["--addr", "127.0.0.1", "--port", &self.bus.to_string()]).stderr(Stdio::null());
                self.nats = Some(nats.spawn().unwrap());
                ["--bus", "off", "--nats", &format!("nats://{bus}")].map(str::to_string).to_vec()
            }
        };
        let log = File::options().create(true).append(true).open(self.folder.path().join("log")).unwrap();
        let mut server = Command::new(env!("CARGO_BIN_EXE_switchback"));
        server.args(["serve", "--simulate", "--listen", &format!("127.0.0.1:{}", self.http), "--data"]);
        server.arg(self.data()).args(on_the_bus).envs(self.settings.iter().cloned()).stderr(log);
        self.server = Some(server.spawn().unwrap());
        for port in [self.http, self.bus] {
            self.listens(port);
        }
    }

    /// Kills all of it, with no chance to say good-bye.
    pub fn kill(&mut self) {
        for mut child in [self.server.take(), self.nats.take()].into_iter().flatten() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// The memory that the server holds, in bytes.
    pub fn resident(&self) -> u64 {
        let server = self.server.as_ref().unwrap().id();
        let status = std::fs::read_to_string(format!("/proc/{server}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    /// Where the bus is.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.bus)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// What stands in a file of the data directory.
    pub fn said(&self, file: &str) -> String {
        std::fs::read_to_string(self.data().join(file)).unwrap().trim().to_string()
    }

    /// Waits until somebody listens there.
    fn listens(&mut self, port: u16) {
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = self.server.as_mut().and_then(|server| server.try_wait().unwrap());
            assert!(ended.is_none() && begin.elapsed() < PATIENCE, "nobody listens on {port}\n{}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The log of the server.
    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// A program that asks this server, and keeps its files in the server's folder.
    pub fn client(&self, mut command: Command) -> Client {
        command.current_dir(self.folder.path()).env("SWITCHBACK_BUS", self.url());
        command.env("SWITCHBACK_TOKEN", self.said("admin.token"));
        command.env("SWITCHBACK_PASSWORD", self.said("admin.password"));
        Client::start(command)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A program that says something line by line.
pub struct Client {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
    complaints: Option<thread::JoinHandle<String>>,
    /// What it has said.
    pub said: Vec<String>,
}

impl Client {
    fn start(mut command: Command) -> Client {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (input, output, complaints) =
            (child.stdin.take().unwrap(), child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let (says, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if says.send(line).is_err() {
                    return;
                }
            }
        });
        let complaints = thread::spawn(move || {
            BufReader::new(complaints).lines().map_while(Result::ok).collect::<Vec<_>>().join("\n")
        });
        Client { child, input, lines, complaints: Some(complaints), said: vec![] }
    }

    /// Hears it until it says such a line.
    pub fn until(&mut self, what: &str, is_it: impl Fn(&str) -> bool) {
        loop {
            let Ok(line) = self.lines.recv_timeout(PATIENCE) else { panic!("it never said {what}\n{}", self.all()) };
            self.said.push(line);
            if is_it(&self.said[self.said.len() - 1]) {
                return;
            }
        }
    }

    /// All that it said and complained of; it ends with that.
    fn all(&mut self) -> String {
        let _ = self.child.kill();
        let complained = self.complaints.take().map(|complaints| complaints.join().unwrap());
        format!("{}\n{}", self.said.join("\n"), complained.unwrap_or_default())
    }

    /// Tells it something.
    pub fn tell(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }

    /// Hears it to its end, which is a good one.
    pub fn end(mut self) -> Vec<String> {
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            self.said.push(line);
        }
        // Silent for so long, it does not end by itself.
        let _ = self.child.kill();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}\n{}", self.all());
        self.said
    }

    /// Ends it.
    pub fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.said
    }
}

/// A program that `.ci/install.sh` installs.
fn program(name: &str) -> PathBuf {
    Path::new(PROGRAMS).join(name)
}

/// Python with NATS' client, running this script.
pub fn python(script: &str) -> Option<Command> {
    let python = program("python");
    is_there(&python, "NATS' client for Python").then(|| {
        let mut command = Command::new(python);
        command.arg("-u").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(script));
        command
    })
}

/// A program in Go, made of this folder.
pub fn go(folder: &str, what: &[&str], into: &Path) -> Option<Command> {
    if Command::new("go").arg("version").output().is_err() {
        return is_there(Path::new("go"), "Go").then(|| Command::new("go"));
    }
    let program = into.join("program");
    let mut go = Command::new("go");
    go.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).args(what).arg("-o").arg(&program);
    // Nothing of what goes on outside is for it, and the sums are in the repository.
    let made = go.env_remove("GOFLAGS").output().unwrap();
    assert!(made.status.success(), "{go:?}\n{}", String::from_utf8_lossy(&made.stderr));
    Some(Command::new(program))
}

/// In CI everything must be there; elsewhere a test that cannot be made says so.
fn is_there(program: &Path, what: &str) -> bool {
    if program.exists() {
        return true;
    }
    assert!(std::env::var_os("CI").is_none(), "there is no {}: .ci/install.sh installs it", program.display());
    // Past the test harness, which shows nothing of a test that passes.
    let mut past = std::io::stderr().lock();
    writeln!(past, "SKIPPED: {what}, on the bus: there is no {}", program.display()).unwrap();
    false
}
