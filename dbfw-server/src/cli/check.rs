//! `dbfw-server check`: validates the configuration.

use dbfw_core::toml::Problems;

use super::{
    args::Context,
    exit::Exit,
    output::{error, print, warn},
};
use crate::config::{self, Config, Tls};

/// Says what is wrong, or what the configuration means.
pub(super) fn check(context: &Context) -> anyhow::Result<Exit> {
    let config = match config::load(&context.config) {
        Ok(config) => config,
        Err(Problems(problems)) => {
            problems.iter().for_each(|problem| error(&problem.to_string()));
            return Ok(Exit::BadConfig);
        }
    };
    config.warnings.iter().for_each(|problem| warn(&problem.to_string()));
    print(meaning(&config).as_bytes())?;
    Ok(Exit::Ok)
}

fn meaning(config: &Config) -> String {
    let listen: Vec<String> = config.listen.iter().map(ToString::to_string).collect();
    let tls = match &config.tls {
        Tls::Own => "own certificate authority".to_owned(),
        Tls::Files { cert, .. } => cert.display().to_string(),
        Tls::Off => "off".to_owned(),
    };
    let metrics = config.metrics_listen.map_or_else(|| "off".to_owned(), |it| it.to_string());
    format!(
        "name    {}\nlisten  {}\ntls     {tls}\nstore   {}\nmetrics {metrics}\n",
        config.name,
        listen.join(", "),
        config.store
    )
}
