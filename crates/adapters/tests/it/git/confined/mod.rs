//! Harvest and salvage inside an agent's confinement, as jobs of their own.

mod beside;
mod ignored;
mod look;
mod nested;
mod replaced;
mod salvage;
