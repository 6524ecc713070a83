// SPDX-License-Identifier: GPL-2.0
/* What a poll function began with, for its exit: where its future is, which no register tells there any more.
 *
 * A part of poll.c.  Each thread has some places of its own, found by the stack pointer at the entry, which nobody
 * else writes to: a hash table for all, whose entries come and go, costs 0.2 us for each call, as much as all else.
 * Where a place is taken by a function further up the stack, as in deep recursion, that table is used.
 *
 * LRU, because nothing tells when a thread ends, and because what a panic unwinds never reaches its exit.  The exit
 * of an evicted frame has an unknown self, never a wrong one.
 */

BPF_TABLE("lru_hash", u32, struct near_frames, near_frames, 1);
BPF_TABLE("lru_hash", struct frame_key, struct frame, far_frames, 1);

/* The stack of a program of ours has no room for that. */
BPF_ARRAY(no_frames, struct near_frames, 1);

static __always_inline struct frame *near_frame(struct near_frames *mine, u64 sp)
{
	return &mine->at[(sp >> 4 ^ sp >> 10) & (NEAR_FRAMES - 1)];
}

static __always_inline struct near_frames *near_frames_of(u32 tid)
{
	struct near_frames *mine = near_frames.lookup(&tid), *none;
	u32 zero = 0;

	if (mine)
		return mine;
	none = no_frames.lookup(&zero);
	if (!none)
		return 0;
	near_frames.update(&tid, none);
	return near_frames.lookup(&tid);
}

static __always_inline void remember_frame(u32 tid, u64 sp, u64 self, u32 probe, u32 epoch)
{
	struct frame_key key = {.tid = tid, .sp_low = sp, .sp_high = sp >> 32};
	struct frame begun = {.sp = sp, .self = self, .probe = probe, .epoch = epoch};
	struct near_frames *mine = near_frames_of(tid);
	struct frame *place;

	if (mine) {
		place = near_frame(mine, sp);
		if (place->sp <= sp) { /* none, or one that was left without being seen */
			*place = begun;
			return;
		}
	}
	far_frames.update(&key, &begun);
}

/* 0: not remembered. */
static __always_inline struct frame *frame_at(u32 tid, u64 sp)
{
	struct frame_key key = {.tid = tid, .sp_low = sp, .sp_high = sp >> 32};
	struct near_frames *mine = near_frames.lookup(&tid);
	struct frame *frame;

	if (mine) {
		frame = near_frame(mine, sp);
		if (frame->sp == sp)
			return frame;
	}
	frame = far_frames.lookup(&key);
	return frame && frame->sp == sp ? frame : 0;
}

static __always_inline void forget_frame(struct frame *frame)
{
	frame->sp = 0;
}
