"""The web servers of the lab: nginx, apache, node and Python, each in front of the same application."""

import os

import kit
import web_app

NODE = r"""
// A site on node: HTTP/2 and HTTP/1.1 over TLS, plain HTTP beside it; hands everything to the application.
const http = require('http'), http2 = require('http2'), fs = require('fs');
const [certificate, back, ...addresses] = process.argv.slice(2);
const agent = new http.Agent({ keepAlive: true, maxSockets: 64 });
const hop = new Set(['connection', 'keep-alive', 'transfer-encoding', 'upgrade', 'http2-settings', 'host']);
function pass(request, response) {
  const headers = { 'x-site': request.headers[':authority'] || request.headers.host || 'site' };
  for (const [name, value] of Object.entries(request.headers)) if (name[0] !== ':' && !hop.has(name)) headers[name] = value;
  const onward = http.request({ host: '127.0.0.1', port: +back, agent, method: request.method, path: request.url, headers }, (reply) => {
    const out = {};
    for (const [name, value] of Object.entries(reply.headers)) if (!hop.has(name) && name !== 'server') out[name] = value;
    out.server = 'node';
    response.writeHead(reply.statusCode, out);
    reply.pipe(response);
  });
  onward.on('error', () => { try { response.writeHead(502); response.end(); } catch {} });
  response.on('close', () => onward.destroy());
  request.pipe(onward);
}
const secure = { key: fs.readFileSync(certificate + '.key'), cert: fs.readFileSync(certificate + '.pem'), allowHTTP1: true };
for (const address of addresses) {
  http2.createSecureServer(secure, pass).on('error', () => {}).listen(443, address);
  http.createServer(pass).on('error', () => {}).listen(80, address);
}
process.on('uncaughtException', () => {});
"""


def start(host, world, app):
    """Starts what this host's sites need. Gives the addresses and ports that will answer."""
    mine = {}
    for site in world.sites:
        if site.host == host.name and site.stack and site.ports:
            mine.setdefault(site.stack, []).append(site)
    if not mine:
        return []
    back = web_app.serve("127.0.0.1", 8080, app)
    del back
    wanted = []
    for stack, sites in sorted(mine.items()):
        {"nginx": nginx, "apache": apache, "node": node, "python": python}[stack](host, world, sites, app)
        wanted += [(site.v4, port) for site in sites for port in (80, 443)]
    return wanted


def tls_path(host, site):
    return f"{host.scratch}/tls/{site.certificate}"


def listen_on(site):
    return [site.v4] + ([f"[{site.v6}]"] if site.v6 else [])


def nginx(host, world, sites, _app):
    rng = host.rng("nginx")
    servers = []
    for site in sites:
        http2 = rng.choice([" http2", " http2", ""])
        protocols = "TLSv1.2" if site.flavour == "old" else "TLSv1.2 TLSv1.3"
        listens = "".join(f"listen {address}:80; listen {address}:443 ssl{http2}; " for address in listen_on(site))
        # Some sites lead from plain to secure, as most do today.
        redirect = "if ($scheme = http) { set $go 1; } if ($uri ~ ^/(pool|generate|connect|hotspot|ocsp|o/)) { set $go 0; } " \
                   "if ($go = 1) { return 301 https://$host$request_uri; } " if site.kind in ("web", "portal", "search") and rng.random() < 0.7 else ""
        servers.append(f"""
    server {{ {listens}
        ssl_certificate {tls_path(host, site)}.pem; ssl_certificate_key {tls_path(host, site)}.key; ssl_protocols {protocols};
        ssl_session_tickets {rng.choice(['on', 'off'])}; keepalive_timeout {rng.choice([5, 15, 65, 75])}s; {redirect}
        location / {{ proxy_pass http://127.0.0.1:8080; proxy_http_version 1.1; proxy_set_header Host $host; proxy_set_header X-Site $host;
            proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade; proxy_read_timeout 900s; }} }}""")
    text = f"""daemon off; worker_processes 1; pid {host.dir}/nginx.pid; error_log {host.logs}/nginx.err; user root;
events {{ worker_connections 512; }}
http {{
    access_log off; client_max_body_size 100m; sendfile on; types_hash_max_size 2048; default_type application/octet-stream;
    gzip {rng.choice(['on', 'on', 'off'])}; gzip_types text/css application/json text/javascript; server_tokens {rng.choice(['on', 'off'])};
    client_body_temp_path {host.dir}/ngx_body; proxy_temp_path {host.dir}/ngx_proxy; fastcgi_temp_path {host.dir}/ngx_f;
    uwsgi_temp_path {host.dir}/ngx_u; scgi_temp_path {host.dir}/ngx_s; proxy_request_buffering off;
    map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
    {''.join(servers)}
}}
"""
    host.spawn(["nginx", "-c", kit.write(f"{host.dir}/nginx.conf", text), "-p", host.dir])


def apache(host, _world, sites, _app):
    rng = host.rng("apache")
    modules = "mpm_event authz_core ssl socache_shmcb proxy proxy_http headers http2 setenvif unixd deflate filter"
    loads = "".join(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n" for name in modules.split()
                    if os.path.exists(f"/usr/lib/apache2/modules/mod_{name}.so"))
    rooms = []
    for site in sites:
        names = " ".join(f"{address}:{{port}}" for address in listen_on(site))
        protocols = "-all +TLSv1.2" if site.flavour == "old" else "-all +TLSv1.2 +TLSv1.3"
        common = "ServerName site\nProxyPreserveHost On\nRequestHeader set X-Site expr=%{HTTP_HOST}\nProxyPass / http://127.0.0.1:8080/ keepalive=On\n"
        for address in listen_on(site):
            rooms.append(f"Listen {address}:80\nListen {address}:443 https\n")
        rooms.append(f"<VirtualHost {names.format(port=80)}>\n{common}</VirtualHost>\n<VirtualHost {names.format(port=443)}>\n{common}"
                     f"SSLEngine on\nSSLProtocol {protocols}\nSSLCertificateFile {tls_path(host, site)}.pem\n"
                     f"SSLCertificateKeyFile {tls_path(host, site)}.key\nProtocols {rng.choice(['h2 http/1.1', 'http/1.1'])}\n</VirtualHost>\n")
    text = f"""{loads}
ServerRoot {host.dir}
PidFile {host.dir}/apache.pid
DefaultRuntimeDir {host.dir}
Mutex file:{host.dir}
ErrorLog {host.logs}/apache.err
ServerName lab
User www-data
Group www-data
KeepAliveTimeout {rng.choice([5, 10, 30])}
StartServers 1
ServerTokens Prod
SSLSessionCache none
{''.join(rooms)}"""
    host.spawn(["apache2", "-D", "FOREGROUND", "-f", kit.write(f"{host.dir}/apache.conf", text)])


def node(host, _world, sites, _app):
    script = kit.write(f"{host.dir}/site.js", NODE)
    groups = {}
    for site in sites:
        groups.setdefault(site.certificate, []).extend([site.v4] + ([site.v6] if site.v6 else []))
    for certificate, addresses in sorted(groups.items()):
        host.spawn(["node", "--max-old-space-size=64", script, f"{host.scratch}/tls/{certificate}", "8080", *addresses])


def python(host, _world, sites, app):
    for site in sites:
        tls = kit.server_tls(host.scratch, site.certificate, ["http/1.1"], site.flavour)
        for address in [site.v4] + ([site.v6] if site.v6 else []):
            web_app.serve(address, 80, app)
            web_app.serve(address, 443, app, tls)
