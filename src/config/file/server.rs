//! `server:`, `admin:`, `upstreams:` and `store:`.

use crate::config::RetryOn;
use crate::config::read::{Either, List, OneOrMany, Optional, Required, Text, Word, choice, section};
use crate::config::scalars::{Capacity, Count, OriginUrl, Percent, Share, Size, Threshold, Timeout};
use http::HeaderName;
use ipnet::IpNet;
use std::net::SocketAddr;
use std::time::Duration;

section! {
    /// The public listener and its limits.
    struct Server {
        /// Where clients connect: an address with a port, or a list of them. Default: `0.0.0.0:8080`.
        listen: Optional<OneOrMany<Word<SocketAddr>>>,
        /// Proxies in front whose `X-Forwarded-For` and `X-Forwarded-Proto`, or `Forwarded`, are believed: addresses or
        /// networks. Default: none.
        trusted_proxies: Optional<OneOrMany<Word<IpNet>>>,
        /// Request fields that reach the app though it may take them for the truth about the request, such as
        /// `x-forwarded-prefix` or `x-real-ip`: from trusted proxies only, which must set or remove them on every
        /// request. Or though their names have more than letters, digits and hyphens. Default: none.
        forward_fields: Optional<OneOrMany<Word<HeaderName>>>,
        /// Threads that serve clients: a number, or a percentage of the cores this process may use. Default: 100%.
        workers: Optional<Word<Share>>,
        /// Whether each worker has its own connections and sockets, or they share all. Default: per_core.
        scheduling: Optional<SchedulingKind>,
        /// Requests served at once; more get 503 at once. Default: 10000.
        max_in_flight: Optional<Word<Count>>,
        /// Connections open at once. Default: 20000.
        max_connections: Optional<Word<Count>>,
        /// The largest request body; larger ones get 413. Default: 100MiB.
        max_request_body: Optional<Word<Size>>,
        /// The largest request head, at least 8KiB. Default: 32KiB.
        max_head: Optional<Word<Size>>,
        /// How long clients may take.
        timeouts: Optional<ServerTimeouts>,
        /// How long a shutdown waits for requests in flight. Default: 30s.
        shutdown_grace: Optional<Word<Duration>>,
        /// Whether clients may speak HTTP/2: in cleartext, and knowing that they can. Default: on.
        http2: Optional<Switch>,
        /// One line per request on standard output. Default: text.
        access_log: Optional<AccessLogFormat>,
    }
}

section! {
    /// How long clients may take.
    struct ServerTimeouts {
        /// For a request head; also how long an idle connection is kept. Default: 10s.
        head: Optional<Word<Timeout>>,
        /// Between two pieces of a request body. Default: 30s.
        body_idle: Optional<Word<Timeout>>,
        /// To take the next piece of a response. Default: 30s.
        write_stall: Optional<Word<Timeout>>,
    }
}

choice! {
    /// Who serves a connection.
    enum SchedulingKind {
        /// The worker that accepted it; the system spreads connections over them.
        PerCore = "per_core",
        /// Whoever has nothing else to do.
        Shared = "shared",
    }
}

choice! {
    /// Whether there is something.
    enum Switch {
        /// There is.
        On = "on",
        /// There is not.
        Off = "off",
    }
}

choice! {
    /// How requests are logged.
    enum AccessLogFormat {
        /// Not at all.
        Off = "off",
        /// For people.
        Text = "text",
        /// For machines: one JSON object a line.
        Json = "json",
    }
}

section! {
    /// The listener for purges, webhooks, health checks and metrics. Keep it off the public network.
    struct Admin {
        /// Its address. Default: `127.0.0.1:9090`.
        listen: Optional<Word<SocketAddr>>,
        /// The largest request body of the API (webhooks have their own limit). Default: 1MiB.
        max_body: Optional<Word<Size>>,
        /// Who may use the API. Default: nobody.
        tokens: Optional<List<AdminToken>>,
        /// How much a warm-up may ask for.
        warm: Optional<WarmSection>,
        /// Who may purge by the methods and APIs of other caches (`PURGE`, `BAN`, …), beside the holders of a token that may
        /// purge.
        purge_requests: Optional<PurgeRequests>,
    }
}

section! {
    /// Who may purge by the methods of other caches (`PURGE`, `BAN`, `REFRESH`, …) beside the holders of a token that may `purge`.
    struct PurgeRequests {
        /// Addresses or networks, which then need no token. Default: none.
        from: Optional<OneOrMany<Word<IpNet>>>,
    }
}

section! {
    /// How much a warm-up may ask for.
    struct WarmSection {
        /// Its requests at once. Default: 16.
        max_concurrency: Optional<Word<Count>>,
        /// Its URLs; more are left out, and counted. Default: 100000.
        max_urls: Optional<Word<Count>>,
    }
}

section! {
    /// A bearer token of the API.
    struct AdminToken {
        /// What logs call it.
        name: Required<Text>,
        /// The token: a long random text. Keep it out of the file: `${STALEPROOF_TOKEN}`.
        secret: Required<Text>,
        /// What it allows, one or a list: `purge`, `read`, `warm`.
        may: Required<OneOrMany<TokenScope>>,
    }
}

choice! {
    /// What a token allows.
    enum TokenScope {
        /// To purge.
        Purge = "purge",
        /// To look at the state of the cache, and at status fields shown to token holders.
        Read = "read",
        /// To have URLs requested before their clients come.
        Warm = "warm",
    }
}

section! {
    /// An application behind.
    struct Upstream {
        /// Its servers: `http://host:port`, one or a list. Requests are spread over them.
        servers: Required<OneOrMany<Word<OriginUrl>>>,
        /// The `Host` it sees: `preserve` (the one the client asked for), `server` (the server's own), or
        /// `{ fixed: name }`. Default: preserve.
        host: Optional<Either<HostWord, FixedHost>>,
        /// How long it may take.
        timeouts: Optional<UpstreamTimeouts>,
        /// Connections to each server at once. Default: 512.
        max_connections: Optional<Word<Count>>,
        /// Idle connections kept to each server. Default: 64.
        idle_connections: Optional<Word<crate::config::scalars::Number>>,
        /// How long an idle connection is kept. Default: 30s.
        idle_timeout: Optional<Word<Timeout>>,
        /// The largest response head, at least 8KiB: fields with tags are long. Default: 256KiB.
        max_response_head: Optional<Word<Size>>,
        /// What is asked again, of another server if there is one: `off`, or which failures and how often. Only requests
        /// that may be asked twice (RFC 9110 §9.2.2), and none of which the client has got anything.
        retries: Optional<Either<RetriesOff, RetriesSection>>,
    }
}

choice! {
    /// No retries.
    enum RetriesOff {
        /// Every request is asked once.
        Off = "off",
    }
}

section! {
    /// What is asked again.
    struct RetriesSection {
        /// How often one request at most. Default: 1.
        attempts: Optional<Word<Count>>,
        /// Retries in proportion to requests. Beyond it failures are passed on. Default: 20%.
        budget: Optional<Word<Percent>>,
        /// After what: `reset` (the connection ended before there was a response), `timeout` (no response in time), or a
        /// status such as 503 or 5xx. Default: reset.
        on: Optional<OneOrMany<Word<RetryOn>>>,
    }
}

choice! {
    /// The `Host` an application sees.
    enum HostWord {
        /// The one the client asked for.
        Preserve = "preserve",
        /// The server's own host and port.
        Server = "server",
    }
}

section! {
    /// The same `Host` for every request.
    struct FixedHost {
        /// The host, with port if it has one: `shop.example`.
        fixed: Required<Text>,
    }
}

section! {
    /// How long an application may take.
    struct UpstreamTimeouts {
        /// To accept a connection. Default: 5s.
        connect: Optional<Word<Timeout>>,
        /// From the request to the response head. Default: 30s.
        head: Optional<Word<Timeout>>,
        /// Between two pieces of the response body. Default: 30s.
        body_idle: Optional<Word<Timeout>>,
    }
}

section! {
    /// Where stored responses are kept.
    struct Store {
        /// In memory.
        memory: Optional<MemorySection>,
    }
}

section! {
    /// The memory for stored responses.
    struct MemorySection {
        /// How much: bodies, fields, keys and overhead are counted. A percentage is of the memory limit of the
        /// control group, or of the machine's memory if there is none. Default: 25%.
        capacity: Optional<Word<Capacity>>,
        /// The largest body that is stored. Default: 64MiB.
        max_object: Optional<Word<Size>>,
        /// How much responses that are still coming may take, all together, beside what is stored; what goes beyond it is
        /// passed on, not stored. A percentage is of the capacity. Default: 25%.
        filling: Optional<Word<Capacity>>,
        /// Bodies from this size on are kept where the kernel sends them from without copying them (Linux: memfd, sendfile), or
        /// `off`. Default: 64KiB.
        sendfile_from: Optional<Word<Threshold>>,
        /// Which responses a full store keeps. Default: lru.
        eviction: Optional<EvictionKind>,
    }
}

choice! {
    /// Which responses a full store keeps.
    enum EvictionKind {
        /// What was asked for last.
        Lru = "lru",
        /// What is asked for most often for its size: better, where all are of a similar size.
        TinyLfu = "tiny_lfu",
    }
}
