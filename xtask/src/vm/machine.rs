//! A machine that one talks to: a Debian on a disk in the emulator, in which a service carries out what comes over a line of its own.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{debian::Debian, process::Group};

/// The name of the line, as both sides know it.
const LINE: &str = "ids-control";
/// For the kernel and systemd to begin, and to end.
const BOOT_PATIENCE: Duration = Duration::from_secs(120);
/// For all that is done with it.
const LIFE_SECS: &str = "900";
/// For one command.
const ANSWER_PATIENCE: Duration = Duration::from_secs(60);

/// Takes a command in words of base64 and gives its exit code, what it said and what it complained of.
const SERVICE: &str = "[Unit]
DefaultDependencies=no
[Service]
ExecStart=/bin/sh /usr/lib/ids-control.sh
OOMScoreAdjust=-900
[Install]
WantedBy=sysinit.target
";
const SCRIPT: &str = r#"# Without udev nothing is named: the kernel says which device the line is.
port=
until port=$(grep -lx ids-control /sys/class/virtio-ports/*/name 2>/dev/null); do sleep 0.2; done
port=${port%/name}
exec 3<>"/dev/${port##*/}"
work=$(mktemp -d /run/ids-control.XXXXXX)
echo ready >&3
while read -r words <&3; do
    echo "$words" | base64 -d >"$work/script"
    sh "$work/script" >"$work/out" 2>"$work/err" </dev/null 3>&-
    echo "$? :$(base64 -w0 "$work/out") :$(base64 -w0 "$work/err")" >&3
done
"#;

/// Puts the service that listens into a root, enabled.
pub(crate) fn prepare(root: &Path) -> Result<()> {
    for (file, text) in [("usr/lib/ids-control.sh", SCRIPT), ("etc/systemd/system/ids-control.service", SERVICE)] {
        let file = root.join(file);
        fs::write(&file, text).with_context(|| format!("`{}` cannot be written", file.display()))?;
    }
    let mut at = std::ffi::OsString::from("--root=");
    at.push(root);
    crate::process::quiet(Command::new("systemctl").arg(&at).args(["enable", "ids-control.service"])).map(drop)
}

pub(crate) struct Machine {
    emulator: Group,
    line: Mutex<BufReader<UnixStream>>,
    console: PathBuf,
}

impl Machine {
    /// Starts the emulator and waits until somebody answers; what the console prints and the socket of the line go to `dir`.
    pub(crate) fn boot(machine: &Command, dir: &Path) -> Result<Self> {
        let (socket, console) = (dir.join("control"), dir.join("console"));
        let log = File::create(&console).with_context(|| format!("`{}` cannot be made", console.display()))?;
        // Should this process end by force, the machine does not outlive it for long.
        let mut command = Command::new("timeout");
        command.arg("--kill-after=5").arg(LIFE_SECS).arg(machine.get_program()).args(machine.get_args());
        command.args(["-device", "virtio-serial-pci", "-chardev"]);
        command.arg(format!("socket,id=control,server=on,wait=off,path={}", socket.display()));
        command.args(["-device", &format!("virtserialport,chardev=control,name={LINE}")]);
        command.stdout(log.try_clone().context("a file cannot be opened twice")?).stderr(log);
        let mut emulator = Group::start("the emulator", &mut command)?;
        let began = Instant::now();
        let stream = loop {
            match UnixStream::connect(&socket) {
                Ok(stream) => break stream,
                Err(error) => {
                    let waits = emulator.ended()?.is_none() && began.elapsed() < BOOT_PATIENCE;
                    ensure!(waits, "the emulator does not begin: {error}; {}", last_lines(&console));
                }
            }
            thread::sleep(Duration::from_millis(50));
        };
        stream.set_read_timeout(Some(BOOT_PATIENCE)).context("a deadline cannot be set")?;
        let mut line = BufReader::new(stream);
        let mut greeting = String::new();
        let heard = line.read_line(&mut greeting);
        if !(heard.is_ok() && greeting.trim() == "ready") {
            bail!("the machine does not boot ({heard:?}, `{}`): {}", greeting.trim(), last_lines(&console));
        }
        line.get_ref().set_read_timeout(Some(ANSWER_PATIENCE)).context("a deadline cannot be set")?;
        Ok(Self { emulator, line: Mutex::new(line), console })
    }

    fn ask(&self, script: &str) -> Result<String> {
        let Ok(mut line) = self.line.lock() else { bail!("the line to the machine broke before") };
        let mut words = base64(script.as_bytes());
        words.push('\n');
        line.get_mut().write_all(words.as_bytes()).context("the machine takes no command")?;
        let mut answer = String::new();
        line.read_line(&mut answer)
            .with_context(|| format!("no answer to `{script}`: {}", last_lines(&self.console)))?;
        let mut parts = answer.trim_end().splitn(3, " :");
        let code = parts.next().unwrap_or_default();
        let [out, err] = [parts.next(), parts.next()].map(|part| from_base64(part.unwrap_or_default()));
        ensure!(code == "0", "`{script}` failed ({code}): {}{}", out?, err?);
        out
    }

    /// Has systemd end everything.
    pub(crate) fn power_off(mut self) -> Result<()> {
        let began = Instant::now();
        self.says(&["systemctl", "--no-block", "poweroff"])?;
        while self.emulator.ended()?.is_none() {
            ensure!(began.elapsed() < BOOT_PATIENCE, "the machine does not end: {}", last_lines(&self.console));
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

impl Debian for Machine {
    fn says(&self, words: &[&str]) -> Result<String> {
        // Within quotes all is itself but the quote.
        let quoted: Vec<String> = words.iter().map(|word| format!("'{}'", word.replace('\'', r"'\''"))).collect();
        self.ask(&quoted.join(" "))
    }
}

/// The end of what the console printed.
fn last_lines(console: &Path) -> String {
    let text = fs::read(console).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().rev().take(5).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("; ")
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = (0..3).fold(0_usize, |bits, at| bits << 8 | usize::from(group.get(at).copied().unwrap_or_default()));
        for place in 0..4 {
            let digit = DIGITS.get(bits >> (18 - 6 * place) & 63).copied().unwrap_or_default();
            text.push(if place <= group.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

fn from_base64(text: &str) -> Result<String> {
    let mut bytes = Vec::new();
    let (mut bits, mut held) = (0_u32, 0);
    for digit in text.trim_end_matches('=').bytes() {
        let value = DIGITS.iter().position(|known| *known == digit).context("the machine's answer is garbled")?;
        bits = bits << 6 | value as u32;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held & 0xff) as u8);
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::{base64, from_base64};

    #[test]
    fn words_of_base64_are_those_of_the_standard() {
        // RFC 4648, section 10.
        let known = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        for (plain, word) in known {
            assert_eq!(base64(plain.as_bytes()), word);
            assert_eq!(from_base64(word).ok().as_deref(), Some(plain));
        }
        assert!(from_base64("a b").is_err(), "what is no digit is refused");
    }
}
