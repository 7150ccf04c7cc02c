//! Signatures of messages: which key signed a request, and the signatures of answers.
//! A secret must never leave here, and an answer to a bad signature is never signed.

use hickory_proto::op::Message;
use hickory_proto::rr::Name;
use hickory_proto::rr::rdata::TSIG;
use hickory_proto::rr::rdata::tsig::{TsigAlgorithm, TsigError, make_tsig_record, signed_bitmessage_to_buf};
use hickory_proto::serialize::binary::BinEncoder;

use super::name::absolute;
use super::server::{Server, TsigKey};

const FUDGE: u16 = 300;

/// A request whose signature is good.
#[derive(Clone, Debug)]
pub(crate) struct Signed {
    pub key: TsigKey,
    mac: Vec<u8>,
    /// The time that it says it was signed at.
    time: u64,
    fudge: u64,
}

/// What is wrong with a signature.
#[derive(Clone, Debug)]
pub(crate) enum Wrong {
    Key(Name),
    Signature(TsigKey),
    Time(Signed),
}

/// Looks at the signature of a request, if it has one.
pub(crate) fn check(
    server: &Server,
    request: &Message,
    bytes: &[u8],
    now: i64,
) -> Result<Option<Signed>, Wrong> {
    let Some(record) = request.signature() else { return Ok(None) };
    let tsig = &record.data;
    let name = absolute(&record.name.to_ascii());
    let same = |k: &&TsigKey| k.name == name && k.algorithm.tsig() == tsig.algorithm;
    let Some(key) = server.keys.iter().find(same).cloned() else {
        return Err(Wrong::Key(record.name.clone()));
    };
    let good = signed_bitmessage_to_buf(bytes, None, true)
        .is_ok_and(|(tbs, _)| tsig.algorithm.verify_mac(&key.secret, &tbs, &tsig.mac).is_ok());
    if !good {
        return Err(Wrong::Signature(key));
    }
    let signed = Signed { key, mac: tsig.mac.clone(), time: tsig.time, fudge: u64::from(tsig.fudge) };
    let now = u64::try_from(now).unwrap_or_default();
    if now.abs_diff(signed.time) > signed.fudge {
        return Err(Wrong::Time(signed));
    }
    Ok(Some(signed))
}

/// Signs an answer.
pub(crate) fn sign(answer: &mut Message, signed: &Signed, now: i64) {
    let time = u64::try_from(now).unwrap_or_default();
    put(answer, &signed.key, &signed.mac, true, time, None, Vec::new());
}

/// Signs the messages of one answer, each after the one before.
pub(crate) fn sign_all(answers: &mut [Message], signed: &Signed, now: i64) {
    let time = u64::try_from(now).unwrap_or_default();
    let mut before = signed.mac.clone();
    for (at, answer) in answers.iter_mut().enumerate() {
        before = put(answer, &signed.key, &before, at == 0, time, None, Vec::new());
    }
}

/// Says what is wrong; only a wrong time is signed.
pub(crate) fn complain(answer: &mut Message, wrong: &Wrong, now: i64) {
    let time = u64::try_from(now).unwrap_or_default();
    let (name, algorithm, error) = match wrong {
        Wrong::Key(name) => (name.clone(), TsigAlgorithm::HmacSha256, TsigError::BadKey),
        Wrong::Signature(key) => (key_name(key), key.algorithm.tsig(), TsigError::BadSig),
        Wrong::Time(signed) => {
            let theirs = time.to_be_bytes()[2..].to_vec();
            put(answer, &signed.key, &signed.mac, true, signed.time, Some(TsigError::BadTime), theirs);
            return;
        }
    };
    let data = TSIG::new(algorithm, time, FUDGE, Vec::new(), answer.id, Some(error), Vec::new());
    answer.set_signature(Box::new(make_tsig_record(name, data)));
}

fn key_name(key: &TsigKey) -> Name {
    super::rdata::name(&key.name).unwrap_or_default()
}

/// Puts a signature on an answer and tells it.
fn put(
    answer: &mut Message,
    key: &TsigKey,
    before: &[u8],
    first: bool,
    time: u64,
    error: Option<TsigError>,
    other: Vec<u8>,
) -> Vec<u8> {
    let name = key_name(key);
    let algorithm = key.algorithm.tsig();
    let data = TSIG::new(algorithm.clone(), time, FUDGE, Vec::new(), answer.id, error, other);
    let mut tbs = u16::try_from(before.len()).unwrap_or_default().to_be_bytes().to_vec();
    tbs.extend(before);
    tbs.extend(answer.to_vec().unwrap_or_default());
    if first {
        let mut variables = Vec::new();
        let _ = data.emit_tsig_for_mac(&mut BinEncoder::new(&mut variables), &name);
        tbs.extend(variables);
    } else {
        tbs.extend(&time.to_be_bytes()[2..]);
        tbs.extend(FUDGE.to_be_bytes());
    }
    let mac = algorithm.mac_data(&key.secret, &tbs).unwrap_or_default();
    answer.set_signature(Box::new(make_tsig_record(name, data.set_mac(mac.clone()))));
    mac
}
