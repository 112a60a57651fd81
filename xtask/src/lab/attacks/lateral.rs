//! An intruder inside the LAN who goes from machine to machine with what he has found.

use super::{Needs, PlanFn};
use crate::lab::{
    filter::Filter,
    plan::{Ends, Plan, Proof, Ready, Scenario, Service, Step, Wish},
    rng::Rng,
    servers::{self, HOST_KEYS, PYTHON, shell},
    world::{Shape, World},
};

const SMB: Needs = &[("smbd", "samba"), ("smbclient", "smbclient"), ("rpcclient", "smbclient")];
const SSH: Needs = &[("sshd", "openssh-server"), ("sshpass", "sshpass")];

/// More servers than one to go to; the second is left to benign life.
const ROOMS: Shape = Shape { clients: 3, devices: 2, servers: 4, sites: 3, inside: 1, outside: 1 };

pub(super) static SCENARIOS: &[Scenario] = &[
    scenario("lateral-smb", "smbclient, rpcclient: shares, users, a program dropped and fetched", SMB, smb),
    scenario("lateral-ssh", "ssh with found passwords from machine to machine", SSH, ssh),
    scenario("lateral-winrm", "script: commands over WinRM's HTTP", &[], winrm),
];

const fn scenario(name: &'static str, tools: &'static str, needs: Needs, plan: PlanFn) -> Scenario {
    Scenario { name, family: "INFILTRATION", tools, needs, shape: ROOMS, plan }
}

fn intruder(plan: &mut Plan, world: &World, rng: &mut Rng, line: &str) {
    let on = world.inside[0].name.clone();
    let at_ms = rng.range(1_500, 6_000);
    plan.steps.push(Step { on, words: shell(line), at_ms, ms_max: 80_000, ends: Ends::Anyhow });
    plan.filter = Filter::from_hosts(world.inside[0].all_v4());
    plan.proof = Proof { flows: 2, sent: 2, answered: 2 };
}

fn smb(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let mut plan = Plan::new("lateral-smb", "smbclient and rpcclient");
    servers::smbd(&mut plan, &world.servers[0].name, world);
    let account = &world.accounts[0];
    let user = format!("{}%{}", account.user, account.password);
    let target = world.servers[0].v4;
    let pause = rng.pick(&["0.2", "1", "3"]);
    // Who looks for machines tries some where nobody is at home.
    let others: Vec<String> = world.locals().take(6).map(|host| host.v4.to_string()).collect();
    let drop_name = format!("{}.exe", rng.word(8));
    let steps = [
        format!(
            "for host in {}; do timeout 3 smbclient -s /dev/null -L //$host -U '{user}'; sleep {pause}; done",
            others.join(" ")
        ),
        format!("rpcclient -s /dev/null -U '{user}' {target} -c 'enumdomusers;querydominfo;netshareenumall;srvinfo'"),
        format!(
            "smbclient -s /dev/null //{target}/files -U '{user}' -c 'ls;recurse;prompt off;mget report-1.txt report-2.txt'"
        ),
        format!(
            "head -c {} /dev/urandom >{drop_name}; smbclient -s /dev/null //{target}/files -U '{user}' -c 'put {drop_name};ls'",
            rng.range(40_000, 900_000)
        ),
        format!("rpcclient -s /dev/null -U '{user}' {target} -c 'lsaquery;lookupnames {};enumprivs'", account.user),
    ];
    let steps = rng.shuffled(&steps);
    intruder(&mut plan, world, rng, &steps.join(&format!("; sleep {pause}; ")));
    plan
}

fn ssh(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let mut plan = Plan::new("lateral-ssh", "ssh from machine to machine");
    for server in [&world.servers[0], &world.servers[2], &world.servers[3]] {
        servers::openssh(&mut plan, &server.name, 22, HOST_KEYS, rng);
    }
    let options = "-n -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o PubkeyAuthentication=no -o ConnectTimeout=4 -o NumberOfPasswordPrompts=1";
    let pause = rng.pick(&["0.3", "1.5", "4"]);
    let found: Vec<String> =
        world.accounts.iter().take(2).map(|account| format!("{} {}", account.user, account.password)).collect();
    plan.files.push(("found".to_owned(), found.join("\n") + "\n"));
    let hosts: Vec<String> = world.servers.iter().chain(&world.clients).map(|host| host.v4.to_string()).collect();
    let hosts = rng.shuffled(&hosts).join(" ");
    let command = rng.pick(&[
        "id; uname -a; cat /etc/passwd",
        "ls -laR /etc/ssh; ps aux",
        "cat /proc/cpuinfo /proc/meminfo; ss -tan",
    ]);
    let line = format!(
        "for host in {hosts}; do while read -r user word; do sshpass -p \"$word\" ssh {options} \"$user@$host\" '{command}'; sleep {pause}; done <{{dir}}/found; done"
    );
    intruder(&mut plan, world, rng, &line);
    plan
}

fn winrm(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let mut plan = Plan::new("lateral-winrm", "script WinRM");
    for server in [&world.servers[0], &world.servers[2]] {
        plan.services.push(Service::new(&server.name, &format!("{PYTHON} {{lab}}/winrm.py serve"), Ready::Tcp(5_985)));
    }
    let hosts = format!("{},{},{}", world.servers[0].v4, world.servers[2].v4, world.clients[0].v4);
    let line = format!(
        "{PYTHON} {{lab}}/winrm.py use --hosts {hosts} --commands {} --pause-ms {} --seed {}",
        rng.range(4, 12),
        rng.pick(&[200, 900, 2_500]),
        rng.range(1, 99_999)
    );
    intruder(&mut plan, world, rng, &line);
    plan
}
