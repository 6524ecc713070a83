// SPDX-License-Identifier: GPL-2.0
/* The user stack of a thread that blocks, or goes on and on, in a task poll.
 *
 * A release build has no frame pointers: the registers and the bytes of the stack are sent, from the stack pointer to
 * that of the poll's entry, and user space unwinds them.  Of a poll that was under way before anybody looked, which user
 * space puts into `pollings`, it is the whole stack.
 *
 * Compiled with STACK_SLOTS, STACK_PAGES, POSSIBLE_CPUS.
 */

/* LRU, because nothing tells when a thread ends. */
BPF_TABLE("lru_hash", u32, struct polling, pollings, 1);

BPF_ARRAY(stack_slots, struct stack_slot, STACK_SLOTS);
BPF_ARRAY(stack_looks, struct stack_slot, POSSIBLE_CPUS); /* too large for a per-CPU array */
BPF_PERCPU_ARRAY(stack_counts, struct stack_counts, 1);
BPF_ARRAY(stack_settings, u64, 2);
BPF_RINGBUF_OUTPUT(stacks, STACK_PAGES);

/* Indexes into stack_settings, in ns. */
#define LEAST_BLOCKED 0
#define LEAST_POLLING 1

static __always_inline void enter_poll(u32 tid, u64 sp, u64 now, u32 epoch)
{
	struct polling *known = pollings.lookup(&tid);

	if (known && known->epoch == epoch && known->sp > sp && !known->from_before)
		return; /* inside another one */
	if (known) {
		known->sp = sp;
		known->since = now;
		known->epoch = epoch;
		known->from_before = 0;
	} else {
		struct polling begun = {.sp = sp, .since = now, .epoch = epoch};

		pollings.update(&tid, &begun);
	}
}

static __always_inline void leave_poll(u32 tid, u64 sp)
{
	struct polling *known = pollings.lookup(&tid);

	if (known && (known->sp <= sp || known->from_before))
		known->sp = 0;
}

/* The poll that the current thread is in, if it is one whose end will be seen. */
static __always_inline struct polling *polling_of(u32 tid)
{
	u32 tasks = 0, *epoch = epochs.lookup(&tasks);
	struct polling *known = pollings.lookup(&tid);

	return epoch && known && known->sp && known->epoch == *epoch ? known : 0;
}

static __always_inline u64 stack_setting(u32 index)
{
	u64 *value = stack_settings.lookup(&index);

	return value ? *value : 0;
}

/* As fetch_add: the value before. */
static __always_inline u64 exchange(u64 *place, u64 value)
{
	asm volatile("r8 = %1\n\t"
		     "r9 = %0\n\t"
		     ".byte 0xdb, 0x98, 0, 0, 0xe1, 0, 0, 0\n\t" /* r9 = atomic_xchg((u64 *)(r8 + 0), r9) */
		     "%0 = r9"
		     : "+r"(value)
		     : "r"(place)
		     : "r8", "r9", "memory");
	return value;
}

/* The current thread's stack into the slot; false when that cannot be, or the thread is not in the poll. */
static __always_inline int copy_stack(struct stack_slot *slot, const struct polling *polling, u64 pid_tgid, u64 now,
				      struct stack_counts *counts)
{
	struct stack_head *head = &slot->head;
	u64 begin, size;

	if (bpf_probe_read_kernel(&head->registers, sizeof(head->registers),
				  (void *)bpf_task_pt_regs(bpf_get_current_task_btf()))) {
		counts->unread++;
		return 0;
	}
	begin = head->registers.sp;
	if (begin > polling->sp)
		return 0;
	size = polling->sp + 8 - begin;
	head->is_cut = size > STACK_MOST;
	if (size > STACK_MOST)
		size = STACK_MOST;
	asm volatile("" : "+r"(size)); /* else it is computed anew, and the verifier does not know its bound */
	if (size > STACK_MOST || read_user(slot->content, size, (void *)begin)) {
		counts->unread++;
		return 0;
	}
	head->time = head->told = now;
	head->since = polling->since;
	head->until = polling->sp;
	head->tid = pid_tgid;
	head->tgid = pid_tgid >> 32;
	head->size = size;
	head->from_before = polling->from_before;
	return 1;
}

static __always_inline void send_stack(struct stack_slot *slot, struct stack_counts *counts)
{
	u64 size = slot->head.size;

	asm volatile("" : "+r"(size));
	if (size > STACK_MOST)
		return;
	if (stacks.ringbuf_output(&slot->head, sizeof(slot->head) + size, BPF_RB_NO_WAKEUP))
		counts->lost++;
	else
		counts->sent++;
}

/* How long it takes depends on the stack's size, and on what the caches have of it. */
static __always_inline void count_spent(struct stack_counts *counts, u64 since)
{
	counts->spent += bpf_ktime_get_ns() - since;
}

static __always_inline void free_slot(struct stack_slot *slot)
{
	slot->owner = 0;
	exchange(&slot->is_taken, 0);
}

static __always_inline u64 scheduling_epoch(void)
{
	u32 group = SCHEDULING_GROUP, *epoch = epochs.lookup(&group);

	return epoch ? *epoch : 0;
}

/* The current thread, inside of a task poll, is not going to run on. */
static __always_inline void keep_stack(u64 pid_tgid, u64 now)
{
	u32 tid = pid_tgid, zero = 0, index = tid % STACK_SLOTS;
	struct polling *polling = polling_of(tid);
	struct stack_counts *counts = stack_counts.lookup(&zero);
	struct stack_slot *slot = stack_slots.lookup(&index);
	u64 began;

	if (!polling || !counts || !slot)
		return;
	began = bpf_ktime_get_ns();
	if (exchange(&slot->is_taken, 1) && slot->owner != tid && slot->epoch == scheduling_epoch()) {
		counts->crowded++;
		return;
	}
	slot->owner = tid;
	slot->epoch = scheduling_epoch();
	slot->head.kind = STACK_BLOCKED;
	if (!copy_stack(slot, polling, pid_tgid, now, counts))
		free_slot(slot);
	count_spent(counts, began);
}

/* This thread is going to run. */
static __always_inline void tell_stack(u32 tid, u64 now)
{
	u32 zero = 0, index = tid % STACK_SLOTS;
	struct stack_counts *counts = stack_counts.lookup(&zero);
	struct stack_slot *slot = stack_slots.lookup(&index);
	u64 began;

	if (!counts || !slot || slot->owner != tid)
		return;
	if (slot->epoch == scheduling_epoch() && now - slot->head.time >= stack_setting(LEAST_BLOCKED)) {
		began = bpf_ktime_get_ns();
		slot->head.told = now;
		send_stack(slot, counts);
		count_spent(counts, began);
	}
	free_slot(slot);
}

/* At each tick of a CPU's clock. */
int at_look(struct bpf_perf_event_data *ctx)
{
	u64 pid_tgid = current_pid_tgid(), now;
	u32 zero = 0, index = bpf_get_smp_processor_id();
	struct stack_counts *counts = stack_counts.lookup(&zero);
	struct stack_slot *slot = stack_looks.lookup(&index);
	struct polling *polling;

	if (!is_traced(pid_tgid) || !counts || !slot)
		return 0;
	polling = polling_of(pid_tgid);
	if (!polling)
		return 0;
	now = bpf_ktime_get_ns();
	if (now - polling->since < stack_setting(LEAST_POLLING))
		return 0;
	slot->head.kind = STACK_RUNNING;
	if (copy_stack(slot, polling, pid_tgid, now, counts))
		send_stack(slot, counts);
	count_spent(counts, now);
	return 0;
}
