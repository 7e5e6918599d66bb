//! A second appliance beside a router's first, and the change of places between them.
//!
//! ```text
//!                 Prepare                    TakeOver                      Finish
//!   alone ──► Making ──► Prepared ──► connections copied, plugs ──► Serving ──► Finishing ──► alone, the second
//!     ▲          │           │        swapped in one batch             │
//!     └──────────┴───────────┴──────────── GoBack ─────────────────────┘
//! ```
//!
//! The second has the same document, hardware addresses and addresses as the first; of two ends of a plug with the same hardware
//! address, one is in the bridge. It begins with the leases of the first, and is given its connections before the
//! swap and, those that came meanwhile, after it. Neighbours are told by gratuitous ARP, so that bridges learn the port.
//!
//! **Invariant:** every stage is on disk before it is so. An agent that ends in the middle leaves one of both serving; the
//! one after it goes back from `Making`, leaves `Prepared` and `Serving` as they are, and completes `Finishing`.

use super::{
    HostEngine, Site,
    appliances::{self, Home},
    record::{MadeAppliance, Stage, Successor},
};
use crate::{
    bootstrap::Started,
    document::problem,
    kernel::{KernelError, Known, LinkChange, ProcessId},
    router::{CHANGES, DNSMASQ, EPOCH, HAPROXY, LAST_GOOD, PASSWORDS, last_good},
    services::{dhcp::LEASES, haproxy::OF_A_PROCESS},
};
use std::time::{Duration, Instant};
use switchback_appliance::{
    AgentProblem, AgentProblemCode, ApplianceConfig, PlugConfig, Succession, SuccessionReport, SuccessionStage,
    SuccessionStep,
};
use switchback_events::{Id, Position, RouterId};

/// How long a successor's agent may take to bring everything up.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often a successor whose leases have become old is started again.
const LEASE_TRIES: usize = 3;

/// Whether the appliance is not the one that serves.
pub fn has_changed_places(made: &MadeAppliance) -> bool {
    made.successor.as_ref().is_some_and(|next| matches!(next.stage, Stage::Serving | Stage::Finishing))
}

pub(super) fn failed(detail: impl std::fmt::Display) -> AgentProblem {
    problem(AgentProblemCode::Failed, detail.to_string())
}

impl HostEngine {
    /// Carries out one step of a replacement.
    pub fn succeed(&self, router: RouterId, order: &Succession) -> Result<SuccessionReport, AgentProblem> {
        let travels = {
            let state = self.state.lock();
            let made = state.record.made.appliances.get(&router);
            order.step == SuccessionStep::GoBack && made.is_none_or(|made| made.travel.is_some())
        };
        if travels
            || matches!(
                order.step,
                SuccessionStep::Pack | SuccessionStep::Arrive | SuccessionStep::Leave | SuccessionStep::Settle
            )
        {
            return self.travel(router, order);
        }
        let mut state = self.state.lock();
        let unknown = || problem(AgentProblemCode::WrongRouter, format!("router {router} is not on this host"));
        let mut made = state.record.made.appliances.get(&router).cloned().ok_or_else(unknown)?;
        if let Some(digest) = &order.digest
            && !state.record.made.binaries.contains(digest)
        {
            let detail = format!("no binary with digest `{digest}` was put in place");
            return Err(problem(AgentProblemCode::Invalid, detail));
        }
        let site = self.site().map_err(failed)?;
        let wanted = state.record.sections.appliances.get(&router).map(|config| config.plugs.clone());
        let mut note = |made: &MadeAppliance| {
            state.record.made.appliances.insert(router, made.clone());
            state.record.write(site.kernel, &site.settings.state_dir).map_err(failed)
        };
        match order.step {
            SuccessionStep::Prepare => prepare(&site, router, &mut made, order, &mut note),
            SuccessionStep::TakeOver => {
                if wanted.as_ref() != Some(&made.config.plugs) {
                    return Err(failed("the nics of the router have changed"));
                }
                take_over(&site, router, &mut made, order.replacement, &mut note)
            }
            SuccessionStep::Finish => finish(&site, router, &mut made, order.replacement, &mut note),
            _ => go_back(&site, router, &mut made, &mut note),
        }
    }

    /// Brings replacements that were cut off to where one appliance serves.
    pub(super) fn resume_successions(&self) {
        let mut state = self.state.lock();
        let made = state.record.made.appliances.clone();
        for (router, mut made) in made {
            let Some(stage) = made.successor.as_ref().map(|next| next.stage) else { continue };
            let Ok(site) = self.site() else { return };
            let replacement = made.successor.as_ref().map_or(0, |next| next.replacement);
            let home = Home::of_successor(site.settings, router, made.second);
            let lives = site.namespaces.contains(&home.namespace);
            let mut note = |made: &MadeAppliance| {
                state.record.made.appliances.insert(router, made.clone());
                state.record.write(site.kernel, &site.settings.state_dir).map_err(failed)
            };
            let done = match stage {
                Stage::Serving if lives => swap(&site, router, &made).map(|_| ()).map_err(failed),
                Stage::Prepared if lives => Ok(()),
                Stage::Finishing => finish(&site, router, &mut made, replacement, &mut note).map(|_| ()),
                _ => go_back(&site, router, &mut made, &mut note).map(|_| ()),
            };
            match done {
                Ok(()) => tracing::info!(%router, ?stage, "a replacement was cut off"),
                Err(problem) => tracing::error!(%router, ?stage, %problem, "a replacement was cut off, and stays so"),
            }
        }
    }
}

type Note<'a> = &'a mut dyn FnMut(&MadeAppliance) -> Result<(), AgentProblem>;
pub(super) type Answer = Result<SuccessionReport, AgentProblem>;

fn at(stage: SuccessionStage, made: &MadeAppliance) -> SuccessionReport {
    let report = made.successor.as_ref().map(|next| next.report.clone()).unwrap_or_default();
    SuccessionReport { stage, ..report }
}

fn prepare(site: &Site<'_>, router: RouterId, made: &mut MadeAppliance, order: &Succession, note: Note<'_>) -> Answer {
    if made.replacement == order.replacement {
        return Ok(at(SuccessionStage::Finished, made));
    }
    let own = made.successor.as_ref().is_some_and(|next| next.replacement == order.replacement);
    if own && has_changed_places(made) {
        return Ok(at(SuccessionStage::Serving, made));
    }
    settle(site, router, made, note)?;
    let home = Home::of_successor(site.settings, router, made.second);
    let leases = leases(site, &Home::of(site.settings, router, made.second)).map_err(failed)?;
    made.successor = Some(Successor {
        replacement: order.replacement,
        stage: Stage::Making,
        process: ProcessId::default(),
        binary: order.digest.clone().or(made.binary.clone()),
        report: SuccessionReport { leases: count(&leases), ..SuccessionReport::default() },
        leases,
    });
    note(made)?;
    let done = make(site, router, made, &home);
    match (done, &mut made.successor) {
        (Ok(process), Some(next)) => (next.process, next.stage) = (process, Stage::Prepared),
        (done, _) => {
            let why = done.err().unwrap_or_default();
            let left = discard(site, router, made).err().map(|error| format!("; {error}")).unwrap_or_default();
            made.successor = None;
            note(made)?;
            return Err(failed(format!("the second appliance is not well: {why}{left}")));
        }
    }
    note(made)?;
    Ok(at(SuccessionStage::Prepared, made))
}

/// Ends an earlier replacement, so that one appliance is there.
pub(super) fn settle(
    site: &Site<'_>,
    router: RouterId,
    made: &mut MadeAppliance,
    note: Note<'_>,
) -> Result<(), AgentProblem> {
    if has_changed_places(made) {
        // Nobody came to see whether it serves well. It does serve.
        let earlier = made.successor.as_ref().map_or(0, |next| next.replacement);
        finish(site, router, made, earlier, note)?;
    }
    discard(site, router, made).map_err(failed)
}

/// The host's end of a plug of a successor, until it has its place.
fn spare(plug: &PlugConfig) -> String {
    format!("n{}", &Id::of_name(&plug.internal_name).to_string()[..13])
}

/// Makes a second appliance with plugs that are in no bridge, and waits until it is well.
fn make(site: &Site<'_>, router: RouterId, made: &MadeAppliance, home: &Home) -> Result<ProcessId, String> {
    let kernel = site.kernel;
    let text = |error: KernelError| error.to_string();
    kernel.add_namespace(&home.namespace).map_err(text)?;
    let config = &made.config;
    let mut changes = Vec::new();
    for plug in &config.plugs {
        changes.push(LinkChange::CreatePair {
            name: spare(plug),
            mtu: u32::from(plug.mtu),
            namespace: home.namespace.clone(),
            inside: plug.name.clone(),
            mac: plug.mac,
        });
        changes.push(LinkChange::Up(spare(plug)));
    }
    kernel.change_links(None, &changes).map_err(text)?;
    let inside = appliances::management_links(&config.management).map_err(|error| error.to_string())?;
    kernel.change_links(Some(&home.namespace), &inside).map_err(text)?;
    carry(site, router, &Home::of(site.settings, router, made.second), home).map_err(text)?;
    start(site, router, &made.config, binary(made), home)
}

fn binary(made: &MadeAppliance) -> Option<&str> {
    made.successor.as_ref()?.binary.as_deref()
}

/// Starts the agent of a successor and waits until it says that all is well.
pub(super) fn start(
    site: &Site<'_>,
    router: RouterId,
    config: &ApplianceConfig,
    binary: Option<&str>,
    home: &Home,
) -> Result<ProcessId, String> {
    let process = appliances::start(site, router, home, config, binary)?;
    appliances::wait(site, home, config, &process)?;
    let word = site.kernel.word(&home.files.join(Started::FILE), &process, PATIENCE);
    let started: Started = serde_json::from_str(&word.map_err(|error| error.to_string())?)
        .map_err(|error| format!("what its agent says makes no sense: {error}"))?;
    if !started.unwell.is_empty() {
        return Err(started.unwell.join("; "));
    }
    let wanted = revision(site, home)?;
    if wanted.is_some_and(|wanted| wanted != started.revision) {
        return Err(format!("its agent has revision {} in force, not {}", started.revision, wanted.unwrap_or(0)));
    }
    Ok(process)
}

/// The revision that an appliance was made with, where that can be read.
fn revision(site: &Site<'_>, home: &Home) -> Result<Option<Position>, String> {
    let kept = last_good::read(site.kernel, &home.files).map_err(|error| error.to_string())?;
    Ok(kept.map(|good| good.revision))
}

/// Gives a successor's agent what it is to begin with.
fn carry(site: &Site<'_>, router: RouterId, from: &Home, to: &Home) -> Result<(), KernelError> {
    let kernel = site.kernel;
    forget(site, router, to)?;
    // Changes that are older than the document are passed over; those that are missing could not be found again.
    for name in [CHANGES, LAST_GOOD, EPOCH, PASSWORDS] {
        if let Some(text) = kernel.read(&from.files.join(name))? {
            kernel.write(&to.files.join(name), text.as_bytes(), 0o600)?;
        }
    }
    give_leases(site, to, &leases(site, from)?)?;
    // Certificates, and what was counted.
    let (held, copy) = (from.files.join(HAPROXY), to.files.join(HAPROXY));
    if kernel.exists(&held) {
        kernel.run("cp", &["-a", &held.to_string_lossy(), &copy.to_string_lossy()])?;
        OF_A_PROCESS.iter().try_for_each(|name| kernel.remove(&copy.join(name)))?;
    }
    Ok(())
}

pub(super) fn leases(site: &Site<'_>, home: &Home) -> Result<String, KernelError> {
    Ok(site.kernel.read(&home.files.join(DNSMASQ).join(LEASES))?.unwrap_or_default())
}

pub(super) fn give_leases(site: &Site<'_>, home: &Home, leases: &str) -> Result<(), KernelError> {
    if leases.is_empty() {
        return Ok(());
    }
    site.kernel.write(&home.files.join(DNSMASQ).join(LEASES), leases.as_bytes(), 0o644)
}

/// Lines that are a lease's: one of them is the server's own identifier for IPv6.
pub(super) fn count(leases: &str) -> u64 {
    leases.lines().filter(|line| !line.starts_with("duid ")).count() as u64
}

fn take_over(
    site: &Site<'_>,
    router: RouterId,
    made: &mut MadeAppliance,
    replacement: Position,
    note: Note<'_>,
) -> Answer {
    let home = Home::of_successor(site.settings, router, made.second);
    match &made.successor {
        Some(next) if next.replacement == replacement && next.stage == Stage::Prepared => {}
        Some(next) if next.replacement == replacement && has_changed_places(made) => {
            return Ok(at(SuccessionStage::Serving, made));
        }
        _ => return Err(failed("no second appliance is prepared")),
    }
    renew_leases(site, router, made, &home).map_err(failed)?;
    let own = Home::of(site.settings, router, made.second);
    let mut known = Known::new();
    let mut copied = site.kernel.copy_connections(&own.namespace, &home.namespace, &mut known).map_err(failed)?;
    // Whoever is asked for while only one of its sides is plugged in does not answer, and is asked again after a second.
    if let Err(error) = site.kernel.copy_neighbours(&own.namespace, &home.namespace) {
        tracing::warn!(%router, %error, "a successor knows no neighbours");
    }
    if let Some(next) = &mut made.successor {
        next.stage = Stage::Serving;
    }
    note(made)?;
    let began = Instant::now();
    if let Err(error) = swap(site, router, made) {
        let back = go_back(site, router, made, note).err().map(|error| format!("; {error}")).unwrap_or_default();
        return Err(failed(format!("{error}{back}")));
    }
    let took = began.elapsed();
    // Those that came while the first were copied.
    match site.kernel.copy_connections(&own.namespace, &home.namespace, &mut known) {
        Ok(more) => copied += more,
        Err(error) => tracing::warn!(%router, %error, "the last connections are not copied"),
    }
    if let Some(next) = &mut made.successor {
        next.report.connections = copied as u64;
        next.report.switch_micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    }
    note(made)?;
    Ok(at(SuccessionStage::Serving, made))
}

/// Starts a successor again that was made with leases of before. A lease is read when a name server starts, and not later.
fn renew_leases(site: &Site<'_>, router: RouterId, made: &mut MadeAppliance, home: &Home) -> Result<(), String> {
    for _ in 0..LEASE_TRIES {
        let now = leases(site, &Home::of(site.settings, router, made.second)).map_err(|error| error.to_string())?;
        let Some(next) = made.successor.as_mut().filter(|next| next.leases != now) else { return Ok(()) };
        appliances::end(site.kernel, &next.process);
        give_leases(site, home, &now).map_err(|error| error.to_string())?;
        next.report.leases = count(&now);
        next.leases = now;
        let process = start(site, router, &made.config, binary(made), home)?;
        if let Some(next) = &mut made.successor {
            next.process = process;
        }
    }
    Ok(())
}

/// Puts the plugs of the successor where those of the other one are, in one batch, and tells the neighbours.
fn swap(site: &Site<'_>, router: RouterId, made: &MadeAppliance) -> Result<(), KernelError> {
    let mut changes = Vec::new();
    for plug in &made.config.plugs {
        changes.push(LinkChange::Release(plug.internal_name.clone()));
        changes.push(LinkChange::Enslave(spare(plug), plug.bridge.clone()));
    }
    site.kernel.change_links(None, &changes)?;
    let home = Home::of_successor(site.settings, router, made.second);
    announce(site, &home);
    Ok(())
}

pub(super) fn announce(site: &Site<'_>, home: &Home) {
    if let Err(error) = site.kernel.announce_all(&home.namespace) {
        tracing::warn!(%error, "neighbours are not told that a router has changed its place");
    }
}

/// Removes the first appliance, and gives the second its names.
fn finish(
    site: &Site<'_>,
    router: RouterId,
    made: &mut MadeAppliance,
    replacement: Position,
    note: Note<'_>,
) -> Answer {
    if made.replacement == replacement {
        return Ok(at(SuccessionStage::Finished, made));
    }
    match &mut made.successor {
        Some(next) if next.replacement == replacement && next.stage != Stage::Prepared => next.stage = Stage::Finishing,
        _ => return Err(failed("no second appliance serves")),
    }
    note(made)?;
    let kernel = site.kernel;
    let links = kernel.links().map_err(failed)?;
    let is_there = |name: &String| links.iter().any(|link| link.name == *name);
    for plug in made.config.plugs.iter().filter(|plug| is_there(&spare(plug))) {
        let (spare, usual) = (spare(plug), plug.internal_name.clone());
        kernel.change_links(None, &[LinkChange::Delete(usual.clone())]).map_err(failed)?;
        if kernel.change_links(None, &[LinkChange::RenameUp(spare.clone(), usual.clone())]).is_err() {
            // An older kernel: without the link for a moment.
            let changes = [LinkChange::Rename(spare, usual.clone()), LinkChange::Up(usual)];
            kernel.change_links(None, &changes).map_err(failed)?;
        }
    }
    let (first, next) =
        (Home::of(site.settings, router, made.second), Home::of_successor(site.settings, router, made.second));
    if kernel.namespaces().map_err(failed)?.contains(&next.namespace) {
        kernel.rename_namespace(&next.namespace, &first.namespace).map_err(failed)?;
    }
    announce(site, &first);
    let report = at(SuccessionStage::Finished, made);
    if let Some(next) = made.successor.take() {
        (made.process, made.binary) = (next.process, next.binary);
    }
    (made.second, made.replacement) = (!made.second, replacement);
    note(made)?;
    forget(site, router, &first).map_err(failed)?;
    Ok(report)
}

/// Removes the files of an appliance that is gone; the certificate stays in the first place.
fn forget(site: &Site<'_>, router: RouterId, home: &Home) -> Result<(), KernelError> {
    let first = appliances::directory(&site.settings.state_dir, router);
    if home.files != first {
        return site.kernel.remove(&home.files);
    }
    for name in [LAST_GOOD, CHANGES, EPOCH, PASSWORDS, DNSMASQ, HAPROXY, Started::FILE] {
        site.kernel.remove(&first.join(name))?;
    }
    Ok(())
}

/// Has the first appliance serve again, and removes the second.
fn go_back(site: &Site<'_>, router: RouterId, made: &mut MadeAppliance, note: Note<'_>) -> Answer {
    if made.successor.as_ref().is_some_and(|next| next.stage == Stage::Finishing) {
        return Err(failed("the first appliance is gone"));
    }
    let links = site.kernel.links().map_err(failed)?;
    let mut changes = Vec::new();
    for plug in &made.config.plugs {
        if links.iter().any(|link| link.name == spare(plug)) {
            changes.push(LinkChange::Release(spare(plug)));
        }
        if links.iter().any(|link| link.name == plug.internal_name) {
            changes.push(LinkChange::Enslave(plug.internal_name.clone(), plug.bridge.clone()));
        }
    }
    if has_changed_places(made) {
        site.kernel.change_links(None, &changes).map_err(failed)?;
        announce(site, &Home::of(site.settings, router, made.second));
    }
    discard(site, router, made).map_err(failed)?;
    made.successor = None;
    note(made)?;
    Ok(SuccessionReport::default())
}

/// Removes a second appliance, as far as there is one. Nothing of it is in a bridge, or nothing of the first is wanted.
pub fn discard(site: &Site<'_>, router: RouterId, made: &MadeAppliance) -> Result<(), KernelError> {
    if made.successor.is_none() {
        return Ok(());
    }
    let home = Home::of_successor(site.settings, router, made.second);
    let spares: Vec<LinkChange> = made.config.plugs.iter().map(|plug| LinkChange::Delete(spare(plug))).collect();
    site.kernel.change_links(None, &spares)?;
    site.kernel.remove_namespace(&home.namespace)?;
    forget(site, router, &home)
}
