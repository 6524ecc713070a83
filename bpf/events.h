// SPDX-License-Identifier: GPL-2.0
/* What the kernel side and user space exchange.
 *
 * `struct event` is model.EVENT, `struct probe` is probe.program.PROBE, and so on: the same
 * fields in the same order, little-endian.  A unit test compares the sizes and offsets.
 */
#ifndef RAT_EVENTS_H
#define RAT_EVENTS_H

/* Which fields of an event were really read: model.EventFlag. */
enum event_flag {
	EVENT_SELF = 1,
	EVENT_STATE = 2,
	EVENT_RESULT = 4,
	EVENT_PENDING = 8,
	EVENT_TASK_ID = 16,
	EVENT_NEW_TASK_ID = 32,
	EVENT_FROM_TIMER = 4, /* of a wake */
	EVENT_FROM_IO = 8,
};

/* Beside them: the hit came by a link with an odd number.  For probe.handover; no capture has it. */
#define EVENT_ODD_LINK 64

/* event.probe of a record that tells a task's id, before the entry of its poll: model.TASK_ID_RECORD. */
#define TASK_ID_RECORD 0xffffffffu

/* ... of one that tells where a walk from `self` ended, before the entry of the poll: model.CHAIN_RECORD. */
#define CHAIN_RECORD 0xfffffffeu

/* ... of one that tells by which call the task was made that the hit after it tells of: model.SPAWN_RECORD. */
#define SPAWN_RECORD 0xfffffffdu

/* ... of one that tells that the thread left its CPU, with the task's state (0: it would have run on), and in `sp`
 * the number of the system call that it was in, or one of enum no_syscall; in `self` for how many ns it has run:
 * model.SWITCH_OUT_RECORD. */
#define SWITCH_OUT_RECORD 0xfffffffcu

/* ... that it got a CPU, `cpu`, with the same in `self`: model.SWITCH_IN_RECORD. */
#define SWITCH_IN_RECORD 0xfffffffbu

/* ... that it was woken, with one of enum waking_context in `state`, and in `self` the thread that did it, if one
 * did and it is in the tracer's pid namespace: model.WAKING_RECORD. */
#define WAKING_RECORD 0xfffffffau

enum no_syscall {
	SYSCALL_NONE = -1,
	SYSCALL_UNKNOWN = -2,
};

/* model.WakingContext. */
enum waking_context {
	WAKING_THREAD = 0,
	WAKING_INTERRUPT = 1, /* of a timer, of a device, ... */
	WAKING_UNKNOWN = 2,
};

/* Index into epochs, of what has no probes. */
#define SCHEDULING_GROUP 3

/* One hit of one probe. */
struct event {
	u64 time;     /* CLOCK_MONOTONIC, ns; taken after `sequence` */
	u64 sp;       /* the stack pointer as it was at the function's entry */
	u64 self;
	u32 tid;      /* in the tracer's pid namespace */
	u32 sequence; /* per CPU, low half of cpu_state.sent */
	u32 probe;
	u16 cpu;
	u8 state;
	u8 flags;     /* enum event_flag */
};
_Static_assert(sizeof(struct event) == 40, "model.EVENT has 40 bytes");

enum probe_role {
	PROBE_ENTERS = 1,   /* a function begins here */
	PROBE_LEAVES = 2,   /* a function ends here */
	PROBE_TAIL = 4,     /* ... by a jump: its callee returns in its place */
	PROBE_REMEMBER = 8, /* what begins here is needed where it ends */
	PROBE_RESULT = 16,  /* result_mask and result_pending are known */
	PROBE_RECALL = 32,  /* what ends here was remembered at its entry */
	PROBE_TASK_ID = 64, /* a task poll begins here; id_vtable and id_offset lead to the task's id */
	PROBE_ENDS = 128,   /* a life ends here: nothing is entered or left */
};

enum self_register {
	SELF_UNKNOWN = 0,
	SELF_RDI = 1,
	SELF_RSI = 2,
	SELF_RDX = 3,
	SELF_RCX = 4,
	SELF_RAX = 5,
	SELF_CALLER = 6, /* how far it is from here to where the function returns to */
};

enum spawn_step {
	SPAWN_CALLED = 1,       /* a function that spawns begins; the register has the place of its call in the source */
	SPAWN_MADE = 2,         /* a task was made; the register has its header */
	SPAWN_TELLS_CALLER = 4, /* that place is told by the return address; of a task, unless a call told it */
};

enum wake {
	WAKE_DIRECT = 1,   /* a task is woken here; rdi has its header */
	WAKE_INDIRECT = 2, /* ... rdi points to where its address is */
	WAKE_STATE_IN_RAX = 3, /* rdi has its header, whose first byte was that of rax before the wake */
	WAKE_FROM_TIMER = 4,   /* no wake: a function begins here from which those of the timers come */
	WAKE_FROM_IO = 5,      /* ... those of the IO driver */
};

#define NO_OFFSET 0xffffffffu

/* A link's cookie: the probe's id, and above it the link's number, an index into link_is_on; 0: it is always on. */
#define LINK_SHIFT 32
#define MAX_LINKS 64

/* What a probe is for; index = probe id. */
struct probe {
	u64 result_mask;
	u64 result_pending; /* Poll::Pending when (rax & result_mask) is this */
	u32 entry_state;    /* the state byte's offset from self, or NO_OFFSET; of what is entered, or ends */
	u32 exit_state;     /* ... of the function left */
	u32 enters;         /* 1 + index into Plan.functions; 0: none */
	u32 leaves;
	u32 return_probe;   /* 1 + id of the return probe of the function entered; 0: none */
	u16 id_vtable;      /* model.TaskIdPath */
	u16 id_offset;
	u32 id_distance;    /* from the header to the id; 0: not yet known */
	u32 walk;           /* the place where a walk begins, at the entry; 0: none */
	u8 roles;           /* enum probe_role */
	u8 self;            /* enum self_register, at the entry */
	u8 group;           /* index into epochs */
	u8 of_header;       /* entry_state is the offset of a byte of a task's header */
	u16 spawns;         /* 1 + index into Plan.spawns; 0: none, or too high */
	u8 spawn_step;      /* enum spawn_step: one of the first two, and perhaps the third */
	u8 wakes;           /* enum wake */
	u8 polls_task;      /* a task poll begins or ends here, of which stacks are taken */
	u8 is_off;          /* send nothing */
	u16 turn;           /* counts how often it was off */
	u8 after_call;      /* 1 + bytes from the return address to here, of an exit that is seen in the caller; 0: no such */
	u8 is_call;         /* what is entered is called here */
	u8 _pad[2];
};
_Static_assert(sizeof(struct probe) == 64, "probe.program.PROBE has 64 bytes");

/* A place that a walk can come to; index = its number. */
struct walk_node {
	u64 low;      /* the least value that has an edge of its own */
	u32 count;    /* of edges, for low, low + 1, ... */
	u32 first;    /* index into walk_edges */
	u32 other;    /* where all other values, or the pointer, lead to; 0: nowhere */
	u32 then;     /* where to go on when the walk ends here */
	u32 offset;   /* of the discriminant or the pointer */
	u8 size;      /* ... its bytes; 0: the walk ends here */
	u8 base;      /* from where `offset` counts: 0 self, 1 and 2 what pointers led to */
	u8 into;      /* 1 or 2: it is a pointer */
	u8 is_branch; /* there are others beside this one */
};
_Static_assert(sizeof(struct walk_node) == 32, "probe.walk.WALK_NODE has 32 bytes");

/* Per CPU.  `lost` stands before `sent`: user space copies the words in this order, so that
 * every loss it has seen is of an event that it knows was sent. */
struct cpu_state {
	u64 lost;     /* events the transport had no room for */
	u64 sent;     /* sequence numbers given out */
	u64 threads;  /* threads seen for the first time */
	u64 silent;   /* hits that sent nothing, or about so many: whether silent_hits is worth a look */
	u32 last_tid; /* known to be in `threads` */
	u32 _pad;
};
_Static_assert(sizeof(struct cpu_state) == 40, "probe.program.CPU_STATE has 40 bytes");

/* Why a hit sends nothing, of which the program is as slow as of others. */
enum silence {
	SILENT_PASSED = 0,  /* what it was for did not happen here, or an event to come tells of it */
	SILENT_LEAVING = 1, /* its probe is being detached, or attached */
};

#define SILENT_BLOCK 512

/* Per CPU: how many they are; of a probe at 2 * id + enum silence, in one block after the other. */
struct silent_hits {
	u32 count[512];
};
_Static_assert(sizeof(struct silent_hits) == 4 * SILENT_BLOCK, "probe.program.SILENT_HITS is a block");

struct thread {
	u32 tgid;
	char comm[16];
};
_Static_assert(sizeof(struct thread) == 20, "probe.program.THREAD has 20 bytes");

/* A task's header; the value is the id last told for it. */
struct task_key {
	u64 header;
	u64 tgid;
};

/* A thread's latest call of a spawn function. */
struct spawn_call {
	u64 sp;
	u64 caller; /* the return address at `sp` */
	u64 told;   /* what a SPAWN_RECORD has in `sp` */
	u32 epoch;
	u32 _pad;
};

/* A function under way: from its entry to its exit. */
struct frame_key {
	u32 tid;
	u32 sp_low;
	u32 sp_high;
};

struct frame {
	u64 sp; /* at its entry; 0: none is under way here */
	u64 self;
	u32 probe; /* that of its entry */
	u32 epoch;
};

/* A power of two. */
#define NEAR_FRAMES 64

/* A thread's. */
struct near_frames {
	struct frame at[NEAR_FRAMES];
};

/* A thread's outermost task poll under way. */
struct polling {
	u64 sp;    /* at its entry; 0: none is under way */
	u64 since; /* when it was entered */
	u32 epoch;
	u32 from_before; /* nobody saw its entry: sp is the end of the thread's stack, since when it was told of */
};
_Static_assert(sizeof(struct polling) == 24, "probe.stacks.POLLING has 24 bytes");

#define STACK_MOST 32768

enum stack_kind {
	STACK_BLOCKED = 1, /* the thread left its CPU, not to run on */
	STACK_RUNNING = 2, /* it was looked at while it ran */
};

/* A thread's stack in a task poll: probe.stacks.STACK_HEAD; `size` bytes of it follow, from its stack pointer on. */
struct stack_head {
	u64 time;
	u64 told;  /* when it ran again */
	u64 since; /* when the poll was entered */
	u64 until; /* the stack pointer then */
	u32 tid;
	u32 tgid;
	u32 size;
	u8 kind; /* enum stack_kind */
	u8 is_cut;
	u8 from_before; /* as struct polling has it */
	u8 _pad;
	struct pt_regs registers;
};
_Static_assert(sizeof(struct stack_head) == 216, "probe.stacks.STACK_HEAD has 216 bytes");

struct stack_slot {
	u64 is_taken;
	u64 owner; /* the thread whose stack it holds until that runs again */
	u64 epoch; /* of SCHEDULING_GROUP: in a later one nobody knows whether it ran meanwhile */
	struct stack_head head;
	u8 content[STACK_MOST];
};

/* Per CPU: stacks that there are, and why others are not. */
struct stack_counts {
	u64 sent;
	u64 lost;    /* the ring buffer had no room */
	u64 crowded; /* the thread's slot held another one's */
	u64 unread;  /* the stack's memory could not be read */
	u64 spent;   /* ns in which they were copied and sent */
};

/* The place of a probe, where a link has no cookie. */
struct place {
	u64 ip;
	u32 tgid;
	u32 _pad;
};

#endif
