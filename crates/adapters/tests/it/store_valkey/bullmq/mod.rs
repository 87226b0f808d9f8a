//! The queue beside the official BullMQ client and Bull Board: whatever one side writes, the other understands. On a real
//! server that the test starts, with the official packages from npm.

mod bare;
mod data;
mod flows;
mod hands;
mod nodes;
mod place;
