//! The shared store beyond the suite of the port: what others read of it, what they did to it, what a server does to it.

mod bullmq;
mod damage;
mod fleet;
mod layout;
mod leases;
mod link;
mod lost_answers;
mod memory;
mod records;

use std::sync::Arc;
use std::time::Duration;

use mosaic_adapters::store_valkey::{LinkOptions, TimeSource, ValkeyOptions, ValkeyStore};
use mosaic_testkit::valkey_server::ValkeyServer;
use redis::{FromRedisValue, RedisResult};

/// A server of one test, with a plain connection beside the store's.
struct World {
    server: ValkeyServer,
    raw: redis::aio::MultiplexedConnection,
}

impl World {
    /// Starts a server; nothing where there is none to start.
    async fn new(options: &[&str]) -> Option<Self> {
        let server = ValkeyServer::start_with(options)?;
        let raw = connect(server.port()).await;
        Some(Self { server, raw })
    }

    fn options(&self) -> ValkeyOptions {
        let link =
            LinkOptions { host: "127.0.0.1".to_owned(), port: self.server.port(), ..LinkOptions::default() };
        ValkeyOptions { link, time: TimeSource::Caller, ..ValkeyOptions::default() }
    }

    async fn store(&self) -> Arc<ValkeyStore> {
        Arc::new(ValkeyStore::connect(self.options()).await.unwrap())
    }

    /// Runs a command, its words separated by spaces; `~` stands for the queue's keys.
    async fn ask<T: FromRedisValue>(&self, command: &str) -> T {
        self.tried(command).await.unwrap()
    }

    async fn tried<T: FromRedisValue>(&self, command: &str) -> RedisResult<T> {
        let command = command.replace('~', "bull:orchestrator-tasks:");
        let mut words = command.split(' ');
        let mut cmd = redis::cmd(words.next().unwrap());
        words.for_each(|word| {
            cmd.arg(word);
        });
        cmd.query_async(&mut self.raw.clone()).await
    }

    /// Writes a text that may have spaces in it.
    async fn set(&self, key: &str, text: &[u8]) {
        redis::cmd("SET").arg(key).arg(text).exec_async(&mut self.raw.clone()).await.unwrap();
    }

    async fn text(&self, key: &str) -> String {
        self.ask(&format!("GET {key}")).await
    }

    /// Returns the queue's events, oldest first, each as its fields.
    async fn job_events(&self) -> Vec<Vec<(String, String)>> {
        let page: redis::streams::StreamRangeReply = self.ask("XRANGE ~events - +").await;
        let fields = |entry: redis::streams::StreamId| {
            let text = |value: &redis::Value| String::from_redis_value_ref(value).unwrap();
            let mut fields: Vec<_> =
                entry.map.iter().map(|(name, value)| (name.clone(), text(value))).collect();
            fields.sort();
            fields
        };
        page.ids.into_iter().map(fields).collect()
    }
}

async fn connect(port: u16) -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(("127.0.0.1", port)).unwrap();
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(20)));
    client.get_multiplexed_async_connection_with_config(&config).await.unwrap()
}
