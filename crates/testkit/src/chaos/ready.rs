//! How soon a server with many records is ready.
