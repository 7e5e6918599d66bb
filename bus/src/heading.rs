//! What stands at the head of a command, beside its parameters, in the words in which it comes.

use crate::Refusal;
use switchback_events::{CommandId, Id, Version};

/// The most bytes of a command's key.
pub const MAX_KEY: usize = 255;
/// The most bytes of a reason.
pub const MAX_REASON: usize = 1024;

/// A command's id from its sender's key, which the header `name` gave. An id counts as itself, any other text as its name.
///
/// # Errors
/// The text is empty or over [`MAX_KEY`].
pub fn command_id(name: &str, key: &str) -> Result<CommandId, Refusal> {
    if key.is_empty() || key.len() > MAX_KEY {
        return Err(Refusal::argument(name, key, format!("text of 1 to {MAX_KEY} bytes")));
    }
    Ok(CommandId(key.parse().unwrap_or_else(|_| Id::of_name(key))))
}

/// Why a command is sent, from the header `name`; none where it is empty.
///
/// # Errors
/// The text is over [`MAX_REASON`].
pub fn reason(name: &str, text: &str) -> Result<Option<String>, Refusal> {
    if text.len() > MAX_REASON {
        return Err(Refusal::argument(name, text, format!("text of at most {MAX_REASON} bytes")));
    }
    Ok(Some(text).filter(|text| !text.is_empty()).map(str::to_string))
}

/// The version that the target must have, from the header `name`, as an entity tag or bare.
///
/// # Errors
/// The text is no version.
pub fn version(name: &str, text: &str) -> Result<Version, Refusal> {
    let bare = text.trim_start_matches("W/").trim_matches('"');
    bare.parse().map_err(|_| Refusal::argument(name, text, "the version of the target, such as 7"))
}
