//! Bad input for VIPs and their services.

use super::{ARGUMENT, NOT_FOUND, OPERATION, Row, Scene, nobody, row, with};
use serde_json::{Value, json};

pub(super) fn rows(scene: &Scene) -> Vec<Row> {
    let (nobody, public) = (nobody(), &scene.site.public);
    let vip = json!({"name": "vip", "l3NetworkUuid": public});
    let create = |field: &str, value: Value| with(&vip, field, value);
    let eip = |vip: &str| json!({"name": "eip", "vipUuid": vip});
    let limit = |vip: &str, field: &str, value: Value| with(&json!({"uuid": vip}), field, value);
    let nic = &scene.running_nic;
    let ports = json!({"name": "rule", "vipUuid": scene.vip, "vipPortStart": 80, "protocolType": "TCP"});
    let rule = |field: &str, value: Value| with(&ports, field, value);
    let range = &scene.guest_range;
    let first = "FirstAvailableIpv6AllocatorStrategy";
    vec![
        row("CreateVip", create("l3NetworkUuid", json!(nobody)), NOT_FOUND, "l3NetworkUuid", &nobody),
        row("CreateVip", create("l3NetworkUuid", json!(scene.system_l3)), ARGUMENT, "l3NetworkUuid", &scene.system_l3),
        row("CreateVip", create("l3NetworkUuid", json!(scene.disabled_l3)), OPERATION, "", &scene.disabled_l3),
        row("CreateVip", create("l3NetworkUuid", json!(scene.rangeless)), "L3.1000", "", &scene.rangeless),
        row("CreateVip", create("resourceUuid", json!(scene.vip)), OPERATION, "resourceUuid", &scene.vip),
        row("CreateVip", create("ipRangeUuid", json!(nobody)), NOT_FOUND, "ipRangeUuid", &nobody),
        row("CreateVip", create("ipRangeUuid", json!(range)), ARGUMENT, "ipRangeUuid", range),
        row("CreateVip", create("ipVersion", json!(5)), ARGUMENT, "ipVersion", "5"),
        row("CreateVip", create("ipVersion", json!(6)), "L3.1000", "", "IPv6"),
        row("CreateVip", create("allocatorStrategy", json!(first)), ARGUMENT, "allocatorStrategy", first),
        row("CreateVip", create("requiredIp", json!("203.0.113.1")), "L3.1000", "requiredIp", "203.0.113.1"),
        row("CreateVip", create("requiredIp", json!("9.9.9.9")), "L3.1000", "requiredIp", "9.9.9.9"),
        row("CreateVip", create("requiredIp", json!(scene.vip_ip)), ARGUMENT, "requiredIp", &scene.vip_ip),
        row(
            "CreateVip",
            with(&create("requiredIp", json!("fd00::5")), "ipVersion", json!(4)),
            ARGUMENT,
            "requiredIp",
            "fd00::5",
        ),
        row(
            "CreateVip",
            with(&create("ipRangeUuid", json!(scene.public_range)), "ipVersion", json!(6)),
            ARGUMENT,
            "ipRangeUuid",
            &scene.public_range,
        ),
        row("UpdateVip", json!({"uuid": nobody, "name": "x"}), NOT_FOUND, "uuid", &nobody),
        row("ChangeVipState", json!({"uuid": nobody, "stateEvent": "enable"}), NOT_FOUND, "uuid", &nobody),
        row("DeleteVip", json!({"uuid": scene.system_vip}), OPERATION, "", &scene.system_vip),
        row("SetVipQos", limit(&nobody, "inboundBandwidth", json!(131_072)), NOT_FOUND, "uuid", &nobody),
        row(
            "SetVipQos",
            limit(&scene.system_vip, "inboundBandwidth", json!(131_072)),
            OPERATION,
            "uuid",
            &scene.system_vip,
        ),
        row("SetVipQos", json!({"uuid": scene.vip}), ARGUMENT, "inboundBandwidth", "none"),
        row("SetVipQos", limit(&scene.vip, "inboundBandwidth", json!(131_071)), ARGUMENT, "inboundBandwidth", "131071"),
        row(
            "SetVipQos",
            limit(&scene.vip, "outboundBandwidth", json!(32_212_254_721_u64)),
            ARGUMENT,
            "outboundBandwidth",
            "32212254721",
        ),
        row("SetVipQos", limit(&scene.vip, "port", json!(0)), ARGUMENT, "port", "0"),
        row("DeleteVipQos", json!({"uuid": scene.system_vip}), OPERATION, "", &scene.system_vip),
        row("DeleteVipQos", json!({"uuid": scene.vip, "port": 65_536}), ARGUMENT, "port", "65536"),
        row("CreateEip", eip(&nobody), NOT_FOUND, "vipUuid", &nobody),
        row("CreateEip", eip(&scene.system_vip), OPERATION, "vipUuid", &scene.system_vip),
        row("CreateEip", with(&eip(&scene.vip), "vmNicUuid", json!(nic)), OPERATION, "vmNicUuid", nic),
        row("CreateEip", with(&eip(&scene.vip), "usedIpUuid", json!(nobody)), ARGUMENT, "usedIpUuid", &nobody),
        row("AttachEip", json!({"eipUuid": nobody, "vmNicUuid": nic}), NOT_FOUND, "eipUuid", &nobody),
        row("DetachEip", json!({"uuid": nobody}), NOT_FOUND, "uuid", &nobody),
        row("UpdateEip", json!({"uuid": nobody, "name": "x"}), NOT_FOUND, "uuid", &nobody),
        row("ChangeEipState", json!({"uuid": nobody, "stateEvent": "enable"}), NOT_FOUND, "uuid", &nobody),
        row("DeleteEip", json!({"uuid": "x"}), ARGUMENT, "uuid", "x"),
        row("CreatePortForwardingRule", rule("vipUuid", json!(nobody)), NOT_FOUND, "vipUuid", &nobody),
        row("CreatePortForwardingRule", rule("vipPortEnd", json!(7)), ARGUMENT, "vipPortEnd", "7"),
        row("CreatePortForwardingRule", rule("privatePortEnd", json!(81)), ARGUMENT, "privatePortEnd", "81"),
        row("CreatePortForwardingRule", rule("allowedCidr", json!("::/0")), ARGUMENT, "allowedCidr", "::/0"),
        row("CreatePortForwardingRule", rule("vmNicUuid", json!(nic)), OPERATION, "vmNicUuid", nic),
        row("AttachPortForwardingRule", json!({"ruleUuid": nobody, "vmNicUuid": nic}), NOT_FOUND, "ruleUuid", &nobody),
        row("DetachPortForwardingRule", json!({"uuid": nobody}), NOT_FOUND, "uuid", &nobody),
        row("UpdatePortForwardingRule", json!({"uuid": nobody, "name": "x"}), NOT_FOUND, "uuid", &nobody),
        row(
            "ChangePortForwardingRuleState",
            json!({"uuid": nobody, "stateEvent": "enable"}),
            NOT_FOUND,
            "uuid",
            &nobody,
        ),
        row("DeletePortForwardingRule", json!({"uuid": "x"}), ARGUMENT, "uuid", "x"),
    ]
}
