//! What the agent has made, kept on disk: so that the agent after it finds it again and removes no more.

use crate::kernel::{Kernel, KernelError, ProcessId};
use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::Path};
use switchback_appliance::{ApplianceConfig, HostSections, PlugConfig, SuccessionReport, VmConfig};
use switchback_events::{Id, Position, RouterId, VmInstanceId};

const FILE: &str = "host.json";

/// The last document and what came of it.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Which host this is; known from the first document on.
    pub host: Option<Id>,
    /// The revision in force.
    pub revision: Position,
    /// The highest epoch seen.
    pub epoch: u64,
    /// The last document.
    pub sections: HostSections,
    /// What is there because of it.
    pub made: Made,
}

/// Everything that the agent has made.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Made {
    /// By name.
    pub bridges: BTreeMap<String, MadeBridge>,
    /// The routers' appliances.
    pub appliances: BTreeMap<RouterId, MadeAppliance>,
    /// The VMs of the lab.
    pub vms: BTreeMap<VmInstanceId, MadeVm>,
    /// The rooms from which it serves VMs.
    #[serde(default)]
    pub rooms: BTreeMap<Id, MadeRoom>,
    /// Binaries put in place, by digest.
    pub binaries: std::collections::BTreeSet<String>,
}

/// A bridge.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MadeBridge {
    /// The interface in it.
    pub port: String,
    /// The interface was made here too.
    pub made_port: bool,
}

/// An appliance.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MadeAppliance {
    /// What it was made of.
    pub config: ApplianceConfig,
    /// Its agent.
    pub process: ProcessId,
    /// The binary of its agent, where it is not the host's own.
    pub binary: Option<String>,
    /// Its files are in the second of the two places that a router has.
    #[serde(default)]
    pub second: bool,
    /// The replacement that it came by last; 0 for none.
    #[serde(default)]
    pub replacement: Position,
    /// Another one that is to take its place.
    #[serde(default)]
    pub successor: Option<Successor>,
    /// It leaves for another host, or comes from one.
    #[serde(default)]
    pub travel: Option<Travel>,
}

/// An appliance between two hosts.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Travel {
    /// For which replacement.
    pub replacement: Position,
    /// How far it is.
    pub stage: TravelStage,
    /// The leases that it began with.
    pub leases: String,
    /// Connections that it was given.
    pub connections: u64,
}

/// How far an appliance between two hosts is. It is noted before it is so.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TravelStage {
    /// On the host before: it is plugged in nowhere.
    Left,
    /// On the other host: it is being made.
    Making,
    /// On the other host: it waits.
    Prepared,
    /// On the other host: it is plugged in.
    Serving,
}

impl MadeAppliance {
    /// It has not come yet, or has left.
    pub fn is_between(&self) -> bool {
        self.travel.as_ref().is_some_and(|travel| travel.stage != TravelStage::Serving)
    }
}

/// An appliance beside the one whose place it is to take.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Successor {
    /// For which replacement.
    pub replacement: Position,
    /// How far it is.
    pub stage: Stage,
    /// Its agent.
    pub process: ProcessId,
    /// The binary of its agent, where it is not the host's own.
    pub binary: Option<String>,
    /// The leases that it began with.
    pub leases: String,
    /// What it was given, and how long that took.
    pub report: SuccessionReport,
}

/// How far a successor is. It is noted before it is so.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stage {
    /// It is being made: if the agent ends now, it goes.
    Making,
    /// It waits.
    Prepared,
    /// It has the place of the other one, which waits.
    Serving,
    /// The other one goes.
    Finishing,
}

/// A namespace from which the host serves VMs itself.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MadeRoom {
    /// Its name.
    pub namespace: String,
    /// Its interfaces.
    pub plugs: Vec<PlugConfig>,
}

/// A VM of the lab.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MadeVm {
    /// What it was made of.
    pub config: VmConfig,
    /// Its first process.
    pub process: ProcessId,
    /// The addresses that its DHCP clients were given, by interface.
    #[serde(default)]
    pub addresses: BTreeMap<String, Ipv4Net>,
    /// Its first process takes orders; those that an earlier agent started do not.
    #[serde(default)]
    pub orders: bool,
}

impl Record {
    /// Reads the record; an empty one where there is none.
    pub fn read(kernel: &dyn Kernel, directory: &Path) -> Result<Record, KernelError> {
        match kernel.read(&directory.join(FILE))? {
            Some(text) => {
                serde_json::from_str(&text).map_err(|error| KernelError::new("read the host's record", error))
            }
            None => Ok(Record::default()),
        }
    }

    /// Writes it.
    pub fn write(&self, kernel: &dyn Kernel, directory: &Path) -> Result<(), KernelError> {
        let text = serde_json::to_vec(self).map_err(|error| KernelError::new("write the host's record", error))?;
        kernel.write(&directory.join(FILE), &text, 0o600)
    }
}
