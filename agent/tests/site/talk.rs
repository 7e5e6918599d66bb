//! Servers and clients in network namespaces: a server says its name and who it thinks asks.

use nix::sched::{CloneFlags, setns};
use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

/// As long as an answer may take: what is refused says so at once, what is dropped takes all of it.
const PATIENCE: Duration = Duration::from_millis(800);

/// Does `work` on a thread of its own in a namespace.
pub fn within<T: Send + 'static>(place: &Path, work: impl FnOnce() -> T + Send + 'static) -> T {
    let place = place.to_path_buf();
    let enter = move || {
        setns(fs::File::open(&place).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
        work()
    };
    std::thread::spawn(enter).join().unwrap()
}

/// Serves TCP and UDP on a port, as long as the test lives.
pub fn serve(place: PathBuf, name: &'static str, port: u16) {
    let (listener, socket) = within(&place, move || {
        let any = SocketAddr::from(([0, 0, 0, 0], port));
        (TcpListener::bind(any).unwrap(), UdpSocket::bind(any).unwrap())
    });
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut stream = stream;
                let said = format!("{name} {}\n", stream.peer_addr().unwrap().ip());
                // Once at the beginning, and again for every line that comes.
                let mut line = [0; 64];
                while stream.write_all(said.as_bytes()).is_ok() && matches!(stream.read(&mut line), Ok(1..)) {}
            });
        }
    });
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(format!("{name} {}\n", peer.ip()).as_bytes(), peer);
        }
    });
}

/// What a TCP server says, or nothing.
pub fn tcp(place: &Path, to: &str) -> Option<String> {
    let mut stream = connect(place, to)?;
    said(&mut stream)
}

/// A connection that stays.
pub fn connect(place: &Path, to: &str) -> Option<TcpStream> {
    let to: SocketAddr = to.parse().unwrap();
    within(place, move || TcpStream::connect_timeout(&to, PATIENCE).ok())
}

/// The next line that comes on a connection, or nothing.
pub fn said(stream: &mut TcpStream) -> Option<String> {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let (mut line, mut byte) = (Vec::new(), [0]);
    while stream.read(&mut byte).ok()? == 1 && byte != *b"\n" {
        line.extend(byte);
    }
    String::from_utf8(line).ok().filter(|line| !line.is_empty())
}

/// Asks again on a connection that stays.
pub fn again(stream: &mut TcpStream) -> Option<String> {
    stream.write_all(b"?\n").ok()?;
    said(stream)
}

/// What a UDP server says, or nothing.
pub fn udp(place: &Path, to: &str) -> Option<String> {
    let to: SocketAddr = to.parse().unwrap();
    within(place, move || {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.connect(to).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        ask(&socket)
    })
}

/// Asks by a socket that stays.
pub fn ask(socket: &UdpSocket) -> Option<String> {
    socket.send(b"?").ok()?;
    let mut buffer = [0; 64];
    let length = socket.recv(&mut buffer).ok()?;
    Some(String::from_utf8_lossy(&buffer[..length]).trim().to_string())
}

/// Begins one connection after the other, until it is to stop, and says how many: each answer must be the `expected` one.
pub fn begin_until(stop: &AtomicBool, to: &str, expected: &str) -> u32 {
    let mut begun = 0;
    while !stop.load(Ordering::Relaxed) {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.connect(to).unwrap();
        // As long as a busy machine may take.
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        assert_eq!(ask(&socket).as_deref(), Some(expected), "connection {begun} to {to}");
        begun += 1;
        std::thread::sleep(Duration::from_millis(1));
    }
    begun
}

/// Takes all that comes on a port, or sends as much as it can: what the first byte says.
pub fn pump(place: &Path, port: u16) {
    let any = SocketAddr::from(([0, 0, 0, 0], port));
    let listener = within(place, move || TcpListener::bind(any).unwrap());
    let serve = |mut stream: TcpStream| {
        let mut said = [0];
        let _ = stream.read_exact(&mut said);
        if said == *b"t" { receive(&mut stream, |_| true) } else { flood(&mut stream) }
    };
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream));
        }
    });
}

fn flood(stream: &mut TcpStream) {
    let block = [b'x'; 1 << 14];
    while stream.write_all(&block).is_ok() {}
}

fn receive(stream: &mut TcpStream, mut more: impl FnMut(u64) -> bool) {
    let (mut block, mut all) = (vec![0; 1 << 16], 0);
    while let Ok(length @ 1..) = stream.read(&mut block) {
        all += length as u64;
        if !more(all) {
            return;
        }
    }
}

/// Bits per second that come by a connection from a pump, once it flows, in a while of this length.
pub fn fetched(place: &Path, to: &str, length: Duration) -> f64 {
    let mut stream = connect(place, to).unwrap();
    stream.write_all(b"f").unwrap();
    measured(&mut stream, length)
}

/// A connection by which as much is sent to a pump as it takes.
pub fn flooded(place: &Path, to: &str) -> TcpStream {
    let mut stream = connect(place, to).unwrap();
    stream.write_all(b"t").unwrap();
    let mut sender = stream.try_clone().unwrap();
    std::thread::spawn(move || flood(&mut sender));
    stream
}

fn measured(stream: &mut TcpStream, length: Duration) -> f64 {
    const FLOWS_AFTER: Duration = Duration::from_millis(400);
    let (began, mut first) = (Instant::now(), None);
    let mut rate = 0.0;
    receive(stream, |bytes| {
        if began.elapsed() < FLOWS_AFTER {
            return true;
        }
        let (at, before) = *first.get_or_insert((Instant::now(), bytes));
        rate = (bytes - before) as f64 * 8.0 / at.elapsed().as_secs_f64().max(0.001);
        at.elapsed() < length
    });
    rate
}
