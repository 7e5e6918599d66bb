//! The `switchback` program as a user runs it.

use serde_json::Value;
use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

/// The program in a working directory.
pub struct Program(PathBuf);

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Program {
    pub fn in_directory(directory: &Path) -> Program {
        Program(directory.to_path_buf())
    }

    fn command(&self, line: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_switchback"));
        command.args(line).current_dir(&self.0).env_remove("SWITCHBACK_SERVER").env_remove("SWITCHBACK_TOKEN");
        command
    }

    fn run(&self, line: &[&str]) -> Output {
        self.command(line).output().unwrap()
    }

    /// What it writes to stdout when all is well.
    pub fn ok(&self, line: &[&str]) -> String {
        let done = self.run(line);
        assert!(done.status.success(), "{line:?}: {}{}", text(&done.stdout), text(&done.stderr));
        text(&done.stdout)
    }

    /// The same as JSON.
    pub fn json(&self, line: &[&str]) -> Value {
        serde_json::from_str(&self.ok(&[line, &["--json"]].concat())).unwrap()
    }

    /// What it says, on stdout and stderr, when it ends with this exit code.
    pub fn refused(&self, line: &[&str], code: i32) -> String {
        let done = self.run(line);
        let said = text(&done.stdout) + &text(&done.stderr);
        assert_eq!(done.status.code(), Some(code), "{line:?}: {said}");
        said
    }
}

/// A server with simulated hosts, and the program that asks it.
pub struct Served<'p> {
    program: &'p Program,
    server: Child,
    address: String,
    token: String,
}

impl Served<'_> {
    pub fn start<'p>(program: &'p Program, data: &str) -> Served<'p> {
        let line = ["serve", "--simulate", "--log-json", "--listen", "127.0.0.1:0", "--data", data];
        let mut server = program.command(&line).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(server.stderr.take().unwrap()).lines();
        let mut seen = vec![];
        let address = loop {
            let line = said.next().unwrap_or_else(|| panic!("it ended: {seen:#?}")).unwrap();
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            if let Some(address) = event["fields"]["address"].as_str().filter(|_| event["fields"]["message"] == "ready")
            {
                break address.to_string();
            }
            seen.push(line);
        };
        // Whoever says something must find someone who listens.
        std::thread::spawn(move || said.for_each(drop));
        let token = std::fs::read_to_string(program.0.join(data).join("admin.token")).unwrap().trim().to_string();
        Served { program, server, address, token }
    }

    fn asking<'l>(&'l self, line: &[&'l str]) -> Vec<&'l str> {
        [line, &["--server", &self.address, "--token", &self.token]].concat()
    }

    pub fn ok(&self, line: &[&str]) -> String {
        self.program.ok(&self.asking(line))
    }

    pub fn json(&self, line: &[&str]) -> Value {
        self.program.json(&self.asking(line))
    }

    pub fn refused(&self, line: &[&str], code: i32) -> String {
        self.program.refused(&self.asking(line), code)
    }
}

impl Drop for Served<'_> {
    fn drop(&mut self) {
        let stopped = nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(self.server.id() as i32),
            nix::sys::signal::Signal::SIGTERM,
        );
        if stopped.is_err() {
            let _ = self.server.kill();
        }
        let _ = self.server.wait();
    }
}
