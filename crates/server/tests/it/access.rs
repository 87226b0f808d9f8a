//! Access control: token, Host, Origin. The routes come from the table itself, so that a new one cannot be forgotten.

use axum::body::Body;
use axum::http::Request;
use mosaic_core::domain::access::{server_proof, token_digest};
use mosaic_server::{Auth, Scope, routes};
use serde_json::json;

use crate::world::{TOKEN, World, ask};

/// Fills a path's parameters with something that fits.
fn concrete(path: &str) -> String {
    path.replace("{id}", "7d0c6c1e-4a52-4d0e-9a55-0d7c9f2f3f9a")
        .replace("{gate}", "tests")
        .replace("{taskId}", "US-1")
        .replace("/v1/hello", "/v1/hello?nonce=00112233445566778899aabbccddeeff")
}

#[tokio::test]
async fn every_route_but_health_needs_the_token() {
    let world = World::new();
    let wrong = [
        None,
        Some("Bearer".to_owned()),
        Some("Bearer ".to_owned()),
        Some("Bearer wrong".to_owned()),
        Some(TOKEN.to_owned()),
        Some(format!("Basic {TOKEN}")),
        Some(format!("Bearer {TOKEN}x")),
        Some(format!("Bearer  {TOKEN}")),
        Some(format!("Bearer {}", &TOKEN[1..])),
        Some(format!("Bearer {}", TOKEN.to_uppercase())),
    ];
    let mut public = Vec::new();
    for route in routes() {
        for authorization in &wrong {
            let mut request = Request::builder()
                .method(&route.method)
                .uri(concrete(route.path))
                .header("host", "localhost");
            if let Some(value) = authorization {
                request = request.header("authorization", value);
            }
            let answer = world.send(request.body(Body::empty()).unwrap()).await;
            if route.scope == Scope::Public {
                assert_eq!(answer.status, 200, "{}", route.path);
                public.push(route.path);
                continue;
            }
            answer.is(401, "unauthenticated");
            assert!(
                answer.header("www-authenticate").starts_with("Bearer realm="),
                "{} {}",
                route.method,
                route.path
            );
        }
    }
    public.dedup();
    assert_eq!(public, ["/health", "/health/ready", "/v1/hello", "/openapi.json"]);
    // What is no route, or a route's wrong method, tells a stranger nothing either.
    for (method, path) in
        [("GET", "/nothing"), ("PUT", "/agents/spawn"), ("OPTIONS", "/v1/agents"), ("DELETE", "/health")]
    {
        let request =
            Request::builder().method(method).uri(path).header("host", "localhost").body(Body::empty());
        world.send(request.unwrap()).await.is(401, "unauthenticated");
    }
    let two = ask("GET", "/v1/agents").header("authorization", format!("Bearer {TOKEN}")).body(Body::empty());
    world.send(two.unwrap()).await.is(401, "unauthenticated");
    let scheme = Request::get("/v1/agents")
        .header("host", "localhost")
        .header("authorization", format!("bEARER {TOKEN}"));
    assert_eq!(world.send(scheme.body(Body::empty()).unwrap()).await.status, 200);
}

#[tokio::test]
async fn the_body_of_a_stranger_is_not_read() {
    let world = World::new();
    let never = Body::from_stream(futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    let request = Request::post("/agents/spawn").header("host", "localhost").body(never);
    world.send(request.unwrap()).await.is(401, "unauthenticated");
}

#[tokio::test]
async fn without_auth_host_and_origin_are_still_checked() {
    let world = World::with(10, |options| options.auth = Auth::Off);
    let send = async |host: &str, origin: Option<&str>| {
        let mut request = Request::post("/v1/queue/pause").header("host", host);
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        world.send(request.body(Body::empty()).unwrap()).await
    };
    assert_eq!(send("127.0.0.1:3001", None).await.status, 200);
    send("evil.example", None).await.is(421, "host_not_allowed");
    send("127.0.0.1:3001", Some("https://evil.example")).await.is(403, "origin_not_allowed");
}

/// Values of the header that look like one of ours.
const FOREIGN_HOSTS: [&[u8]; 34] = [
    b"evil.example",
    b"evil.example:3001",
    b"localhost.evil.example",
    b"evil-localhost",
    b"xlocalhost",
    b"localhost@evil.example",
    b"evil.example@localhost",
    b"localhost:3001@evil.example",
    b"localhost:evil",
    b"localhost:",
    b"localhost:0",
    b"localhost:65536",
    b"localhost:+80",
    b"localhost:80:80",
    b"",
    b" ",
    b"localhost evil.example",
    b"localhost,evil.example",
    b"localhost/evil",
    b"localhost#evil",
    b"localhost?x",
    b"127.0.0.1.nip.io",
    b"127.0.0.1.evil.example",
    b"2130706433",
    b"0x7f000001",
    b"[::1",
    b"::1",
    b"[::1]evil",
    b"[evil]",
    b"localhost..",
    b".localhost",
    b"mosaic.example.evil",
    b"\xffocalhost",
    b"notmosaic.example",
];

/// Values of the header that are ours.
const OWN_HOSTS: [&str; 12] = [
    "localhost",
    "LOCALHOST:3001",
    "localhost.",
    "a.localhost:80",
    "127.0.0.1",
    "127.0.0.1:3001",
    "10.1.2.3:9",
    "[::1]:3001",
    "[fe80::1]",
    "mosaic.example",
    "Mosaic.Example:443",
    "mosaic.example.",
];

#[tokio::test]
async fn only_our_own_hosts_are_answered_on_every_route() {
    let world = World::new();
    for host in FOREIGN_HOSTS {
        let request = Request::get("/health").header("host", host).body(Body::empty()).unwrap();
        let answer = world.send(request).await;
        assert_eq!(answer.status, 421, "{}", String::from_utf8_lossy(host));
        answer.is(421, "host_not_allowed");
    }
    for route in routes() {
        for host in [Some("evil.example"), None] {
            let mut request = Request::builder().method(&route.method).uri(concrete(route.path));
            request = request.header("authorization", format!("Bearer {TOKEN}"));
            if let Some(host) = host {
                request = request.header("host", host);
            }
            world.send(request.body(Body::empty()).unwrap()).await.is(421, "host_not_allowed");
        }
    }
    let two = Request::get("/health")
        .header("host", "localhost")
        .header("host", "evil.example")
        .body(Body::empty());
    world.send(two.unwrap()).await.is(421, "host_not_allowed");
    let absolute = Request::get("http://evil.example/health").header("host", "localhost").body(Body::empty());
    world.send(absolute.unwrap()).await.is(421, "host_not_allowed");
    for host in OWN_HOSTS {
        let request = Request::get("/health").header("host", host).body(Body::empty()).unwrap();
        assert_eq!(world.send(request).await.status, 200, "{host}");
    }
}

#[tokio::test]
async fn pages_of_other_origins_can_change_nothing() {
    let world = World::with(10, |options| options.public_url = Some("https://mosaic.example".to_owned()));
    let foreign = [
        "https://evil.example",
        "http://evil.example:3001",
        "null",
        "",
        "http://localhost",
        "http://localhost:3000",
        "https://localhost",
        "http://127.0.0.1:3001",
        "file://",
        "http://localhost:3001.evil.example",
        "http://localhost:3001@evil.example",
        "http://evil.example#http://localhost:3001",
        "http://[::1]:3001",
        "http://a.localhost:3001",
        "chrome-extension://abc",
        "localhost:3001",
        "http://localhost:3001/",
        "http://localhost:3001, http://evil.example",
        "https://mosaic.example.evil",
        "http://mosaic.example",
    ];
    let unsafe_routes: Vec<_> = routes().into_iter().filter(|route| route.method != "GET").collect();
    assert!(unsafe_routes.len() >= 9);
    for origin in foreign {
        for route in &unsafe_routes {
            let request = ask(route.method.as_str(), &concrete(route.path))
                .header("origin", origin)
                .body(Body::empty());
            let answer = world.send(request.unwrap()).await;
            assert_eq!(answer.status, 403, "{origin} {}", route.path);
            answer.is(403, "origin_not_allowed");
        }
        let stream = ask("GET", "/v1/events").header("origin", origin).body(Body::empty()).unwrap();
        world.send(stream).await.is(403, "origin_not_allowed");
        let path = "/v1/agents/7d0c6c1e-4a52-4d0e-9a55-0d7c9f2f3f9a/transcript";
        let live = ask("GET", path)
            .header("origin", origin)
            .header("accept", "text/event-stream")
            .body(Body::empty());
        world.send(live.unwrap()).await.is(403, "origin_not_allowed");
        // Reading is answered, without any word that would let the page see it.
        let read =
            world.send(ask("GET", "/v1/agents").header("origin", origin).body(Body::empty()).unwrap()).await;
        assert_eq!(read.status, 200);
        assert!(read.headers.keys().all(|name| !name.as_str().starts_with("access-control")));
    }
    for site in ["cross-site", "same-site", "?"] {
        let request = ask("POST", "/agents/kill-all").header("sec-fetch-site", site).body(Body::empty());
        world.send(request.unwrap()).await.is(403, "origin_not_allowed");
    }
    for origin in ["http://localhost:3001", "http://LOCALHOST:3001", "https://mosaic.example"] {
        let request = ask("POST", "/agents/kill-all").header("origin", origin).body(Body::empty());
        assert_eq!(world.send(request.unwrap()).await.status, 200, "{origin}");
    }
    let own = ask("POST", "/agents/kill-all").header("sec-fetch-site", "same-origin").body(Body::empty());
    assert_eq!(world.send(own.unwrap()).await.status, 200);
}

#[tokio::test]
async fn the_server_proves_that_it_knows_a_token_without_saying_it() {
    let world = World::new();
    let nonce = "00112233445566778899aabbccddeeff";
    let answer = world.send(stranger(&format!("/v1/hello?nonce={nonce}"))).await;
    let proof = server_proof(&token_digest(TOKEN.as_bytes()), nonce, 3001);
    assert_eq!(answer.json(), json!({"auth": "token", "port": 3001, "proofs": [proof]}));
    let other = world.send(stranger(&format!("/v1/hello?nonce={}", nonce.replace('0', "1")))).await;
    assert_ne!(other.json()["proofs"], answer.json()["proofs"]);
    let off = World::with(100, |options| options.auth = Auth::Off);
    let answer = off.send(stranger(&format!("/v1/hello?nonce={nonce}"))).await;
    assert_eq!(answer.json(), json!({"auth": "off", "port": 3001, "proofs": []}));
    for query in ["", "?nonce=", "?nonce=0011", "?nonce=zz112233445566778899aabbccddeeff", "?nonce=x&agent=y"]
    {
        assert_eq!(world.send(stranger(&format!("/v1/hello{query}"))).await.status, 400, "{query}");
    }
}

/// A request without a token.
fn stranger(path: &str) -> Request<Body> {
    Request::get(path).header("host", "localhost").body(Body::empty()).expect("the path is an address")
}
