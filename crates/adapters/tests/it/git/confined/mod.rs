//! Harvest and salvage inside an agent's confinement, as jobs of their own.

mod beside;
mod ignored;
mod look;
mod nested;
mod rebases;
mod replaced;
mod salvage;
