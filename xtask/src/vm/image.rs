//! What QEMU boots: the uncompressed kernel and an initramfs made on the spot.
//!
//! The initramfs holds busybox, the modules for 9p and overlay, and `init.sh`; it is written here
//! as a cpio archive ("newc", the kernel's buffer-format.rst) without a temporary tree.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use xshell::{Shell, cmd};

use crate::places;
use crate::process;
use crate::setup::kernels::Kernel;

const QUERY_DEADLINE: Duration = Duration::from_mins(1);

/// Offsets in a bzImage (Documentation/arch/x86/boot.rst).
const SETUP_SECTORS: usize = 0x1f1;
const PAYLOAD_OFFSET: usize = 0x248;
const PAYLOAD_LENGTH: usize = 0x24c;
const SECTOR: usize = 512;

/// How Debian's kernels are compressed: what the payload begins with, and who reads it.
const FORMATS: [(&[u8], &[&str]); 3] = [
    (b"\xfd7zXZ\0", &["xz", "-dc", "--single-stream"]),
    (b"\x28\xb5\x2f\xfd", &["zstd", "-dc"]),
    (b"\x1f\x8b", &["gzip", "-dc"]),
];

/// Loaded by the initramfs, with what they depend on.
const BOOT_MODULES: [&str; 4] = ["virtio_pci", "9pnet_virtio", "9p", "overlay"];
const BOOT_DIRECTORIES: [&str; 8] = ["bin", "dev", "proc", "sys", "modules", "lower", "upper", "root"];

/// The ELF image inside a bzImage.
pub(crate) fn uncompressed(image: &[u8]) -> Result<Vec<u8>> {
    let (payload, program) = payload(image).context("the kernel is no bzImage that we can unpack")?;
    let (name, args) = program.split_first().context("a format without a program")?;
    let mut child = Command::new(name)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start {name}"))?;
    let mut stdin = child.stdin.take().context("the pipe was asked for above")?;
    let elf = thread::scope(|scope| {
        // Its end tells of a broken pipe; what counts is whether an ELF file comes out.
        scope.spawn(move || stdin.write_all(payload));
        child.wait_with_output()
    })?;
    // The payload ends with a length that is not the compressor's: it may complain, after all is out.
    if !elf.stdout.starts_with(b"\x7fELF") {
        bail!("{name} made no ELF image of the kernel: {}", elf.status);
    }
    Ok(elf.stdout)
}

/// The initramfs for a kernel.
pub(crate) fn initramfs(kernel: &Kernel) -> Result<Vec<u8>> {
    let busybox = places::program("busybox").context("no busybox: run `cargo xtask setup --vm`")?;
    let mut archive = Archive::default();
    for directory in BOOT_DIRECTORIES {
        archive.directory(directory);
    }
    archive.file("bin/busybox", &fs::read(busybox)?)?;
    archive.file("init", include_bytes!("init.sh"))?;
    for (index, module) in boot_modules(kernel)?.iter().enumerate() {
        let name = module.file_name().and_then(|name| name.to_str()).context("a module has a name")?;
        let bytes = fs::read(module).with_context(|| format!("cannot read {}", module.display()))?;
        archive.file(&format!("modules/{index:02}-{name}"), &bytes)?;
    }
    Ok(archive.finish())
}

/// The modules to insert, dependencies first, each once.
fn boot_modules(kernel: &Kernel) -> Result<Vec<PathBuf>> {
    let shell = Shell::new()?;
    let (base, version) = (kernel.base(), &kernel.version);
    let mut modules: Vec<PathBuf> = Vec::new();
    for module in BOOT_MODULES {
        // Prints `insmod PATH [OPTIONS]` lines in order; `builtin NAME` for what needs none.
        let plan =
            process::output(cmd!(shell, "modprobe -d {base} -S {version} -D {module}"), QUERY_DEADLINE)
                .with_context(|| format!("kernel {version} has no module {module}"))?;
        for path in plan.lines().filter_map(|line| line.strip_prefix("insmod ")) {
            let path = Path::new(path.split_whitespace().next().unwrap_or_default()).to_owned();
            if !modules.contains(&path) {
                modules.push(path);
            }
        }
    }
    Ok(modules)
}

fn payload(image: &[u8]) -> Option<(&[u8], &'static [&'static str])> {
    let word = |at: usize| {
        let bytes = image.get(at..at + 4)?;
        usize::try_from(u32::from_le_bytes(bytes.try_into().ok()?)).ok()
    };
    // Zero means four, for the oldest loaders.
    let sectors = match *image.get(SETUP_SECTORS)? {
        0 => 4,
        count => usize::from(count),
    };
    let begin = (sectors + 1) * SECTOR + word(PAYLOAD_OFFSET)?;
    let payload = image.get(begin..begin.checked_add(word(PAYLOAD_LENGTH)?)?)?;
    let (_, program) = FORMATS.iter().find(|(magic, _)| payload.starts_with(magic))?;
    Some((payload, program))
}

/// A cpio archive in the "newc" format: hexadecimal headers, everything aligned to four bytes.
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    entries: usize,
}

const MODE_DIRECTORY: u32 = 0o040_755;
const MODE_FILE: u32 = 0o100_755;

impl Archive {
    fn directory(&mut self, name: &str) {
        self.entry(name, MODE_DIRECTORY, 0);
    }

    fn file(&mut self, name: &str, content: &[u8]) -> Result<()> {
        let size = u32::try_from(content.len()).with_context(|| format!("{name} is too large for cpio"))?;
        self.entry(name, MODE_FILE, size);
        self.bytes.extend_from_slice(content);
        self.align();
        Ok(())
    }

    fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, 0);
        self.bytes
    }

    /// Fields: inode, mode, uid, gid, links, mtime, size, four device numbers, name size, checksum.
    fn entry(&mut self, name: &str, mode: u32, size: u32) {
        self.entries += 1;
        let header = format!(
            "070701{:08x}{mode:08x}{:08x}{:08x}{:08x}{:08x}{size:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}",
            self.entries,
            0,
            0,
            1,
            0,
            0,
            0,
            0,
            0,
            name.len() + 1,
            0
        );
        self.bytes.extend_from_slice(header.as_bytes());
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_of_an_archive_begins_at_a_multiple_of_four() {
        let mut archive = Archive::default();
        archive.directory("a");
        archive.file("b", b"12345").unwrap();
        let bytes = archive.finish();
        let begins: Vec<_> = (0..bytes.len()).filter(|&at| bytes[at..].starts_with(b"070701")).collect();
        assert_eq!(begins.len(), 3);
        assert!(begins.iter().all(|at| at % 4 == 0));
        assert_eq!(begins[1], 112, "a header of 110 bytes and a name of two");
    }

    #[test]
    fn the_payload_of_an_image_is_found_and_a_short_one_is_refused() {
        let mut image = vec![0; 5 * SECTOR + 16];
        image[SETUP_SECTORS] = 4;
        image[PAYLOAD_OFFSET] = 8;
        image[PAYLOAD_LENGTH] = 6;
        image[5 * SECTOR + 8..5 * SECTOR + 14].copy_from_slice(b"\x1f\x8b1234");
        assert_eq!(payload(&image).unwrap().1[0], "gzip");
        assert!(payload(&image[..5 * SECTOR + 10]).is_none());
        assert!(payload(b"").is_none());
    }
}
