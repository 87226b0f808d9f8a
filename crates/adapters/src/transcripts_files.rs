//! Transcripts as append-only files per agent beside the store.
