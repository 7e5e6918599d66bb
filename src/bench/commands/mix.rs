//! A mix of commands as an orchestrator sends them: VMs come, change, stop, start and go, and some of what they stand
//! on is changed meanwhile.

use super::{
    Turn,
    client::{Client, Failed},
    site::Site,
};
use anyhow::Context;
use serde_json::{Value, json};
use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};
use switchback_bus::Wait;

/// What one client does of its own.
struct Life {
    client: Client,
    networks: Vec<String>,
    wait: Wait,
    number: usize,
    made: usize,
    random: u64,
    /// Its VMs, the one that was left alone the longest first.
    vms: VecDeque<(String, Power)>,
    times: Vec<Duration>,
    refused: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Power {
    On,
    Off,
}

/// Runs the mix with so many clients, each of which begins with `own` VMs.
pub(super) async fn run(site: &Site, clients: usize, seconds: f64, own: usize, wait: Wait) -> anyhow::Result<Turn> {
    let mut lives: Vec<Life> = (0..clients).map(|number| Life::new(site, number, wait)).collect();
    let begin = lives.iter_mut().map(|life| life.begin(own));
    futures_util::future::try_join_all(begin).await?;
    let began = Instant::now();
    let deadline = began + Duration::from_secs_f64(seconds);
    let tasks: Vec<_> = lives.into_iter().map(|life| tokio::spawn(life.live(deadline))).collect();
    let (mut times, mut refused) = (Vec::new(), 0);
    for task in tasks {
        let life = task.await??;
        times.extend(life.times);
        refused += life.refused;
    }
    Ok(Turn { times, took: began.elapsed(), refused })
}

impl Life {
    fn new(site: &Site, number: usize, wait: Wait) -> Life {
        Life {
            client: site.client.numbered(number),
            networks: site.networks.clone(),
            wait,
            number,
            made: 0,
            random: number as u64 * 2 + 1,
            vms: VecDeque::new(),
            times: Vec::new(),
            refused: 0,
        }
    }

    fn dice(&mut self, sides: usize) -> usize {
        self.random = self.random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (self.random >> 33) as usize % sides
    }

    async fn begin(&mut self, own: usize) -> anyhow::Result<()> {
        let wait = std::mem::replace(&mut self.wait, Wait::Applied);
        for _ in 0..own {
            self.create().await?;
        }
        self.wait = wait;
        self.times.clear();
        anyhow::ensure!(self.refused == 0, "a VM could not be made");
        Ok(())
    }

    async fn live(mut self, deadline: Instant) -> anyhow::Result<Life> {
        // One at least, however late a busy machine lets it begin.
        while self.times.is_empty() || Instant::now() < deadline {
            let dice = self.dice(100);
            if dice < 30 {
                self.create().await?;
                continue;
            }
            let Some((vm, power)) = self.vms.pop_front() else { continue };
            let mut after = Some(power);
            let done = match (dice, power) {
                (30..50, _) => {
                    after = None;
                    self.send("DestroyVmInstance", json!({"uuid": vm})).await?
                }
                (50..70, Power::On) => {
                    after = Some(Power::Off);
                    self.send("StopVmInstance", json!({"uuid": vm})).await?
                }
                (50..70, Power::Off) => {
                    after = Some(Power::On);
                    self.send("StartVmInstance", json!({"uuid": vm})).await?
                }
                (70..85, _) => {
                    let description = format!("touched by client {} after {}", self.number, self.made);
                    self.send("UpdateVmInstance", json!({"uuid": vm, "description": description})).await?
                }
                (85..95, _) => {
                    let tag = format!("owner::{}", self.made);
                    let tag = json!({"resourceType": "VmInstanceVO", "resourceUuid": vm, "tag": tag});
                    self.send("CreateUserTag", tag).await?
                }
                _ => {
                    let network = self.dice(self.networks.len());
                    let l3 = json!({"uuid": self.networks[network], "description": format!("by {}", self.number)});
                    self.send("UpdateL3Network", l3).await?
                }
            };
            if !done {
                self.vms.push_back((vm, power));
            } else if let Some(power) = after {
                self.vms.push_back((vm, power));
            }
        }
        Ok(self)
    }

    async fn create(&mut self) -> anyhow::Result<()> {
        self.made += 1;
        let network = self.dice(self.networks.len());
        let name = format!("vm-{}-{}", self.number, self.made);
        let began = Instant::now();
        let vm = json!({"name": name, "l3NetworkUuids": [self.networks[network]]});
        let made = self.client.send("CreateVmInstance", vm, self.wait).await.context("create a VM")?;
        self.times.push(began.elapsed());
        self.vms.push_back((made.uuid.context("a VM without uuid")?, Power::On));
        Ok(())
    }

    /// Whether it was done. A VM whose last operation is still under way refuses the next: that is no failure.
    async fn send(&mut self, name: &str, parameters: Value) -> anyhow::Result<bool> {
        let began = Instant::now();
        match self.client.send(name, parameters, self.wait).await {
            Ok(_) => {
                self.times.push(began.elapsed());
                Ok(true)
            }
            Err(Failed::Conflict) => {
                self.refused += 1;
                Ok(false)
            }
            Err(failed) => Err(failed).context(name.to_string()),
        }
    }
}
