//! The haproxy of a machine in memory: it knows the configuration that it was started with and the lines that it was
//! told, and prints what the real one prints of those.

use std::{collections::BTreeMap, fmt::Write};

/// A process.
#[derive(Default)]
pub struct Haproxy {
    description: String,
    /// Weight and status by backend and server.
    servers: BTreeMap<String, BTreeMap<String, (String, String)>>,
}

impl Haproxy {
    /// One that has read `text`.
    pub fn of(text: &str) -> Haproxy {
        let mut haproxy = Haproxy::default();
        let mut backend = String::new();
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                ["description", text] => haproxy.description = text.to_string(),
                ["backend", name] => {
                    backend = name.to_string();
                    haproxy.servers.entry(backend.clone()).or_default();
                }
                ["server", name, _, "weight", weight, ..] => haproxy.add(&backend, name, weight),
                _ => {}
            }
        }
        haproxy
    }

    fn add(&mut self, backend: &str, server: &str, weight: &str) {
        let servers = self.servers.entry(backend.to_string()).or_default();
        servers.insert(server.to_string(), (weight.to_string(), "UP".to_string()));
    }

    /// Takes lines, and answers the last.
    pub fn ask(&mut self, lines: &str) -> String {
        let mut answer = String::new();
        for line in lines.split(';') {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                ["show", "info"] => answer = format!("Name: HAProxy\ndescription: {}\n", self.description),
                ["show", "stat"] => answer = self.table(),
                ["add", "server", server, _, "weight", weight, ..] => {
                    if let Some((backend, server)) = server.split_once('/') {
                        self.add(backend, server, weight);
                    }
                }
                ["del", "server", server] => {
                    if let Some((backend, server)) = server.split_once('/') {
                        self.servers.entry(backend.to_string()).or_default().remove(server);
                    }
                }
                ["set", "server", server, what, value] => self.set(server, what, value),
                _ => {}
            }
        }
        answer
    }

    fn set(&mut self, server: &str, what: &str, value: &str) {
        let held = server
            .split_once('/')
            .and_then(|(backend, server)| self.servers.get_mut(backend).and_then(|servers| servers.get_mut(server)));
        let Some((weight, status)) = held else { return };
        match (what, value) {
            ("weight", value) => *weight = value.to_string(),
            (_, "ready") => *status = "UP".to_string(),
            (_, other) => *status = other.to_uppercase(),
        }
    }

    fn table(&self) -> String {
        let mut text = String::from("# pxname,svname,status,uweight,\n");
        for (backend, servers) in &self.servers {
            for (server, (weight, status)) in servers {
                let _ = writeln!(text, "{backend},{server},{status},{weight},");
            }
            let _ = writeln!(text, "{backend},BACKEND,UP,,");
        }
        text
    }
}
