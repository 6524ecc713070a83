// SPDX-License-Identifier: GPL-2.0
/* A hit at a poll function's entry, exit instruction or return becomes one event.
 *
 * Nothing here reads a kernel structure: the headers may be of another kernel than the running
 * one.  struct pt_regs is the exception, fixed as the context of such programs.
 *
 * Compiled by BCC with
 *   READ_USER                     the helper that reads the process' memory, of enum bpf_func_id
 *   WALK_STEPS                    places that one walk comes to at most
 *   RING                          events go through a ring buffer; without it, a perf buffer per CPU
 *   NAMESPACE_DEVICE, _INODE      the tracer's pid namespace, unless it is the initial one
 *   BY_PLACE                      links carry no cookie: the probe is known by its address
 *   BY_PROCESS                    links let no other process through
 *   STACKS                        with stack.c, and what that needs
 *   SCHEDULING                    with sched.c, and what that needs
 *   UNDISTURBED                   no program of ours runs inside of another one on the same CPU
 *
 * The code does not depend on how many entries maps have: where it says 1, the loader says more.
 */
#include <uapi/linux/ptrace.h>
#include "events.h"

/* By its number: wherever a program has its name BCC 0.26 looks through all of the kernel's symbols, for 0.1 s. */
static long (*read_user)(void *to, u32 size, const void *from) = (void *)READ_USER;

#include "walk.c"

#define MAX_ID_DISTANCE 0x10000

BPF_ARRAY(probes, struct probe, 1);
BPF_HASH(processes, u32, u32, 1024); /* the traced ones, by tgid */
BPF_ARRAY(epochs, u32, 4);           /* per group: counts its attachments; 0: send nothing */
BPF_PERCPU_ARRAY(cpus, struct cpu_state, 1);
BPF_PERCPU_ARRAY(silent_hits, struct silent_hits, 1);
BPF_ARRAY(link_is_on, u32, MAX_LINKS);

/* LRU, because nothing tells when a thread ends.  An evicted one is told again. */
BPF_TABLE("lru_hash", u32, struct thread, threads, 1);

/* LRU, because nothing tells when a task is freed.  An evicted task's id is told again. */
BPF_TABLE("lru_hash", struct task_key, u64, task_ids, 1);

#ifdef RING
BPF_RINGBUF_OUTPUT(events, 1);
#else
BPF_PERF_OUTPUT(events);
#endif

#ifdef BY_PLACE
BPF_HASH(places, struct place, u32, 1);
#endif

static __always_inline u64 current_pid_tgid(void)
{
#ifdef NAMESPACE_INODE
	struct bpf_pidns_info own = {};

	if (bpf_get_ns_current_pid_tgid(NAMESPACE_DEVICE, NAMESPACE_INODE, &own, sizeof(own)))
		return 0;
	return (u64)own.tgid << 32 | own.pid;
#else
	return bpf_get_current_pid_tgid();
#endif
}

static __always_inline int is_traced(u64 pid_tgid)
{
	u32 tgid = pid_tgid >> 32;

	return tgid && processes.lookup(&tgid);
}

/* The value before the addition.  A program of this type can be preempted by another one on the
 * same CPU, so it must be one instruction (Linux 5.12); BCC compiles for a BPF version whose
 * builtin drops the value, and LLVM 14's assembler cannot parse the mnemonic: hence the bytes.
 * r8 and r9, because BCC parses for the host as well, which must know the registers' names.
 * Kernels without that instruction run these programs with preemption switched off. */
static __always_inline u64 fetch_add(u64 *counter, u64 amount)
{
#ifdef UNDISTURBED
	u64 before = *counter;

	*counter = before + amount;
	return before;
#else
	asm volatile("r8 = %1\n\t"
		     "r9 = %0\n\t"
		     ".byte 0xdb, 0x98, 0, 0, 1, 0, 0, 0\n\t" /* r9 = atomic_fetch_add((u64 *)(r8 + 0), r9) */
		     "%0 = r9"
		     : "+r"(amount)
		     : "r"(counter)
		     : "r8", "r9", "memory");
	return amount;
#endif
}

#ifdef STACKS
#include "stack.c"
#endif

static __always_inline void see_thread(struct cpu_state *cpu, u32 tid, u32 tgid)
{
	struct thread seen = {};

	if (cpu->last_tid == tid)
		return;
	if (!threads.lookup(&tid)) {
		seen.tgid = tgid;
		bpf_get_current_comm(seen.comm, sizeof(seen.comm));
		threads.update(&tid, &seen);
		__sync_fetch_and_add(&cpu->threads, 1);
	}
	cpu->last_tid = tid;
}

/* All are read first: the verifier refuses a pointer into ctx that was chosen by a branch,
 * which is what the compiler would make of it. */
static __always_inline u64 self_at_entry(struct pt_regs *ctx, const struct probe *probe)
{
	u64 rdi = ctx->di, rsi = ctx->si, rdx = ctx->dx;

	asm volatile("" : "+r"(rdi), "+r"(rsi), "+r"(rdx));
	if (probe->self == SELF_RDI)
		return rdi;
	if (probe->self == SELF_RSI)
		return rsi;
	return rdx;
}

static __always_inline void read_state(struct event *event, u32 offset)
{
	u8 state = 0;

	if (offset == NO_OFFSET || !(event->flags & EVENT_SELF))
		return;
	if (read_user(&state, sizeof(state), (void *)(event->self + offset)))
		return;
	event->state = state;
	event->flags |= EVENT_STATE;
}

/* The life of what is in rdi ends; the byte read is the coroutine's state, or of the task's header.  Or a panic is
 * caught: by whom, the return address tells. */
static __always_inline void read_end(struct pt_regs *ctx, const struct probe *probe, struct event *event)
{
	u64 back = 0;

	if (probe->self == SELF_CALLER) {
		if (read_user(&back, sizeof(back), (void *)event->sp))
			return;
		event->self = back - ctx->ip;
		event->flags |= EVENT_SELF;
		return;
	}
	event->self = ctx->di;
	event->flags |= EVENT_SELF;
	read_state(event, probe->entry_state);
}

#include "calls.c"
#include "frames.c"

/* Coroutine states of rustc 1.63 to 1.97: 0 not yet polled, 1 done, 2 panicked, 3 and above
 * suspended at an await. */
static __always_inline void read_result(struct pt_regs *ctx, const struct probe *probe, struct event *event)
{
	if (event->flags & EVENT_STATE) {
		if (event->state == 1)
			event->flags |= EVENT_RESULT;
		else if (event->state >= 3)
			event->flags |= EVENT_RESULT | EVENT_PENDING;
	} else if (probe->roles & PROBE_RESULT) {
		event->flags |= EVENT_RESULT;
		if ((ctx->ax & probe->result_mask) == probe->result_pending)
			event->flags |= EVENT_PENDING;
	}
}

/* By Header.vtable and Vtable.id_offset; 0 when one of them cannot be read, or makes no sense.  The distance from
 * the header to the id is built into the code of the task poll itself: it is looked up once for each. */
static __always_inline u64 read_task_id(u64 header, struct probe *probe)
{
	u64 vtable = 0, distance = probe->id_distance, id = 0;

	if (!distance) {
		if (read_user(&vtable, sizeof(vtable), (void *)(header + probe->id_vtable)) ||
		    read_user(&distance, sizeof(distance), (void *)(vtable + probe->id_offset)) ||
		    distance > MAX_ID_DISTANCE)
			return 0;
		probe->id_distance = distance;
	}
	if (read_user(&id, sizeof(id), (void *)(header + distance)))
		return 0;
	return id;
}

#define FAR (1ull << 31)
#define IN_PAGE 0xfff

/* Whether the latest call here was the one before `address`: its return address is still there, below the stack.
 * Where somebody has a return probe on what was called, older kernels leave the begin of their own page for those
 * instead, which is far from the program; it is not told then whose it was. */
static __always_inline int is_back_at(u64 address, u64 sp)
{
	u64 back = 0;

	if (read_user(&back, sizeof(back), (void *)sp))
		return 0;
	return back == address || (back && !(back & IN_PAGE) && back - (address - FAR) > 2 * FAR);
}

/* False: the transport had no room. */
static __always_inline int send(struct pt_regs *ctx, struct cpu_state *cpu, struct event *event)
{
	long failed;

#ifdef RING
	failed = events.ringbuf_output(event, sizeof(*event), BPF_RB_NO_WAKEUP);
#else
	failed = events.perf_submit(ctx, event, sizeof(*event));
#endif
	if (failed)
		__sync_fetch_and_add(&cpu->lost, 1);
	return !failed;
}

static __always_inline void count_silent(struct cpu_state *cpu, u32 probe, u32 why)
{
	u32 at = 2 * probe + why, block = at / SILENT_BLOCK;
	struct silent_hits *hits = silent_hits.lookup(&block);

	if (!hits)
		return;
	__sync_fetch_and_add(&hits->count[at % SILENT_BLOCK], 1);
	cpu->silent++;
}

static __always_inline int hit(struct pt_regs *ctx, u64 pid_tgid, u64 cookie, u64 sp)
{
	u32 tid = pid_tgid, zero = 0, group, id = cookie, link = cookie >> LINK_SHIFT, since, *is_on, why = SILENT_LEAVING;
	struct event event = {.tid = tid, .probe = id};
	struct probe *probe = probes.lookup(&id);
	struct cpu_state *cpu = cpus.lookup(&zero);
	struct task_key task = {};
	struct frame *frame;
	u64 task_id = 0, places = 0, call = 0;
	u32 *epoch;

	if (!probe || !cpu)
		return 0;
	if (probe->is_off)
		goto silent;
	if (link) {
		is_on = link_is_on.lookup(&link);
		if (!is_on || !*is_on)
			goto silent;
		if (link & 1)
			event.flags |= EVENT_ODD_LINK;
	}
	group = probe->group;
	epoch = epochs.lookup(&group);
	if (!epoch || !*epoch)
		goto silent;
	why = SILENT_PASSED;
	if (probe->is_call)
		sp -= sizeof(u64);
	if (probe->after_call) {
		sp -= sizeof(u64);
		if (!is_back_at(ctx->ip - (probe->after_call - 1), sp))
			goto silent;
	}
	event.sp = sp;
	since = *epoch + ((u32)probe->turn << 16); /* from when on it was probed without a pause */

	if (probe->roles & PROBE_TASK_ID) {
		task.header = self_at_entry(ctx, probe);
		task.tgid = pid_tgid >> 32;
		task_id = read_task_id(task.header, probe);
		if (task_id) {
			u64 *told = task_ids.lookup(&task);

			event.flags |= EVENT_TASK_ID;
			if (!told || *told != task_id)
				event.flags |= EVENT_NEW_TASK_ID;
		}
	}

	if (probe->roles & PROBE_ENTERS && probe->self != SELF_UNKNOWN) {
		event.self = self_at_entry(ctx, probe);
		event.flags |= EVENT_SELF;
		read_state(&event, probe->entry_state);
		if (probe->walk)
			places = walk(&event, probe->walk, probe->entry_state != NO_OFFSET && !probe->of_header);
	}

	if (probe->roles & PROBE_ENDS)
		read_end(ctx, probe, &event);

	if (probe->wakes >= WAKE_FROM_TIMER) {
		remember_driver(probe, tid, sp, *epoch);
		goto silent;
	}
	if (probe->wakes)
		read_wake(ctx, probe, &event, *epoch);

	if (probe->spawn_step & SPAWN_CALLED) {
		remember_call(ctx, probe, tid, sp, *epoch);
		goto silent;
	}
	if (probe->spawn_step & SPAWN_MADE) {
		event.self = told_by_spawn(ctx, probe);
		event.flags |= EVENT_SELF;
		call = recall_call(ctx, probe, tid, sp, *epoch);
	}

	event.cpu = bpf_get_smp_processor_id();
	event.sequence = fetch_add(&cpu->sent, 1 + !!(event.flags & EVENT_NEW_TASK_ID) + !!places + !!call);
	event.time = bpf_ktime_get_ns();
	if (event.flags & EVENT_NEW_TASK_ID) {
		struct event record = event;

		event.sequence++;
		record.probe = TASK_ID_RECORD;
		record.self = task.header;
		record.sp = task_id;
		record.flags = EVENT_SELF | EVENT_TASK_ID;
		/* Not remembered unless it was told: else what is lost would be taken for told. */
		if (send(ctx, cpu, &record))
			task_ids.update(&task, &task_id);
		else
			task_ids.delete(&task);
	}
	if (places || call) {
		struct event record = event;

		event.sequence++;
		record.probe = places ? CHAIN_RECORD : SPAWN_RECORD;
		record.sp = places ? places : call;
		record.flags = EVENT_SELF;
		send(ctx, cpu, &record);
	}
	see_thread(cpu, tid, pid_tgid >> 32);

#ifdef STACKS
	if (probe->polls_task) {
		if (probe->roles & PROBE_ENTERS)
			enter_poll(tid, sp, event.time, *epoch);
		else
			leave_poll(tid, sp);
	}
#endif
	if (probe->roles & PROBE_ENTERS) {
		if (probe->roles & PROBE_REMEMBER)
			remember_frame(tid, sp, event.self, id, since);
	} else if (probe->roles & PROBE_RECALL) {
		frame = frame_at(tid, sp);
		if (frame) {
			u32 entry = frame->probe;
			struct probe *entered = probes.lookup(&entry);

			/* Another function's frame, or one of an earlier attachment, was left
			 * behind here: its self is not ours. */
			if (entered && entered->enters == probe->leaves && frame->epoch == since &&
			    entered->self != SELF_UNKNOWN) {
				event.self = frame->self;
				event.flags |= EVENT_SELF;
			}
			forget_frame(frame);
		}
		read_state(&event, probe->exit_state);
	}
	if ((probe->roles & (PROBE_LEAVES | PROBE_TAIL)) == PROBE_LEAVES)
		read_result(ctx, probe, &event);
	send(ctx, cpu, &event);
	return 0;

silent:
	count_silent(cpu, id, why);
	return 0;
}

/* What a link lets through need not be looked up. */
static __always_inline int is_of_link(u64 pid_tgid)
{
#ifdef BY_PROCESS
	return pid_tgid != 0;
#else
	return is_traced(pid_tgid);
#endif
}

#ifndef BY_PLACE

int at_instruction(struct pt_regs *ctx)
{
	u64 pid_tgid = current_pid_tgid();

	if (!is_of_link(pid_tgid))
		return 0;
	return hit(ctx, pid_tgid, bpf_get_attach_cookie(ctx), ctx->sp);
}

/* The return address has been popped: the SP at entry was one word lower. */
int at_return(struct pt_regs *ctx)
{
	u64 pid_tgid = current_pid_tgid();

	if (!is_of_link(pid_tgid))
		return 0;
	return hit(ctx, pid_tgid, bpf_get_attach_cookie(ctx), ctx->sp - 8);
}

#else

int at_instruction(struct pt_regs *ctx)
{
	u64 pid_tgid = current_pid_tgid();
	struct place place = {.ip = ctx->ip, .tgid = pid_tgid >> 32};
	u32 *id;

	if (!is_traced(pid_tgid))
		return 0;
	id = places.lookup(&place);
	return id ? hit(ctx, pid_tgid, *id, ctx->sp) : 0;
}

/* ip is in the caller by now: the frame remembered at the entry tells which function returns.
 * A return whose entry was not seen sends no event. */
int at_return(struct pt_regs *ctx)
{
	u64 pid_tgid = current_pid_tgid(), sp = ctx->sp - 8;
	struct frame *frame;
	struct probe *entered;
	u32 entry;

	if (!is_traced(pid_tgid))
		return 0;
	frame = frame_at(pid_tgid, sp);
	if (!frame)
		return 0;
	entry = frame->probe;
	entered = probes.lookup(&entry);
	if (!entered || !entered->return_probe)
		return 0;
	return hit(ctx, pid_tgid, entered->return_probe - 1, sp);
}

#endif

#ifdef SCHEDULING
#include "sched.c"
#endif
