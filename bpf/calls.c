// SPDX-License-Identifier: GPL-2.0
/* What a thread's latest calls tell of what follows in them: of the runtime's driver, whose wakes are its timers' or
 * its IO's; and of the functions that spawn, which tell where a task was made.
 *
 * A part of poll.c.
 */

/* A thread's latest call of a function of the driver, `told`: an event_flag.  The same as spawn_calls otherwise. */
BPF_TABLE("lru_hash", u32, struct spawn_call, driver_calls, 1);

/* LRU, because a spawn that panics makes no task.  The place of an evicted call is not told. */
BPF_TABLE("lru_hash", u32, struct spawn_call, spawn_calls, 1);

/* As self_at_entry, of what only spawns use. */
static __always_inline u64 told_by_spawn(struct pt_regs *ctx, const struct probe *probe)
{
	u64 rcx = ctx->cx, rax = ctx->ax;

	asm volatile("" : "+r"(rcx), "+r"(rax));
	if (probe->self == SELF_RCX)
		return rcx;
	if (probe->self == SELF_RAX)
		return rax;
	return self_at_entry(ctx, probe);
}

/* A call that made no task yet is under way still, if its return address is where it was. */
static __always_inline int is_under_way(const struct spawn_call *call, u64 sp, u32 epoch)
{
	u64 caller = 0;

	return call->epoch == epoch && call->sp >= sp &&
	       !read_user(&caller, sizeof(caller), (void *)call->sp) && caller == call->caller;
}

/* Of a function of the driver, whose wakes may follow. */
static __always_inline void remember_driver(const struct probe *probe, u32 tid, u64 sp, u32 epoch)
{
	struct spawn_call call = {.sp = sp, .epoch = epoch};

	call.told = probe->wakes == WAKE_FROM_IO ? EVENT_FROM_IO : EVENT_FROM_TIMER;
	if (!read_user(&call.caller, sizeof(call.caller), (void *)sp))
		driver_calls.update(&tid, &call);
}

/* The byte read is of the header of the task that is woken, as it is before. */
static __always_inline void read_wake(struct pt_regs *ctx, const struct probe *probe, struct event *event, u32 epoch)
{
	u32 tid = event->tid;
	struct spawn_call *driver = driver_calls.lookup(&tid);

	if (driver && is_under_way(driver, event->sp, epoch))
		event->flags |= driver->told;
	event->self = ctx->di;
	if (probe->wakes == WAKE_INDIRECT && read_user(&event->self, sizeof(event->self), (void *)ctx->di))
		return;
	event->flags |= EVENT_SELF;
	if (probe->wakes == WAKE_STATE_IN_RAX) {
		event->state = ctx->ax;
		event->flags |= EVENT_STATE;
		return;
	}
	read_state(event, probe->entry_state);
}

#define DISTANCE_BITS 48

/* What a SPAWN_RECORD tells: the program's own addresses by their distance from the probed instruction, for which no
 * bias need be known. */
static __always_inline u64 told_as(struct pt_regs *ctx, const struct probe *probe, u64 address)
{
	return (u64)probe->spawns << DISTANCE_BITS | ((address - ctx->ip) & ((1ull << DISTANCE_BITS) - 1));
}

static __always_inline void remember_call(struct pt_regs *ctx, const struct probe *probe, u32 tid, u64 sp, u32 epoch)
{
	struct spawn_call call = {.sp = sp, .epoch = epoch};
	struct spawn_call *around = spawn_calls.lookup(&tid);

	/* The outermost one of those that tell only who called them. */
	if (probe->spawn_step & SPAWN_TELLS_CALLER && around && is_under_way(around, sp, epoch))
		return;
	if (!probe->spawns || read_user(&call.caller, sizeof(call.caller), (void *)sp)) {
		spawn_calls.delete(&tid); /* an earlier one is not this one */
		return;
	}
	call.told = told_as(ctx, probe,
			    probe->spawn_step & SPAWN_TELLS_CALLER ? call.caller : told_by_spawn(ctx, probe));
	spawn_calls.update(&tid, &call);
}

/* By which call a task was made at this stack pointer; 0: not known.  A call makes one task. */
static __always_inline u64 recall_call(struct pt_regs *ctx, const struct probe *probe, u32 tid, u64 sp, u32 epoch)
{
	struct spawn_call *call = spawn_calls.lookup(&tid);
	u64 told = 0, caller = 0;

	if (call) {
		if (is_under_way(call, sp, epoch))
			told = call->told;
		spawn_calls.delete(&tid);
	}
	if (!told && probe->spawns && probe->spawn_step & SPAWN_TELLS_CALLER &&
	    !read_user(&caller, sizeof(caller), (void *)sp))
		told = told_as(ctx, probe, caller);
	return told;
}
