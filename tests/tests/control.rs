//! The control socket against clients that are foreign, garbled, endless or slow.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that fails")]

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use ids_agent::control::{self, Answer, Request, Socket, SocketError};
use ids_tests::probe::{Need, can_run};
use serde_json::{Value, json};

const AGENT: &str = env!("CARGO_BIN_EXE_agent");

/// A socket that answers each status with the peer's user.
struct Served {
    path: PathBuf,
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    _dir: tempfile::TempDir,
}

impl Served {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Others must be able to get at the socket for it to refuse them.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let path = dir.path().join("control.sock");
        let socket = Socket::open(&path).unwrap();
        let done = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&done);
        let thread = thread::spawn(move || {
            while !asked.load(Ordering::Relaxed) {
                if let Some(stream) = socket.wait(Duration::from_millis(50)).unwrap() {
                    // A client that leaves early is no failure of the socket's.
                    let _ = socket.serve(stream, &mut |request, peer| match request {
                        Request::Status {} => Answer::done(json!({ "uid": peer.uid })),
                        other => Answer::refused(format!("{other:?}")),
                    });
                }
            }
        });
        Self { path, done, thread: Some(thread), _dir: dir }
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.path).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream
    }

    /// What is answered to raw bytes.
    fn answer(&self, bytes: &[u8]) -> Answer {
        let mut stream = self.connect();
        // An endless line is cut off while it is sent.
        let _ = stream.write_all(bytes);
        answer_of(stream)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
        assert!(!self.path.exists(), "the socket's file goes with it");
    }
}

fn answer_of(stream: UnixStream) -> Answer {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
}

fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[test]
fn a_whole_line_is_answered_with_one() {
    let served = Served::new();
    let mode = fs::metadata(&served.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    assert_eq!(control::ask(&served.path, &Request::Status {}).unwrap(), json!({ "uid": own_uid() }));
    assert_eq!(served.answer(b"{\"verb\":\"status\"}\n").result, json!({ "uid": own_uid() }));
    assert_eq!(served.answer(b"{\"verb\":\"status\"}\n{\"verb\":\"reload\"}\n").result, json!({ "uid": own_uid() }));
}

#[test]
fn garbage_and_endless_lines_are_refused_by_name_and_the_next_client_is_served() {
    let served = Served::new();
    for garbage in [&b"\n"[..], b"hello\n", b"\xff\xfe\x00\n", b"{\"verb\":\"halt\"}\n", b"[[[[[[[[[[\n"] {
        let answer = served.answer(garbage);
        assert!(!answer.ok && answer.error.as_deref().unwrap().starts_with("not a request: "), "{answer:?}");
    }
    let answer = served.answer(&[b'a'; 5_000]);
    assert_eq!(answer.error.as_deref(), Some("a request has at most 4096 bytes"));
    assert!(control::ask(&served.path, &Request::Status {}).is_ok());
}

#[test]
fn a_slow_client_is_given_up_and_the_next_is_served() {
    let served = Served::new();
    let mut slow = served.connect();
    slow.write_all(b"{").unwrap();
    let began = Instant::now();
    assert!(control::ask(&served.path, &Request::Status {}).is_ok(), "it waited its turn");
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
    assert_eq!(answer_of(slow).error.as_deref(), Some("no whole line within two seconds"));
    // One that drips keeps nobody waiting longer than one that is silent.
    let mut dripping = served.connect();
    let drip = thread::spawn(move || {
        for _ in 0..200 {
            if dripping.write_all(b" ").is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
        panic!("twenty seconds of blanks were heard out");
    });
    assert!(control::ask(&served.path, &Request::Status {}).is_ok());
    drip.join().unwrap();
}

#[test]
fn a_second_agent_does_not_take_the_socket_and_a_dead_ones_is_taken_over() {
    let served = Served::new();
    assert!(matches!(Socket::open(&served.path), Err(SocketError::InUse { .. })));
    let dir = tempfile::tempdir().unwrap();
    let left = dir.path().join("left.sock");
    drop(std::os::unix::net::UnixListener::bind(&left).unwrap());
    assert!(left.exists());
    drop(Socket::open(&left).unwrap());
    let file = dir.path().join("file");
    fs::write(&file, "precious").unwrap();
    assert!(matches!(Socket::open(&file), Err(SocketError::NotASocket { .. })));
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
}

#[test]
fn without_an_agent_the_client_says_so_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let nowhere = dir.path().join("none.sock");
    let ran = ids_tests::program::Ran::of(
        &ids_tests::program::command(AGENT, &["status", "--socket", nowhere.to_str().unwrap()]).output().unwrap(),
    );
    ran.fails(1, &["no agent runs with a control socket at"]);
}

fn as_nobody(socket: &Path) -> Value {
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
        .args([AGENT, "status", "--json", "--socket"])
        .arg(socket)
        .output()
        .unwrap();
    json!({ "code": output.status.code(), "said": String::from_utf8_lossy(&output.stderr) })
}

#[test]
fn strangers_are_kept_out_by_the_files_mode_and_by_their_credentials() {
    if !can_run("foreign clients", &[Need::Root, Need::Tool("setpriv")]) {
        return;
    }
    if Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--", AGENT, "--version"])
        .output()
        .is_ok_and(|output| !output.status.success())
    {
        eprintln!("skipped: strangers cannot run the program where it lies");
        return;
    }
    let served = Served::new();
    let refused = as_nobody(&served.path);
    assert_eq!(refused["code"], 1, "{refused}");
    assert!(refused["said"].as_str().unwrap().contains("cannot speak to the agent"), "{refused}");
    // Were the mode to fail, the credentials still hold.
    fs::set_permissions(&served.path, fs::Permissions::from_mode(0o666)).unwrap();
    let refused = as_nobody(&served.path);
    assert!(refused["said"].as_str().unwrap().contains("not allowed"), "{refused}");
}
