//! What Suricata said of flows beside its signatures' findings, kept until the flow's last line. Bounded in bytes.

use std::sync::Arc;

use crate::{
    bounded::BoundedMap,
    eve::{EveApp, EveFile, EveSmb, HEARD_OBJECTS_MAX, Heard, Matched, add_match},
    payload::{CertificateFacts, DnsFacts, HttpFacts, PayloadFacts, SshFacts, TlsFacts},
};

/// Flows of which something is kept, and what it may weigh.
pub(super) const TOLD_MAX: usize = 8_192;
pub(super) const TOLD_BYTES_MAX: usize = 2 << 20;

#[derive(Clone, Debug, Default)]
struct Flow {
    app: Option<Box<EveApp>>,
    heard: Heard,
    bytes: usize,
}

#[derive(Debug)]
pub(super) struct Told {
    flows: BoundedMap<u64, Flow>,
    bytes: usize,
    forgotten: u64,
}

impl Told {
    pub(super) fn new(hash_seed: u64) -> Self {
        Self { flows: BoundedMap::new(TOLD_MAX, hash_seed), bytes: 0, forgotten: 0 }
    }

    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    pub(super) fn signature(&mut self, flow_id: u64, matched: Matched) {
        self.change(flow_id, |flow| {
            add_match(&mut flow.heard.signatures, matched);
        });
    }

    pub(super) fn app(&mut self, flow_id: u64, said: &EveApp) {
        self.change(flow_id, |flow| {
            if let Some(file) = &said.file
                && flow.heard.files.len() < HEARD_OBJECTS_MAX
                && !flow.heard.files.contains(file)
            {
                flow.heard.files.push(file.clone());
            }
            if let Some(smb) = &said.smb
                && flow.heard.smb.len() < HEARD_OBJECTS_MAX
                && !flow.heard.smb.contains(smb)
            {
                flow.heard.smb.push(smb.clone());
            }
            let app = flow.app.get_or_insert_default();
            // The first word stands: a flow's line tells of how it began.
            first(&mut app.tls, &said.tls);
            first(&mut app.http, &said.http);
            first(&mut app.dns, &said.dns);
            first(&mut app.ssh, &said.ssh);
        });
    }

    /// Adds what is known of a flow to what its samples show, where they do not show it.
    pub(super) fn tell(&self, flow_id: u64, facts: &mut PayloadFacts) {
        let Some(flow) = self.flows.peek(&flow_id) else { return };
        if !flow.heard.is_empty() && facts.heard.as_deref() != Some(&flow.heard) {
            facts.heard = Some(Arc::new(flow.heard.clone()));
        }
        if let Some(app) = &flow.app {
            fill(app, facts);
        }
    }

    fn change(&mut self, flow_id: u64, change: impl FnOnce(&mut Flow)) {
        if self.flows.peek(&flow_id).is_none()
            && let Some((_, displaced)) = self.flows.make_room()
        {
            self.bytes -= displaced.bytes;
            self.forgotten += 1;
        }
        let flow = self.flows.touch_or_insert(&flow_id, Flow::default);
        change(flow);
        let (before, after) = (flow.bytes, weight(flow));
        flow.bytes = after;
        self.bytes = self.bytes + after - before;
        while self.bytes > TOLD_BYTES_MAX {
            let Some((_, displaced)) = self.flows.pop_idlest_if(|_, _| true) else { return };
            self.bytes -= displaced.bytes;
            self.forgotten += 1;
        }
    }
}

fn first<T: Clone>(kept: &mut Option<T>, said: &Option<T>) {
    if kept.is_none() {
        kept.clone_from(said);
    }
}

/// What a flow's strings weigh, with what holds them.
fn weight(flow: &Flow) -> usize {
    let text = |text: &Option<Box<str>>| text.as_ref().map_or(0, |text| text.len());
    let mut bytes = 0;
    if let Some(app) = &flow.app {
        bytes += size_of::<EveApp>();
        if let Some(tls) = &app.tls {
            bytes +=
                [&tls.sni, &tls.ja3, &tls.ja3s, &tls.ja4, &tls.subject, &tls.issuer].map(text).iter().sum::<usize>();
        }
        if let Some(http) = &app.http {
            bytes += [&http.host, &http.url, &http.user_agent, &http.method].map(text).iter().sum::<usize>();
        }
        if let Some(dns) = &app.dns {
            bytes += text(&dns.name) + text(&dns.qtype);
        }
        if let Some(ssh) = &app.ssh {
            bytes += text(&ssh.client) + text(&ssh.server);
        }
    }
    let signature = |matched: &Matched| size_of::<Matched>() + matched.signature.len() + matched.category.len();
    let file = |file: &EveFile| size_of::<EveFile>() + text(&file.name) + text(&file.magic) + text(&file.sha256);
    let smb = |smb: &EveSmb| {
        size_of::<EveSmb>() + [&smb.command, &smb.share, &smb.file, &smb.status].map(text).iter().sum::<usize>()
    };
    bytes
        + flow.heard.signatures.iter().map(signature).sum::<usize>()
        + flow.heard.files.iter().map(file).sum::<usize>()
        + flow.heard.smb.iter().map(smb).sum::<usize>()
}

fn shared(text: &Option<Box<str>>) -> Option<Arc<str>> {
    text.as_deref().map(|text| crate::payload::escaped(text.as_bytes()))
}

fn lacking(ours: &mut Option<Arc<str>>, theirs: &Option<Box<str>>) {
    if ours.is_none() {
        *ours = shared(theirs);
    }
}

fn fill(app: &EveApp, facts: &mut PayloadFacts) {
    if let Some(said) = &app.tls {
        let tls: &mut TlsFacts = facts.tls.get_or_insert_default();
        lacking(&mut tls.sni, &said.sni);
        lacking(&mut tls.ja3, &said.ja3);
        lacking(&mut tls.ja3s, &said.ja3s);
        lacking(&mut tls.ja4, &said.ja4);
        if tls.certificate.is_none()
            && let (Some(subject), Some(issuer)) = (shared(&said.subject), shared(&said.issuer))
        {
            let self_signed = subject == issuer;
            tls.certificate =
                Some(Box::new(CertificateFacts { subject, issuer, self_signed, ..CertificateFacts::default() }));
        }
    }
    if let Some(said) = &app.http {
        let http: &mut HttpFacts = facts.http.get_or_insert_default();
        lacking(&mut http.host, &said.host);
        lacking(&mut http.path, &said.url);
        lacking(&mut http.user_agent, &said.user_agent);
        lacking(&mut http.method, &said.method);
        http.status = http.status.or(said.status);
    }
    if let Some(said) = &app.dns
        && facts.dns.is_none()
    {
        facts.dns =
            Some(Box::new(DnsFacts { query: shared(&said.name), qtype: shared(&said.qtype), ..DnsFacts::default() }));
    }
    if let Some(said) = &app.ssh {
        let ssh: &mut SshFacts = facts.ssh.get_or_insert_default();
        lacking(&mut ssh.client, &said.client);
        lacking(&mut ssh.server, &said.server);
    }
}
