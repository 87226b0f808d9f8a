//! One question to a server on a connection that others share.

use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, RedisError};

/// Asks, and reads the answer.
pub(super) async fn ask<T: FromRedisValue>(
    connection: &MultiplexedConnection,
    cmd: &redis::Cmd,
) -> Result<T, RedisError> {
    cmd.query_async(&mut connection.clone()).await
}
