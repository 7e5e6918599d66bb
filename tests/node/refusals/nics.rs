//! Bad input for the commands about nics and the life of VMs.

use super::*;

pub fn rows(s: &Scene) -> Vec<Row> {
    let (nobody, site) = (nobody(), &s.site);
    let pair = |vm: &str, l3: &str| json!({"vmInstanceUuid": vm, "l3NetworkUuid": l3});
    let attach =
        |vm: &str, l3: &str, code, field, value: &str| row("AttachL3NetworkToVm", pair(vm, l3), code, field, value);
    let nic = |nic: &str| json!({"vmNicUuid": nic});
    let of = |uuid: &str| json!({"uuid": uuid});
    let change = |of: &str, to: &str| json!({"vmNicUuid": of, "destL3NetworkUuid": to});
    let custom = with(&pair(&s.running, &site.public), "customMac", json!("03:00:00:00:00:01"));
    let fixed = with(&pair(&s.running, &s.guest), "ip", json!("192.0.2.1"));
    let static_ip = |field: &str, value: &str| with(&pair(&s.running, &s.guest), field, json!(value));
    let hostname = |name: &str| json!({"uuid": s.running, "hostname": name});
    vec![
        attach(&nobody, &s.guest, NOT_FOUND, "vmInstanceUuid", &nobody),
        attach(&s.running, &nobody, NOT_FOUND, "l3NetworkUuid", &nobody),
        attach(&s.running, &s.system_l3, ARGUMENT, "l3NetworkUuid", &s.system_l3),
        attach(&s.running, &s.disabled_l3, OPERATION, "l3NetworkUuid", "disabled"),
        attach(&s.running, &s.other_l3, ARGUMENT, "l3NetworkUuid", &site.zone),
        attach(&s.running, &s.guest, OPERATION, "l3NetworkUuid", &s.guest),
        attach(&s.running, &s.rangeless, "L3.1000", "", &s.rangeless),
        attach(&s.stopped_router, &site.public, "VR.1000", "", &s.stopped_router),
        attach(&s.router, &s.overlapping, ARGUMENT, "l3NetworkUuid", "Public"),
        row("AttachL3NetworkToVm", custom, ARGUMENT, "customMac", "03:00:00:00:00:01"),
        row(
            "AttachL3NetworkToVm",
            with(&pair(&s.router, &site.public), "staticIp", json!("203.0.113.9")),
            NOT_SUPPORTED,
            "staticIp",
            "router",
        ),
        row(
            "AttachL3NetworkToVm",
            with(&pair(&s.running, &site.public), "vmNicParams", json!("{}")),
            NOT_SUPPORTED,
            "vmNicParams",
            "",
        ),
        row("DetachL3NetworkFromVm", nic(&nobody), NOT_FOUND, "vmNicUuid", &nobody),
        row("DetachL3NetworkFromVm", nic(&s.router_nic), OPERATION, "vmNicUuid", &s.router_nic),
        row("ChangeVmNicNetwork", change(&nobody, &site.public), NOT_FOUND, "vmNicUuid", &nobody),
        row("ChangeVmNicNetwork", change(&s.router_nic, &site.public), NOT_FOUND, "vmNicUuid", &s.router_nic),
        row("ChangeVmNicNetwork", change(&s.running_nic, &nobody), NOT_FOUND, "destL3NetworkUuid", &nobody),
        row("ChangeVmNicNetwork", change(&s.running_nic, &s.guest), OPERATION, "destL3NetworkUuid", &s.guest),
        row("ChangeVmNicNetwork", change(&s.running_nic, &s.other_l3), ARGUMENT, "destL3NetworkUuid", &site.zone),
        row("ChangeVmNicState", json!({"vmNicUuid": s.running_nic, "state": "off"}), ARGUMENT, "state", "off"),
        row("ChangeVmNicState", json!({"vmNicUuid": nobody, "state": "enable"}), NOT_FOUND, "vmNicUuid", &nobody),
        row("SetVmStaticIp", with(&fixed, "vmInstanceUuid", json!(nobody)), NOT_FOUND, "vmInstanceUuid", &nobody),
        row(
            "SetVmStaticIp",
            with(&fixed, "l3NetworkUuid", json!(site.public)),
            ARGUMENT,
            "l3NetworkUuid",
            &site.public,
        ),
        row("SetVmStaticIp", fixed.clone(), "L3.1000", "ip", "192.0.2.1"),
        row("SetVmStaticIp", pair(&s.running, &s.guest), ARGUMENT, "ip", "missing"),
        row("SetVmStaticIp", static_ip("ip6", "fd00::5"), "L3.1000", "", "fd00::5"),
        row("SetVmStaticIp", static_ip("ip6", "10.0.0.5"), ARGUMENT, "ip6", "10.0.0.5"),
        row(
            "SetVmStaticIp",
            with(&static_ip("ip", &s.taken_ip), "ipv6Prefix", json!("64")),
            ARGUMENT,
            "ipv6Prefix",
            "64",
        ),
        row(
            "SetVmStaticIp",
            with(&static_ip("ip", &s.taken_ip), "netmask", json!("255.0.0.0")),
            ARGUMENT,
            "netmask",
            "255.0.0.0",
        ),
        row(
            "SetVmStaticIp",
            with(&static_ip("ip", &s.taken_ip), "gateway", json!("10.0.0.77")),
            ARGUMENT,
            "gateway",
            "10.0.0.77",
        ),
        row("DeleteVmStaticIp", pair(&nobody, &s.guest), NOT_FOUND, "vmInstanceUuid", &nobody),
        row("SetVmHostname", hostname("-a"), ARGUMENT, "hostname", "-a"),
        row("SetVmHostname", hostname("stopped"), ARGUMENT, "hostname", "stopped"),
        row("SetVmHostname", json!({"uuid": nobody, "hostname": "a"}), NOT_FOUND, "uuid", &nobody),
        row("DeleteVmHostname", of(&nobody), NOT_FOUND, "uuid", &nobody),
        row("PauseVmInstance", of(&nobody), NOT_FOUND, "uuid", &nobody),
        row("PauseVmInstance", of(&s.stopped), "VM.1010", "", &s.stopped),
        row("ResumeVmInstance", of(&s.stopped), "VM.1010", "", &s.stopped),
        row("RecoverVmInstance", of(&nobody), NOT_FOUND, "uuid", &nobody),
        row("RecoverVmInstance", of(&s.running), "VM.1010", "", &s.running),
        row("ExpungeVmInstance", of(&s.running), "VM.1010", "", &s.running),
        row("StopVmInstance", json!({"uuid": s.running, "type": "hot"}), ARGUMENT, "type", "hot"),
    ]
}
