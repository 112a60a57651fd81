//! Which flows of a capture are the attack, in the words of `attack_flow_filter`.

use std::{fmt, net::IpAddr};

use super::capture::Flow;

/// Any of these, each of which wants all of its terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filter(Vec<Vec<Term>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Term {
    Src(IpAddr),
    Dst(IpAddr),
    SrcPort(u16),
    DstPort(u16),
    Udp,
}

impl Filter {
    pub(crate) fn none() -> Self {
        Self(Vec::new())
    }

    /// Every flow that one of these begins.
    pub(crate) fn from_hosts(hosts: impl IntoIterator<Item = impl Into<IpAddr>>) -> Self {
        Self(hosts.into_iter().map(|host| vec![Term::Src(host.into())]).collect())
    }

    /// Every flow for which all of these hold.
    pub(crate) fn all_of(terms: &[Term]) -> Self {
        Self(vec![terms.to_vec()])
    }

    pub(crate) fn or(mut self, terms: &[Term]) -> Self {
        self.0.push(terms.to_vec());
        self
    }

    pub(crate) fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    /// By the direction of the flow's first packet.
    pub(crate) fn matches(&self, flow: &Flow) -> bool {
        self.0.iter().any(|all| all.iter().all(|term| term.matches(flow)))
    }
}

impl Term {
    fn matches(self, flow: &Flow) -> bool {
        match self {
            Self::Src(host) => flow.src == host,
            Self::Dst(host) => flow.dst == host,
            Self::SrcPort(port) => flow.src_port == port,
            Self::DstPort(port) => flow.dst_port == port,
            Self::Udp => flow.proto == 17,
        }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_none() {
            return f.write_str("none");
        }
        let any: Vec<String> =
            self.0.iter().map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")).collect();
        f.write_str(&any.join(" or "))
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Src(host) => write!(f, "src host {host}"),
            Self::Dst(host) => write!(f, "dst host {host}"),
            Self::SrcPort(port) => write!(f, "src port {port}"),
            Self::DstPort(port) => write!(f, "dst port {port}"),
            Self::Udp => f.write_str("udp"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::{Filter, Term};
    use crate::lab::capture::Flow;

    #[test]
    fn a_filter_reads_as_the_table_of_labels_has_it() {
        let host = |last| IpAddr::from(Ipv4Addr::new(192, 0, 2, last));
        assert_eq!(Filter::none().to_string(), "none");
        let filter = Filter::from_hosts([host(1)]).or(&[Term::Dst(host(2)), Term::Udp, Term::DstPort(53)]);
        assert_eq!(filter.to_string(), "src host 192.0.2.1 or dst host 192.0.2.2 and udp and dst port 53");
        let flow = |src, dst, dst_port| Flow { src, dst, src_port: 40_000, dst_port, proto: 17 };
        assert!(filter.matches(&flow(host(1), host(9), 80)));
        assert!(filter.matches(&flow(host(9), host(2), 53)));
        assert!(!filter.matches(&flow(host(9), host(2), 54)));
        assert!(!filter.matches(&flow(host(9), host(1), 80)));
    }
}
