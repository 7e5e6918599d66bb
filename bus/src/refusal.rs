//! Why a command or read was refused: a business "no", with a stable code (the reference's, with some of our own), the field and
//! value at fault, and what would be right. Failures of the system itself have the same shape and other kinds.

use serde::{Deserialize, Serialize};
use std::fmt::Display;
use switchback_events::{CommandId, Id, Version};

/// What kind of "no" it is; the gateway chooses the HTTP status by it, the CLI the exit code.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RefusalKind {
    /// A bad argument: the same words can never succeed.
    Invalid,
    /// A resource that does not exist, or that the caller may not see.
    NotFound,
    /// Legal words in the wrong state, or a conflict.
    Conflict,
    /// Who asks is not known.
    Unauthenticated,
    /// Who asks may not.
    Forbidden,
    /// `If-Match` names another version.
    StaleVersion,
    /// The command id was used with another body.
    OtherBody,
    /// Too much at once: try again later.
    Busy,
    /// The work did not end in time.
    Timeout,
    /// An agent or backend failed.
    Backend,
    /// The log takes no writes.
    ReadOnly,
    /// In the catalogue, but not done yet.
    NotSupported,
    /// A fault of ours.
    Internal,
}

/// What stands in the way of a delete.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Blocker {
    /// Its concept's stem.
    pub resource_type: String,
    /// Its id.
    pub uuid: Id,
    /// Its name.
    pub name: String,
}

/// A "no" with its reasons.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
#[error("{code}: {detail}")]
pub struct Refusal {
    /// What kind.
    pub kind: RefusalKind,
    /// The stable code: `SYS.1007`.
    pub code: String,
    /// What is wrong, with the field and the value.
    pub detail: String,
    /// The parameter at fault, as the API names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// What stands in the way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blockers: Vec<Blocker>,
    /// The command that was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command_id: Option<CommandId>,
    /// With [`RefusalKind::StaleVersion`]: the version there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_version: Option<Version>,
    /// With [`RefusalKind::Busy`]: when to try again, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_secs: Option<u64>,
}

/// The stable codes.
pub mod code {
    #![allow(missing_docs)]
    pub const INTERNAL: &str = "SYS.1000";
    pub const TIMEOUT: &str = "SYS.1001";
    pub const NOT_FOUND: &str = "SYS.1003";
    pub const DELETE: &str = "SYS.1004";
    pub const OPERATION: &str = "SYS.1006";
    pub const ARGUMENT: &str = "SYS.1007";
    pub const BACKEND: &str = "SYS.1015";
    pub const BUSY: &str = "SYS.1100";
    pub const READ_ONLY: &str = "SYS.1101";
    pub const OTHER_BODY: &str = "SYS.1102";
    pub const STALE_VERSION: &str = "SYS.1103";
    pub const NOT_SUPPORTED: &str = "SYS.1104";
    pub const AUTHENTICATION: &str = "ID.1000";
    pub const PERMISSION_DENIED: &str = "ID.1001";
    pub const INVALID_SESSION: &str = "ID.1002";
    pub const L2_ATTACH: &str = "L2.1000";
    pub const L3_ALLOCATE: &str = "L3.1000";
    pub const PROVIDER_ATTACH: &str = "NWS.1000";
    pub const PROVIDER_DETACH: &str = "NWS.1001";
    pub const VR_STATE: &str = "VR.1000";
    pub const VR_NO_PUBLIC_NETWORK: &str = "VR.1001";
    pub const VR_NO_DEFAULT_OFFERING: &str = "VR.1002";
    pub const VM_CREATE: &str = "VM.1000";
    pub const VM_START: &str = "VM.1001";
    pub const VM_STOP: &str = "VM.1002";
    pub const VM_REBOOT: &str = "VM.1003";
    pub const VM_MAC: &str = "VM.1009";
    pub const VM_STATE: &str = "VM.1010";
    pub const NO_HOST: &str = "HOST_ALLOCATION.1000";
    pub const NO_HOST_WITH_L2: &str = "HOST_ALLOCATION.1001";
}

impl Refusal {
    /// Any refusal.
    #[track_caller]
    pub fn new(kind: RefusalKind, code: &str, detail: impl Into<String>) -> Refusal {
        #[cfg(debug_assertions)]
        crate::reached::note(std::panic::Location::caller());
        Refusal {
            kind,
            code: code.to_string(),
            detail: detail.into(),
            field: None,
            hint: None,
            blockers: vec![],
            command_id: None,
            current_version: None,
            retry_after_secs: None,
        }
    }

    /// SYS.1007: the parameter `field` has the bad value `value`; `right` says what would be right.
    #[track_caller]
    pub fn argument(field: &str, value: impl Display, right: impl Display) -> Refusal {
        let mut value = value.to_string();
        if value.len() > 120 {
            let cut = (0..=120).rev().find(|at| value.is_char_boundary(*at)).unwrap_or(0);
            value.truncate(cut);
            value.push('…');
        }
        // A field may be named by what was sent, such as a provider in a map.
        let plain = |text: &str| text.chars().map(|c| if c.is_control() { '�' } else { c }).collect::<String>();
        let (field, value) = (plain(field), plain(&value));
        let detail = format!("{field} = `{value}`: {right}");
        Refusal { field: Some(field), ..Refusal::new(RefusalKind::Invalid, code::ARGUMENT, detail) }
    }

    /// SYS.1007: the parameter `field` is missing.
    #[track_caller]
    pub fn missing(field: &str, right: impl Display) -> Refusal {
        let detail = format!("{field} is missing: {right}");
        Refusal { field: Some(field.to_string()), ..Refusal::new(RefusalKind::Invalid, code::ARGUMENT, detail) }
    }

    /// SYS.1006: legal input, but wrong state or conflict.
    #[track_caller]
    pub fn operation(detail: impl Into<String>) -> Refusal {
        Refusal::new(RefusalKind::Conflict, code::OPERATION, detail)
    }

    /// A conflict with a code of its own.
    #[track_caller]
    pub fn conflict(code: &str, detail: impl Into<String>) -> Refusal {
        Refusal::new(RefusalKind::Conflict, code, detail)
    }

    /// SYS.1003: the parameter `field` names a `what` that does not exist.
    #[track_caller]
    pub fn not_found(field: &str, what: &str, id: impl Display) -> Refusal {
        let detail = format!("{field} = `{id}`: there is no such {what}");
        Refusal { field: Some(field.to_string()), ..Refusal::new(RefusalKind::NotFound, code::NOT_FOUND, detail) }
    }

    /// The message or option is in the catalogue but not done yet.
    #[track_caller]
    pub fn not_supported(what: impl Display) -> Refusal {
        Refusal::new(RefusalKind::NotSupported, code::NOT_SUPPORTED, format!("{what} is not supported yet"))
    }

    /// SYS.1000: a fault of ours.
    #[track_caller]
    pub fn internal(detail: impl Into<String>) -> Refusal {
        Refusal::new(RefusalKind::Internal, code::INTERNAL, detail)
    }

    /// The same with advice.
    pub fn hint(mut self, hint: impl Into<String>) -> Refusal {
        self.hint = Some(hint.into());
        self
    }

    /// The same with what stands in the way.
    pub fn blockers(mut self, blockers: Vec<Blocker>) -> Refusal {
        self.blockers = blockers;
        self
    }
}
