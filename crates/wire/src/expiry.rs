//! When a certificate expires, read from its own bytes. It judges nothing: whether a certificate is believed is the
//! handshake's business.

use berth_model::Time;
use x509_cert::der::Decode;

/// No certificate is larger; what claims to be is not read.
const LARGEST: usize = 64 << 10;

/// What an answer over TLS carries among its extensions: when the server's certificate expires, where that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry(pub Option<Time>);

impl Expiry {
    /// Of a certificate in DER.
    #[must_use]
    pub fn of(der: &[u8]) -> Self {
        Self((der.len() <= LARGEST).then(|| until(der)).flatten())
    }
}

fn until(der: &[u8]) -> Option<Time> {
    let certificate = x509_cert::Certificate::from_der(der).ok()?;
    let since_epoch = certificate.tbs_certificate().validity().not_after.to_unix_duration();
    Some(Time(i64::try_from(since_epoch.as_millis()).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(year: i32) -> Vec<u8> {
        let mut wanted = rcgen::CertificateParams::new(["h.example".to_owned()]).unwrap();
        wanted.not_after = rcgen::date_time_ymd(year, 2, 3);
        let key = rcgen::KeyPair::generate().unwrap();
        wanted.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn the_day_is_read_however_it_is_written() {
        // Up to 2049 the year has two digits, from 2050 on it has four.
        let days =
            [(2027, "2027-02-03T00:00:00Z"), (2049, "2049-02-03T00:00:00Z"), (2061, "2061-02-03T00:00:00Z")];
        for (year, expected) in days {
            let expected: jiff::Timestamp = expected.parse().unwrap();
            assert_eq!(Expiry::of(&certificate(year)), Expiry(Some(Time(expected.as_millisecond()))));
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_day() {
        let whole = certificate(2030);
        assert_eq!(Expiry::of(&[]), Expiry(None));
        for cut in 0..whole.len() {
            assert_eq!(Expiry::of(&whole[..cut]), Expiry(None), "{cut} bytes of it");
        }
        let mut long = whole;
        long.resize(LARGEST + 1, 0);
        assert_eq!(Expiry::of(&long), Expiry(None));
    }
}
