//! `switchback lab`: see [`switchback::lab`].

use anyhow::Context;
use clap::{Args, Subcommand};
use std::{net::SocketAddr, os::unix::process::CommandExt};
use switchback::lab::{Api, DemoOptions, Lab, LabName, LabOptions, Options, Site, Topology, demo, serve_internet};

/// The lab.
#[derive(Subcommand)]
pub enum LabCommand {
    /// Build a data centre out of network namespaces: hosts, wires, an internet, the server, networks.
    Up {
        #[command(flatten)]
        place: Place,
        /// Stop before the first zone.
        #[arg(long)]
        empty: bool,
    },
    /// Show what there is: namespaces, processes, hosts, routers, VMs.
    Status {
        /// The lab's name.
        #[arg(long, default_value = "sb")]
        name: LabName,
    },
    /// Run a command inside: in a VM by its name or uuid, in `router`, `host1`, `inet`, `ctl`, `fabric`.
    Exec {
        /// The lab's name.
        #[arg(long, default_value = "sb")]
        name: LabName,
        /// Where.
        place: String,
        /// What.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        line: Vec<String>,
    },
    /// Remove everything that a lab made, after a crash too.
    Down {
        /// The lab's name.
        #[arg(long, default_value = "sb")]
        name: LabName,
    },
    /// Walk the main job through a lab with real packets, from nothing to the audit.
    Demo {
        #[command(flatten)]
        place: Place,
        /// Leave the lab running at the end.
        #[arg(long)]
        keep: bool,
        /// The seed of what is left to chance: when the server is killed.
        #[arg(long)]
        seed: Option<u64>,
    },
    /// The web server of the lab's internet.
    #[command(hide = true)]
    Internet {
        /// Address and port.
        listen: SocketAddr,
    },
}

/// Which lab, and how large.
#[derive(Args)]
pub struct Place {
    /// The lab's name: 1 to 8 lower-case letters and digits.
    #[arg(long, default_value = "sb")]
    name: LabName,
    /// How many hosts.
    #[arg(long, default_value_t = 2)]
    hosts: u8,
    /// The port of the server on 127.0.0.1; 8080 or, where that is taken, any when not given.
    #[arg(long)]
    port: Option<u16>,
}

impl Place {
    fn options(self) -> anyhow::Result<LabOptions> {
        let binary = std::env::current_exe().context("find this program's own file")?;
        Ok(LabOptions { name: self.name, hosts: self.hosts, port: self.port, binary })
    }
}

/// Runs the command.
pub fn run(command: LabCommand) -> anyhow::Result<()> {
    match command {
        LabCommand::Up { place, empty } => up(&place.options()?, empty),
        LabCommand::Status { name } => status(&name),
        LabCommand::Exec { name, place, line } => Err(Lab::open(&name)?.command_in(&place, &line)?.exec().into()),
        LabCommand::Down { name } => {
            switchback::lab::requirements()?;
            Lab::sweep(&name)
        }
        LabCommand::Demo { place, keep, seed } => {
            let options = DemoOptions { lab: place.options()?, keep, seed };
            sweep_when_interrupted(&options.lab.name)?;
            demo(&options)
        }
        LabCommand::Internet { listen } => serve_internet(listen),
    }
}

fn up(options: &LabOptions, empty: bool) -> anyhow::Result<()> {
    sweep_when_interrupted(&options.name)?;
    let begun = std::time::Instant::now();
    let mut lab = Lab::up(options)?;
    let api = lab.api()?;
    let token = lab.data_dir().join("admin.token");
    let mut vm_line = None;
    if !empty {
        let mut ask = |name: &str, parameters| {
            let reason = Some("lab up".to_string());
            Ok(api.command(name, &parameters, &Options { reason, ..Options::default() })?)
        };
        let site =
            Site::build(&api, options.hosts, Topology::Separate, &mut ask).map_err(|error| lab.explain(error))?;
        vm_line = Some(switchback::lab::cli_line("CreateVmInstance", &site.vm("web-1", None)));
    }
    eprintln!("the lab `{}` is up after {:.1} s", lab.name(), begun.elapsed().as_secs_f64());
    println!("export SWITCHBACK_SERVER={}", lab.server_url());
    println!("export SWITCHBACK_TOKEN=$(cat {})", token.display());
    if let Some(line) = vm_line {
        eprintln!("hint: {line}");
    }
    lab.keep()
}

fn status(name: &LabName) -> anyhow::Result<()> {
    let mut lab = Lab::open(name)?;
    println!("lab {name}: server {}, data {}", lab.server_url(), lab.data_dir().display());
    println!("namespaces: {}", lab.namespaces().join(" "));
    for (what, pid, runs) in lab.processes() {
        println!("process {pid:>7}  {:<7} {what}", if runs { "runs" } else { "ended" });
    }
    let api = match lab.api() {
        Ok(api) => api,
        Err(error) => {
            eprintln!("warning: the server cannot be asked: {error:#}");
            return Ok(());
        }
    };
    resources(&api, &lab)
}

fn resources(api: &Api, lab: &Lab) -> anyhow::Result<()> {
    let text = |value: &serde_json::Value, field: &str| value[field].as_str().unwrap_or("-").to_string();
    let addresses = |value: &serde_json::Value| {
        let nics = value["vmNics"].as_array().cloned().unwrap_or_default();
        nics.iter().map(|nic| text(nic, "ip")).collect::<Vec<_>>().join(" ")
    };
    for host in api.query("QueryHost", &[])? {
        println!(
            "host   {}  {:<12} {:<10} {}",
            text(&host, "uuid"),
            text(&host, "name"),
            text(&host, "status"),
            text(&host, "managementIp")
        );
    }
    for router in api.query("QueryVirtualRouterVm", &[])? {
        let state = format!("{} {}", text(&router, "state"), text(&router, "status"));
        println!("router {}  {state:<22} {}", text(&router, "uuid"), addresses(&router));
    }
    for vm in api.query("QueryVmInstance", &[])? {
        let uuid = text(&vm, "uuid");
        let inside = lab.machine(&uuid).map(|machine| format!("{:?}", lab.addresses(&machine))).unwrap_or_default();
        let (name, state) = (text(&vm, "name"), text(&vm, "state"));
        println!("vm     {uuid}  {name:<12} {state:<10} {}  inside: {inside}", addresses(&vm));
    }
    Ok(())
}

/// Ctrl-C takes the half-built lab with it.
fn sweep_when_interrupted(name: &LabName) -> anyhow::Result<()> {
    let name = name.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("watch for Ctrl-C")?;
    std::thread::spawn(move || {
        if runtime.block_on(tokio::signal::ctrl_c()).is_ok() {
            eprintln!("\ninterrupted: removing the lab `{name}`");
            if let Err(error) = Lab::sweep(&name) {
                eprintln!("error: {error:#}");
            }
            std::process::exit(130);
        }
    });
    Ok(())
}
