/* SPDX-License-Identifier: MIT */
/*
 * Owner, mode and type of files: the host's, or mapped. A mapped file has them
 * in the xattr ATTR_NAME (four little-endian u32: mode, uid, gid, rdev); a
 * symlink or a special file is then a regular file on the host, because the
 * kernel gives user xattrs only to those and to directories (xattr(7)). Files
 * without the xattr show what the host says. The host's own mode keeps the user
 * that mote runs as able to read and write, whatever the guest's chmod says.
 *
 * The server's thread.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "p9/internal.h"

#define ATTR_NAME	"user.mote.attr"

struct mapped {
	uint32_t mode, uid, gid, rdev;
};

static bool can_be_mapped(mode_t mode)
{
	return S_ISREG(mode) || S_ISDIR(mode);
}

bool p9_xattr_hidden(struct p9_server *s, const char *name)
{
	return s->x->mapped && (!strcmp(name, ATTR_NAME) ||
				!strncmp(name, "system.", 7));
}

static bool mapped_load(int fd, bool opened, struct mapped *m)
{
	char text[P9_PROC_BYTES];
	uint32_t raw[4];
	ssize_t n = opened ?
		fgetxattr(fd, ATTR_NAME, raw, sizeof(raw)) :
		getxattr(p9_proc_path(fd, text), ATTR_NAME, raw, sizeof(raw));

	if (n != sizeof(raw))
		return false;
	m->mode = le32toh(raw[0]);
	m->uid = le32toh(raw[1]);
	m->gid = le32toh(raw[2]);
	m->rdev = le32toh(raw[3]);
	return true;
}

static int mapped_store(int fd, const struct mapped *m)
{
	const uint32_t raw[4] = { htole32(m->mode), htole32(m->uid),
				  htole32(m->gid), htole32(m->rdev) };
	char text[P9_PROC_BYTES];
	const char *path = p9_proc_path(fd, text);
	struct stat st;

	if (!setxattr(path, ATTR_NAME, raw, sizeof(raw), 0))
		return 0;
	/* Its owner may set it only on what he can write. */
	if (errno != EACCES || fstat(fd, &st))
		return -errno;
	if (chmod(path, (st.st_mode & 07777) | S_IWUSR) ||
	    setxattr(path, ATTR_NAME, raw, sizeof(raw), 0))
		return -errno;
	return 0;
}

int p9_stat(struct p9_server *s, int fd, bool opened, struct statx *st)
{
	struct mapped m;

	if (statx(fd, "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT,
		  STATX_BASIC_STATS | STATX_BTIME, st))
		return -errno;
	if (!s->x->mapped || !can_be_mapped(st->stx_mode) ||
	    !mapped_load(fd, opened, &m))
		return 0;
	/* A directory stays one, and nothing becomes one. */
	if (S_ISDIR(st->stx_mode) != S_ISDIR(m.mode))
		m.mode = (m.mode & 07777) | (st->stx_mode & S_IFMT);
	st->stx_mode = (uint16_t)m.mode;
	st->stx_uid = m.uid;
	st->stx_gid = m.gid;
	st->stx_rdev_major = major(m.rdev);
	st->stx_rdev_minor = minor(m.rdev);
	return 0;
}

mode_t p9_host_mode(struct p9_server *s, mode_t mode)
{
	return s->x->mapped ? (mode & S_IXUSR) | S_IRUSR | S_IWUSR :
			      mode & 07777;
}

static int set_mapped(struct p9_server *s, const struct p9_file *file,
		      uint32_t set, uint32_t mode, uint32_t uid, uint32_t gid)
{
	char text[P9_PROC_BYTES];
	struct statx st;
	struct mapped m;
	int ret = p9_stat(s, file->fd, file->opened, &st);

	if (ret)
		return ret;
	if (!can_be_mapped(file->host_type))
		return -EPERM;
	m.mode = set & P9_SET_MODE ? (st.stx_mode & S_IFMT) | (mode & 07777) :
				     st.stx_mode;
	m.uid = set & P9_SET_UID ? uid : st.stx_uid;
	m.gid = set & P9_SET_GID ? gid : st.stx_gid;
	m.rdev = (uint32_t)makedev(st.stx_rdev_major, st.stx_rdev_minor);
	ret = mapped_store(file->fd, &m);
	if (ret == -EOPNOTSUPP && m.uid == st.stx_uid && m.gid == st.stx_gid)
		/* No user xattrs here: the mode alone can do without. */
		return chmod(p9_proc_path(file->fd, text), (m.mode & 0777) |
			     (S_ISDIR(m.mode) ? S_IRWXU : S_IRUSR | S_IWUSR)) ?
			       -errno : 0;
	/* So that what the guest makes executable can be run on the host. */
	if (!ret && set & P9_SET_MODE && S_ISREG(m.mode) &&
	    (m.mode ^ st.stx_mode) & S_IXUSR) {
		struct stat host;

		if (!fstat(file->fd, &host))
			(void)!chmod(p9_proc_path(file->fd, text),
				     (host.st_mode & 0777 & ~S_IXUSR) |
				     (m.mode & S_IXUSR));
	}
	return ret;
}

int p9_set_attr(struct p9_server *s, const struct p9_file *file, uint32_t set,
		uint32_t mode, uint32_t uid, uint32_t gid)
{
	char text[P9_PROC_BYTES];

	if (s->x->mapped)
		return set_mapped(s, file, set, mode, uid, gid);
	/* The owner first: a change of it takes set-ID bits away. */
	if (set & (P9_SET_UID | P9_SET_GID) &&
	    fchownat(file->fd, "", set & P9_SET_UID ? uid : (uid_t)-1,
		     set & P9_SET_GID ? gid : (gid_t)-1, AT_EMPTY_PATH))
		return -errno;
	if (!(set & P9_SET_MODE))
		return 0;
	if (S_ISLNK(file->host_type))
		return -EOPNOTSUPP;
	return chmod(p9_proc_path(file->fd, text), mode & 07777) ? -errno : 0;
}

static int created_mapped(struct p9_file *file, mode_t mode, uint32_t uid,
			  uint32_t gid, uint32_t rdev)
{
	struct mapped m = { .mode = (uint32_t)mode, .rdev = rdev };
	char text[P9_PROC_BYTES];
	int ret;

	m.uid = uid == P9_NOUID ? geteuid() : uid;
	m.gid = gid == P9_NOUID ? getegid() : gid;
	if (!can_be_mapped(file->host_type))
		return 0;
	ret = mapped_store(file->fd, &m);
	if (ret == -EOPNOTSUPP && can_be_mapped(mode))
		ret = chmod(p9_proc_path(file->fd, text), (mode & 0777) |
			    (S_ISDIR(mode) ? S_IRWXU : S_IRUSR | S_IWUSR)) ?
			      -errno : 0;
	return ret;
}

int p9_set_created(struct p9_server *s, struct p9_file *file, mode_t mode,
		   uint32_t uid, uint32_t gid, uint32_t rdev)
{
	struct statx st;
	struct p9_qid qid;
	uint32_t set = 0;
	mode_t have;
	int ret;

	if (s->x->mapped) {
		ret = created_mapped(file, mode, uid, gid, rdev);
	} else {
		ret = p9_stat(s, file->fd, file->opened, &st);
		if (ret)
			return ret;
		if (uid != P9_NOUID && uid != st.stx_uid)
			set |= P9_SET_UID;
		if (gid != P9_NOUID && gid != st.stx_gid)
			set |= P9_SET_GID;
		/*
		 * The host's default ACLs may have taken bits away, as they should.
		 * But set-ID bits are lost in a chown() and a mkdir(), and this
		 * thread's umask means nothing to the guest.
		 */
		have = st.stx_mode & 07777;
		if (!S_ISLNK(mode) &&
		    ((set && mode & 06000) || (mode & ~have & 07000) ||
		     mode & ~have & s->umask))
			set |= P9_SET_MODE;
		if (!set)
			return 0;
		ret = p9_set_attr(s, file, set, (uint32_t)mode, uid, gid);
	}
	if (ret)
		return ret;
	ret = p9_stat(s, file->fd, file->opened, &st);
	if (ret)
		return ret;
	p9_qid_fill(s, &st, &qid);
	file->qid = qid;
	file->type = st.stx_mode & S_IFMT;
	file->strip = st.stx_mode & (S_ISUID | S_ISGID);
	return 0;
}
