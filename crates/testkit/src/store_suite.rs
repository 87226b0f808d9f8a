//! The conformance suite of the store port: every backend and every wrapper runs it.
