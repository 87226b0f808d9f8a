//! The structure of the code in figures: circles of imports, long functions and files, words of doc comments. One table on
//! standard output; `cargo run -p mosaic-testkit --bin structure [DIRECTORY]`, with names below the table.
//!
//! It reads formatted Rust line by line: an item that begins at an indentation ends at the closing brace of the same one.

mod circles;
mod figures;
mod modules;

use std::path::PathBuf;

use clap::Parser;
use figures::Figures;

/// Crates whose modules are looked at for circles.
const CRATES: [&str; 4] = ["core", "adapters", "server", "mosaic"];

/// Arguments of the command line.
#[derive(Debug, Parser)]
#[command(name = "structure", about = "Prints the structure of the code in figures")]
struct Args {
    /// Root of the workspace
    #[arg(default_value = ".")]
    root: PathBuf,
}

fn main() {
    let Args { root } = Args::parse();
    let files = figures::sources(&root.join("crates"));
    let mut figures = Figures::default();
    for (path, text) in &files {
        figures.add(path, text);
    }
    println!("{figures}");
    println!("| crate | modules | circles (modules in each) |");
    println!("|---|---|---|");
    let mut named = Vec::new();
    for name in CRATES {
        let modules = modules::of_crate(&root.join("crates").join(name).join("src"));
        let circles = circles::of(&modules.imports());
        let sizes: Vec<String> = circles.iter().map(|circle| circle.len().to_string()).collect();
        let sizes = if sizes.is_empty() { "0".to_owned() } else { sizes.join(", ") };
        println!("| {name} | {} | {sizes} |", modules.len());
        named.extend(circles.into_iter().map(|circle| format!("{name}: {}", circle.join(" "))));
    }
    for circle in named {
        println!("\ncircle in {circle}");
    }
    for finding in figures.findings() {
        println!("{finding}");
    }
}
