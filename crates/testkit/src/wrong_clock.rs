//! A wall clock that is wrong: a small library that is put before the system's own into a real program, which then sees
//! `CLOCK_REALTIME` shifted by what stands in a file. The shift can be changed while the program runs; its monotonic clock is
//! left alone, as with a machine whose clock was set.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Reads the shift, in milliseconds, out of a file that is mapped once.
const LIBRARY: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static volatile int64_t *shift;
__attribute__((constructor)) static void open_shift(void) {
  const char *name = getenv("MOSAIC_TEST_CLOCK_FILE");
  int file = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
  if (file < 0) return;
  void *page = mmap(0, 8, PROT_READ, MAP_SHARED, file, 0);
  close(file);
  if (page != MAP_FAILED) shift = page;
}
int clock_gettime(clockid_t id, struct timespec *out) {
  int done = (int)syscall(SYS_clock_gettime, id, out);
  if (done == 0 && shift && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) {
    int64_t ns = (int64_t)out->tv_sec * 1000000000 + out->tv_nsec + *shift * 1000000;
    out->tv_sec = ns / 1000000000;
    out->tv_nsec = ns % 1000000000;
  }
  return done;
}
int gettimeofday(struct timeval *restrict out, void *restrict zone) {
  struct timespec now;
  (void)zone;
  clock_gettime(CLOCK_REALTIME, &now);
  out->tv_sec = now.tv_sec;
  out->tv_usec = now.tv_nsec / 1000;
  return 0;
}
time_t time(time_t *out) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (out) *out = now.tv_sec;
  return now.tv_sec;
}
"#;

/// The clock of one program.
pub struct WrongClock {
    library: PathBuf,
    file: PathBuf,
}

impl WrongClock {
    /// Makes a clock that is ahead by this many milliseconds, or behind; its files lie in `dir`, under this name.
    pub fn new(dir: &Path, name: &str, milliseconds: i64) -> Self {
        let source = dir.join(format!("{name}-clock.c"));
        let clock =
            Self { library: dir.join(format!("{name}-clock.so")), file: dir.join(format!("{name}-clock")) };
        std::fs::write(&source, LIBRARY).expect("the source is written");
        clock.set(milliseconds);
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&clock.library).arg(&source);
        let built = compiler.output().expect("cc, which links every Rust program, is there");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        clock
    }

    /// Sets the clock: so many milliseconds ahead of the machine's.
    pub fn set(&self, milliseconds: i64) {
        use std::os::unix::fs::FileExt;
        // The program has the file mapped. Cut to nothing for even a moment, it would end the program with SIGBUS, so
        // its eight bytes are written over in place.
        let file = std::fs::OpenOptions::new().write(true).create(true).truncate(false).open(&self.file);
        file.and_then(|file| file.write_all_at(&milliseconds.to_le_bytes(), 0)).expect("the file is written");
    }

    /// Returns the environment of a program that is to have this clock.
    pub fn environment(&self) -> [(&'static str, String); 2] {
        let text = |path: &Path| path.display().to_string();
        [("LD_PRELOAD", text(&self.library)), ("MOSAIC_TEST_CLOCK_FILE", text(&self.file))]
    }
}
