//! Application protocols, and how their first bytes look.

use serde::Serialize;

macro_rules! app_protocols {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// An application protocol, told by what the peers send.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub enum AppProto {
            /// No payload sampled, or none that is recognised.
            #[default]
            #[serde(rename = "unknown")]
            Unknown,
            $($(#[$doc])* #[serde(rename = $name)] $variant,)*
        }

        impl AppProto {
            pub const ALL: &[Self] = &[Self::Unknown, $(Self::$variant,)*];

            /// EVE's `app_proto`; protocols that EVE does not name have their usual short name.
            pub const fn label(self) -> &'static str {
                match self {
                    Self::Unknown => "unknown",
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

app_protocols! {
    Tls = "tls",
    Dns = "dns",
    Mdns = "mdns",
    Llmnr = "llmnr",
    Http = "http",
    Http2 = "http2",
    Ssh = "ssh",
    Ftp = "ftp",
    Smtp = "smtp",
    Pop3 = "pop3",
    Imap = "imap",
    Telnet = "telnet",
    Smb = "smb",
    Dcerpc = "dcerpc",
    Nbns = "nbns",
    Rdp = "rdp",
    Rfb = "rfb",
    Mqtt = "mqtt",
    Ntp = "ntp",
    Dhcp = "dhcp",
    Quic = "quic",
    Dtls = "dtls",
    Mysql = "mysql",
    Pgsql = "pgsql",
    Redis = "redis",
    Mongodb = "mongodb",
    Sip = "sip",
    Ssdp = "ssdp",
    Stun = "stun",
    Snmp = "snmp",
    Tftp = "tftp",
    Ldap = "ldap",
    Krb5 = "krb5",
    Ike = "ike",
    Bittorrent = "bittorrent",
    BittorrentDht = "bittorrent-dht",
    Modbus = "modbus",
    Dnp3 = "dnp3",
    Enip = "enip",
}

impl AppProto {
    /// `None` for `Unknown`.
    pub fn known(self) -> Option<Self> {
        (self != Self::Unknown).then_some(self)
    }

    /// Whether clients of the protocol prove who they are, so that guessing pays.
    pub const fn has_login(self) -> bool {
        matches!(
            self,
            Self::Ssh
                | Self::Ftp
                | Self::Telnet
                | Self::Rdp
                | Self::Rfb
                | Self::Smb
                | Self::Smtp
                | Self::Pop3
                | Self::Imap
                | Self::Mqtt
                | Self::Mysql
                | Self::Pgsql
                | Self::Redis
                | Self::Mongodb
                | Self::Sip
                | Self::Ldap
                | Self::Krb5
        )
    }
}
