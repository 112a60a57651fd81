//! Lines of eve.json as Suricata 7 writes them, made from a number: what stands in them differs from line to line, and is
//! the same for the same number.

use std::net::Ipv4Addr;

use chrono::DateTime;

/// Which kind of line the number stands for, in the proportions of a gateway with the ET Open rules: mostly flows, names
/// and handshakes, an alert now and then.
pub fn mixed(number: u64, unix_ns: u64) -> String {
    match number % 20 {
        0..=6 => flow(number, unix_ns),
        7..=11 => dns(number, unix_ns),
        12..=14 => http(number, unix_ns),
        15..=16 => tls(number, unix_ns),
        17 => fileinfo(number, unix_ns),
        18 => alert(number, unix_ns),
        _ if number % 400 == 19 => stats(number, unix_ns),
        _ => ssh(number, unix_ns),
    }
}

/// What a rule says that nobody doubts, of a flow between a host of its own and one server.
pub fn alert(number: u64, unix_ns: u64) -> String {
    let begin = begin("alert", number, unix_ns, 443);
    let start = time(unix_ns.saturating_sub(1_000_000));
    format!(
        "{begin}\"alert\":{{\"action\":\"allowed\",\"gid\":1,\"signature_id\":2024897,\"rev\":3,\"signature\":\"ET EXPLOIT Test of a sure thing {number}\",\"category\":\"Attempted Administrator Privilege Gain\",\"severity\":1,\"metadata\":{{\"attack_target\":[\"Server\"],\"confidence\":[\"High\"],\"created_at\":[\"2017_10_23\"],\"deployment\":[\"Perimeter\"],\"signature_severity\":[\"Major\"],\"updated_at\":[\"2020_08_28\"]}}}},\"app_proto\":\"http\",\"direction\":\"to_server\",\"flow\":{{\"pkts_toserver\":4,\"pkts_toclient\":3,\"bytes_toserver\":602,\"bytes_toclient\":198,\"start\":\"{start}\",\"src_ip\":\"{}\",\"dest_ip\":\"203.0.113.9\",\"src_port\":{},\"dest_port\":443}}}}",
        source(number),
        port(number),
    )
}

pub fn flow(number: u64, unix_ns: u64) -> String {
    let begin = begin("flow", number, unix_ns, 443);
    let start = time(unix_ns.saturating_sub(30_000_000_000));
    let end = time(unix_ns);
    format!(
        "{begin}\"app_proto\":\"tls\",\"flow\":{{\"pkts_toserver\":12,\"pkts_toclient\":14,\"bytes_toserver\":2250,\"bytes_toclient\":9870,\"start\":\"{start}\",\"end\":\"{end}\",\"age\":30,\"state\":\"closed\",\"reason\":\"timeout\",\"alerted\":false}},\"tcp\":{{\"tcp_flags\":\"1b\",\"tcp_flags_ts\":\"1b\",\"tcp_flags_tc\":\"1b\",\"syn\":true,\"fin\":true,\"psh\":true,\"ack\":true,\"state\":\"closed\",\"ts_max_regions\":1,\"tc_max_regions\":1}}}}"
    )
}

pub fn dns(number: u64, unix_ns: u64) -> String {
    let begin = begin("dns", number, unix_ns, 53);
    format!(
        "{begin}\"dns\":{{\"version\":2,\"type\":\"answer\",\"id\":{},\"flags\":\"8180\",\"qr\":true,\"rd\":true,\"ra\":true,\"opcode\":0,\"rrname\":\"host{number}.cdn.example.org\",\"rrtype\":\"A\",\"rcode\":\"NOERROR\",\"answers\":[{{\"rrname\":\"host{number}.cdn.example.org\",\"rrtype\":\"A\",\"ttl\":60,\"rdata\":\"198.51.100.{}\"}}],\"grouped\":{{\"A\":[\"198.51.100.{}\"]}}}}}}",
        number % 65_536,
        number % 256,
        number % 256,
    )
}

pub fn http(number: u64, unix_ns: u64) -> String {
    let begin = begin("http", number, unix_ns, 80);
    format!(
        "{begin}\"tx_id\":0,\"http\":{{\"hostname\":\"www.example.org\",\"url\":\"/catalogue/item/{number}?ref=start&lang=en\",\"http_user_agent\":\"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\",\"http_content_type\":\"text/html\",\"http_method\":\"GET\",\"protocol\":\"HTTP/1.1\",\"status\":200,\"length\":{}}}}}",
        number % 90_000,
    )
}

pub fn tls(number: u64, unix_ns: u64) -> String {
    let begin = begin("tls", number, unix_ns, 443);
    format!(
        "{begin}\"tls\":{{\"subject\":\"CN=host{number}.example.org\",\"issuerdn\":\"C=US, O=Example Trust, CN=Example CA 7\",\"serial\":\"04:8F:{:02X}:11\",\"fingerprint\":\"aa:bb:cc:dd:ee:ff:00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd\",\"sni\":\"host{number}.example.org\",\"version\":\"TLS 1.2\",\"notbefore\":\"2026-01-01T00:00:00\",\"notafter\":\"2027-01-01T00:00:00\",\"ja3\":{{\"hash\":\"ada70206e40642a3e4461f35503241d5\",\"string\":\"771,4865-4866-4867-49195-49199-49196,0-23-65281-10-11-35-16-5-13-18-51-45-43-27-21,29-23-24,0\"}},\"ja3s\":{{\"hash\":\"15af977ce25de452b96affa2addb1036\",\"string\":\"771,49199,65281-0-11-35-16\"}}}}}}",
        number % 256,
    )
}

pub fn fileinfo(number: u64, unix_ns: u64) -> String {
    let begin = begin("fileinfo", number, unix_ns, 80);
    format!(
        "{begin}\"http\":{{\"hostname\":\"www.example.org\",\"url\":\"/files/{number}.zip\",\"http_method\":\"GET\",\"protocol\":\"HTTP/1.1\",\"status\":200,\"length\":51200}},\"app_proto\":\"http\",\"fileinfo\":{{\"filename\":\"/files/{number}.zip\",\"gaps\":false,\"state\":\"CLOSED\",\"stored\":false,\"size\":51200,\"tx_id\":0}}}}"
    )
}

pub fn ssh(number: u64, unix_ns: u64) -> String {
    let begin = begin("ssh", number, unix_ns, 22);
    format!(
        "{begin}\"ssh\":{{\"client\":{{\"proto_version\":\"2.0\",\"software_version\":\"OpenSSH_9.2p1\"}},\"server\":{{\"proto_version\":\"2.0\",\"software_version\":\"OpenSSH_8.4p1\"}}}}}}"
    )
}

/// Suricata on itself.
pub fn stats(number: u64, unix_ns: u64) -> String {
    format!(
        "{{\"timestamp\":\"{}\",\"event_type\":\"stats\",\"stats\":{{\"uptime\":{number},\"capture\":{{\"kernel_packets\":{},\"kernel_drops\":7,\"errors\":0}},\"decoder\":{{\"pkts\":1,\"bytes\":2}},\"detect\":{{\"engines\":[{{\"id\":0,\"last_reload\":\"2026-01-01T00:00:00.000000+0000\",\"rules_loaded\":41234,\"rules_failed\":2,\"rules_skipped\":0}}]}},\"flow\":{{\"memuse\":7154304}},\"tcp\":{{\"memuse\":606208,\"reassembly_memuse\":98304}}}}}}",
        time(unix_ns),
        number * 10,
    )
}

/// Who is meant by the number: no two of the first sixteen million are the same.
pub fn source(number: u64) -> Ipv4Addr {
    let [_, a, b, c] = (number as u32 & 0x00ff_ffff).to_be_bytes();
    Ipv4Addr::new(10, a, b, c)
}

fn port(number: u64) -> u64 {
    1_024 + number % 60_000
}

fn time(unix_ns: u64) -> impl std::fmt::Display {
    DateTime::from_timestamp_nanos(unix_ns as i64).format("%Y-%m-%dT%H:%M:%S%.6f+0000")
}

fn begin(kind: &str, number: u64, unix_ns: u64, dest_port: u16) -> String {
    let proto = if dest_port == 53 { "UDP" } else { "TCP" };
    format!(
        "{{\"timestamp\":\"{}\",\"flow_id\":{},\"in_iface\":\"eth0\",\"event_type\":\"{kind}\",\"src_ip\":\"{}\",\"src_port\":{},\"dest_ip\":\"203.0.113.9\",\"dest_port\":{dest_port},\"proto\":\"{proto}\",\"pkt_src\":\"wire/pcap\",\"community_id\":\"1:LQU9qZlK+B5F3KDmev6m5PMibrg=\",",
        time(unix_ns),
        number + 1,
        source(number),
        port(number),
    )
}
