//! Servers that are attacked: real software, with settings of the run's own. Each adds its files and services to a plan.

use super::{
    plan::{Plan, Ready, Service},
    rng::Rng,
    world::World,
};

/// The interpreter for which Debian's packages install their modules.
pub(super) const PYTHON: &str = "/usr/bin/python3";

/// A TLS certificate of the lab's own, as `{dir}/tls.key` and `{dir}/tls.crt`.
pub(super) fn certificate(plan: &mut Plan, on: &str, world: &World) {
    let line = format!(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 90 -subj /CN=www.{} -keyout {{dir}}/tls.key -out {{dir}}/tls.crt",
        world.domain
    );
    plan.services.push(Service::new(on, &line, Ready::Ended));
}

/// OpenSSH, with passwords of the world's accounts.
pub(super) fn openssh(plan: &mut Plan, on: &str, port: u16, keys: &[&str], rng: &mut Rng) {
    let tries = rng.range(2, 6);
    let startups = rng.pick(&["10:30:100", "50:30:200", "100"]);
    let config = format!(
        "Port {port}\nHostKey {{dir}}/ssh_{on}\nUsePAM no\nPasswordAuthentication yes\nPermitRootLogin no\nMaxAuthTries {tries}\n\
         MaxStartups {startups}\nUseDNS no\nPidFile none\nStrictModes no\nSubsystem sftp internal-sftp\n"
    );
    plan.files.push((format!("sshd_{on}.conf"), config));
    let kind = rng.pick(keys);
    let keygen = format!("ssh-keygen -q -t {kind} -N '' -f {{dir}}/ssh_{on}");
    plan.services.push(Service { on: on.to_owned(), words: shell(&keygen), ready: Ready::Ended });
    // It starts itself anew for every connection and wants its own path for that.
    let sshd = format!("exec \"$(command -v sshd)\" -D -e -f {{dir}}/sshd_{on}.conf");
    plan.services.push(Service { on: on.to_owned(), words: shell(&sshd), ready: Ready::Tcp(port) });
}

/// Kinds of host keys that any client of today knows.
pub(super) const HOST_KEYS: &[&str] = &["ed25519", "ecdsa", "rsa"];

/// Dropbear, as routers have it.
pub(super) fn dropbear(plan: &mut Plan, on: &str, port: u16, rng: &mut Rng) {
    let kind = rng.pick(HOST_KEYS);
    let tries = rng.range(3, 10);
    plan.services.push(Service::new(on, &format!("dropbearkey -t {kind} -f {{dir}}/dropbear_{on}"), Ready::Ended));
    let line = format!("dropbear -F -E -r {{dir}}/dropbear_{on} -T {tries} -p {port}");
    plan.services.push(Service::new(on, &line, Ready::Tcp(port)));
}

pub(super) fn vsftpd(plan: &mut Plan, on: &str, port: u16, rng: &mut Rng) {
    let delay = rng.range(0, 2);
    let config = format!(
        "listen=YES\nbackground=NO\nlisten_port={port}\nlocal_enable=YES\nwrite_enable=YES\nanonymous_enable=NO\n\
         secure_chroot_dir=/run/vsftpd/empty\npam_service_name=vsftpd\nseccomp_sandbox=NO\ndelay_failed_login={delay}\n\
         max_per_ip=50\nxferlog_enable=NO\nsession_support=NO\n"
    );
    plan.files.push(("vsftpd.conf".to_owned(), config));
    plan.services.push(Service::new(on, "vsftpd {dir}/vsftpd.conf", Ready::Tcp(port)));
}

pub(super) fn pyftpdlib(plan: &mut Plan, on: &str, port: u16, world: &World) {
    let line = format!("{PYTHON} {{lab}}/ftp_server.py {port} {{dir}}/users {}", accounts(world));
    plan.services.push(Service::new(on, &line, Ready::Tcp(port)));
}

/// `user:password` of everybody.
pub(super) fn accounts(world: &World) -> String {
    let all: Vec<String> =
        world.accounts.iter().map(|account| format!("{}:{}", account.user, account.password)).collect();
    all.join(" ")
}

/// The application that is vulnerable on purpose. It listens on all addresses, or on loopback behind a proxy.
pub(super) fn application(plan: &mut Plan, on: &str, port: u16, world: &World, rng: &mut Rng) {
    let seed = rng.range(1, 99_999);
    let line = format!("{PYTHON} {{lab}}/vulnerable_app.py --port {port} --seed {seed} {}", accounts(world));
    plan.services.push(Service::new(on, &line, Ready::Tcp(port)));
}

/// nginx: static pages with basic authentication under /private, everything else from the application on 8999.
pub(super) fn nginx(plan: &mut Plan, on: &str, port: u16, world: &World, rng: &mut Rng) {
    let page = "<html><head><title>Home</title></head><body><h1>Home</h1><p>Nothing to see.</p></body></html>\n";
    plan.files.push(("www/index.html".to_owned(), page.repeat(usize::try_from(rng.range(1, 40)).unwrap_or(1))));
    plan.files.push(("www/private/index.html".to_owned(), page.to_owned()));
    let users: Vec<String> =
        world.accounts.iter().map(|account| format!("{}:{{PLAIN}}{}", account.user, account.password)).collect();
    plan.files.push(("htpasswd".to_owned(), users.join("\n") + "\n"));
    let timeout = rng.pick(&[20, 60, 75]);
    let config = format!(
        "daemon off;\nmaster_process off;\npid {{dir}}/nginx.pid;\nerror_log stderr warn;\n\
         events {{ worker_connections 900; }}\n\
         http {{ access_log off; client_body_temp_path {{dir}}/nginx-body; proxy_temp_path {{dir}}/nginx-proxy;\n\
         fastcgi_temp_path {{dir}}/nginx-f; uwsgi_temp_path {{dir}}/nginx-u; scgi_temp_path {{dir}}/nginx-s;\n\
         client_header_timeout {timeout}; client_body_timeout {timeout}; keepalive_timeout {timeout};\n\
         server {{ listen {port}; listen [::]:{port}; root {{dir}}/www;\n\
         location /private {{ auth_basic Private; auth_basic_user_file {{dir}}/htpasswd; }}\n\
         location /app/ {{ proxy_pass http://127.0.0.1:8999/; proxy_read_timeout 20; }} }} }}\n"
    );
    plan.files.push(("nginx.conf".to_owned(), config));
    let line = "nginx -c {dir}/nginx.conf -p {dir}";
    plan.services.push(Service::new(on, line, Ready::Tcp(port)));
}

pub(super) fn lighttpd(plan: &mut Plan, on: &str, port: u16, rng: &mut Rng) {
    let page =
        "<html><head><title>Files</title></head><body><p>A page of some length for who asks.</p></body></html>\n";
    plan.files.push(("www/index.html".to_owned(), page.repeat(usize::try_from(rng.range(1, 40)).unwrap_or(1))));
    let config = format!(
        "server.document-root = \"{{dir}}/www\"\nserver.port = {port}\nindex-file.names = ( \"index.html\" )\n\
         server.max-read-idle = {}\nserver.max-connections = 1024\nserver.max-fds = 2048\n",
        rng.pick(&[20, 60])
    );
    plan.files.push(("lighttpd.conf".to_owned(), config));
    plan.services.push(Service::new(on, "lighttpd -D -f {dir}/lighttpd.conf", Ready::Tcp(port)));
}

/// Pages of Python's own server: what a developer leaves running.
pub(super) fn python_http(plan: &mut Plan, on: &str, port: u16, rng: &mut Rng) {
    let page = "<html><body><p>Files for everybody.</p></body></html>\n";
    plan.files.push(("www/index.html".to_owned(), page.repeat(usize::try_from(rng.range(1, 80)).unwrap_or(1))));
    let line = format!("{PYTHON} -m http.server --protocol HTTP/1.1 --directory {{dir}}/www --bind :: {port}");
    plan.services.push(Service::new(on, &line, Ready::Tcp(port)));
}

pub(super) fn smbd(plan: &mut Plan, on: &str, world: &World) {
    let config = "[global]\nserver role = standalone server\nprivate dir = {dir}/smb/private\nlock directory = {dir}/smb/lock\n\
         state directory = {dir}/smb/state\ncache directory = {dir}/smb/cache\npid directory = {dir}/smb/pid\n\
         ncalrpc dir = {dir}/smb/ncalrpc\nlog file = {dir}/smb/log\nlog level = 1\nload printers = no\nprinting = bsd\n\
         disable spoolss = yes\nmap to guest = never\nbind interfaces only = no\n\
         [files]\npath = {dir}/share\nread only = no\n[backup]\npath = {dir}/share\nread only = yes\n";
    plan.files.push(("smb.conf".to_owned(), config.to_owned()));
    for folder in ["private", "lock", "state", "cache", "pid", "ncalrpc", "log.d"] {
        plan.files.push((format!("smb/{folder}/.keep"), String::new()));
    }
    for number in 1..=8 {
        plan.files.push((format!("share/report-{number}.txt"), "Figures of the quarter.\n".repeat(900 * number)));
    }
    for account in &world.accounts {
        let (user, password) = (&account.user, &account.password);
        let line =
            format!("printf '%s\\n%s\\n' '{password}' '{password}' | smbpasswd -c {{dir}}/smb.conf -s -a {user}");
        plan.services.push(Service { on: on.to_owned(), words: shell(&line), ready: Ready::Ended });
    }
    let line = "smbd --foreground --no-process-group --configfile={dir}/smb.conf";
    plan.services.push(Service::new(on, line, Ready::Tcp(445)));
}

pub(super) fn redis(plan: &mut Plan, on: &str, port: u16, world: &World) {
    let line = format!(
        "redis-server --port {port} --bind * -::* --protected-mode no --dir {{dir}} --requirepass {}",
        world.accounts[0].password
    );
    plan.services.push(Service::new(on, &line, Ready::Tcp(port)));
}

pub(super) fn mosquitto(plan: &mut Plan, on: &str, port: u16, world: &World) {
    plan.files.push((
        "mosquitto.conf".to_owned(),
        format!(
            "listener {port}\nallow_anonymous false\npassword_file {{dir}}/mqtt.users\nuser root\nlog_dest stderr\n"
        ),
    ));
    let mut first = "-c ";
    for account in &world.accounts {
        let line = format!("mosquitto_passwd {first}-b {{dir}}/mqtt.users {} {}", account.user, account.password);
        plan.services.push(Service::new(on, &line, Ready::Ended));
        first = "";
    }
    plan.services.push(Service::new(on, "mosquitto -c {dir}/mosquitto.conf", Ready::Tcp(port)));
}

/// IMAP by Dovecot.
pub(super) fn dovecot(plan: &mut Plan, on: &str, port: u16, world: &World, rng: &mut Rng) {
    let users: Vec<String> =
        world.accounts.iter().map(|account| format!("{}:{{PLAIN}}{}", account.user, account.password)).collect();
    plan.files.push(("dovecot.users".to_owned(), users.join("\n") + "\n"));
    let config = format!(
        "protocols = imap\nlisten = *, ::\nbase_dir = {{dir}}/dovecot\nstate_dir = {{dir}}/dovecot\nssl = no\ndisable_plaintext_auth = no\n\
         log_path = /dev/stderr\nauth_failure_delay = {} secs\nauth_mechanisms = plain login\nmail_location = mbox:~/mail\n\
         passdb {{\n driver = passwd-file\n args = {{dir}}/dovecot.users\n}}\n\
         userdb {{\n driver = static\n args = uid=20001 gid=100 home={{dir}}/users/%u\n}}\n\
         service imap-login {{\n inet_listener imap {{\n  port = {port}\n }}\n inet_listener imaps {{\n  port = 0\n }}\n chroot =\n process_limit = 60\n}}\n\
         service anvil {{\n chroot =\n unix_listener anvil-auth-penalty {{\n  mode = 0\n }}\n}}\n",
        rng.range(1, 2)
    );
    plan.files.push(("dovecot.conf".to_owned(), config));
    plan.services.push(Service::new(on, "dovecot -F -c {dir}/dovecot.conf", Ready::Tcp(port)));
}

/// MariaDB with the world's accounts, reachable from everywhere.
pub(super) fn mariadb(plan: &mut Plan, on: &str, port: u16, world: &World) {
    let users: Vec<String> = world
        .accounts
        .iter()
        .map(|account| format!("CREATE USER '{}'@'%' IDENTIFIED BY '{}';", account.user, account.password))
        .collect();
    plan.files.push(("accounts.sql".to_owned(), users.join("\n") + "\n"));
    plan.files.push(("sql/tmp/.keep".to_owned(), String::new()));
    let prepare = "mariadb-install-db --no-defaults --user=root --datadir={dir}/mysql --auth-root-authentication-method=normal --skip-test-db --tmpdir={dir}/sql/tmp";
    plan.services.push(Service::new(on, prepare, Ready::Ended));
    let line = format!(
        "mariadbd --no-defaults --user=root --datadir={{dir}}/mysql --socket={{dir}}/mysql.sock --port={port} --bind-address=0.0.0.0 --init-file={{dir}}/accounts.sql --skip-name-resolve --tmpdir={{dir}}/sql/tmp --innodb-buffer-pool-size=16M"
    );
    plan.services.push(Service::new(on, &line, Ready::Tcp(port)));
}

/// A small server of ours for protocols whose usual servers are too large or too old to be had.
pub(super) fn logins(plan: &mut Plan, on: &str, kind: &str, port: u16, world: &World, rng: &mut Rng) {
    let delay_ms = rng.pick(&[0, 300, 1_000]);
    let line = format!(
        "{PYTHON} {{lab}}/login_server.py --kind {kind} --port {port} --delay-ms {delay_ms} {}",
        accounts(world)
    );
    plan.services.push(Service::new(on, &line, Ready::Tcp(port)));
}

/// A line for the shell.
pub(super) fn shell(line: &str) -> Vec<String> {
    ["sh", "-c", line].map(str::to_owned).to_vec()
}
