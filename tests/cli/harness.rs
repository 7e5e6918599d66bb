//! A server with simulated hosts, and a shell in which `switchback` is the program and knows the server.

use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

/// The program's directory, which goes to the front of `PATH`.
fn programs() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_switchback")).parent().unwrap().to_path_buf()
}

/// A shell without anybody's settings, in a directory, where `switchback` is the program.
pub fn shell(name: &str, folder: &Path) -> Command {
    let mut command = Command::new(name);
    let path = format!("{}:{}", programs().display(), std::env::var("PATH").unwrap());
    command
        .current_dir(folder)
        .env_clear()
        .env("PATH", path)
        .env("HOME", folder)
        .env("LANG", "C.UTF-8")
        .env("TZ", "UTC");
    command
}

pub struct Server {
    child: Child,
    pub folder: tempfile::TempDir,
    pub address: String,
    pub token: String,
}

impl Server {
    pub fn start() -> Server {
        let folder = tempfile::tempdir().unwrap();
        let mut child = shell("switchback", folder.path())
            .args(["serve", "--simulate", "--log-json", "--listen", "127.0.0.1:0", "--data", "switchback-data"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = loop {
            let line = said.next().expect("it says where it listens").unwrap();
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            if let Some(address) = event["fields"]["address"].as_str().filter(|_| event["fields"]["message"] == "ready")
            {
                break address.trim_start_matches("http://").to_string();
            }
        };
        // Whoever says something must find someone who listens.
        std::thread::spawn(move || said.for_each(drop));
        let token =
            std::fs::read_to_string(folder.path().join("switchback-data/admin.token")).unwrap().trim().to_string();
        Server { child, folder, address, token }
    }

    /// A shell that knows the server.
    pub fn shell(&self, name: &str) -> Command {
        let mut command = shell(name, self.folder.path());
        command.env("SWITCHBACK_SERVER", &self.address).env("SWITCHBACK_TOKEN", &self.token);
        // A busy machine is no reason to offer nothing.
        command.env("SWITCHBACK_COMPLETION_TIMEOUT", "60000");
        command
    }

    /// What a script does in bash.
    pub fn bash(&self, script: &str) -> Output {
        let mut child = self
            .shell("bash")
            .args(["--norc", "--noprofile", "-s"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    /// What it writes to stdout and to stderr, when it ends with this code.
    pub fn ends(&self, script: &str, code: i32) -> (String, String) {
        let done = self.bash(script);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&done.stdout), text(&done.stderr));
        assert_eq!(done.status.code(), Some(code), "{script}\n{stdout}{stderr}");
        (stdout, stderr)
    }

    /// The reply to a line, as JSON.
    pub fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.ends(&format!("switchback {line} -o json"), 0).0).unwrap()
    }

    /// The inventory that a command answers.
    pub fn inventory(&self, line: &str) -> Value {
        self.json(line)["inventory"].take()
    }

    /// The inventories that a query answers.
    pub fn rows(&self, line: &str) -> Vec<Value> {
        self.json(line)["inventories"].as_array().unwrap().clone()
    }

    /// A zone with a host and three networks: for management, public, and of guests. Things are called by their names.
    pub fn with_a_site(self) -> Server {
        let mut script = "set -e; exec >/dev/null\n\
            switchback CreateZone name=east\n\
            switchback CreateCluster name=rack zoneUuid=east hypervisorType=Simulator\n\
            switchback AddSimulatorHost name=host-1 managementIp=192.168.0.10 clusterUuid=rack\n\
            switchback AddImage name=newVirtualRouterImage url=http://images.test/vr.qcow2 system=true\n"
            .to_string();
        let networks = [
            ("systemL3Network", "mgmt", 10, "System", "172.20.0"),
            ("public", "outside", 20, "Public", "203.0.113"),
            ("web", "lan", 30, "Private", "10.0.0"),
        ];
        for (l3, l2, vlan, category, net) in networks {
            script += &format!(
                "switchback CreateL2VlanNetwork name={l2} vlan={vlan} zoneUuid=east physicalInterface=eth0\n\
                 switchback AttachL2NetworkToCluster l2NetworkUuid={l2} clusterUuid=rack\n\
                 switchback CreateL3Network name={l3} l2NetworkUuid={l2} category={category} system={}\n\
                 switchback AddIpRange name=r l3NetworkUuid={l3} startIp={net}.10 endIp={net}.99 gateway={net}.1 \
                 netmask=255.255.255.0\n",
                category == "System"
            );
        }
        script += "switchback AttachNetworkServiceToL3Network l3NetworkUuid=web \
                   networkServices='{\"VirtualRouter\":[\"DHCP\",\"DNS\",\"SNAT\"]}'\n";
        self.ends(&script, 0);
        self
    }

    /// The uuid of the one thing of this name.
    pub fn uuid(&self, query: &str, name: &str) -> String {
        let rows = self.rows(&format!("{query} name='{name}'"));
        assert_eq!(rows.len(), 1, "{query} {name}");
        rows[0]["uuid"].as_str().unwrap().to_string()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
