//! Claude Code, driven by stream-json in both directions.
