//! The order of the demo, and how it is shown.

use super::{
    audit, build, crash, repair,
    services::{self, Services},
};
use crate::lab::{
    Api, Lab, LabOptions, Site,
    api::{Options, Reply, cli_line},
    check::Router,
};
use serde_json::Value;
use std::time::{Duration, Instant};
use switchback_bus::Wait;

/// How to run the demo.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// The lab that it runs in.
    pub lab: LabOptions,
    /// Leave the lab running at the end.
    pub keep: bool,
    /// The seed of what is left to chance: when the server is killed.
    pub seed: Option<u64>,
}

/// The demo as it goes.
pub(super) struct Demo {
    pub lab: Lab,
    pub api: Api,
    pub seed: u64,
    pub site: Option<Site>,
    pub vms: Vec<Vm>,
    /// Since the second act.
    pub services: Option<Services>,
    /// The router that serves now.
    pub router: Option<Router>,
    /// The first router, for the audit, and the position before the second VM was created.
    pub first_router: String,
    pub before_second_vm: u64,
    pub figures: Vec<(&'static str, String)>,
}

/// A VM of the demo.
#[derive(Clone, Debug)]
pub(super) struct Vm {
    pub name: String,
    pub uuid: String,
    pub ip: std::net::Ipv4Addr,
    /// Its EIP.
    pub eip: Option<std::net::Ipv4Addr>,
}

/// Runs the demo and removes the lab again.
///
/// # Errors
/// The first thing that is not as it should be: what was expected, what was seen, and the ends of the logs.
pub fn demo(options: &DemoOptions) -> anyhow::Result<()> {
    let started = Instant::now();
    let name = &options.lab.name;
    println!("A small data centre in the network namespaces `{name}-…` of this machine.\n");
    // Short, so that a user can type it again.
    let seed = options.seed.unwrap_or_else(|| std::process::id().into());

    chapter("The lab: hosts, wires, an internet, the server and its agents");
    let begun = Instant::now();
    let mut lab = Lab::up(&options.lab)?;
    let api = lab.api()?;
    line(begun.elapsed(), "the lab is up", &format!("switchback lab up --empty --name {name}"));
    let mut demo = Demo {
        lab,
        api,
        seed,
        site: None,
        vms: vec![],
        services: None,
        router: None,
        first_router: String::new(),
        before_second_vm: 0,
        figures: vec![],
    };
    if let Err(error) = demo.run() {
        let error = demo.lab.explain(error);
        if options.keep {
            let _ = demo.lab.keep();
        }
        return Err(error);
    }

    println!("\n{:<52} {:>14}", "figure", "measured");
    for (what, figure) in &demo.figures {
        println!("{what:<52} {figure:>14}");
    }
    if options.keep {
        demo.go_on();
        demo.lab.keep()?;
    } else {
        demo.lab.down()?;
        let left = Lab::leftovers(name);
        anyhow::ensure!(left.is_empty(), "expected nothing to be left behind, found {left:?}");
        println!("\nEverything was as it should be; the lab is removed, nothing is left behind.");
    }
    println!("The demo took {:.1} s.", started.elapsed().as_secs_f64());
    Ok(())
}

impl Demo {
    fn run(&mut self) -> anyhow::Result<()> {
        build::networks(self)?;
        build::first_vm(self)?;
        build::second_vm(self)?;
        build::service(self)?;
        build::stop_and_start(self)?;
        services::set_up(self)?;
        crash::kill_the_server(self)?;
        repair::wipe_and_reconnect(self)?;
        repair::destroy_and_recreate(self)?;
        audit::look_back(self)
    }

    /// Sends a command and shows it.
    pub fn ask(&mut self, name: &str, parameters: Value, wait: Wait) -> anyhow::Result<Reply> {
        ask(&self.api, name, &parameters, wait)
    }

    /// Checks something and shows it; `with` is the line of the shell that shows the same.
    pub fn check<T>(
        &mut self,
        what: impl FnOnce(&T) -> String,
        with: &str,
        work: impl FnOnce(&mut Demo) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let begun = Instant::now();
        let seen = work(self)?;
        line(begun.elapsed(), &what(&seen), with);
        Ok(seen)
    }

    pub fn site(&self) -> &Site {
        self.site.as_ref().expect("the first chapter builds it")
    }

    pub fn router(&self) -> &Router {
        self.router.as_ref().expect("the first VM brings it")
    }

    /// `switchback lab exec …` for this lab.
    pub fn exec(&self, place: &str, line: &str) -> String {
        format!("switchback lab exec --name {} {place} -- {line}", self.lab.name())
    }

    fn go_on(&self) {
        let name = self.lab.name();
        println!("\nThe lab goes on. To look around:");
        println!("  export SWITCHBACK_SERVER={}", self.lab.server_url());
        println!("  export SWITCHBACK_TOKEN=$(cat {})", self.lab.data_dir().join("admin.token").display());
        println!("  switchback lab status --name {name}");
        println!("  {}", self.exec("web-1", "busybox wget -qO- http://www.example.test/"));
        println!("  switchback QueryVirtualRouterVm");
        println!("  switchback lab down --name {name}");
    }
}

/// Sends a command, shows it, and fails where it was refused.
pub(super) fn ask(api: &Api, name: &str, parameters: &Value, wait: Wait) -> anyhow::Result<Reply> {
    let begun = Instant::now();
    let reason = Some("lab demo".to_string());
    let reply = api.command(name, parameters, &Options { wait, key: None, reason })?;
    let mut shown = cli_line(name, parameters);
    if wait == Wait::Durable {
        shown.push_str(" --no-wait");
    }
    line(begun.elapsed(), name, &shown);
    Ok(reply)
}

pub(super) fn chapter(title: &str) {
    println!("\n== {title}");
}

pub(super) fn line(took: Duration, what: &str, with: &str) {
    println!("{:>8} ms  {what}", millis(took));
    if !with.is_empty() {
        println!("             $ {with}");
    }
}

pub(super) fn millis(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1000.0)
}
