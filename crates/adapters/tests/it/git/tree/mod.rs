//! Trees that the server makes.

mod judging_checkout;
mod submodules;
mod tags;
