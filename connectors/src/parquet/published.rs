//! What a table holds at an instant, while its sink goes on writing.

use std::path::{Path, PathBuf};

use engine::{Epoch, Error, Result};

use super::layout::Layout;
use crate::Owner;

/// How often the folder is read until it holds still.
const ATTEMPTS: usize = 20;

/// The published rows of one owner: those of all epochs up to one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The last epoch; 0 where nothing is published.
    pub epoch: Epoch,
    /// The files, in the order of their epochs.
    pub files: Vec<PathBuf>,
}

/// The files of a folder that an owner has published, and up to which epoch. A roll of several
/// files counts whole or not at all.
pub fn published(root: &Path, owner: &Owner) -> Result<Published> {
    let layout = Layout::new(root.to_owned(), owner);
    if !root.is_dir() {
        return Ok(Published {
            epoch: Epoch(0),
            files: vec![],
        });
    }
    let mut before = layout.files()?;
    for _ in 0..ATTEMPTS {
        // A roll that is half there has its manifest between two looks that see the same of it.
        let under_way = layout.under_way()?;
        let files = layout.files()?;
        if files == before {
            let whole = files.iter().filter(|file| !under_way.contains(&file.last));
            let epoch = whole.clone().map(|file| file.last).max();
            return Ok(Published {
                epoch: epoch.unwrap_or(Epoch(0)),
                files: whole.map(|file| root.join(&file.path)).collect(),
            });
        }
        before = files;
    }
    Err(Error::unavailable(format!(
        "'{}' changes faster than it can be read",
        root.display()
    )))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn whole_rolls_of_the_owner_count_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let owner = Owner {
            job: "job".to_owned(),
            shard: 0,
        };
        let of = |root: &Path| published(root, &owner).unwrap();
        assert_eq!(of(&root.join("absent")).epoch, Epoch(0));
        fs::create_dir(root.join("date=2024-01-02")).unwrap();
        for name in [
            "job-shard0-00000001-00000004.parquet",
            "date=2024-01-02/job-shard0-00000005-00000009.parquet",
            "date=2024-01-02/job-shard0-00000005-00000009_1.parquet",
            "other-shard0-00000001-00000099.parquet",
            ".job-shard0-00000010.parquet.tmp",
            "columns.parquet",
        ] {
            fs::write(root.join(name), "").unwrap();
        }
        let all = of(root);
        assert_eq!(all.epoch, Epoch(9));
        let names: Vec<_> = all
            .files
            .iter()
            .map(|file| file.strip_prefix(root).unwrap().display().to_string())
            .collect();
        let expected = [
            "job-shard0-00000001-00000004.parquet",
            "date=2024-01-02/job-shard0-00000005-00000009.parquet",
            "date=2024-01-02/job-shard0-00000005-00000009_1.parquet",
        ];
        assert_eq!(names, expected);
        // The second roll is still being renamed.
        fs::write(root.join(".job-shard0-00000005-00000009.roll"), "").unwrap();
        let whole = of(root);
        assert_eq!((whole.epoch, whole.files.len()), (Epoch(4), 1));
    }
}
