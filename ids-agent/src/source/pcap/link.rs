//! Link types of capture files: which of them the parser reads, and what the others are called.

use std::borrow::Cow;

use ids_common::parse::Link;

/// Number of a link type in the registry (<https://www.tcpdump.org/linktypes.html>).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkType(pub u16);

impl LinkType {
    /// What the parser calls it, if it reads it.
    pub const fn link(self) -> Option<Link> {
        Some(match self.0 {
            1 => Link::Ethernet,
            // BSD and OpenBSD wrote raw IP as 12 and 14; 228 and 229 name the version.
            12 | 14 | 101 | 228 | 229 => Link::RawIp,
            113 => Link::LinuxSll,
            276 => Link::LinuxSll2,
            0 | 108 => Link::Loopback,
            _ => return None,
        })
    }

    /// The registry's name in lower case, or the number.
    pub fn label(self) -> Cow<'static, str> {
        Cow::Borrowed(match self.0 {
            0 => "null",
            1 => "ethernet",
            6 => "token_ring",
            7 => "arcnet",
            8 => "slip",
            9 => "ppp",
            10 => "fddi",
            12 | 14 | 101 => "raw_ip",
            50 => "ppp_hdlc",
            51 => "ppp_ether",
            100 => "atm_rfc1483",
            104 => "c_hdlc",
            105 => "ieee802_11",
            107 => "frame_relay",
            108 => "loop",
            113 => "linux_sll",
            117 => "pflog",
            119 => "ieee802_11_prism",
            127 => "ieee802_11_radiotap",
            129 => "arcnet_linux",
            138 => "ieee1394",
            143 => "docsis",
            147..=162 => "user_defined",
            163 => "ieee802_11_avs",
            165 => "bacnet_ms_tp",
            177 => "lin",
            187 => "bluetooth_hci_h4",
            189 => "usb_linux",
            192 => "ppi",
            195 => "ieee802_15_4",
            201 => "bluetooth_hci_h4_phdr",
            203 => "lapd",
            209 => "i2c_linux",
            220 => "usb_linux_mmapped",
            227 => "can_socketcan",
            228 => "ipv4",
            229 => "ipv6",
            230 => "ieee802_15_4_nofcs",
            239 => "nflog",
            240 => "netanalyzer",
            242 => "netanalyzer_transparent",
            247 => "infiniband",
            249 => "usbpcap",
            251 => "bluetooth_le",
            253 => "netlink",
            258 => "pktap",
            272 => "ieee802_15_4_tap",
            276 => "linux_sll2",
            277 => "zwave",
            283 => "ieee802_15_4_tap",
            other => return Cow::Owned(format!("linktype_{other}")),
        })
    }
}
