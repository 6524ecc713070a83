// SPDX-License-Identifier: GPL-2.0
/* When the traced threads leave their CPU, get one, and are woken: one record for each of them.
 *
 * Of the kernel's structures only what its own BTF tells is read, by tracer/probe/scheduling.py:
 *   SWITCH_PREV, _NEXT, _STATE    which arguments of sched_switch these are; _STATE: where it has one
 *   TASK_PID, _TGID, _STATE, _FLAGS, _STACK    offsets in struct task_struct
 *   TASK_RAN                      the same of how long it has run, by the scheduler's own account
 *   HAS_USER_REGS                 the helpers that lead to a task's user registers are there
 *
 * These programs interrupt those of uprobes on their CPU, perhaps between taking a sequence number and the
 * time.  All that needs is what holds of those as well: the number first, then the time.
 */
#define PF_KTHREAD 0x00200000 /* include/linux/sched.h */

#define TASK_STATE_WAITS 1 /* TASK_INTERRUPTIBLE */

/* The states of a task that are not in the low byte, of a thread that waits all the same. */
#define TASK_STATE_OTHER 2 /* TASK_UNINTERRUPTIBLE */

#ifdef NAMESPACE_INODE
/* The tgid and tid in the tracer's pid namespace, by the kernel's own tid; learned of a thread while it runs.
 * LRU, because nothing tells when a thread ends. */
BPF_TABLE("lru_hash", u32, u64, own_ids, 1);
#endif

/* Of a thread that does not run now; 0: not known. */
static __always_inline u64 ids_of(u64 task)
{
	u32 tid = 0, tgid = 0;

	if (bpf_probe_read_kernel(&tid, sizeof(tid), (void *)(task + TASK_PID)))
		return 0;
#ifdef NAMESPACE_INODE
	u64 *own = own_ids.lookup(&tid);

	return own ? *own : 0;
#else
	if (bpf_probe_read_kernel(&tgid, sizeof(tgid), (void *)(task + TASK_TGID)))
		return 0;
	return (u64)tgid << 32 | tid;
#endif
}

static __always_inline void learn_ids(u64 own)
{
#ifdef NAMESPACE_INODE
	u32 tid = bpf_get_current_pid_tgid();
	u64 *known = own_ids.lookup(&tid);

	if (!known || *known != own)
		own_ids.update(&tid, &own);
#endif
}

/* The address of the current thread's user registers, on its kernel stack; 0: not known. */
static __always_inline u64 user_registers(void)
{
#ifdef HAS_USER_REGS
	void *(*current_task)(void) = (void *)158;         /* bpf_get_current_task_btf */
	void *(*registers_of)(void *task) = (void *)175;   /* bpf_task_pt_regs */

	return (u64)registers_of(current_task());
#else
	return 0;
#endif
}

/* The system call that the current thread is in. */
static __always_inline s64 system_call(u64 registers)
{
	s64 number = 0;

	if (!registers || bpf_probe_read_kernel(&number, sizeof(number),
						(void *)(registers + offsetof(struct pt_regs, orig_ax))))
		return SYSCALL_UNKNOWN;
	return number < 0 ? SYSCALL_NONE : number;
}

/* Whether it is the current thread's doing that this program runs: else an interrupt only came in its way.
 * An idle CPU's thread does nothing of its own.
 *
 * Interrupts have stacks of their own, unless they came while the thread was in user mode, in no system call.
 * The arguments are on the stack that is in use. */
static __always_inline u8 waking_context(void *arguments)
{
	u64 task = bpf_get_current_task(), registers = user_registers(), stack = 0, at = 0, kept = (u64)arguments;
	u32 flags = 0;

	if (!(u32)bpf_get_current_pid_tgid())
		return WAKING_INTERRUPT;
	/* What the verifier knows to be a pointer it does not let us compare. */
	if (!registers || bpf_probe_read_kernel(&at, sizeof(at), &kept) ||
	    bpf_probe_read_kernel(&stack, sizeof(stack), (void *)(task + TASK_STACK)) ||
	    bpf_probe_read_kernel(&flags, sizeof(flags), (void *)(task + TASK_FLAGS)))
		return WAKING_UNKNOWN;
	if (at < stack || at >= registers)
		return WAKING_INTERRUPT;
	if (!(flags & PF_KTHREAD) && system_call(registers) < 0)
		return WAKING_INTERRUPT;
	return WAKING_THREAD;
}

/* What user space needs of a task's state: 0 while it wants to run. */
static __always_inline u8 leaving_state(u64 preempted, u64 state)
{
	if (preempted || !state)
		return 0;
	return (u8)state ? (u8)state : TASK_STATE_OTHER;
}

/* By that account time that the host had taken away from a virtual machine is none in which its threads ran. */
static __always_inline void tell_how_long_it_ran(struct event *event, u64 task)
{
	if (!bpf_probe_read_kernel(&event->self, sizeof(event->self), (void *)(task + TASK_RAN)))
		event->flags |= EVENT_SELF;
}

static __always_inline void begin_record(struct event *event, struct cpu_state *cpu, u32 records)
{
	event->cpu = bpf_get_smp_processor_id();
	event->sequence = fetch_add(&cpu->sent, records);
	event->time = bpf_ktime_get_ns();
}

static __always_inline int is_scheduling_traced(void)
{
	u32 group = SCHEDULING_GROUP, *epoch = epochs.lookup(&group);

	return epoch && *epoch;
}

int at_switch(struct bpf_raw_tracepoint_args *ctx)
{
	u64 leaving, coming, state = 0;
	int leaves, comes;
	u32 zero = 0;
	struct event event = {};
	struct cpu_state *cpu;

	if (!is_scheduling_traced())
		return 0;
	leaving = current_pid_tgid();
	coming = ids_of(ctx->args[SWITCH_NEXT]);
	leaves = is_traced(leaving);
	comes = is_traced(coming);
	if (!leaves && !comes)
		return 0;
	cpu = cpus.lookup(&zero);
	if (!cpu)
		return 0;
	begin_record(&event, cpu, leaves + comes);
	if (leaves) {
#ifdef SWITCH_STATE
		state = ctx->args[SWITCH_STATE];
#else
		bpf_probe_read_kernel(&state, TASK_STATE_SIZE, (void *)(ctx->args[SWITCH_PREV] + TASK_STATE));
#endif
		event.probe = SWITCH_OUT_RECORD;
		event.tid = leaving;
		event.state = leaving_state((u8)ctx->args[SWITCH_PREEMPT], (u32)state);
		event.flags = EVENT_STATE;
		event.sp = system_call(user_registers());
		tell_how_long_it_ran(&event, ctx->args[SWITCH_PREV]);
		learn_ids(leaving);
		see_thread(cpu, leaving, leaving >> 32);
		send((void *)ctx, cpu, &event);
		event.sequence++;
#ifdef STACKS
		if (event.state & (TASK_STATE_WAITS | TASK_STATE_OTHER)) /* not stopped, nor over */
			keep_stack(leaving, event.time);
#endif
	}
	if (comes) {
		event.probe = SWITCH_IN_RECORD;
		event.tid = coming;
		event.state = event.flags = 0;
		event.sp = event.self = 0;
		tell_how_long_it_ran(&event, ctx->args[SWITCH_NEXT]);
		send((void *)ctx, cpu, &event);
#ifdef STACKS
		tell_stack(coming, event.time);
#endif
	}
	return 0;
}

int at_waking(struct bpf_raw_tracepoint_args *ctx)
{
	struct event event = {.probe = WAKING_RECORD};
	struct cpu_state *cpu;
	u32 zero = 0;
	u64 woken;

	if (!is_scheduling_traced())
		return 0;
	woken = ids_of(ctx->args[0]);
	if (!is_traced(woken))
		return 0;
	cpu = cpus.lookup(&zero);
	if (!cpu)
		return 0;
	begin_record(&event, cpu, 1);
	event.tid = woken;
	event.state = waking_context(ctx);
	event.flags = EVENT_STATE;
	if (event.state == WAKING_THREAD) {
		event.self = (u32)current_pid_tgid();
		if (event.self)
			event.flags |= EVENT_SELF;
	}
	send((void *)ctx, cpu, &event);
	return 0;
}
