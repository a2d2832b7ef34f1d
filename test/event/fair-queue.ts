import test from 'ava';
import fc from 'fast-check';
import {FairQueue} from '../../src/event/fair-queue.ts';

/** Removes all items, in the order in which they are served. */
function drain<Item>(queue: FairQueue<Item>): Item[] {
	const served: Item[] = [];
	for (let item = queue.take(); item !== undefined; item = queue.take()) {
		served.push(item);
	}

	return served;
}

test('take returns undefined when the queue is empty', t => {
	const queue = new FairQueue<string>();
	t.is(queue.take(), undefined);
	queue.add('a', 'key');
	t.is(queue.take(), 'a');
	t.is(queue.take(), undefined);
	t.is(queue.size, 0);
});

test('items without a key are served in the order of arrival', t => {
	const queue = new FairQueue<number>();
	for (let item = 1; item <= 5; item++) {
		queue.add(item);
	}

	t.is(queue.size, 5);
	t.deepEqual(drain(queue), [1, 2, 3, 4, 5]);
});

test('items with the same key are served in the order of arrival', t => {
	const queue = new FairQueue<number>();
	for (let item = 1; item <= 5; item++) {
		queue.add(item, 'key');
	}

	t.deepEqual(drain(queue), [1, 2, 3, 4, 5]);
});

test('keys take turns: the last item waits for one of thousands with another key', t => {
	const queue = new FairQueue<string>();
	for (let count = 1; count <= 5000; count++) {
		queue.add(`storm ${count}`, 'storm');
	}

	queue.add('other', 'other');
	queue.add('without a key');
	t.is(queue.size, 5002);
	t.deepEqual(
		[1, 2, 3, 4].map(() => queue.take()),
		['storm 1', 'other', 'without a key', 'storm 2'],
	);
});

test('a key that is added again waits for all other keys', t => {
	const queue = new FairQueue<string>();
	queue.add('a1', 'a');
	queue.add('b1', 'b');
	t.is(queue.take(), 'a1');
	queue.add('a2', 'a');
	queue.add('c1', 'c');
	t.deepEqual(drain(queue), ['b1', 'a2', 'c1']);
});

/* The reference implementation: a list of lists. */
class Model {
	readonly #queues: Array<{readonly key: string | undefined; readonly items: number[]}> = [];

	add(item: number, key?: string): void {
		const known = key === undefined ? undefined : this.#queues.find(queue => queue.key === key);
		if (known === undefined) {
			this.#queues.push({key, items: [item]});
		} else {
			known.items.push(item);
		}
	}

	take(): number | undefined {
		const queue = this.#queues.shift();
		const item = queue?.items.shift();
		if (queue !== undefined && queue.items.length > 0) {
			this.#queues.push(queue);
		}

		return item;
	}
}

test('FairQueue behaves like a list of lists, for any sequence of calls', t => {
	const key = fc.constantFrom(undefined, 'a', 'b', 'c', '__proto__');
	const call = fc.oneof(fc.constant('take' as const), fc.record({key}));
	fc.assert(
		fc.property(fc.array(call, {maxLength: 200}), calls => {
			const queue = new FairQueue<number>();
			const model = new Model();
			let size = 0;
			for (const [index, next] of calls.entries()) {
				if (next === 'take') {
					const item = model.take();
					t.is(queue.take(), item);
					size -= item === undefined ? 0 : 1;
				} else {
					queue.add(index, next.key);
					model.add(index, next.key);
					size++;
				}

				t.is(queue.size, size);
			}
		}),
	);
});

test('add and take run in constant time', t => {
	/* With quadratic run time this would take minutes. */
	const queue = new FairQueue<number>();
	for (let item = 0; item < 300_000; item++) {
		queue.add(item, `key ${item % 100_000}`);
	}

	const served = drain(queue);
	t.is(served.length, 300_000);
	t.deepEqual(served.slice(99_999, 100_001), [99_999, 100_000]);
});
