//! IPv6 on the real kernel: a router that advertises, VMs that make their addresses themselves or ask for them with a
//! real DHCPv6 client, names, packets between VMs and out to the public without translation. Needs root.

mod common;
mod site;

use common::guests;
use site::{Site, eventually};
use std::{fs, net::Ipv6Addr};
use switchback_agent::Agents;
use switchback_appliance::{Dhcp6Network, DnsName, InputRule, Protocol};
use switchback_events::{AddressMode, eui64};

/// What the DHCPv6 client does with its address.
const SCRIPT: &str = "#!/bin/sh
case \"$reason\" in
BOUND6 | RENEW6 | REBIND6) ip -6 addr replace \"$new_ip6_address/128\" dev \"$interface\" ;;
esac
[ -n \"$new_dhcp6_name_servers\" ] && echo \"$new_dhcp6_name_servers\" >\"$SIX_DNS\"
exit 0
";

fn asked(number: u16) -> Ipv6Addr {
    format!("fd00:1::1{number}").parse().unwrap()
}

fn made(number: u16) -> Ipv6Addr {
    eui64("fd00:1::".parse().unwrap(), common::mac(1000 + number))
}

/// The document for two VMs whose addresses are `address`, in this mode.
fn dual(site: &mut Site, mode: AddressMode, address: fn(u16) -> Ipv6Addr) {
    let fresh = common::router(site.router.router, 2).sections;
    let sections = &mut site.router.sections;
    (sections.dhcp, sections.dns) = (fresh.dhcp, fresh.dns);
    sections.interfaces = fresh.interfaces;
    sections.firewall = fresh.firewall;
    sections.interfaces.nics[0].addresses.push("2001:db8::1/64".parse().unwrap());
    sections.interfaces.nics[1].addresses.push("fd00:1::1/64".parse().unwrap());
    sections.interfaces.default_gateway6 = Some("2001:db8::fe".parse().unwrap());
    sections.dhcp.networks6.push(Dhcp6Network {
        interface: "eth1".to_string(),
        l3_network: guests(),
        subnet: "fd00:1::/64".parse().unwrap(),
        mode,
        gateway: true,
        dns_servers: vec!["fd00:1::1".parse().unwrap()],
        domain: Some("vpc.local".to_string()),
        mtu: 1450,
        lease_time: 3600,
    });
    for number in [1, 2] {
        if mode != AddressMode::Slaac {
            sections.dhcp.hosts[usize::from(number) - 1].ip6 = Some(address(number));
        }
        sections.dns.names.push(DnsName {
            ip: address(number).into(),
            hostname: format!("vm{number}"),
            domain: Some("vpc.local".to_string()),
        });
    }
    let input = InputRule { interface: "eth1".to_string(), protocol: Protocol::Udp, port: 547 };
    sections.firewall.input.push(input);
}

fn has(site: &Site, number: u16, ip: Ipv6Addr) {
    eventually(&format!("vm{number} has {ip}"), || {
        let held = site.vm(number, "ip -6 -o addr show dev eth0 scope global");
        held.contains(&format!("{ip}/")) && !held.contains("tentative")
    });
}

fn pings(site: &Site, number: u16, to: &str) {
    eventually(&format!("vm{number} reaches {to}"), || site.vm_ok(number, &format!("ping -6 -c 1 -W 1 {to}")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_serves_both_families() {
    let mut site = Site::start("six");
    site.bring_up(2).await;
    // The host has no IPv6 where its guests have.
    let bridge = &site.host.sections.bridges.values().next().unwrap().name;
    let held = site.in_host(&format!("cat /proc/sys/net/ipv6/conf/{bridge}/disable_ipv6"));
    assert_eq!(held.trim(), "1", "{bridge}");
    site.wait_for_lease(1, "10.0.0.11/16");
    site.wait_for_lease(2, "10.0.0.12/16");
    // What stands for the public has an end among the guests too, which is to stay a stranger.
    let public = "echo 1 >/proc/sys/net/ipv6/conf/eth1.10/disable_ipv6 &&
        ip -6 addr add 2001:db8::fe/64 dev eth0 nodad && ip -6 route replace fd00:1::/64 via 2001:db8::1";
    assert!(site.in_net(public));

    // Hosts that make their addresses: nobody asks anybody.
    dual(&mut site, AddressMode::Slaac, made);
    site.router.revision = 2;
    site.push_router().await.unwrap();
    assert_eq!(site.client.drift(site.router_at()).await.unwrap().items, []);
    for number in [1, 2] {
        has(&site, number, made(number));
    }
    assert!(site.vm(1, "ip -6 route").contains("default via fe80::"), "{}", site.vm(1, "ip -6 route"));
    pings(&site, 1, "fd00:1::1");
    pings(&site, 1, &made(2).to_string());
    assert_eq!(site.vm(1, "dig +short AAAA vm2.vpc.local @fd00:1::1").trim(), made(2).to_string());
    assert_eq!(site.vm(1, "dig +short A vm2.vpc.local @fd00:1::1").trim(), "10.0.0.12");
    assert_eq!(site.vm(1, &format!("dig +short -x {} @fd00:1::1", made(2))).trim(), "vm2.vpc.local.");

    // Out without translation, and back; nobody outside begins, and nobody inside is somebody else.
    pings(&site, 1, "2001:db8::fe");
    assert!(!site.in_net(&format!("ping -6 -c 1 -W 1 {}", made(1))), "the public reaches a guest");
    assert!(!site.in_net("nc -z -w 1 2001:db8::1 53"));
    assert!(site.vm_ok(1, "ip -6 addr add 2001:db8:bad::1/128 dev eth0 nodad"));
    assert!(!site.vm_ok(1, "ping -6 -c 1 -W 1 -I 2001:db8:bad::1 2001:db8::fe"));

    // Somebody takes the address away: that is drift, and mended with the next document.
    site.in_router("ip -6 addr del fd00:1::1/64 dev eth1");
    let drift = site.client.drift(site.router_at()).await.unwrap().items;
    assert!(drift.iter().any(|item| item.item.contains("fd00:1::1/64")), "{drift:?}");
    site.push_router().await.unwrap();
    assert_eq!(site.client.drift(site.router_at()).await.unwrap().items, []);
    pings(&site, 2, "fd00:1::1");

    // Hosts that ask: each gets the address that it has in the document.
    dual(&mut site, AddressMode::Stateful, asked);
    site.router.revision = 3;
    site.push_router().await.unwrap();
    let files = tempfile::tempdir().unwrap();
    let script = files.path().join("script");
    fs::write(&script, SCRIPT).unwrap();
    assert!(std::process::Command::new("chmod").arg("755").arg(&script).status().unwrap().success());
    fs::write(files.path().join("conf"), "request dhcp6.name-servers, dhcp6.domain-search;\n").unwrap();
    let at = files.path().display();
    for number in [1, 2] {
        site.vm(number, "ip -6 addr flush dev eth0 scope global");
        let said = site.vm(
            number,
            &format!(
                "timeout 20 dhclient -6 -1 -D LL -cf {at}/conf -sf {at}/script \
                 -e SIX_DNS={at}/dns{number} -lf {at}/leases{number} -pf {at}/pid{number} eth0 2>&1"
            ),
        );
        println!("{said}");
        has(&site, number, asked(number));
    }
    let servers = fs::read_to_string(files.path().join("dns1")).unwrap();
    assert!(servers.contains("fd00:1::1"), "{servers}");
    pings(&site, 1, "fd00:1::1");
    pings(&site, 1, &asked(2).to_string());
    pings(&site, 2, "2001:db8::fe");
    assert_eq!(site.vm(1, "dig +short AAAA vm2 @fd00:1::1").trim(), asked(2).to_string());
    let leases = fs::read_to_string(site.router_dir().join("dnsmasq/leases")).unwrap();
    assert!(leases.contains("fd00:1::11") && leases.contains("fd00:1::12"), "{leases}");

    // A VM that goes takes its lease along.
    site.router.sections.dhcp.hosts.truncate(1);
    site.router.sections.dns.names.retain(|name| name.hostname == "vm1");
    site.router.revision = 4;
    site.push_router().await.unwrap();
    assert_eq!(site.vm(1, "dig +short AAAA vm2.vpc.local @fd00:1::1").trim(), "");

    // Without IPv6 nothing of it is left, and it can come back.
    let with = site.router.clone();
    let plain = common::router(site.router.router, 2).sections;
    site.router.sections = plain;
    site.router.revision = 5;
    site.push_router().await.unwrap();
    assert_eq!(site.client.drift(site.router_at()).await.unwrap().items, []);
    assert_eq!(site.in_router("ip -6 addr show dev eth1").trim(), "");
    site.router.sections = with.sections;
    site.router.revision = 6;
    site.push_router().await.unwrap();
    assert_eq!(site.client.drift(site.router_at()).await.unwrap().items, []);
    pings(&site, 1, "fd00:1::1");
    for number in [1, 2] {
        let _ = std::process::Command::new("sh").args(["-c", &format!("kill $(cat {at}/pid{number})")]).status();
    }
    site.finish().await;
}
