//! Replays the fuzz corpus: every answer that was ever worth keeping goes through every parser without a panic.

#[test]
fn the_corpus_is_read_without_a_panic() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus");
    let mut count = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let data = std::fs::read(entry.unwrap().path()).unwrap();
        berth_dokploy::fuzz(&data);
        // Cut anywhere, and with any one byte spoilt.
        for at in (0..data.len()).step_by(1 + data.len() / 200) {
            berth_dokploy::fuzz(&data[..at]);
            let mut spoilt = data.clone();
            spoilt[at] ^= 0x55;
            berth_dokploy::fuzz(&spoilt);
        }
        count += 1;
    }
    assert!(count >= 10, "{count} files in the corpus");
}
