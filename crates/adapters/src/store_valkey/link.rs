//! The connection to the server.

use std::time::Duration;

use mosaic_core::limits;
use mosaic_core::ports::store::StoreError;
use redis::aio::{ConnectionManager, ConnectionManagerConfig, PubSub};
use redis::{Client, Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, ServerErrorKind, Value};

use super::scripts::Script;

/// Where the server is.
#[derive(Debug, Clone)]
pub struct LinkOptions {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Goes before every key with a colon; may carry a hash tag such as `{m}`.
    pub prefix: String,
}

impl Default for LinkOptions {
    fn default() -> Self {
        Self { host: "localhost".to_owned(), port: 6379, prefix: String::new() }
    }
}

/// A connection that many calls share and that comes back by itself.
pub(super) struct Link {
    client: Client,
    connection: ConnectionManager,
    place: String,
}

impl Link {
    /// Connects once; later losses are mended in the background.
    pub(super) async fn connect(options: &LinkOptions) -> Result<Self, StoreError> {
        let place = format!("{}:{}", options.host, options.port);
        let said = |e: RedisError| words(&e, &place, "connect");
        let client = Client::open((options.host.as_str(), options.port)).map_err(said)?;
        let config = ConnectionManagerConfig::new()
            .set_response_timeout(Some(limits::STORE_ANSWER))
            .set_connection_timeout(Some(Duration::from_secs(5)))
            .set_number_of_retries(1);
        let connection = client.get_connection_manager_with_config(config).await.map_err(said)?;
        Ok(Self { client, connection, place })
    }

    /// Runs a script. One that the server does not know yet has not run, so it is sent whole and run then.
    pub(super) async fn eval(
        &self,
        script: &'static Script,
        keys: &[String],
        args: Vec<Vec<u8>>,
    ) -> Result<Value, StoreError> {
        let call = |verb: &str, text: &str| {
            let mut cmd = redis::cmd(verb);
            cmd.arg(text).arg(keys.len()).arg(keys).arg(&args);
            cmd
        };
        let joined = script.joined();
        let mut connection = self.connection.clone();
        let answer: Result<Value, RedisError> =
            call("EVALSHA", &joined.digest).query_async(&mut connection).await;
        let answer = match answer {
            Err(e) if e.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                call("EVAL", &joined.code).query_async(&mut connection).await
            }
            other => other,
        };
        answer.map_err(|e| words(&e, &self.place, script.name))
    }

    /// Runs one command.
    pub(super) async fn query<T: FromRedisValue>(&self, cmd: Cmd) -> Result<T, StoreError> {
        let mut connection = self.connection.clone();
        cmd.query_async(&mut connection).await.map_err(|e| words(&e, &self.place, "command"))
    }

    /// Runs several commands.
    pub(super) async fn pipeline<T: FromRedisValue>(&self, pipe: Pipeline) -> Result<T, StoreError> {
        let mut connection = self.connection.clone();
        pipe.query_async(&mut connection).await.map_err(|e| words(&e, &self.place, "commands"))
    }

    /// Opens a connection that listens to these channels.
    pub(super) async fn listen(&self, channels: &[String]) -> Result<PubSub, StoreError> {
        let said = |e: RedisError| words(&e, &self.place, "listen");
        let mut listener = self.client.get_async_pubsub().await.map_err(said)?;
        listener.subscribe(channels).await.map_err(said)?;
        Ok(listener)
    }
}

/// Returns the port's words for what went wrong.
fn words(e: &RedisError, place: &str, what: &str) -> StoreError {
    if e.code() == Some("OOM") {
        return StoreError::Unavailable(format!(
            "the memory of the store at {place} is full; give it more, or remove ended agents"
        ));
    }
    StoreError::Unavailable(format!("{what} at {place}: {e}"))
}
