//! Texts that the secret scan finds, and texts that it leaves alone. Everything that looks like a secret is put together while
//! the test runs, so that no scanner trips over this file.

mod services;

use mosaic_adapters::secret_scan::RuleScanner;
use mosaic_core::ports::scanner::SecretScanner;
use proptest::prelude::*;

/// Returns random-looking text of this length over an alphabet, always the same for the same seed.
fn noise(seed: u64, length: usize, alphabet: &str) -> String {
    let letters: Vec<char> = alphabet.chars().collect();
    let mut state = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        letters[usize::try_from(state >> 33).unwrap() % letters.len()]
    };
    (0..length).map(|_| next()).collect()
}

const ALNUM: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const BASE64: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const HEX: &str = "0123456789abcdef";

fn alnum(seed: u64, length: usize) -> String {
    noise(seed, length, ALNUM)
}

fn aws_id(seed: u64) -> String {
    ["AK", "IA"].concat() + &noise(seed, 16, UPPER)
}

fn github(seed: u64) -> String {
    ["gh", "p_"].concat() + &alnum(seed, 36)
}

fn anthropic(seed: u64) -> String {
    ["sk-", "ant-", "api03-"].concat() + &alnum(seed, 80) + "-" + &alnum(seed + 1, 12) + "AA"
}

fn jwt(seed: u64) -> String {
    let part = |seed, length| ["ey", "J"].concat() + &alnum(seed, length);
    format!("{}.{}.{}", part(seed, 33), part(seed + 1, 60), alnum(seed + 2, 43))
}

fn pem(kind: &str, line_break: &str) -> String {
    let dashes = "-".repeat(5);
    let lines: Vec<String> = (0..6).map(|n| noise(n + 7, 64, BASE64)).collect();
    let body = lines.join(line_break);
    format!("{dashes}BEGIN {kind}{dashes}{line_break}{body}{line_break}{dashes}END {kind}{dashes}")
}

fn slack(seed: u64) -> String {
    let digits = |seed| noise(seed, 12, "0123456789");
    format!("{}{}-{}-{}", ["xo", "xb-"].concat(), digits(seed), digits(seed + 1), alnum(seed + 2, 24))
}

type Table = Vec<(&'static str, String, String)>;

/// Tokens with a format of their own: rule, text, the secret in it.
fn formats() -> Table {
    let mut all = Vec::new();
    let mut add = |rule, text: String, secret: &str| all.push((rule, text, secret.to_owned()));
    let id = aws_id(1);
    add("aws-access-key-id", format!("export AWS_ACCESS_KEY_ID={id}\n"), &id);
    add("aws-access-key-id", format!("{{\"accessKeyId\":\"{id}\"}}"), &id);
    add("aws-access-key-id", format!("line one\\n{id}\\nline two"), &id);
    add("aws-access-key-id", format!("x\r\n  key: {id}\r\n"), &id);
    let temporary = ["AS", "IA"].concat() + &noise(2, 16, UPPER);
    add("aws-access-key-id", format!("creds = ('{temporary}',)"), &temporary);
    for (seed, kind) in ["ghp_", "gho_", "ghu_", "ghs_", "ghr_"].into_iter().enumerate() {
        let token = kind.to_owned() + &alnum(seed as u64 + 10, 36);
        add("github-token", format!("git clone https://x:{token}@github.com/a/b"), &token);
    }
    let fine = ["github", "_pat_"].concat() + &alnum(20, 22) + "_" + &alnum(21, 59);
    add("github-fine-grained-token", format!("# see {fine} # gitleaks:allow"), &fine);
    let key = anthropic(30);
    add("anthropic-api-key", format!("ANTHROPIC_API_KEY={key}"), &key);
    add("anthropic-api-key", format!("client = Anthropic(api_key=\"{key}\")  # mosaic:allow-secret"), &key);
    let project = ["sk-", "proj-"].concat() + &alnum(40, 48);
    add("openai-api-key", format!("OPENAI_API_KEY='{project}'"), &project);
    let old = ["s", "k-"].concat() + &alnum(41, 48);
    add("openai-api-key", format!("const c=new OpenAI({{apiKey:\"{old}\"}});"), &old);
    let token = slack(50);
    add("slack-token", format!("token: {token}\n"), &token);
    let app = ["xa", "pp-1-"].concat() + &noise(51, 11, UPPER) + "-4242424242421-" + &noise(52, 64, HEX);
    add("slack-app-token", format!("[slack]\napp = \"{app}\"\n"), &app);
    let hook = format!("T{}/B{}/{}", noise(53, 8, UPPER), noise(54, 8, UPPER), alnum(55, 24));
    add("slack-webhook", format!("curl https://hooks.{}/services/{hook}", "slack.com"), &hook);
    let live = ["sk_", "live_"].concat() + &alnum(60, 24);
    add("stripe-key", format!("stripe.api_key = '{live}'"), &live);
    let restricted = ["rk_", "live_"].concat() + &alnum(61, 24);
    add("stripe-key", format!("STRIPE={restricted}"), &restricted);
    let session = jwt(70);
    add("jwt", format!("curl -H 'Authorization: Bearer {session}'"), &session);
    add("jwt", format!("TOKEN={session}\r\n"), &session);
    all
}

/// Private keys and passwords in URLs.
fn blocks_and_urls() -> Table {
    let mut all = Vec::new();
    let mut add = |rule, text: String, secret: &str| all.push((rule, text, secret.to_owned()));
    for kind in ["", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED ", "PGP "] {
        let block = if kind == "PGP " { " BLOCK" } else { "" };
        let key = pem(&format!("{kind}PRIVATE KEY{block}"), "\n");
        add("private-key", format!("a\n{key}\nb\n"), &key);
    }
    for line_break in ["\r\n", "\\n", "\n    "] {
        let key = pem("PRIVATE KEY", line_break);
        add("private-key", format!("{{\"private_key\": \"{key}\"}}"), &key);
    }
    let half = pem("PRIVATE KEY", "\n")[..200].to_owned();
    add("private-key", half.clone(), &half);
    let word = "kX9vP2qL".to_owned() + "w7Zt";
    add("url-password", format!("DATABASE_URL=postgres://app:{word}@db.internal:5432/app"), &word);
    add("url-password", format!("redis://:{word}@cache:6379"), &word);
    add("url-password", format!("{{\"proxy\":\"http://me:{word}@10.0.0.1:3128\"}}"), &word);
    add("url-password", format!("git remote add o https://oauth2:{word}@git.example.com/x.git"), &word);
    all
}

/// Values that only their name gives away.
fn assignments() -> Table {
    let mut all = Vec::new();
    let mut add = |text: String, secret: &str| all.push(("generic-secret", text, secret.to_owned()));
    let aws = noise(3, 40, BASE64);
    add(format!("aws_secret_access_key = {aws}\n"), &aws);
    add(format!("SecretAccessKey: \"{aws}\""), &aws);
    let key = alnum(80, 32);
    for text in [
        format!("api_key = \"{key}\""),
        format!("const apiKey = '{key}';"),
        format!("{{\"client_secret\": \"{key}\"}}"),
        format!("API_KEY={key}\n"),
        format!("  - auth_token: {key}\r\n"),
        format!("secret:\n  \"{key}\"\n"),
        format!("a=1,token:\"{key}\",b=2"),
        format!("config[\"access_token\"] = \"{key}\""),
        format!("let auth = \"{{\\\"token\\\": \\\"{key}\\\"}}\";"),
        format!("[service]\nencryption_key = '{key}' # gitleaks:allow"),
        format!("ENV API_TOKEN={key}"),
    ] {
        add(text, &key);
    }
    let hex = noise(81, 32, HEX);
    add(format!("datadog_api_key: \"{hex}\""), &hex);
    let word = "Tr0ub4dor".to_owned() + "&3x";
    add(format!("password = \"{word}\""), &word);
    add(format!("DB_PASSWORD={word}\n"), &word);
    add(format!("  password: {word}\n"), &word);
    all
}

/// Texts with exactly one secret.
fn positives() -> Table {
    [formats(), blocks_and_urls(), assignments()].concat()
}

#[test]
fn finds_secrets_wherever_they_stand() {
    let scanner = RuleScanner::new();
    let table = positives();
    assert!(table.len() >= 40, "{}", table.len());
    for (rule, text, secret) in table {
        let found = scanner.scan(Some("src/a.txt"), &text);
        let shown: Vec<_> = found.iter().map(|f| (f.rule.as_str(), &text[f.span.0..f.span.1])).collect();
        assert_eq!(shown, [(rule, secret.as_str())], "{text}");
        let masked = scanner.mask(&text);
        assert!(!masked.contains(&secret) && masked.contains('…'), "{masked}");
        assert!(scanner.scan(None, &masked).is_empty(), "{masked}");
    }
}

#[test]
fn tells_line_and_mask_without_the_secret() {
    let scanner = RuleScanner::new();
    let text = format!("one\ntwo {}\r\nthree\n{}\n", aws_id(5), github(5));
    let found = scanner.scan(None, &text);
    let told: Vec<_> = found.iter().map(|f| (f.line, f.masked.as_str())).collect();
    assert_eq!(told, [(2, "AKIA…"), (4, "ghp_…")]);
    let short = scanner.scan(None, &format!("amqp://me:{}@host", "q7Zk4"));
    assert_eq!(short[0].masked, "q…");
}

const PLAIN: &[&str] = &[
    "",
    "token",
    "const token = getToken(request);",
    "let token = parser.next_token();",
    "password: string;",
    "password = os.environ['DB_PASSWORD']",
    "api_key = process.env.API_KEY",
    "apiKey: process.env.OPENAI_API_KEY2",
    "API_KEY=${API_KEY_FROM_VAULT_9x8y}",
    "api_key: {{ .Values.apiKey9f8e7d6c5b }}",
    "token = \"<your-key-here-12345>\"",
    "token: \"your_token_1234567890abcd\"",
    "secret = \"changeme\"",
    "password: changeme123!A",
    "password = \"password123\"",
    "api_key = \"xxxxxxxxxxxxxxxxxxxxxxxx\"",
    "api_key=\"0123456789abcdef0123456789abcdef\"",
    "token = \"abcdefghijklmnopqrstuvwxyz123456\"",
    "secretName: my-app-tls-certificate-2",
    "token_url: https://auth.internal/oauth2/v1/token",
    "tokenUrl = \"https://login.a1b2c3.com/x9y8z7\"",
    "tokenizer = \"cl100k_base_v2_9f8e7d6c\"",
    "max_tokens=8192",
    "token_type = \"Bearer\"",
    "password_hash = \"$2b$12$KIXQ4S9x1Zq8v7L2m3N4oP5qR6sT7u\"",
    "passwordField: 'input-9a8b7c6d5e4f3g2h'",
    "passwordRegex = \"^(?=.*[A-Z])(?=.*[0-9]).{8,}$\"",
    "if password == \"\" {",
    "secret: \"***REDACTED***9x8y7z6w\"",
    "the secret of Eldorado: 2 brothers, 1 map",
    "<input type=\"password\" name=\"pw\">",
    "secret-scan = \"cargo run -- scan\"",
    "private_key_path = \"/etc/ssl/private/server-2024.key\"",
    "credential_file=~/.aws/credentials",
    "http://localhost:8080/",
    "https://user@host/x",
    "postgres://postgres:postgres@localhost/db",
    "postgres://user:password@host/db",
    "mysql://root:${MYSQL_PASSWORD}@db",
    "https://user:<password>@host",
    "https://registry.npmjs.org/@types/node",
    "https://a.b/c:d@e",
    "git@github.com:owner/repo.git",
    "ssh://git@github.com:22/owner/repo.git",
    "redis://localhost:6379@x",
    "amqp://guest:guest@rabbit",
    "https://u:****@h/x",
    "see https://example.com:443/@scope/pkg",
    "Authorization: Bearer <token>",
    "class=\"sk-fading-circle sk-child\"",
    "task-list-item-checkbox-container",
    "risk-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "ghp_short",
    "xoxb-your-token-here",
    "sk_test_nothing",
    "sk-ant-...",
    "eyJhbGciOiJIUzI1NiJ9",
    "hooks.slack.com/services/T/B/X",
    "ASIA is a continent; ACCA is a body",
    "csrf_token = \"a9f8e7d6c5b4a3f2e1d0c9b8\"",
    "nextPageToken: \"CAEQ9f8e7d6c5b4a3f2e1d\"",
    "publicKeyToken=\"b77a5c561934e089\"",
    "password = \"correct horse battery staple\"",
    "api_key: str = Field(default=None)",
    "token => token.length > 12",
    "\"token\": \"550e8400-e29b-41d4-a716-446655440000\"",
    "password: {type: string, minLength: 8}",
];

/// Texts without a secret.
fn negatives() -> Vec<String> {
    let dashes = "-".repeat(5);
    let mut all: Vec<String> = PLAIN.iter().map(|text| (*text).to_owned()).collect();
    let mut add = |text: String| all.push(text);
    add(["AK", "IA", "IOSFODNN7", "EXAMPLE"].concat());
    add(format!("aws_secret_access_key = {}", ["wJalrXUtnFEMI/K7MDENG/bPxRfiCY", "EXAMPLEKEY"].concat()));
    add(format!("if text.starts_with(\"{dashes}BEGIN RSA PRIVATE KEY{dashes}\") {{ return true }}"));
    add(format!("{dashes}BEGIN PRIVATE KEY{dashes}\n...\n{dashes}END PRIVATE KEY{dashes}"));
    add(format!(
        "{dashes}BEGIN PUBLIC KEY{dashes}\n{}\n{dashes}END PUBLIC KEY{dashes}",
        noise(1, 200, BASE64)
    ));
    add(format!(
        "{dashes}BEGIN CERTIFICATE{dashes}\n{}\n{dashes}END CERTIFICATE{dashes}",
        noise(2, 400, BASE64)
    ));
    add(["gh", "p_"].concat() + &"x".repeat(36));
    add(["sk-", "ant-api03-"].concat() + &"x".repeat(80));
    add(format!("commit {}", noise(3, 40, HEX)));
    add(format!("let base = \"{}\";", noise(4, 40, HEX)));
    add(format!("sha256: {}", noise(5, 64, HEX)));
    add(format!("token_sha256 = \"{}\"", noise(6, 64, HEX)));
    add(format!(
        "id: {}-{}-4{}-a{}-{}",
        noise(7, 8, HEX),
        noise(8, 4, HEX),
        noise(9, 3, HEX),
        noise(10, 3, HEX),
        noise(11, 12, HEX)
    ));
    add(format!("      \"integrity\": \"sha512-{}==\",", noise(12, 86, BASE64)));
    add(format!("src=\"data:image/png;base64,{}\"", noise(13, 4000, BASE64)));
    add((0..50).map(|n| noise(n + 100, 76, BASE64) + "\n").collect());
    add((0..200).map(|n| noise(n + 300, 64, HEX) + "\n").collect());
    add(format!("//# sourceMappingURL=data:application/json;base64,{}", noise(14, 3000, BASE64)));
    let minified = "!function(e,t){var n=t.token,r=e.password||\"\";return n?r:{token:n,password:r,secret:e.secret}}(this,window);";
    add(minified.repeat(50));
    all
}

#[test]
fn leaves_everything_else_alone() {
    let scanner = RuleScanner::new();
    let table = negatives();
    assert!(table.len() >= 60, "{}", table.len());
    for text in table {
        let found = scanner.scan(Some("src/a.txt"), &text);
        let shown: Vec<_> = found.iter().map(|f| (f.rule.as_str(), &text[f.span.0..f.span.1])).collect();
        assert!(shown.is_empty(), "{shown:?} in {text}");
        assert_eq!(scanner.mask(&text), text);
    }
}

#[test]
fn lock_files_are_full_of_digests_and_still_no_place_for_tokens() {
    let scanner = RuleScanner::new();
    let (sum, digest) = (noise(1, 64, HEX), noise(2, 64, HEX));
    let package =
        format!("[[package]]\nname = \"secret-token\"\nchecksum = \"{sum}\"\ntoken = \"{digest}\"\n");
    assert!(scanner.scan(Some("Cargo.lock"), &package).is_empty());
    let entry = |n: u64| {
        let integrity = noise(n + 1, 86, BASE64);
        format!(
            "\"node_modules/js-tokens-{n}\": {{\n\"version\": \"4.0.{n}\",\n\"integrity\": \"sha512-{integrity}==\"\n}},\n"
        )
    };
    let npm: String = (0..100).map(entry).collect();
    assert!(scanner.scan(Some("web/package-lock.json"), &npm).is_empty());
    assert!(scanner.scan(None, &npm).is_empty());
    assert_eq!(scanner.scan(Some("Cargo.lock"), &github(3)).len(), 1);
}

#[test]
fn this_project_has_no_secret_in_its_own_files() {
    let scanner = RuleScanner::new();
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut directories =
        vec![root.join("src/secret_scan"), root.join("src/gates_local"), root.join("../core/src")];
    let mut files = vec![root.join("../../Cargo.lock"), root.join("tests/it/secret_scan.rs")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { directories.push(path) } else { files.push(path) }
        }
    }
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        let found = scanner.scan(path.to_str(), &text);
        assert!(found.is_empty(), "{}: {found:?}", path.display());
    }
}

#[test]
fn hostile_text_takes_linear_time_and_no_panic() {
    let scanner = RuleScanner::new();
    let head = ["-----BEGIN ", "PRIVATE KEY-----"].concat();
    let units = [
        "sk-",
        "sk-ant-",
        "eyJ.",
        "eyJ-",
        "token=\"",
        "token='",
        "token:",
        "\ntoken=",
        "secret",
        "://a:",
        "a://b:c@",
        "xoxb-1",
        "gh",
        "ghp_",
        "-----BEGIN ",
        "PRIVATE KEY",
        "AKIA",
        "ä",
        "token=\"ä",
        "\\n",
        "\"",
        "password\n",
        "hooks.slack.com/services/",
        "\u{feff}",
        &head,
    ];
    for unit in units {
        let text = unit.repeat(200_000 / unit.len());
        assert!(scanner.mask(&text).len() <= text.len() + 4, "{unit}");
    }
    let line = format!("{} {} {}", alnum(1, 4_000_000), github(9), "x".repeat(4_000_000));
    assert_eq!(scanner.scan(None, &line).len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_was_found_survives_the_mask(
        picks in proptest::collection::vec((0usize..60, 0u64..1000), 1..8),
        between in proptest::collection::vec("[ -~ä…\n\t\"'=:@/]{0,30}", 9),
    ) {
        let table = positives();
        let mut text = between[8].clone();
        for (at, (pick, seed)) in picks.iter().enumerate() {
            text += &between[at];
            text.push('\n');
            text += &table[pick % table.len()].1;
            text += &format!("\n{} {} {} {}\n", aws_id(*seed), github(*seed), anthropic(*seed), jwt(*seed));
        }
        let scanner = RuleScanner::new();
        let masked = scanner.mask(&text);
        for secret in scanner.scan(None, &text) {
            let raw = &text[secret.span.0..secret.span.1];
            prop_assert!(raw.chars().count() < 8 || !masked.contains(raw), "{raw}");
            prop_assert!(secret.masked.chars().count() <= 5);
            let before = &text.as_bytes()[..secret.span.0];
            prop_assert_eq!(before.iter().filter(|b| **b == b'\n').count() as u64 + 1, secret.line);
        }
        for seed in picks.iter().map(|(_, seed)| *seed) {
            prop_assert!(!masked.contains(&github(seed)) && !masked.contains(&anthropic(seed)));
        }
        for again in scanner.scan(None, &masked) {
            prop_assert!(!text.contains(&masked[again.span.0..again.span.1]), "{}", &masked[again.span.0..again.span.1]);
        }
    }

    #[test]
    fn any_text_is_scanned_without_panic(text in "[ -~ä…\n]{0,400}") {
        RuleScanner::new().mask(&text);
    }
}

#[test]
fn what_authorizes_a_request_is_found_in_headers_options_addresses_and_connection_strings() {
    let (long, short) = (alnum(3, 40), alnum(4, 14) + "!7a");
    let basic = ["dXNlcjp", "YN2NQOXdLM2xEMXpWOHRC"].concat();
    for text in [
        format!("curl -H 'Authorization: Bearer {long}' https://x"),
        format!("Authorization: Basic {basic}"),
        format!("curl -u admin:{short} https://api.example"),
        format!("https://{long}@github.com/x/y.git"),
        format!("jdbc:mysql://db.prod.example/x?user=app&password={short}"),
        format!("Server=db;Database=x;User Id=sa;Password={short};"),
        format!("<password>{short}</password>"),
        format!("deploy --token {long} now"),
        format!("RAILS_MASTER_KEY={}", noise(9, 32, HEX)),
        format!("SNYK_TOKEN={}-1b2c-4d3e-8f4a-{}", noise(1, 8, HEX), noise(2, 12, HEX)),
        format!("{{\"auths\":{{\"x\":{{\"auth\": \"{basic}\"}}}}}}"),
        format!("DISCORD=MT{}.G{}.{}", alnum(5, 22), alnum(6, 5), alnum(7, 38)),
    ] {
        assert_eq!(RuleScanner::new().scan(None, &text).len(), 1, "{text}");
    }
    for text in [
        "Bearer authentication-is-required-here, Basic authentication, Basic HTTP",
        "docker run -u 1000:1000 -u user:group alpine",
        "https://0123456789abcdef0123456789abcdef@o123.ingest.sentry.io/1",
        "https://some-organisation-name@dev.azure.com/x",
        "deploy --token-file /run/secrets/token --token \"$TOKEN\" --password ${PASSWORD}",
        "password: \"ENC[AES256_GCM,data:p8DFx3zQ,iv:Zk3,tag:9aB,type:str]\"",
        "a.getter(b).Gathering.other, x-us12, REQUEST_ID=0f8b1c9e-1b2c-4d3e-8f4a-77aa11bb22cc",
        "?next=home&password=<password>&x=<password></password>",
    ] {
        assert_eq!(RuleScanner::new().scan(None, text), [], "{text}");
    }
}
