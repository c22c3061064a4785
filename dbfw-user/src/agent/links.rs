//! Keeping the covered interfaces attached, and knowing that they are.

use std::collections::BTreeSet;

use super::state::Agent;
use crate::{
    config::Interfaces,
    datapath::{Interface, interfaces},
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
        for interface in self.interfaces.clone() {
            if self.covers(&interface) && self.datapath.attachment(interface.index).is_none() {
                self.attach(&interface);
            }
        }
        let covered: BTreeSet<&str> = self
            .interfaces
            .iter()
            .filter(|interface| interface.is_covered_by(&self.config.agent.interfaces))
            .map(|interface| interface.name.as_str())
            .collect();
        self.attach_errors.retain(|name, _| covered.contains(name.as_str()));
        self.update_exempt();
    }

    fn attach(&mut self, interface: &Interface) {
        match self.datapath.attach(interface, self.config.agent.attach) {
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

    /// Whether the configuration names this interface.
    pub(super) fn covers(&self, interface: &Interface) -> bool {
        interface.is_covered_by(&self.config.agent.interfaces)
    }

    /// Detaches from interfaces the configuration does not name any more.
    pub(super) fn leave_others(&mut self) {
        let kept: BTreeSet<u32> = self
            .interfaces
            .iter()
            .filter(|interface| self.covers(interface))
            .map(|interface| interface.index)
            .collect();
        match self.datapath.detach_others(|attachment| kept.contains(&attachment.index)) {
            Ok(gone) => {
                for interface in gone {
                    tracing::info!(%interface, "detached: the configuration does not name it any more");
                }
            }
            Err(error) => tracing::error!(%error, "cannot detach"),
        }
    }

    /// Attaches anew what is attached by a hook the configuration does not name any more.
    pub(super) fn follow_attach(&mut self) {
        let attach = self.config.agent.attach;
        for interface in self.interfaces.clone() {
            match self.datapath.change_mode(&interface, attach) {
                Ok(true) => tracing::info!(interface = %interface.name, "attached by another hook"),
                Ok(false) => {}
                Err(error) => tracing::error!("{error}"),
            }
        }
    }

    /// Tells the backstop which interfaces it lets through.
    pub(super) fn update_exempt(&mut self) {
        let patterns = &self.config.agent.exempt_interfaces;
        let exempt: Vec<u32> = self
            .interfaces
            .iter()
            .filter(|interface| patterns.iter().any(|pattern| pattern.matches(&interface.name)))
            .map(|interface| interface.index)
            .collect();
        if self.exempt.as_ref() == Some(&exempt) {
            return;
        }
        if exempt.len() > dbfw_common::MAX_EXEMPT {
            tracing::warn!(
                matching = exempt.len(),
                limit = dbfw_common::MAX_EXEMPT,
                "more exempt interfaces than the backstop can hold: the rest is not exempt"
            );
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
        self.health.set_ready(self.protection());
    }

    /// Interfaces that the configuration names and no program fits. One that is named and is
    /// not there is no problem: nothing comes in by it, and it is attached when it comes.
    fn unfit_interfaces(&self) -> impl Iterator<Item = String> {
        let named = self.config.agent.interfaces.exact_names();
        self.interfaces
            .iter()
            .filter(move |interface| {
                interface.layer.is_none() && named.iter().any(|name| *name == interface.name)
            })
            .map(|interface| {
                format!(
                    "{}: no program fits this kind of link; take it out of agent.interfaces",
                    interface.name
                )
            })
    }

    /// Removes what another ABI left pinned, once this one protects.
    pub(super) fn retire_others(&mut self) {
        if self.protection().is_ok()
            && let Err(error) = self.datapath.retire_others()
        {
            tracing::warn!(%error, "cannot remove the pins of another version");
        }
    }

    /// Whether everything covered is enforced as configured; else the most serious reason.
    pub(super) fn protection(&self) -> Result<(), String> {
        self.protection_problems().into_iter().next().map_or(Ok(()), Err)
    }

    /// What stands against "protected", most serious first.
    pub(super) fn protection_problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.detached {
            problems.push(
                "detached by the operator: the ports are open; dbfw reload attaches again"
                    .to_owned(),
            );
            return problems;
        }
        if let Err(error) = self.datapath.check_programs() {
            problems.push(error);
        }
        problems.extend(self.list_error.clone());
        problems.extend(self.attach_errors.values().cloned());
        problems.extend(self.unfit_interfaces());
        if self.datapath.attachments().is_empty() && self.attach_errors.is_empty() {
            problems.push(match &self.config.agent.interfaces {
                Interfaces::Auto => {
                    "no interface has hardware behind it: name them in agent.interfaces".to_owned()
                }
                Interfaces::Matching(patterns) => format!(
                    "no interface matches {}: see ip link",
                    patterns.iter().map(glob::Pattern::as_str).collect::<Vec<_>>().join(", ")
                ),
            });
        }
        problems.extend(self.backstop_error.clone());
        problems.extend(
            self.apply_error
                .as_ref()
                .map(|error| format!("the last change is not in force: {error}")),
        );
        problems
    }
}
