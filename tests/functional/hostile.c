/* SPDX-License-Identifier: MIT */
/*
 * A hostile guest without an operating system, entered by its PVH note: every
 * vCPU writes garbage to ports, configuration space, BARs and rings, much of it
 * nearly right. After TURNS each it resets the machine, RESETS times, and then
 * writes 0 to the exit port. Built by test_hostile.py, which sets SEED, TURNS,
 * RESETS, CPUS, LOUD, the bytes written to the serial port first, and EJECT:
 * whether devices are thrown out, too.
 *
 * What a guest may do to itself would end the test and is left out: requests to
 * end the VM, buffers over its own code, MSIs that are NMI, INIT or SMI.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ECAM		0xe0000000u
#define MMIO		0xc0000000u
#define MMIO_END	0xe0000000u
#define RAM_END		0x4000000u	/* -m 64M */
#define RINGS		0x1000000u	/* 64 KiB a queue, 1 MiB a device */
#define BUFFERS		0x2000000u
#define DEVICES		13u	/* slots; the first is the host bridge's */
#define QUEUE_MAX	6u
#define HOTPLUG_EJECT	0xfed00110u

/* VIRTIO 1.2, 4.1.2 and 5: PCI device IDs. */
#define NET		0x1041u
#define CONSOLE		0x1043u
#define NINE_P		0x1049u
#define VSOCK		0x1053u
#define PMEM		0x105bu

#define DESC_NEXT	1u
#define DESC_WRITE	2u
#define DESC_INDIRECT	4u

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

struct cpu {
	uint32_t random;
	bool polite;		/* just now: no mistake on purpose */
};

/* Segments of the loader's GDT: 0x10 code, 0x18 data. */
__asm__(".section .note.Xen, \"a\", @note\n"
	".long 4, 4, 18\n"		/* XEN_ELFNOTE_PHYS32_ENTRY */
	".asciz \"Xen\"\n"
	".long start\n"
	".text\n"
	".globl start\n"
	"start:	mov $stacks + 0x4000, %esp\n"
	"	push $0\n"
	"	call hostile\n"
	".code16\n"
	"trampoline:\n"			/* at 0x8000, by INIT and SIPI */
	"	cli\n"
	"	lgdtl %cs:(gdt_pointer - trampoline)\n"
	"	mov $1, %eax\n"
	"	mov %eax, %cr0\n"
	"	ljmpl $0x10, $secondary\n"
	"gdt_pointer:\n"
	"	.word 31\n"
	"	.long 0x500\n"
	"trampoline_end:\n"
	".code32\n"
	"secondary:\n"
	"	mov $0x18, %ax\n"
	"	mov %ax, %ds\n"
	"	mov %ax, %es\n"
	"	mov %ax, %ss\n"
	"	mov $1, %eax\n"
	"	lock xadd %eax, next_cpu\n"
	"	lea 1(%eax), %esp\n"
	"	shl $14, %esp\n"
	"	add $stacks, %esp\n"
	"	push %eax\n"
	"	call hostile\n");

extern const uint8_t trampoline[], trampoline_end[];
uint8_t stacks[0x40000] __attribute__((aligned(16)));
uint32_t next_cpu = 1;
static uint32_t done;
static uint64_t pmem;		/* where a persistent region is; 0: not known */

void hostile(uint32_t index);

/* ---- instructions -------------------------------------------------------- */

static void out(uint16_t port, unsigned int len, uint32_t v)
{
	if (len == 1)
		__asm__ volatile("outb %b0, %1" :: "a"(v), "d"(port));
	else if (len == 2)
		__asm__ volatile("outw %w0, %1" :: "a"(v), "d"(port));
	else
		__asm__ volatile("outl %0, %1" :: "a"(v), "d"(port));
}

static uint32_t in(uint16_t port, unsigned int len)
{
	uint32_t v = 0;

	if (len == 1)
		__asm__ volatile("inb %1, %b0" : "+a"(v) : "d"(port));
	else if (len == 2)
		__asm__ volatile("inw %1, %w0" : "+a"(v) : "d"(port));
	else
		__asm__ volatile("inl %1, %0" : "+a"(v) : "d"(port));
	return v;
}

static void outs(uint16_t port, const void *from, uint32_t count)
{
	__asm__ volatile("rep outsb" : "+S"(from), "+c"(count) : "d"(port)
			 : "memory");
}

static void ins(uint16_t port, void *to, uint32_t count)
{
	__asm__ volatile("rep insb" : "+D"(to), "+c"(count) : "d"(port)
			 : "memory");
}

static void poke(uint32_t at, unsigned int len, uint64_t v)
{
	if (len == 1)
		*(volatile uint8_t *)at = (uint8_t)v;
	else if (len == 2)
		*(volatile uint16_t *)at = (uint16_t)v;
	else if (len == 4)
		*(volatile uint32_t *)at = (uint32_t)v;
	else
		__asm__ volatile("movq %0, %%mm0; movq %%mm0, (%1)"
				 :: "m"(v), "r"(at) : "memory");
}

static uint32_t peek(uint32_t at, unsigned int len)
{
	uint64_t v;

	if (len == 1)
		return *(volatile uint8_t *)at;
	if (len == 2)
		return *(volatile uint16_t *)at;
	if (len == 4)
		return *(volatile uint32_t *)at;
	__asm__ volatile("movq (%1), %%mm0; movq %%mm0, %0"
			 : "=m"(v) : "r"(at) : "memory");
	return (uint32_t)v;
}

/* ---- garbage ------------------------------------------------------------- */

static uint32_t any(struct cpu *c)
{
	c->random ^= c->random << 13;
	c->random ^= c->random >> 17;
	c->random ^= c->random << 5;
	return c->random;
}

static uint32_t below(struct cpu *c, uint32_t n)
{
	return (any(c) >> 4) % n;
}

static bool mostly(struct cpu *c)
{
	return c->polite || below(c, 16);
}

static uint32_t value(struct cpu *c)
{
	static const uint32_t edges[] = {
		0, 1, 2, 3, 4, 7, 0xb, 0xf, 0x80, 0xff, 0x100, 0x1000, 0x7fff,
		0x8000, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xfffffff0,
		0xffffffff, MMIO, ECAM, 0xfee00000, 0xfec00000, RAM_END,
		RAM_END - 1, BUFFERS,
	};

	return below(c, 3) ? edges[below(c, sizeof(edges) / sizeof(edges[0]))] :
			     any(c);
}

static unsigned int width(struct cpu *c, unsigned int max)
{
	unsigned int len = 1u << below(c, 4);

	return len > max ? max : len;
}

static void garbage_port(struct cpu *c)
{
	static const struct { uint16_t base, count; } areas[] = {
		{ 0x3f8, 8 }, { 0x3f8, 8 }, { 0x60, 8 }, { 0x70, 4 },
		{ 0xcf8, 8 }, { 0xcf4, 16 }, { 0x505, 2 }, { 0x5fe, 6 },
		{ 0xf2, 8 }, { 0x20, 2 }, { 0xa0, 2 }, { 0x40, 4 },
		{ 0x4d0, 2 }, { 0xfffc, 4 },
	};
	unsigned int i = below(c, 16), len = width(c, 4);
	uint32_t v = value(c);
	uint16_t port = (uint16_t)any(c);
	static uint8_t text[4][64];

	if (i < sizeof(areas) / sizeof(areas[0]))
		port = (uint16_t)(areas[i].base + below(c, areas[i].count));
	if (below(c, 2)) {
		if (below(c, 4))
			in(port, len);
		else
			ins(port, text[below(c, 4)], below(c, 64));
		return;
	}
	if (port >= 0x3f8 && port < 0x400 && !below(c, 4)) {
		outs(port, text[below(c, 4)], below(c, 64));
		return;
	}
	if (port == 0xcf9 || port == 0x505 || port == 0x600)
		v &= 0xffffffdau;	/* reset, panic, sleep */
	if (port == 0x64)
		v |= 1;
	if (port == 0xf4 || (RESETS && (port & ~3u) == 0x70))
		return;
	out(port, len, v);
}

static uint32_t function(uint32_t device)
{
	return ECAM + (device << 15);
}

/* Bits 8 to 10 of an MSI's data are its kind. */
static uint32_t harmless(uint32_t at, uint32_t v)
{
	for (unsigned int i = 0; i < 4; i++)
		if ((at + i) % 4 == 1)
			v &= ~(7u << 8 * i);
	return v;
}

static void garbage_config(struct cpu *c)
{
	static const uint8_t hot[] = { 4, 4, 4, 5, 6, 0x10, 0x10, 0x11, 0x13,
				       0x14, 0x3c, 0x34 };
	uint32_t at, v = value(c);

	at = below(c, 4) ? below(c, 0x100) : hot[below(c, sizeof(hot))];
	if (!mostly(c))
		at = below(c, 0x1000);
	v = harmless(at, v);
	if (at == 4 && below(c, 4))
		v |= 6;
	if (!below(c, 8)) {
		out(0xcf8, 4, (mostly(c) ? 0x80000000u : 0) |
			      (mostly(c) ? below(c, DEVICES) << 11 :
					   any(c) & 0xffff00) | (at & 0xfc));
		if (below(c, 2))
			out((uint16_t)(0xcfc + (at & 3)), width(c, 4), v);
		else
			in((uint16_t)(0xcfc + (at & 3)), width(c, 4));
		return;
	}
	at += mostly(c) ? function(below(c, DEVICES)) :
			  ECAM + (any(c) & 0xfff000);
	if (below(c, 4))
		poke(at, width(c, 8), v);
	else
		peek(at, width(c, 8));
}

/* Where the BAR is just now; 0: nowhere. */
static uint32_t bar_of(uint32_t device)
{
	uint32_t at = peek(function(device) + 0x10, 4) & ~0xfu;

	return at >= MMIO && at < MMIO_END - 0x4000 ? at : 0;
}

static void garbage_bar(struct cpu *c)
{
	static const uint32_t areas[] = { 0, 0, 0x800, 0x1000, 0x2000, 0x3000,
					  0x3800 };
	uint32_t bar = bar_of(below(c, DEVICES));
	uint32_t at = areas[below(c, 7)] + below(c, 0x48);
	unsigned int len = width(c, 8);

	if (!bar)
		return;
	if (below(c, 4))
		at &= ~(len - 1);
	if (!mostly(c))
		at = below(c, 0x4000);
	if (!mostly(c))		/* across a page: cut into odd widths */
		at = (at | 0xfff) - below(c, 8);
	if (below(c, 3))
		poke(bar + at, len, harmless(at, value(c)) |
				    (uint64_t)harmless(at + 4, value(c)) << 32);
	else
		peek(bar + at, len);
}

/* ---- rings --------------------------------------------------------------- */

static uint32_t kind_of(uint32_t device)
{
	return peek(function(device) + 2, 2);
}

static uint64_t buffer(struct cpu *c)
{
	switch (c->polite ? 6 : below(c, 24)) {
	case 0:
		return RAM_END - below(c, 0x2000);
	case 1:
		return (uint64_t)value(c) << 32;
	case 2:
		return MMIO + below(c, 0x10000);
	case 3:
		return 0xffffffffffffffffull - below(c, 0x1000);
	case 4:
		return RINGS + below(c, 0x800000);
	case 5:
		return pmem + below(c, 0x200000);
	default:
		return BUFFERS + below(c, 0x1f00000);
	}
}

static uint32_t length(struct cpu *c)
{
	static const uint32_t lengths[] = { 0, 1, 15, 16, 17, 512, 1024, 4096,
					    65536, 1u << 20 };

	if (!mostly(c))
		return value(c);
	return lengths[below(c, sizeof(lengths) / sizeof(lengths[0]))];
}

static void garbage_desc(struct cpu *c, volatile struct desc *d, uint32_t index,
			 uint32_t table)
{
	d->addr = buffer(c);
	d->len = length(c);
	d->flags = below(c, 4) | (below(c, 8) ? 0 : DESC_INDIRECT);
	d->next = (uint16_t)(mostly(c) ? (index + 1) % 64 : any(c));
	if (d->flags & DESC_INDIRECT && mostly(c)) {
		d->addr = table;
		d->len = below(c, 64) * 16;
		d->flags &= ~DESC_NEXT;
	}
}

static void put_desc(volatile struct desc *d, uint64_t addr, uint32_t len,
		     uint16_t flags, uint32_t next)
{
	d->addr = addr;
	d->len = len;
	d->flags = flags;
	d->next = (uint16_t)next;
}

static bool talks(uint32_t kind)
{
	return kind == NINE_P || kind == NET || kind == VSOCK ||
	       kind == CONSOLE;
}

/* ---- requests ------------------------------------------------------------ */

static uint32_t put_name(struct cpu *c, uint32_t at, char field)
{
	static const char *const names[] = { "a", "b", "d", "..", "a/b", "",
					     "user.x", "9P2000.L" };
	unsigned int i = below(c, 16) ? field == 'v' ? 7 : field == 'r' ? 5 :
					below(c, 3) : below(c, 8);
	const char *name = names[i];
	uint32_t len = 0;

	for (; name[len]; len++)
		poke(at + 2 + len, 1, (uint8_t)name[len]);
	poke(at, 2, len);
	return at + 2 + len;
}

/*
 * A message of 9P2000.L: b, h, d, q are numbers of 1, 2, 4, 8 bytes, m a message
 * size, o is 1, f a fid, F none, n a name, r the root's, v the version.
 */
static uint32_t put_9p(struct cpu *c, uint32_t at)
{
	static const struct { uint8_t type; const char *fields; } messages[] = {
		{ 100, "mv" }, { 104, "fFnrd" }, { 104, "fFnrd" },
		{ 110, "ffon" }, { 110, "ffh" }, { 12, "fd" }, { 12, "fd" },
		{ 14, "fnddd" }, { 116, "fqd" }, { 118, "fqdqqqq" },
		{ 40, "fqd" }, { 24, "fq" }, { 26, "fddddqqqqq" }, { 120, "f" },
		{ 122, "f" }, { 108, "h" }, { 52, "fbdqqdn" },
		{ 54, "fbqqdn" }, { 30, "ffn" }, { 32, "fnqd" },
		{ 72, "fndd" }, { 76, "fnd" }, { 74, "fnfn" }, { 20, "ffn" },
		{ 16, "fnnd" }, { 50, "fd" }, { 8, "f" }, { 22, "f" },
		{ 18, "fndddd" }, { 70, "ffn" },
	};
	uint32_t i = below(c, sizeof(messages) / sizeof(messages[0]));
	uint32_t end = at + 7;

	for (const char *f = messages[i].fields; *f; f++) {
		unsigned int len = *f == 'b' ? 1 : *f == 'q' ? 8 :
				   *f == 'h' || *f == 'o' ? 2 : 4;
		uint64_t v = below(c, 16) ? below(c, 5) : value(c);

		if (*f == 'n' || *f == 'r' || *f == 'v') {
			end = put_name(c, end, *f);
			continue;
		}
		if (*f == 'd' && below(c, 16))
			v = below(c, 2) ? below(c, 8192) : below(c, 3);
		if (*f == 'm')
			v = below(c, 16) ? 65536 : value(c);
		if (*f == 'F')
			v = ~0u;
		if (*f == 'o')
			v = 1;
		poke(end, len, v);
		end += len;
	}
	poke(at, 4, below(c, 16) ? end - at : value(c));
	poke(at + 4, 1, messages[i].type);
	poke(at + 5, 2, below(c, 8));
	return end - at;
}

/* A packet's header (VIRTIO 1.2, 5.10.6), and what it says is behind it. */
static uint32_t put_packet(struct cpu *c, uint32_t at)
{
	uint32_t len = below(c, 3) ? 0 : below(c, 70000);

	poke(at, 8, 3);
	poke(at + 8, 8, 2);
	poke(at + 16, 4, below(c, 16) ? below(c, 40) : value(c));
	poke(at + 20, 4, below(c, 2) ? 1 + below(c, 4) :
				       0x40000000 + below(c, 64));
	poke(at + 24, 4, below(c, 16) ? len : value(c));
	poke(at + 28, 2, below(c, 16) ? 1 + below(c, 2) : value(c));
	poke(at + 30, 2, below(c, 16) ? below(c, 8) : value(c));
	poke(at + 32, 4, below(c, 4));
	poke(at + 36, 4, below(c, 16) ? 0x40000 : value(c));
	poke(at + 40, 4, below(c, 16) ? 0 : value(c));
	return 44 + len;
}

/* A control message (VIRTIO 1.2, 5.3.6.2) on that queue, else just data. */
static uint32_t put_control(struct cpu *c, uint32_t at, uint32_t queue)
{
	if (queue != 3)
		return below(c, 5000);
	poke(at, 4, below(c, 16) ? below(c, 3) : value(c));
	poke(at + 4, 2, below(c, 16) ? below(c, 9) : value(c));
	poke(at + 6, 2, below(c, 4) ? 1 : below(c, 3));
	return below(c, 16) ? 8 : below(c, 8);
}

/* For those that talk: on the queue that they listen on a message, else room. */
static bool good_message(struct cpu *c, volatile struct desc *d, uint32_t at,
			 uint32_t kind, uint32_t queue)
{
	uint32_t to = BUFFERS + 0x20000 + below(c, 64) * 0x20000, len;

	if (kind == NINE_P) {
		len = put_9p(c, to);
		put_desc(&d[at], to, len, DESC_NEXT, at + 1);
		put_desc(&d[at + 1], buffer(c), 8192 << below(c, 3),
			 DESC_WRITE, 0);
		return true;
	}
	if (kind == CONSOLE && queue & 1) {
		put_desc(&d[at], to, put_control(c, to, queue), 0, 0);
		return true;
	}
	if (kind == CONSOLE) {
		put_desc(&d[at], buffer(c), below(c, 100), DESC_WRITE, 0);
		return true;
	}
	if ((kind != NET && kind != VSOCK) || queue > 1)
		return false;
	if (!queue) {
		put_desc(&d[at], buffer(c), 64 + below(c, 9000), DESC_WRITE, 0);
		return true;
	}
	for (uint32_t i = 0; i < 12; i += 4)
		poke(to + i, 4, 0);
	len = kind == VSOCK ? put_packet(c, to) : 12 + 14 + below(c, 9000);
	put_desc(&d[at], to, len, 0, 0);
	return true;
}

/* What a device might take: a block request, something to send, room. */
static void good_chain(struct cpu *c, volatile struct desc *d, uint32_t at,
		       uint32_t kind, uint32_t queue)
{
	static const uint8_t types[] = { 0, 0, 1, 1, 4, 8, 11, 13, 99 };
	uint32_t header = BUFFERS + below(c, 0x100) * 64;
	uint32_t type = types[below(c, sizeof(types))];
	uint32_t len = type > 8 ? 16 : 512 * below(c, 64);
	uint32_t what = below(c, 4);

	if (good_message(c, d, at, kind, queue))
		return;
	if (what < 2) {
		put_desc(&d[at], BUFFERS + 0x10000 + below(c, 0x100000),
			 below(c, 5000) + 1, what ? DESC_WRITE : 0, 0);
		return;
	}
	poke(header, 4, type);
	poke(header + 8, 4, below(c, 2048));
	poke(header + 12, 4, 0);
	poke(header + 16, 4, below(c, 2048));	/* a range */
	poke(header + 20, 4, 0);
	poke(header + 24, 4, below(c, 64));
	poke(header + 28, 4, below(c, 3));
	put_desc(&d[at], header, 16, DESC_NEXT, at + 1);
	put_desc(&d[at + 1], type > 8 ? header + 16 :
		 BUFFERS + 0x10000 + below(c, 0x1000) * 512, len,
		 DESC_NEXT | (type == 0 || type == 8 ? DESC_WRITE : 0), at + 2);
	put_desc(&d[at + 2], BUFFERS + below(c, 0x10000), 1, DESC_WRITE, 0);
}

static uint32_t ring_of(uint32_t device, uint32_t queue)
{
	return RINGS + device * 0x100000 + queue * 0x10000;
}

static void fill_ring(struct cpu *c, uint32_t ring, uint32_t kind,
		      uint32_t queue)
{
	volatile struct desc *d = (volatile struct desc *)ring;
	volatile uint16_t *avail = (volatile uint16_t *)(ring + 0x2000);
	uint32_t gap = talks(kind) || below(c, 2) ? 3 : 1; /* small: only 8 */

	for (uint32_t i = 0; i < 8; i++) {
		uint32_t at = i * gap + (c->polite ? 0 : below(c, 36));
		uint32_t table = ring + 0x6000 + i * 0x400;
		volatile struct desc *t = (volatile struct desc *)table;

		good_chain(c, t, 0, kind, queue);
		if (!mostly(c))
			garbage_desc(c, &t[below(c, 3)], 1, table);
		if (!c->polite && below(c, 2))
			garbage_desc(c, &d[at], at, table);
		else if (below(c, 3))
			good_chain(c, d, at, kind, queue);
		else
			put_desc(&d[at], table, 48, DESC_INDIRECT, 0);
		for (uint32_t k = i; k < 256; k += 8)
			avail[2 + k] = (uint16_t)(mostly(c) ? at : any(c));
	}
	avail[0] = (uint16_t)below(c, 2);
	avail[1] = (uint16_t)(mostly(c) ? avail[1] + below(c, 8) : any(c));
}

static void set_up_queue(struct cpu *c, uint32_t bar, uint32_t ring,
			 uint32_t queue)
{
	static const uint32_t areas[] = { 0, 0x2000, 0x4000 };

	if (mostly(c))
		poke(ring + 0x2000, 4, 0);
	poke(bar + 0x16, 2, mostly(c) ? queue : value(c));
	poke(bar + 0x18, 2, mostly(c) ? 64u << below(c, 3) : value(c));
	poke(bar + 0x1a, 2, mostly(c) ? below(c, 3) : value(c));
	for (uint32_t i = 0; i < 3; i++) {
		uint64_t at = ring + areas[i];

		if (!mostly(c))
			at = buffer(c);
		if (EJECT && pmem && !below(c, 4))
			at = pmem + ring % 0x100000 + areas[i];
		poke(bar + 0x20 + 8 * i, 4, at);
		poke(bar + 0x24 + 8 * i, 4, at >> 32);
	}
	if (mostly(c))
		poke(bar + 0x1c, 2, 1);
	if (!below(c, 16))	/* changed after it was enabled */
		poke(bar + 0x20 + 4 * below(c, 6), 4, value(c));
}

/* A driver's steps, each of which may be missing or wrong. */
static void bring_up_device(struct cpu *c, uint32_t device)
{
	static const uint8_t steps[] = { 0, 1, 3, 0xb, 0xf };
	uint32_t bar;

	poke(function(device) + 4, 2, mostly(c) ? 6 : value(c));
	bar = bar_of(device);
	if (!bar)
		return;
	if (kind_of(device) == PMEM)
		pmem = (uint64_t)peek(bar + 0x1004, 4) << 32 |
		       peek(bar + 0x1000, 4);
	for (uint32_t i = 0; i < sizeof(steps); i++) {
		if (steps[i] == 0xb) {
			poke(bar + 8, 4, 0);
			poke(bar + 0, 4, 0);
			poke(bar + 12, 4, peek(bar + 4, 4) &
					  (below(c, 2) ? ~0u : any(c)));
			poke(bar + 8, 4, 1);
			poke(bar + 12, 4, mostly(c) ? 1 : value(c));
		}
		for (uint32_t q = 0; steps[i] == 0xf && q < QUEUE_MAX; q++)
			set_up_queue(c, bar, ring_of(device, q), q);
		poke(bar + 0x14, 1, mostly(c) ? steps[i] : value(c));
	}
}

static void bring_up(struct cpu *c)
{
	bring_up_device(c, below(c, DEVICES));
}

static void kick(struct cpu *c, uint32_t device, uint32_t bar, uint32_t queue)
{
	fill_ring(c, ring_of(device, queue), kind_of(device), queue);
	if (bar)
		poke(bar + 0x2000 + 4 * queue, width(c, 4), queue);
}

static void use_queue(struct cpu *c)
{
	uint32_t device = below(c, DEVICES), bar = bar_of(device);

	kick(c, device, bar, below(c, QUEUE_MAX));
	if (bar && !below(c, 16))	/* reset with all this in flight */
		poke(bar + 0x14, 1, 0);
}

/* Mistakes only in what is said: those of the rings end it at once. */
static void talk(struct cpu *c)
{
	uint32_t device = below(c, DEVICES), bar;

	while (!talks(kind_of(device)) && device)
		device--;
	if (!device)
		return;
	c->polite = true;
	if (!bar_of(device) || peek(bar_of(device) + 0x14, 1) != 0xf)
		bring_up_device(c, device);
	bar = bar_of(device);
	for (uint32_t i = 0; bar && i < 24; i++)
		kick(c, device, bar, below(c, kind_of(device) == CONSOLE ?
						  QUEUE_MAX : 2));
}

static void msix(struct cpu *c)
{
	uint32_t device = below(c, DEVICES), bar = bar_of(device);
	uint32_t entry = below(c, 6) * 16;

	if (!bar)
		return;
	for (uint32_t i = 0; i < 8; i++)
		poke(bar + 0x3000 + entry + 12, 4, i & 1);
	poke(bar + 0x3000 + entry, 4, value(c));
	poke(bar + 0x3000 + entry + 4, 4, value(c));
	poke(bar + 0x3000 + entry + 8, 4, value(c) & ~0x700u);
	poke(bar + 0x3000 + entry + 12, 4, below(c, 4) ? 0 : value(c));
}

static void eject(struct cpu *c)
{
	if (EJECT && !below(c, 4))
		poke(HOTPLUG_EJECT, 4, mostly(c) ? below(c, DEVICES) :
						   value(c));
}

/* ---- the machine --------------------------------------------------------- */

static void start_others(void)
{
	for (uint32_t i = 0; i < (uint32_t)(trampoline_end - trampoline); i++)
		((volatile uint8_t *)0x8000)[i] = trampoline[i];
	poke(0xfee00300, 4, 0xc4500);		/* INIT to all others */
	for (int i = 0; i < 2; i++)
		poke(0xfee00300, 4, 0xc4608);	/* SIPI: 0x8000 */
}

/* In a register of the clock's memory, which a reset leaves alone. */
static uint32_t count_reset(void)
{
	uint32_t n;

	out(0x70, 1, 0x40);
	n = in(0x71, 1);
	out(0x71, 1, n + 1);
	return n;
}

static void end(struct cpu *c)
{
	if (count_reset() + 1 <= RESETS) {
		if (below(c, 2))
			out(0xcf9, 1, 6);
		else
			out(0x64, 1, 0xfe);
	} else {
		out(0xf4, 1, 0);
	}
	for (;;)
		__asm__ volatile("pause");
}

void hostile(uint32_t index)
{
	struct cpu c = { .random = SEED * 2654435761u + index * 40503u + 1 };
	static const struct {
		void (*act)(struct cpu *c);
		uint32_t weight;
	} acts[] = {
		{ garbage_port, 10 }, { garbage_config, 10 },
		{ garbage_bar, 12 }, { bring_up, 3 }, { use_queue, 24 },
		{ msix, 1 }, { eject, 1 }, { talk, 2 },
	};

	if (!index)
		outs(0x3f8, (const void *)BUFFERS, LOUD);
	if (!index && CPUS > 1)
		start_others();
	for (uint32_t turn = 0; turn < TURNS; turn++) {
		uint32_t i = 0, at = below(&c, 63);

		while (at >= acts[i].weight)
			at -= acts[i++].weight;
		c.polite = below(&c, 4);
		acts[i].act(&c);
	}
	__atomic_fetch_add(&done, 1, __ATOMIC_SEQ_CST);
	while (index || __atomic_load_n(&done, __ATOMIC_SEQ_CST) < CPUS)
		__asm__ volatile("pause");
	end(&c);
}
