//! A scripted model endpoint on loopback that speaks the Messages API.
