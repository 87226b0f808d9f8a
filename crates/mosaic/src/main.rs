//! The program that people run: nothing stands between its ports and its adapters.

use std::process::ExitCode;

fn main() -> ExitCode {
    mosaic::main_with(mosaic::PortWrappers::PLAIN)
}
