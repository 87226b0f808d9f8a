//! The `mosaic` program.
#![expect(dead_code, reason = "temporary")]
mod config;
mod demo;
mod hidden;
mod plain;
mod serve;
mod wire;

fn main() -> std::process::ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let Some(code) = hidden::dispatch(&args) {
        return code;
    }
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let config = config::Config::from_env(&config::real_env).expect("config");
    let r = match args[0].as_str() {
        "serve" => serve::serve(&config, false, |u, d| eprintln!("listening {u} {d:?}")).map_err(|e| anyhow::anyhow!("{e:#}")),
        _ => demo::run(&config),
    };
    match r { Ok(()) => std::process::ExitCode::SUCCESS, Err(e) => { eprintln!("error: {e:#}"); std::process::ExitCode::FAILURE } }
}
