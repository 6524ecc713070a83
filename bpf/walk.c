// SPDX-License-Identifier: GPL-2.0
/* From the future that a probed function polls down to where it waits: tracer/probe/walk.py.
 *
 * Everything is kept on the stack of the program, which can be preempted by another one.
 */
BPF_ARRAY(walk_nodes, struct walk_node, 1);
BPF_ARRAY(walk_edges, u32, 1);

/* Where the walk goes on from a place whose discriminant has this value; 0: nowhere. */
static __always_inline u32 walk_edge(const struct walk_node *node, u64 value)
{
	u64 index = value - node->low;
	u32 key = node->first + index, *edge;

	if (index >= node->count)
		return node->other;
	edge = walk_edges.lookup(&key);
	return edge ? *edge : 0;
}

/* Up to four numbers of places, 16 bits each; 0 when nothing was read that the event does not tell already.
 *
 * `at` is the place of the function's own future; `has_state`: which is a coroutine.  A place whose
 * discriminant cannot be read, or has a value that leads nowhere, is where the walk ends: what is below
 * it is not known.  A branch beside others that leads nowhere is one that is done.
 *
 * The verifier must not know what the variables begin with, else it follows each way through the loop
 * on its own: they begin as what place 0 has, which is 0. */
static __always_inline u64 walk(const struct event *event, u32 at, int has_state)
{
	u32 none = 0;
	struct walk_node *node = walk_nodes.lookup(&none);
	u64 second, third, found, reads;

	if (!node)
		return 0;
	second = third = found = reads = node->low;
	if (has_state) {
		node = walk_nodes.lookup(&at);
		if (!node || !(event->flags & EVENT_STATE))
			return 0;
		at = walk_edge(node, event->state);
	}
#pragma clang loop unroll(disable)
	for (u32 step = 0; step < WALK_STEPS && at; step++) {
		u64 value = 0, base, size;
		u32 next = 0;
		int failed;

		node = walk_nodes.lookup(&at);
		if (!node)
			break;
		size = node->size;
		asm volatile("" : "+r"(size)); /* else it is loaded anew, and the verifier does not know its bound */
		if (size > sizeof(value))
			size = 0;
		asm volatile("" : "+r"(size)); /* two comparisons made one, size - 1 < 8, would tell Linux 5.10 of no bound */
		if (size) {
			base = node->base == 0 ? event->self : node->base == 1 ? second : third;
			failed = read_user(&value, size, (void *)(base + node->offset)) != 0;
			reads++;
			if (!failed && node->into) {
				if (node->into == 1)
					second = value;
				else
					third = value;
				next = node->other;
			} else if (!failed) {
				next = walk_edge(node, value);
			}
			if (next) {
				at = next;
				continue;
			}
			if (!failed && node->is_branch) {
				at = node->then;
				continue;
			}
		}
		found = found << 16 | at;
		at = node->then;
	}
	if (at) /* it would have gone on: what is below is not known */
		found = found << 16 | at;
	return reads ? found : 0;
}
