//! An appliance goes to another host: what its agent does there, and what the agent does that it leaves.
//!
//! ```text
//!  the host before    Pack ──► serves on ── Pack ──► serves on ── Leave ──► unplugged ──────────────────► removed
//!  the other host           └► Arrive ──► Prepared └► topped up          └► Settle ──► Serving ──► its own
//! ```
//!
//! The two agents do not speak with each other: the server brings the baggage. What the documents say last holds: an
//! appliance that is no longer said to go is plugged in again, one that is no longer said to come is removed, and one that
//! has come is like any other.
//!
//! **Invariant:** the stage is on disk before it is so, and only a step plugs in or unplugs while the documents speak of a journey.

use super::{
    HostEngine, Site,
    appliances::{self, Home},
    record::{MadeAppliance, Travel, TravelStage},
    succession::{self, Answer, announce, count, failed, give_leases, leases},
};
use crate::{
    bootstrap::IDENTITY,
    check,
    document::problem,
    kernel::{KernelError, Known, LinkChange, ProcessId, Tracked},
    router::{CHANGES, EPOCH, LAST_GOOD},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use switchback_appliance::{
    AgentProblem, AgentProblemCode, ApplianceConfig, Baggage, Journey, PlugConfig, Succession, SuccessionReport,
    SuccessionStage, SuccessionStep,
};
use switchback_events::RouterId;

/// The files that an agent begins with.
const FILES: [&str; 3] = [CHANGES, LAST_GOOD, EPOCH];

/// What the agent knows of a router while it takes a step.
struct Traveller<'a> {
    site: &'a Site<'a>,
    router: RouterId,
    /// As the document has it.
    wanted: Option<ApplianceConfig>,
    made: Option<MadeAppliance>,
    order: &'a Succession,
}

type Note<'a> = &'a mut dyn FnMut(Option<&MadeAppliance>) -> Result<(), AgentProblem>;

impl HostEngine {
    /// Carries out a step of a replacement on another host.
    pub(super) fn travel(&self, router: RouterId, order: &Succession) -> Answer {
        let state = &mut *self.state.lock();
        let site = self.site().map_err(failed)?;
        let mut traveller = Traveller {
            site: &site,
            router,
            wanted: state.record.sections.appliances.get(&router).cloned(),
            made: state.record.made.appliances.get(&router).cloned(),
            order,
        };
        if let Some(digest) = &order.digest
            && !state.record.made.binaries.contains(digest)
        {
            let detail = format!("no binary with digest `{digest}` was put in place");
            return Err(problem(AgentProblemCode::Invalid, detail));
        }
        let known = state.packed.entry(router).or_default();
        let record = &mut state.record;
        let mut note = |made: Option<&MadeAppliance>| {
            super::set(&mut record.made.appliances, router, made.cloned());
            record.write(site.kernel, &site.settings.state_dir).map_err(failed)
        };
        let answer = match order.step {
            SuccessionStep::Pack => {
                known.clear();
                traveller.pack(known, &mut note)
            }
            SuccessionStep::Leave => traveller.leave(known, &mut note),
            SuccessionStep::Arrive => traveller.arrive(&mut note),
            SuccessionStep::Settle => traveller.settle(&mut note),
            _ => traveller.go_back(&mut note),
        };
        if order.step == SuccessionStep::GoBack {
            state.packed.remove(&router);
        }
        answer
    }
}

impl<'a> Traveller<'a> {
    /// The appliance that is here, to go.
    fn going(&self) -> Result<MadeAppliance, AgentProblem> {
        if self.wanted.as_ref().and_then(|config| config.journey) != Some(Journey::Away) {
            return Err(failed(format!("the document does not say that router {} goes", self.router)));
        }
        let here = |made: &&MadeAppliance| match &made.travel {
            None => true,
            Some(travel) => travel.stage == TravelStage::Left && travel.replacement == self.order.replacement,
        };
        let missing = || problem(AgentProblemCode::WrongRouter, format!("router {} is not on this host", self.router));
        self.made.as_ref().filter(here).cloned().ok_or_else(missing)
    }

    fn pack(&mut self, known: &mut Known, note: Note<'_>) -> Answer {
        let mut made = self.going()?;
        // A replacement on this host that nobody came to see the end of.
        succession::settle(self.site, self.router, &mut made, &mut |made| note(Some(made)))?;
        let home = self.home(&made);
        let connections = self.site.kernel.connections(&home.namespace).map_err(failed)?;
        known.extend(connections.iter().map(|(original, _)| original.clone()));
        let mut baggage = self.baggage(&home, &connections).map_err(failed)?;
        for name in FILES {
            if let Some(text) = self.site.kernel.read(&home.files.join(name)).map_err(failed)? {
                baggage.files.insert(name.to_string(), text);
            }
        }
        Ok(SuccessionReport { baggage: Some(baggage), ..SuccessionReport::default() })
    }

    fn leave(&mut self, known: &Known, note: Note<'_>) -> Answer {
        let mut made = self.going()?;
        made.travel = Some(Travel {
            replacement: self.order.replacement,
            stage: TravelStage::Left,
            leases: String::new(),
            connections: 0,
        });
        note(Some(&made))?;
        let plugs = made.config.plugs.iter();
        let changes: Vec<LinkChange> = plugs.map(|plug| LinkChange::Release(plug.internal_name.clone())).collect();
        self.site.kernel.change_links(None, &changes).map_err(failed)?;
        let home = self.home(&made);
        let mut connections = self.site.kernel.connections(&home.namespace).map_err(failed)?;
        connections.retain(|(original, _)| !known.contains(original));
        let baggage = self.baggage(&home, &connections).map_err(failed)?;
        Ok(SuccessionReport { baggage: Some(baggage), ..SuccessionReport::default() })
    }

    fn baggage(&self, home: &Home, connections: &[Tracked]) -> Result<Baggage, KernelError> {
        let encoded = |(original, order): &Tracked| (BASE64_STANDARD.encode(original), BASE64_STANDARD.encode(order));
        Ok(Baggage {
            files: Default::default(),
            leases: leases(self.site, home)?,
            connections: connections.iter().map(encoded).collect(),
            neighbours: self.site.kernel.neighbours(&home.namespace)?,
        })
    }

    fn home(&self, made: &MadeAppliance) -> Home {
        Home::of(self.site.settings, self.router, made.second)
    }

    /// The appliance that has come for this replacement, and how far it is.
    fn come(&self) -> Option<(MadeAppliance, Travel)> {
        let made = self.made.clone()?;
        let travel = made.travel.clone()?;
        let lives = self.site.namespaces.contains(&self.home(&made).namespace) && self.site.kernel.alive(&made.process);
        let same = travel.replacement == self.order.replacement;
        (same && lives && matches!(travel.stage, TravelStage::Prepared | TravelStage::Serving))
            .then_some((made, travel))
    }

    fn expected(&self) -> Result<ApplianceConfig, AgentProblem> {
        let expected = self.wanted.as_ref().filter(|config| config.journey == Some(Journey::Here));
        let detail = || failed(format!("the document does not say that router {} comes", self.router));
        expected.map(ApplianceConfig::at_rest).ok_or_else(detail)
    }

    fn brought(&self) -> Result<&'a Baggage, AgentProblem> {
        let missing = || problem(AgentProblemCode::Invalid, "a router that comes brings something along".to_string());
        self.order.baggage.as_ref().ok_or_else(missing)
    }

    fn arrive(&mut self, note: Note<'_>) -> Answer {
        let (config, baggage) = (self.expected()?, self.brought()?);
        check::baggage(baggage, &FILES).map_err(|detail| problem(AgentProblemCode::Invalid, detail))?;
        let (mut made, mut travel) = match self.come() {
            Some((_, travel)) if travel.stage == TravelStage::Serving => {
                return Ok(report(SuccessionStage::Serving, &travel));
            }
            Some((made, travel)) if made.config == config => (made, travel),
            _ => self.make(config, baggage, note)?,
        };
        if travel.leases != baggage.leases {
            self.renew_leases(&mut made, &mut travel, baggage).map_err(failed)?;
        }
        travel.connections += self.take(&made, baggage)?;
        made.travel = Some(travel.clone());
        note(Some(&made))?;
        Ok(report(SuccessionStage::Prepared, &travel))
    }

    /// Makes the appliance, with plugs that are in no bridge, and waits until it is well.
    fn make(
        &mut self,
        config: ApplianceConfig,
        baggage: &Baggage,
        note: Note<'_>,
    ) -> Result<(MadeAppliance, Travel), AgentProblem> {
        if let Some(before) = self.made.take() {
            appliances::tear_down(self.site, self.router, Some(&before)).map_err(failed)?;
        }
        let mut travel = Travel {
            replacement: self.order.replacement,
            stage: TravelStage::Making,
            leases: baggage.leases.clone(),
            connections: 0,
        };
        let mut made = MadeAppliance {
            config,
            process: ProcessId::default(),
            binary: self.order.digest.clone(),
            second: false,
            replacement: 0,
            successor: None,
            travel: Some(travel.clone()),
        };
        note(Some(&made))?;
        match self.bring_up(&made, baggage) {
            Ok(process) => {
                (made.process, travel.stage) = (process, TravelStage::Prepared);
                made.travel = Some(travel.clone());
                note(Some(&made))?;
                Ok((made, travel))
            }
            Err(why) => {
                let left = appliances::tear_down(self.site, self.router, Some(&made)).err();
                note(None)?;
                let left = left.map(|error| format!("; {error}")).unwrap_or_default();
                Err(failed(format!("the appliance on the other host is not well: {why}{left}")))
            }
        }
    }

    fn bring_up(&self, made: &MadeAppliance, baggage: &Baggage) -> Result<ProcessId, String> {
        let (kernel, config, home) = (self.site.kernel, &made.config, self.home(made));
        let text = |error: KernelError| error.to_string();
        check::plugs(&config.plugs)?;
        if !kernel.exists(&home.files.join(IDENTITY)) {
            return Err("no identity yet".to_string());
        }
        let bridges =
            |name: &String| self.site.links.get(name).is_some_and(|link| link.kind.as_deref() == Some("bridge"));
        if let Some(plug) = config.plugs.iter().find(|plug| !bridges(&plug.bridge)) {
            return Err(format!("the host has no bridge `{}`", plug.bridge));
        }
        kernel.add_namespace(&home.namespace).map_err(text)?;
        let mut changes = Vec::new();
        for plug in &config.plugs {
            let name = plug.internal_name.clone();
            changes.push(LinkChange::Delete(name.clone()));
            changes.push(LinkChange::CreatePair {
                name: name.clone(),
                mtu: u32::from(plug.mtu),
                namespace: home.namespace.clone(),
                inside: plug.name.clone(),
                mac: plug.mac,
            });
            changes.push(LinkChange::Up(name));
        }
        kernel.change_links(None, &changes).map_err(text)?;
        let inside = appliances::management_links(&config.management).map_err(|error| error.to_string())?;
        kernel.change_links(Some(&home.namespace), &inside).map_err(text)?;
        for (name, content) in &baggage.files {
            kernel.write(&home.files.join(name), content.as_bytes(), 0o600).map_err(text)?;
        }
        give_leases(self.site, &home, &baggage.leases).map_err(text)?;
        succession::start(self.site, self.router, config, made.binary.as_deref(), &home)
    }

    /// A lease is read when a name server starts, and not later.
    fn renew_leases(&self, made: &mut MadeAppliance, travel: &mut Travel, baggage: &Baggage) -> Result<(), String> {
        let home = self.home(made);
        appliances::end(self.site.kernel, &made.process);
        give_leases(self.site, &home, &baggage.leases).map_err(|error| error.to_string())?;
        made.process = succession::start(self.site, self.router, &made.config, made.binary.as_deref(), &home)?;
        travel.leases = baggage.leases.clone();
        Ok(())
    }

    /// Takes connections and neighbours, and says how many connections were new.
    fn take(&self, made: &MadeAppliance, baggage: &Baggage) -> Result<u64, AgentProblem> {
        let decoded = |text: &String| BASE64_STANDARD.decode(text).ok();
        let tracked: Vec<Tracked> = baggage
            .connections
            .iter()
            .filter_map(|(original, order)| Some((decoded(original)?, decoded(order)?)))
            .collect();
        let (kernel, home) = (self.site.kernel, self.home(made));
        let added = kernel.add_connections(&home.namespace, &tracked, &mut Known::new()).map_err(failed)?;
        // Whoever is asked for while only one of its sides is plugged in does not answer, and is asked again after a second.
        if let Err(error) = kernel.add_neighbours(&home.namespace, &baggage.neighbours) {
            tracing::warn!(router = %self.router, %error, "a router that came knows no neighbours");
        }
        Ok(added as u64)
    }

    fn settle(&mut self, note: Note<'_>) -> Answer {
        let (config, baggage) = (self.expected()?, self.brought()?);
        check::baggage(baggage, &FILES).map_err(|detail| problem(AgentProblemCode::Invalid, detail))?;
        let Some((mut made, mut travel)) = self.come() else {
            return Err(failed(format!("router {} has not arrived", self.router)));
        };
        if travel.stage == TravelStage::Serving {
            return Ok(report(SuccessionStage::Serving, &travel));
        }
        if made.config != config {
            return Err(failed("the nics of the router have changed"));
        }
        travel.connections += self.take(&made, baggage)?;
        travel.stage = TravelStage::Serving;
        made.travel = Some(travel.clone());
        note(Some(&made))?;
        self.site.kernel.change_links(None, &plug_in(&config.plugs)).map_err(failed)?;
        announce(self.site, &self.home(&made));
        if travel.leases != baggage.leases {
            // One was given while it was on its way. Packets go meanwhile.
            self.renew_leases(&mut made, &mut travel, baggage).map_err(failed)?;
            made.travel = Some(travel.clone());
            note(Some(&made))?;
        }
        Ok(report(SuccessionStage::Serving, &travel))
    }

    /// One that left is plugged in again; one that came goes.
    fn go_back(&mut self, note: Note<'_>) -> Answer {
        let Some(mut made) = self.made.take() else { return Ok(SuccessionReport::default()) };
        match made.travel.take().map(|travel| travel.stage) {
            Some(TravelStage::Left) => {
                self.site.kernel.change_links(None, &plug_in(&made.config.plugs)).map_err(failed)?;
                announce(self.site, &self.home(&made));
                note(Some(&made))?;
            }
            Some(_) => {
                appliances::remove(self.site, self.router, &made).map_err(failed)?;
                note(None)?;
            }
            None => {}
        }
        Ok(SuccessionReport::default())
    }
}

fn plug_in(plugs: &[PlugConfig]) -> Vec<LinkChange> {
    plugs.iter().map(|plug| LinkChange::Enslave(plug.internal_name.clone(), plug.bridge.clone())).collect()
}

fn report(stage: SuccessionStage, travel: &Travel) -> SuccessionReport {
    SuccessionReport {
        stage,
        connections: travel.connections,
        leases: count(&travel.leases),
        ..SuccessionReport::default()
    }
}
