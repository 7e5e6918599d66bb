//! Names and addresses of a lab.

use std::{fmt, net::Ipv4Addr, path::PathBuf, str::FromStr};

/// The TCP port of the host agents.
pub const HOST_AGENT_PORT: u16 = 7271;
/// The address from which the server reaches agents.
pub const CONTROL: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 1);
/// The way from the management network to the internet, for topologies that combine the two.
pub const MANAGEMENT_GATEWAY: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 2);
/// The internet's end of the public network.
pub const PUBLIC_GATEWAY: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
/// A web server that answers with its peer's address.
pub const INTERNET_WEB: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);
/// A name server that knows [`INTERNET_NAME`].
pub const INTERNET_DNS: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 53);
/// The name of the web server.
pub const INTERNET_NAME: &str = "www.example.test";
/// Where the labs keep their state.
pub const STATE_ROOT: &str = "/run/switchback-lab";
/// The most hosts that a lab may have.
pub const HOSTS_MAX: u8 = 16;

/// The address of the agent of host `number`, counted from 1.
pub fn host_address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(172, 30, 0, 10 + number)
}

/// The name of a lab: 1 to 8 lower-case letters and digits, so that the namespaces of one lab can never be taken
/// for those of another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LabName(String);

impl FromStr for LabName {
    type Err = anyhow::Error;
    fn from_str(text: &str) -> anyhow::Result<LabName> {
        let good = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
        if text.is_empty() || text.len() > 8 || !text.bytes().all(good) {
            anyhow::bail!("the lab's name `{text}` must be 1 to 8 lower-case letters and digits");
        }
        Ok(LabName(text.to_string()))
    }
}

impl fmt::Display for LabName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl LabName {
    /// The namespace of a part of the lab: `sb-fabric`.
    pub fn namespace(&self, part: &str) -> String {
        format!("{}-{part}", self.0)
    }

    /// Whether a namespace belongs to this lab.
    pub fn owns(&self, namespace: &str) -> bool {
        namespace.strip_prefix(self.0.as_str()).is_some_and(|rest| rest.starts_with('-'))
    }

    /// Where the lab keeps its state.
    pub fn state_dir(&self) -> PathBuf {
        PathBuf::from(STATE_ROOT).join(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lab_owns_its_own_namespaces_only() {
        let lab: LabName = "sb".parse().unwrap();
        assert!(lab.owns("sb-fabric") && lab.owns("sb-vr-1234"));
        assert!(!lab.owns("sb2-fabric") && !lab.owns("sb") && !lab.owns("x-sb-fabric"));
        for bad in ["", "a-b", "Lab", "../x", "ninechars"] {
            assert!(bad.parse::<LabName>().is_err(), "{bad}");
        }
    }
}
