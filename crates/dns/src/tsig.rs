//! Signatures of messages by a shared key: what is sent is signed, and no answer to it is believed unsigned.

use crate::message::claims;
use berth_model::Secret;
use berth_model::dns::TsigAlgo;
use data_encoding::BASE64;
use hickory_proto::op::Message;
use hickory_proto::rr::rdata::tsig::{TsigAlgorithm, TsigError, signed_bitmessage_to_buf};
use hickory_proto::rr::{Name, TSigner};

/// How far two clocks may be apart, in seconds.
const FUDGE: u16 = 300;
/// Messages of a transfer that may go unsigned in a row, as the standard has it, with some room.
const UNSIGNED: usize = 100;

/// A key.
#[derive(Clone)]
pub(crate) struct Key(TSigner);

/// Why an answer is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Rejected {
    #[error("the server does not know the key")]
    BadKey,
    #[error("the server says that the signature is wrong: its secret is another one")]
    BadSecret,
    #[error("the clocks of this machine and of the server are too far apart")]
    BadTime,
    #[error("its answer is not signed")]
    Unsigned,
    #[error("its answer is not signed by the same key: key rejected, or an answer of somebody else")]
    Wrong,
}

impl Key {
    /// From its name and its secret in base64.
    ///
    /// # Errors
    /// The name is none, or the secret is not base64.
    pub(crate) fn new(name: &str, algorithm: TsigAlgo, secret: &Secret) -> Result<Self, String> {
        let name =
            Name::from_ascii(name).map_err(|_| "the name of the TSIG key is not a domain name".to_owned())?;
        let bytes = BASE64
            .decode(secret.expose().trim().as_bytes())
            .map_err(|_| "the secret of the TSIG key is not base64".to_owned())?;
        if bytes.is_empty() {
            return Err("the secret of the TSIG key is empty".to_owned());
        }
        let algorithm = match algorithm {
            TsigAlgo::Sha256 => TsigAlgorithm::HmacSha256,
            TsigAlgo::Sha384 => TsigAlgorithm::HmacSha384,
            TsigAlgo::Sha512 => TsigAlgorithm::HmacSha512,
        };
        let signer = TSigner::new(bytes, algorithm, name.to_lowercase(), FUDGE)
            .map_err(|_| "the algorithm of the TSIG key is not supported".to_owned())?;
        Ok(Self(signer))
    }

    /// Signs a message as of `now`, in seconds of 1970, and says what believes the answers to it.
    pub(crate) fn sign(&self, message: &mut Message, now: u64) -> Option<Chain> {
        let (signature, _) = self.0.sign_message(message, now).ok()?;
        let previous = signature.data.mac.clone();
        message.set_signature(signature);
        Some(Chain { key: self.0.clone(), previous, first: true, unsigned: Vec::new(), skipped: 0 })
    }
}

/// Believes the answers to one signed message, in turn.
pub(crate) struct Chain {
    key: TSigner,
    previous: Vec<u8>,
    first: bool,
    /// Messages since the last signed one: the next signature is over them, too.
    unsigned: Vec<u8>,
    skipped: usize,
}

impl Chain {
    /// Checks the next answer.
    ///
    /// # Errors
    /// Why it is not believed.
    pub(crate) fn check(&mut self, bytes: &[u8], message: &Message, now: u64) -> Result<(), Rejected> {
        let Some(signature) = message.signature() else {
            if self.first || self.skipped >= UNSIGNED {
                return Err(Rejected::Unsigned);
            }
            self.unsigned.extend_from_slice(bytes);
            self.skipped += 1;
            return Ok(());
        };
        let tsig = &signature.data;
        match tsig.error {
            Some(TsigError::BadKey) => return Err(Rejected::BadKey),
            Some(TsigError::BadSig) => return Err(Rejected::BadSecret),
            Some(TsigError::BadTime) => return Err(Rejected::BadTime),
            _ => {}
        }
        // More than a header can add up: the library's own sum would overflow.
        if claims(bytes) > usize::from(u16::MAX) {
            return Err(Rejected::Wrong);
        }
        if signature.name.to_lowercase() != *self.key.signer_name() || tsig.algorithm != *self.key.algorithm()
        {
            return Err(Rejected::Wrong);
        }
        let Ok((signed, _)) = signed_bitmessage_to_buf(bytes, Some(&self.previous), self.first) else {
            return Err(Rejected::Wrong);
        };
        let begins = 2 + self.previous.len();
        let (Some(before), Some(after)) = (signed.get(..begins), signed.get(begins..)) else {
            return Err(Rejected::Wrong);
        };
        let signed = [before, &self.unsigned, after].concat();
        self.key.verify(&signed, &tsig.mac).map_err(|_| Rejected::Wrong)?;
        if tsig.time.abs_diff(now) > u64::from(FUDGE) {
            return Err(Rejected::BadTime);
        }
        self.previous = tsig.mac.clone();
        self.first = false;
        self.unsigned.clear();
        self.skipped = 0;
        Ok(())
    }

    /// Whether the last answer that was checked was signed: a transfer must end with one that is.
    pub(crate) fn is_closed(&self) -> bool {
        !self.first && self.skipped == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{name, question};
    use berth_model::dns::Fqdn;
    use hickory_proto::rr::{RecordType, TSigResponseContext};

    const NOW: u64 = 1_700_000_000;

    fn key(secret: &str) -> Key {
        Key::new("Lazy.key.", TsigAlgo::Sha256, &Secret::new(secret)).unwrap()
    }

    fn ask() -> Message {
        question(7, &name(&Fqdn::new("z.test").unwrap()).unwrap(), RecordType::AXFR, false, false)
    }

    /// An answer, signed as a server would; with `error`, as one that refuses.
    fn answer(key: &Key, chain: &Chain, now: u64) -> (Vec<u8>, Message) {
        let mut message = ask().into_response();
        let plain = message.to_vec().unwrap();
        let context = TSigResponseContext::new(7, now, key.0.clone(), chain.previous.clone(), None);
        message.set_signature(context.sign(&plain).unwrap());
        let bytes = message.to_vec().unwrap();
        let read = Message::from_vec(&bytes).unwrap();
        (bytes, read)
    }

    #[test]
    fn an_answer_is_believed_by_its_signature() {
        let ours = key("c2VjcmV0c2VjcmV0");
        let other = key("b3RoZXJvdGhlcg==");
        let check = |by: &Key, at: u64, spoil: bool| {
            let mut message = ask();
            let mut chain = ours.sign(&mut message, NOW).unwrap();
            let (mut bytes, mut read) = answer(by, &chain, at);
            if spoil {
                bytes[3] ^= 1;
                read = Message::from_vec(&bytes).unwrap();
            }
            chain.check(&bytes, &read, NOW)
        };
        assert_eq!(check(&ours, NOW, false), Ok(()));
        assert_eq!(check(&ours, NOW + 299, false), Ok(()));
        assert_eq!(check(&ours, NOW + 301, false), Err(Rejected::BadTime));
        assert_eq!(check(&ours, 0, false), Err(Rejected::BadTime));
        assert_eq!(check(&other, NOW, false), Err(Rejected::Wrong));
        assert_eq!(check(&ours, NOW, true), Err(Rejected::Wrong));
        let mut message = ask();
        let mut chain = ours.sign(&mut message, NOW).unwrap();
        let plain = ask().into_response();
        assert_eq!(chain.check(&plain.to_vec().unwrap(), &plain, NOW), Err(Rejected::Unsigned));
    }

    #[test]
    fn a_refusal_says_which_part_was_refused() {
        let ours = key("c2VjcmV0");
        let table = [
            (
                TSigResponseContext::unknown_key(7, NOW, Name::from_ascii("lazy.key.").unwrap()),
                Rejected::BadKey,
            ),
            (TSigResponseContext::bad_signature(7, NOW, ours.0.clone()), Rejected::BadSecret),
        ];
        for (context, expected) in table {
            let mut message = ask();
            let mut chain = ours.sign(&mut message, NOW).unwrap();
            let mut refusal = ask().into_response();
            let plain = refusal.to_vec().unwrap();
            refusal.set_signature(context.sign(&plain).unwrap());
            let bytes = refusal.to_vec().unwrap();
            let read = Message::from_vec(&bytes).unwrap();
            assert_eq!(chain.check(&bytes, &read, NOW), Err(expected));
        }
    }

    #[test]
    fn keys_are_checked_when_they_are_read() {
        assert!(Key::new("k", TsigAlgo::Sha256, &Secret::new("not base64!")).is_err());
        assert!(Key::new("k", TsigAlgo::Sha256, &Secret::new("")).is_err());
        assert!(Key::new("a..b", TsigAlgo::Sha256, &Secret::new("c2VjcmV0")).is_err());
        assert_eq!(TsigAlgo::parse("HMAC-SHA512."), Some(TsigAlgo::Sha512));
        assert_eq!(TsigAlgo::parse("hmac-md5.sig-alg.reg.int"), None);
    }
}
