//! What no feed may condemn: services that everybody uses, resolvers, addresses that mean nothing outside.

use std::{net::IpAddr, sync::LazyLock};

/// Names under which strangers keep hosts, pages or files of their own. A feed's entry for one host below them
/// stands for that very host; one for the parent itself is not believed. Public suffixes need no entry here.
const PARENTS: [&str; 163] = [
    "3utilities.com",
    "a-msedge.net",
    "adobe.com",
    "akadns.net",
    "akamai.net",
    "akamaiedge.net",
    "akamaihd.net",
    "akamaitechnologies.com",
    "akamaized.net",
    "alicdn.com",
    "aliyun.com",
    "aliyuncs.com",
    "amazon.com",
    "amazonaws.com",
    "amazontrust.com",
    "android.com",
    "aol.com",
    "apple.com",
    "appspot.com",
    "archive.org",
    "azure.com",
    "azure.net",
    "azureedge.net",
    "azurefd.net",
    "azurewebsites.net",
    "backblazeb2.com",
    "baidu.com",
    "bing.com",
    "bit.ly",
    "bitbucket.org",
    "blogger.com",
    "blogspot.com",
    "box.com",
    "canva.com",
    "cdn77.org",
    "chickenkiller.com",
    "cloudapp.net",
    "cloudflare.com",
    "cloudflare.net",
    "cloudfront.net",
    "comodoca.com",
    "ddns.net",
    "debian.org",
    "digicert.com",
    "digitaloceanspaces.com",
    "discord.com",
    "discord.gg",
    "discordapp.com",
    "discordapp.net",
    "docker.com",
    "docker.io",
    "doubleclick.net",
    "dropbox.com",
    "dropboxusercontent.com",
    "duckdns.org",
    "dyndns.org",
    "ebay.com",
    "edgekey.net",
    "edgesuite.net",
    "entrust.net",
    "evernote.com",
    "facebook.com",
    "fastly.net",
    "fbcdn.net",
    "firebaseapp.com",
    "firebaseio.com",
    "firefox.com",
    "freedns.afraid.org",
    "github.com",
    "github.io",
    "githubusercontent.com",
    "gitlab.com",
    "gitlab.io",
    "globalsign.com",
    "gmail.com",
    "godaddy.com",
    "google.com",
    "googleapis.com",
    "googleusercontent.com",
    "googlevideo.com",
    "gstatic.com",
    "herokuapp.com",
    "hopto.org",
    "icloud.com",
    "imgur.com",
    "instagram.com",
    "lencr.org",
    "letsencrypt.org",
    "linkedin.com",
    "live.com",
    "live.net",
    "mailchimp.com",
    "mediafire.com",
    "mega.co.nz",
    "mega.nz",
    "microsoft.com",
    "microsoftonline.com",
    "mooo.com",
    "mozilla.com",
    "mozilla.net",
    "mozilla.org",
    "msedge.net",
    "msftconnecttest.com",
    "msftncsi.com",
    "msn.com",
    "netflix.com",
    "netlify.app",
    "no-ip.org",
    "ntp.org",
    "nvidia.com",
    "office.com",
    "office365.com",
    "onedrive.com",
    "opendns.com",
    "oracle.com",
    "outlook.com",
    "pastebin.com",
    "paypal.com",
    "qq.com",
    "reddit.com",
    "ring.com",
    "roku.com",
    "samsung.com",
    "sectigo.com",
    "sendgrid.net",
    "sharepoint.com",
    "skype.com",
    "slack.com",
    "sourceforge.net",
    "spotify.com",
    "steamcommunity.com",
    "symantec.com",
    "symcb.com",
    "symcd.com",
    "sytes.net",
    "t.co",
    "t.me",
    "taobao.com",
    "telegram.org",
    "tencent.com",
    "thawte.com",
    "tinyurl.com",
    "tplinkcloud.com",
    "trafficmanager.net",
    "tuyaus.com",
    "twitter.com",
    "ubuntu.com",
    "usertrust.com",
    "verisign.com",
    "virustotal.com",
    "whatsapp.com",
    "wikimedia.org",
    "wikipedia.org",
    "windows.com",
    "windows.net",
    "windowsupdate.com",
    "wordpress.com",
    "x.com",
    "xiaomi.com",
    "yahoo.com",
    "yandex.ru",
    "youtube.com",
    "zoom.us",
];

/// Public resolvers: malware asks them too, and so does everybody else.
const RESOLVERS: [&str; 20] = [
    "1.0.0.1",
    "1.1.1.1",
    "149.112.112.112",
    "185.222.222.222",
    "2001:4860:4860::8844",
    "2001:4860:4860::8888",
    "208.67.220.220",
    "208.67.222.222",
    "2606:4700:4700::1001",
    "2606:4700:4700::1111",
    "2620:fe::9",
    "2620:fe::fe",
    "4.2.2.1",
    "4.2.2.2",
    "8.8.4.4",
    "8.8.8.8",
    "9.9.9.10",
    "9.9.9.9",
    "94.140.14.14",
    "94.140.15.15",
];

static RESOLVER_ADDRESSES: LazyLock<Vec<IpAddr>> =
    LazyLock::new(|| RESOLVERS.iter().filter_map(|address| address.parse().ok()).collect());

/// Whether `name` is such a parent or lies below one.
pub(super) fn is_below_parent(name: &str) -> bool {
    let below = name.match_indices('.').filter_map(|(at, _)| name.get(at + 1..));
    std::iter::once(name).chain(below).any(is_parent)
}

/// Whether `name` is such a parent, or the front page of one.
pub(super) fn is_parent(name: &str) -> bool {
    let name = name.strip_prefix("www.").unwrap_or(name);
    PARENTS.binary_search(&name).is_ok()
}

/// Whether an address says nothing about who has it, or is everybody's.
pub(super) fn is_reserved(address: IpAddr) -> bool {
    let address = address.to_canonical();
    let nobodys = match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_multicast()
                || v4.is_broadcast()
                || a == 0
                || a >= 240
                // Shared address space of carriers, RFC 6598.
                || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(v6) => {
            let first = v6.segments()[0];
            v6.is_unspecified()
                || v6.is_loopback()
                || v6.is_multicast()
                || (first & 0xfe00) == 0xfc00
                || (first & 0xffc0) == 0xfe80
        }
    };
    nobodys || RESOLVER_ADDRESSES.contains(&address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_sorted_and_written_as_they_are_compared() {
        assert!(PARENTS.is_sorted());
        assert!(PARENTS.iter().all(|name| *name == name.to_ascii_lowercase()));
        assert!(RESOLVERS.iter().all(|address| address.parse::<IpAddr>().is_ok()));
    }
}
