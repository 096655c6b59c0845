//! What a `Retry-After` header asks for, in each form that occurs (RFC 9110, 10.2.3; facts D1).

use std::time::{Duration, SystemTime};

/// A longer wait is as good as this one; keeps sums of instants from overflowing.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// The wait that the header asks for; none where it asks for nothing usable (absent, zero, negative, past, or no time
/// at all), which leaves the wait to the caller's own backoff.
///
/// `date` is the same answer's `Date` header: an HTTP-date is read by the server's clock, not by ours.
pub(crate) fn wait(retry_after: Option<&str>, date: Option<&str>, now: SystemTime) -> Option<Duration> {
    let text = retry_after?.trim();
    let wait = match text.parse::<f64>() {
        Ok(seconds) if seconds.is_nan() || seconds <= 0.0 => return None,
        Ok(seconds) => Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST),
        Err(_) => {
            let until = httpdate::parse_http_date(text).ok()?;
            let server_now = date.and_then(|date| httpdate::parse_http_date(date.trim()).ok()).unwrap_or(now);
            until.duration_since(server_now).ok().filter(|wait| !wait.is_zero())?
        }
    };
    Some(wait.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Tue, 24 Nov 2026 10:00:00 GMT";

    #[test]
    fn every_form_of_retry_after_is_read() {
        let now = httpdate::parse_http_date(DATE).unwrap();
        let seconds = |seconds: f64| Some(Duration::from_secs_f64(seconds));
        for (header, expected) in [
            (None, None),
            (Some(""), None),
            (Some(" "), None),
            (Some("0"), None),
            (Some("0.0"), None),
            (Some("-0"), None),
            (Some("-1"), None),
            (Some("-1.5"), None),
            (Some("1"), seconds(1.0)),
            (Some("  7  "), seconds(7.0)),
            (Some("+3"), seconds(3.0)),
            (Some("007"), seconds(7.0)),
            (Some("0.25"), seconds(0.25)),
            (Some("1.5"), seconds(1.5)),
            (Some("1e2"), seconds(100.0)),
            (Some("120"), seconds(120.0)),
            (Some("3600"), seconds(3600.0)),
            (Some("99999999999"), Some(LONGEST)),
            (Some("99999999999999999999999999"), Some(LONGEST)),
            (Some("1e400"), Some(LONGEST)),
            (Some("inf"), Some(LONGEST)),
            (Some("NaN"), None),
            (Some("soon"), None),
            (Some("10 seconds"), None),
            (Some("1,5"), None),
            (Some("PT5S"), None),
            (Some("Tue, 24 Nov 2026 10:00:30 GMT"), seconds(30.0)),
            (Some("Tuesday, 24-Nov-26 10:00:30 GMT"), seconds(30.0)),
            (Some("Tue Nov 24 10:00:30 2026"), seconds(30.0)),
            (Some("Tue, 24 Nov 2026 10:00:00 GMT"), None),
            (Some("Tue, 24 Nov 2026 09:59:00 GMT"), None),
            (Some("Tue, 24 Nov 2099 10:00:00 GMT"), Some(LONGEST)),
            (Some("2026-11-24T10:00:30Z"), None),
            (Some("Tue, 99 Nov 2026 10:00:30 GMT"), None),
        ] {
            assert_eq!(wait(header, Some(DATE), now), expected, "{header:?}");
        }
    }

    #[test]
    fn a_date_is_read_by_the_servers_clock() {
        let ours = httpdate::parse_http_date(DATE).unwrap() + Duration::from_secs(3600);
        let header = Some("Tue, 24 Nov 2026 10:00:30 GMT");
        assert_eq!(wait(header, Some(DATE), ours), Some(Duration::from_secs(30)));
        assert_eq!(wait(header, None, ours), None);
        assert_eq!(wait(header, Some("nonsense"), ours), None);
    }
}
