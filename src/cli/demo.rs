//! `staleproof demo`

use std::net::{Ipv4Addr, SocketAddr};

use clap::Args;
use http::Uri;
use tokio::net::TcpListener;

use super::{Failure, print, serve, shutdown_signal};
use crate::clock::Clock;
use crate::demo::{self, Notify};
use crate::{config, server};

/// The configuration that is shipped: the demo is its proof.
const CONFIG: &str = include_str!("../../proxy.yaml");

/// Serves a small wiki, deliberately slow, behind the proxy with the shipped proxy.yaml, and prints things to try.
#[derive(Debug, Args)]
pub(super) struct Demo {
    /// The port to serve on
    #[arg(long, default_value_t = 8080)]
    port: u16,

    /// The port of the admin listener
    #[arg(long, default_value_t = 9090)]
    admin_port: u16,
}

impl Demo {
    pub(super) fn run(self) -> Result<(), Failure> {
        serve(self.serve())
    }

    async fn serve(self) -> Result<(), Failure> {
        let app = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let app_address = app.local_addr()?;
        let mut plan = config::compile_text("proxy.yaml", CONFIG, &|name| std::env::var(name).ok())
            .map_err(|problems| Failure::Failed(problems.to_string()))?;
        let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        plan.server.listen = vec![loopback(self.port)];
        plan.admin.listen = loopback(self.admin_port);
        for upstream in &mut plan.upstreams {
            upstream.servers = vec![app_address.to_string().parse()?];
        }
        let hook =
            plan.webhooks.first().and_then(|hook| Some((hook.path.clone(), hook.secrets.first()?.clone())));
        let token =
            plan.admin.tokens.first().map(|token| token.secret.reveal().to_owned()).unwrap_or_default();
        let Some((path, secret)) = hook else {
            return Err(Failure::Failed("proxy.yaml has no webhook for the demo".into()));
        };
        let bound = server::bind(&plan).await.map_err(|error| {
            Failure::Failed(format!(
                "{error}\nAnother program may be using the port: try --port and --admin-port."
            ))
        })?;
        let admin: Uri = format!("http://{}", bound.admin_address).parse()?;
        print(format_args!("{}", things_to_try(bound.addresses[0], bound.admin_address, &token)))?;
        let started = bound.start(plan, Clock::system())?;
        let app = demo::serve(app, Notify { admin, path, secret });
        tokio::select! {
            ended = app => return Err(Failure::Failed(format!("the example app ended: {ended:?}"))),
            () = shutdown_signal() => {}
        }
        started.stop().await;
        Ok(())
    }
}

fn things_to_try(public: SocketAddr, admin: SocketAddr, token: &str) -> String {
    let program = std::env::args().next().unwrap_or_else(|| "staleproof".into());
    format!(
        "
A wiki that needs 400 ms for every page, behind Staleproof: http://{public}/

Things to try (in another terminal):

  1. The first time is slow (MISS), the second is not (HIT):
       curl -si http://{public}/articles/tea | grep -iE '^(x-|age|cache-status)'
       curl -si http://{public}/ -o /dev/null -w '%{{time_total}} s\\n'

  2. Whatever a mail or an advertisement adds to the address makes no difference:
       curl -si 'http://{public}/articles/tea?utm_source=mail' | grep -i x-cache

  3. Edit an article. The app's signed webhook wipes its page and the list, and nothing else:
       curl -s http://{public}/articles/bread >/dev/null
       curl -s http://{public}/articles/tea -d 'title=More tea'
       curl -si http://{public}/articles/tea | grep -iE '<h1>|x-cache'
       curl -si http://{public}/articles/bread | grep -i x-cache

  4. Purge by hand what is tagged so:
       {program} purge --tag article:bread --admin http://{admin} --token {token}

  5. See how a key is built, without asking anybody:
       {program} key 'http://{public}/articles/tea?b=2&a=1&gclid=x'

Every exchange is logged below. Ctrl-C ends it.
"
    )
}
