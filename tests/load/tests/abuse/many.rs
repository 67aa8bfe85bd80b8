//! More connections than anybody needs.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use load::process::Command;
use load::procfs::descriptors;
use load::raise_descriptor_limit;
use load::within;

use crate::stand::{LIFE_S, Stand};

const CONNECTIONS: usize = 10_000;
const NEW_CLIENT_WITHIN: Duration = Duration::from_secs(10);

#[test]
fn ten_thousand_connections_are_bounded() -> Result<()> {
    let limit = raise_descriptor_limit(32_768)? as usize;
    // Ours and the server's are counted apart: each has that many.
    let count = CONNECTIONS.min(limit.saturating_sub(500));
    ensure!(count == CONNECTIONS, "only {limit} descriptors are permitted");
    Stand::with(160, |stand| {
        let server = stand.parts.server.context("no server")?;
        let before = descriptors(server).context("no server")?;
        for begun in [&[][..], b"GET /v2/sandboxes HT"] {
            let mut idle = Vec::with_capacity(count);
            for number in 0..count {
                let stream = TcpStream::connect_timeout(&stand.served.address(), Duration::from_secs(10));
                let mut stream = stream.with_context(|| format!("connection {number}"))?;
                // The server may have closed it already: that is a bound.
                let _ = stream.write_all(begun);
                idle.push(stream);
            }
            let start = Instant::now();
            let mut fresh = stand.client.another();
            let sandbox = fresh.create(LIFE_S).context("a new client beside them")?;
            let ended = fresh.run(&sandbox, &Command::of(&["/bin/true"]))?;
            ensure!(ended.code == 0 && fresh.kill(&sandbox.id)?, "a new client's command comes to {ended:?}");
            ensure!(start.elapsed() < NEW_CLIENT_WITHIN, "a new client waited {:?}", start.elapsed());
            let most = descriptors(server).context("the server died")?;
            println!("{count} connections: {most} descriptors in the server");
            drop(idle);
            within(Duration::from_secs(10), || {
                Ok(descriptors(server).context("the server died")? < before + 64)
            })
            .with_context(|| format!("{:?} descriptors are left of {before}", descriptors(server)))?;
        }
        Ok(())
    })
}
