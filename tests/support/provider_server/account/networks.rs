//! VPCs and apps.

use dbfw_wire::digitalocean::{App, AppSpec, AppVpc, DedicatedIp, EgressIp, Vpc};

use super::Account;

impl Account {
    /// Adds a VPC; returns its id.
    pub fn add_vpc(&mut self, name: &str, range: &str) -> String {
        let id = self.uuid();
        self.vpcs.push(Vpc { id: id.clone(), name: name.to_owned(), ip_range: range.to_owned() });
        id
    }

    /// Id of the VPC where new machines and all clusters are; empty if there is none.
    pub fn default_vpc(&self) -> &str {
        self.vpcs.first().map(|vpc| vpc.id.as_str()).unwrap_or_default()
    }

    /// Adds an app with assigned dedicated addresses and addresses it leaves its VPC by;
    /// returns its id. With neither, nothing says where its connections come from.
    pub fn add_app(&mut self, name: &str, dedicated: &[&str], egress: &[&str]) -> String {
        let id = self.uuid();
        let dedicated_ips = dedicated
            .iter()
            .map(|ip| DedicatedIp {
                ip: (*ip).to_owned(),
                id: self.uuid(),
                status: "ASSIGNED".to_owned(),
            })
            .collect();
        let vpc = (!egress.is_empty()).then(|| AppVpc {
            id: self.default_vpc().to_owned(),
            egress_ips: egress.iter().map(|ip| EgressIp { ip: (*ip).to_owned() }).collect(),
        });
        let spec = AppSpec { name: name.to_owned() };
        self.apps.push(App { id: id.clone(), spec, dedicated_ips, vpc });
        id
    }
}
