//! The server is killed under way, and nothing that it acknowledged is lost.

use super::{
    build,
    show::{Demo, chapter, line, millis},
};
use crate::lab::{
    check,
    churn::{Churn, Dice},
    poll::{Deadline, poll_closely},
};
use anyhow::ensure;
use std::time::{Duration, Instant};

pub(super) fn kill_the_server(demo: &mut Demo) -> anyhow::Result<()> {
    chapter("The server is killed with SIGKILL while commands are under way");
    let mut dice = Dice::new(demo.seed);
    let due = 30 + dice.below(60);
    let churn = Churn::start(&demo.api, &format!("demo-{}", demo.seed), 2, &[]);
    poll_closely(&format!("{due} commands to be acknowledged"), Deadline::seconds(60), || {
        let count = churn.acknowledged();
        Ok(if count as u64 >= due { Ok(()) } else { Err(format!("{count}")) })
    })?;
    std::thread::sleep(Duration::from_micros(dice.below(5000)));
    let begun = Instant::now();
    demo.lab.kill_server()?;
    let record = churn.finish()?;
    line(
        begun.elapsed(),
        &format!("killed after {} acknowledged commands (seed {})", record.acknowledged.len(), demo.seed),
        "kill -9 <server>",
    );

    let vm = demo.vms[0].clone();
    let public = vm.eip.unwrap_or(demo.router().public_ip);
    let with = demo.exec(&vm.name, "busybox wget -qO- http://www.example.test/");
    demo.check(
        |_| format!("without a server, {} still reaches the internet as {public}", vm.name),
        &with,
        |demo| check::web_sees(&demo.lab, &vm.uuid, "http://www.example.test/", public),
    )?;
    let restarted = Instant::now();
    demo.lab.start_server()?;
    let ready = restarted.elapsed();
    line(ready, "started again and ready", "switchback serve …");
    demo.figures.push(("server ready again after SIGKILL", format!("{} ms", millis(ready))));

    let count = record.acknowledged.len();
    demo.check(
        |_| format!("all {count} acknowledged commands are in the log, and sent again get the same answer"),
        "switchback audit log --newest",
        |demo| {
            let lost = record.verify(&demo.api)?;
            ensure!(lost.is_empty(), "expected nothing to be lost, found {lost:#?}");
            Ok(())
        },
    )?;
    let l3 = demo.site().guest.l3.clone();
    let router = check::router_connected(&demo.api, &l3)?;
    ensure!(router.uuid == demo.router().uuid, "expected the same router, got {}", router.inventory);
    build::everything_serves(demo)
}
