//! EIPs and forwarded ports from the command to the packet.

use crate::harness::{Bench, Vm};
use anyhow::ensure;
use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    time::Duration,
};
use switchback::lab::{Deadline, INTERNET_WEB, Topology, check, poll};

const PATIENCE: Duration = Duration::from_millis(800);
const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

/// Who asks.
#[derive(Clone, Copy)]
pub enum From<'a> {
    Internet,
    Vm(&'a Vm),
    Router,
}

/// A bench whose router gives services at VIPs, too.
pub fn bench(name: &str) -> Bench {
    let bench = Bench::new(name, Topology::Separate);
    let services = json!({"l3NetworkUuid": bench.site.guest.l3, "networkServices": {"VirtualRouter": ["Eip", "PortForwarding", "LoadBalancer"]}});
    bench.ask("AttachNetworkServiceToL3Network", services);
    bench
}

impl Bench {
    pub fn made(&self, name: &str, parameters: Value) -> String {
        let reply = self.ask(name, parameters);
        self.must(|_| reply.uuid())
    }

    /// A VIP and its address.
    pub fn vip(&self) -> (String, Ipv4Addr) {
        let uuid = self.made("CreateVip", json!({"name": "vip", "l3NetworkUuid": self.site.public}));
        let vip = self.must(|bench| bench.api.one("QueryVip", &uuid));
        (uuid, vip["ip"].as_str().unwrap().parse().unwrap())
    }

    pub fn nic(&self, vm: &Vm) -> String {
        let inventory = self.must(|bench| bench.api.one("QueryVmInstance", &vm.uuid));
        inventory["vmNics"][0]["uuid"].as_str().unwrap().to_string()
    }

    /// Serves TCP and UDP in a VM as it runs now: says the VM's name and who asks.
    pub fn serve(&self, vm: &Vm, ports: &[u16]) {
        for port in ports.iter().copied() {
            let (listener, socket) = self.must(|bench| {
                let machine = check::machine(&bench.lab, &vm.uuid)?;
                bench.lab.within_machine(&machine, || {
                    (TcpListener::bind((ANY, port)).unwrap(), UdpSocket::bind((ANY, port)).unwrap())
                })
            });
            let (name, again) = (vm.name.clone(), vm.name.clone());
            std::thread::spawn(move || {
                for mut stream in listener.incoming().flatten() {
                    let said = format!("{name} {}", stream.peer_addr().unwrap().ip());
                    let _ = stream.write_all(said.as_bytes());
                }
            });
            std::thread::spawn(move || {
                let mut buffer = [0; 16];
                while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
                    let _ = socket.send_to(format!("{again} {}", peer.ip()).as_bytes(), peer);
                }
            });
        }
    }

    pub fn within<T: Send>(&self, from: From, work: impl FnOnce() -> T + Send) -> T {
        self.must(|bench| match from {
            From::Internet => bench.lab.within(&bench.lab.name().namespace("inet"), work),
            From::Vm(vm) => bench.lab.within_machine(&check::machine(&bench.lab, &vm.uuid)?, work),
            From::Router => {
                let router = check::router_connected(&bench.api, &bench.site.guest.l3)?;
                bench.lab.within(&bench.lab.router_namespace(&router.uuid)?, work)
            }
        })
    }

    /// What a server says, or nothing.
    pub fn tcp(&self, from: From, ip: Ipv4Addr, port: u16) -> Option<String> {
        self.within(from, || {
            let mut stream = TcpStream::connect_timeout(&SocketAddr::from((ip, port)), PATIENCE).ok()?;
            stream.set_read_timeout(Some(PATIENCE)).ok()?;
            let mut said = String::new();
            stream.read_to_string(&mut said).ok()?;
            Some(said)
        })
    }

    pub fn udp(&self, from: From, ip: Ipv4Addr, port: u16) -> Option<String> {
        self.within(from, || {
            let socket = UdpSocket::bind((ANY, 0)).ok()?;
            socket.set_read_timeout(Some(PATIENCE)).ok()?;
            socket.send_to(b"?", (ip, port)).ok()?;
            let mut buffer = [0; 64];
            let length = socket.recv(&mut buffer).ok()?;
            Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
        })
    }

    /// Waits until the server of a VM is reached there from the internet.
    pub fn reaches(&self, vm: &Vm, ip: Ipv4Addr, port: u16) {
        self.must(|bench| {
            poll(&format!("{} to be reached at {ip}", vm.name), Deadline::seconds(20), || {
                let said = bench.tcp(From::Internet, ip, port).unwrap_or_default();
                let name = said.split(' ').next().unwrap_or_default();
                Ok(if name == vm.name { Ok(()) } else { Err(format!("`{said}`")) })
            })
        });
    }
}

#[test]
fn an_eip_is_reached_from_everywhere_and_follows_its_vm() {
    let bench = bench("eip");
    let (one, two) = (bench.vm("one", 0), bench.vm("two", 1));
    bench.serve(&one, &[22]);
    bench.serve(&two, &[22]);
    let router = bench.router();
    let (vip, ip) = bench.vip();
    let eip = bench.made("CreateEip", json!({"name": "eip", "vipUuid": vip, "vmNicUuid": bench.nic(&one)}));
    // The reply says that the router has it.
    assert!(bench.tcp(From::Internet, ip, 22).unwrap_or_default().starts_with("one "));
    assert!(bench.udp(From::Internet, ip, 22).unwrap_or_default().starts_with("one "));
    bench.must(|bench| {
        check::web_sees(&bench.lab, &one.uuid, &format!("http://{INTERNET_WEB}/"), ip)?;
        check::web_sees(&bench.lab, &two.uuid, &format!("http://{INTERNET_WEB}/"), router.public_ip)
    });
    assert_eq!(bench.tcp(From::Vm(&two), ip, 22), Some(format!("one {}", router.guest_ip)));
    assert_eq!(bench.tcp(From::Vm(&one), ip, 22), Some(format!("one {ip}")));
    assert!(bench.tcp(From::Router, ip, 22).unwrap_or_default().starts_with("one "));
    assert_eq!(bench.tcp(From::Internet, router.public_ip, 22), None);

    // Stopped, it carries nothing; started, it does.
    bench.ask("StopVmInstance", Bench::uuid_of(&one.uuid));
    bench.must(|bench| check::vm_state(&bench.api, &one.uuid, "Stopped"));
    assert_eq!(bench.tcp(From::Internet, ip, 22), None);
    bench.ask("StartVmInstance", Bench::uuid_of(&one.uuid));
    bench.must(|bench| {
        check::vm_running(&bench.api, &one.uuid)?;
        check::address_inside(&bench.lab, &check::machine(&bench.lab, &one.uuid)?, one.ip)
    });
    bench.serve(&one, &[22]);
    bench.reaches(&one, ip, 22);

    // Off and on, to another VM and back.
    let state = |event: &str| json!({"uuid": eip, "stateEvent": event});
    bench.ask("ChangeEipState", state("disable"));
    assert_eq!(bench.tcp(From::Internet, ip, 22), None);
    bench.ask("ChangeEipState", state("enable"));
    bench.reaches(&one, ip, 22);
    bench.ask("DetachEip", Bench::uuid_of(&eip));
    assert_eq!(bench.tcp(From::Internet, ip, 22), None);
    bench.ask("AttachEip", json!({"eipUuid": eip, "vmNicUuid": bench.nic(&two)}));
    bench.reaches(&two, ip, 22);
    bench.must(|bench| check::web_sees(&bench.lab, &two.uuid, &format!("http://{INTERNET_WEB}/"), ip));

    // Another router: what it serves is the same.
    bench.ask("DestroyVmInstance", Bench::uuid_of(&router.uuid));
    bench.ask("RebootVmInstance", Bench::uuid_of(&two.uuid));
    let successor = bench.router();
    assert_ne!(successor.uuid, router.uuid);
    bench.must(|bench| {
        check::vm_running(&bench.api, &two.uuid)?;
        check::address_inside(&bench.lab, &check::machine(&bench.lab, &two.uuid)?, two.ip)
    });
    bench.serve(&two, &[22]);
    bench.reaches(&two, ip, 22);
    bench.must(|bench| {
        let drift = check::drift(&bench.api, &successor.uuid)?;
        ensure!(drift.is_empty(), "expected no drift, got {drift:?}");
        Ok(())
    });

    // Gone, with its address.
    bench.ask("DeleteEip", Bench::uuid_of(&eip));
    assert_eq!(bench.tcp(From::Internet, ip, 22), None);
    bench.must(|bench| {
        let (_, printed) = bench.lab.run_in(&bench.lab.router_namespace(&successor.uuid)?, &["ip", "addr"])?;
        ensure!(!printed.contains(&ip.to_string()), "{printed}");
        Ok(())
    });
    bench.ask("DeleteVip", Bench::uuid_of(&vip));
}

#[test]
fn ports_of_a_vip_lead_to_vms_for_those_who_may_come() {
    let bench = bench("ports");
    let (one, two) = (bench.vm("one", 0), bench.vm("two", 1));
    bench.serve(&one, &[22, 8005, 9005]);
    bench.serve(&two, &[22, 8005, 9005]);
    let (vip, ip) = bench.vip();
    let rule = |vm: &Vm, protocol: &str, ports: [u16; 3], allowed: Option<&str>| {
        let [start, end, private] = ports;
        let mut rule = json!({"name": "rule", "vipUuid": vip, "vmNicUuid": bench.nic(vm), "protocolType": protocol,
            "vipPortStart": start, "vipPortEnd": end, "privatePortStart": private, "privatePortEnd": private + (end - start)});
        if let Some(allowed) = allowed {
            rule["allowedCidr"] = json!(allowed);
        }
        bench.made("CreatePortForwardingRule", rule)
    };
    let ssh = rule(&one, "TCP", [2222, 2222, 22], None);
    rule(&one, "TCP", [8000, 8010, 8000], None);
    rule(&two, "TCP", [7000, 7010, 9000], None);
    rule(&two, "UDP", [8000, 8010, 8000], None);
    rule(&two, "TCP", [3333, 3333, 22], Some("192.0.2.0/24"));
    let said = |said: Option<String>| said.unwrap_or_default().split(' ').next().unwrap_or_default().to_string();
    assert_eq!(said(bench.tcp(From::Internet, ip, 2222)), "one");
    assert_eq!(said(bench.tcp(From::Internet, ip, 8005)), "one");
    assert_eq!(said(bench.tcp(From::Internet, ip, 7005)), "two");
    assert_eq!(said(bench.udp(From::Internet, ip, 8005)), "two");
    for (port, why) in [(3333, "it comes from elsewhere"), (22, "no rule has it"), (8011, "it is beside the range")] {
        assert_eq!(bench.tcp(From::Internet, ip, port), None, "{port}: {why}");
    }
    assert_eq!(bench.udp(From::Internet, ip, 2222), None);
    // The ways back.
    let router = bench.router();
    assert_eq!(bench.tcp(From::Vm(&one), ip, 2222), Some(format!("one {}", router.guest_ip)));
    assert_eq!(bench.tcp(From::Vm(&two), ip, 2222), Some(format!("one {}", router.guest_ip)));
    assert_eq!(said(bench.tcp(From::Router, ip, 7005)), "two");
    bench.must(|bench| check::web_sees(&bench.lab, &one.uuid, &format!("http://{INTERNET_WEB}/"), router.public_ip));

    let state = |event: &str| json!({"uuid": ssh, "stateEvent": event});
    bench.ask("ChangePortForwardingRuleState", state("disable"));
    assert_eq!(bench.tcp(From::Internet, ip, 2222), None);
    assert_eq!(said(bench.tcp(From::Internet, ip, 8005)), "one");
    bench.ask("ChangePortForwardingRuleState", state("enable"));
    assert_eq!(said(bench.tcp(From::Internet, ip, 2222)), "one");
    bench.ask("DeletePortForwardingRule", Bench::uuid_of(&ssh));
    assert_eq!(bench.tcp(From::Internet, ip, 2222), None);
    bench.must(|bench| {
        let drift = check::drift(&bench.api, &router.uuid)?;
        ensure!(drift.is_empty(), "expected no drift, got {drift:?}");
        Ok(())
    });
}
