//! The scripted demo agent, which speaks Claude Code's stream format.
