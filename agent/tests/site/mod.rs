//! A small data centre out of namespaces, removed again whatever happens.

#![allow(dead_code)]

pub mod talk;

use crate::common;
use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    net::{SocketAddr, TcpListener, UdpSocket},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use switchback_agent::{
    AgentAt, AgentClient, Agents, Authority, Timeouts, clean_up,
    kernel::{LinuxKernel, enter_namespace},
    push_of_host, push_of_router,
};
use switchback_appliance::{
    AgentProblem, AgentProblemCode, ApplianceConfig, ApplyReport, BridgeConfig, HostConfig, HostSections,
    ManagementAddress, PlugConfig, RouterConfig, VmConfig,
};
use switchback_events::{HostId, Id, L2NetworkId, RouterId, VmInstanceId};

const HOST: &str = "10.99.0.2:7070";

/// The site of one test; everything in it is named with its prefix.
pub struct Site {
    pub client: AgentClient,
    pub host: HostConfig,
    pub router: RouterConfig,
    prefix: String,
    state: tempfile::TempDir,
    agent: Option<Child>,
}

pub fn agent_binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_switchback-agent"))
}

pub fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    switchback_appliance::hex(&sha2::Sha256::digest(bytes))
}

/// Polls until it is so, or fails: the limit is one for a machine that has other things to do.
pub fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "not so in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn shell(text: &str) -> String {
    let output = Command::new("sh").args(["-c", text]).output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn must(text: &str) {
    let output = Command::new("sh").args(["-ec", text]).output().unwrap();
    assert!(output.status.success(), "{text}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Site {
    /// The namespaces around the host, and the host's agent.
    pub fn start(name: &str) -> Site {
        assert!(fs::metadata("/proc/self/fd").is_ok() && nix::unistd::geteuid().is_root(), "needs root");
        let prefix = format!("sbt{}{name}", std::process::id());
        let state = tempfile::tempdir().unwrap();
        must(&format!(
            "P={prefix}
            for n in host net mgmt; do ip netns add $P-$n; ip -n $P-$n link set lo up; done
            ip -n $P-host link add eth0 type veth peer name eth0 netns $P-net
            ip -n $P-host link add eth2 type veth peer name eth0 netns $P-mgmt
            ip -n $P-host link add ctl type veth peer name ctl netns $P-mgmt
            ip -n $P-host link add eth1 type veth peer name eth1 netns $P-net
            ip -n $P-host link add eth1.10 type veth peer name eth1.10 netns $P-net
            ip -n $P-host addr add 10.99.0.2/24 dev ctl
            ip -n $P-host link set ctl up
            ip -n $P-mgmt addr add 10.99.0.1/24 dev ctl
            ip -n $P-mgmt addr add 172.20.0.254/24 dev eth0
            ip -n $P-mgmt link set ctl up
            ip -n $P-mgmt link set eth0 up
            ip -n $P-net addr add 203.0.113.254/24 dev eth0
            ip -n $P-net link set eth0 up
            ip -n $P-net link set eth1 up
            ip -n $P-net link set eth1.10 up"
        ));
        internet(&format!("{prefix}-net"));
        let authority = Authority::open_or_create(&state.path().join("pki")).unwrap();
        let token = authority.token("host", "10.99.0.2".parse().unwrap()).unwrap();
        fs::write(state.path().join("token"), token).unwrap();
        let identity = authority.server_identity().unwrap();
        let client = AgentClient::new(&identity, Some(format!("{prefix}-mgmt")), Timeouts::default()).unwrap();
        let router = common::router(RouterId(Id::of_name(&prefix)), 1);
        let host = HostConfig { host: HostId(Id::of_name("host")), revision: 1, sections: HostSections::default() };
        let mut site = Site { client, host, router, prefix, state, agent: None };
        site.start_host_agent();
        site.want_vms(0);
        site
    }

    pub fn start_host_agent(&mut self) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.state.path().join("host.log")).unwrap();
        let path = |name: &str| self.state.path().join(name);
        let mut command = Command::new(agent_binary());
        command.args(["agent", "host", "--listen", HOST, "--prefix", &format!("{}-h", self.prefix)]);
        command.args(["--netns", &format!("{}-host", self.prefix)]);
        command.arg("--token-file").arg(path("token")).arg("--state-dir").arg(path("state"));
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.agent = Some(command.spawn().unwrap());
        eventually("the host's agent listens", || self.in_mgmt("nc -z 10.99.0.2 7070"));
    }

    pub fn kill_host_agent(&mut self) {
        let mut agent = self.agent.take().unwrap();
        agent.kill().unwrap();
        agent.wait().unwrap();
    }

    pub fn host_at(&self) -> AgentAt {
        AgentAt::host(self.host.host, HOST.parse().unwrap())
    }

    pub fn router_at(&self) -> AgentAt {
        let address: SocketAddr = ([172, 20, 0, 2], common::PORT).into();
        AgentAt::router(self.router.router, address)
    }

    fn plug(inside: &str, end: &str, last: u16, bridge: &str) -> PlugConfig {
        PlugConfig {
            name: inside.to_string(),
            internal_name: end.to_string(),
            mac: common::mac(last),
            bridge: bridge.to_string(),
            mtu: 1500,
            up: true,
            lease: 0,
            lease6: None,
        }
    }

    /// Bridges, the router, and so many VMs in the host's document.
    pub fn want_vms(&mut self, vms: u16) {
        let bridge = |interface: &str, vlan| BridgeConfig {
            name: switchback_appliance::bridge_name(interface, vlan),
            physical_interface: interface.to_string(),
            vlan,
            mtu: 1500,
            kept: false,
        };
        let bridges = [bridge("eth0", None), bridge("eth1", None), bridge("eth1", Some(10)), bridge("eth2", None)];
        let appliance = ApplianceConfig {
            journey: None,
            name: "router".to_string(),
            generation: 1,
            plugs: vec![
                Self::plug("eth0", "vr0", 10, "br_eth0"),
                Self::plug("eth1", "vr1", 11, "br_eth1_10"),
                Self::plug("eth2", "vr2", 12, "br_eth2"),
            ],
            management: ManagementAddress {
                interface: "eth2".to_string(),
                ip: [172, 20, 0, 2].into(),
                prefix_length: 24,
                gateway: Some([172, 20, 0, 254].into()),
                agent_port: common::PORT,
            },
        };
        let vm = |number: u16| VmConfig {
            name: format!("vm{number}"),
            hostname: format!("vm{number}"),
            generation: 1,
            plugs: vec![Self::plug("eth0", &format!("vm{number}"), 1000 + number, "br_eth1_10")],
            default_plug: "eth0".to_string(),
        };
        self.host.sections = HostSections {
            bridges: bridges.into_iter().map(|b| (L2NetworkId(Id::of_name(&b.name)), b)).collect(),
            appliances: BTreeMap::from([(self.router.router, appliance)]),
            vms: (1..=vms).map(|number| (self.vm_id(number), vm(number))).collect(),
            security: Default::default(),
            services: Default::default(),
        };
    }

    fn vm_id(&self, number: u16) -> VmInstanceId {
        VmInstanceId(Id::of_name(&format!("{} vm{number}", self.prefix)))
    }

    pub fn authority(&self) -> Authority {
        Authority::open_or_create(&self.state.path().join("pki")).unwrap()
    }

    pub fn mgmt(&self) -> String {
        format!("{}-mgmt", self.prefix)
    }

    pub async fn push_host(&self) -> Result<ApplyReport, AgentProblem> {
        self.client.put_config(self.host_at(), push_of_host(&self.host, 1)).await
    }

    pub async fn push_router(&self) -> Result<ApplyReport, AgentProblem> {
        self.client.put_config(self.router_at(), push_of_router(&self.router, 1)).await
    }

    /// To a router whose links have just come up: the first packets may be lost, and whoever drives it comes again.
    async fn push_to_new_router(&self) -> ApplyReport {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            match self.push_router().await {
                Err(AgentProblem { code: AgentProblemCode::Unreachable, .. }) if Instant::now() < deadline => {}
                done => return done.unwrap(),
            }
        }
    }

    /// Everything, up to a router that serves.
    pub async fn bring_up(&mut self, vms: u16) {
        let identity = self.authority().issue("router", &["172.20.0.2".parse().unwrap()]).unwrap();
        self.client.set_identity(self.host_at(), self.router.router, identity).await.unwrap();
        self.want_vms(vms);
        let clients = common::router(self.router.router, vms).sections;
        (self.router.sections.dhcp, self.router.sections.dns) = (clients.dhcp, clients.dns);
        let report = self.push_host().await.unwrap();
        assert!(report.items.values().all(|item| item.ok), "{report:?}");
        println!("TIME host applied in {} ms", report.millis);
        let report = self.push_to_new_router().await;
        println!("TIME router applied in {} ms", report.millis);
    }

    pub fn router_dir(&self) -> PathBuf {
        self.state.path().join("state/routers").join(self.router.router.to_string())
    }

    fn vm_pid(&self, number: u16) -> String {
        let file = self.state.path().join("state/vms").join(self.vm_id(number).to_string()).join("vm.json");
        let text: serde_json::Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        text["pid"].to_string()
    }

    /// Waits until `vm.json` shows the address.
    pub fn wait_for_lease(&self, number: u16, address: &str) {
        let file = self.state.path().join("state/vms").join(self.vm_id(number).to_string()).join("vm.json");
        eventually(&format!("vm{number} has {address}"), || {
            fs::read_to_string(&file).is_ok_and(|text| text.contains(&format!("\"eth0\":\"{address}\"")))
        });
    }

    pub fn vm(&self, number: u16, command: &str) -> String {
        shell(&format!("nsenter -t {} -n -m -u -- {command}", self.vm_pid(number)))
    }

    pub fn vm_ok(&self, number: u16, command: &str) -> bool {
        let line = format!("nsenter -t {} -n -m -u -- {command}", self.vm_pid(number));
        Command::new("sh").args(["-c", &line]).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
    }

    pub fn spawn_vm(&self, number: u16, command: &str) -> Child {
        let line = format!("exec nsenter -t {} -n -m -u -- {command}", self.vm_pid(number));
        Command::new("sh").args(["-c", &line]).stdout(Stdio::piped()).spawn().unwrap()
    }

    /// The network namespaces to send packets from and serve in.
    pub fn vm_place(&self, number: u16) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/net", self.vm_pid(number)))
    }

    pub fn place(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/run/netns/{}-{name}", self.prefix))
    }

    pub fn router_place(&self) -> PathBuf {
        self.place(&self.router_namespace())
    }

    pub fn in_vm_links(&self, number: u16) -> String {
        self.vm(number, "ip -o link")
    }

    fn exec(&self, name: &str, command: &str) -> Command {
        let mut line = Command::new("ip");
        let namespace = format!("{}-{name}", self.prefix);
        line.args(["netns", "exec", &namespace, "sh", "-c", command]).env("NS", &namespace);
        line.stdin(Stdio::null());
        line
    }

    fn text(&self, name: &str, command: &str) -> String {
        let output = self.exec(name, command).output().unwrap();
        let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(!complained.contains("network namespace"), "{complained}");
        format!("{said}{complained}")
    }

    fn router_namespace(&self) -> String {
        format!("h-vr-{}", self.router.router.0.tail())
    }

    pub fn in_router(&self, command: &str) -> String {
        self.text(&self.router_namespace(), command)
    }

    /// `kill -9` for the processes in the router's namespace with this name.
    pub fn kill_in_router(&self, name: &str) {
        self.signal_in_router(name, "KILL");
    }

    /// A signal for the processes in the router's namespace with this name.
    pub fn signal_in_router(&self, name: &str, signal: &str) {
        let namespace = format!("{}-{}", self.prefix, self.router_namespace());
        let line = format!(
            "for p in $(ip netns pids {namespace}); do grep -q {name} /proc/$p/comm && kill -{signal} $p; done"
        );
        println!("{signal}: {}", shell(&line));
    }

    pub fn spawn_in_router(&self, command: &str) -> Child {
        self.exec(&self.router_namespace(), command).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// The network namespace of a VM.
    pub fn vm_namespace(&self, number: u16) -> String {
        format!("{}-h-vm-{}", self.prefix, self.vm_id(number).0.tail())
    }

    /// The network namespace of the internet.
    pub fn net_namespace(&self) -> String {
        format!("{}-net", self.prefix)
    }

    pub fn in_host(&self, command: &str) -> String {
        self.text("host", command)
    }

    pub fn in_net(&self, command: &str) -> bool {
        self.exec("net", command).output().unwrap().status.success()
    }

    pub fn in_net_text(&self, command: &str) -> String {
        self.text("net", command)
    }

    pub fn in_mgmt(&self, command: &str) -> bool {
        self.exec("mgmt", command).output().unwrap().status.success()
    }

    /// A DHCP client on the guests' network that nobody knows.
    pub fn stranger(&self) -> String {
        self.text("net", "udhcpc -i eth1.10 -f -q -n -t 2 -T 1 -s /bin/true")
    }

    pub fn made_namespaces(&self) -> Vec<String> {
        let start = format!("{}-h-", self.prefix);
        let names = fs::read_dir("/run/netns").unwrap().flatten().map(|entry| entry.file_name());
        names.filter_map(|name| name.into_string().ok()).filter(|name| name.starts_with(&start)).collect()
    }

    /// Takes everything out of the document and looks for what is left.
    pub async fn finish(mut self) {
        self.host.revision += 1;
        self.host.sections = HostSections::default();
        self.push_host().await.unwrap();
        assert_eq!(self.made_namespaces(), Vec::<String>::new());
        let left = shell(&format!("grep -las '{}' /proc/[0-9]*/cmdline", self.state.path().display()));
        // The host's agent itself, and the shell and grep that look.
        let agent = self.agent.as_ref().map(|agent| format!("/proc/{}/", agent.id())).unwrap();
        let others = left.lines().filter(|line| !line.starts_with(&agent)).filter(|line| {
            let name = fs::read_to_string(line.replace("cmdline", "comm")).unwrap_or_default();
            name.contains("switchback")
                || name.contains("dnsmasq")
                || name.contains("haproxy")
                || name.contains("udhcpc")
        });
        assert_eq!(others.count(), 0, "{left}");
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", fs::read_to_string(self.state.path().join("host.log")).unwrap_or_default());
            eprintln!("{}", fs::read_to_string(self.router_dir().join("agent.log")).unwrap_or_default());
            eprintln!("{}", fs::read_to_string(self.router_dir().join("dnsmasq/dnsmasq.log")).unwrap_or_default());
            eprintln!("{}", fs::read_to_string(self.router_dir().join("haproxy/haproxy.log")).unwrap_or_default());
        }
        if let Some(mut agent) = self.agent.take() {
            let _ = agent.kill();
            let _ = agent.wait();
        }
        let _ = clean_up(&LinuxKernel::new(), &format!("{}-h", self.prefix), &self.state.path().join("state"));
        for name in ["host", "net", "mgmt"] {
            let _ = Command::new("ip").args(["netns", "del", &format!("{}-{name}", self.prefix)]).status();
        }
    }
}

/// A server that prints who calls, and a name server that knows one name.
fn internet(namespace: &str) {
    let name = namespace.to_string();
    let (ready, started) = std::sync::mpsc::channel();
    let web = ready.clone();
    std::thread::spawn(move || {
        enter_namespace(&name).unwrap();
        let listener = TcpListener::bind("0.0.0.0:80").unwrap();
        web.send(()).unwrap();
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let peer = stream.peer_addr().unwrap();
            let _ = writeln!(stream, "peer={}", peer.ip());
        }
    });
    let name = namespace.to_string();
    std::thread::spawn(move || {
        enter_namespace(&name).unwrap();
        let socket = UdpSocket::bind("0.0.0.0:53").unwrap();
        ready.send(()).unwrap();
        let mut buffer = [0; 512];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            let mut end = 12;
            while buffer[end] != 0 {
                end += 1 + usize::from(buffer[end]);
            }
            let mut answer = buffer[..(end + 5).min(length)].to_vec();
            answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 198, 51, 100, 7]);
            let _ = socket.send_to(&answer, peer);
        }
    });
    started.recv().unwrap();
    started.recv().unwrap();
}
