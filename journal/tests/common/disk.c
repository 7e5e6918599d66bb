/* A disk that can lose power and fail, for tests: loaded with LD_PRELOAD between a program and the C library.
 *
 * Built and driven by disk.rs. All of it concerns files below DISK_DIR only.
 *
 *   DISK_SHADOW=dir        what would be left after a power loss is kept here:
 *                            inodes/<n>  the bytes of a file when its last fsync or fdatasync returned
 *                            names/<n>   the entries of a directory when its last fsync returned, "<inode> <d or f> <name>"
 *   DISK_IGNORE=call       `fdatasync` or `fsync-dir` says that it is done, and nothing becomes durable
 *   DISK_DELAY_US=max      how long a sync takes at most, at random
 *   DISK_FAIL="call file nth errno times"
 *                          the nth call of `write` (pwrite too), `fdatasync` or `fsync` for a file whose name begins
 *                          so fails, and so often; a write that fails leaves half of its bytes; what a failed sync was
 *                          for counts as clean
 *   DISK_LOG=file          a line for each call that was made to fail, and for each fdatasync after the first
 *
 * sync_file_range makes nothing durable: it flushes neither the disk's cache nor the file's length. Writes through
 * mmap are not seen.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* What was written to a file since its last sync. */
struct range { off_t start, end; };
struct dirty {
    ino_t inode;
    int whole; /* it was truncated: all of it is to be copied */
    size_t count, room;
    struct range *ranges;
};

static const char *disk_dir, *shadow_dir, *ignored, *log_file;
static long delay_us;
static char fail_call[16], fail_file[64];
static long fail_nth, fail_errno, fail_times, failed;
static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER; /* of all below */
static pthread_mutex_t sync_lock = PTHREAD_MUTEX_INITIALIZER;  /* one sync at a time; taken before table_lock */
static struct dirty *table;
static size_t table_count, table_room;

__attribute__((constructor)) static void start(void) {
    disk_dir = getenv("DISK_DIR");
    shadow_dir = getenv("DISK_SHADOW");
    ignored = getenv("DISK_IGNORE");
    log_file = getenv("DISK_LOG");
    delay_us = getenv("DISK_DELAY_US") ? atol(getenv("DISK_DELAY_US")) : 0;
    if (getenv("DISK_FAIL"))
        sscanf(getenv("DISK_FAIL"), "%15s %63s %ld %ld %ld", fail_call, fail_file, &fail_nth, &fail_errno, &fail_times);
}

static void give_up(const char *why) {
    fprintf(stderr, "disk.c: %s: %s\n", why, strerror(errno));
    abort();
}

/* The path of the file that `ours` saw last. */
static __thread char seen[PATH_MAX];

/* Whether `fd` is a file or directory of ours. */
static int ours(int fd, struct stat *st) {
    char link[64];
    if (!disk_dir || fstat(fd, st) || !(S_ISREG(st->st_mode) || S_ISDIR(st->st_mode))) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, seen, sizeof seen - 1);
    seen[length < 0 ? 0 : length] = 0;
    return !strncmp(seen, disk_dir, strlen(disk_dir));
}

static void note(const char *what) {
    if (!log_file) return;
    int log = syscall(SYS_openat, AT_FDCWD, log_file, O_CREAT | O_APPEND | O_WRONLY, 0644);
    if (log < 0 || syscall(SYS_write, log, what, strlen(what)) < 0) give_up("write DISK_LOG");
    close(log);
}

/* Whether this `call` has to fail, for the file that `ours` saw. */
static int fails(const char *call) {
    if (strcmp(call, fail_call)) return 0;
    const char *file = seen + strlen(disk_dir);
    if (strncmp(file + (*file == '/'), fail_file, strlen(fail_file))) return 0;
    pthread_mutex_lock(&table_lock);
    int now = --fail_nth <= 0 && fail_times-- > 0;
    failed |= now;
    pthread_mutex_unlock(&table_lock);
    if (!now) return 0;
    char line[64];
    snprintf(line, sizeof line, "failed %s\n", call);
    note(line);
    return 1;
}

/* The entry of a file, with table_lock held. */
static struct dirty *entry(ino_t inode) {
    for (size_t at = 0; at < table_count; at++)
        if (table[at].inode == inode) return &table[at];
    if (table_count == table_room) {
        table_room = table_room * 2 + 16;
        if (!(table = realloc(table, table_room * sizeof *table))) give_up("realloc");
    }
    table[table_count] = (struct dirty){.inode = inode};
    return &table[table_count++];
}

static void wrote(ino_t inode, off_t start, off_t end) {
    if (!shadow_dir || start >= end) return;
    pthread_mutex_lock(&table_lock);
    struct dirty *file = entry(inode);
    if (file->count && file->ranges[file->count - 1].end == start) {
        file->ranges[file->count - 1].end = end;
    } else {
        if (file->count == file->room) {
            file->room = file->room * 2 + 16;
            if (!(file->ranges = realloc(file->ranges, file->room * sizeof *file->ranges))) give_up("realloc");
        }
        file->ranges[file->count++] = (struct range){start, end};
    }
    pthread_mutex_unlock(&table_lock);
}

static void truncated(int fd) {
    struct stat st;
    if (!shadow_dir || !ours(fd, &st) || !S_ISREG(st.st_mode)) return;
    pthread_mutex_lock(&table_lock);
    entry(st.st_ino)->whole = 1;
    pthread_mutex_unlock(&table_lock);
}

static void copy(int from, int to, off_t at, off_t end) {
    static char buffer[1 << 16]; /* under sync_lock */
    while (at < end) {
        size_t want = end - at < (off_t)sizeof buffer ? (size_t)(end - at) : sizeof buffer;
        ssize_t got = pread(from, buffer, want, at);
        if (got == 0) return; /* it became shorter meanwhile */
        if (got < 0 || syscall(SYS_pwrite64, to, buffer, got, at) != got) give_up("copy to the shadow");
        at += got;
    }
}

static void keep_file(int fd, const struct dirty *file) {
    char path[PATH_MAX];
    struct stat st;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int from = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    snprintf(path, sizeof path, "%s/inodes/%lu", shadow_dir, (unsigned long)file->inode);
    int to = syscall(SYS_openat, AT_FDCWD, path, O_CREAT | O_WRONLY | O_CLOEXEC | (file->whole ? O_TRUNC : 0), 0644);
    if (from < 0 || to < 0 || fstat(from, &st)) give_up("open the shadow");
    if (file->whole) copy(from, to, 0, st.st_size);
    for (size_t at = 0; at < file->count && !file->whole; at++) copy(from, to, file->ranges[at].start, file->ranges[at].end);
    if (syscall(SYS_ftruncate, to, st.st_size)) give_up("set the length of the shadow");
    close(from);
    close(to);
}

static void keep_names(int fd, ino_t inode) {
    char path[PATH_MAX], draft[PATH_MAX + 8];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    DIR *dir = opendir(path);
    snprintf(path, sizeof path, "%s/names/%lu", shadow_dir, (unsigned long)inode);
    snprintf(draft, sizeof draft, "%s.draft", path);
    FILE *names = fopen(draft, "we");
    if (!dir || !names) give_up("open the names in the shadow");
    for (struct dirent *found; (found = readdir(dir));)
        if (strcmp(found->d_name, ".") && strcmp(found->d_name, ".."))
            fprintf(names, "%lu %c %s\n", (unsigned long)found->d_ino, found->d_type == DT_DIR ? 'd' : 'f', found->d_name);
    closedir(dir);
    if (fclose(names) || syscall(SYS_renameat, AT_FDCWD, draft, AT_FDCWD, path)) give_up("write the names in the shadow");
}

static int sync_with(int fd, const char *call, int (*real)(int)) {
    struct stat st;
    if (!ours(fd, &st)) return real(fd);
    int is_dir = S_ISDIR(st.st_mode);
    if (failed && !is_dir && !strcmp(call, "fdatasync")) note("fdatasync\n");
    if (ignored && !strcmp(ignored, is_dir ? "fsync-dir" : call)) return 0;
    int failing = !is_dir && fails(call);
    if (!shadow_dir && !failing) return real(fd);
    pthread_mutex_lock(&sync_lock);
    struct dirty file = {.inode = st.st_ino};
    pthread_mutex_lock(&table_lock);
    struct dirty *found = is_dir ? &file : entry(st.st_ino);
    file = *found;
    *found = (struct dirty){.inode = st.st_ino};
    pthread_mutex_unlock(&table_lock);
    if (delay_us) usleep(random() % delay_us);
    if (!failing && is_dir) keep_names(fd, st.st_ino);
    if (!failing && !is_dir) keep_file(fd, &file);
    free(file.ranges);
    pthread_mutex_unlock(&sync_lock);
    if (!failing) return 0;
    errno = fail_errno;
    return -1;
}

int fsync(int fd) { return sync_with(fd, "fsync", REAL(fsync)); }
int fdatasync(int fd) { return sync_with(fd, "fdatasync", REAL(fdatasync)); }

ssize_t write(int fd, const void *bytes, size_t count) {
    struct stat st;
    if (!ours(fd, &st)) return syscall(SYS_write, fd, bytes, count);
    int failing = fails("write");
    ssize_t done = syscall(SYS_write, fd, bytes, failing ? count / 2 : count);
    off_t end = lseek(fd, 0, SEEK_CUR);
    wrote(st.st_ino, end - done, end);
    if (!failing) return done;
    errno = fail_errno;
    return -1;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    struct stat st;
    if (!ours(fd, &st)) return syscall(SYS_writev, fd, parts, count);
    for (int at = 0; at < count; at++) /* a short write is allowed: one part at a time */
        if (parts[at].iov_len) return write(fd, parts[at].iov_base, parts[at].iov_len);
    return 0;
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off_t at) {
    struct stat st;
    if (!ours(fd, &st)) return syscall(SYS_pwrite64, fd, bytes, count, at);
    int failing = fails("write");
    ssize_t done = syscall(SYS_pwrite64, fd, bytes, failing ? count / 2 : count, at);
    wrote(st.st_ino, at, at + done);
    if (!failing) return done;
    errno = fail_errno;
    return -1;
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) { return pwrite64(fd, bytes, count, at); }

int ftruncate64(int fd, off_t length) {
    int result = syscall(SYS_ftruncate, fd, length);
    if (!result) truncated(fd);
    return result;
}

int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

static int open_with(int dir, const char *path, int flags, mode_t mode) {
    int fd = syscall(SYS_openat, dir, path, flags, mode);
    if (fd >= 0 && flags & O_TRUNC) truncated(fd);
    return fd;
}

static mode_t mode_of(int flags, va_list rest) {
    return flags & (O_CREAT | O_TMPFILE) ? (mode_t)va_arg(rest, int) : 0;
}

#define OPEN(name, dir, ...)                        \
    int name(__VA_ARGS__, ...) {                    \
        va_list rest;                               \
        va_start(rest, flags);                      \
        mode_t mode = mode_of(flags, rest);         \
        va_end(rest);                               \
        return open_with(dir, path, flags, mode);   \
    }
OPEN(open, AT_FDCWD, const char *path, int flags)
OPEN(open64, AT_FDCWD, const char *path, int flags)
OPEN(openat, dir, int dir, const char *path, int flags)
OPEN(openat64, dir, int dir, const char *path, int flags)

/* What loses its name keeps its inode, so that its number means no other file in the shadow. */
static void pin(int dir, const char *path) {
    if (shadow_dir) (void)syscall(SYS_openat, dir, path, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
}

int unlinkat(int dir, const char *path, int flags) {
    pin(dir, path);
    return syscall(SYS_unlinkat, dir, path, flags);
}

int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

int renameat(int from_dir, const char *from, int to_dir, const char *to) {
    pin(to_dir, to);
    return syscall(SYS_renameat, from_dir, from, to_dir, to);
}

int rename(const char *from, const char *to) { return renameat(AT_FDCWD, from, AT_FDCWD, to); }
