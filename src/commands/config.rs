//! `switchback config`: the server's configuration, as it would be and what is wrong with it.

use crate::{
    client::{ClientArguments, Environment},
    commands::bus,
    failure::Failure,
    output::Output,
};
use clap::Subcommand;
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use switchback::config::{Configuration, Fault, Flags, Settings, sample};
use switchback_gateway::Certificate;

/// What is asked of the configuration.
#[derive(Subcommand)]
pub enum ConfigCommand {
    /// Print a file with all defaults, each with what it means.
    Default,
    /// Say whether a server would start with it, and else all that is wrong.
    Check {
        /// The file [env: SWITCHBACK_CONFIG].
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Print every setting as it is in effect, and where it comes from.
    Show {
        /// The file [env: SWITCHBACK_CONFIG].
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        #[command(flatten)]
        client: ClientArguments,
    },
}

/// Answers it.
pub fn run(
    command: &ConfigCommand,
    outer: &ClientArguments,
    environment: &Environment,
    output: &mut Output,
) -> Result<(), Failure> {
    match command {
        ConfigCommand::Default => Ok(output.text(&sample())?),
        ConfigCommand::Check { config } => {
            let configuration = load(config.as_deref(), environment, &vec![])?;
            let settings = configuration.settings().map_err(failure)?;
            certificate(&settings)?;
            // What it names is read; nobody is asked.
            bus::remote(&settings.bus, PathBuf::new()).map_err(|error| Failure::usage(format!("{error:#}")))?;
            output.note("the configuration is right");
            Ok(())
        }
        ConfigCommand::Show { config, client } => {
            output.format = client.clone().over(outer).format();
            let configuration = load(config.as_deref(), environment, &vec![])?;
            let row = |(setting, value, source): (&switchback::config::Setting, &str, &switchback::config::Source)| json!({"key": setting.name(), "value": value, "from": source.to_string()});
            let rows: Vec<Value> = configuration.rows().map(row).collect();
            output.data(&json!(rows), |output| output.rows(&rows, &["key", "value", "from"]))
        }
    }
}

/// The configuration of a server that is started here.
pub fn load(file: Option<&Path>, environment: &Environment, flags: &Flags) -> Result<Configuration, Failure> {
    let named = environment.config.as_deref();
    Configuration::load(file.or(named), &environment.variables, flags).map_err(failure)
}

/// The certificate that the settings name.
pub fn certificate(settings: &Settings) -> Result<Option<Arc<Certificate>>, Failure> {
    let (Some(certificate), Some(key)) = (&settings.tls.certificate, &settings.tls.key) else { return Ok(None) };
    let read =
        Certificate::read(certificate, key).map_err(|error| Failure::usage(format!("tls.certificate: {error}")))?;
    Ok(Some(Arc::new(read)))
}

/// All that is wrong, a line each.
pub fn failure(faults: Vec<Fault>) -> Failure {
    let lines: Vec<String> = faults.iter().map(Fault::to_string).collect();
    let hint = "`switchback config default` prints every key with what it may be";
    Failure::usage(lines.join("\n")).hint(hint)
}
