//! Starting, watching and ending processes.
//!
//! Children that die with the agent are started from one thread that lives as long as the agent:
//! `PR_SET_PDEATHSIG` fires when the *thread* that forked ends, and those of the runtime come and go.

use super::{House, KernelError, ProcessId, Result, Spawn, Tell, namespace};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, setns, unshare},
    sys::{prctl, signal},
    unistd::{Pid, sethostname, setsid},
};
use std::{
    fs, io,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

/// Where tools are looked for.
pub const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const NOTHING: Option<&str> = None;

type Order = (Command, mpsc::Sender<io::Result<Child>>);

/// The thread that starts the agent's children.
pub struct Nursery {
    orders: mpsc::Sender<Order>,
}

impl Nursery {
    /// Starts the thread.
    pub fn open() -> Self {
        let (orders, inbox) = mpsc::channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, reply) in inbox {
                let _ = reply.send(command.spawn());
            }
        });
        Self { orders }
    }

    /// Starts a process, and a thread that reaps it.
    pub fn spawn(&self, spawn: &Spawn) -> Result<ProcessId> {
        let failed =
            |detail: &dyn std::fmt::Display| KernelError::new(format!("start `{}`", spawn.program.display()), detail);
        let command = command(spawn).map_err(|error| failed(&error))?;
        let (reply, answer) = mpsc::channel();
        self.orders.send((command, reply)).map_err(|error| failed(&error))?;
        let mut child = answer.recv().map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
        let process = identify(child.id()).unwrap_or(ProcessId { pid: child.id(), started: 0 });
        std::thread::spawn(move || child.wait());
        Ok(process)
    }
}

fn command(spawn: &Spawn) -> io::Result<Command> {
    let log = fs::OpenOptions::new().create(true).append(true).open(&spawn.log)?;
    let mut command = Command::new(&spawn.program);
    command.args(&spawn.args).env("PATH", SEARCH_PATH).envs(&spawn.env).current_dir("/");
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let enter: Box<dyn FnMut() -> io::Result<()> + Send + Sync> = match &spawn.house {
        None if spawn.survives => Box::new(|| Ok(setsid().map(|_| ())?)),
        None => Box::new(|| Ok(prctl::set_pdeathsig(signal::Signal::SIGKILL)?)),
        Some(house) => move_into(house)?,
    };
    // SAFETY: between fork and exec the closure makes system calls only; what it needs was opened and
    // allocated before the fork.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(enter);
    }
    Ok(command)
}

fn move_into(house: &House) -> io::Result<Box<dyn FnMut() -> io::Result<()> + Send + Sync>> {
    let net = fs::File::open(namespace::path(&house.namespace))?;
    let house = house.clone();
    Ok(Box::new(move || {
        setsid()?;
        setns(&net, CloneFlags::CLONE_NEWNET)?;
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS)?;
        // A slave, not private: namespaces removed outside must go in here too.
        mount(NOTHING, "/", NOTHING, MsFlags::MS_SLAVE | MsFlags::MS_REC, NOTHING)?;
        let _ = umount2("/run/netns", MntFlags::MNT_DETACH);
        for (from, over) in &house.files {
            mount(Some(from.as_path()), over.as_path(), NOTHING, MsFlags::MS_BIND, NOTHING)?;
        }
        if house.private_run {
            mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), NOTHING)?;
        }
        if let Some(hostname) = &house.hostname {
            sethostname(hostname)?;
        }
        Ok(())
    }))
}

/// Runs a tool to its end with `input`, and gives what it printed.
pub fn run(program: &str, args: &[&str], input: Option<&str>) -> Result<Vec<u8>> {
    use io::Write;
    let action = || format!("run `{program} {}`", args.join(" "));
    // By its path: then nothing of this process, which may be large, is copied for the child.
    let found = SEARCH_PATH.split(':').map(|directory| Path::new(directory).join(program)).find(|path| path.is_file());
    let mut command = Command::new(found.as_deref().unwrap_or(Path::new(program)));
    command.args(args).env("PATH", SEARCH_PATH).env("LC_ALL", "C");
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| KernelError::new(action(), error))?;
    let stdin = child.stdin.take();
    let output = std::thread::scope(|scope| {
        if let (Some(mut stdin), Some(input)) = (stdin, input) {
            // Written from a thread of its own: a tool that talks while it reads must not block both.
            scope.spawn(move || stdin.write_all(input.as_bytes()));
        }
        child.wait_with_output()
    });
    let output = output.map_err(|error| KernelError::new(action(), error))?;
    if !output.status.success() {
        let said = if output.stderr.is_empty() { &output.stdout } else { &output.stderr };
        return Err(KernelError::new(action(), String::from_utf8_lossy(said).trim()));
    }
    Ok(output.stdout)
}

/// The process with this number, if it runs.
pub fn identify(pid: u32) -> Option<ProcessId> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may contain anything; what follows it does not.
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    Some(ProcessId { pid, started: fields.nth(18)?.parse().ok()? })
}

/// Whether it still runs.
pub fn alive(process: &ProcessId) -> bool {
    identify(process.pid).as_ref() == Some(process)
}

/// Sends a signal; a process that is gone is not an error.
pub fn tell(process: &ProcessId, what: Tell) -> Result<()> {
    if !alive(process) {
        return Ok(());
    }
    let number = match what {
        Tell::Reload => signal::Signal::SIGHUP,
        Tell::Renew => signal::Signal::SIGUSR2,
        Tell::Stop => signal::Signal::SIGTERM,
        Tell::Kill => signal::Signal::SIGKILL,
    };
    let pid = Pid::from_raw(i32::try_from(process.pid).unwrap_or(i32::MAX));
    match signal::kill(pid, number) {
        Ok(()) | Err(nix::Error::ESRCH) => Ok(()),
        Err(error) => Err(KernelError::new(format!("signal process {}", process.pid), error)),
    }
}

/// Waits for a process to be gone.
pub fn wait_gone(process: &ProcessId, patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    while alive(process) {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}
