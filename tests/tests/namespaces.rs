//! The namespaces that other tests stand on: made, joined, and gone afterwards.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that fails")]

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use ids_tests::{
    netns::{Namespace, veth},
    probe::{Need, can_run},
};

#[test]
fn a_namespace_and_its_devices_are_gone_when_its_value_is() {
    if !can_run("namespaces", &[Need::Root, Need::Tool("ip"), Need::Tool("nsenter"), Need::Tool("ethtool")]) {
        return;
    }
    let (a, b) = (Namespace::new("a"), Namespace::new("b"));
    veth(&a, "left", "10.9.0.1/24", &b, "right", "10.9.0.2/24");
    let listener = b.run(|| TcpListener::bind("10.9.0.2:7777").unwrap());
    let address: SocketAddr = "10.9.0.2:7777".parse().unwrap();
    a.run(|| TcpStream::connect_timeout(&address, Duration::from_secs(3)).unwrap());
    drop(listener);
    let devices = b.run(|| fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default());
    assert!(devices.contains("right"), "{devices}");
    let paths = [a.path(), b.path()];
    drop((a, b));
    assert!(paths.iter().all(|path| !path.exists()));
}
