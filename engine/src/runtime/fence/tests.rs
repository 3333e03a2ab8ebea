//! Where a log ends. What becomes of it while several start is simulated.

use super::*;

fn contents(records: &[u64], snapshots: &[u64]) -> Contents {
    Contents {
        records: records.iter().copied().map(Epoch).collect(),
        snapshots: snapshots.iter().copied().map(Epoch).collect(),
        fences: vec![],
    }
}

/// Fences, and which epoch each follows.
fn fences(fences: &[(u64, u64)]) -> BTreeMap<Epoch, Epoch> {
    let fences = fences.iter();
    fences
        .map(|(epoch, follows)| (Epoch(*epoch), Epoch(*follows)))
        .collect()
}

#[test]
fn what_a_log_has_after_its_last_commit_is_one_epoch_and_fences() {
    let log = contents(&[4, 5, 6], &[4]);
    let end = |known, starts: &[_]| committed(Some(Epoch(known)), &log, &fences(starts));
    assert_eq!(end(6, &[]).unwrap(), Epoch(6));
    assert_eq!(end(5, &[]).unwrap(), Epoch(5));
    assert_eq!(end(4, &[(6, 4)]).unwrap(), Epoch(4));
    assert_eq!(end(4, &[(5, 3), (6, 4)]).unwrap(), Epoch(4));
    // What a fence follows was committed, and so was what comes before another record.
    for (known, starts) in [(4, &[][..]), (4, &[(6, 5)]), (3, &[(5, 3), (6, 3)])] {
        let lost = end(known, starts).unwrap_err().to_string();
        let expected = format!("only epoch {known} is committed");
        assert!(lost.contains(&expected), "{lost}");
    }
    // That the log lacks what is committed, recovery finds out.
    assert_eq!(end(9, &[]).unwrap(), Epoch(9));
}

#[test]
fn a_commit_point_that_knows_nothing_belongs_to_a_log_that_has_not_begun() {
    let begun = |records: &[_], snapshots: &[_], starts: &[_]| {
        committed(None, &contents(records, snapshots), &fences(starts))
    };
    assert_eq!(begun(&[], &[], &[]).unwrap(), Epoch(0));
    assert_eq!(begun(&[1], &[], &[]).unwrap(), Epoch(0));
    assert_eq!(begun(&[1, 2], &[], &[(1, 0), (2, 0)]).unwrap(), Epoch(0));
    // A log that begins with a savepoint's state.
    assert_eq!(begun(&[], &[7], &[]).unwrap(), Epoch(7));
    assert_eq!(begun(&[8, 9], &[7], &[(8, 7), (9, 7)]).unwrap(), Epoch(7));
    for (records, snapshots, starts) in [
        (&[1, 2][..], &[][..], &[(1, 0)][..]),
        (&[1], &[1], &[(1, 0)]),
        (&[1, 8], &[7], &[(1, 0)]),
        (&[8, 9], &[7], &[(8, 7)]),
        (&[8, 9], &[7], &[(8, 7), (9, 8)]),
    ] {
        let expired = begun(records, snapshots, starts).unwrap_err().to_string();
        assert!(expired.contains("offsets have expired"), "{expired}");
    }
}
