//! Which file a script was loaded from: what tells one version of it from the next.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// What Apache and the engine know of a file, in the same units. The time of the last change of its contents alone does
/// not tell: a deployment may switch a link to another file of the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScriptFile {
    /// The device.
    pub device: u64,
    /// The file's number there.
    pub inode: u64,
    /// The size in bytes.
    pub size: u64,
    /// When the contents were changed, microseconds since the epoch.
    pub modified: i64,
    /// When contents, owner, mode or number of links were changed.
    pub changed: i64,
}

impl ScriptFile {
    /// The version of a file that is not there, or cannot be looked at.
    pub const MISSING: u64 = u64::MAX;

    /// The version of a file of which nothing is known.
    pub const UNKNOWN: u64 = 0;

    /// A number that differs when any of the members does; neither [`ScriptFile::MISSING`] nor [`ScriptFile::UNKNOWN`].
    #[must_use]
    pub fn version(&self) -> u64 {
        // Each step maps different inputs to different results, so that no change of one member is lost.
        let members = [self.device, self.inode, self.size, self.modified.cast_unsigned(), self.changed.cast_unsigned()];
        let mixed = members.into_iter().fold(0xcbf2_9ce4_8422_2325_u64, |mixed, member| {
            (mixed.rotate_left(29) ^ member).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        });
        mixed.clamp(Self::UNKNOWN + 1, Self::MISSING - 1)
    }
}

impl From<&Metadata> for ScriptFile {
    fn from(status: &Metadata) -> Self {
        let time =
            |seconds: i64, nanoseconds: i64| seconds.saturating_mul(1_000_000).saturating_add(nanoseconds / 1000);
        Self {
            device: status.dev(),
            inode: status.ino(),
            size: status.size(),
            modified: time(status.mtime(), status.mtime_nsec()),
            changed: time(status.ctime(), status.ctime_nsec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Covers: rule:mapping/reload-identity
    #[test]
    fn each_member_counts() {
        let file = ScriptFile { device: 1, inode: 2, size: 3, modified: 4, changed: 5 };
        let others = [
            ScriptFile { device: 2, ..file },
            ScriptFile { inode: 3, ..file },
            ScriptFile { size: 4, ..file },
            ScriptFile { modified: 5, ..file },
            ScriptFile { changed: 6, ..file },
            ScriptFile { device: 2, inode: 1, ..file },
        ];
        for other in others {
            assert_ne!(file.version(), other.version(), "{other:?}");
        }
        assert_eq!(file.version(), ScriptFile { ..file }.version());
    }
}
