//! The agent's own part of `dbfw status` and the metrics.

use super::{configuration::Standing, state::Agent};
use crate::{
    control::wire::{self, AgentStatus, BackstopStatus, InterfaceMode, InterfaceStatus, Status},
    datapath::{HookMode, Layer},
    metrics,
    protection::Protection,
    readers::{
        scrape::scrape,
        status::{self, View},
    },
};

impl Agent {
    /// The maps and the policy in force, as the readers take them.
    pub(super) fn view(&self) -> View<'_> {
        let program = self.datapath.attachments().first().map_or_else(
            || HookMode::Native.program(Layer::Ethernet),
            |attachment| attachment.mode.program(attachment.layer),
        );
        View {
            reader: &self.reader,
            policy: &self.policy,
            slots: &self.slots,
            program,
            held: Some(self.datapath.held()),
            sizes: Some(&self.sizes),
        }
    }

    /// `dbfw status`.
    pub(super) fn status(&self) -> Status {
        let protection = self.protection();
        let mut problems = protection.problems();
        for database in &self.config.databases {
            problems.extend(self.database_problems(database));
        }
        problems.extend(self.history.trouble());
        problems.extend(self.snapshot_error.clone());
        problems.extend(self.standing.iter().cloned());
        problems.extend(self.own.trouble().map(str::to_owned));
        let databases = match status::databases(&self.view()) {
            Ok(databases) => databases,
            Err(error) => {
                problems.push(error.to_string());
                Vec::new()
            }
        };
        Status {
            version: crate::version().to_owned(),
            protected: protection.state() == wire::Protection::Yes,
            protection: protection.state(),
            problems,
            agent: Some(self.agent_status()),
            interfaces: self.interface_status(&protection),
            backstop: self.config.agent.backstop.then(|| self.backstop_status()),
            accounts: self.account_status(),
            databases: databases
                .into_iter()
                .map(|mut database| {
                    database.drops_per_second =
                        self.rates.per_second(&database.name, std::time::Instant::now());
                    self.add_sources(&mut database);
                    database
                })
                .collect(),
        }
    }

    /// Whether the configuration in force is what its files said when they were last read.
    fn config_ok(&self) -> bool {
        *self.files.standing() == Standing::Current
    }

    fn agent_status(&self) -> AgentStatus {
        AgentStatus {
            pid: std::process::id(),
            started_at: self.started_at,
            ready: self.health.ready().is_ok(),
            detached: self.detached,
            generation: self.generation,
            config_ok: self.config_ok(),
        }
    }

    fn interface_status(&self, protection: &Protection) -> Vec<InterfaceStatus> {
        let attached = self.datapath.attachments().iter().map(|attachment| InterfaceStatus {
            name: attachment.interface.clone(),
            ifindex: attachment.index,
            mode: attachment.mode.into(),
            healthy: true,
            detail: attachment.detail.clone(),
        });
        let failed = self.attach_errors.iter().map(|(name, error)| InterfaceStatus {
            name: name.clone(),
            ifindex: self.interfaces.iter().find(|i| i.name == *name).map_or(0, |i| i.index),
            mode: InterfaceMode::None,
            healthy: false,
            detail: Some(error.clone()),
        });
        let unfiltered = protection.degradations().iter().filter_map(status::unfiltered);
        let below = self.filtered_below().map(status::filtered_below);
        attached.chain(failed).chain(unfiltered).chain(below).collect()
    }

    fn backstop_status(&self) -> BackstopStatus {
        let error = self.datapath.check_backstop().err();
        BackstopStatus {
            healthy: error.is_none(),
            exempt: self
                .exempt
                .iter()
                .flatten()
                .filter_map(|index| self.interface_name(*index))
                .collect(),
            detail: self.backstop_error.clone().or(error),
        }
    }

    /// The metrics, read now.
    pub(super) fn scrape(&self) -> String {
        let protection = self.protection();
        let interfaces = self.interface_status(&protection);
        let mut scrape = scrape(&self.view(), interfaces, self.sync.clone(), self.config_ok());
        scrape.protection = protection.state();
        scrape.providers = self.provider_scrape();
        scrape.sources = self.source_scrape();
        scrape.history_errors = self.history.errors();
        metrics::render(&scrape).unwrap_or_default()
    }
}
