/* SPDX-License-Identifier: MIT */
/*
 * What the files of vmm/p9/ share. The server's thread, but for what only reads
 * an export.
 */
#ifndef MOTE_P9_INTERNAL_H
#define MOTE_P9_INTERNAL_H

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#include "p9/p9.h"

#define P9_NAME_BYTES	(NAME_MAX + 1)
#define P9_HEAD_BYTES	8192u		/* of a T-message, without data */
#define P9_BUFFER_BYTES	(256u << 10)	/* Rreaddir at most; getdents64 */
#define P9_MAX_FIDS	(1u << 18)
#define P9_XATTR_BUDGET	(16u << 20)	/* bytes in all xattr fids together */
#define P9_PATH_BUDGET	(64u << 20)	/* bytes of the paths of reclaimed files */
#define P9_MAX_LOCKS	4096u		/* owners × files */
#define P9_MAX_LOCK_RANGES 4096u	/* of all locks together */
#define P9_PROC_BYTES	32		/* "/proc/self/fd/2147483647" */

struct p9_export {
	int root;			/* O_PATH */
	bool readonly, mapped;
	char **allowed;
	size_t allowed_count;
	uint32_t msize;
	struct p9_files *files;
};

enum p9_wait {
	P9_WAIT_KNOWN,		/* RWF_NOWAIT tells, each time */
	P9_WAIT,		/* it is not supported: perhaps */
	P9_WAIT_NEVER,
};

/* A file of the host by descriptor; all fids that were cloned share it. */
struct p9_file {
	unsigned int refs;
	int fd;				/* -1: given back, or lost */
	char *path;			/* given back: where it was (reclaim.c) */
	uint64_t dev, ino;		/* of the host */
	struct p9_file *newer, *older;	/* in the order of use, while O_PATH */
	bool opened;			/* not O_PATH */
	enum p9_wait wait_read, wait_write;
	bool strip;			/* a write takes set-ID bits away */
	mode_t host_type, type;		/* S_IFMT; they differ when mapped */
	struct p9_qid qid;
};

enum p9_fid_kind { P9_FID_PATH, P9_FID_OPEN, P9_FID_XATTR };

struct p9_xattr {
	char name[P9_NAME_BYTES];
	uint32_t size;
	uint32_t filled;		/* writing: bytes that came so far */
	uint32_t flags;
	bool writing;
	uint8_t data[];
};

struct p9_fid {
	struct p9_fid *next;		/* in its bucket */
	uint32_t id;
	uint32_t uid;			/* who attached */
	enum p9_fid_kind kind;
	uint32_t flags;			/* P9_O_* it was opened with */
	uint64_t dir_pos;		/* of the open directory's descriptor */
	struct p9_file *file;
	struct p9_xattr *xattr;
};

/* All inodes whose number has these high bits, on this device. */
struct p9_qid_prefix {
	uint64_t dev;
	uint16_t high;
};

/* An owner of locks on one file, op_lock.c. */
struct p9_lock {
	struct p9_lock *next;
	uint64_t path;			/* the file's qid.path */
	uint32_t process;
	char client[P9_NAME_BYTES];
	int fd;
	bool writable;
};

struct p9_server {
	struct p9_export *x;
	struct p9_pool *pool;
	uint32_t msize;			/* 0: no Tversion yet */
	mode_t umask;			/* of this thread */

	struct p9_fid **buckets;
	unsigned int bucket_bits, fid_count, file_count;
	struct p9_file *newest, *oldest;	/* may be given back */
	struct p9_file *reclaimed;		/* were: linked by older */
	size_t path_bytes;			/* of their paths */
	struct p9_file *root;
	size_t xattr_bytes;

	struct p9_qid_prefix *prefixes;
	unsigned int prefix_count;

	struct p9_lock *locks;
	unsigned int lock_count;
	unsigned int lock_ranges;	/* of all, at most */
	struct p9_request *in_flight;

	uint8_t *head;			/* P9_HEAD_BYTES */
	uint8_t *reply, *dents;		/* P9_BUFFER_BYTES each */
};

/* ---- fid.c: fids and files --------------------------------------------- */

/* -EBADF: no such fid; -ESTALE: its file was lost by a restore. */
int p9_fid_find(struct p9_server *s, uint32_t id, struct p9_fid **out);
/* The same for a directory: -ENOTDIR. */
int p9_fid_find_dir(struct p9_server *s, uint32_t id, struct p9_fid **out);
/* The fid, whatever it is, or NULL. */
struct p9_fid *p9_fid_lookup(struct p9_server *s, uint32_t id);
/* Takes a reference to file. -EBADF: in use; -ENOMEM, -EMFILE. */
int p9_fid_add(struct p9_server *s, uint32_t id, uint32_t uid,
	       struct p9_file *file, struct p9_fid **out);
/* Takes over the reference to file instead of the one there was. */
void p9_fid_set_file(struct p9_server *s, struct p9_fid *f,
		     struct p9_file *file);
void p9_fid_remove(struct p9_server *s, struct p9_fid *f);
void p9_fids_clear(struct p9_server *s);
/* True when another open fid has the same file. */
bool p9_fid_open_elsewhere(struct p9_server *s, const struct p9_fid *f);

/* Takes fd over, also on failure (fd < 0: -errno), and looks what it is.
 * -EMFILE: too many. */
int p9_file_create(struct p9_server *s, int fd, bool opened,
		   struct p9_file **out);
struct p9_file *p9_file_get(struct p9_file *file);
void p9_file_put(struct p9_server *s, struct p9_file *file);

/* ---- reclaim.c: more files than descriptors ----------------------------- */

/* An O_PATH file can be given back from here on; and is used right now. */
void p9_file_watch(struct p9_server *s, struct p9_file *file);
void p9_file_unwatch(struct p9_server *s, struct p9_file *file);
/* Moves it to the end of the queue, opens it again: -ESTALE, -EMFILE. */
int p9_file_use(struct p9_server *s, struct p9_file *file);
/* Makes room for one more descriptor: -EMFILE. */
int p9_file_room(struct p9_server *s);
/* There is one more (1), or one less (-1). */
void p9_files_count(struct p9_server *s, int change);
/* What was dir/name is somewhere else soon: to be called before a rename, and
 * after it, with what before gave; on failure nothing is lost but those files. */
char *p9_moving(struct p9_server *s, const struct p9_file *dir,
		const char *name);
void p9_moved(struct p9_server *s, char *from, const struct p9_file *dir,
	      const char *name, bool done);

/* ---- qid.c ----------------------------------------------------------------- */

/* Unique for each device and inode number, the same as long as s lives. */
void p9_qid_fill(struct p9_server *s, const struct statx *st,
		 struct p9_qid *qid);
/* After a load: the prefix that st belongs to is that of path. */
int p9_qid_bind(struct p9_server *s, const struct statx *st, uint64_t path);

/* The same for an entry of a directory on that device, by its dirent. */
void p9_qid_entry(struct p9_server *s, const struct stat *dir, uint64_t ino,
		  unsigned char d_type, struct p9_qid *qid);

/* ---- path.c: the only way to names ------------------------------------------ */

/* A component that may be made, removed or renamed: -EEXIST for . and ..,
 * -EACCES where allowed= does not name it. */
int p9_name_check(struct p9_server *s, const struct p9_file *dir,
		  const char *name);
/* May be seen in this directory. */
bool p9_name_visible(struct p9_server *s, const struct p9_file *dir,
		     const char *name);
/* dir/name, a symlink itself; .. of the root is the root. */
int p9_step(struct p9_server *s, struct p9_file *dir, const char *name,
	    struct p9_file **out);
/* openat2() of one component, beneath and without following. fd or -errno. */
int p9_open_beneath(int dir, const char *name, int flags, mode_t mode);
/* "/proc/self/fd/N" */
const char *p9_proc_path(int fd, char text[P9_PROC_BYTES]);
/* Opens what fd stands for again. fd or -errno. */
int p9_reopen(int fd, int flags);
/* Where the file is in the export, "" for its root: -ENOENT when nowhere. */
int p9_locate(struct p9_server *s, const struct p9_file *file,
	      char path[PATH_MAX]);
/* The same as a directory, to be closed, and a name in it. */
int p9_locate_parent(struct p9_server *s, const struct p9_file *file,
		     int *dir, char name[P9_NAME_BYTES]);
/* A relative path without symlinks, O_PATH. fd or -errno. */
int p9_open_path(struct p9_server *s, const char *path);

/* ---- attr.c: what a file is, mapped or not ------------------------------------ */

int p9_stat(struct p9_server *s, int fd, bool opened, struct statx *st);
/* Only what is in set: P9_SET_MODE, _UID, _GID. */
int p9_set_attr(struct p9_server *s, const struct p9_file *file, uint32_t set,
		uint32_t mode, uint32_t uid, uint32_t gid);
/* The mode that a file or directory gets on the host. */
mode_t p9_host_mode(struct p9_server *s, mode_t mode);
/* Gives the file that was just made its owner, mode and rdev: -errno. */
int p9_set_created(struct p9_server *s, struct p9_file *file, mode_t mode,
		   uint32_t uid, uint32_t gid, uint32_t rdev);
/* True for names that the guest neither sees nor sets. */
bool p9_xattr_hidden(struct p9_server *s, const char *name);

/* ---- the operations ------------------------------------------------------------ */

/* Not an errno: the request ends later, by p9_request_end(). */
#define P9_PENDING 1

/*
 * Reads its message from in and writes the body of its reply to out. 0, -errno
 * (out is then dropped) or P9_PENDING. A failure leaves everything as it was.
 */
typedef int p9_op(struct p9_request *r, struct p9_reader *in,
		  struct p9_writer *out);

p9_op p9_version, p9_auth, p9_attach, p9_walk, p9_clunk, p9_statfs;
p9_op p9_lopen, p9_lcreate, p9_read, p9_write, p9_fsync, p9_readdir;
p9_op p9_symlink, p9_mknod, p9_mkdir, p9_link, p9_readlink;
p9_op p9_rename, p9_renameat, p9_unlinkat, p9_remove;
p9_op p9_getattr, p9_setattr, p9_xattrwalk, p9_xattrcreate;
p9_op p9_lock, p9_getlock, p9_flush;

/* server.c: ends a request that was pending. */
void p9_request_end(struct p9_request *r, int result, struct p9_writer *out);

/* op_xattr.c: the bytes of an xattr fid; and the end of one that is written. */
int p9_xattr_read(struct p9_request *r, struct p9_fid *f, struct p9_writer *out);
int p9_xattr_write(struct p9_request *r, struct p9_fid *f,
		   struct p9_writer *out);
int p9_xattr_commit(struct p9_server *s, struct p9_fid *f);
void p9_xattr_free(struct p9_server *s, struct p9_fid *f);
/* -ENOSPC: too many bytes in all. */
int p9_xattr_alloc(struct p9_server *s, uint32_t size, struct p9_xattr **out);

/* op_open.c: host flags of what may be opened, or -errno. */
int p9_open_flags(struct p9_server *s, const struct p9_file *file,
		  uint32_t flags);

/* op_lock.c: an open fid goes away. */
void p9_locks_drop(struct p9_server *s, const struct p9_fid *f);
void p9_locks_clear(struct p9_server *s);
/* What holds the locks of a process on an open file, and is not there yet. -ENOLCK:
 * too many; -errno. */
int p9_lock_add(struct p9_server *s, const struct p9_fid *f,
		uint32_t process, const char *client, struct p9_lock **out);

/* lock_ranges.c: -ENOLCK: no further range. */
int p9_lock_room(struct p9_server *s);
void p9_locks_save(struct p9_server *s, struct state_writer *w);
/* After the fids. -EBUSY: another has such a lock now. */
int p9_locks_load(struct p9_server *s, struct state_reader *r);

#endif
