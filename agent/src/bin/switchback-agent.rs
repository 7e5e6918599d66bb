//! The agents alone, for the tests of this crate: `agent router --state-dir DIR` as the product's binary has it,
//! and `agent host --listen ADDRESS --token-file FILE --state-dir DIR --prefix PREFIX [--netns NAME]`.

use std::{collections::HashMap, path::PathBuf};
use switchback_agent::{HostOptions, RouterOptions, identity_of_token, run_host, run_router};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let options: HashMap<&str, &String> =
        arguments.windows(2).filter_map(|pair| Some((pair[0].strip_prefix("--")?, &pair[1]))).collect();
    let state_dir = PathBuf::from(options["state-dir"]);
    switchback_agent::install_provider();
    let system = actix_web::rt::System::new();
    if arguments.get(1).is_some_and(|role| role == "router") {
        return Ok(system.block_on(run_router(RouterOptions { state_dir }))?);
    }
    let identity = identity_of_token(&std::fs::read_to_string(options["token-file"])?)?;
    let namespace = options.get("netns").map(|name| name.to_string());
    let host = HostOptions::new(options["listen"].parse()?, identity, state_dir, options["prefix"].clone());
    Ok(system.block_on(run_host(HostOptions { namespace, ..host }))?)
}
