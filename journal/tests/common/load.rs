//! A load for the tests that kill: a child process appends from several clients at once and says what it sent and
//! what was acknowledged. The parent kills it, and holds the log against what it was told.
//!
//! What a command does follows from its name, so that the log can be compared with it, and so that a retry after
//! the crash is the same command again.

use super::*;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

const DIR: &str = "LOAD_DIR";
const RUN: &str = "LOAD_RUN";
const RETRIES: &str = "LOAD_RETRIES";
/// The name of the test that is the child, in every file of tests that has one.
const CHILD: &str = "child_appends_until_it_is_killed";
const CLIENTS: usize = 6;
const IN_FLIGHT_MAX: usize = 4;

/// Small enough that heads are signed, the index is checkpointed and frames are sealed all the time.
fn options() -> Options {
    Options {
        // What is older is read from the disk.
        recent: 16,
        segment_bytes: 40 * 1024,
        head_commits: 20,
        head_age: Duration::from_millis(20),
        checkpoint_events: 100,
        checkpoint_age: Duration::from_millis(30),
        ..Options::default()
    }
}

fn open_dir(dir: &Path) -> Result<Journal, OpenError> {
    Journal::open(Arc::new(SledStore::open(dir)?), options())
}

/// The command of this name: `<run>/<client>/<number>`.
fn command(name: &str) -> Proposal {
    let mut random = Random::new(u64::from_le_bytes(*Id::of_name(name).0.first_chunk().unwrap()));
    let own = zone(&format!("client {}", name.split('/').nth(1).unwrap()));
    let padding = match random.below(100) {
        0 => 70_000,
        1..4 => 10_000,
        _ => random.below(300),
    };
    let mut events = vec![(own, created(&"x".repeat(padding)))];
    for _ in 0..random.below(4) {
        let stream = match random.below(3) {
            0 => zone("shared"),
            1 => zone(&format!("group {}", random.below(20))),
            _ => own,
        };
        events.push((stream, created(name)));
    }
    let mut next = proposal(name, events);
    next.provenance.body = Id::of_name(&format!("body of {name}"));
    next.provenance.reason = Some(name.to_string());
    next
}

fn say(line: String) {
    std::io::stdout().lock().write_all(format!("@{line}\n").as_bytes()).unwrap();
}

/// The child, when this process is one.
pub fn child() {
    let (Ok(dir), Ok(run)) = (std::env::var(DIR), std::env::var(RUN)) else { return };
    let journal = match open_dir(Path::new(&dir)) {
        Ok(journal) => journal,
        Err(error) => return say(format!("not-open {error}")),
    };
    say("open".to_string());
    let retries = std::env::var(RETRIES).unwrap_or_default();
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let names = retries.split_whitespace().skip(client).step_by(CLIENTS).map(str::to_string);
            let (journal, run) = (&journal, &run);
            let names = names.chain((0..).map(move |at| format!("{run}/{client}/{at}")));
            scope.spawn(|| be_client(journal, names));
        }
    });
    // The clients end only when nothing can be appended any more.
    let readable = journal.read(0, usize::MAX).map(|commits| commits.len());
    say(format!("ended {} {readable:?} {:?}", journal.durable(), journal.read_only().unwrap_or_default()));
}

fn be_client(journal: &Journal, names: impl Iterator<Item = String>) {
    let mut names = names.peekable();
    while let Some(first) = names.peek() {
        let burst = 1 + first.len() % IN_FLIGHT_MAX;
        let mut in_flight = Vec::new();
        for name in names.by_ref().take(burst) {
            say(format!("sent {name}"));
            match append_decided(journal, &name) {
                Ok(appended) => in_flight.push((name, appended)),
                Err(refused) => return say(format!("refused {name} {refused}")),
            }
        }
        for (name, appended) in in_flight {
            let repeated = appended.repeated;
            match wait(appended.durable()) {
                Ok(commit) => say(format!(
                    "acknowledged {name} {} {} {repeated}",
                    commit.events[0].position,
                    commit.last_position()
                )),
                Err(refused) => return say(format!("refused {name} {refused}")),
            }
        }
    }
}

/// Reads what the command stands on and appends it, until nobody was faster.
fn append_decided(journal: &Journal, name: &str) -> Result<Appended, AppendError> {
    loop {
        let mut next = command(name);
        let streams: BTreeSet<StreamKey> = next.events.iter().map(|(stream, _)| *stream).collect();
        next.reads = streams.into_iter().map(|stream| (stream, journal.version(stream))).collect();
        match append(journal, next) {
            Err(AppendError::Conflict { .. } | AppendError::Busy) => std::thread::yield_now(),
            other => return other,
        }
    }
}

/// When a child is killed.
#[derive(Clone, Copy, Debug)]
pub enum Kill {
    /// So long after its start: it may not be through with opening the log.
    AfterStart(Duration),
    /// So long after so many acknowledgements.
    AfterAcknowledged(usize, Duration),
    /// Not at all: it ends when nothing can be appended any more.
    Never,
}

impl Kill {
    pub fn at_random(random: &mut Random) -> Kill {
        let mut within = |millis: usize| Duration::from_micros(random.below(millis * 1_000) as u64);
        let (early, late) = (within(60), within(5));
        if random.below(5) == 0 { Kill::AfterStart(early) } else { Kill::AfterAcknowledged(random.below(600), late) }
    }
}

/// The end of a child that was not killed.
#[derive(Debug, Default)]
pub struct End {
    pub durable: Position,
    pub readable: String,
    pub read_only: String,
    /// What the clients were told.
    pub refusals: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Logged {
    name: String,
    first: Position,
    last: Position,
}

/// What is known of one log over all its crashes.
#[derive(Default)]
pub struct History {
    runs: usize,
    sent: BTreeSet<String>,
    acknowledged: BTreeMap<String, (Position, Position)>,
    /// The log as it was found last.
    log: Vec<Logged>,
    /// How many acknowledgements came for commands that were in the log before the crash.
    pub repeated: usize,
    dir: PathBuf,
    /// The most that was seen of each of [`KEPT`].
    kept: [u64; 3],
}

/// What is kept beside the log while it grows.
const KEPT: [&str; 3] = ["segments", "heads.jsonl", "index.checkpoint"];

impl History {
    /// The next child, not yet started.
    pub fn child(&mut self, dir: &Path) -> Command {
        self.runs += 1;
        self.dir = dir.to_path_buf();
        let unknown: Vec<&str> =
            self.sent.iter().filter(|name| !self.acknowledged.contains_key(*name)).map(String::as_str).collect();
        let mut child = Command::new(std::env::current_exe().unwrap());
        child
            .args(["--exact", CHILD, "--nocapture", "--test-threads=1"])
            .env(DIR, dir)
            .env(RUN, self.runs.to_string())
            .env(RETRIES, unknown.join(" "))
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        child
    }

    pub fn acknowledged(&self) -> usize {
        self.acknowledged.len()
    }

    /// That the load did come to all that there is to be broken.
    pub fn assert_much_happened(&self) {
        let [sealed, heads, checkpoint] = self.kept;
        let enough = self.acknowledged() > 200 && sealed > 4 && heads > 1_000 && checkpoint > 1_000;
        assert!(enough, "{}, kept {:?}", self.summary(), self.kept);
    }

    /// What came together, for whoever looks on.
    pub fn summary(&self) -> String {
        let (runs, sent, found) = (self.runs, self.sent.len(), self.log.len());
        let (acknowledged, repeated) = (self.acknowledged.len(), self.repeated);
        format!(
            "{runs} runs, {sent} sent, {acknowledged} acknowledged, {found} found, {repeated} sent again were there"
        )
    }

    /// Runs `child` until it is killed, and notes what it says.
    pub fn run(&mut self, mut child: Command, kill: Kill) -> End {
        let mut child = child.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let (acknowledge, acknowledged) = std::sync::mpsc::channel();
        let killer = std::thread::spawn(move || {
            match kill {
                Kill::AfterStart(delay) => std::thread::sleep(delay),
                // Until the sender is gone, when the child has ended by itself.
                Kill::AfterAcknowledged(count, delay) => {
                    acknowledged.iter().take(count).for_each(drop);
                    std::thread::sleep(delay);
                }
                Kill::Never => acknowledged.iter().for_each(drop),
            }
            if !matches!(kill, Kill::Never) {
                let _ = child.kill();
            }
            child.wait().unwrap();
        });
        let mut end = End::default();
        for line in lines.split(b'\n') {
            let line = String::from_utf8(line.unwrap()).unwrap();
            // The harness may put its own words before the first.
            let Some((_, line)) = line.split_once('@') else { continue };
            let words: Vec<&str> = line.splitn(3, ' ').collect();
            match words[..] {
                ["open"] => {}
                ["sent", name] => _ = self.sent.insert(name.to_string()),
                ["acknowledged", name, rest] => {
                    self.acknowledge(name, rest);
                    let _ = acknowledge.send(());
                }
                ["refused", name, why] => end.refusals.push(format!("{name}: {why}")),
                ["ended", durable, rest] => {
                    let (readable, read_only) = rest.split_once(' ').unwrap();
                    end.durable = durable.parse().unwrap();
                    (end.readable, end.read_only) = (readable.to_string(), read_only.to_string());
                }
                ["not-open", ..] => panic!("after {} runs: {line}", self.runs),
                // Cut off by the kill.
                _ => assert!(!matches!(kill, Kill::Never), "{line}"),
            }
        }
        drop(acknowledge);
        killer.join().unwrap();
        for (most, file) in self.kept.iter_mut().zip(KEPT) {
            // The length of the file, or the number of entries of the directory.
            let path = self.dir.join(file);
            let length = std::fs::read_dir(&path).map(|entries| entries.count() as u64);
            *most = length.or_else(|_| path.metadata().map(|file| file.len())).unwrap_or(0).max(*most);
        }
        end
    }

    fn acknowledge(&mut self, name: &str, rest: &str) {
        let words: Vec<&str> = rest.split(' ').collect();
        // Cut off by the kill.
        let [first, last, repeated @ ("true" | "false")] = words[..] else { return };
        let positions = (first.parse().unwrap(), last.parse().unwrap());
        let before = self.log.iter().find(|logged| logged.name == name).map(|logged| (logged.first, logged.last));
        assert_eq!(repeated == "true", before.is_some(), "{name}: {before:?}");
        assert!(
            before.is_none_or(|before| before == positions),
            "{name} had another outcome: {before:?} {positions:?}"
        );
        self.repeated += usize::from(before.is_some());
        self.acknowledged.insert(name.to_string(), positions);
    }

    /// Holds the log in `dir` against what is known, and says what is wrong. The files are not touched; those that are
    /// wrong are kept in the directory that `LOAD_KEEP` names.
    pub fn check(&mut self, dir: &Path) -> Result<(), String> {
        let found = self.compare(dir);
        if let (Err(_), Some(keep)) = (&found, std::env::var_os("LOAD_KEEP")) {
            copy_tree(dir, &Path::new(&keep).join(dir.to_string_lossy().replace('/', "-")));
        }
        found
    }

    fn compare(&mut self, dir: &Path) -> Result<(), String> {
        let copy = tempfile::tempdir().unwrap();
        copy_tree(dir, copy.path());
        // Opening checks CRCs, chain, positions and versions after the checkpoint, verifying those of all.
        let journal = open_dir(copy.path()).map_err(|error| error.to_string())?;
        let verified = journal.verify(|_| {}).map_err(|broken| broken.to_string())?;
        if verified.head != journal.head() {
            return Err(format!("verified up to {}, head {}", verified.head, journal.head()));
        }
        let commits = journal.read(0, usize::MAX).map_err(|error| error.to_string())?;
        let mut log = Vec::new();
        let mut names = BTreeSet::new();
        let mut versions: HashMap<StreamKey, Version> = HashMap::new();
        let mut position = 0;
        for commit in &commits {
            for event in &commit.events {
                let version = versions.entry(event.stream).or_default();
                (position, *version) = (position + 1, *version + 1);
                if (event.position, event.version) != (position, *version) {
                    return Err(format!("{event:?} is at position {position} and version {version}"));
                }
            }
            let name = self.named(commit)?;
            if !names.insert(name.clone()) {
                return Err(format!("{name} took effect twice"));
            }
            log.push(Logged { name, first: commit.events[0].position, last: commit.last_position() });
        }
        if !log.starts_with(&self.log) {
            return Err(format!("of {} commits that were found before, some are not there", self.log.len()));
        }
        let found: BTreeMap<&str, (Position, Position)> =
            log.iter().map(|logged| (&logged.name[..], (logged.first, logged.last))).collect();
        for (name, positions) in &self.acknowledged {
            if found.get(&name[..]) != Some(positions) {
                let (found, head) = (found.get(&name[..]), journal.head());
                return Err(format!(
                    "{name} was acknowledged at {positions:?} and is {found:?}; the log ends at {head}"
                ));
            }
        }
        for (stream, version) in versions {
            assert_eq!(journal.version(stream), version);
        }
        for logged in log.iter().rev().take(20) {
            self.ask_again(&journal, logged);
        }
        self.log = log;
        Ok(())
    }

    /// The name of a commit, which must be what was sent.
    fn named(&self, commit: &Commit) -> Result<String, String> {
        let name = commit.provenance.reason.clone().unwrap_or_default();
        if !self.sent.contains(&name) {
            return Err(format!("nobody sent {name}"));
        }
        let sent = command(&name);
        let events = commit.events.iter().map(|event| (event.stream, &event.event));
        if sent.provenance != commit.provenance
            || !events.eq(sent.events.iter().map(|(stream, event)| (*stream, event)))
        {
            return Err(format!("{name} is not what was sent"));
        }
        Ok(name)
    }

    fn ask_again(&self, journal: &Journal, logged: &Logged) {
        let again = command(&logged.name).provenance;
        let known = journal.lookup(again.command_id, again.body).unwrap().unwrap();
        assert!(known.repeated && known.commit.last_position() == logged.last, "{logged:?} {known:?}");
        let other = journal.lookup(again.command_id, Id::of_name("another body"));
        assert!(matches!(other, Err(AppendError::OtherBody(_))), "{other:?}");
    }
}

pub fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_tree(&entry.path(), &to),
            false => _ = std::fs::copy(entry.path(), to).unwrap(),
        }
    }
}
