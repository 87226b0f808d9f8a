//! Isolated gates, run by real shims: what judged code can see and reach, and what becomes of gates that misbehave.

mod attacks;
mod bad_gates;
mod report_directory;
mod side_by_side;
mod testbed;
mod unprivileged;
mod view;
