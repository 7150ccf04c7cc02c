//! `berth.yaml` as it is written. The doc comments are the descriptions of its JSON Schema and of the reference page.
//!
//! No meaning here: defaults and checks live in `config`.

use crate::read::{At, Given, Map, Period, Words, object};

object!(
    /// The daemon's own settings. Any value may be `{env: VARIABLE}` or `{file: PATH}`; secrets must be one of the two.
    RawConfig {
        /// Who this Berth is: stands in the mark of every object. Two owners never touch each other's objects. A name
        /// like a stack's.
        #[schemars(required)]
        "owner" owner: At<Words>,
        /// Dokploy accounts, by the name that manifests use.
        #[schemars(required)]
        "backends" backends: At<Map<At<RawBackend>>>,
        /// The DNS records of hosts. Without a credential none is looked at.
        "dns" dns: At<RawDns>,
        /// Where manifests come from.
        #[schemars(required)]
        "source" source: At<RawSource>,
        /// Where Berth keeps what it knows.
        #[schemars(required)]
        "state" state: At<RawState>,
        /// The keys that secrets are sealed with.
        #[schemars(required)]
        "vault" vault: At<RawVault>,
        /// What manifests may leave out.
        "defaults" defaults: At<RawDefaults>,
        /// Names that no stack may have. `admin, api, www, root, system, test, demo, portal, deploy` by default.
        "reservedNames" reserved_names: At<Vec<At<Words>>>,
        /// `STACK/APP`: the app that this daemon itself runs as, where it looks after itself. It is deployed after
        /// everything else, and never removed. Not needed where its environment holds `BERTH_SERVICE`, the name of its
        /// Swarm service: `env: {BERTH_SERVICE: "{{.Service.Name}}"}` in its manifest.
        "self" itself: At<Words>,
        /// Where the status API listens. `127.0.0.1:9477` by default.
        "listen" listen: At<Words>,
        /// How the API behaves.
        "api" api: RawApi,
        /// Times.
        "intervals" intervals: RawIntervals,
    }
);

object!(
    /// How the API behaves.
    RawApi {
        /// What may be done without a token: `read` or `none`. `read` by default where it listens on loopback and stacks
        /// come from a directory only.
        "anonymous" anonymous: At<Words>,
        /// Requests a second of one caller. 50 by default; for a moment four times as many are taken.
        "requestsPerSecond" requests_per_second: At<u32>,
        /// Serve with this certificate, and nothing without. Its files are read again when they change.
        "tls" tls: At<RawTls>,
    }
);

object!(
    /// A certificate.
    RawTls {
        /// The PEM file of the certificate and its chain.
        #[schemars(required)]
        "certificate" certificate: At<Words>,
        /// The PEM file of its key.
        #[schemars(required)]
        "key" key: At<Words>,
    }
);

object!(
    /// A Dokploy account.
    RawBackend {
        /// Its address, without a path: `http://10.100.0.20:3000`.
        #[schemars(required)]
        "dokploy" dokploy: At<Words>,
        /// The API key: `{env: VARIABLE}` or `{file: PATH}`, never the key itself.
        #[schemars(required)]
        "key" key: At<Given>,
        /// Certificates where a host does not say: `letsencrypt` (the default), `none`, or a resolver's name.
        "https" https: At<Words>,
        /// Where health checks go: `host` (the default) asks the host as its users do, `ADDRESS:PORT` asks there with the
        /// host's name in the request.
        "probe" probe: At<Words>,
        /// Calls in flight. 4 by default: a server on two cores does no more calls a second with more.
        "inFlight" in_flight: At<u32>,
        /// Domain writes in flight. 2 by default: they are what locks a server up.
        "domainWrites" domain_writes: At<u32>,
        /// Ask the image's registry before an app is made. `true` by default.
        "checkRegistry" check_registry: bool,
        /// The longest one call may take. `30s` by default.
        "timeout" timeout: At<Period>,
        /// Where the DNS records of its hosts lead. The address that Dokploy has for its server if omitted.
        "address" address: At<RawAddress>,
    }
);

object!(
    /// Where DNS records lead: to addresses, or to a name.
    RawAddress {
        /// In an A record.
        "ipv4" ipv4: At<Words>,
        /// In an AAAA record.
        "ipv6" ipv6: At<Words>,
        /// To this name, in a CNAME record. A host that is its zone's own name cannot have one.
        "cname" cname: At<Words>,
    }
);

object!(
    /// How DNS is reached, and what may be done in which zone.
    RawDns {
        /// The credentials, by name. No zone may be reached by two of them.
        "credentials" credentials: At<Map<At<RawDnsCredential>>>,
        /// What differs from the defaults, by zone.
        "zones" zones: At<Map<At<RawDnsZone>>>,
        /// Recursors that are asked for the addresses of name servers, each `ADDRESS:PORT`. The system's by default.
        "resolvers" resolvers: At<Vec<At<Words>>>,
        /// Recursors, each `ADDRESS:PORT`, whose view of a record is shown once all authoritative servers are right.
        /// None by default.
        "recursors" recursors: At<Vec<At<Words>>>,
    }
);

object!(
    /// A DNS credential: one provider, and which zones it is for.
    RawDnsCredential {
        /// Hetzner's Cloud API.
        "hetzner" hetzner: At<RawDnsKey>,
        /// Cloudflare. Its token needs DNS Edit and Zone Read.
        "cloudflare" cloudflare: At<RawDnsKey>,
        /// Hostinger.
        "hostinger" hostinger: At<RawDnsKey>,
        /// PowerDNS, by its HTTP API.
        "powerdns" powerdns: At<RawPowerDns>,
        /// Any server that takes dynamic updates (RFC 2136), like BIND.
        "rfc2136" rfc2136: At<RawRfc2136>,
        /// Use these zones only. All that it reaches by default; `rfc2136` needs them.
        "zones" zones: At<Vec<At<Words>>>,
        /// Servers that answer for its zones, each `ADDRESS:PORT`, to be asked instead of those that are found by name.
        "servers" servers: At<Vec<At<Words>>>,
    }
);

object!(
    /// A provider with an API token.
    RawDnsKey {
        /// The token: `{env: VARIABLE}` or `{file: PATH}`, never the token itself.
        #[schemars(required)]
        "key" key: At<Given>,
        /// Another address of its API, without a path.
        "url" url: At<Words>,
    }
);

object!(
    /// PowerDNS.
    RawPowerDns {
        /// The address of its API, without a path: `http://127.0.0.1:8081`.
        #[schemars(required)]
        "url" url: At<Words>,
        /// The API key: `{env: VARIABLE}` or `{file: PATH}`, never the key itself.
        #[schemars(required)]
        "key" key: At<Given>,
        /// The server's id. `localhost` by default.
        "server" server: At<Words>,
        /// Keep marks in TXT records beside the sets, for backends that have no comments. `false` by default.
        "companions" companions: bool,
    }
);

object!(
    /// A server that takes dynamic updates.
    RawRfc2136 {
        /// The primary server, `ADDRESS:PORT`.
        #[schemars(required)]
        "server" server: At<Words>,
        /// The key that signs. None for servers that go by address.
        "tsig" tsig: At<RawTsig>,
        /// Ask for whole zones. `true` by default; what is refused is not asked for again for a while.
        "transfers" transfers: bool,
    }
);

object!(
    /// A key that signs DNS messages.
    RawTsig {
        /// Its name, the same on both sides.
        #[schemars(required)]
        "name" name: At<Words>,
        /// `hmac-sha256` (the default), `hmac-sha384` or `hmac-sha512`.
        "algorithm" algorithm: At<Words>,
        /// Its secret, in base64: `{env: VARIABLE}` or `{file: PATH}`, never the secret itself.
        #[schemars(required)]
        "secret" secret: At<Given>,
    }
);

object!(
    /// What may be done in a zone, and how its records are made and verified.
    RawDnsZone {
        /// `upsert-only` (the default) makes and changes, `sync` also removes the records of hosts that vanished from a
        /// manifest, `create-only` makes what is not there and changes nothing. Whatever it is, records that are not
        /// Berth's stay as they are.
        "policy" policy: At<Words>,
        /// Take over records without a mark whose values are exactly the wanted ones. `false` by default.
        "adopt" adopt: bool,
        /// `authoritative` (the default): every server of the zone must answer what is wanted. `provider`: what its API
        /// shows is enough, for networks in which port 53 is closed.
        "verify" verify: At<Words>,
        /// How long answers may be kept: `5m`, or `auto` (the default) for what the zone has.
        "ttl" ttl: At<Words>,
        /// Whether the provider stands in front of the names, where it can. Left as it is if omitted.
        "proxied" proxied: bool,
    }
);

object!(
    /// Where manifests come from: one of the two, or both.
    RawSource {
        /// A directory that is watched.
        "directory" directory: At<Words>,
        /// Rows of a PostgreSQL database, which is the state's too: `{env: VARIABLE}` or `{file: PATH}` with its URL.
        "postgres" postgres: At<Given>,
    }
);

object!(
    /// Where Berth keeps what it knows: one of the two.
    RawState {
        /// A SQLite file, for one daemon.
        "sqlite" sqlite: At<Words>,
        /// A PostgreSQL database, for several daemons that take turns: `{env: VARIABLE}` or `{file: PATH}` with its URL.
        "postgres" postgres: At<Given>,
    }
);

object!(
    /// The keys that secrets are sealed with.
    RawVault {
        /// `{env: VARIABLE}` or `{file: PATH}`, never the keys themselves.
        #[schemars(required)]
        "keys" keys: At<Given>,
    }
);

object!(
    /// What manifests may leave out.
    RawDefaults {
        /// Where stacks run that do not say.
        "target" target: RawTarget,
        /// A stack's only app, if it has a port and names no host, gets the host `{name}.` with this behind it.
        "hostSuffix" host_suffix: At<Words>,
    }
);

object!(
    /// Where stacks run that do not say.
    RawTarget {
        /// The Dokploy account.
        "dokploy" dokploy: At<Words>,
        /// The shared project, by name or id.
        "project" project: At<Words>,
        /// The environment in it, by name or id. `production` by default.
        "environment" environment: At<Words>,
    }
);

object!(
    /// Times of the daemon.
    RawIntervals {
        /// Between two passes over the whole fleet. `30s` by default.
        "resync" resync: At<Period>,
        /// In which every owned object is read in full once. `15m` by default.
        "audit" audit: At<Period>,
        /// Between two full reads of the directory. `1m` by default.
        "rescan" rescan: At<Period>,
        /// Between two health checks of a Ready stack. `1m` by default.
        "health" health: At<Period>,
    }
);
