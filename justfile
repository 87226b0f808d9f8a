# The commands of daily work. `just` lists them.

default:
    @just --list

# Builds the program.
build:
    cargo build

# Runs every test.
test:
    cargo test --workspace

# Formats, and denies every lint.
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --features mosaic/chaos -- -D warnings
    RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" cargo doc --workspace --no-deps --document-private-items

# Checks licences, versions and sources of what is built with.
deny:
    .ci/full deny

# What every landing must pass.
ci:
    .ci/run

# Breaks a sample of the steps of an agent's life.
chaos *args="--short":
    cargo run -p mosaic-testkit --bin chaos -- {{args}}

# Measures, as docs/benchmarks.md describes.
bench *args="all":
    cargo build --release -p mosaic
    cargo run --release -p mosaic-testkit --bin bench -- {{args}}

# Writes the documents and the snapshots anew that are made from code; look at the difference before you commit it.
snapshots:
    INSTA_UPDATE=always cargo test -p mosaic-server --test it snapshots
    INSTA_UPDATE=always cargo test -p mosaic --test it screens
    MOSAIC_WRITE_DOCS=1 cargo test -p mosaic-server --test it the_openapi_document
    MOSAIC_WRITE_DOCS=1 cargo test -p mosaic --lib the_readme_has_the_table

# Measures the structure of the code: circles, long files and functions.
structure:
    cargo run -p mosaic-testkit --bin structure
