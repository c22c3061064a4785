use dbfw_core::answers::Cause;
use tokio::sync::oneshot;

use super::{
    fleet::{APP, CLUSTER, Fleet, Site, VPC},
    server::Reply,
};
use crate::worker::{Command, Demand};

#[tokio::test]
async fn tells_what_the_account_has() {
    let site = Site::start(Fleet::small(), Demand::default()).await;
    let ask = async || {
        let (sender, answer) = oneshot::channel();
        site.bench.commands.send(Command::Inventory(sender)).await.unwrap();
        answer.await.unwrap()
    };
    let inventory = ask().await.unwrap();
    let machines: Vec<String> = inventory
        .machines
        .iter()
        .map(|machine| {
            let groups: Vec<_> = machine.groups.iter().map(ToString::to_string).collect();
            let (name, key, prefix) = (&machine.name, &machine.key, machine.prefixes[0]);
            format!("{name} {key} [{}] {prefix}", groups.join(" "))
        })
        .collect();
    assert_eq!(
        machines,
        [
            "web-1 droplet:1 [tag:web] 10.0.0.1/32".to_owned(),
            "web-2 droplet:2 [tag:web tag:two] 10.0.0.2/32".to_owned(),
            format!("web-3 droplet:3 [k8s:{CLUSTER}] 10.0.0.3/32"),
            "web-9 droplet:9 [tag:web] 10.0.0.9/32".to_owned(),
            format!("shop app:{APP} [] 192.0.2.1/32"),
        ]
    );
    let networks: Vec<String> = inventory
        .networks
        .iter()
        .map(|network| format!("{} {} {}", network.name, network.key, network.range))
        .collect();
    assert_eq!(
        networks,
        [
            format!("prod k8s:{CLUSTER} 10.244.0.0/16"),
            format!("default-fra1 vpc:{VPC} 10.116.0.0/20"),
        ]
    );
    // A token that may not see apps is enough; one that may not see droplets is not.
    let fleet = Fleet::small();
    site.server.set(move |asked| match asked.path() {
        "/v2/apps" => Reply::error(403, "forbidden"),
        _ => fleet.answer(asked),
    });
    assert_eq!(ask().await.unwrap().machines.len(), 4);
    site.server.set(|_| Reply::error(403, "forbidden"));
    assert_eq!(ask().await.unwrap_err().cause, Cause::Permission);
}
