//! A lab for a test, and what tests ask of it.

use serde_json::{Value, json};
use std::{
    net::Ipv4Addr,
    sync::{Condvar, Mutex, PoisonError},
};
use switchback::lab::{
    Api, INTERNET_NAME, INTERNET_WEB, Lab, LabName, LabOptions, Options, Reply, Site, Topology,
    check::{self, Router},
};

/// So many labs at once: each has a server, agents and some dozens of processes.
const LABS_AT_ONCE: usize = 2;
static RUNNING: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

/// The right to run a lab.
pub struct Permit(());

impl Permit {
    pub fn take() -> Permit {
        let mut running = RUNNING.0.lock().unwrap_or_else(PoisonError::into_inner);
        while *running >= LABS_AT_ONCE {
            running = RUNNING.1.wait(running).unwrap_or_else(PoisonError::into_inner);
        }
        *running += 1;
        Permit(())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        *RUNNING.0.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        RUNNING.1.notify_one();
    }
}

/// A data centre that is ready for VMs.
pub struct Bench {
    pub api: Api,
    pub site: Site,
    // The lab goes before the permit does.
    pub lab: Lab,
    _permit: Permit,
}

/// A VM of a test.
#[derive(Clone, Debug)]
pub struct Vm {
    pub name: String,
    pub uuid: String,
    pub ip: Ipv4Addr,
}

pub fn name(text: &str) -> LabName {
    text.parse().expect("the tests' own names are right")
}

pub fn options(name: &LabName) -> LabOptions {
    LabOptions { name: name.clone(), hosts: 2, port: Some(0), binary: env!("CARGO_BIN_EXE_switchback").into() }
}

impl Bench {
    pub fn new(lab: &str, topology: Topology) -> Bench {
        Bench::with_hosts(lab, topology, 2)
    }

    /// A lab of so many hosts; the data centre has the first two.
    pub fn with_hosts(lab: &str, topology: Topology, hosts: u8) -> Bench {
        let permit = Permit::take();
        let mut lab = Lab::up(&LabOptions { hosts, ..options(&name(lab)) }).unwrap();
        let api = lab.api().unwrap();
        let mut ask = |name: &str, parameters| Ok(api.command(name, &parameters, &Options::default())?);
        let site = Site::build(&api, 2, topology, &mut ask).map_err(|error| lab.explain(error)).unwrap();
        Bench { api, site, lab, _permit: permit }
    }

    /// Does `work`, and shows the ends of the logs where it fails.
    pub fn must<T>(&self, work: impl FnOnce(&Bench) -> anyhow::Result<T>) -> T {
        match work(self) {
            Ok(done) => done,
            Err(error) => panic!("{:#}", self.lab.explain(error)),
        }
    }

    pub fn ask(&self, name: &str, parameters: Value) -> Reply {
        self.must(|bench| Ok(bench.api.command(name, &parameters, &Options::default())?))
    }

    /// Creates a VM on a host, and waits until it has its address.
    pub fn vm(&self, name: &str, host: usize) -> Vm {
        let uuid = self.must(|bench| bench.ask("CreateVmInstance", bench.site.vm(name, Some(host))).uuid());
        self.must(|bench| {
            let vm = check::vm_running(&bench.api, &uuid)?;
            let ip = check::address_of(&vm)?;
            check::address_inside(&bench.lab, &check::machine(&bench.lab, &uuid)?, ip)?;
            Ok(Vm { name: name.to_string(), uuid, ip })
        })
    }

    pub fn router(&self) -> Router {
        self.must(|bench| check::router_connected(&bench.api, &bench.site.guest.l3))
    }

    /// Addresses, names and the internet for each VM.
    pub fn everything_serves(&self, vms: &[Vm]) {
        let router = self.router();
        self.must(|bench| {
            for vm in vms {
                // One that was just told to start may take longer than its command's reply waits.
                check::vm_running(&bench.api, &vm.uuid)?;
                let machine = check::machine(&bench.lab, &vm.uuid)?;
                check::address_inside(&bench.lab, &machine, vm.ip)?;
                anyhow::ensure!(check::ip_addr(&bench.lab, &vm.uuid)? == [vm.ip], "{} has another address", vm.name);
                for other in vms {
                    let name = format!("{}.{}", other.name, bench.site.guest.domain);
                    check::resolves(&bench.lab, &vm.uuid, &name, other.ip)?;
                }
                check::resolves(&bench.lab, &vm.uuid, INTERNET_NAME, INTERNET_WEB)?;
                let peer = if bench.site.guest.snat { router.public_ip } else { vm.ip };
                check::web_sees(&bench.lab, &vm.uuid, &format!("http://{INTERNET_NAME}/"), peer)?;
            }
            Ok(())
        });
    }

    /// The digest of the configuration that the router has in force.
    pub fn digest(&self) -> String {
        let router = self.router();
        router.inventory["configDigest"].as_str().expect("a connected router has a digest").to_string()
    }

    pub fn uuid_of(vm: &str) -> Value {
        json!({"uuid": vm})
    }
}
