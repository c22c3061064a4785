//! The steps of the demo, and what each must show: the first act, and the
//! way through both.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use super::{
    hosts::{self, APP4, APP6, DB, Host, STRANGER},
    measure::{Client, TRY, first_answer},
    program::{self, Done, Programs},
    screen::{self, command, milliseconds, output, say, step},
    servers, signals,
    site::Site,
};

pub(super) const SERVER4: &str = "192.0.2.1";
pub(super) const SERVER6: &str = "2001:db8::1";

const LIST: &str = "\
# Who may reach orders: one address, range or prefix a line.
192.0.2.10       # app4
2001:db8::10     # app6
198.51.100.0/24  # the office
";

const QUERY: &str = "select inet_client_addr() as client, count(*) as orders from orders";

/// The shortest that psql knows.
const PSQL_TIMEOUT: (&str, &str) = ("PGCONNECT_TIMEOUT", "2");

const SCRAPE: &str = "curl -s http://127.0.0.1:9787/metrics | \
    grep -E '^dbfw_(allowed|dropped)_packets_total.* [1-9]'";

/// The line of the list that is taken out and put back.
fn list_without_app4() -> String {
    LIST.lines().filter(|line| !line.contains("app4")).flat_map(|line| [line, "\n"]).collect()
}

/// Tells it.
pub(super) fn tell(site: &mut Site, programs: &Programs) -> Result<()> {
    let began = Instant::now();
    introduce(programs)?;
    let mut story = Story { site, programs, server: SocketAddr::new(SERVER4.parse()?, 5432) };
    story.network().context("step 1")?;
    story.unprotected().context("step 2")?;
    let ready = story.agent().context("step 3")?;
    story.trusted().context("step 4")?;
    let refused = story.stranger().context("step 5")?;
    story.status().context("step 6")?;
    story.explain().context("step 7")?;
    let mut client = Client::start(APP4, story.server).context("step 8")?;
    let cut = story.removal(&mut client).context("step 8")?;
    let (back, goes_on) = story.return_of_the_source(&mut client).context("step 9")?;
    drop(client);
    let before = story.crash().context("step 10")?;
    let after = story.scrape(before).context("step 11")?;
    let delays = story.second_act()?;

    screen::line("What was shown\n")?;
    say(&format!(
        "trusted clients run queries over IPv4 and IPv6            yes\n\
         the stranger times out over IPv4 and IPv6                 yes, {refused} packets dropped\n\
         agent started to protection read back from the kernel     {}\n\
         source removed: file renamed to first dropped packet      {}\n\
         source added back: file renamed to first answered packet  {}\n\
         the open connection goes on, nothing lost, after          {}\n\
         agent killed: still filtering, counters kept              yes, {before} drops and then {after}\n\
         droplet tagged to first answered packet, at poll = 1s     {}\n\
         tag taken away to first dropped packet                    {}\n\
         API down: nobody cut, nobody let in                       {:.1} s\n\
         API back to first answered packet of a droplet tagged     {}\n\
         all of it took                                            {:.0} s",
        milliseconds(ready),
        milliseconds(cut),
        milliseconds(back),
        milliseconds(goes_on),
        milliseconds(delays.tagged),
        milliseconds(delays.untagged),
        delays.outage.as_secs_f64(),
        milliseconds(delays.recovered),
        began.elapsed().as_secs_f64(),
    ))
}

fn introduce(programs: &Programs) -> Result<()> {
    let mut version = super::command(&programs.postgres);
    let postgres = program::succeed(version.arg("--version"))?;
    screen::line(&format!(
        "\ndbfw demo: a real PostgreSQL, protected where packets enter its host\n\n\
         dbfw      {}\n\
         postgres  {}\n\n\
         Hosts are network namespaces. A line such as `app4# psql ...` is a command on one:\n\
         nsenter --net={} psql ...\n\
         with {}={} and DBFW_CONFIG set to the configuration below.\n",
        programs.dbfw.display(),
        postgres.trim(),
        APP4.path().display(),
        PSQL_TIMEOUT.0,
        PSQL_TIMEOUT.1,
    ))
}

pub(super) struct Story<'a> {
    pub(super) site: &'a mut Site,
    pub(super) programs: &'a Programs,
    pub(super) server: SocketAddr,
}

impl Story<'_> {
    fn network(&mut self) -> Result<()> {
        step(1, "Four hosts on one network, and PostgreSQL on the first")?;
        self.site.make_directory()?;
        hosts::build()?;
        hosts::join(&[DB, APP4, APP6, STRANGER])?;
        servers::start_postgres(self.site, self.programs)?;
        let roles = [
            (DB, "PostgreSQL on port 5432, with a table of 1000 orders"),
            (APP4, "an application, over IPv4"),
            (APP6, "an application, over IPv6"),
            (STRANGER, "nobody we know"),
        ];
        let lines =
            roles.map(|(host, role)| format!("{:<9} {:<27} {role}", host.name, host.describe()));
        say(&lines.join("\n"))
    }

    fn unprotected(&self) -> Result<()> {
        step(2, "Without dbfw, the stranger gets in")?;
        self.query_works(STRANGER, SERVER4)
    }

    fn agent(&mut self) -> Result<Duration> {
        step(3, "The agent, with a configuration of ten lines and a list of trusted sources")?;
        let config = servers::configure(self.site)?;
        servers::replace_list(self.site, LIST)?;
        command(DB.name, &["cat", "dbfw.toml"])?;
        output(&config)?;
        command(DB.name, &["cat", "orders.list"])?;
        output(LIST)?;
        command(DB.name, &["dbfw", "run", "--config", "dbfw.toml"])?;
        let ready = servers::start_agent(self.site, self.programs)?;
        output(&format!("ready after {}: read back from the kernel", milliseconds(ready)))?;
        Ok(ready)
    }

    fn trusted(&self) -> Result<()> {
        step(4, "Trusted clients run a query")?;
        self.query_works(APP4, SERVER4)?;
        self.query_works(APP6, SERVER6)
    }

    fn stranger(&self) -> Result<u64> {
        step(5, "The stranger gets no answer")?;
        self.query_times_out(STRANGER, SERVER4)?;
        self.query_times_out(STRANGER, SERVER6)?;
        let dropped = servers::dropped(self.site, self.programs)?;
        ensure!(dropped > 0, "the stranger timed out and the drop counters stand at 0");
        say(&format!("{dropped} of its packets were dropped."))?;
        Ok(dropped)
    }

    fn status(&self) -> Result<()> {
        step(6, "Am I protected?")?;
        let done = self.show(&["status"])?;
        ensure!(done.status.success(), "`dbfw status` does not say protected ({})", done.status);
        Ok(())
    }

    fn explain(&self) -> Result<()> {
        step(7, "Why is a client let in, or not? The loaded program is asked with a packet")?;
        for (address, is_trusted) in
            [("192.0.2.10", true), ("2001:db8::10", true), ("192.0.2.66", false)]
        {
            let code = self.show(&["explain", address])?.status.code();
            ensure!(
                code == Some(i32::from(!is_trusted)),
                "`dbfw explain {address}` ended with {code:?}"
            );
        }
        Ok(())
    }

    fn removal(&mut self, client: &mut Client) -> Result<Duration> {
        step(8, "A source is removed while it has a connection open")?;
        let before = servers::dropped(self.site, self.programs)?;
        signals::pause(Duration::from_millis(500))?;
        let (answered, sent) = (client.answered(), client.sent());
        ensure!(answered > 0, "{sent} queries were sent and none was answered");
        say(&format!(
            "app4 opens a connection and sends `select 1` on it every millisecond.\n\
             {sent} queries sent, {answered} answered, and it goes on."
        ))?;
        say("Now a list without app4 is renamed over the old one:")?;
        let began = servers::replace_list(self.site, &list_without_app4())?;
        command(DB.name, &["mv", "orders.list.new", "orders.list"])?;
        let cut = client.await_cut(began)?;
        say(&format!("The first packet is dropped {} later.", milliseconds(cut.took)))?;
        let unanswered = client.sent().saturating_sub(client.answered());
        let dropped = servers::dropped(self.site, self.programs)?.saturating_sub(before);
        ensure!(dropped > 0, "the connection fell silent and no drop was counted");
        say(&format!(
            "Measured at the client: from just before the rename to the {}.\n\
             The first query without an answer was sent {} after the last that got an answer. Of the\n\
             {unanswered} queries from there on, sent during a second, none was answered;\n\
             {dropped} packets were dropped and counted.",
            cut.until(),
            milliseconds(cut.gap),
        ))?;
        Ok(cut.took)
    }

    fn return_of_the_source(&mut self, client: &mut Client) -> Result<(Duration, Duration)> {
        step(9, "The source is added back")?;
        let began = servers::replace_list(self.site, LIST)?;
        command(DB.name, &["mv", "orders.list.new", "orders.list"])?;
        let answered = first_answer(APP4, self.server)?;
        let back = answered.saturating_duration_since(began);
        say(&format!("A new connection is answered {} later.", milliseconds(back)))?;
        say(&format!(
            "Measured at the client: it tries to connect, {} ms a try; from just before the\n\
             rename to the start of the first try that was answered.",
            TRY.as_millis()
        ))?;
        client.await_answers()?;
        let goes_on = began.elapsed();
        say(&format!(
            "The connection that was cut goes on after {}, when TCP sends again: all {}\n\
             queries are answered now.",
            milliseconds(goes_on),
            client.sent()
        ))?;
        self.query_works(APP4, SERVER4)?;
        Ok((back, goes_on))
    }

    fn crash(&mut self) -> Result<u64> {
        step(10, "The agent is killed; the filter stays")?;
        let pid = self.site.kill("agent")?;
        command(DB.name, &["kill", "-KILL", &pid.to_string()])?;
        self.show(&["status"])?;
        let status = servers::status(self.site, self.programs)?;
        ensure!(status["agent"].is_null(), "the status does not say that the agent is gone");
        ensure!(status["protected"] == true, "the status says that protection is gone too");
        let before = servers::dropped(self.site, self.programs)?;
        self.query_works(APP4, SERVER4)?;
        self.query_works(APP6, SERVER6)?;
        self.query_times_out(STRANGER, SERVER4)?;
        let after = servers::dropped(self.site, self.programs)?;
        ensure!(after > before, "nothing was counted while the agent was gone");
        Ok(after)
    }

    fn scrape(&mut self, before: u64) -> Result<u64> {
        step(11, "The agent again, and the counters as Prometheus scrapes them")?;
        command(DB.name, &["dbfw", "run", "--config", "dbfw.toml"])?;
        let ready = servers::start_agent(self.site, self.programs)?;
        output(&format!("ready after {}: it took over what was pinned", milliseconds(ready)))?;
        screen::typed(DB.name, SCRAPE)?;
        let metrics = program::succeed(DB.command("sh").args(["-c", SCRAPE]))?;
        output(&metrics)?;
        let after = servers::sum_of_dropped(&metrics);
        ensure!(
            after >= before,
            "the counters went back: {after} dropped packets, and {before} before the restart"
        );
        Ok(after)
    }

    pub(super) fn query_works(&self, host: Host, server: &str) -> Result<()> {
        let done = self.query(host, server)?;
        if !done.status.success() {
            bail!("{} cannot run a query, and should", host.name);
        }
        Ok(())
    }

    pub(super) fn query_times_out(&self, host: Host, server: &str) -> Result<()> {
        let done = self.query(host, server)?;
        if done.status.success() {
            bail!("{} ran a query, and should not", host.name);
        }
        ensure!(done.stderr.contains("timeout expired"), "{} did not time out", host.name);
        Ok(())
    }

    fn query(&self, host: Host, server: &str) -> Result<Done> {
        let words = ["-h", server, "-U", "postgres", "-c", QUERY];
        command(host.name, &[&["psql"], &words[..]].concat())?;
        let mut psql = host.command(&self.programs.psql);
        let done = program::finish(psql.args(words).env(PSQL_TIMEOUT.0, PSQL_TIMEOUT.1))?;
        output(&format!("{}{}", done.stdout, done.stderr))?;
        Ok(done)
    }

    /// Runs and shows a `dbfw` command.
    pub(super) fn show(&self, words: &[&str]) -> Result<Done> {
        command(DB.name, &[&["dbfw"], words].concat())?;
        let done = servers::dbfw(self.site, self.programs, words)?;
        output(&format!("{}{}", done.stdout, done.stderr))?;
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_loses_one_source() {
        let without = list_without_app4();
        assert_eq!(without.lines().count() + 1, LIST.lines().count());
        assert!(without.ends_with('\n') && !without.contains("192.0.2.10"));
    }
}
