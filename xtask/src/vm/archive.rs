//! The archive that a kernel unpacks into its first file system: cpio of the "newc" form (kernel documentation,
//! driver-api/early-userspace/buffer-format).

pub(crate) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

const DIRECTORY: u32 = 0o040_000;
const FILE: u32 = 0o100_000;

impl Archive {
    pub(crate) fn new() -> Self {
        let mut archive = Self { bytes: Vec::new(), entries: 0 };
        // Without it the root keeps a mode that keeps everybody but root out.
        archive.entry(".", DIRECTORY | 0o755, &[]);
        archive
    }

    pub(crate) fn directory(&mut self, path: &str) {
        self.entry(path, DIRECTORY | 0o755, &[]);
    }

    /// Its folders must be there already.
    pub(crate) fn file(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.entry(path, FILE | mode, content);
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let (links, name_bytes) = (1, path.len() + 1);
        // Number, mode, owner, group, links, time, size, device and its kind, name's length, checksum.
        let fields = [self.entries, mode, 0, 0, links, 0, content.len() as u32, 0, 0, 0, 0, name_bytes as u32, 0]
            .map(|field| format!("{field:08X}"));
        self.bytes.extend_from_slice(format!("070701{}", fields.concat()).as_bytes());
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend_from_slice(content);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::Archive;

    #[test]
    fn entries_are_aligned_and_the_archive_ends_with_its_trailer() {
        let mut archive = Archive::new();
        archive.directory("tmp");
        archive.file("tmp/a", 0o644, b"hello");
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 4, 0);
        let magics = (0..bytes.len()).step_by(4).filter(|at| bytes[*at..].starts_with(b"070701")).count();
        assert_eq!(magics, 4, "root, folder, file, trailer");
        assert!(bytes.windows(10).any(|window| window == b"TRAILER!!!"));
        assert!(bytes.windows(5).any(|window| window == b"hello"));
    }
}
