//! The lab's internet: a web server that answers with the address of its peer.

use anyhow::Context;
use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

/// Serves until it is killed.
pub fn serve(listen: SocketAddr) -> anyhow::Result<()> {
    let listener = TcpListener::bind(listen).with_context(|| format!("listen on {listen}"))?;
    for connection in listener.incoming().flatten() {
        std::thread::spawn(move || {
            if let Err(error) = answer(&connection) {
                eprintln!("a connection failed: {error:#}");
            }
        });
    }
    Ok(())
}

fn answer(mut connection: &TcpStream) -> anyhow::Result<()> {
    connection.set_read_timeout(Some(Duration::from_secs(5)))?;
    let peer = connection.peer_addr()?.ip();
    let mut request = BufReader::new(connection);
    let mut line = String::new();
    // The head ends with an empty line.
    while request.read_line(&mut line)? > 2 {
        line.clear();
    }
    let body = format!("{peer}\n");
    write!(
        connection,
        "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )?;
    Ok(())
}
