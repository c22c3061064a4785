//! Keeping the covered interfaces attached, and knowing that they are.

use std::collections::BTreeSet;

use super::{run::in_a_line, start::status, state::Agent};
use crate::{
    datapath::{
        FirstPlace, Gap, HookMode, Interface, KernelVersion,
        hook::{Choice, Site, overlong},
        interfaces,
    },
    protection::{Coverage, Degradation, Failure, Protection},
};

impl Agent {
    /// Looks at the interfaces and attaches to covered ones that have no attachment, before
    /// they are up if the kernel told of them in time.
    pub(super) async fn look_at_interfaces(&mut self) {
        match interfaces::list(&self.netlink).await {
            Ok(interfaces) => {
                self.interfaces = interfaces;
                self.list_error = None;
            }
            Err(error) => {
                self.list_error = Some(format!("the interfaces cannot be listed: {error}"));
                tracing::warn!(%error, "cannot list the interfaces");
                for (interface, why) in self.datapath.check_attachments() {
                    tracing::error!(%interface, "the attachment was lost: {why}");
                }
                return;
            }
        }
        if self.detached {
            return;
        }
        self.let_go_of_lost();
        self.follow_names();
        self.follow_choices();
        let coverage = self.coverage();
        for interface in self.interfaces.clone() {
            if coverage.covers(interface.index)
                && self.datapath.attachment(interface.index).is_none()
            {
                self.attach(&interface);
            }
        }
        let covered: BTreeSet<&str> = self
            .interfaces
            .iter()
            .filter(|interface| coverage.covers(interface.index))
            .map(|interface| interface.name.as_str())
            .collect();
        self.attach_errors.retain(|name, _| covered.contains(name.as_str()));
        self.keep_first();
        self.update_exempt();
    }

    /// Takes back the first place where somebody attached a program.
    fn keep_first(&mut self) {
        let mut preceded = BTreeSet::new();
        for (interface, place) in self.datapath.keep_first() {
            match place {
                FirstPlace::Held => {}
                FirstPlace::TakenBack => tracing::warn!(
                    %interface,
                    "{interface}: the programs at the TCX hook changed; ours was attached before \
                     all others again"
                ),
                FirstPlace::GivenUp => {
                    preceded.insert(interface);
                }
                FirstPlace::Refused(error) => {
                    if !self.preceded.contains(&interface) {
                        tracing::error!(%interface, "{interface}: cannot attach before all others: {error}");
                    }
                    preceded.insert(interface);
                }
            }
        }
        self.preceded = preceded;
    }

    /// By which modes a covered interface may be filtered, as it is now.
    pub(super) fn choice(&self, interface: &Interface) -> Choice {
        let coverage = self.coverage();
        let site = Site {
            present: &self.interfaces,
            covers: &|index| coverage.covers(index),
            attach: self.config.agent.attach,
            has_tcx: self.datapath.has_tcx(),
            kernel: KernelVersion::running(),
        };
        let now = self.datapath.attachment(interface.index).map(|attachment| attachment.mode);
        Choice::of(interface, now, &site)
    }

    fn attach(&mut self, interface: &Interface) {
        let Choice::Modes { modes, why } = self.choice(interface) else {
            self.attach_errors.remove(&interface.name);
            return;
        };
        match self.datapath.attach(interface, &modes, why.as_ref()) {
            Ok(()) => {
                self.attach_errors.remove(&interface.name);
                if let Some(attachment) = self.datapath.attachment(interface.index) {
                    tracing::info!(
                        interface = %interface.name,
                        mode = attachment.mode.as_str(),
                        detail = attachment.detail.as_deref(),
                        "attached"
                    );
                }
            }
            Err(error) => {
                let error = error.to_string();
                if self.attach_errors.get(&interface.name) != Some(&error) {
                    tracing::error!("{error}");
                }
                self.attach_errors.insert(interface.name.clone(), error);
            }
        }
    }

    /// A renamed interface stays attached, whatever the globs say of its new name: a reload
    /// decides about that.
    fn follow_names(&mut self) {
        if let Err(error) = self.datapath.follow_names(&self.interfaces) {
            tracing::warn!(%error, "cannot rename a pin");
        }
    }

    /// Lets go of attachments that do not hold any more.
    fn let_go_of_lost(&mut self) {
        for (attachment, why) in self.datapath.check_interfaces(&self.interfaces) {
            let interface = &attachment.interface;
            if self.interfaces.iter().any(|here| here.index == attachment.index) {
                tracing::error!(%interface, "the attachment was lost and is made anew: {why}");
            } else {
                tracing::info!(%interface, "detached: the interface is gone");
            }
        }
    }

    /// The interfaces that the configuration covers.
    pub(super) fn coverage(&self) -> Coverage {
        Coverage::of(&self.interfaces, &self.config.agent)
    }

    /// Detaches from interfaces the configuration does not name any more.
    pub(super) fn leave_others(&mut self) {
        let coverage = self.coverage();
        match self.datapath.detach_others(|attachment| coverage.covers(attachment.index)) {
            Ok(gone) => {
                for interface in gone {
                    tracing::info!(%interface, "detached: the configuration does not name it any more");
                }
            }
            Err(error) => tracing::error!(%error, "cannot detach"),
        }
    }

    /// Tries anew what could not be attached by another hook.
    pub(super) fn forget_refused_moves(&mut self) {
        self.refused_moves.clear();
    }

    /// Attaches by another hook what should not be attached by the one it has: the
    /// configuration, the MTU or what the interface is made of changed.
    pub(super) fn follow_choices(&mut self) {
        let coverage = self.coverage();
        for interface in self.interfaces.clone() {
            let Some(attachment) = self.datapath.attachment(interface.index) else { continue };
            let was = attachment.mode;
            if !coverage.covers(interface.index) {
                continue;
            }
            match self.choice(&interface) {
                choice if choice.allows(was) => {
                    self.refused_moves.remove(&interface.index);
                }
                Choice::Below => self.leave_to_below(&interface),
                Choice::Modes { modes, why } => {
                    if self.refused_moves.get(&interface.index) == Some(&modes) {
                        continue;
                    }
                    let why = why.as_ref();
                    match self.datapath.change_mode(&interface, &modes, why) {
                        Ok(Some(gap)) => self.tell_moved(&interface, was, gap),
                        Ok(None) => {}
                        Err(error) => {
                            tracing::error!("{error}");
                            self.refused_moves.insert(interface.index, modes);
                        }
                    }
                }
            }
        }
    }

    fn tell_moved(&self, interface: &Interface, was: HookMode, gap: Gap) {
        let Some(attachment) = self.datapath.attachment(interface.index) else { return };
        let (name, was, mode) = (&interface.name, was.as_str(), attachment.mode.as_str());
        let detail = attachment.detail.as_deref().unwrap_or("as configured");
        match gap {
            Gap::None => tracing::info!(
                interface = %name,
                "{name}: attached by {mode}, then detached from {was}; every packet was judged \
                 ({detail})"
            ),
            Gap::Backstop => tracing::warn!(
                interface = %name,
                "{name}: attached by {mode} after it was detached from {was}; for as long as a \
                 system call takes, only the backstop judged its packets ({detail})"
            ),
        }
    }

    fn leave_to_below(&mut self, interface: &Interface) {
        match self.datapath.detach_others(|attachment| attachment.index != interface.index) {
            Ok(_) => tracing::info!(
                interface = %interface.name,
                "{}: detached: the interfaces below it are filtered", interface.name
            ),
            Err(error) => tracing::error!(%error, "cannot detach"),
        }
    }

    /// Tells the backstop which interfaces it lets through.
    pub(super) fn update_exempt(&mut self) {
        let exempt = self.coverage().exempt().to_vec();
        if self.exempt.as_ref() == Some(&exempt) {
            return;
        }
        match self.datapath.set_exempt(&exempt) {
            Ok(()) => self.exempt = Some(exempt),
            Err(error) => tracing::error!(%error, "cannot set the exempt interfaces"),
        }
    }

    /// Attaches or detaches the backstop as configured.
    pub(super) fn attach_backstop(&mut self) {
        if self.detached {
            return;
        }
        if !self.config.agent.backstop {
            self.backstop_error = None;
            if let Err(error) = self.datapath.detach_backstop() {
                tracing::error!(%error, "cannot detach the backstop");
            }
            return;
        }
        if self.datapath.has_backstop() && self.datapath.check_backstop().is_ok() {
            self.backstop_error = None;
            return;
        }
        match self.datapath.attach_backstop() {
            Ok(()) => self.backstop_error = None,
            Err(error) => {
                if self.backstop_error.as_ref() != Some(&error) {
                    tracing::error!("{error}");
                }
                self.backstop_error = Some(error);
            }
        }
    }

    /// Looks for somebody else's socket lookup programs: at start, because it takes
    /// CAP_NET_ADMIN.
    pub(super) fn look_beside_backstop(&mut self) {
        match self.datapath.beside_backstop() {
            Ok(programs) => self.beside_backstop = programs,
            Err(error) => {
                tracing::warn!(%error, "cannot tell whether somebody else's program stands beside the backstop");
            }
        }
    }

    /// Reads everything back from the kernel, repairs what does not hold, and says so.
    pub(super) async fn verify(&mut self) {
        if !self.detached {
            self.look_at_interfaces().await;
            if let Err(why) = self.datapath.check_backstop()
                && self.config.agent.backstop
                && self.datapath.has_backstop()
            {
                tracing::error!("the backstop was lost and is attached anew: {why}");
            }
            self.attach_backstop();
            match self.datapath.repair_pins() {
                Ok(repaired) if !repaired.is_empty() => {
                    tracing::error!(
                        pins = repaired.join(", "),
                        "pins were gone or not ours, and are there again"
                    );
                }
                Ok(_) => {}
                Err(error) => tracing::error!(%error, "cannot repair the pins"),
            }
        }
        let protection = self.protection();
        self.tell_degraded(&protection);
        self.health.set_ready(protection.ready());
    }

    /// Logs what is degraded since the last time, and what is no more.
    fn tell_degraded(&mut self, protection: &Protection) {
        let (begun, ended) = self.told_degraded.changes(protection.degradations());
        for degradation in &begun {
            tracing::warn!("degraded: {degradation}");
        }
        for degradation in &ended {
            tracing::info!("degraded no more: {degradation}");
        }
        if !(begun.is_empty() && ended.is_empty()) && self.health.ready().is_ok() {
            status(&in_a_line(protection));
        }
    }

    /// Removes what another ABI left pinned, once this one protects.
    pub(super) fn retire_others(&mut self) {
        if self.protection().ready().is_ok()
            && let Err(error) = self.datapath.retire_others()
        {
            tracing::warn!(%error, "cannot remove the pins of another version");
        }
    }

    /// Whether what the configuration asks for is in force.
    pub(super) fn protection(&self) -> Protection {
        let coverage = self.coverage();
        let mut degradations = self.agent_degradations();
        degradations.extend_from_slice(coverage.degradations());
        Protection::of(self.failures(&coverage), degradations)
    }

    /// The state of protection, with its problems, most serious first.
    fn failures(&self, coverage: &Coverage) -> Vec<Failure> {
        if self.detached {
            return vec![Failure::Detached];
        }
        let mut failures = Vec::new();
        failures.extend(self.datapath.check_programs().err().map(Failure::Programs));
        failures.extend(self.list_error.clone().map(Failure::Interfaces));
        failures.extend(self.attach_errors.values().cloned().map(Failure::Attach));
        let backstop = self.config.agent.backstop && self.backstop_error.is_none();
        if self.datapath.attachments().is_empty() && self.attach_errors.is_empty() {
            failures.extend(coverage.nothing_covered(&self.config.agent.interfaces, backstop));
        }
        failures.extend(self.backstop_error.clone().map(Failure::Backstop));
        failures.extend(self.apply_error.clone().map(Failure::Change));
        failures
    }

    /// Degradations besides those of named interfaces, most serious first.
    fn agent_degradations(&self) -> Vec<Degradation> {
        let beside = self.config.agent.backstop && !self.beside_backstop.is_empty();
        let beside =
            beside.then(|| Degradation::BesideBackstop { programs: self.beside_backstop.clone() });
        let own = self.files.degradation().into_iter().chain(beside);
        let preceded = self
            .preceded
            .iter()
            .map(|interface| Degradation::ForeignBefore { interface: interface.clone() });
        own.chain(preceded).chain(self.overlong()).collect()
    }

    /// Interfaces whose MTU is larger than the forced native mode carries.
    fn overlong(&self) -> impl Iterator<Item = Degradation> {
        let kernel = KernelVersion::running();
        self.interfaces.iter().filter_map(move |interface| {
            let attachment = self.datapath.attachment(interface.index)?;
            let too_large = overlong(interface, kernel)?;
            (attachment.mode == HookMode::Native).then(|| Degradation::MtuTooLarge {
                interface: interface.name.clone(),
                mode: attachment.mode,
                driver: too_large.driver,
                mtu: interface.mtu,
                largest: too_large.largest,
            })
        })
    }

    /// Covered interfaces that need no attachment, because those below them are filtered.
    pub(super) fn filtered_below(&self) -> impl Iterator<Item = &Interface> {
        let coverage = self.coverage();
        self.interfaces.iter().filter(move |interface| {
            coverage.covers(interface.index)
                && self.datapath.attachment(interface.index).is_none()
                && self.choice(interface) == Choice::Below
        })
    }
}
