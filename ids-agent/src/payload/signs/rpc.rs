//! Signs in DCE/RPC, alone over TCP or inside SMB: which interface is bound, and which of its functions is called.
//! Layouts: C706 chapter 12, MS-RPCE; interfaces and numbers: the MS- documents named at each.

use super::{SignKind, Signs};

const PDU_HEADER: usize = 16;
const REQUEST: u8 = 0;
const BIND: u8 = 11;
const ALTER_CONTEXT: u8 = 14;
/// PDUs looked at in one direction.
const PDUS_MAX: usize = 32;
const CONTEXTS_MAX: usize = 8;

/// An interface's identifier as on the wire, in little-endian byte order.
type Uuid = [u8; 16];

const fn uuid(a: u32, b: u16, c: u16, rest: [u8; 8]) -> Uuid {
    let (a, b, c) = (a.to_le_bytes(), b.to_le_bytes(), c.to_le_bytes());
    let [d, e, f, g, h, i, j, k] = rest;
    [a[0], a[1], a[2], a[3], b[0], b[1], c[0], c[1], d, e, f, g, h, i, j, k]
}

/// The endpoint mapper (C706, appendix O).
const EPM: Uuid = uuid(0xe1af_8308, 0x5d1f, 0x11c9, [0x91, 0xa4, 0x08, 0x00, 0x2b, 0x14, 0xa0, 0xfa]);
/// MS-NRPC.
const NETLOGON: Uuid = uuid(0x1234_5678, 0x1234, 0xabcd, [0xef, 0x00, 0x01, 0x23, 0x45, 0x67, 0xcf, 0xfb]);
/// MS-DRSR.
const DRSUAPI: Uuid = uuid(0xe351_4235, 0x4b06, 0x11d1, [0xab, 0x04, 0x00, 0xc0, 0x4f, 0xc2, 0xdc, 0xd2]);
/// MS-SCMR.
const SVCCTL: Uuid = uuid(0x367a_bb81, 0x9844, 0x35f1, [0xad, 0x32, 0x98, 0xf0, 0x38, 0x00, 0x10, 0x03]);
/// MS-TSCH, both generations.
const ATSVC: Uuid = uuid(0x1ff7_0682, 0x0a51, 0x30e8, [0x07, 0x6d, 0x74, 0x0b, 0xe8, 0xce, 0xe9, 0x8b]);
const TASKS: Uuid = uuid(0x86d3_5949, 0x83c9, 0x4044, [0xb4, 0x24, 0xdb, 0x36, 0x32, 0x31, 0xfd, 0x0c]);
/// MS-EFSR, by both of its pipes.
const EFS_LSA: Uuid = uuid(0xc681_d488, 0xd850, 0x11d0, [0x8c, 0x52, 0x00, 0xc0, 0x4f, 0xd9, 0x0f, 0x7e]);
const EFS: Uuid = uuid(0xdf19_41c5, 0xfe89, 0x4e79, [0xbf, 0x10, 0x46, 0x36, 0x57, 0xac, 0xf4, 0x4d]);
/// MS-RPRN.
const SPOOLSS: Uuid = uuid(0x1234_5678, 0x1234, 0xabcd, [0xef, 0x00, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab]);
/// MS-DFSNM.
const DFSNM: Uuid = uuid(0x4fc7_42e0, 0x4a10, 0x11cf, [0x82, 0x73, 0x00, 0xaa, 0x00, 0x4a, 0xe6, 0x73]);
/// MS-SRVS.
const SRVSVC: Uuid = uuid(0x4b32_4fc8, 0x1670, 0x01d3, [0x12, 0x78, 0x5a, 0x47, 0xbf, 0x6e, 0xe1, 0x88]);
/// MS-DSSP.
const DSSETUP: Uuid = uuid(0x3919_286a, 0xb10c, 0x11d0, [0x9b, 0xa8, 0x00, 0xc0, 0x4f, 0xd9, 0x2e, 0xf5]);
/// The activation of old DCOM (IRemoteActivation).
const ACTIVATION: Uuid = uuid(0x4d9f_4ab8, 0x7d1c, 0x11cf, [0x86, 0x1e, 0x00, 0x20, 0xaf, 0x6e, 0x7c, 0x57]);
/// MS-RRP.
const WINREG: Uuid = uuid(0x338c_d001, 0x2244, 0x31f1, [0xaa, 0xaa, 0x90, 0x00, 0x38, 0x00, 0x10, 0x03]);
/// MS-EVEN.
const EVENTLOG: Uuid = uuid(0x8227_3fdc, 0xe32a, 0x18c3, [0x3f, 0x78, 0x82, 0x79, 0x29, 0xdc, 0x23, 0xea]);
/// The same in its later version (MS-EVEN6).
const EVENTS: Uuid = uuid(0xf6be_aff7, 0x1e19, 0x4fbb, [0x9f, 0x8f, 0xb8, 0x9e, 0x20, 0x18, 0x33, 0x7c]);
/// MS-SAMR.
const SAMR: Uuid = uuid(0x1234_5778, 0x1234, 0xabcd, [0xef, 0x00, 0x01, 0x23, 0x45, 0x67, 0x89, 0xac]);
/// MS-LSAD.
const LSARPC: Uuid = uuid(0x1234_5778, 0x1234, 0xabcd, [0xef, 0x00, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab]);
/// MS-WKST.
const WKSSVC: Uuid = uuid(0x6bff_d098, 0xa112, 0x3610, [0x98, 0x33, 0x46, 0xc3, 0xf8, 0x7e, 0x34, 0x5a]);
/// MS-OAUT: the interface by which one application scripts another (IDispatch).
const SCRIPTING: Uuid = uuid(0x0002_0400, 0x0000, 0x0000, [0xc0, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x46]);
/// MS-WMI: what is asked and told to do (IWbemServices).
const WMI_SERVICES: Uuid = uuid(0x9556_dc99, 0x828c, 0x11cf, [0xa3, 0x7e, 0x00, 0xaa, 0x00, 0x32, 0x40, 0xc7]);
/// MS-BKRP: keys that the domain keeps for its users.
const BACKUP_KEYS: Uuid = uuid(0x3dde_7c30, 0x165d, 0x11d1, [0xab, 0x8f, 0x00, 0x80, 0x5f, 0x14, 0xdb, 0x40]);
/// What BackuprKey is told to do: to open a key that was put away, in both of its generations (MS-BKRP, section 3.1.4.1).
const RESTORE: [Uuid; 2] = [
    uuid(0x4727_0c64, 0x2fc7, 0x499b, [0xac, 0x5b, 0x0e, 0x37, 0xcd, 0xce, 0x89, 0x9a]),
    uuid(0x7fe9_4d50, 0x178e, 0x11d1, [0xab, 0x8f, 0x00, 0x80, 0x5f, 0x14, 0xdb, 0x40]),
];
/// MS-WMI: the first interface of a session (IWbemLevel1Login).
const WMI_LOGIN: Uuid = uuid(0xf309_ad18, 0xd86a, 0x11d0, [0xa0, 0x75, 0x00, 0xc0, 0x4f, 0xb6, 0x88, 0x20]);

/// Classes that run what they are told (MS-DCOM activation names them): applications that script others.
const SCRIPTED: [(Uuid, &str); 4] = [
    (uuid(0x49b2_791a, 0xb1ae, 0x4c90, [0x9b, 0x8e, 0xe8, 0x60, 0xba, 0x07, 0xf8, 0x89]), "MMC20.Application"),
    (uuid(0x9ba0_5972, 0xf6a8, 0x11cf, [0xa4, 0x42, 0x00, 0xa0, 0xc9, 0x0a, 0x8f, 0x39]), "ShellWindows"),
    (uuid(0xc08a_fd90, 0xf2a1, 0x11d1, [0x84, 0x55, 0x00, 0xa0, 0xc9, 0x1f, 0x38, 0x80]), "ShellBrowserWindow"),
    (uuid(0x0002_4500, 0x0000, 0x0000, [0xc0, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x46]), "Excel.Application"),
];

/// Functions of scripted applications that run a program or load one, in UTF-16 as they are asked for by name.
const SCRIPTED_FUNCTIONS: [&str; 6] =
    ["ExecuteShellCommand", "ShellExecute", "RegisterXLL", "ExecuteExcel4Macro", "DDEInitiate", "ActivateMicrosoftApp"];

/// Secrets of the local security authority by their names (MS-LSAD, section 3.1.1.4), in UTF-16 as they are asked for.
const SECRETS: [&str; 5] = ["G$BCKUPKEY", "NL$KM", "DPAPI_SYSTEM", "DefaultPassword", "$MACHINE.ACC"];

/// From so many distinct inquiries in one connection on, of two interfaces and accounts among them, a host is being listed: tools
/// ask for all there is (enum4linux, rpcclient), consoles for what they show.
const INQUIRIES_MIN: usize = 4;

/// From so many challenges in one connection on, somebody is trying until one is taken: a channel takes one, or two where the
/// server is too old for the newest call.
const CHALLENGES_MIN: usize = 4;

/// What calls of a connection were bound to: number and interface of each context.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::payload) struct Contexts(smallvec::SmallVec<[(u16, Uuid); 1]>);

/// Signs of the PDUs in one direction.
pub(super) fn signs(bytes: &[u8], contexts: &mut Contexts, signs: &mut Signs) {
    let Contexts(contexts) = contexts;
    let mut lookups = 0;
    let mut challenges = 0;
    let mut inquiries = smallvec::SmallVec::<[(Uuid, u16); PDUS_MAX]>::new();
    let mut sealed = smallvec::SmallVec::<[u16; PDUS_MAX]>::new();
    for pdu in pdus(bytes).take(PDUS_MAX) {
        match pdu.get(2) {
            Some(&(BIND | ALTER_CONTEXT)) => {
                for (context, interface) in bound(pdu) {
                    if contexts.len() < CONTEXTS_MAX {
                        contexts.push((context, interface));
                    }
                    of_bind(&interface, signs);
                }
            }
            Some(&REQUEST) => {
                let Some((context, function, stub)) = called(pdu) else { continue };
                let interface = contexts.iter().rev().find(|(known, _)| *known == context).map(|(_, uuid)| *uuid);
                // Inquiry type 0: all of them (C706, appendix O).
                let of_all = stub.get(..4) == Some(&[0; 4]);
                lookups += u32::from(interface == Some(EPM) && function == 2 && of_all);
                if let Some(interface) = interface.filter(|interface| inquires(interface, function))
                    && !inquiries.contains(&(interface, function))
                {
                    inquiries.push((interface, function));
                }
                challenges += usize::from(interface == Some(NETLOGON) && function == 4);
                if interface.is_none() && is_sealed(pdu) {
                    sealed.push(function);
                }
                of_call(interface, function, stub, signs);
            }
            _ => {}
        }
    }
    // Clients ask the mapper for one interface; only a tool reads the whole list.
    if lookups >= 1 {
        signs.add_once(SignKind::DirectorySearch, 75, b"ept_lookup of all endpoints");
    }
    let lists_accounts =
        inquiries.iter().any(|(interface, function)| *interface == SAMR && matches!(function, 11 | 13 | 15));
    let interfaces = inquiries
        .iter()
        .enumerate()
        .filter(|(at, (interface, _))| inquiries.iter().take(*at).all(|(before, _)| before != interface));
    if lists_accounts && inquiries.len() >= INQUIRIES_MIN && interfaces.count() >= 2 {
        signs.add_once(SignKind::DirectorySearch, 78, b"accounts, shares and policies are listed one after the other");
    }
    if challenges >= CHALLENGES_MIN {
        signs.add_once(SignKind::Zerologon, 90, b"NetrServerReqChallenge time after time");
    }
    // Which interface it is shows by the bind alone. Where that was not seen, the order still does: who the domain controllers
    // are, what an account is called inside, then its changes (MS-DRSR, functions 16, 12 and 3).
    if in_order(&sealed, &[16, 12, 3]) {
        signs.add_once(SignKind::DirectoryTheft, 76, b"DRSDomainControllerInfo, DRSCrackNames, DRSGetNCChanges");
    }
    if !contexts.is_empty() || pdus(bytes).next().is_some() {
        for name in SECRETS {
            if contains(bytes, &wide(name)) {
                signs.add_once(SignKind::DirectoryTheft, 85, name.as_bytes());
            }
        }
    }
    for (class, name) in SCRIPTED {
        if contains(bytes, &class) {
            signs.add_once(SignKind::RemoteExecution, 88, name.as_bytes());
        }
    }
    for name in SCRIPTED_FUNCTIONS {
        if contexts.iter().any(|(_, interface)| *interface == SCRIPTING) && contains(bytes, &wide(name)) {
            signs.add_once(SignKind::RemoteExecution, 90, name.as_bytes());
        }
    }
}

/// Whether a function lists something of a host or domain, or says what it is like: domains, accounts and their policy (MS-SAMR),
/// shares, sessions and the server (MS-SRVS), the workstation (MS-WKST), privileges, policy and accounts (MS-LSAD).
fn inquires(interface: &Uuid, function: u16) -> bool {
    match *interface {
        SAMR => matches!(function, 6 | 8 | 11 | 13 | 15 | 40 | 46 | 47 | 48 | 51),
        SRVSVC => matches!(function, 12 | 15 | 21 | 28 | 36),
        WKSSVC => matches!(function, 0 | 2),
        LSARPC => matches!(function, 2 | 7 | 11 | 46),
        _ => false,
    }
}

/// Text as on the wire: UTF-16 in little-endian order.
fn wide(text: &str) -> Vec<u8> {
    text.bytes().flat_map(|byte| [byte, 0]).collect()
}

/// Whether a PDU carries a verifier, as those do that are signed or sealed (C706, section 13.2.6.1).
fn is_sealed(pdu: &[u8]) -> bool {
    pdu.get(10..12).is_some_and(|length| length != [0, 0])
}

/// Whether some numbers occur one behind the other.
fn in_order(numbers: &[u16], wanted: &[u16]) -> bool {
    let mut rest = numbers.iter();
    wanted.iter().all(|number| rest.any(|known| known == number))
}

/// Where PDUs begin: version 5.0, a type, little-endian ASCII IEEE.
fn pdus(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.windows(8).enumerate().filter_map(|(at, window)| match window {
        [5, 0 | 1, REQUEST | BIND | ALTER_CONTEXT, _, 0x10, 0, 0, 0] => {
            let rest = bytes.get(at..)?;
            let length = usize::from(u16::from_le_bytes([*rest.get(8)?, *rest.get(9)?]));
            (length >= PDU_HEADER + 8).then(|| rest.get(..length).unwrap_or(rest))
        }
        _ => None,
    })
}

/// Contexts of a bind, with the interface of each.
fn bound(pdu: &[u8]) -> impl Iterator<Item = (u16, Uuid)> {
    let count = usize::from(pdu.get(24).copied().unwrap_or(0));
    let mut rest = pdu.get(28..).unwrap_or(&[]);
    std::iter::from_fn(move || {
        let (&[id0, id1, transfers, _], behind) = rest.split_first_chunk::<4>()?;
        let (interface, behind) = behind.split_first_chunk::<16>()?;
        rest = behind.get(4 + usize::from(transfers) * 20..).unwrap_or(&[]);
        Some((u16::from_le_bytes([id0, id1]), *interface))
    })
    .take(count.min(CONTEXTS_MAX))
}

/// Context, function and arguments of a request.
fn called(pdu: &[u8]) -> Option<(u16, u16, &[u8])> {
    let (&[c0, c1, f0, f1], behind) = pdu.get(20..)?.split_first_chunk::<4>()?;
    let object = if pdu.get(3).is_some_and(|flags| flags & 0x80 != 0) { 16 } else { 0 };
    Some((u16::from_le_bytes([c0, c1]), u16::from_le_bytes([f0, f1]), behind.get(object..).unwrap_or(&[])))
}

fn of_bind(interface: &Uuid, signs: &mut Signs) {
    let (kind, sureness, what): (_, _, &[u8]) = match *interface {
        SVCCTL => (SignKind::RemoteExecution, 74, b"bind to the service manager (svcctl)"),
        ATSVC | TASKS => (SignKind::RemoteExecution, 70, b"bind to the task scheduler"),
        EFS | EFS_LSA => (SignKind::Coercion, 60, b"bind to EFSRPC"),
        DFSNM => (SignKind::Coercion, 50, b"bind to the DFS manager"),
        WINREG => (SignKind::RemoteExecution, 50, b"bind to the remote registry"),
        EVENTLOG => (SignKind::RemoteExecution, 40, b"bind to the event log"),
        WMI_LOGIN => (SignKind::RemoteExecution, 72, b"bind to WMI"),
        SCRIPTING => (SignKind::RemoteExecution, 72, b"an application of another host is scripted"),
        DRSUAPI => (SignKind::DirectoryTheft, 30, b"bind to directory replication"),
        ACTIVATION | DSSETUP => (SignKind::RpcExploit, 45, b"bind to an interface of old weaknesses"),
        _ => return,
    };
    signs.add_once(kind, sureness, what);
}

fn of_call(interface: Option<Uuid>, function: u16, stub: &[u8], signs: &mut Signs) {
    let (kind, sureness, what): (_, _, &[u8]) = match (interface, function) {
        // NetrServerReqChallenge with a challenge of zeros, then NetrServerAuthenticate2 or 3 with such a credential.
        (Some(NETLOGON), 4) if stub.len() >= 24 && ends_in_zeros(stub, 8) => {
            (SignKind::Zerologon, 95, b"NetrServerReqChallenge with zeros (CVE-2020-1472)")
        }
        (Some(NETLOGON), 15 | 26) if contains(stub, &[0; 8]) => {
            (SignKind::Zerologon, 60, b"NetrServerAuthenticate with zeros")
        }
        (Some(BACKUP_KEYS), 0) if RESTORE.iter().any(|task| contains(stub, task)) => {
            (SignKind::DirectoryTheft, 72, b"BackuprKey opens a user's key")
        }
        (Some(DRSUAPI), 3) => (SignKind::DirectoryTheft, 74, b"DRSGetNCChanges"),
        (Some(DRSUAPI), 5 | 17) => (SignKind::DirectoryTheft, 74, b"a new replication partner"),
        (Some(SVCCTL), 12 | 24 | 45 | 60) => (SignKind::RemoteExecution, 88, b"CreateService"),
        (Some(SVCCTL), 11 | 23) => (SignKind::RemoteExecution, 85, b"ChangeServiceConfig"),
        (Some(SVCCTL), 19 | 31) => (SignKind::RemoteExecution, 75, b"StartService"),
        (Some(ATSVC), 0) | (Some(TASKS), 1) => (SignKind::RemoteExecution, 85, b"a task is registered"),
        (Some(EFS | EFS_LSA), 0 | 4..=16) => (SignKind::Coercion, 90, b"EFSRPC with a file elsewhere"),
        // Print clients subscribe to changes of jobs and printers. Tools that want the server's login ask for one flag,
        // that a job was added, as their first example did (MS-RPRN, section 3.1.4.10.4).
        (Some(SPOOLSS), 65) if stub.get(20..28) == Some(&[0, 1, 0, 0, 0, 0, 0, 0]) => {
            (SignKind::Coercion, 85, b"RpcRemoteFindFirstPrinterChangeNotificationEx")
        }
        (Some(SPOOLSS), 89) => (SignKind::RpcExploit, 75, b"RpcAddPrinterDriverEx"),
        (Some(DFSNM), 12 | 13) => (SignKind::Coercion, 80, b"NetrDfsAddStdRoot"),
        (Some(SRVSVC), 31 | 32) if contains(stub, b"\\\0.\0.\0\\\0") => {
            (SignKind::RpcExploit, 95, b"NetPathCanonicalize with steps upwards (MS08-067)")
        }
        (Some(DSSETUP), 9) => (SignKind::RpcExploit, 92, b"DsRolerUpgradeDownlevelServer (MS04-011)"),
        (Some(ACTIVATION), 0) if stub.len() > 600 => {
            (SignKind::RpcExploit, 85, b"RemoteActivation, overlong (MS03-026)")
        }
        // IDispatch::Invoke (MS-OAUT, section 3.1.4.4), by its arguments alone where the bind was not seen.
        (None | Some(SCRIPTING), 6) if invokes_program(stub) => {
            (SignKind::RemoteExecution, 85, b"a program among the arguments of a scripted call")
        }
        (Some(EPM), 3) => return of_map(stub, signs),
        _ => return of_inquiry(interface, function, signs),
    };
    signs.add_once(kind, sureness, what);
}

/// Calls that list whom or what there is to attack, take secrets, or remove traces. What they ask for shows by the function's
/// number, even where the arguments are sealed.
fn of_inquiry(interface: Option<Uuid>, function: u16, signs: &mut Signs) {
    let (kind, sureness, what): (_, _, &[u8]) = match (interface, function) {
        (Some(LSARPC), 43) => (SignKind::DirectoryTheft, 88, b"LsarRetrievePrivateData"),
        (Some(LSARPC), 29 | 30) => (SignKind::DirectoryTheft, 80, b"LsarSetSecret or LsarQuerySecret"),
        (Some(WINREG), 20 | 31) => (SignKind::DirectoryTheft, 90, b"BaseRegSaveKey"),
        (Some(WINREG), 6 | 22) => (SignKind::RemoteExecution, 72, b"BaseRegSetValue"),
        // The hives of all users: who is logged on.
        (Some(WINREG), 4) => (SignKind::DirectorySearch, 74, b"OpenUsers"),
        (Some(EVENTLOG), 0) | (Some(EVENTS), 6) => (SignKind::RemoteExecution, 88, b"ClearEventLog"),
        // What consoles of administrators and file servers do too.
        (Some(SAMR), 11 | 13 | 15) => (SignKind::DirectorySearch, 66, b"SamrEnumerateInDomain"),
        (Some(SAMR), 40 | 48 | 51) => (SignKind::DirectorySearch, 72, b"SamrQueryDisplayInformation"),
        (Some(SAMR), 25) => (SignKind::DirectorySearch, 72, b"SamrGetMembersInGroup"),
        (Some(SRVSVC), 12) => (SignKind::DirectorySearch, 74, b"NetrSessionEnum"),
        (Some(WKSSVC), 2) => (SignKind::DirectorySearch, 74, b"NetrWkstaUserEnum"),
        (Some(WMI_SERVICES), 24 | 25) => (SignKind::RemoteExecution, 85, b"IWbemServices::ExecMethod"),
        _ => return,
    };
    signs.add_once(kind, sureness, what);
}

/// Whether arguments are variants, which go with the mark `User` on the wire (MS-OAUT, section 2.2.29.1), and a text among them
/// names a program or a command line.
fn invokes_program(stub: &[u8]) -> bool {
    let text = stub.to_ascii_lowercase();
    contains(stub, b"User")
        && [".exe", "cmd /c", "/c ", "powershell", "rundll32"].iter().any(|word| contains(&text, &wide(word)))
}

/// Whom the endpoint mapper is asked for: what comes next, even where the next connection is encrypted.
fn of_map(stub: &[u8], signs: &mut Signs) {
    let wanted = [
        (SVCCTL, SignKind::RemoteExecution, 72, "the port of the service manager is asked for"),
        (ATSVC, SignKind::RemoteExecution, 70, "the port of the task scheduler is asked for"),
        (TASKS, SignKind::RemoteExecution, 55, "the port of the task scheduler is asked for"),
        (EFS, SignKind::Coercion, 70, "the port of EFSRPC is asked for"),
        (DRSUAPI, SignKind::DirectoryTheft, 30, "the port of directory replication is asked for"),
    ];
    for (interface, kind, sureness, what) in wanted {
        if contains(stub, &interface) {
            signs.add_once(kind, sureness, what.as_bytes());
        }
    }
}

/// Whether the last `count` bytes are zeros behind something that is not.
fn ends_in_zeros(stub: &[u8], count: usize) -> bool {
    let Some((front, end)) = stub.len().checked_sub(count).and_then(|at| stub.split_at_checked(at)) else {
        return false;
    };
    end.iter().all(|byte| *byte == 0) && front.iter().any(|byte| *byte != 0)
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    memchr::memmem::find(bytes, wanted).is_some()
}
