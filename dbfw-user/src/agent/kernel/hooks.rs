//! The programs' attachments: kept on every covered interface, and read back.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use dbfw_datapath::{
    DatapathError, FirstPlace, Gap, HookMode, Interface, KernelVersion,
    hook::{Choice, HookContext},
    interfaces,
};
use dbfw_wire::control::{BackstopStatus, InterfaceMode, InterfaceStatus};
use rtnetlink::Handle;

use super::{Hooks, Kernel};
use crate::{
    config::{self, AgentConfig, Config, ConfigChange, UnjudgedWays},
    protection::{Attachments, Coverage, Degradation, Failure, Protection, Unjudged},
    readers::{forwarding, offline, status},
};

impl Hooks {
    /// The hooks of the interfaces that there are now.
    ///
    /// # Errors
    /// The interfaces cannot be listed.
    pub(super) async fn new(netlink: Handle) -> Result<Self, rtnetlink::Error> {
        let interfaces = interfaces::list(&netlink).await?;
        Ok(Self {
            netlink,
            interfaces,
            list_error: None,
            attach_errors: BTreeMap::new(),
            refused_moves: BTreeMap::new(),
            preceded: BTreeSet::new(),
            backstop_error: None,
            pins_error: None,
            foreign_lookups: Vec::new(),
            exempt: None,
            detached: false,
        })
    }
}

impl Kernel {
    /// Takes over what an earlier agent attached, and attaches to the covered interfaces.
    ///
    /// # Errors
    /// The pinned links cannot be read.
    pub(in crate::agent) async fn attach(&mut self, config: &AgentConfig) -> anyhow::Result<()> {
        for problem in self.datapath.adopt(&self.hooks.interfaces)? {
            tracing::warn!("a pinned link cannot be taken over: {problem}");
        }
        self.detach_others(config);
        self.follow_choices(config);
        self.verify(config).await;
        self.remove_other_versions(config);
        self.find_foreign_lookups();
        Ok(())
    }

    /// The name of an interface by its index.
    pub(in crate::agent) fn interface_name(&self, index: u32) -> Option<String> {
        let mut interfaces = self.hooks.interfaces.iter();
        interfaces.find(|here| here.index == index).map(|here| here.name.clone())
    }

    /// The names of all interfaces by their indexes.
    pub(in crate::agent) fn interface_names(&self) -> HashMap<u32, &str> {
        self.hooks.interfaces.iter().map(|here| (here.index, &*here.name)).collect()
    }

    /// Looks at the interfaces and attaches to covered ones that have no attachment, before
    /// they are up if the kernel told of them in time.
    pub(in crate::agent) async fn look_at_interfaces(&mut self, config: &AgentConfig) {
        match interfaces::list(&self.hooks.netlink).await {
            Ok(interfaces) => {
                self.hooks.interfaces = interfaces;
                self.hooks.list_error = None;
                self.lasting.follow("the interfaces cannot be listed", Ok::<(), String>(()));
            }
            Err(error) => {
                self.hooks.list_error = Some(format!("the interfaces cannot be listed: {error}"));
                self.lasting.follow("the interfaces cannot be listed", Err(error));
                for (interface, why) in self.datapath.check_attachments() {
                    tracing::error!(
                        name: "attachment_lost",
                        %interface,
                        "the attachment was lost: {why}"
                    );
                }
                return;
            }
        }
        if self.hooks.detached {
            return;
        }
        self.forget_lost();
        self.follow_names();
        self.follow_choices(config);
        let coverage = self.coverage(config);
        for interface in self.hooks.interfaces.clone() {
            if coverage.covers(interface.index)
                && self.datapath.attachment(interface.index).is_none()
            {
                self.attach_to(&interface, config);
            }
        }
        let covered: BTreeSet<&str> = self
            .hooks
            .interfaces
            .iter()
            .filter(|interface| coverage.covers(interface.index))
            .map(|interface| interface.name.as_str())
            .collect();
        self.hooks.attach_errors.retain(|name, _| covered.contains(name.as_str()));
        self.keep_first();
        self.update_exempt(config);
    }

    /// Attaches before all others again where another program was attached before ours.
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
                    if !self.hooks.preceded.contains(&interface) {
                        tracing::error!(%interface, "{interface}: cannot attach before all others: {error}");
                    }
                    preceded.insert(interface);
                }
            }
        }
        self.hooks.preceded = preceded;
    }

    /// The modes by which a covered interface may be filtered, as it is now.
    fn choice(&self, interface: &Interface, config: &AgentConfig) -> Choice {
        let coverage = self.coverage(config);
        let site = HookContext {
            present: &self.hooks.interfaces,
            covers: &|index| coverage.covers(index),
            attach: config.attach,
            has_tcx: self.datapath.has_tcx(),
            kernel: KernelVersion::running(),
        };
        let now = self.datapath.attachment(interface.index).map(|attachment| attachment.mode);
        Choice::of(interface, now, &site)
    }

    fn attach_to(&mut self, interface: &Interface, config: &AgentConfig) {
        let Choice::Modes { modes, why } = self.choice(interface, config) else {
            self.hooks.attach_errors.remove(&interface.name);
            return;
        };
        match self.datapath.attach(interface, &modes, why.as_ref()) {
            Ok(()) => {
                self.hooks.attach_errors.remove(&interface.name);
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
                if self.hooks.attach_errors.get(&interface.name) != Some(&error) {
                    tracing::error!("{error}");
                }
                self.hooks.attach_errors.insert(interface.name.clone(), error);
            }
        }
    }

    /// A renamed interface stays attached, whatever the globs say of its new name: a reload
    /// decides about that.
    fn follow_names(&mut self) {
        let result = self.datapath.follow_names(&self.hooks.interfaces);
        self.lasting.follow("a pin cannot be renamed", result);
    }

    /// Forgets attachments that do not hold any more.
    fn forget_lost(&mut self) {
        for (attachment, why) in self.datapath.check_interfaces(&self.hooks.interfaces) {
            let interface = &attachment.interface;
            if self.hooks.interfaces.iter().any(|here| here.index == attachment.index) {
                tracing::error!(
                    name: "attachment_lost",
                    %interface,
                    "the attachment was lost, attaching again: {why}"
                );
            } else {
                tracing::info!(%interface, "detached: the interface is gone");
            }
        }
    }

    /// The interfaces that the configuration covers.
    pub(in crate::agent) fn coverage(&self, config: &AgentConfig) -> Coverage {
        Coverage::of(&self.hooks.interfaces, config)
    }

    /// The attachments.
    pub(in crate::agent) fn attached(&self) -> Attachments {
        let hooks = self.datapath.attachments().iter().map(|attachment| attachment.index);
        // What cannot be read is said by whoever reads more of the maps.
        let exempt = self.reader.exempt().unwrap_or_default();
        Attachments::new(hooks, self.datapath.check_backstop().is_ok(), exempt)
    }

    /// The interfaces that there are.
    pub(in crate::agent) fn interfaces(&self) -> &[Interface] {
        &self.hooks.interfaces
    }

    /// The interfaces by which packets come in that no program judges.
    pub(in crate::agent) fn unjudged(&self, config: &AgentConfig) -> Vec<Unjudged> {
        let coverage = self.coverage(config);
        let hooks = self.datapath.attachments().iter().map(|attachment| attachment.index);
        // The backstop follows within a second; where it cannot, that is a failure.
        let exempt = coverage.exempt().iter().copied();
        coverage.unjudged(&Attachments::new(hooks, config.backstop, exempt))
    }

    /// The indexes of the interfaces by which packets come in that no program at a hook judges.
    pub(in crate::agent) fn without_hook(&self, config: &AgentConfig) -> BTreeSet<u32> {
        self.coverage(config).without_hook()
    }

    /// The names of the interfaces by which packets that this host passes on meet no program.
    pub(in crate::agent) fn passed_on_unjudged(&self, config: &AgentConfig) -> Vec<String> {
        match forwarding::is_routing_any() {
            true => self.coverage(config).wanted().without_program(&self.hooks.interfaces),
            false => Vec::new(),
        }
    }

    /// The pinned links that an earlier agent left attached.
    pub(in crate::agent) fn attached_before(&self) -> Attachments {
        let here = &self.hooks.interfaces;
        let links = self.reader.links();
        let attached = links.and_then(|links| offline::attachments(&self.reader, &links, here));
        // Where they cannot be read, taking them over says why.
        attached.unwrap_or_default()
    }

    /// The changes from one configuration to another that change who may connect. `attached` is what
    /// was attached with the former, maybe under another name: it stays until the other is followed.
    pub(in crate::agent) fn changes(
        &self,
        before: &Config,
        attached: &Attachments,
        after: &Config,
    ) -> Vec<ConfigChange> {
        let routes = forwarding::is_routing_any();
        let unjudged = |coverage: &Coverage, attached: &Attachments| UnjudgedWays {
            to_this_host: coverage.unjudged_names(attached),
            passed_on: attached.passed_on_unjudged(&self.hooks.interfaces, routes),
        };
        let former = unjudged(&self.coverage(&before.agent), attached);
        let now = self.coverage(&after.agent);
        let now = unjudged(&now, &now.wanted());
        config::changes(before, after, [&former, &now])
    }

    /// Detaches from interfaces that the configuration no longer names.
    fn detach_others(&mut self, config: &AgentConfig) {
        let coverage = self.coverage(config);
        let result = self.datapath.detach_others(|attachment| coverage.covers(attachment.index));
        for interface in result.as_deref().unwrap_or_default() {
            tracing::info!(%interface, "detached: the configuration no longer names it");
        }
        self.lasting.follow("what is not covered stays attached", result.map(drop));
    }

    /// Follows a new configuration, with [`Self::verify`]: it attaches again what the operator
    /// detached, and retries moves to another hook.
    pub(in crate::agent) fn follow_config(&mut self, config: &AgentConfig) {
        self.hooks.detached = false;
        self.hooks.refused_moves.clear();
        self.detach_others(config);
    }

    /// Attaches by another hook what should not be attached by the one it has: the
    /// configuration, the MTU or what the interface is made of changed.
    fn follow_choices(&mut self, config: &AgentConfig) {
        let coverage = self.coverage(config);
        for interface in self.hooks.interfaces.clone() {
            let Some(attachment) = self.datapath.attachment(interface.index) else { continue };
            let was = attachment.mode;
            if !coverage.covers(interface.index) {
                continue;
            }
            match self.choice(&interface, config) {
                choice if choice.allows(was) => {
                    self.hooks.refused_moves.remove(&interface.index);
                }
                Choice::Below => self.detach_upper(&interface),
                Choice::Modes { modes, why } => {
                    if self.hooks.refused_moves.get(&interface.index) == Some(&modes) {
                        continue;
                    }
                    let why = why.as_ref();
                    match self.datapath.change_mode(&interface, &modes, why) {
                        Ok(Some(gap)) => self.log_moved(&interface, was, gap),
                        Ok(None) => {}
                        Err(error) => {
                            tracing::error!("{error}");
                            self.hooks.refused_moves.insert(interface.index, modes);
                        }
                    }
                }
            }
        }
    }

    fn log_moved(&self, interface: &Interface, was: HookMode, gap: Gap) {
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

    /// Detaches an interface whose packets are filtered at the interfaces below it.
    fn detach_upper(&mut self, interface: &Interface) {
        let result = self.datapath.detach_others(|attachment| attachment.index != interface.index);
        if result.is_ok() {
            tracing::info!(
                interface = %interface.name,
                "{}: detached: the interfaces below it are filtered", interface.name
            );
        }
        self.lasting.follow("an interface cannot be left to those below it", result.map(drop));
    }

    /// Tells the backstop which interfaces are exempt.
    fn update_exempt(&mut self, config: &AgentConfig) {
        let exempt = self.coverage(config).exempt().to_vec();
        if self.hooks.exempt.as_ref() == Some(&exempt) {
            return;
        }
        let result = self.datapath.set_exempt(&exempt);
        if result.is_ok() {
            self.hooks.exempt = Some(exempt);
        }
        self.lasting.follow("the exempt interfaces are not those of the configuration", result);
    }

    /// Attaches or detaches the backstop as configured.
    fn attach_backstop(&mut self, config: &AgentConfig) {
        if self.hooks.detached {
            return;
        }
        if !config.backstop {
            self.hooks.backstop_error = None;
            let result = self.datapath.detach_backstop();
            self.lasting.follow("the backstop cannot be detached", result);
            return;
        }
        if self.datapath.has_backstop() && self.datapath.check_backstop().is_ok() {
            self.hooks.backstop_error = None;
            return;
        }
        match self.datapath.attach_backstop() {
            Ok(()) => self.hooks.backstop_error = None,
            Err(error) => {
                if self.hooks.backstop_error.as_ref() != Some(&error) {
                    tracing::error!("{error}");
                }
                self.hooks.backstop_error = Some(error);
            }
        }
    }

    /// Looks for other programs at the socket lookup: at start, because it takes
    /// CAP_NET_ADMIN.
    fn find_foreign_lookups(&mut self) {
        match self.datapath.foreign_lookups() {
            Ok(programs) => self.hooks.foreign_lookups = programs,
            Err(error) => {
                tracing::warn!(%error, "cannot tell whether another program runs beside the backstop");
            }
        }
    }

    /// Reads everything back from the kernel, repairs what does not hold, and says so.
    pub(in crate::agent) async fn verify(&mut self, config: &AgentConfig) {
        if !self.hooks.detached {
            self.look_at_interfaces(config).await;
            if let Err(why) = self.datapath.check_backstop()
                && config.backstop
                && self.datapath.has_backstop()
            {
                tracing::error!("the backstop was lost, attaching again: {why}");
            }
            self.attach_backstop(config);
            self.repair_pins();
        }
    }

    /// Pins again what is pinned no more, and notes what cannot be.
    fn repair_pins(&mut self) {
        let result = self.datapath.repair_pins();
        let seen = match &result {
            Err(error @ DatapathError::NoDescriptor(_)) => Err(error),
            _ => Ok(()),
        };
        self.lasting.follow("nobody would notice that pins are lost", seen);
        let error = match result {
            // As they were when last seen.
            Err(DatapathError::NoDescriptor(_)) => return,
            Ok(repaired) => {
                if !repaired.is_empty() {
                    tracing::error!(
                        pins = repaired.join(", "),
                        "pins were missing or not ours, and are restored"
                    );
                }
                None
            }
            Err(error) => Some(error.to_string()),
        };
        if let Some(error) = &error
            && self.hooks.pins_error.as_ref() != Some(error)
        {
            tracing::error!(%error, "cannot repair the pins: the filter ends with the agent");
        }
        self.hooks.pins_error = error;
    }

    /// Whether the filter goes on when this process has ended.
    ///
    /// # Errors
    /// The reason why the ports are open then.
    pub(in crate::agent) fn check_outlives_agent(&mut self) -> Result<(), String> {
        if self.hooks.detached {
            return Err("dbfw detach was run, and nothing was attached since".to_owned());
        }
        if self.datapath.attachments().is_empty() && !self.datapath.has_backstop() {
            return Err("nothing is attached".to_owned());
        }
        self.repair_pins();
        match &self.hooks.pins_error {
            Some(error) => {
                Err(format!("the pins were lost, and the filter with the agent: {error}"))
            }
            None => Ok(()),
        }
    }

    /// Removes what another ABI left pinned, once this one protects.
    pub(in crate::agent) fn remove_other_versions(&mut self, config: &AgentConfig) {
        if self.protection(config, None).ready().is_ok() {
            let result = self.datapath.remove_other_versions();
            self.lasting.follow("the pins of another version cannot be removed", result);
        }
    }

    /// Whether the configuration is in force. `stale_files` is the degradation by its files.
    pub(in crate::agent) fn protection(
        &self,
        config: &AgentConfig,
        stale_files: Option<Degradation>,
    ) -> Protection {
        let coverage = self.coverage(config);
        let mut degradations: Vec<Degradation> =
            stale_files.into_iter().chain(self.degradations(config)).collect();
        degradations.extend_from_slice(coverage.degradations());
        Protection::of(self.failures(&coverage, config), degradations)
    }

    /// The failures, most serious first.
    fn failures(&self, coverage: &Coverage, config: &AgentConfig) -> Vec<Failure> {
        let hooks = &self.hooks;
        if hooks.detached {
            return vec![Failure::Detached];
        }
        let mut failures = Vec::new();
        failures.extend(self.datapath.check_programs().err().map(Failure::Programs));
        failures.extend(hooks.pins_error.clone().map(Failure::Pins));
        failures.extend(hooks.list_error.clone().map(Failure::InterfaceList));
        failures.extend(hooks.attach_errors.values().cloned().map(Failure::Attach));
        let backstop = config.backstop && hooks.backstop_error.is_none();
        if self.datapath.attachments().is_empty() && hooks.attach_errors.is_empty() {
            failures.extend(coverage.nothing_covered(&config.interfaces, backstop));
        }
        // Looked at now: a document must not contradict itself.
        let lost = config.backstop.then(|| self.datapath.check_backstop().err()).flatten();
        failures.extend(hooks.backstop_error.clone().or(lost).map(Failure::Backstop));
        failures.extend(self.apply_error.clone().map(Failure::Change));
        failures
    }

    /// Degradations besides those of the files and of named interfaces, most serious first.
    fn degradations(&self, config: &AgentConfig) -> impl Iterator<Item = Degradation> {
        let foreign = &self.hooks.foreign_lookups;
        let foreign = (config.backstop && !foreign.is_empty())
            .then(|| Degradation::ForeignLookup { programs: foreign.clone() });
        let preceded = self.hooks.preceded.iter();
        let preceded =
            preceded.map(|interface| Degradation::ForeignBefore { interface: interface.clone() });
        foreign.into_iter().chain(preceded).chain(self.exceeded_mtus())
    }

    /// Interfaces whose MTU is larger than the native mode they have carries.
    fn exceeded_mtus(&self) -> impl Iterator<Item = Degradation> {
        let native = self.hooks.interfaces.iter().filter(|interface| {
            let attachment = self.datapath.attachment(interface.index);
            attachment.is_some_and(|attachment| attachment.mode == HookMode::Native)
        });
        native.filter_map(Degradation::of_native_mtu)
    }

    /// The row of every interface, for `dbfw status` and the metrics.
    pub(in crate::agent) fn interface_status(
        &self,
        config: &AgentConfig,
        protection: &Protection,
    ) -> Vec<InterfaceStatus> {
        let interfaces = &self.hooks.interfaces;
        let attached = self.datapath.attachments().iter().map(|attachment| InterfaceStatus {
            name: attachment.interface.clone(),
            ifindex: attachment.index,
            mode: status::interface_mode(attachment.mode),
            healthy: true,
            detail: attachment.detail.clone(),
        });
        let failed = self.hooks.attach_errors.iter().map(|(name, error)| InterfaceStatus {
            name: name.clone(),
            ifindex: interfaces.iter().find(|here| here.name == *name).map_or(0, |here| here.index),
            mode: InterfaceMode::None,
            healthy: false,
            detail: Some(error.clone()),
        });
        let unfiltered = protection.degradations().iter().filter_map(status::unfiltered);
        let coverage = self.coverage(config);
        let below = interfaces.iter().filter(|interface| {
            coverage.covers(interface.index)
                && self.datapath.attachment(interface.index).is_none()
                && self.choice(interface, config) == Choice::Below
        });
        let below = below.map(status::filtered_below);
        attached.chain(failed).chain(unfiltered).chain(below).collect()
    }

    /// The state of the backstop.
    pub(in crate::agent) fn backstop_status(&self) -> BackstopStatus {
        let error = self.datapath.check_backstop().err();
        let exempt = self.hooks.exempt.iter().flatten();
        BackstopStatus {
            healthy: error.is_none(),
            exempt: exempt.filter_map(|index| self.interface_name(*index)).collect(),
            detail: self.hooks.backstop_error.clone().or(error),
        }
    }
}
