//! The system's clock and random source.
