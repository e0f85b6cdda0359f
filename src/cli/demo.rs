//! `staleproof demo`

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use clap::Args;
use http::Uri;
use tokio::net::TcpListener;

use super::{Failure, print, serve, shutdown_signal};
use crate::clock::Clock;
use crate::config::{self, Plan};
use crate::demo::{self, Notify};
use crate::server;

/// The configuration that is shipped: the demo is its proof.
const CONFIG: &str = include_str!("../../proxy.yaml");

/// Where the shipped configuration expects an app.
const APP: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8000);

/// Serves a small wiki, deliberately slow, behind the proxy with the shipped proxy.yaml, and prints things to try.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  staleproof demo
  staleproof demo --port 8081 --admin-port 9091
  staleproof demo --print-config > proxy.yaml")]
pub(super) struct Demo {
    /// The port to serve on; 0 takes one that is free
    #[arg(long, default_value_t = 8080)]
    port: u16,

    /// The port of the admin listener; 0 takes one that is free
    #[arg(long, default_value_t = 9090)]
    admin_port: u16,

    /// Print the configuration that the demo runs on, and serve nothing
    #[arg(long)]
    print_config: bool,
}

impl Demo {
    pub(super) fn run(self) -> Result<(), Failure> {
        if self.print_config {
            return print(CONFIG.trim_end());
        }
        serve(self.serve())
    }

    async fn serve(self) -> Result<(), Failure> {
        let app = listen_for_the_app().await?;
        let plan = self.plan(app.local_addr()?)?;
        let (Some(hook), Some(token)) = (plan.webhooks.first(), plan.admin.tokens.first()) else {
            return Err(Failure::Failed("proxy.yaml has no webhook or no token for the demo".into()));
        };
        let Some(secret) = hook.secrets.first().cloned() else {
            return Err(Failure::Failed("proxy.yaml has no secret for the demo's webhook".into()));
        };
        let (path, token) = (hook.path.clone(), token.secret.reveal().to_owned());
        let bound = server::bind(&plan).await.map_err(|error| {
            let hint = "If another program has it, choose other ports with --port and --admin-port.";
            Failure::Failed(format!("{error}\n{hint}"))
        })?;
        let admin: Uri = format!("http://{}", bound.admin_address).parse()?;
        // A listening socket is enough: whoever follows the advice at once waits a moment, and is served.
        print(things_to_try(bound.addresses[0], bound.admin_address, &token))?;
        let started = bound.start(plan, Clock::system())?;
        let app = demo::serve(app, Notify { admin, path, secret });
        tokio::select! {
            ended = app => return Err(Failure::Failed(format!("the example app ended: {ended:?}"))),
            () = shutdown_signal() => {}
        }
        started.stop().await;
        Ok(())
    }

    /// The shipped configuration, on the demo's addresses. The environment has no say: a demo is the same everywhere,
    /// and prints the token that it takes.
    fn plan(&self, app: SocketAddr) -> Result<Plan, Failure> {
        let mut plan = config::compile_text("proxy.yaml", CONFIG, &|_| None)
            .map_err(|problems| Failure::Failed(problems.to_string()))?;
        plan.server.listen = vec![(Ipv4Addr::LOCALHOST, self.port).into()];
        plan.admin.listen = (Ipv4Addr::LOCALHOST, self.admin_port).into();
        for upstream in &mut plan.upstreams {
            upstream.servers = vec![app.to_string().parse()?];
        }
        Ok(plan)
    }
}

/// Where proxy.yaml says, or wherever there is room.
async fn listen_for_the_app() -> io::Result<TcpListener> {
    match TcpListener::bind(APP).await {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await
        }
        bound => bound,
    }
}

fn things_to_try(public: SocketAddr, admin: SocketAddr, token: &str) -> String {
    let program = std::env::args().next().unwrap_or_else(|| "staleproof".into());
    // `key` reads the configuration, and whoever installed the program has none yet.
    let first = if Path::new("proxy.yaml").exists() {
        String::new()
    } else {
        format!("{program} demo --print-config > proxy.yaml\n       ")
    };
    format!(
        "
  A small wiki that takes 400 ms for every page, with Staleproof in front of it:

       http://{public}/

  Things to try in another terminal, from top to bottom:

  1. The first time is slow (MISS), the second is not (HIT):
       curl -si http://{public}/articles/tea -w '%{{time_total}} s\\n' | grep -iE '^x-cache:|^[0-9.]+ s'
       curl -si http://{public}/articles/tea -w '%{{time_total}} s\\n' | grep -iE '^x-cache:|^[0-9.]+ s'

  2. What a newsletter adds to the address makes no difference (HIT):
       curl -si 'http://{public}/articles/tea?utm_source=mail' | grep -iE '^(x-cache|age|cache-status):'

  3. Edit an article. The app tells the proxy by a signed webhook, which wipes its page and the list ...
       curl -so /dev/null http://{public}/; curl -so /dev/null http://{public}/articles/bread
       curl -s http://{public}/articles/tea -d 'title=More tea'
     ... so that nobody sees the old one (MISS), and nothing else (still a HIT):
       curl -si http://{public}/articles/tea | grep -iE '<h1>|^x-cache:'
       curl -si http://{public}/articles/bread | grep -iE '^x-cache:'

  4. Purge by hand whatever has a tag:
       {program} purge --tag article:bread --admin http://{admin} --token {token}

  5. See how a key is built and what purges it, without asking anybody:
       {first}{program} key 'http://{public}/articles/tea?b=2&a=1&utm_source=mail'

  Every exchange is logged below. Ctrl-C ends it.
"
    )
}
