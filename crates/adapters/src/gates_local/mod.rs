//! The local gatekeeper: commands of the base commit, run on a fresh checkout.
