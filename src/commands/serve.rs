//! `switchback serve`: the server.

use anyhow::Context;
use clap::Args;
use std::{io::IsTerminal, net::SocketAddr, path::PathBuf, sync::Arc};
use switchback::node::{DataDir, Node, NodeOptions};
use switchback_gateway::{Caller, FixedTokens, Gateway, Options, Tokens};

/// How to serve.
#[derive(Args)]
pub struct ServeArguments {
    /// Where everything is kept; made if it is not there.
    #[arg(long, default_value = "switchback-data", env = "SWITCHBACK_DATA")]
    data: PathBuf,
    /// Address and port of the HTTP interface.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Simulate all hosts and appliances in this process: no root needed.
    #[arg(long)]
    simulate: bool,
    /// The network namespace that connections to agents start from.
    #[arg(long, value_name = "NAME")]
    agent_netns: Option<String>,
    /// Log as JSON lines.
    #[arg(long)]
    log_json: bool,
}

/// The ways in: the token of the data directory, and sessions.
struct Doors {
    token: FixedTokens,
    node: Arc<Node>,
}

impl Tokens for Doors {
    fn caller(&self, token: &str) -> Option<Caller> {
        self.token.caller(token).or_else(|| {
            let (account, state) = self.node.session(token)?;
            Some(Caller { name: state.name.clone(), account: Some(account), admin: state.admin })
        })
    }
}

/// Serves until SIGTERM or SIGINT.
pub fn run(arguments: ServeArguments) -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_from_env("SWITCHBACK_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,sled=warn,actix_server=warn"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(std::io::stderr().is_terminal());
    let log = log.with_writer(std::io::stderr);
    if arguments.log_json {
        log.json().init();
    } else {
        log.init();
    }
    actix_web::rt::System::new().block_on(serve(arguments))
}

async fn serve(arguments: ServeArguments) -> anyhow::Result<()> {
    let directory = DataDir::open(&arguments.data)?;
    let token = directory.admin_token()?;
    let options =
        NodeOptions { simulate: arguments.simulate, agent_netns: arguments.agent_netns, ..NodeOptions::default() };
    let node = Arc::new(Node::open(&directory, &options)?);
    let doors = Doors { token: FixedTokens::new([(token, "admin")]), node: node.clone() };
    let gateway = Gateway::new(node.clone(), Arc::new(doors));
    let listening =
        switchback_gateway::serve(Options { listen: arguments.listen, ..Options::default() }, gateway.clone())
            .await
            .with_context(|| format!("listen on {}", arguments.listen))?;
    for address in &listening.addresses {
        tracing::info!(%address, data = %arguments.data.display(), position = node.journal().durable(), "ready");
    }
    let handle = listening.server.handle();
    let stop = async {
        let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            _ = term.recv() => {}
            interrupted = tokio::signal::ctrl_c() => interrupted?,
        }
        gateway.end_streams();
        handle.stop(true).await;
        Ok::<(), std::io::Error>(())
    };
    let (served, stopped) = tokio::join!(listening.server, stop);
    served.and(stopped).context("serve")?;
    if let Some(node) = Arc::into_inner(node) {
        node.close();
    }
    tracing::info!("stopped");
    Ok(())
}
