//! Replays the fuzz corpus: every answer that was ever worth keeping goes through every reader without a panic, cut
//! anywhere and spoilt at any place.

#[test]
fn the_corpus_is_read_without_a_panic() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus");
    let mut count = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let data = std::fs::read(entry.unwrap().path()).unwrap();
        berth_dns::fuzz(&data);
        let step = 1 + data.len() / 200;
        for at in (0..data.len()).step_by(step) {
            berth_dns::fuzz(&data[..at]);
            for flip in [0x55, 0x80, 0xff] {
                let mut spoilt = data.clone();
                spoilt[at] ^= flip;
                berth_dns::fuzz(&spoilt);
            }
        }
        count += 1;
    }
    assert!(count >= 30, "{count} files in the corpus");
}
