//! What is unusual for a device, in one plain sentence and as evidence.

use std::net::{IpAddr, Ipv6Addr};

use super::{
    super::Evidence,
    Role,
    baseline::{Oddity, Unusual},
    device::Quantity,
    habits::{New, Service},
};
use crate::flow::proto_label;

/// Oddities named in a sentence; the rest stands in the evidence.
const NAMED_MAX: usize = 3;

/// `192.168.1.23, talking to 203.0.113.9, sends 37 times its usual bytes ... and speaks telnet ...`
pub(super) fn sentence(unusual: &Unusual) -> String {
    let (device, peer) = (shown(unusual.device.address), shown(unusual.peer));
    let doing = match unusual.device.role {
        Role::Client => "talking to",
        Role::Server => "answering",
    };
    let mut parts: Vec<String> =
        unusual.oddities.iter().take(NAMED_MAX).map(|oddity| clause(oddity, unusual)).collect();
    let last = parts.pop().unwrap_or_default();
    let joined = if parts.is_empty() { last } else { format!("{} and {last}", parts.join(", ")) };
    format!("{device}, {doing} {peer}, {joined}; judged by {} hours of its own past", unusual.hours)
}

fn clause(oddity: &Oddity, unusual: &Unusual) -> String {
    match oddity {
        Oddity::Much { quantity, value, usual, high, .. } => {
            let times = value / usual.max(unit(*quantity));
            let bound = |text: String| format!("{text}, {times:.0} times what is usual");
            match quantity {
                Quantity::Error => {
                    format!("has a flow unlike its others (reconstruction error {value:.2}, usually at most {high:.2})")
                }
                Quantity::Sent => bound(format!("sends {} in one flow", bytes(*value))),
                Quantity::Received => bound(format!("receives {} in one flow", bytes(*value))),
                Quantity::Duration => bound(format!("keeps one flow for {:.0} minutes", value / 60.0)),
                Quantity::Flows => bound(format!("has {value:.0} flows within an hour")),
                Quantity::Peers => bound(format!("has {value:.0} peers within an hour")),
                Quantity::Services => bound(format!("uses {value:.0} service ports within an hour")),
                Quantity::Unanswered => bound(format!("has {value:.0} unanswered flows within an hour")),
            }
        }
        Oddity::New { new, service } => {
            let port = named(*service);
            let verb = match unusual.device.role {
                Role::Client => "speaks",
                Role::Server => "serves",
            };
            match new {
                New::App(app) => format!("{verb} {} on {port}, which it never did", app.label()),
                New::Port | New::Nothing => format!("{verb} on {port}, which it never did"),
            }
        }
    }
}

/// The least usual value that a multiple is told of.
fn unit(quantity: Quantity) -> f64 {
    match quantity {
        Quantity::Error => 1e-3,
        Quantity::Sent | Quantity::Received => 1.0,
        Quantity::Duration => 1.0,
        Quantity::Flows | Quantity::Peers | Quantity::Services | Quantity::Unanswered => 1.0,
    }
}

pub(super) fn evidence(unusual: &Unusual) -> Vec<Evidence> {
    unusual
        .oddities
        .iter()
        .map(|oddity| match oddity {
            Oddity::Much { quantity, value, low, high, .. } => {
                let (feature, unit) = match quantity {
                    Quantity::Error => ("device_error", "nats"),
                    Quantity::Sent => ("device_sent_bytes", "bytes"),
                    Quantity::Received => ("device_received_bytes", "bytes"),
                    Quantity::Duration => ("device_flow_secs", "s"),
                    Quantity::Flows => ("device_flows_per_hour", "flows"),
                    Quantity::Peers => ("device_peers_per_hour", "hosts"),
                    Quantity::Services => ("device_services_per_hour", "ports"),
                    Quantity::Unanswered => ("device_unanswered_per_hour", "flows"),
                };
                Evidence { feature, value: *value, normal_low: *low, normal_high: *high, unit }
            }
            Oddity::New { service, .. } => Evidence {
                feature: "device_new_service",
                value: f64::from(service.port),
                normal_low: 0.0,
                normal_high: 0.0,
                unit: "port",
            },
        })
        .collect()
}

/// `port 23/tcp`, or the protocol alone where there are no ports.
fn named(service: Service) -> String {
    let proto = proto_label(service.proto).to_ascii_lowercase();
    if service.port == 0 { proto } else { format!("port {}/{proto}", service.port) }
}

/// `443/tcp`, in tables.
pub(super) fn service(service: Service) -> String {
    named(service).trim_start_matches("port ").to_owned()
}

fn bytes(count: f64) -> String {
    let (amount, unit) = match count {
        count if count >= 1e9 => (count / 1e9, "GB"),
        count if count >= 1e6 => (count / 1e6, "MB"),
        count if count >= 1e3 => (count / 1e3, "kB"),
        count => (count, "bytes"),
    };
    format!("{amount:.1} {unit}")
}

pub(super) fn shown(address: [u8; 16]) -> IpAddr {
    Ipv6Addr::from(address).to_canonical()
}
