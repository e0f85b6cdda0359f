//! `server:`, `admin:`, `upstreams:` and `store:`. The defaults are chosen so that nothing is without a bound.

use super::super::diagnostics::quote;
use super::super::read::{Either, Given, OneOrMany, Optional, OptionalExt, Text, Word};
use super::super::scalars::{Capacity, Count, Number, Percent, Share, Size, Threshold};
use super::super::{
    AccessLog, Admin, HostRewrite, Retries, Scheduling, Scope, Secret, Server, Token, Upstream, WarmLimits,
    file, machine,
};
use super::{
    KIB, MAX_OBJECT_BYTES, MIB, Problems, Span, check_name, count, duration, items, length, size,
    tell_repeated, timeout,
};
use crate::layers::claims;
use crate::store::{Eviction, MemoryLimits};
use http::uri::Authority;
use http::{HeaderName, HeaderValue};
use ipnet::IpNet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8080);
const DEFAULT_ADMIN_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9090);

/// The smallest head buffer the HTTP library works with.
const MIN_HEAD: u64 = 8 * KIB;

/// `server:` and `admin:`, which must not get in each other's way.
pub(super) fn listeners(file: &file::File, problems: &mut Problems) -> (Server, Admin) {
    let (no_server, no_admin) = (file::Server::default(), file::Admin::default());
    let server = file.server.value().unwrap_or(&no_server);
    let admin = file.admin.value().unwrap_or(&no_admin);
    let listen = listen(&server.listen, problems);
    let admin_listen = admin.listen.value_or(Word(DEFAULT_ADMIN_LISTEN)).0;
    if let Some((_, span)) = listen.iter().copied().find(|(public, _)| overlap(*public, admin_listen)) {
        let message = "the admin listener would be on a public address";
        let problem = match (admin.listen.span(), span) {
            (Some(admin), Some(public)) => problems.add(admin, message).note(public, "the public listener"),
            (Some(span), None) | (None, Some(span)) => problems.add(span, message),
            (None, None) => problems.add(Span::default(), message),
        };
        problem.help("give the admin listener a port of its own, such as 127.0.0.1:9090");
    }
    let server = Server {
        listen: listen.into_iter().map(|(address, _)| address).collect(),
        ..self::server(server, problems)
    };
    let admin = Admin {
        listen: admin_listen,
        tokens: tokens(admin, problems),
        max_body_bytes: length(&admin.max_body, MIB),
        warm: warm(admin),
        purge_from: admin.purge_requests.value().map(purge_from).unwrap_or_default(),
    };
    (server, admin)
}

fn warm(admin: &file::Admin) -> WarmLimits {
    let no_warm = file::WarmSection::default();
    let warm = admin.warm.value().unwrap_or(&no_warm);
    WarmLimits { max_concurrency: count(&warm.max_concurrency, 16), max_urls: count(&warm.max_urls, 100_000) }
}

/// The public addresses, and where each was given.
fn listen(
    given: &Optional<OneOrMany<Word<SocketAddr>>>,
    problems: &mut Problems,
) -> Vec<(SocketAddr, Option<Span>)> {
    let Some(Given { span, value, .. }) = given else { return vec![(DEFAULT_LISTEN, None)] };
    let Some(given) = value else { return Vec::new() };
    if given.is_empty() {
        problems.add(*span, "there is nothing to listen on").help("leave `listen` out for 0.0.0.0:8080");
    }
    let mut addresses: Vec<(SocketAddr, Option<Span>)> = Vec::new();
    for (address, span) in items(given) {
        if let Some((_, first)) = addresses.iter().find(|(other, _)| overlap(*other, **address)) {
            let problem = problems.add(span, "two listeners cannot share an address");
            if let Some(first) = first {
                problem.note(*first, "the other");
            }
        }
        addresses.push((**address, Some(span)));
    }
    addresses
}

/// Whether two listeners would get in each other's way.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    // Port 0 is any free port.
    let any = a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && a.port() != 0 && (a.ip() == b.ip() || any)
}

fn server(section: &file::Server, problems: &mut Problems) -> Server {
    let no_timeouts = file::ServerTimeouts::default();
    let timeouts = section.timeouts.value().unwrap_or(&no_timeouts);
    check_head(&section.max_head, problems);
    let trusted_proxies = section.trusted_proxies.value().map(|list| &**list).unwrap_or_default();
    Server {
        listen: Vec::new(),
        trusted_proxies: items(trusted_proxies).map(|(network, _)| **network).collect(),
        forward_fields: forward_fields(&section.forward_fields, problems),
        workers: workers(&section.workers),
        scheduling: match section.scheduling.value_or(file::SchedulingKind::PerCore) {
            file::SchedulingKind::PerCore => Scheduling::PerCore,
            file::SchedulingKind::Shared => Scheduling::Shared,
        },
        max_in_flight: count(&section.max_in_flight, 10_000),
        max_connections: count(&section.max_connections, 20_000),
        max_request_body_bytes: size(&section.max_request_body, 100 * MIB),
        max_head_bytes: length(&section.max_head, 32 * KIB),
        head_timeout: timeout(&timeouts.head, Duration::from_secs(10)),
        body_idle_timeout: timeout(&timeouts.body_idle, Duration::from_secs(30)),
        write_stall_timeout: timeout(&timeouts.write_stall, Duration::from_secs(30)),
        shutdown_grace: duration(&section.shutdown_grace, Duration::from_secs(30)),
        http2: section.http2.value_or(file::Switch::On) == file::Switch::On,
        access_log: match section.access_log.value_or(file::AccessLogFormat::Text) {
            file::AccessLogFormat::Off => AccessLog::Off,
            file::AccessLogFormat::Text => AccessLog::Text,
            file::AccessLogFormat::Json => AccessLog::Json,
        },
    }
}

fn workers(given: &Optional<Word<Share>>) -> usize {
    match given.value_or(Word(Share::Percent(Percent(100)))).0 {
        Share::Count(Count(number)) => number,
        Share::Percent(Percent(percent)) => (machine::cores() * usize::from(percent) / 100).max(1),
    }
}

fn forward_fields(
    given: &Optional<OneOrMany<Word<HeaderName>>>,
    problems: &mut Problems,
) -> Arc<[HeaderName]> {
    let given = given.value().map(|list| &**list).unwrap_or_default();
    for (Word(name), span) in items(given) {
        let shown = quote(name.as_str());
        if claims::is_ours(name) {
            problems
                .add(span, format!("{shown} is for this proxy to write: it says what the key was built from"))
                .help("if a proxy in front rewrites the host, let it preserve it");
        } else if claims::passes(name, false, &[]) {
            problems.add(span, format!("{shown} reaches the app anyway")).help("leave it out");
        }
    }
    items(given).map(|(Word(name), _)| name.clone()).collect()
}

fn check_head(head: &Optional<Word<Size>>, problems: &mut Problems) {
    if let Some(Given { span, value: Some(Word(Size(bytes))), .. }) = head
        && *bytes < MIN_HEAD
    {
        problems.add(*span, "a limit for heads must be at least 8KiB");
    }
}

/// From where purges need no token.
pub(super) fn purge_from(section: &file::PurgeRequests) -> Vec<IpNet> {
    let given = section.from.value().map(|list| &**list).unwrap_or_default();
    items(given).map(|(network, _)| **network).collect()
}

fn tokens(section: &file::Admin, problems: &mut Problems) -> Vec<Token> {
    let list = section.tokens.value().map(|list| &**list).unwrap_or_default();
    let names = items(list).filter_map(|(token, _)| Some((token.name.value()?, token.name.span())));
    tell_repeated("token", names, problems);
    let mut seen: Vec<(&str, Span)> = Vec::new();
    let mut tokens = Vec::new();
    for (token, _) in items(list) {
        if let Some(name) = token.name.value() {
            check_name("token", name, token.name.span(), problems);
        }
        let may = token.may.value().map(|may| items(may).map(|(scope, _)| scope).collect::<Vec<_>>());
        if may.as_ref().is_some_and(Vec::is_empty) && token.may.value().is_some_and(|may| may.is_empty()) {
            problems
                .add(token.may.span(), "a token that may do nothing")
                .help("give some of `purge`, `read` and `warm`");
        }
        if let Some(secret) = token.secret.value() {
            let span = token.secret.span();
            check_token_secret(secret, span, problems);
            match seen.iter().find(|(known, _)| **known == **secret) {
                Some((_, first)) if !secret.is_empty() => {
                    problems
                        .add(span, "two tokens have the same secret, so nobody could tell them apart")
                        .note(*first, "the other");
                }
                _ => seen.push((secret, span)),
            }
        }
        let (Some(name), Some(secret), Some(may)) = (token.name.value(), token.secret.value(), may) else {
            continue;
        };
        let may = may.into_iter().map(|scope| match scope {
            file::TokenScope::Purge => Scope::Purge,
            file::TokenScope::Read => Scope::Read,
            file::TokenScope::Warm => Scope::Warm,
        });
        tokens.push(Token { name: (**name).into(), secret: Secret::new(&**secret), may: may.collect() });
    }
    tokens
}

fn check_token_secret(secret: &Text, span: Span, problems: &mut Problems) {
    if secret.is_empty() {
        problems
            .add(span, "the secret is empty")
            .help("a long random text, such as `openssl rand -hex 32` prints");
    } else if !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
        problems
            .add(span, "the secret of a token travels in a field: letters, digits and signs of ASCII only");
    }
}

/// `upstreams:`, one for each name: routes refer to them by index.
pub(super) fn upstreams(file: &file::File, problems: &mut Problems) -> Vec<Upstream> {
    let Some(entries) = file.upstreams.value() else { return Vec::new() };
    if entries.is_empty() {
        problems
            .add(file.upstreams.span(), "there is no upstream")
            .help("requests must go somewhere: give one");
    }
    let none = file::Upstream::default();
    let mut upstreams = Vec::new();
    for entry in entries.iter() {
        check_name("upstream", &entry.name, entry.name_span, problems);
        upstreams.push(upstream(&entry.name, entry.value.as_ref().unwrap_or(&none), problems));
    }
    upstreams
}

fn upstream(name: &str, section: &file::Upstream, problems: &mut Problems) -> Upstream {
    let no_timeouts = file::UpstreamTimeouts::default();
    let timeouts = section.timeouts.value().unwrap_or(&no_timeouts);
    check_head(&section.max_response_head, problems);
    let max_connections_per_server = count(&section.max_connections, 512);
    let idle_connections_per_server = match &section.idle_connections {
        Some(Given { span, value: Some(Word(Number(idle))), .. }) => {
            let idle = usize::try_from(*idle).unwrap_or(usize::MAX);
            if idle > max_connections_per_server {
                let problem = problems.add(*span, "more connections are kept idle than there may be");
                match section.max_connections.span() {
                    Some(most) => problem.note(most, "the most there may be"),
                    None => problem.help("`max_connections` is 512 unless given"),
                };
            }
            idle
        }
        _ => 64.min(max_connections_per_server),
    };
    Upstream {
        name: name.into(),
        servers: servers(section, problems),
        host: host(&section.host, problems),
        connect_timeout: timeout(&timeouts.connect, Duration::from_secs(5)),
        head_timeout: timeout(&timeouts.head, Duration::from_secs(30)),
        body_idle_timeout: timeout(&timeouts.body_idle, Duration::from_secs(30)),
        max_connections_per_server,
        idle_connections_per_server,
        idle_timeout: timeout(&section.idle_timeout, Duration::from_secs(30)),
        max_response_head_bytes: length(&section.max_response_head, 256 * KIB),
        retries: retries(section),
    }
}

fn retries(section: &file::Upstream) -> Retries {
    let standard = Retries::default();
    match section.retries.value() {
        None => standard,
        Some(Either::First(file::RetriesOff::Off)) => Retries { attempts: 0, ..standard },
        Some(Either::Second(section)) => Retries {
            attempts: u32::try_from(count(&section.attempts, 1)).unwrap_or(u32::MAX),
            budget_percent: section
                .budget
                .value()
                .map_or(standard.budget_percent, |&Word(Percent(share))| share),
            on: match section.on.value() {
                None => standard.on,
                Some(on) => items(on).map(|(Word(on), _)| on.clone()).collect(),
            },
        },
    }
}

fn servers(section: &file::Upstream, problems: &mut Problems) -> Vec<Authority> {
    let Some(list) = section.servers.value() else { return Vec::new() };
    if list.is_empty() {
        problems.add(section.servers.span(), "an upstream needs at least one server");
    }
    let mut servers: Vec<(&Authority, Span)> = Vec::new();
    for (server, span) in items(list) {
        match servers.iter().find(|(known, _)| **known == server.0.0) {
            Some((_, first)) => {
                problems.add(span, "this server is given twice").note(*first, "first given here");
            }
            None => servers.push((&server.0.0, span)),
        }
    }
    servers.into_iter().map(|(server, _)| server.clone()).collect()
}

fn host(host: &Optional<Either<file::HostWord, file::FixedHost>>, problems: &mut Problems) -> HostRewrite {
    match host.value() {
        None | Some(Either::First(file::HostWord::Preserve)) => HostRewrite::Preserve,
        Some(Either::First(file::HostWord::Server)) => HostRewrite::Server,
        Some(Either::Second(file::FixedHost { fixed })) => {
            let Some(name) = fixed.value() else { return HostRewrite::Preserve };
            let valid = name.parse::<Authority>().is_ok() && !name.contains('@');
            match HeaderValue::from_str(name) {
                Ok(value) if valid => HostRewrite::Fixed(value),
                _ => {
                    problems
                        .add(fixed.span(), format!("{} is not a host", name.shown()))
                        .help("write it like shop.example or shop.example:8080");
                    HostRewrite::Preserve
                }
            }
        }
    }
}

/// `store:`.
pub(super) fn memory(file: &file::File, problems: &mut Problems) -> Option<MemoryLimits> {
    let no_memory = file::MemorySection::default();
    let memory = file.store.value().and_then(|store| store.memory.value()).unwrap_or(&no_memory);
    let capacity_span = memory.capacity.span();
    let capacity_bytes = match memory.capacity.value_or(Word(Capacity::Percent(25))).0 {
        Capacity::Size(Size(bytes)) => bytes,
        Capacity::Percent(percent) => match machine::memory_bytes() {
            Some(bytes) => bytes / 100 * u64::from(percent),
            None => {
                problems
                    .add(
                        capacity_span.unwrap_or_default(),
                        "the system does not say how much memory there is",
                    )
                    .help("give `store.memory.capacity` a size, such as 512MiB");
                return None;
            }
        },
    };
    if let (Some(span), true) = (capacity_span, capacity_bytes < MIB) {
        problems
            .add(span, "a store of less than 1MiB holds nothing")
            .help("for no caching, give routes `cache: off`");
    }
    let max_object_bytes = size(&memory.max_object, MAX_OBJECT_BYTES);
    if let (Some(span), Some(capacity)) = (memory.max_object.span(), capacity_span)
        && max_object_bytes > capacity_bytes
    {
        problems
            .add(span, "the largest object is larger than the whole store")
            .note(capacity, "the whole store");
    }
    let max_object_bytes = max_object_bytes.min(capacity_bytes);
    let filling_bytes = match memory.filling.value_or(Word(Capacity::Percent(25))).0 {
        Capacity::Size(Size(bytes)) => bytes,
        Capacity::Percent(percent) => capacity_bytes / 100 * u64::from(percent),
    };
    let sendfile_from_bytes = match memory.sendfile_from.value_or(Word(Threshold::Size(Size(64 * KIB)))).0 {
        Threshold::Size(Size(bytes)) => Some(bytes),
        Threshold::Off => None,
    };
    let eviction = match memory.eviction.value_or(file::EvictionKind::Lru) {
        file::EvictionKind::Lru => Eviction::Lru,
        file::EvictionKind::TinyLfu => Eviction::TinyLfu,
    };
    Some(MemoryLimits { capacity_bytes, max_object_bytes, filling_bytes, sendfile_from_bytes, eviction })
}
