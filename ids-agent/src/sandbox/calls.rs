//! The system calls that a running agent makes, and no other. Found by tracing whole runs, with the same call's other
//! forms added, as C libraries and architectures differ in which one they use. docs/hardening.md says how to trace.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter,
};

use crate::config::SeccompMode;

/// Allowed whatever their arguments.
const ALLOWED: &[i64] = &[
    // Files.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_newfstatat,
    libc::SYS_fstat,
    libc::SYS_statx,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_lseek,
    libc::SYS_fcntl,
    libc::SYS_flock,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fadvise64,
    libc::SYS_getdents64,
    libc::SYS_renameat2,
    libc::SYS_unlinkat,
    libc::SYS_mkdirat,
    libc::SYS_linkat,
    libc::SYS_symlinkat,
    libc::SYS_readlinkat,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_utimensat,
    libc::SYS_umask,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_pipe2,
    libc::SYS_ioctl,
    libc::SYS_copy_file_range,
    libc::SYS_sendfile,
    libc::SYS_getcwd,
    libc::SYS_memfd_create,
    // Waiting.
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_timerfd_gettime,
    libc::SYS_inotify_init1,
    libc::SYS_inotify_add_watch,
    libc::SYS_inotify_rm_watch,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    // Memory.
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_msync,
    libc::SYS_mincore,
    // Threads and signals.
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_get_robust_list,
    libc::SYS_rseq,
    libc::SYS_set_tid_address,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_getpriority,
    libc::SYS_setpriority,
    libc::SYS_membarrier,
    libc::SYS_getcpu,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_tgkill,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // Itself and the machine.
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getresuid,
    libc::SYS_getresgid,
    libc::SYS_getgroups,
    libc::SYS_capget,
    libc::SYS_capset,
    libc::SYS_prctl,
    libc::SYS_prlimit64,
    libc::SYS_getrusage,
    libc::SYS_times,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    libc::SYS_getrandom,
    // Sockets; which families is said below.
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_connect,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_sendmsg,
    libc::SYS_recvmsg,
    libc::SYS_sendmmsg,
    libc::SYS_recvmmsg,
    libc::SYS_shutdown,
];

/// Older forms that this architecture alone has.
#[cfg(target_arch = "x86_64")]
const OLDER: &[i64] = &[
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_poll,
    libc::SYS_select,
    libc::SYS_pipe,
    libc::SYS_dup2,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_unlink,
    libc::SYS_mkdir,
    libc::SYS_rmdir,
    libc::SYS_readlink,
    libc::SYS_symlink,
    libc::SYS_link,
    libc::SYS_chmod,
    libc::SYS_epoll_create,
    libc::SYS_epoll_wait,
    libc::SYS_eventfd,
    libc::SYS_inotify_init,
    libc::SYS_getdents,
    libc::SYS_getrlimit,
    libc::SYS_time,
    libc::SYS_arch_prctl,
];
/// `renameat`, which the libc crate names for musl alone.
#[cfg(target_arch = "aarch64")]
const OLDER: &[i64] = &[38];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const OLDER: &[i64] = &[];

/// The pages, systemd and the journal, and what the kernel says of interfaces.
const FAMILIES: [i32; 4] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// Commands of bpf(2) that make something new or look into the rest of the machine: programs and maps are loaded before
/// the filter stands. Numbers of `enum bpf_cmd`, which never change.
const BPF_REFUSED: [u64; 8] = [
    0,  // MAP_CREATE
    5,  // PROG_LOAD
    13, // PROG_GET_FD_BY_ID
    17, // RAW_TRACEPOINT_OPEN
    18, // BTF_LOAD
    20, // TASK_FD_QUERY
    33, // ITER_CREATE
    36, // TOKEN_CREATE
];

/// New namespaces of every kind.
const CLONE_NEW: u64 = 0x7e02_0080;

/// Restricts this thread, and those it will begin. Says how many system calls are left.
pub(super) fn restrict(mode: SeccompMode) -> Result<usize, Error> {
    let rules = rules()?;
    let allowed = rules.len();
    let otherwise = match mode {
        SeccompMode::Log => SeccompAction::Log,
        SeccompMode::Enforce | SeccompMode::Off => SeccompAction::Errno(libc::EPERM as u32),
    };
    let arch: TargetArch = std::env::consts::ARCH.try_into()?;
    // Its arguments lie in memory, where a filter cannot look. C libraries then take clone, where it can.
    let no_clone3 = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let absent = SeccompAction::Errno(libc::ENOSYS as u32);
    let clone3: BpfProgram = SeccompFilter::new(no_clone3, SeccompAction::Allow, absent, arch)?.try_into()?;
    let list: BpfProgram = SeccompFilter::new(rules, otherwise, SeccompAction::Allow, arch)?.try_into()?;
    apply_filter(&clone3)?;
    apply_filter(&list)?;
    Ok(allowed)
}

fn rules() -> Result<BTreeMap<i64, Vec<SeccompRule>>, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        ALLOWED.iter().chain(OLDER).map(|call| (*call, Vec::new())).collect();
    // The list of older filters would otherwise hide it: the first filter has answered before.
    rules.insert(libc::SYS_clone3, Vec::new());
    let on = |at: u8, operator, value: u64| SeccompCondition::new(at, SeccompCmpArgLen::Qword, operator, value);
    let families: Result<Vec<_>, _> = FAMILIES
        .iter()
        .map(|family| {
            let family = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, *family as u64)?;
            SeccompRule::new(vec![family])
        })
        .collect();
    let families = families?;
    rules.insert(libc::SYS_socket, families.clone());
    rules.insert(libc::SYS_socketpair, families);
    rules.insert(libc::SYS_clone, vec![SeccompRule::new(vec![on(0, SeccompCmpOp::MaskedEq(CLONE_NEW), 0)?])?]);
    let commands: Result<Vec<_>, _> = BPF_REFUSED
        .iter()
        .map(|command| SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, *command))
        .collect();
    rules.insert(libc::SYS_bpf, vec![SeccompRule::new(commands?)?]);
    Ok(rules)
}

/// Tries what the list leaves out: a socket of a family that the agent has no use for.
pub(super) fn is_enforced() -> bool {
    use rustix::net::{AddressFamily, SocketType, socket};
    let tried = socket(AddressFamily::BLUETOOTH, SocketType::RAW, None);
    tried.is_err_and(|error| error == rustix::io::Errno::PERM)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

    use std::{io, process::Command};

    use super::*;

    #[test]
    fn beside_the_list_calls_fail_and_those_on_it_work() {
        // On a thread of its own: nothing is ever given back.
        let outcome = std::thread::spawn(|| {
            let begins = |program: &str| Command::new(program).output().map(|_| ()).map_err(|error| error.kind());
            let before = begins("true");
            rustix::thread::set_no_new_privs(true).unwrap();
            let allowed = restrict(SeccompMode::Enforce).unwrap();
            let thread = std::thread::spawn(|| std::fs::read("/proc/self/status").is_ok()).join();
            (before, begins("true"), thread.unwrap(), is_enforced(), allowed)
        });
        let (before, after, reads, enforced, allowed) = outcome.join().unwrap();
        assert_eq!(before, Ok(()));
        assert_eq!(after, Err(io::ErrorKind::PermissionDenied), "programs are not begun");
        assert!(reads, "threads begin and files are read");
        assert!(enforced);
        assert!(allowed > 100);
    }
}
