import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export const syncDelayMs = 10;

/** Puts itself before fsync and fdatasync: waits, then does the real thing, and counts in a file that it maps. */
const source = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static atomic_ulong *count;

__attribute__((constructor)) static void map_count(void) {
  const char *path = getenv("BENCH_SYNC_COUNT");
  int file = path ? open(path, O_RDWR) : -1;
  if (file < 0) return;
  void *place = mmap(0, sizeof *count, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (place != MAP_FAILED) count = place;
  close(file);
}

static void delay(void) {
  struct timespec left = {0, ${syncDelayMs}000000};
  while (nanosleep(&left, &left) != 0) {}
  if (count) atomic_fetch_add(count, 1);
}

int fsync(int file) {
  static int (*real)(int);
  if (!real) real = dlsym(RTLD_NEXT, "fsync");
  delay();
  return real(file);
}

int fdatasync(int file) {
  static int (*real)(int);
  if (!real) real = dlsym(RTLD_NEXT, "fdatasync");
  delay();
  return real(file);
}
`;

export type Shim = {
  /** For the process that is to have a slow disk. */
  readonly env: Readonly<Record<string, string>>;
  /** How many times it has waited for the disk so far. */
  readonly count: () => number;
};

/** Undefined where there is no C compiler. @throws Error where the shim does not compile. */
export function compileShim(folder: string): Shim | undefined {
  if (spawnSync('gcc', ['--version'], { stdio: 'ignore' }).status !== 0) return undefined;
  const [code, library, countFile] = ['shim.c', 'shim.so', 'sync-count'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  writeFileSync(code, source);
  const made = spawnSync('gcc', ['-shared', '-fPIC', '-O1', '-o', library, code, '-ldl'], { encoding: 'utf8' });
  if (made.status !== 0) throw new Error(`the shim does not compile: ${made.stderr}`);
  writeFileSync(countFile, Buffer.alloc(8));
  return {
    env: { LD_PRELOAD: library, BENCH_SYNC_COUNT: countFile },
    count: () => Number(readFileSync(countFile).readBigUInt64LE()),
  };
}
