//! tmp
mod side;
#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let arg = std::env::args().nth(1).expect("what");
    let what = serde_json::from_str(&arg).expect("json");
    match side::measure(what).await {
        Ok(v) => println!("{v}"),
        Err(e) => {
            eprintln!("{e}");
            std::process::exit(1)
        }
    }
}
