//! Which of the formats of a route the caller takes (RFC 9110 §12.5.1).

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;
use mosaic_api::Code;

use crate::problem::Problem;

/// Returns the offered media type that the caller likes best; the earlier offer wins a tie.
pub(crate) fn choose(headers: &HeaderMap, offers: &[&'static str]) -> Result<&'static str, Problem> {
    let values: Vec<&str> = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    if values.iter().all(|value| value.trim().is_empty()) {
        return offers.first().copied().ok_or_else(Problem::internal);
    }
    let mut best: Option<(u32, &'static str)> = None;
    for offer in offers {
        let quality = quality(&values, offer);
        if quality > best.map_or(0, |(best, _)| best) {
            best = Some((quality, offer));
        }
    }
    let refused =
        || Problem::new(Code::NotAcceptable, format!("this route answers with {}", offers.join(", ")));
    best.map(|(_, offer)| offer).ok_or_else(refused)
}

/// Returns the quality in thousandths that the most specific range fitting the offer has.
fn quality(values: &[&str], offer: &str) -> u32 {
    let (kind, _) = offer.split_once('/').unwrap_or((offer, ""));
    let mut found = (0, 0);
    for range in values.iter().flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or("").to_ascii_lowercase();
        let specific = match name.as_str() {
            "*/*" => 1,
            name if name.strip_suffix("/*") == Some(kind) => 2,
            name if name == offer => 3,
            _ => continue,
        };
        let q = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        let q = q.map_or(1.0, |q| q.parse::<f64>().unwrap_or(0.0)).clamp(0.0, 1.0);
        if specific > found.0 {
            // At most 1000, so nothing is lost.
            found = (specific, (q * 1000.0) as u32);
        }
    }
    found.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_liked_offer_wins() {
        let offers = ["application/json", "text/event-stream", "application/x-ndjson"];
        let cases = [
            ("", Some("application/json")),
            ("*/*", Some("application/json")),
            ("text/event-stream", Some("text/event-stream")),
            ("application/x-ndjson, */*;q=0.1", Some("application/x-ndjson")),
            ("application/json;q=0.2, text/*;q=0.9", Some("text/event-stream")),
            ("application/json;q=0, */*", Some("text/event-stream")),
            ("image/png", None),
            ("application/json;q=0", None),
            ("application/json;q=NaN", None),
            (";;;,,,/", None),
        ];
        for (accept, wanted) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            assert_eq!(choose(&headers, &offers).ok(), wanted, "{accept}");
        }
    }
}
