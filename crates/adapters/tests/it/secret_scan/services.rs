//! Formats of services: one sample of each is found and named, what is shorter or made of one letter is not.

use std::sync::LazyLock;

use mosaic_adapters::secret_scan::RuleScanner;
use mosaic_core::ports::scanner::SecretScanner;

use super::noise;

/// Rule and shape of a token: `{a20}` stands for 20 random letters and digits; `h` is hexadecimal, `U` upper-case letters and
/// digits, `H` upper-case hexadecimal, `d` digits, `l` lower-case letters and digits, `b` base64.
const SHAPES: &[(&str, &str)] = &[
    ("1password-secret-key", "A3-{U6}-{U11}-{U5}-{U5}-{U5}"),
    ("1password-service-token", "ops_eyJ{a260}"),
    ("adobe-client-secret", "p8e-{l32}"),
    ("airtable-token", "pat{a14}.{h64}"),
    ("asana-token", "2/1{d14}/1{d14}:{h32}"),
    ("authress-key", "sc_{l10}.{l4}.acc_{l12}.{l40}"),
    ("azure-signature", "https://x.example/y?sig={a43}"),
    ("cerebras-api-key", "csk-{l48}"),
    ("clickhouse-api-secret", "4b1d{a38}"),
    ("defined-networking-token", "dnkey-{l26}-{l52}"),
    ("dropbox-token", "sl.{a135}"),
    ("elevenlabs-api-key", "sk_{h48}"),
    ("fireworks-api-key", "fw_{a22}"),
    ("flutterwave-key", "FLWSECK-{h32}-X"),
    ("flutterwave-key", "FLWSECK_TEST-{h12}"),
    ("frameio-token", "fio-u-{a64}"),
    ("gitlab-session", "_gitlab_session={h32}"),
    ("grafana-api-key", "eyJrIjoi{a90}"),
    ("harness-api-key", "pat.{a22}.{h24}.{a20}"),
    ("intra42-client-secret", "s-s4t2ud-{h64}"),
    ("jina-api-key", "jina_{h32}{a28}"),
    ("langsmith-api-key", "lsv2_pt_{h32}_{h10}"),
    ("mailchimp-api-key", "{h32}-us12"),
    ("mapbox-secret-token", "sk.eyJ1Ijoi{a60}.{a22}"),
    ("maxmind-license-key", "{a6}_{a29}_mmk"),
    ("neon-api-key", "napi_{l64}"),
    ("new-relic-key", "NRJS-{h19}"),
    ("nvidia-api-key", "nvapi-{a64}"),
    ("pagerduty-api-key", "u+{a18}"),
    ("pinecone-api-key", "pcsk_{a68}"),
    ("plaid-token", "access-sandbox-{h8}-{h4}-{h4}-{h4}-{h12}"),
    ("posthog-personal-key", "phx_{a43}"),
    ("private-key-base64", "LS0tLS1CRUdJTiBSU0Eg{b400}"),
    ("resend-api-key", "re_{a8}_{a24}"),
    ("settlemint-token", "sm_aat_{a16}"),
    ("shadow-password", "$6${a16}${a86}"),
    ("slack-cookie", "xoxd-{a100}"),
    ("square-access-token", "EAAA{a60}"),
    ("tavily-api-key", "tvly-dev-{a32}"),
    ("together-api-key", "tgp_v1_{a43}"),
    ("trello-token", "ATTA{h64}"),
    ("vercel-blob-token", "vercel_blob_rw_{a16}_{a30}"),
    ("yandex-access-key", "YC{a38}"),
    ("yandex-iam-token", "t1.{a20}.{a86}"),
    ("age-secret-key", "AGE-SECRET-KEY-1{q58}"),
    ("alibaba-access-key-id", "LTAI{a20}"),
    ("artifactory-token", "AKCp{a69}"),
    ("artifactory-token", "cmVmd{a59}"),
    ("atlassian-token", "ATATT3{a180}"),
    ("atlassian-token", "ATBB{a32}"),
    ("aws-bedrock-key", "ABSK{a120}"),
    ("azure-client-secret", "{a3}8Q~{a34}"),
    ("brevo-api-key", "xkeysib-{h64}-{a16}"),
    ("buildkite-token", "bkua_{h40}"),
    ("circleci-token", "CCIPAT_{a22}_{h40}"),
    ("clojars-token", "CLOJARS_{h60}"),
    ("cloudflare-origin-key", "v1.0-{h24}-{h146}"),
    ("contentful-token", "CFPAT-{a43}"),
    ("crates-io-token", "cio{a32}"),
    ("databricks-token", "dapi{h32}"),
    ("digitalocean-token", "dop_v1_{h64}"),
    ("digitalocean-token", "doo_v1_{h64}"),
    ("digitalocean-token", "dor_v1_{h64}"),
    ("discord-webhook", "https://discord.com/api/webhooks/{d18}/{a68}"),
    ("docker-token", "dckr_pat_{a27}"),
    ("docker-token", "dckr_oat_{a32}"),
    ("doppler-token", "dp.pt.{a43}"),
    ("doppler-token", "dp.st.dev.{a43}"),
    ("duffel-token", "duffel_live_{a43}"),
    ("dynatrace-token", "dt0c01.{U24}.{U64}"),
    ("easypost-key", "EZAK{a54}"),
    ("facebook-token", "EAAM{a120}"),
    ("figma-token", "figd_{a40}"),
    ("fly-io-token", "fo1_{a43}"),
    ("fly-io-token", "fm2_{a120}"),
    ("gitlab-runner-registration-token", "GR1348941{a20}"),
    ("gitlab-token", "glpat-{a20}"),
    ("gitlab-token", "glpat-{a27}.01.{l9}"),
    ("gitlab-token", "gldt-{a20}"),
    ("gitlab-token", "glrt-{a20}"),
    ("gitlab-token", "glrt-t1_{a27}.{l9}"),
    ("gitlab-token", "glrtr-{a20}"),
    ("gitlab-token", "glptt-{h40}"),
    ("gitlab-token", "glcbt-64_{a20}"),
    ("gitlab-token", "glft-{a20}"),
    ("gitlab-token", "glimt-{a25}"),
    ("gitlab-token", "glagent-{a50}"),
    ("gitlab-token", "glsoat-{a20}"),
    ("gitlab-token", "gloas-{a64}"),
    ("gitlab-token", "glffct-{a20}"),
    ("google-api-key", "AIza{a35}"),
    ("google-oauth-secret", "GOCSPX-{a28}"),
    ("google-oauth-token", "ya29.{a120}"),
    ("grafana-token", "glsa_{a32}_{h8}"),
    ("grafana-token", "glc_{a60}"),
    ("groq-api-key", "gsk_{a52}"),
    ("heroku-api-key", "HRKU-AA{a58}"),
    ("huggingface-token", "hf_{a34}"),
    ("infracost-token", "ico-{a32}"),
    ("linear-token", "lin_api_{a40}"),
    ("mailgun-key", "key-{h32}"),
    ("mongodb-atlas-secret", "mdb_sa_sk_{a44}"),
    ("netlify-token", "nfp_{a36}"),
    ("netrc-password", "machine git.example.com login me password {a20}"),
    ("new-relic-key", "NRAK-{U27}"),
    ("notion-token", "ntn_{d11}{a35}"),
    ("npm-token", "npm_{a36}"),
    ("octopus-api-key", "API-{U26}"),
    ("openrouter-api-key", "sk-or-v1-{h64}"),
    ("openshift-token", "sha256~{a43}"),
    ("perplexity-api-key", "pplx-{a48}"),
    ("planetscale-secret", "pscale_tkn_{a43}"),
    ("postman-api-key", "PMAK-{h24}-{h34}"),
    ("prefect-api-key", "pnu_{a36}"),
    ("pulumi-token", "pul-{h40}"),
    ("putty-private-key", "Private-Lines: 2\n{b64}\n{b64}"),
    ("pypi-token", "pypi-AgEIcHlwaS5vcmc{a80}"),
    ("readme-api-key", "rdme_{l70}"),
    ("replicate-token", "r8_{a37}"),
    ("rubygems-api-key", "rubygems_{h48}"),
    ("scalingo-token", "tk-us-{a48}"),
    ("sendgrid-api-key", "SG.{a22}.{a43}"),
    ("sentry-token", "sntryu_{h64}"),
    ("sentry-token", "sntrys_{a90}"),
    ("shippo-token", "shippo_live_{h40}"),
    ("shopify-token", "shpat_{h32}"),
    ("sonar-token", "squ_{h40}"),
    ("sourcegraph-token", "sgp_{h16}_{h40}"),
    ("square-token", "sq0atp-{a22}"),
    ("stripe-webhook-secret", "whsec_{a32}"),
    ("supabase-secret", "sbp_{h40}"),
    ("tailscale-key", "tskey-auth-{a12}-{a32}"),
    ("teams-webhook", "webhook.office.com/webhookb2/{h36}@{h36}/IncomingWebhook/{h32}/{h36}"),
    ("telegram-bot-token", "{d10}:AA{a33}"),
    ("terraform-cloud-token", "{a14}.atlasv1.{a67}"),
    ("twilio-api-key", "SK{h32}"),
    ("typeform-token", "tfp_{a44}"),
    ("vault-token", "hvs.{a95}"),
    ("xai-api-key", "xai-{a80}"),
    ("yandex-api-key", "AQVN{a36}"),
];

static SCANNER: LazyLock<RuleScanner> = LazyLock::new(RuleScanner::new);

fn alphabet(class: char) -> &'static str {
    match class {
        'a' => "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
        'h' => "0123456789abcdef",
        'U' => "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
        'd' => "0123456789",
        'l' => "abcdefghijklmnopqrstuvwxyz0123456789",
        'q' => "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L",
        _ => "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    }
}

/// Fills a shape; `fill` gets the class and the length of each random part.
fn filled(shape: &str, mut fill: impl FnMut(char, usize) -> String) -> String {
    let mut parts = shape.split('{');
    let mut out = parts.next().unwrap().to_owned();
    for part in parts {
        let (random, rest) = part.split_once('}').unwrap();
        out += &fill(random.chars().next().unwrap(), random[1..].parse().unwrap());
        out += rest;
    }
    out
}

fn rules(text: &str) -> Vec<String> {
    SCANNER.scan(None, text).into_iter().map(|secret| secret.rule).collect()
}

#[test]
fn a_token_of_every_service_is_found_and_named() {
    for (n, (rule, shape)) in SHAPES.iter().enumerate() {
        let mut seed = n as u64 * 31 + 5;
        let token = filled(shape, |class, length| {
            seed += 1;
            noise(seed, length, alphabet(class))
        });
        for text in [
            token.clone(),
            format!("x = \"{token}\"\n"),
            format!("see {token}, then\n"),
            format!("{{\"a\":\"{token}\"}}"),
        ] {
            assert_eq!(rules(&text), [*rule], "{text}");
        }
        let masked = SCANNER.mask(&format!("<{token}>"));
        assert!(!masked.contains(&token) && masked.contains('…'), "{rule}: {masked}");
    }
}

#[test]
fn shorter_texts_and_placeholders_in_the_same_shape_are_left_alone() {
    for (rule, shape) in SHAPES {
        let short = filled(shape, |class, length| noise(3, length / 6, alphabet(class)));
        let letters = filled(shape, |class, length| if class == 'd' { "0" } else { "x" }.repeat(length));
        let upper = filled(shape, |class, length| if class == 'h' { "0" } else { "X" }.repeat(length));
        for text in [short, letters, upper] {
            assert!(!rules(&text).iter().any(|found| found == rule), "{rule}: {text}");
        }
    }
    for text in [
        "npm_config_registry=https://registry.example.com npm_package_json npm_lifecycle_event",
        "the gitlab-token prefix is glpat- and a deploy token begins with gldt-",
        "precious cio vivacious, associated hf_models and key-value pairs: key-0123",
        "machine learning models login page password reset",
        "API-REFERENCE and API-DOCUMENTATION-OVERVIEW",
        "SKIPPED SKELETON SK-1234 sk_test_ whsec_ pul-request",
        "12:AABBCCDDEEFF:AA and std::AAAA",
    ] {
        assert_eq!(rules(text), [""; 0], "{text}");
    }
}
