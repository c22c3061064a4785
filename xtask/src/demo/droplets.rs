//! The second act: the list comes from a provider and names droplets by a tag.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{
    api::{Api, CLUSTER, DROPLET, RULES, TAG},
    hosts::{self, API, APP4, APP6, DB, Host, WORKER},
    measure::{Client, TRY, first_answer},
    screen::{command, milliseconds, output, say, step},
    servers, signals,
    story::{SERVER4, SERVER6, Story},
};

/// Longer than a round of the provider takes on a busy machine, with several failures behind.
const PATIENCE: Duration = Duration::from_secs(30);

/// Time for which the API is down: several rounds.
const OUTAGE: Duration = Duration::from_secs(4);

/// The delays of the second act, each from before the account was changed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delays {
    /// To the start of the first try that was answered.
    pub(super) tagged: Duration,
    /// To the sending of the first query that was not answered, see `Cut`.
    pub(super) untagged: Duration,
    /// Time for which the API was down.
    pub(super) outage: Duration,
    /// From before it came back to the start of the first try that was answered, of a droplet
    /// that got the tag meanwhile.
    pub(super) recovered: Duration,
}

impl Story<'_> {
    /// Tells it.
    pub(super) fn second_act(&mut self) -> Result<Delays> {
        let mut api = self.provider().context("step 12")?;
        let tagged = self.tagged(&mut api).context("step 13")?;
        let untagged = self.untagged(&mut api).context("step 14")?;
        let mut client = Client::start(APP4, self.server).context("step 15")?;
        let outage = self.outage(&mut api, &mut client).context("step 15")?;
        let recovered = self.recovery(&mut api, &mut client).context("step 16")?;
        Ok(Delays { tagged, untagged, outage, recovered })
    }

    fn provider(&mut self) -> Result<Api> {
        step(12, "The list moves to DigitalOcean, where it names droplets by a tag")?;
        hosts::join(&[API, WORKER])?;
        let api = Api::start(self.site, self.programs)?;
        let droplet = |host: Host, tag: &str| {
            format!("{:<9} {:<27} a droplet {tag} the tag {TAG}", host.name, host.describe())
        };
        say(&format!(
            "{:<9} {:<27} speaks DigitalOcean's API (dbfw's tests have it), over HTTPS\n{}\n{}\n{}",
            API.name,
            API.describe(),
            droplet(WORKER, "without"),
            droplet(APP4, "with"),
            droplet(APP6, "with"),
        ))?;
        say(&format!(
            "There, the trusted sources of the cluster orders are: {}.\n\
             The agent asks every second, which takes more requests than DigitalOcean's\n\
             5000 an hour. Without `poll` it is every 15 seconds, within them:",
            RULES.join(", ")
        ))?;
        let config = servers::configure_api(self.site)?;
        command(DB.name, &["cat", "dbfw.toml"])?;
        output(&config)?;
        let done = self.show(&["reload"])?;
        ensure!(done.status.success(), "`dbfw reload` failed ({})", done.status);
        self.await_list("ok")?;
        signals::wait("the tag to be resolved", PATIENCE, || {
            let sources = servers::json(self.site, self.programs, "sources")?;
            let known = |source: &Value| source["source"] == RULES[0] && source["state"] == "ok";
            let known = sources["sources"].as_array().is_some_and(|all| all.iter().any(known));
            Ok(known.then_some(()))
        })?;
        say("The same prefixes are in force, and the tag stands for its droplets' addresses:")?;
        self.show(&["sources"])?;
        self.query_works(APP4, SERVER4)?;
        self.query_works(APP6, SERVER6)?;
        self.query_times_out(WORKER, SERVER4)?;
        Ok(api)
    }

    fn tagged(&mut self, api: &mut Api) -> Result<Duration> {
        step(13, "A droplet gets the tag, and is let in")?;
        let began = api.tell(&format!("tag {DROPLET} {TAG}"))?;
        let answered = first_answer(WORKER, self.server)?;
        let took = answered.saturating_duration_since(began);
        say(&format!(
            "A new connection of worker is answered {} later, measured as in step 9\n\
             ({} ms a try). Up to a second of that is the time until the agent asks again.",
            milliseconds(took),
            TRY.as_millis()
        ))?;
        self.query_works(WORKER, SERVER4)?;
        Ok(took)
    }

    fn untagged(&mut self, api: &mut Api) -> Result<Duration> {
        step(14, "It loses the tag while it has a connection open, and is cut")?;
        let mut client = Client::start(WORKER, self.server)?;
        signals::pause(Duration::from_millis(500))?;
        let (answered, sent) = (client.answered(), client.sent());
        ensure!(answered > 0, "{sent} queries were sent and none was answered");
        let began = api.tell(&format!("untag {DROPLET} {TAG}"))?;
        let cut = client.await_cut(began)?;
        say(&format!(
            "The first packet is dropped {} later, measured to the\n\
             {}. The history says which source let go of what:",
            milliseconds(cut.took),
            cut.until(),
        ))?;
        let done = self.show(&["history", "--limit", "1"])?;
        ensure!(
            done.stdout.contains(RULES[0]),
            "the last entry of the history is not about {}",
            RULES[0]
        );
        self.query_times_out(WORKER, SERVER4)?;
        Ok(cut.took)
    }

    fn outage(&mut self, api: &mut Api, client: &mut Client) -> Result<Duration> {
        step(15, "The API goes down, and nothing changes")?;
        say("app4 has a connection open and sends a query on it every millisecond.")?;
        let began = api.tell("down")?;
        // What happens to the account meanwhile, nobody can know.
        api.tell(&format!("tag {DROPLET} {TAG}"))?;
        self.await_list("stale")?;
        self.show(&["status"])?;
        self.query_works(APP6, SERVER6)?;
        self.query_times_out(WORKER, SERVER4)?;
        signals::pause(OUTAGE.saturating_sub(began.elapsed()))?;
        client.await_answers()?;
        say(&format!(
            "After {:.1} s without the API, all {} queries of app4 are answered, and worker, which\n\
             has the tag again, is not let in: what was last known holds.",
            began.elapsed().as_secs_f64(),
            client.sent(),
        ))?;
        Ok(began.elapsed())
    }

    fn recovery(&mut self, api: &mut Api, client: &mut Client) -> Result<Duration> {
        step(16, "It comes back, and needs nobody's hand")?;
        let began = api.tell("up")?;
        let answered = first_answer(WORKER, self.server)?;
        let took = answered.saturating_duration_since(began);
        client.await_answers()?;
        say(&format!(
            "A new connection of worker is answered {} later: after failures the agent\n\
             asks less often. app4's connection went on all the time.",
            milliseconds(took)
        ))?;
        self.await_list("ok")?;
        let done = self.show(&["status"])?;
        ensure!(done.status.success(), "`dbfw status` does not say protected ({})", done.status);
        Ok(took)
    }

    /// Waits until the status says that the provider's list is in this state.
    fn await_list(&mut self, state: &str) -> Result<()> {
        let name = format!("digitalocean:{CLUSTER}");
        signals::wait(&format!("the list to be {state}"), PATIENCE, || {
            let status = servers::status(self.site, self.programs)?;
            let list = &status["databases"][0]["provider"];
            Ok((list["name"] == *name && list["state"] == state).then_some(()))
        })
    }
}
