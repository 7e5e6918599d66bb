//! Limits of VIPs from the command to the packets that wait.

use crate::{
    harness::{Bench, Vm},
    services::{From, bench},
};
use serde_json::json;
use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    time::{Duration, Instant},
};
use switchback::lab::check;

const MBIT: u64 = 1_000_000;
/// What arrives of what was sent: without headers.
const NET: f64 = 1448.0 / 1514.0;

/// Bits per second that come by a connection once it flows.
fn rate(stream: &mut TcpStream, length: Duration) -> f64 {
    let (began, mut first, mut all, mut block) = (Instant::now(), None, 0_u64, vec![0; 1 << 16]);
    while let Ok(read @ 1..) = stream.read(&mut block) {
        all += read as u64;
        if began.elapsed() < Duration::from_millis(400) {
            continue;
        }
        let (at, before) = *first.get_or_insert((Instant::now(), all));
        if at.elapsed() > length {
            return (all - before) as f64 * 8.0 / at.elapsed().as_secs_f64();
        }
    }
    0.0
}

impl Bench {
    /// A listener in a VM.
    fn listens(&self, vm: &Vm, port: u16) -> TcpListener {
        self.must(|bench| {
            let machine = check::machine(&bench.lab, &vm.uuid)?;
            bench.lab.within_machine(&machine, || TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap())
        })
    }

    /// Bits per second towards a VM from the internet, or from it.
    fn measure(&self, listener: &TcpListener, ip: Ipv4Addr, inbound: bool, length: Duration) -> f64 {
        let to = SocketAddr::from((ip, listener.local_addr().unwrap().port()));
        let client = self.within(From::Internet, || TcpStream::connect_timeout(&to, Duration::from_secs(5)).unwrap());
        let (served, _) = listener.accept().unwrap();
        let (mut from, mut to) = if inbound { (client, served) } else { (served, client) };
        let flood = std::thread::spawn(move || while from.write_all(&[b'x'; 1 << 14]).is_ok() {});
        let rate = rate(&mut to, length);
        // Closed with something unread, it ends the other end too.
        drop(to);
        flood.join().unwrap();
        rate
    }

    /// Within a tenth of the limit: in a longer while where the machine was busy.
    fn keeps_to(&self, listener: &TcpListener, ip: Ipv4Addr, inbound: bool, limit: u64) {
        let limit = limit as f64 * NET;
        let mut measured = Vec::new();
        for length in [1500, 3000, 6000, 12_000] {
            let rate = self.measure(listener, ip, inbound, Duration::from_millis(length));
            if 0.9 * limit < rate && rate < 1.1 * limit {
                return;
            }
            measured.push(rate);
        }
        panic!("inbound {inbound}: {measured:?} of {limit}");
    }
}

#[test]
fn a_vip_is_as_fast_as_it_may_be_each_way() {
    let bench = bench("qos");
    let vm = bench.vm("one", 0);
    let (vip, ip) = bench.vip();
    let limits = json!({"uuid": vip, "inboundBandwidth": 16 * MBIT, "outboundBandwidth": 8 * MBIT});
    bench.ask("SetVipQos", limits);
    bench.made("CreateEip", json!({"name": "eip", "vipUuid": vip, "vmNicUuid": bench.nic(&vm)}));
    let (whole, port) = (bench.listens(&vm, 5001), bench.listens(&vm, 5002));
    bench.keeps_to(&whole, ip, true, 16 * MBIT);
    bench.keeps_to(&whole, ip, false, 8 * MBIT);
    // The reply says that the router has it.
    bench.ask("SetVipQos", json!({"uuid": vip, "port": 5002, "inboundBandwidth": 4 * MBIT}));
    bench.keeps_to(&port, ip, true, 4 * MBIT);
    bench.ask("DeleteVipQos", json!({"uuid": vip}));
    bench.keeps_to(&port, ip, true, 4 * MBIT);
    let free = bench.measure(&whole, ip, true, Duration::from_millis(300));
    assert!(free > 50e6, "a VIP without limits took {free} bit/s");
}
