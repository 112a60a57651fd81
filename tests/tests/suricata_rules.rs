//! The local rules under a real Suricata: each fires on its attack and on nothing else, least of all on the harmless twin.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that fails")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use ids_agent::{
    supervisor::StopFlag,
    suricata::{CaptureRules, CaptureSuricata},
};
use ids_tests::{
    capture::{ETHERNET, write_pcap},
    netns::run,
    probe::{Need, can_run},
    scene::{Said, Scene, end},
};
use serde_json::Value;

/// Whoever says something first, and what becomes of it.
enum Case {
    Tcp(u16, Vec<Said>),
    /// From a client's port to this one.
    Question(u16, Vec<u8>),
    /// From this port.
    Answer(u16, Vec<u8>),
}

struct Rule {
    sid: u64,
    attack: Case,
    /// As like it as harmless traffic gets.
    twin: Case,
}

const DRSUAPI: &str = "354251e3064bd111ab0400c04fc2dcd2";
const NETLOGON: &str = "785634123412cdabef0001234567cffb";
const EFS: &str = "88d481c650d8d0118c5200c04fd90f7e";
const SPOOLSS: &str = "785634123412cdabef000123456789ab";

fn rules() -> Vec<Rule> {
    let rpc = |uuid, opnum, stub: &[u8]| Case::Tcp(49_667, rpc(uuid, opnum, stub));
    let smb = |text: &str| Case::Tcp(445, smb2(&utf16(text)));
    let http = |request: &str, answer: &str| Case::Tcp(80, http(request, answer));
    let name = |name: &str| Case::Question(53, question(name));
    let (mut zeros, mut other) = (utf16("SRV"), utf16("SRV"));
    zeros.extend([0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0x2f, 0x21]);
    other.extend([7, 1, 9, 4, 1, 3, 8, 2, 0xff, 0xff, 0x2f, 0x21]);
    let chopper = "POST /up/a.php HTTP/1.1\r\nHost: shop.example\r\nContent-Type: application/x-www-form-urlencoded\r\n\
                   Content-Length: 50\r\n\r\nz=@eval(base64_decode($_POST[z0]));&z0=QGluaV9zZXQ=";
    let form = "POST /up/a.php HTTP/1.1\r\nHost: shop.example\r\nContent-Type: application/x-www-form-urlencoded\r\n\
                Content-Length: 43\r\n\r\nnote=how+to+evaluate+base64_decode+in+PHP&x";
    let get = "GET /page HTTP/1.1\r\nHost: shop.example\r\n\r\n";
    let climb = "GET /view?page=../../../etc/passwd HTTP/1.1\r\nHost: shop.example\r\n\r\n";
    let users = "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n";
    let shell =
        "Microsoft Windows [Version 10.0.19045.3570]\r\n(c) Microsoft Corporation. All rights reserved.\r\n\r\nC:\\>";
    vec![
        Rule { sid: 1_950_001, attack: rpc(DRSUAPI, 3, &[1; 80]), twin: rpc(DRSUAPI, 12, &[1; 80]) },
        Rule { sid: 1_950_002, attack: rpc(NETLOGON, 26, &zeros), twin: rpc(NETLOGON, 26, &other) },
        Rule { sid: 1_950_003, attack: rpc(EFS, 0, &[2; 60]), twin: rpc(EFS, 6, &[2; 60]) },
        Rule { sid: 1_950_004, attack: rpc(SPOOLSS, 89, &[3; 60]), twin: rpc(SPOOLSS, 1, &[3; 60]) },
        Rule { sid: 1_950_010, attack: smb("ADMIN$\\PSEXESVC.exe"), twin: smb("share\\psexec in our office.docx") },
        Rule {
            sid: 1_950_011,
            attack: smb("%COMSPEC% /Q /c echo dir ^> \\\\127.0.0.1\\C$\\__output 2^>^&1"),
            twin: smb("notes\\%COMSPEC% and what it is.txt"),
        },
        Rule {
            sid: 1_950_012,
            attack: Case::Tcp(49_700, smb2(&utf16("cmd.exe /Q /c whoami 1> \\\\127.0.0.1\\ADMIN$\\__17 2>&1"))),
            twin: Case::Tcp(49_700, smb2(&utf16("cmd.exe /c \\\\server\\netlogon\\logon.bat"))),
        },
        Rule { sid: 1_950_013, attack: smb("msagent_a3"), twin: smb("message_agents_2026.xlsx") },
        Rule { sid: 1_950_014, attack: Case::Tcp(445, trans2(0x0e)), twin: Case::Tcp(445, trans2(0x01)) },
        Rule { sid: 1_950_020, attack: name("dnscat.016f03cc.0001"), twin: name("www.dnscat.example") },
        Rule { sid: 1_950_021, attack: name("vaaaakardli.t.example"), twin: name("vaasa.kardli.example") },
        Rule {
            sid: 1_950_030,
            attack: http(get, "<pre>uid=0(root) gid=0(root) groups=0(root)</pre>"),
            twin: http(get, "<p>`id` prints uid, gid and groups; root has 0.</p>"),
        },
        Rule {
            sid: 1_950_031,
            attack: http(climb, users),
            // The same list in a page that nobody had to ask for in this way.
            twin: http(get, users),
        },
        Rule {
            sid: 1_950_032,
            attack: Case::Tcp(4_444, vec![Said::Client(shell.into()), Said::Server(b"whoami\n".to_vec())]),
            twin: Case::Tcp(23, vec![Said::Client(b"\r\n".to_vec()), Said::Server(shell.into())]),
        },
        Rule { sid: 1_950_033, attack: http(chopper, "ok"), twin: http(form, "ok") },
        Rule { sid: 1_950_040, attack: llmnr("wpad"), twin: llmnr("nas1") },
        Rule {
            sid: 1_950_041,
            attack: ftp(&["CWD /"; 10]),
            twin: ftp(&["CWD /pub", "PASV", "LIST", "CWD /"].repeat(6)),
        },
    ]
}

/// Commands given one after the other, each with its answer.
fn ftp(commands: &[&str]) -> Case {
    let answered = commands.iter().flat_map(|command| {
        [Said::Client(format!("{command}\r\n").into_bytes()), Said::Server(b"250 Done.\r\n".to_vec())]
    });
    Case::Tcp(21, std::iter::once(Said::Server(b"220 Ready.\r\n".to_vec())).chain(answered).collect())
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// One DCE/RPC message of one fragment (C706, chapter 12).
fn pdu(kind: u8, call: u32, body: &[u8]) -> Vec<u8> {
    let mut pdu = vec![5, 0, kind, 3, 0x10, 0, 0, 0];
    pdu.extend((body.len() as u16 + 16).to_le_bytes());
    pdu.extend([0, 0]);
    pdu.extend(call.to_le_bytes());
    pdu.extend(body);
    pdu
}

/// An interface bound, and one of its functions called.
fn rpc(uuid: &str, opnum: u16, stub: &[u8]) -> Vec<Said> {
    let syntax = bytes("045d888aeb1cc9119fe808002b10486002000000");
    let mut bind = bytes("b810b810000000000100000000000100");
    bind.extend(bytes(uuid));
    bind.extend([1, 0, 0, 0]);
    bind.extend(&syntax);
    let mut bound = bytes("b810b81078563412");
    bound.extend([4, 0, b'1', b'3', b'5', 0, 0, 0]);
    bound.extend([1, 0, 0, 0, 0, 0, 0, 0]);
    bound.extend(&syntax);
    let mut request = (stub.len() as u32).to_le_bytes().to_vec();
    request.extend([0, 0]);
    request.extend(opnum.to_le_bytes());
    request.extend(stub);
    let answer = [8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    vec![
        Said::Client(pdu(11, 1, &bind)),
        Said::Server(pdu(12, 1, &bound)),
        Said::Client(pdu(0, 2, &request)),
        Said::Server(pdu(2, 2, &answer)),
    ]
}

/// A message of SMB2 that names something.
fn smb2(name: &[u8]) -> Vec<Said> {
    let mut header = vec![0xfe, b'S', b'M', b'B', 64, 0, 0, 0, 0, 0, 0, 0, 5, 0, 1, 0];
    header.resize(64, 0);
    let mut body = vec![57, 0];
    body.resize(56, 0);
    body.extend(name);
    header.extend(body);
    let mut message = (header.len() as u32).to_be_bytes().to_vec();
    message.extend(header);
    vec![Said::Client(message)]
}

/// A TRANSACTION2 of SMB1 with one word of setup (MS-CIFS 2.2.4.46).
fn trans2(subcommand: u8) -> Vec<Said> {
    let mut smb = vec![0xff, b'S', b'M', b'B', 0x32];
    smb.resize(32, 0);
    smb.push(15);
    smb.extend([0; 26]);
    smb.extend([1, 0, subcommand, 0]);
    smb.extend([0; 16]);
    let mut message = (smb.len() as u32).to_be_bytes().to_vec();
    message.extend(smb);
    vec![Said::Client(message)]
}

fn http(request: &str, body: &str) -> Vec<Said> {
    let length = body.len();
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\r\n{body}");
    vec![Said::Client(request.into()), Said::Server(answer.into())]
}

/// A question for a name's text.
fn question(name: &str) -> Vec<u8> {
    let mut message = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        message.push(label.len() as u8);
        message.extend(label.bytes());
    }
    message.extend([0, 0, 16, 0, 1]);
    message
}

/// A neighbour says that a name is his (RFC 4795).
fn llmnr(name: &str) -> Case {
    let mut message = vec![0x77, 0x01, 0x80, 0, 0, 1, 0, 1, 0, 0, 0, 0];
    for answer in [false, true] {
        message.push(name.len() as u8);
        message.extend(name.bytes());
        message.extend([0, 0, 1, 0, 1]);
        if answer {
            message.extend([0, 0, 0, 30, 0, 4, 10, 0, 0, 66]);
        }
    }
    Case::Answer(5_355, message)
}

/// Puts a case into a scene, its client at this port.
fn play(scene: &mut Scene, at: usize, port: u16, case: &Case) {
    // Rules count by source: each case has one of its own.
    let (client, server) = ([10, 0, 1, at as u8 + 1], [10, 0, 2, at as u8 + 1]);
    let at_ns = at as u64 * 2_000_000_000;
    match case {
        Case::Tcp(to, said) => drop(scene.talk(at_ns, end(client, port), end(server, *to), 1_000_000, said)),
        Case::Question(to, payload) => scene.datagram(at_ns, end(client, port), end(server, *to), payload),
        Case::Answer(from, payload) => scene.datagram(at_ns, end(server, *from), end(client, port), payload),
    }
}

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../rules/ids-agent.rules")
}

/// Every alert of a Suricata with the local rules: the client's port, and the signature.
fn alerts(scene: Scene, folder: &Path) -> BTreeSet<(u64, u64)> {
    let capture = folder.join("traffic.pcap");
    write_pcap(&capture, ETHERNET, &scene.into_frames());
    let yaml = folder.join("suricata.yaml");
    let agent = env!("CARGO_BIN_EXE_agent");
    let config = folder.join("config.toml");
    fs::write(&config, format!("[suricata]\nrun_dir = {:?}\nrules_dir = {:?}\n", folder, folder)).unwrap();
    run(Command::new(agent)
        .args(["generate", "suricata", "--interface", "lo", "--config"])
        .arg(&config)
        .arg("--out")
        .arg(&yaml));
    run(Command::new("suricata")
        .arg("-c")
        .arg(&yaml)
        .arg("-S")
        .arg(shipped())
        .arg("-r")
        .arg(&capture)
        .arg("-l")
        .arg(folder)
        .arg("--init-errors-fatal"));
    let mut found = BTreeSet::new();
    for line in fs::read_to_string(folder.join("eve.json")).unwrap().lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        if event["event_type"] == "alert" {
            let ports = ["src_port", "dest_port"].map(|key| event[key].as_u64().unwrap());
            let client = ports.into_iter().find(|port| (20_000..21_000).contains(port)).unwrap();
            found.insert((client, event["alert"]["signature_id"].as_u64().unwrap()));
        }
    }
    found
}

#[test]
fn each_local_rule_fires_on_its_attack_alone() {
    if !can_run("the local rules", &[Need::Tool("suricata")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (mut scene, mut wanted) = (Scene::default(), BTreeSet::new());
    let rules = rules();
    for (at, rule) in rules.iter().enumerate() {
        let (attack, twin) = (20_000 + at as u16, 20_500 + at as u16);
        play(&mut scene, at, attack, &rule.attack);
        play(&mut scene, at + 100, twin, &rule.twin);
        wanted.insert((u64::from(attack), rule.sid));
    }
    assert_eq!(alerts(scene, folder.path()), wanted);
}

#[test]
fn a_connection_that_a_capture_begins_in_is_looked_into() {
    if !can_run("a capture that begins within a connection", &[Need::Tool("suricata")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut scene = Scene::default();
    play(&mut scene, 0, 20_000, &ftp(&["CWD /"; 10]));
    // Without the three packets by which the connection began.
    let frames = scene.into_frames().split_off(3);
    let capture = folder.path().join("traffic.pcap");
    write_pcap(&capture, ETHERNET, &frames);
    let settings = CaptureRules {
        program: "suricata".into(),
        rules: Some(shipped()),
        local_rules: None,
        home_networks: Vec::new(),
    };
    let stop = StopFlag::default();
    let mut suricata = CaptureSuricata::start(&settings, &stop).unwrap();
    let said = fs::read_to_string(suricata.judge(&capture, &stop).unwrap()).unwrap();
    assert!(said.contains("\"signature_id\":1950041"), "{said}");
}

/// What the rules' file says of itself, by number.
fn written() -> BTreeMap<u64, String> {
    let text = fs::read_to_string(shipped()).unwrap();
    // What only sets a mark for another rule tells nothing.
    let rules = text.lines().filter(|line| line.starts_with("alert ") && !line.contains("flowbits:noalert;"));
    rules
        .map(|rule| (rule.split("sid:").nth(1).unwrap().split(';').next().unwrap().parse().unwrap(), rule.to_owned()))
        .collect()
}

#[test]
fn every_local_rule_has_a_case_and_a_number_of_ours() {
    let cases: BTreeSet<u64> = rules().iter().map(|rule| rule.sid).collect();
    let written = written();
    assert_eq!(written.keys().copied().collect::<BTreeSet<_>>(), cases);
    for (sid, rule) in written {
        assert!((1_950_000..1_951_000).contains(&sid), "{sid} is not of our block");
        for part in
            ["msg:\"IDS LOCAL ", "classtype:", "mitre_technique_id T", "signature_severity ", "confidence ", "rev:"]
        {
            assert!(rule.contains(part), "{sid} lacks {part}");
        }
    }
}
